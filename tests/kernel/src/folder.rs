//! A place for pins that goes with the test.

use std::path::{Path, PathBuf};

/// A folder in the BPF file system with this process in its name. Everything under it is detached on drop.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Names a folder for `test`.
    #[must_use]
    pub fn new(test: &str) -> Self {
        Self { path: Path::new("/sys/fs/bpf").join(format!("secd-test-{}-{test}", std::process::id())) }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = enforce::xdp::detach_all(&self.path);
        let _ = std::fs::remove_dir(&self.path);
    }
}

/// Whether this machine can run kernel tests; if not, says on stderr that `test` is skipped, and why.
#[must_use]
pub fn can_run(test: &str) -> bool {
    let folder = Folder::new(test);
    // SAFETY: takes nothing, gives a number.
    let reason = if unsafe { libc::geteuid() } != 0 {
        "not root".to_owned()
    } else if let Err(error) = enforce::xdp::ensure_bpffs(folder.path()) {
        error.to_string()
    } else {
        return true;
    };
    eprintln!("SKIP: {test}: {reason}");
    false
}
