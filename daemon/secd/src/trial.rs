//! A config on trial, on disk: what is written before it comes into force, so that whatever happens to the daemon, the
//! next one knows which config was confirmed.
//!
//! The confirmed config is always whole in two places: the config file, and its copy in the state folder. The text on
//! trial lies in the state folder as `secd.toml.unconfirmed` (and beside the config file, ready to replace it, where it
//! comes from elsewhere). A daemon that starts and finds it knows that nobody confirmed. Where someone edited the config
//! file itself, the copy stands in for it from then on, over restarts too, until the file changes or someone says
//! `secctl reload`.

use std::{
    fs, io,
    io::Write,
    os::unix::fs::{MetadataExt as _, fchown},
    path::{Path, PathBuf},
};

/// Ending of the files that hold what nobody has confirmed.
const UNCONFIRMED: &str = "unconfirmed";

/// The files of one appliance.
#[derive(Clone, Debug)]
pub struct ConfigFiles {
    config: PathBuf,
    state: PathBuf,
}

impl ConfigFiles {
    /// The files of the daemon with this config file and state folder.
    #[must_use]
    pub fn new(config: &Path, state: &Path) -> Self {
        Self { config: config.to_owned(), state: state.to_owned() }
    }

    /// The config file.
    #[must_use]
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// The copy of the config that was last in force for good.
    #[must_use]
    pub fn good(&self) -> PathBuf {
        self.state.join("secd.toml")
    }

    /// What nftables is given before the daemon is up, see [`enforce::nft::early`].
    #[must_use]
    pub fn early(&self) -> PathBuf {
        self.state.join("early.nft.json")
    }

    /// Keeps what nftables is given before the daemon is up.
    ///
    /// # Errors
    /// It cannot be written; the former one is whole.
    pub fn keep_early(&self, transaction: &[u8]) -> io::Result<()> {
        let file = self.early();
        if fs::read(&file).is_ok_and(|kept| kept == transaction) {
            return Ok(());
        }
        durable(&file, transaction, None)
    }

    /// Keeps `text` as the config that is in force for good.
    ///
    /// # Errors
    /// The copy cannot be written; the former one is whole.
    pub fn keep(&self, text: &str) -> io::Result<()> {
        if fs::read(self.good()).is_ok_and(|kept| kept == text.as_bytes()) {
            return Ok(());
        }
        durable(&self.good(), text, None)
    }

    /// Writes down that `text` is on trial, before it is put in force.
    ///
    /// # Errors
    /// Something cannot be written: then there must be no trial. Nothing is left behind.
    pub fn begin(&self, text: &str) -> io::Result<()> {
        durable(&self.marker(), text, None)?;
        if self.says(text) {
            return Ok(());
        }
        // Written now, so that a folder that cannot be written to is found out before anything changes.
        self.stage(text).inspect_err(|_| self.forget())
    }

    /// Makes `text` the config for good: it is on trial, or comes without one.
    ///
    /// # Errors
    /// Something cannot be written. The config file is either the former or the new one, whole.
    pub fn confirm(&self, text: &str) -> io::Result<()> {
        self.keep(text)?;
        remove(&self.marker())?;
        if self.says(text) {
            return remove(&self.staged());
        }
        let (staged, target) = (self.staged(), self.target());
        if !fs::read(&staged).is_ok_and(|held| held == text.as_bytes()) {
            self.stage(text)?;
        }
        // Without the capability to give files away a new one would be ours: the old one is kept then, with new text.
        if owner(&target).is_none_or(|owned| Some(owned) == owner(&staged)) {
            fs::rename(&staged, &target)?;
        } else {
            overwrite(&target, text)?;
            remove(&staged)?;
        }
        sync_folder(&target)
    }

    /// Finishes what a loss of power cut off: the config file is half of what was confirmed, the whole of it lies beside it
    /// and is the copy. To be called before anything is read.
    pub fn finish(&self) {
        let Ok(staged) = fs::read_to_string(self.staged()) else { return };
        if self.has_trial() || !fs::read(self.good()).is_ok_and(|good| good == staged.as_bytes()) {
            return;
        }
        let finished = if self.says(&staged) { Ok(()) } else { overwrite(&self.target(), &staged) };
        if let Err(error) = finished.and_then(|()| remove(&self.staged())) {
            tracing::warn!(%error, "a confirmed config cannot be written into its file; its copy holds the whole of it");
        }
    }

    /// Writes `text` beside the config file, as far as can be with its owner and permissions.
    fn stage(&self, text: &str) -> io::Result<()> {
        durable(&self.staged(), text, fs::metadata(self.target()).ok())
    }

    /// The trial is over and nobody confirmed. Where the config file itself holds what was tried, that stays written
    /// down: see [`Self::is_refused`].
    pub fn abandon(&self) {
        let staged = remove(&self.staged());
        let marker = if self.is_refused() { Ok(()) } else { remove(&self.marker()) };
        if let Err(error) = staged.and(marker) {
            tracing::warn!(%error, "what is left of a trial cannot be removed");
        }
    }

    /// Whether the config file holds a text that was tried and not confirmed: the copy stands in for it.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        fs::read_to_string(self.marker()).is_ok_and(|tried| self.says(&tried))
    }

    /// Whether something is or was on trial.
    #[must_use]
    pub fn has_trial(&self) -> bool {
        self.marker().exists()
    }

    /// Someone takes what stands in the config file on purpose.
    pub fn forget(&self) {
        if let Err(error) = remove(&self.marker()).and(remove(&self.staged())) {
            tracing::warn!(%error, "what is left of a trial cannot be removed");
        }
    }

    fn says(&self, text: &str) -> bool {
        fs::read(&self.config).is_ok_and(|held| held == text.as_bytes())
    }

    /// The config file behind links: what is replaced is the file, not the link to it.
    fn target(&self) -> PathBuf {
        fs::canonicalize(&self.config).unwrap_or_else(|_| self.config.clone())
    }

    fn marker(&self) -> PathBuf {
        self.state.join(format!("secd.toml.{UNCONFIRMED}"))
    }

    fn staged(&self) -> PathBuf {
        let mut name = self.target().into_os_string();
        name.push(".");
        name.push(UNCONFIRMED);
        name.into()
    }
}

/// Writes new text into a file that stays the same: its owner, permissions and links are kept. Not cut before, so that
/// it is never empty; where a loss of power leaves it half written, [`ConfigFiles::finish`] writes the rest.
fn overwrite(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)?;
    file.sync_all()
}

/// User and group of a file.
fn owner(path: &Path) -> Option<(u32, u32)> {
    fs::metadata(path).ok().map(|file| (file.uid(), file.gid()))
}

/// Writes a file whole or not at all, so that it is there after a loss of power. `like`: with the permissions of that
/// file, and its owner where that is allowed.
pub(crate) fn durable(path: &Path, text: impl AsRef<[u8]>, like: Option<fs::Metadata>) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let fresh = PathBuf::from(name);
    let written = (|| {
        let mut file = fs::File::create(&fresh)?;
        file.write_all(text.as_ref())?;
        if let Some(like) = like {
            // Where this is not allowed the file stays ours.
            let _ = fchown(&file, Some(like.uid()), Some(like.gid()));
            file.set_permissions(like.permissions())?;
        }
        file.sync_all()?;
        fs::rename(&fresh, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    written?;
    sync_folder(path)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path) -> ConfigFiles {
        let state = folder.join("state");
        fs::create_dir_all(&state).unwrap();
        ConfigFiles::new(&folder.join("secd.toml"), &state)
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_config_from_elsewhere_replaces_the_file_at_confirm_only() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        fs::write(files.config(), "old").unwrap();
        files.keep("old").unwrap();
        files.begin("new").unwrap();
        assert_eq!(fs::read_to_string(files.config()).unwrap(), "old");
        assert!(files.has_trial() && !files.is_refused());
        files.confirm("new").unwrap();
        assert_eq!(fs::read_to_string(files.config()).unwrap(), "new");
        assert_eq!(fs::read_to_string(files.good()).unwrap(), "new");
        assert_eq!(names(folder.path()), ["secd.toml", "state"]);
        assert_eq!(names(&folder.path().join("state")), ["secd.toml"]);
    }

    #[test]
    fn what_nobody_confirms_leaves_the_file_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        fs::write(files.config(), "old").unwrap();
        files.keep("old").unwrap();
        files.begin("new").unwrap();
        files.abandon();
        assert_eq!(fs::read_to_string(files.config()).unwrap(), "old");
        assert!(!files.has_trial());
        assert_eq!(names(folder.path()), ["secd.toml", "state"]);
    }

    #[test]
    fn an_edited_file_that_nobody_confirms_is_stood_in_for_until_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        files.keep("old").unwrap();
        fs::write(files.config(), "new").unwrap();
        files.begin("new").unwrap();
        files.abandon();
        assert!(files.is_refused(), "over restarts too");
        files.abandon();
        assert!(files.is_refused());
        fs::write(files.config(), "newer").unwrap();
        assert!(!files.is_refused());
        fs::write(files.config(), "new").unwrap();
        assert!(files.is_refused());
        files.forget();
        assert!(!files.is_refused());
    }

    #[test]
    fn a_file_that_was_half_written_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        let half = |config: &str, good: &str, staged: &str| {
            fs::write(files.config(), config).unwrap();
            fs::write(files.good(), good).unwrap();
            fs::write(files.staged(), staged).unwrap();
            files.finish();
            (fs::read_to_string(files.config()).unwrap(), files.staged().exists())
        };
        assert_eq!(
            half("new, and the old rest", "new, and longer", "new, and longer"),
            ("new, and longer".into(), false)
        );
        assert_eq!(half("new", "new", "new"), ("new".into(), false), "written, and not yet tidied up");
        assert_eq!(half("old", "old", "new"), ("old".into(), true), "nobody confirmed that");
        fs::write(files.marker(), "new").unwrap();
        assert_eq!(half("old", "new", "new"), ("old".into(), true), "on trial");
    }

    #[test]
    fn a_confirmed_file_keeps_its_permissions_and_its_link() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        let real = folder.path().join("real.toml");
        fs::write(&real, "old").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o604)).unwrap();
        std::os::unix::fs::symlink(&real, files.config()).unwrap();
        files.begin("new").unwrap();
        files.confirm("new").unwrap();
        assert!(fs::symlink_metadata(files.config()).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o604);
    }

    #[test]
    fn a_confirmed_file_keeps_its_owner() {
        use caps::{CapSet, Capability};
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        fs::write(files.config(), "an old text that is longer").unwrap();
        if std::os::unix::fs::chown(files.config(), None, Some(4)).is_err() {
            eprintln!("SKIP: a_confirmed_file_keeps_its_owner: not root");
            return;
        }
        fs::set_permissions(files.config(), fs::Permissions::from_mode(0o640)).unwrap();
        // As a daemon that may give files away, and as secd, which may not. Capabilities are a thread's own.
        for text in ["new", "newer"] {
            files.begin(text).unwrap();
            files.confirm(text).unwrap();
            assert_eq!(fs::read_to_string(files.config()).unwrap(), text);
            let file = fs::metadata(files.config()).unwrap();
            assert_eq!((file.uid(), file.gid(), file.mode() & 0o777), (0, 4, 0o640), "{text}");
            assert_eq!(names(folder.path()), ["secd.toml", "state"]);
            caps::drop(None, CapSet::Effective, Capability::CAP_CHOWN).unwrap();
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_to_is_found_out_before_the_trial() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        fs::create_dir_all(&state).unwrap();
        let files = ConfigFiles::new(&folder.path().join("missing/secd.toml"), &state);
        assert!(files.begin("new").is_err());
        assert!(!files.has_trial());
    }
}
