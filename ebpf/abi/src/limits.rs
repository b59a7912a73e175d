//! Named limits of the kernel tables. What happens when each is full is said beside it.

/// Zones, reserved ones included. A config with more is refused by the checker.
pub const MAX_ZONES: u32 = 64;
/// (interface, VLAN) pairs. A config with more is refused by the checker.
pub const MAX_PORTS: u32 = 256;
/// Prefixes of zone networks. A config with more is refused.
pub const MAX_NETWORKS: u32 = 4096;
/// Rules of a policy; the id of a rule is its place in the file. A config with more is refused.
pub const MAX_RULES: u32 = 16_384;
/// Bans in force. When full a new ban is kept in the store, an event says that it is not enforced.
pub const MAX_BANS: u32 = 262_144;
/// Protected prefixes (own, gateway, upstreams, allow-list). Refused when full.
pub const MAX_PROTECTED: u32 = 8192;
/// Prefixes of address lists. A refresh that needs more is held, the old one stays.
pub const MAX_LISTED: u32 = 2_097_152;
/// Address lists. A config with more is refused.
pub const MAX_LISTS: u32 = 256;
/// Flow entries (two a flow) unless the config says otherwise. A new flow takes an idle or half-open place of its set of
/// four, or is not remembered: then every packet of it is judged, or left to nftables. No assured flow ever makes way.
pub const DEFAULT_FLOWS: u32 = 131_072;
/// Fewest flow entries a config may ask for.
pub const MIN_FLOWS: u32 = 4096;
/// Most flow entries a config may ask for: 512 MiB.
pub const MAX_FLOWS: u32 = 4_194_304;
/// Ticks of tuples whose entry could not be made or was taken out. Tuples that meet share one: the worse is that their
/// packets are left to nftables.
pub const FORGOTTEN_TICKS: u32 = 65_536;
/// Ticks in one value of `FORGOTTEN`.
pub const FORGOTTEN_ROW: u32 = 16;
/// Nanoseconds for which a forgotten tuple is left to nftables, and every unknown one after an attach: as long as
/// conntrack keeps an answered UDP flow.
pub const FORGOTTEN_NS: u64 = 180 * 1_000_000_000;
/// Prefixes of bans that are neither whole addresses nor /64. As [`MAX_BANS`].
pub const MAX_BANNED_RANGES: u32 = 65_536;
/// Sources that are metered by rates. When full the least recently used is forgotten: it begins with a full bucket.
pub const MAX_METERED: u32 = 16_384;
/// Sources that were denied lately, in zones that look for scans. When the four places of a set are taken, the one whose
/// window began first makes way, and one that is slowed down last.
pub const MAX_SCANNERS: u32 = 16_384;
/// Tags of sources that are slowed down. Sources that meet share one: it costs them a look at what was noted of them.
pub const HELD_TAGS: u32 = 4096;
/// Length of the window in which a source's denied tries are counted, in ns.
pub const SCAN_WINDOW_NS: u64 = 10 * 1_000_000_000;
/// Different denied destinations and ports in a window, above which it is a scan.
pub const SCAN_TRIES: u32 = 16;
/// How long new flows of a scanning source are slowed down, in ns.
pub const SCAN_HOLD_NS: u64 = 60 * 1_000_000_000;
/// While slowed down, one new flow passes in so many ns.
pub const SCAN_PACE_NS: u64 = 1_000_000_000;
/// Bytes of the ring of [`crate::PacketRecord`]s. When full records are lost and counted.
pub const EVENT_RING_BYTES: u32 = 256 * 1024;
/// Bytes of the ring of [`crate::InspectRecord`]s. When full copies are lost and counted.
pub const INSPECT_RING_BYTES: u32 = 2 * 1024 * 1024;
/// Bytes of a frame that one [`crate::InspectRecord`] holds at most.
pub const INSPECT_SNAP: usize = 2048;
/// Bytes of each direction of a flow that are copied for inspection.
pub const INSPECT_BUDGET: u32 = 64 * 1024;
/// Packet records a CPU may send in one second; more are counted, not sent.
pub const EVENT_BUDGET: u32 = 200;
/// IPv6 extension headers walked before a packet is malformed.
pub const MAX_EXTENSION_HEADERS: usize = 6;
/// Address sets that rules name (groups, countries, lists). A config with more is refused.
pub const MAX_SETS: u32 = 1024;
/// Device groups. A config with more is refused.
pub const MAX_DEVICE_GROUPS: u32 = 255;
/// MAC addresses in device groups, all together. A config with more is refused.
pub const MAX_DEVICES: u32 = 8192;
/// Different rates of rules and zones. A config with more is refused.
pub const MAX_RATES: u32 = 256;
