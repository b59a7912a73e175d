//! A capture from disk through the rules.

use std::path::Path;
use std::sync::Arc;

use signatures::{CaptureReport, EveAlert, Limits, RuleSet, inspect_capture, pcap::CaptureError};

/// Why a capture could not be inspected.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// It cannot be opened.
    #[error("{path}: {source}")]
    Open {
        /// The file.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// It cannot be read.
    #[error(transparent)]
    Capture(#[from] CaptureError),
}

/// Judges the capture at `path`, and calls `alert` for each alert in order.
///
/// # Errors
/// If it cannot be opened or read; alerts of what could be read were given.
pub fn inspect_pcap(
    path: &Path,
    rules: Arc<RuleSet>,
    limits: Limits,
    alert: &mut dyn FnMut(EveAlert),
) -> Result<CaptureReport, InspectError> {
    let name = path.display().to_string();
    let file =
        std::fs::File::open(path).map_err(|source| InspectError::Open { path: name.clone(), source })?;
    Ok(inspect_capture(file, &name, rules, limits, alert)?)
}
