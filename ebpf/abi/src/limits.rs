//! Named limits of the kernel tables. What happens when each is full is said beside it.

/// Zones, reserved ones included. A config with more is refused by the checker.
pub const MAX_ZONES: u32 = 64;
/// (interface, VLAN) pairs. A config with more is refused by the checker.
pub const MAX_PORTS: u32 = 1024;
/// Prefixes of zone networks, both generations together. A config with more is refused.
pub const MAX_NETWORKS: u32 = 4096;
/// Lowered policy prefixes, both generations together. A config that needs more is refused with the number.
pub const MAX_POLICY: u32 = 131_072;
/// Rules of a policy; the id of a rule is its place in the file. A config with more is refused.
pub const MAX_RULES: u32 = 16_384;
/// Bans in force. When full a new ban is kept in the store, an event says that it is not enforced.
pub const MAX_BANS: u32 = 262_144;
/// Protected prefixes (own, gateway, upstreams, allow-list), both generations together. Refused when full.
pub const MAX_PROTECTED: u32 = 8192;
/// Prefixes of address lists, both generations together. A refresh that needs more is held, the old one stays.
pub const MAX_LISTED: u32 = 2_097_152;
/// Address lists. A config with more is refused.
pub const MAX_LISTS: u32 = 256;
/// Flow entries (two a flow). When full the least recently used goes: its next packet is judged by nftables.
pub const MAX_FLOWS: u32 = 65_536;
/// Bytes of the ring of [`crate::PacketRecord`]s. When full records are lost and counted.
pub const EVENT_RING_BYTES: u32 = 256 * 1024;
/// Bytes of the ring of [`crate::InspectRecord`]s. When full copies are lost and counted.
pub const INSPECT_RING_BYTES: u32 = 4 * 1024 * 1024;
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
