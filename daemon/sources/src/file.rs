//! The task of one file.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::config::{Format, Position, Trust};
use crate::container::Unwrap;
use crate::limits;
use crate::outlet::Outlet;
use crate::tail::{Step, Tail};
use crate::watch::{Guard, Watch};

/// Which file.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    pub(crate) format: Format,
    /// It was found by a pattern, and nobody wonders when it goes.
    pub(crate) is_one_of_many: bool,
}

/// Follows a file until told to stop; returns how far lines were delivered.
pub(crate) async fn run(outlet: Outlet, watch: Arc<Watch>, place: Place, mut tail: Tail) -> Option<Position> {
    let waker = Arc::new(Notify::new());
    let mut guards: Vec<Guard> = Vec::new();
    let mut delivered = tail.position();
    let mut unwrap = Unwrap::new(place.format, delivered);
    let mut oversized = 0;
    let mut gone_since: Option<Instant> = None;
    if outlet.is_whole() {
        outlet.status(|status| status.position = delivered);
    }
    let mut stop = outlet.stop.clone();
    loop {
        if guards.is_empty() {
            guards = watches(&watch, &place.path, &waker);
        }
        let now = Instant::now();
        let (step, mut error) = match tail.step(now) {
            Ok(step) => (step, tail.trouble()),
            Err(error) => (Step::default(), Some(error)),
        };
        gone_since = if tail.is_gone() { gone_since.or(Some(now)) } else { None };
        for notice in step.notices {
            // The target of a link may be another one now.
            guards.clear();
            outlet.notice(notice);
        }
        for (raw, position) in step.lines {
            let Some(inner) = unwrap.take(raw, position) else { continue };
            let mut line = outlet.line(inner.bytes, Trust::File);
            (line.written, line.position) = (inner.written, inner.position);
            let sent = tokio::select! {
                biased;
                _ = stop.changed() => false,
                sent = outlet.lines.send(line) => sent.is_ok(),
            };
            if !sent {
                return delivered;
            }
            delivered = inner.position.or(delivered);
            outlet.count_line(delivered);
        }
        let unreadable = || Some(format!("{}: {}", place.path.display(), unwrap.trouble()?));
        error = error.or_else(unreadable);
        if gone_since.is_some_and(|since| now.duration_since(since) >= limits::MISSING)
            && !place.is_one_of_many
        {
            error = Some(format!(
                "there is no {}; it is read from its beginning as soon as it is there",
                place.path.display()
            ));
        }
        outlet.set_error(error);
        if place.format == Format::Plain {
            delivered = delivered.or_else(|| tail.position());
        }
        let before = std::mem::replace(&mut oversized, tail.oversized + unwrap.oversized);
        outlet.status(|status| {
            status.oversized += oversized - before;
            if outlet.is_whole() {
                status.position = delivered;
            }
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
