//! One inotify watcher for all files. It watches folders, since a rotated file is a new name in a folder, and wakes
//! whoever follows a file whose name an event's begins with.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

type Wakers = Arc<Mutex<Vec<(PathBuf, Arc<Notify>)>>>;

/// The watcher. Without one (or where a folder cannot be watched) polling has to do.
#[derive(Debug)]
pub(crate) struct Watch {
    wakers: Wakers,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    watcher: Option<RecommendedWatcher>,
    folders: HashMap<PathBuf, usize>,
}

impl Watch {
    pub(crate) fn new() -> Arc<Self> {
        let wakers = Wakers::default();
        let seen = Arc::clone(&wakers);
        let watcher =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| wake(&seen, event));
        if let Err(error) = &watcher {
            tracing::warn!("log files are polled: no inotify: {error}");
        }
        let inner = Inner { watcher: watcher.ok(), folders: HashMap::new() };
        Arc::new(Self { wakers, inner: Mutex::new(inner) })
    }

    /// Wakes `waker` when something happens to `path` or to a name that begins with it, until the guard is dropped.
    pub(crate) fn watch(self: &Arc<Self>, path: &Path, waker: &Arc<Notify>) -> Result<Guard, String> {
        let folder = folder_of(path);
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let count = inner.folders.get(&folder).copied().unwrap_or(0);
        if count == 0 {
            let watcher = inner.watcher.as_mut().ok_or("no inotify")?;
            watcher.watch(&folder, RecursiveMode::NonRecursive).map_err(|error| error.to_string())?;
        }
        inner.folders.insert(folder.clone(), count + 1);
        let mut wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        let path = folder.join(path.file_name().unwrap_or_default());
        wakers.push((path.clone(), Arc::clone(waker)));
        Ok(Guard { watch: Arc::clone(self), folder, path, waker: Arc::clone(waker) })
    }
}

/// Ends a watch when dropped.
#[derive(Debug)]
pub(crate) struct Guard {
    watch: Arc<Watch>,
    folder: PathBuf,
    path: PathBuf,
    waker: Arc<Notify>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut inner = self.watch.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let left = inner.folders.get(&self.folder).copied().unwrap_or(1) - 1;
        if left == 0 {
            inner.folders.remove(&self.folder);
            if let Some(watcher) = inner.watcher.as_mut() {
                // A folder that is gone is not watched any more anyway.
                drop(watcher.unwatch(&self.folder));
            }
        } else {
            inner.folders.insert(self.folder.clone(), left);
        }
        let mut wakers = self.watch.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        wakers.retain(|(path, waker)| *path != self.path || !Arc::ptr_eq(waker, &self.waker));
    }
}

fn wake(wakers: &Wakers, event: notify::Result<notify::Event>) {
    let wakers = wakers.lock().unwrap_or_else(PoisonError::into_inner);
    let concerns = |path: &Path| match &event {
        // Reading a file is an event, too, and our own.
        Ok(event) if matches!(event.kind, EventKind::Access(_)) => false,
        Ok(event) if !event.need_rescan() => event.paths.iter().any(|changed| {
            changed.parent() == path.parent() && begins_with(changed, path) || path.starts_with(changed)
        }),
        Ok(_) | Err(_) => true,
    };
    for (path, waker) in wakers.iter() {
        if concerns(path) {
            waker.notify_one();
        }
    }
}

fn begins_with(changed: &Path, path: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    match (changed.file_name(), path.file_name()) {
        (Some(changed), Some(name)) => changed.as_bytes().starts_with(name.as_bytes()),
        _ => false,
    }
}

fn folder_of(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    folder.canonicalize().unwrap_or_else(|_| folder.to_owned())
}
