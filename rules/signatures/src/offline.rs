//! A whole capture through the engine.

use std::io::Read;
use std::sync::Arc;

use crate::eve::EveAlert;
use crate::inspector::{Counters, Inspector};
use crate::limits::Limits;
use crate::pcap::{self, CaptureError, CaptureSummary};
use crate::ruleset::RuleSet;

/// What a capture held and what was seen in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaptureReport {
    /// The capture.
    pub capture: CaptureSummary,
    /// The engine.
    pub counters: Counters,
}

/// Judges a capture (pcap or pcapng) from its bytes, and calls `alert` for each alert in order. `name` is the file's
/// name for messages.
///
/// # Errors
/// If it is no capture, a record is wrong or `source` fails; alerts of what stands before that were given.
pub fn inspect_capture(
    source: impl Read + Send,
    name: &str,
    rules: Arc<RuleSet>,
    limits: Limits,
    alert: &mut dyn FnMut(EveAlert),
) -> Result<CaptureReport, CaptureError> {
    let mut inspector = Inspector::new(rules, limits);
    let capture = pcap::read(source, name, |packet| match packet.link {
        Some(link) => {
            for found in inspector.packet(packet.at, link, packet.frame).alerts {
                alert(EveAlert::from(found));
            }
        }
        None => inspector.skip(),
    })?;
    Ok(CaptureReport { capture, counters: inspector.counters() })
}
