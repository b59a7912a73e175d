//! `secctl logs hubtest`.

use ::logs::crowdsec::hubtest::{Files, Hub, Verdict};
use serde::Serialize;
use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Done, places::Places};
use crate::{
    Environment,
    failure::Failure,
    output::{Column, Output, Paint, painted, plain},
    text::count,
};

/// Longest file of a hub or a test that is read, in bytes. A longer one is an error.
const MAX_FILE_BYTES: u64 = 32 * 1024 * 1024;
/// Bytes of all files of a hub, and of one test.
const MAX_FOLDER_BYTES: u64 = 256 * 1024 * 1024;
/// Files of a hub, and of one test.
const MAX_FILES: usize = 20_000;
/// Folders in folders.
const MAX_DEPTH: usize = 6;
/// The folders of a hub that are read.
const PARTS: [&str; 5] = ["parsers", "scenarios", "postoverflows", "patterns", "data"];

/// Run a CrowdSec hub's own tests: parse their logs, pour them into their scenarios, compare with their asserts
///
/// Exits with 1 if a test fails. A test that needs a data file which is not in the hub's `data` folder is listed as
/// unsupported if it does not pass without.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The hub: a folder with `parsers`, `scenarios`, `postoverflows`, `patterns` and `data`
    #[arg(long, value_name = "DIR")]
    hub: PathBuf,
    /// The tests: a folder with a folder per test, or the folder of one
    #[arg(long, value_name = "DIR")]
    tests: PathBuf,
    /// Run only the tests whose name holds this
    #[arg(value_name = "NAME")]
    only: Option<String>,
}

/// What `-o json` prints.
#[derive(Debug, Default, Serialize)]
struct Tested {
    passed: usize,
    failed: Vec<Failed>,
    unsupported: Vec<Unsupported>,
}

/// An assert that does not hold.
#[derive(Debug, Serialize)]
struct Failed {
    test: String,
    assert: String,
    got: String,
}

/// A test that cannot be run here.
#[derive(Debug, Serialize)]
struct Unsupported {
    test: String,
    why: String,
}

pub(crate) fn run(asked: &Arguments, environment: &Environment, output: &mut Output<'_>) -> Done {
    let hub = hub(&asked.hub)?;
    let mut tested = Tested::default();
    let tests = tests(asked)?;
    if tests.is_empty() {
        return Err(Failure::Usage {
            message: format!("there is no test in {}", asked.tests.display()),
            help: Some("name a folder of folders with a `config.yaml`".into()),
        });
    }
    for (name, folder) in tests {
        let mut files = Files::new();
        read_folder(&folder, "", 0, &mut files)?;
        match hub.test(&files, environment.now) {
            Verdict::Passed => tested.passed += 1,
            Verdict::Failed(asserts) => tested.failed.extend(asserts.into_iter().map(|failed| Failed {
                test: name.clone(),
                assert: failed.assert,
                got: failed.got,
            })),
            Verdict::Unsupported(why) => tested.unsupported.push(Unsupported { test: name, why }),
        }
    }
    output.show(&tested, print)?;
    if tested.failed.is_empty() { Ok(()) } else { Err(Failure::Finding) }
}

/// Reads a hub.
pub(super) fn hub(folder: &Path) -> Result<Hub, Failure> {
    let mut files = Files::new();
    for part in PARTS {
        let folder = folder.join(part);
        if folder.is_dir() {
            read_folder(&folder, part, 0, &mut files)?;
        }
    }
    if !files.keys().any(|path| path.starts_with("parsers/")) {
        return Err(Failure::Usage {
            message: format!("there are no parsers in {}", folder.display()),
            help: Some("name a folder that has `parsers`, `scenarios`, … in it".into()),
        });
    }
    let hub = Hub::new(files);
    Ok(match Places::open(&folder.join("data"))? {
        Some(places) => hub.with_lookups(Arc::new(places)),
        None => hub,
    })
}

/// The tests, by name.
fn tests(asked: &Arguments) -> Result<Vec<(String, PathBuf)>, Failure> {
    let name =
        |path: &Path| path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    if asked.tests.join("config.yaml").is_file() {
        return Ok(vec![(name(&asked.tests), asked.tests.clone())]);
    }
    let failed = |error: io::Error| Failure::file(&asked.tests, "read", &error);
    let mut tests = Vec::new();
    for entry in fs::read_dir(&asked.tests).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.join("config.yaml").is_file() {
            tests.push((name(&path), path));
        }
    }
    tests.retain(|(name, _)| asked.only.as_ref().is_none_or(|only| name.contains(only.as_str())));
    tests.sort();
    Ok(tests)
}

/// Reads the files of a folder under their paths, `prefix` before them.
fn read_folder(folder: &Path, prefix: &str, depth: usize, files: &mut Files) -> Result<(), Failure> {
    let failed = |path: &Path, error: &io::Error| Failure::file(path, "read", error);
    for entry in fs::read_dir(folder).map_err(|error| failed(folder, &error))? {
        let path = entry.map_err(|error| failed(folder, &error))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let name = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
        if path.is_dir() {
            if depth < MAX_DEPTH {
                read_folder(&path, &name, depth + 1, files)?;
            }
            continue;
        }
        // Neither a FIFO nor a device is a file of a hub, and reading one could take for ever.
        if !path.is_file() {
            continue;
        }
        let mut bytes = Vec::new();
        if path.extension().is_some_and(|extension| extension == "mmdb") {
            // Databases of places are not read whole among the rest: they are there, and looked up in.
            files.insert(name, bytes);
            continue;
        }
        let file = fs::File::open(&path).map_err(|error| failed(&path, &error))?;
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| failed(&path, &error))?;
        files.insert(name, bytes);
        let size: u64 = files.values().map(|bytes| bytes.len() as u64).sum();
        if size > MAX_FOLDER_BYTES
            || files.len() > MAX_FILES
            || files.values().any(|b| b.len() as u64 > MAX_FILE_BYTES)
        {
            return Err(Failure::Usage {
                message: format!("{} holds more than is read", folder.display()),
                help: Some(format!(
                    "files may have {} MiB, a hub or a test {} MiB in {MAX_FILES} files",
                    MAX_FILE_BYTES >> 20,
                    MAX_FOLDER_BYTES >> 20,
                )),
            });
        }
    }
    Ok(())
}

fn print(output: &mut Output<'_>, tested: &Tested) -> io::Result<()> {
    if !tested.failed.is_empty() {
        let columns = [Column::new("TEST").whole(), Column::new("ASSERT"), Column::new("GOT")];
        let row = |failed: &Failed| {
            vec![painted(&failed.test, Paint::Bad), plain(&failed.assert), plain(&failed.got)]
        };
        output.table(&columns, tested.failed.iter().map(row).collect())?;
        output.line("")?;
    }
    if !tested.unsupported.is_empty() {
        let columns = [Column::new("TEST").whole(), Column::new("UNSUPPORTED")];
        let row = |one: &Unsupported| vec![painted(&one.test, Paint::Warn), plain(&one.why)];
        output.table(&columns, tested.unsupported.iter().map(row).collect())?;
        output.line("")?;
    }
    let mut failed: Vec<&str> = tested.failed.iter().map(|failed| failed.test.as_str()).collect();
    failed.dedup();
    output.sentence(&format!(
        "{} passed, {} failed, {} not supported.",
        count(tested.passed as u64, "test", "tests"),
        failed.len(),
        tested.unsupported.len()
    ))
}
