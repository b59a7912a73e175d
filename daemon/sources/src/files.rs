//! The task of all files of a pattern: it looks for new ones, lets go of those that are gone, and follows each by a task.

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::config::{Format, Position, Start};
use crate::file::{self, Place};
use crate::glob::{self, Found};
use crate::handle::Positions;
use crate::limits;
use crate::outlet::Outlet;
use crate::tail::Tail;
use crate::watch::Watch;

/// Device and inode.
type Inode = (u64, u64);

/// The files of a pattern.
pub(crate) struct Files {
    outlet: Outlet,
    watch: Arc<Watch>,
    pattern: PathBuf,
    format: Format,
    followed: HashMap<PathBuf, Followed>,
    /// Files of the last look, by what they are: one with another name now was rotated and is not a new one.
    seen: HashMap<Inode, PathBuf>,
    /// Names of files that were rotated.
    rotated: HashSet<PathBuf>,
}

/// One that is followed.
struct Followed {
    outlet: Outlet,
    stop: watch::Sender<bool>,
    task: JoinHandle<Option<Position>>,
}

/// Under what the position of one file of many is kept.
fn kept_as(name: &str, path: &Path) -> String {
    format!("{name}\n{}", path.display())
}

/// The path of a file of this source, out of what its position is kept under.
pub(crate) fn path_of<'k>(name: &str, kept_as: &'k str) -> Option<&'k Path> {
    kept_as.strip_prefix(name)?.strip_prefix('\n').map(Path::new)
}

impl Files {
    pub(crate) fn new(outlet: Outlet, watch: Arc<Watch>, pattern: PathBuf, format: Format) -> Self {
        let (followed, seen, rotated) = Default::default();
        Self { outlet, watch, pattern, format, followed, seen, rotated }
    }

    /// Follows them until told to stop; returns how far lines were delivered.
    pub(crate) async fn run(mut self, start: Start, mut known: HashMap<String, Position>) -> Positions {
        let mut stop = self.outlet.stop.clone();
        let mut start = start;
        loop {
            let pattern = self.pattern.clone();
            let looked = tokio::task::spawn_blocking(move || look(&pattern)).await;
            if let Ok((found, inodes)) = looked {
                self.tell(&found);
                self.drop_gone(&found.files).await;
                self.follow_new(&found.files, &inodes, start, &mut known);
                self.seen = inodes.into_iter().map(|(path, inode)| (inode, path)).collect();
                self.outlet.status(|status| status.files = self.followed.len());
                // What appears from now on is new from its beginning.
                start = Start::Beginning;
                known.clear();
            }
            if timeout(limits::LOOK, stop.changed()).await.is_ok() {
                break;
            }
        }
        let mut positions = Positions::new();
        for followed in self.followed.values() {
            followed.stop.send_replace(true);
        }
        for (_, followed) in self.followed.drain() {
            if let Ok(Some(position)) = followed.task.await {
                positions.push((followed.outlet.kept_as.to_string(), position));
            }
        }
        positions
    }

    fn tell(&self, found: &Found) {
        self.outlet.set_error(found.more.then(|| {
            format!(
                "{} fits more than {} files; the others are not read: write a narrower pattern, or several logs",
                self.pattern.display(),
                limits::MAX_FILES
            )
        }));
    }

    async fn drop_gone(&mut self, files: &[PathBuf]) {
        let is_there = |path: &PathBuf| files.binary_search(path).is_ok();
        self.rotated.retain(is_there);
        let gone: Vec<PathBuf> = self.followed.keys().filter(|path| !is_there(path)).cloned().collect();
        for path in gone {
            if let Some(followed) = self.followed.remove(&path) {
                followed.stop.send_replace(true);
                followed.task.await.ok();
                followed.outlet.forget_error();
            }
        }
    }

    fn follow_new(
        &mut self,
        files: &[PathBuf],
        inodes: &HashMap<PathBuf, Inode>,
        start: Start,
        known: &mut HashMap<String, Position>,
    ) {
        for path in files {
            if self.followed.contains_key(path) || self.rotated.contains(path) {
                continue;
            }
            let former = inodes.get(path).and_then(|inode| self.seen.get(inode));
            if former.is_some_and(|former| former != path) {
                self.rotated.insert(path.clone());
                continue;
            }
            let kept_as = kept_as(&self.outlet.name, path);
            let mut tail = Tail::new(path.clone(), start, known.remove(&kept_as));
            tail.prepare();
            let (stop, stopped) = watch::channel(false);
            let outlet = self.outlet.of_part(&kept_as, stopped);
            let place = Place { path: path.clone(), format: self.format, is_one_of_many: true };
            let task = tokio::spawn(file::run(outlet.clone(), Arc::clone(&self.watch), place, tail));
            self.followed.insert(path.clone(), Followed { outlet, stop, task });
        }
    }
}

fn look(pattern: &Path) -> (Found, HashMap<PathBuf, Inode>) {
    let found = glob::expand(pattern);
    let inode = |path: &PathBuf| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((path.clone(), (metadata.dev(), metadata.ino())))
    };
    let inodes = found.files.iter().filter_map(inode).collect();
    (found, inodes)
}
