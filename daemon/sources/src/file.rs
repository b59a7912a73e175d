//! The task of one file.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::config::{Line, Position, Trust};
use crate::handle::Outlet;
use crate::limits;
use crate::tail::Tail;
use crate::watch::{Guard, Watch};

/// Follows a file until told to stop; returns how far lines were delivered.
pub(crate) async fn run(
    outlet: Outlet,
    watch: Arc<Watch>,
    path: PathBuf,
    mut tail: Tail,
) -> Option<Position> {
    let waker = Arc::new(Notify::new());
    let mut guards: Vec<Guard> = Vec::new();
    let mut delivered = tail.position();
    outlet.status(|status| status.position = delivered);
    let mut stop = outlet.stop.clone();
    loop {
        if guards.is_empty() {
            guards = watches(&watch, &path, &waker);
        }
        let step = match tail.step(Instant::now()) {
            Ok(step) => {
                outlet.set_error(None);
                step
            }
            Err(error) => {
                outlet.set_error(Some(error));
                crate::tail::Step::default()
            }
        };
        for notice in step.notices {
            // The target of a link may be another one now.
            guards.clear();
            outlet.notice(notice);
        }
        let received = Instant::now();
        for (bytes, position) in step.lines {
            let line = Line {
                source: Arc::clone(&outlet.name),
                bytes,
                trust: Trust::File,
                sender: None,
                position: Some(position),
                received,
            };
            let sent = tokio::select! {
                biased;
                _ = stop.changed() => false,
                sent = outlet.lines.send(line) => sent.is_ok(),
            };
            if !sent {
                return delivered;
            }
            delivered = Some(position);
            outlet.count_line(delivered);
        }
        delivered = delivered.or_else(|| tail.position());
        outlet.status(|status| {
            status.oversized = tail.oversized;
            status.position = delivered;
        });
        if step.more {
            tokio::task::yield_now().await;
            if *stop.borrow() {
                return delivered;
            }
            continue;
        }
        tokio::select! {
            biased;
            _ = stop.changed() => return delivered,
            _ = timeout(limits::POLL, waker.notified()) => {}
        }
    }
}

/// Watches the folder of the name, and of the file a link stands for. What cannot be watched is polled.
fn watches(watch: &Arc<Watch>, path: &std::path::Path, waker: &Arc<Notify>) -> Vec<Guard> {
    let target = path.canonicalize().ok().filter(|target| target.file_name() != path.file_name());
    let paths = std::iter::once(path.to_owned()).chain(target);
    paths.filter_map(|path| watch.watch(&path, waker).ok()).collect()
}
