//! Says what is being measured: a moving line on a terminal, plain lines elsewhere.

use crate::report::Case;
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

/// The line.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    begun: Instant,
}

impl Progress {
    /// Begins.
    pub(crate) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} [{elapsed}]") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { bar, begun: Instant::now() }
    }

    /// What is being done now.
    pub(crate) fn at(&self, what: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(what.to_owned()),
            None => eprintln!("{:6.1} s  {what}", self.begun.elapsed().as_secs_f64()),
        }
    }

    /// A result, for those who look on where no line moves.
    pub(crate) fn found(&self, case: &Case) {
        if self.bar.is_none() {
            eprintln!("          {}", case.words());
        }
    }

    /// Ends; returns how long it took.
    pub(crate) fn end(&self) -> Duration {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.begun.elapsed()
    }
}
