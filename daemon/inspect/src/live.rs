//! Live frames through the rules.

use std::sync::Arc;

use abi::FlowKey;
use model::Timestamp;
use signatures::{Alert, Counters, FlowDirection, FlowVerdict, Inspector, Limits, LinkType, RuleSet};

use crate::frame::CopiedFrame;

/// Payload of one direction after which a flow with nothing pending is looked at no more.
pub const BYPASS_BYTES: u64 = 48 * 1024;

/// A rule has matched in live traffic.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The tuple of the frame that completed the match.
    pub flow: FlowKey,
    /// Zone in which the flow started.
    pub zone_from: abi::ZoneId,
    /// Zone to which it goes.
    pub zone_to: abi::ZoneId,
    /// What matched.
    pub alert: Alert,
    /// The flow is to be cut.
    pub cut: bool,
}

/// What a frame led to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Rules that matched.
    pub findings: Vec<Finding>,
    /// This tuple is to be cut: by a finding now, or because its flow was cut before under the tuple of its other
    /// direction (addresses may be translated between the two).
    pub cut: Option<FlowKey>,
    /// Nothing more of this tuple needs to be copied.
    pub bypass: Option<FlowKey>,
}

/// Judges live frames.
#[derive(Debug)]
pub struct LiveInspector {
    inspector: Inspector,
    /// Microseconds from the kernel's boot clock to 1970.
    boot_to_wall: i64,
}

impl LiveInspector {
    /// `boot_to_wall`: microseconds to add to boot time for the time of day, so that alerts carry it.
    #[must_use]
    pub fn new(rules: Arc<RuleSet>, limits: Limits, boot_to_wall: i64) -> Self {
        Self { inspector: Inspector::new(rules, limits), boot_to_wall }
    }

    /// Other rules from now on; flows and streams go on.
    pub fn set_rules(&mut self, rules: Arc<RuleSet>) {
        self.inspector.set_rules(rules);
    }

    /// The time of day was set, or drifts from the boot clock.
    pub fn set_boot_to_wall(&mut self, micros: i64) {
        self.boot_to_wall = micros;
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.inspector.counters()
    }

    /// Judges one frame.
    pub fn frame(&mut self, frame: &CopiedFrame) -> Outcome {
        let micros = i64::try_from(frame.at / 1000).unwrap_or(i64::MAX);
        let now = Timestamp(micros.saturating_add(self.boot_to_wall));
        let direction = if frame.reply { FlowDirection::ToClient } else { FlowDirection::ToServer };
        let judgement = self.inspector.packet_towards(now, LinkType::Ethernet, &frame.frame, Some(direction));
        let finding = |alert: &Alert| Finding {
            flow: frame.flow,
            zone_from: frame.zone_from,
            zone_to: frame.zone_to,
            alert: alert.clone(),
            cut: alert.blocked,
        };
        let (cut, done) = match judgement.verdict {
            FlowVerdict::Dropped | FlowVerdict::Rejected => (true, false),
            FlowVerdict::Passed => (false, true),
            FlowVerdict::Continue => (false, judgement.payload_bytes >= BYPASS_BYTES && !judgement.pending),
        };
        Outcome {
            findings: judgement.alerts.iter().map(finding).collect(),
            cut: cut.then_some(frame.flow),
            bypass: done.then_some(frame.flow),
        }
    }
}
