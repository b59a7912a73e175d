//! `secctl import`: what Pi-hole or AdGuard Home was told, as config. Files are read and written here; what they mean is
//! the crate `import`.

use ::import::{Files, Gravity, Import, ImportError, MergeError, OwnList, Report, limits};
use protocol::{ErrorBody, Problem};
use serde::Serialize;
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use super::{Done, check};
use crate::{
    failure::Failure,
    output::{Column, Output, Paint, painted, plain},
    text::{count, shell},
};

/// Take over what Pi-hole or AdGuard Home was told
///
/// Says what was taken over, what is written in another way now, and what was not taken and why. Nothing is written
/// unless everything could be read and the result is right.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, clap::Subcommand)]
enum From {
    /// A Teleporter archive of Pi-hole 5 or 6, or its folder
    Pihole {
        /// The archive (.zip, .tar.gz), or the folder with gravity.db and pihole.toml or setupVars.conf
        path: PathBuf,
        #[command(flatten)]
        to: To,
    },
    /// The config of AdGuard Home
    Adguard {
        /// AdGuardHome.yaml
        path: PathBuf,
        #[command(flatten)]
        to: To,
    },
}

#[derive(Debug, clap::Args)]
struct To {
    /// Put it into this config; what it had under the same names is replaced, a copy is kept beside it
    #[arg(long, value_name = "FILE")]
    into: Option<PathBuf>,
    /// Folder for files of own rules [default: `lists` beside the config]
    #[arg(long, value_name = "FOLDER")]
    lists: Option<PathBuf>,
    /// Only say what would become of everything
    #[arg(long)]
    dry_run: bool,
}

/// What `-o json` prints.
#[derive(Debug, Serialize)]
struct Imported<'a> {
    #[serde(flatten)]
    report: &'a Report,
    /// What the config had under the same names and is replaced.
    replaced: Vec<String>,
    /// The config text.
    config: String,
    /// Files of own rules.
    files: Vec<OwnFile>,
    /// Paths that were written.
    written: Vec<String>,
}

#[derive(Debug, Serialize)]
struct OwnFile {
    path: String,
    text: String,
}

/// Folders below the one that is given, as far as files are looked for.
const MOST_LEVELS: usize = 3;
/// Files and folders that are looked at.
const MOST_ENTRIES: usize = 4096;

pub(crate) fn run(asked: &Arguments, output: &mut Output<'_>) -> Done {
    let (mut import, to) = match &asked.from {
        From::Pihole { path, to } => (pihole(path)?, to),
        From::Adguard { path, to } => {
            let name = path.display().to_string();
            let bytes = read(path, limits::MAX_TEXT_BYTES)?;
            (::import::adguard(&name, &bytes).map_err(refused)?, to)
        }
    };
    let folder = lists_folder(to)?;
    let shown_folder = folder.display().to_string();
    let (config, replaced) = match to.into.as_deref().filter(|path| path.exists()) {
        Some(path) => merged(&mut import, path, &shown_folder)?,
        None => (import.fragment(&shown_folder), Vec::new()),
    };
    let own = import.settings.own_lists();
    let files = own.iter().map(|list| OwnFile {
        path: folder.join(list.file()).display().to_string(),
        text: list.text.clone(),
    });
    let mut imported =
        Imported { report: &import.report, replaced, config, files: files.collect(), written: Vec::new() };
    if let Some(path) = to.into.as_deref().filter(|_| !to.dry_run) {
        imported.written = write(path, &imported, &folder)?;
    }
    output.show(&imported, |output, imported| print(output, imported, to))?;
    Ok(())
}

/// Where files of own rules are, as an absolute path.
fn lists_folder(to: &To) -> Result<PathBuf, Failure> {
    let folder = match (&to.lists, &to.into) {
        (Some(folder), _) => folder.clone(),
        (None, Some(config)) => config.parent().unwrap_or(Path::new("")).join("lists"),
        (None, None) => Path::new(super::DEFAULT_CONFIG).parent().unwrap_or(Path::new("/")).join("lists"),
    };
    std::path::absolute(&folder).map_err(|error| Failure::file(&folder, "find", &error))
}

/// The config with everything in it, checked.
fn merged(import: &mut Import, path: &Path, folder: &str) -> Result<(String, Vec<String>), Failure> {
    let name = path.display().to_string();
    let before = check::read(path)?;
    let help = Some(format!("`secctl check {}` shows what is wrong", shell(&name)));
    let filters = check::own_filters(&::config::filters_dir(&before))?;
    match ::config::load(&name, &before, &filters) {
        Ok((config, _)) => import.leave_own_servers(&config.dns.listen),
        Err(_) => return Err(Failure::Usage { message: format!("{name} has mistakes already"), help }),
    }
    let (text, replaced) = import.merge(&before, folder).map_err(|error| match error {
        MergeError::Syntax(_) => Failure::Usage { message: format!("{name}: {error}"), help },
        MergeError::Shape(_) => Failure::Usage {
            message: format!("{name}: {error}"),
            help: Some("write it with its name in brackets, `[dns]`, and import again".into()),
        },
    })?;
    match ::config::load(&name, &text, &filters) {
        Ok(_) => Ok((text, replaced)),
        Err(errors) => {
            let problems = errors.iter().map(|error| Problem {
                file: error.file.clone(),
                line: error.line,
                column: error.column,
                message: error.message.clone(),
                help: Some(error.help.clone()),
            });
            Err(Failure::Refused(ErrorBody {
                message: format!("{name} and what is imported do not fit together; nothing was written"),
                help: Some("change the one or the other; the lines are those of both together".into()),
                problems: problems.collect(),
            }))
        }
    }
}

/// Writes the files of own rules and the config, with a copy of the config as it was: all of it beside the old files
/// first, then each in its place, so that what fails leaves everything as it was. Returns what was written.
fn write(path: &Path, imported: &Imported<'_>, folder: &Path) -> Result<Vec<String>, Failure> {
    let before = fs::read(path).ok();
    let mut staged = Vec::new();
    if !imported.files.is_empty() {
        fs::create_dir_all(folder).map_err(|error| Failure::file(folder, "make", &error))?;
    }
    for file in &imported.files {
        let path = Path::new(&file.path);
        let before = match fs::read(path) {
            Ok(bytes) if !OwnList::is_ours(&bytes) => {
                return Err(Failure::Usage {
                    message: format!("{} is there and no import wrote it", file.path),
                    help: Some("move it away, or write to another folder with `--lists`".into()),
                });
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Failure::file(path, "read", &error));
            }
            Ok(bytes) => Some(bytes),
            Err(_) => None,
        };
        staged.push(Staged::write(path.to_owned(), file.text.as_bytes(), before)?);
    }
    let is_new = before.as_deref() != Some(imported.config.as_bytes());
    if is_new {
        if before.as_ref().is_some_and(|before| !before.is_empty()) {
            let copy = with_ending(path, ".before-import");
            let bytes = before.as_deref().unwrap_or_default();
            // With the permissions of the config.
            staged.push(Staged::like(path, copy.clone(), bytes, fs::read(&copy).ok())?);
        }
        staged.push(Staged::write(path.to_owned(), imported.config.as_bytes(), before)?);
    }
    let mut done: Vec<Staged> = Vec::new();
    let mut written = Vec::new();
    for file in staged {
        if let Err(failure) = file.put() {
            done.iter().for_each(Staged::take_back);
            return Err(failure);
        }
        written.push(file.path.display().to_string());
        done.push(file);
    }
    Ok(written)
}

/// A file that is written beside its place. Dropped before it was put there, it is gone.
struct Staged {
    path: PathBuf,
    beside: PathBuf,
    /// What is in its place.
    before: Option<Vec<u8>>,
}

impl Staged {
    /// One that keeps the permissions of what is there.
    fn write(path: PathBuf, bytes: &[u8], before: Option<Vec<u8>>) -> Result<Self, Failure> {
        let like = path.clone();
        Self::like(&like, path, bytes, before)
    }

    fn like(like: &Path, path: PathBuf, bytes: &[u8], before: Option<Vec<u8>>) -> Result<Self, Failure> {
        let staged = Self { beside: with_ending(&path, ".new"), path, before };
        let failed = |error| Failure::file(&staged.path, "write", &error);
        if staged.path.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        let mut file = File::create(&staged.beside).map_err(failed)?;
        if let Ok(metadata) = fs::metadata(like) {
            file.set_permissions(metadata.permissions()).map_err(failed)?;
        }
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)?;
        Ok(staged)
    }

    fn put(&self) -> Result<(), Failure> {
        fs::rename(&self.beside, &self.path).map_err(|error| Failure::file(&self.path, "write", &error))
    }

    /// Puts back what was there, as far as that can be done where something fails already.
    fn take_back(&self) {
        let _ = match &self.before {
            Some(before) => Self::write(self.path.clone(), before, None).and_then(|file| file.put()),
            None => fs::remove_file(&self.path).map_err(|error| Failure::file(&self.path, "remove", &error)),
        };
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Not there any more once it was put in its place.
        let _ = fs::remove_file(&self.beside);
    }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

/// An archive or a folder of Pi-hole.
fn pihole(path: &Path) -> Result<Import, Failure> {
    let name = path.display().to_string();
    if !path.is_dir() {
        let bytes = read(path, limits::MAX_ARCHIVE_BYTES)?;
        let files = Files::unpack(&name, &bytes).map_err(refused)?;
        return ::import::pihole(&files, None).map_err(refused);
    }
    let mut files = Files::new(&name);
    let mut database = None;
    for (found, known) in look(path)? {
        if known != "gravity.db" {
            if files.get(&known).is_none() {
                files.add(known.clone(), read(&found, Files::limit(&known))?);
            }
        } else if database.is_none() {
            database = Some(gravity(&found)?);
        }
    }
    ::import::pihole(&files, database).map_err(refused)
}

/// Reads a database without holding it twice.
fn gravity(path: &Path) -> Result<Gravity, Failure> {
    let name = path.display().to_string();
    let mut journal = path.as_os_str().to_owned();
    journal.push("-wal");
    if fs::metadata(journal).is_ok_and(|journal| journal.len() > 0) {
        return Err(Failure::Usage {
            message: format!("{name} is being written: it has a journal beside it"),
            help: Some("stop Pi-hole first, or import a Teleporter archive".into()),
        });
    }
    let file = File::open(path).map_err(|error| Failure::file(path, "read", &error))?;
    let length = file.metadata().map_err(|error| Failure::file(path, "read", &error))?.len();
    Gravity::read(&name, file, usize::try_from(length).unwrap_or(usize::MAX)).map_err(refused)
}

/// Files of Pi-hole in a folder, those higher up first: what the folder itself is called says nothing. For `/etc/pihole`
/// that of dnsmasq beside it is one of its own.
fn look(folder: &Path) -> Result<Vec<(PathBuf, String)>, Failure> {
    let mut found = Vec::new();
    let mut entries = 0;
    let mut open = vec![folder.to_owned()];
    let root = folder;
    open.extend(folder.parent().map(|parent| parent.join("dnsmasq.d")).filter(|beside| beside.is_dir()));
    for _ in 0..=MOST_LEVELS {
        for folder in std::mem::take(&mut open) {
            let failed = |error| Failure::file(&folder, "read", &error);
            let mut paths = Vec::new();
            for entry in fs::read_dir(&folder).map_err(failed)? {
                entries += 1;
                if entries > MOST_ENTRIES {
                    return Err(Failure::Usage {
                        message: format!("{} has more than {MOST_ENTRIES} files", folder.display()),
                        help: Some("give the folder /etc/pihole, or a Teleporter archive".into()),
                    });
                }
                paths.push(entry.map_err(failed)?.path());
            }
            paths.sort();
            for path in paths {
                // What links lead to may be anything.
                let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
                if metadata.is_dir() {
                    open.push(path);
                } else if metadata.is_file()
                    && let Some(known) = Files::known(&within(root, &path).display().to_string())
                {
                    found.push((path, known));
                }
            }
        }
    }
    Ok(found)
}

/// A path as it is in the folder, or beside it.
fn within<'a>(folder: &Path, path: &'a Path) -> &'a Path {
    let beside = || folder.parent().and_then(|parent| path.strip_prefix(parent).ok());
    path.strip_prefix(folder).ok().or_else(beside).unwrap_or(path)
}

/// Reads a file of at most so many bytes.
fn read(path: &Path, most: usize) -> Result<Vec<u8>, Failure> {
    let failed = |error| Failure::file(path, "read", &error);
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    // One byte more than is taken, so that whoever looks says that it is too long.
    file.take(most as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn refused(error: ImportError) -> Failure {
    let message = format!("{error}; nothing was imported");
    Failure::Usage { message, help: Some(error.help) }
}

fn print(output: &mut Output<'_>, imported: &Imported<'_>, to: &To) -> io::Result<()> {
    print_report(output, imported)?;
    if !imported.written.is_empty() {
        output.line("")?;
        for path in &imported.written {
            let line = format!("written: {}", output.paint(path, Paint::Title));
            output.line(&line)?;
        }
        let config = to.into.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        return output.sentence(&format!(
            "Look at it with `secctl diff {}`, put it in force with `secctl apply --confirm 60s`.",
            shell(&config)
        ));
    }
    if to.dry_run {
        return Ok(());
    }
    output.line("")?;
    output.raw(imported.config.as_bytes())?;
    for file in &imported.files {
        output.line("")?;
        let line = format!("# {}:", output.paint(&file.path, Paint::Plain));
        output.line(&line)?;
        for line in file.text.lines() {
            let line = format!("#     {}", output.paint(line, Paint::Plain));
            output.line(&line)?;
        }
    }
    Ok(())
}

fn print_report(output: &mut Output<'_>, imported: &Imported<'_>) -> io::Result<()> {
    let report = imported.report;
    let title = output.paint(&report.source, Paint::Title);
    output.line(&title)?;
    output.line("")?;
    let rows = report
        .taken
        .iter()
        .map(|taken| vec![painted(&taken.kind, Paint::Good), plain(taken.count.to_string())]);
    output.table(&[Column::new("TAKEN OVER"), Column::new("COUNT").right()], rows.collect())?;
    if !report.translated.is_empty() {
        output.line("")?;
        let rows = report.translated.iter().map(|one| vec![plain(&one.what), plain(&one.how)]);
        output.table(&[Column::new("TRANSLATED"), Column::new("IS NOW")], rows.collect())?;
    }
    if !report.left.is_empty() {
        output.line("")?;
        let rows = report
            .left
            .iter()
            .map(|one| vec![painted(&one.what, Paint::Warn), plain(&one.why), plain(&one.help)]);
        output.table(
            &[Column::new("NOT TAKEN"), Column::new("WHY"), Column::new("WHAT TO DO")],
            rows.collect(),
        )?;
    }
    if !imported.replaced.is_empty() {
        output.line("")?;
        let replaced = count(imported.replaced.len() as u64, "place", "places");
        output.sentence(&format!("Replaced in the config, {replaced}: {}", imported.replaced.join(", ")))?;
    }
    Ok(())
}
