//! Reads the folders of Fail2ban and CrowdSec that a config names, within bounds: the daemon and `secctl check` see the
//! same files, and the same mistakes in them.

use config::Config;
use logs::{
    Files, FilterError,
    crowdsec::{Agent, AgentSettings},
    fail2ban::{Jailer, JailerSettings},
};
use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

/// Bytes of a file. A folder with a longer one is not read.
pub const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes of a folder. A larger one is not read.
pub const MAX_FOLDER_BYTES: u64 = 128 * 1024 * 1024;
/// Files of a folder. One with more is not read.
pub const MAX_FILES: usize = 10_000;
/// Folders in folders; what is deeper is not read.
pub const MAX_DEPTH: usize = 6;

/// What Fail2ban's folder is read for.
const FAIL2BAN: [&str; 5] = ["jail.conf", "jail.local", "jail.d", "filter.d", "paths-"];
/// What CrowdSec's folder is read for.
const CROWDSEC: [&str; 8] = [
    "parsers",
    "scenarios",
    "postoverflows",
    "patterns",
    "data",
    "profiles.yaml",
    "acquis.",
    "simulation.yaml",
];

/// The files of both dialects, as far as the config names their folders.
#[derive(Clone, Debug, Default)]
pub struct Dialects {
    /// What Fail2ban's jails are read from.
    pub jails: Option<JailerSettings>,
    /// What CrowdSec's parsers and scenarios are read from.
    pub agent: Option<AgentSettings>,
    /// Folders that cannot be read, each with why.
    pub unread: Vec<FilterError>,
}

impl Dialects {
    /// Reads the folders.
    #[must_use]
    pub fn read(config: &Config) -> Self {
        let mut dialects = Self::default();
        let mut files = |folder: &Path, wanted: &[&str]| match folder_of(folder, wanted) {
            Ok(files) => Some(files),
            Err(error) => {
                dialects.unread.push(FilterError {
                    file: folder.display().to_string(),
                    line: 1,
                    column: None,
                    message: format!("the folder cannot be read, nothing of it runs: {error}"),
                    help: "see that it is there, and that secd may read it".into(),
                });
                None
            }
        };
        let jails = config.fail2ban.as_ref().and_then(|fail2ban| {
            Some(JailerSettings {
                files: files(&fail2ban.folder, &FAIL2BAN)?,
                folder: fail2ban.folder.display().to_string(),
                only: fail2ban.jails.clone(),
                mode: fail2ban.mode,
            })
        });
        let agent = config.crowdsec.as_ref().and_then(|crowdsec| {
            Some(AgentSettings {
                files: files(&crowdsec.folder, &CROWDSEC)?,
                folder: crowdsec.folder.display().to_string(),
                mode: crowdsec.mode,
            })
        });
        Self { jails, agent, ..dialects }
    }

    /// Everything that does not run, and why.
    #[must_use]
    pub fn problems(&self) -> Vec<FilterError> {
        let mut problems = self.unread.clone();
        if let Some(jails) = &self.jails {
            problems.extend(Jailer::load(jails).1);
        }
        if let Some(agent) = &self.agent {
            problems.extend(Agent::load(agent).1);
        }
        problems
    }
}

/// The regular files below a folder whose paths begin with one of these, by path.
fn folder_of(folder: &Path, wanted: &[&str]) -> io::Result<Files> {
    let mut files = Files::new();
    let mut size = 0;
    read(folder, "", 0, wanted, &mut files, &mut size)?;
    Ok(files)
}

fn read(
    folder: &Path,
    prefix: &str,
    depth: usize,
    wanted: &[&str],
    files: &mut Files,
    size: &mut u64,
) -> io::Result<()> {
    let mut paths: Vec<_> = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    paths.sort_by_key(fs::DirEntry::file_name);
    for path in paths.into_iter().map(|entry| entry.path()) {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let name = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
        if !wanted.iter().any(|start| name.starts_with(start)) {
            continue;
        }
        if path.is_dir() {
            if depth < MAX_DEPTH {
                read(&path, &name, depth + 1, wanted, files, size)?;
            }
            continue;
        }
        // Neither a FIFO nor a device is read, which could take for ever; databases of places are not used.
        if !path.is_file() || path.extension().is_some_and(|extension| extension == "mmdb") {
            continue;
        }
        let mut bytes = Vec::new();
        let told = |error: io::Error| io::Error::other(format!("{name} cannot be read: {error}"));
        let file = File::open(&path).map_err(told)?;
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(told)?;
        *size += bytes.len() as u64;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(io::Error::other(format!("{name} is longer than {} MiB", MAX_FILE_BYTES >> 20)));
        }
        files.insert(name, bytes);
        if files.len() > MAX_FILES || *size > MAX_FOLDER_BYTES {
            return Err(io::Error::other(format!(
                "it holds more than {MAX_FILES} files or {} MiB",
                MAX_FOLDER_BYTES >> 20
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    #[test]
    fn only_what_is_asked_for_is_read_and_a_file_that_is_too_long_is_told() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("filter.d")).unwrap();
        fs::create_dir_all(folder.path().join("action.d")).unwrap();
        for file in ["jail.conf", "filter.d/door.conf", "action.d/ring.conf"] {
            fs::write(folder.path().join(file), "[x]\n").unwrap();
        }
        let files = folder_of(folder.path(), &FAIL2BAN).unwrap();
        assert_eq!(files.keys().collect::<Vec<_>>(), ["filter.d/door.conf", "jail.conf"]);
        let long = File::create(folder.path().join("filter.d/long.conf")).unwrap();
        long.set_len(MAX_FILE_BYTES + 1).unwrap();
        assert!(folder_of(folder.path(), &FAIL2BAN).unwrap_err().to_string().contains("filter.d/long.conf"));
        assert!(folder_of(&folder.path().join("gone"), &FAIL2BAN).is_err());
    }

    #[test]
    fn what_does_not_run_is_told_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("f/jail.conf", "[door]\nenabled = true\nfilter = door\nlogpath = /x\n");
        write("f/filter.d/door.conf", "[Definition]\nfailregex = ^no (<HOST>$\n");
        write("c/scenarios/odd.yaml", "type: sticky\nname: a/b\n");
        write("c/acquis.yaml", "source: kafka\nlabels: {type: x}\n");
        let path = folder.path().display();
        let text = format!(
            "[zones.wan]\ninterface = 'wan0'\nwan = true\n[fail2ban]\nfolder = '{path}/f'\n[crowdsec]\nfolder = '{path}/c'\n"
        );
        let config = config::parse("secd.toml", &text).unwrap();
        let told: Vec<String> = Dialects::read(&config).problems().iter().map(ToString::to_string).collect();
        for part in [
            "/f/jail.conf:2: jail `door`",
            "/f/filter.d/door.conf:2",
            "/c/scenarios/odd.yaml:1",
            "/c/acquis.yaml:1",
        ] {
            assert!(told.iter().any(|told| told.starts_with(&format!("{path}{part}"))), "{part}: {told:#?}");
        }
        let gone = config::parse("secd.toml", &text.replace("/f'", "/gone'")).unwrap();
        assert!(Dialects::read(&gone).problems()[0].message.contains("cannot be read"));
    }
}
