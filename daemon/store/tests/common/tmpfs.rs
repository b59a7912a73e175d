//! A small disk.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A small disk, gone when dropped.
pub(crate) struct Tmpfs(PathBuf);

impl Tmpfs {
    /// One of so many bytes as mount(8) has them; none where that is not allowed.
    pub(crate) fn mount(at: &Path, size: &str) -> Option<Self> {
        Self::run(&["-t", "tmpfs", "-o", &format!("size={size}"), "secd-test"], at)
            .then(|| Self(at.to_owned()))
    }

    /// mount(8) with these words.
    pub(crate) fn run(arguments: &[&str], at: &Path) -> bool {
        Command::new("mount")
            .args(arguments)
            .arg(at)
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
