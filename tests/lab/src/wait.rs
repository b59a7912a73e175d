//! Waiting for a condition with a deadline, and for Ctrl-C.

use anyhow::{Context, Result, bail};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(5);

/// Waits, and knows whether someone asked to stop.
#[derive(Clone, Debug, Default)]
pub struct Waiter(Arc<AtomicBool>);

impl Waiter {
    /// One that stops at Ctrl-C, `SIGTERM` and `SIGHUP`.
    ///
    /// # Errors
    /// The process has such a handler already.
    pub fn that_stops_at_signals() -> Result<Self> {
        let waiter = Self::default();
        let asked = Arc::clone(&waiter.0);
        ctrlc::set_handler(move || asked.store(true, Ordering::SeqCst)).context("cannot handle Ctrl-C")?;
        Ok(waiter)
    }

    /// Whether someone asked to stop.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Looks at `condition` until it gives something, fails, or `limit` is over.
    ///
    /// # Errors
    /// The condition's own, the deadline (naming `what`), or a request to stop.
    pub fn until<T>(
        &self,
        what: &str,
        limit: Duration,
        mut condition: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let begun = Instant::now();
        loop {
            if let Some(value) = condition().with_context(|| format!("while waiting for {what}"))? {
                return Ok(value);
            }
            if self.stopped() {
                bail!("stopped while waiting for {what}");
            }
            if begun.elapsed() > limit {
                bail!("{what} did not happen within {} s", limit.as_secs_f32());
            }
            pause(POLL);
        }
    }

    /// Waits until someone asks to stop.
    pub fn until_stopped(&self) {
        while !self.stopped() {
            pause(Duration::from_millis(100));
        }
    }
}

/// The one place where the lab pauses; always inside a loop with a condition.
#[expect(clippy::disallowed_methods, reason = "the pause between two looks at a condition")]
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_names_what_did_not_happen() {
        let error = Waiter::default().until("the moon", Duration::ZERO, || Ok(None::<()>)).unwrap_err();
        assert!(error.to_string().contains("the moon"), "{error}");
        let mut left = 3;
        let value = Waiter::default().until("zero", Duration::from_secs(5), || {
            left -= 1;
            Ok((left == 0).then_some(left))
        });
        assert_eq!(value.unwrap(), 0);
    }
}
