//! Named limits of the signature engine. What happens when each is full is said beside it.

/// Bytes of one rule, continuation lines included. A longer rule is refused.
pub const MAX_RULE_BYTES: usize = 64 * 1024;
/// Rules of one set. The rest of the file is refused, each rule with its line.
pub const MAX_RULES: usize = 100_000;
/// Options of one rule. A rule with more is refused.
pub const MAX_OPTIONS: usize = 512;
/// Payload matches of one rule. A rule with more is refused.
pub const MAX_MATCHES: usize = 128;
/// Refusals that are kept with their text; further ones are only counted.
pub const MAX_REFUSALS: usize = 200_000;
/// Depth of nested groups and variables in addresses and ports. A deeper rule is refused.
pub const MAX_NESTING: usize = 16;
/// Ranges of one address or port set. A rule that needs more is refused.
pub const MAX_RANGES: usize = 65_536;
/// Bytes of a content's pattern. A longer one is refused.
pub const MAX_CONTENT_BYTES: usize = 8 * 1024;
/// Bytes of a pattern that enter the prefilter; the rest is only compared in the full match.
pub const MAX_PREFILTER_BYTES: usize = 24;
/// Bytes of a regular expression's text. A longer one is refused.
pub const MAX_REGEX_BYTES: usize = 8 * 1024;
/// Bytes of a compiled regular expression. A larger one is refused.
pub const MAX_REGEX_SIZE: usize = 2 * 1024 * 1024;
/// Bytes of the lazily built automaton of one regular expression; when full it is emptied and built again.
pub const REGEX_CACHE_BYTES: usize = 128 * 1024;
/// Values that one rule may extract by `byte_extract`. A rule with more is refused.
pub const MAX_VARIABLES: usize = 8;
/// Distinct flow bits of one rule set. A rule with a further name is refused.
pub const MAX_FLOW_BITS: usize = 4096;
/// Steps of one rule's full match on one buffer. Beyond it the rule counts as not matched, and the case is counted.
pub const MAX_MATCH_STEPS: u32 = 20_000;
/// Matched bytes that an alert carries.
pub const EXCERPT_BYTES: usize = 64;
/// Alerts of one packet. Further ones are counted; what they do to the flow still holds.
pub const MAX_ALERTS_PER_PACKET: usize = 64;
/// Headers unwrapped below each other in one frame (VLAN tags, IPv6 extension headers). A deeper frame is malformed.
pub const MAX_LAYERS: usize = 8;

/// Limits an operator may set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Flows followed at once. When full the one seen longest ago is forgotten, and counted.
    pub flows: usize,
    /// Bytes held in all streams together. When full the flow seen longest ago loses its bytes, and it is counted.
    pub stream_bytes: usize,
    /// Reassembled bytes of each direction that stay searchable behind the newest segment. A match that spans more is
    /// not found.
    pub window_bytes: usize,
    /// Bytes of each direction that wait for a missing segment. When full the gap is skipped, and counted.
    pub out_of_order_bytes: usize,
    /// How far ahead of the expected byte a segment may lie. One farther ahead begins a second reading of its direction
    /// (at most two are followed), and is counted.
    pub ahead_bytes: u32,
    /// Datagrams in reassembly. When full the oldest is given up, and counted.
    pub fragmented_datagrams: usize,
    /// Bytes of all fragments together. When full the oldest datagram is given up, and counted.
    pub fragment_bytes: usize,
    /// Counters of thresholds. When full, alerts pass without being held back, and it is counted.
    pub thresholds: usize,
    /// TCP flows whose beginning was not seen, or of which only one side is seen, are followed too.
    pub midstream: bool,
    /// Equal addresses and ports in different VLANs are different flows. A router sees the two directions of one flow
    /// in different VLANs.
    pub track_vlan: bool,
    /// `drop` and `reject` end a flow. Otherwise they only tell, and the flow is looked at on.
    pub cut: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            flows: 65_536,
            stream_bytes: 16 * 1024 * 1024,
            window_bytes: 8 * 1024,
            out_of_order_bytes: 64 * 1024,
            ahead_bytes: 1024 * 1024,
            fragmented_datagrams: 256,
            fragment_bytes: 2 * 1024 * 1024,
            thresholds: 65_536,
            midstream: true,
            track_vlan: true,
            cut: true,
        }
    }
}

impl Limits {
    /// Small ones for live inspection on a router: about 6 MB when all is full.
    #[must_use]
    pub fn live() -> Self {
        Self {
            flows: 8192,
            stream_bytes: 4 * 1024 * 1024,
            fragment_bytes: 512 * 1024,
            thresholds: 8192,
            track_vlan: false,
            ..Self::default()
        }
    }
}
