//! Time as an input: the engine is told what time it is, by the system's clocks or by a test.

use model::Timestamp;
use std::time::{Duration, Instant, SystemTime};

/// A moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Time since some start, never set back.
    pub steady: Duration,
    /// The date.
    pub date: Timestamp,
}

/// Who knows the time.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Now;
}

/// The system's clocks.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock(Instant);

impl Default for SystemClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let date = Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX));
        Now { steady: self.0.elapsed(), date }
    }
}
