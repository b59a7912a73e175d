//! Named limits. What happens at each is said beside it.

use std::time::Duration;

/// Bytes of a packet (RFC 6762 §17). A longer one is not read, and none is sent.
pub const MAX_PACKET: usize = 9000;
/// Bytes of an SSDP message: they have a few header lines. A longer one is refused.
pub const MAX_SSDP: usize = 2048;
/// Header lines of an SSDP message. One with more is refused.
pub const MAX_HEADERS: usize = 64;
/// Questions and records of an mDNS message. One with more is refused.
pub const MAX_QUESTIONS: usize = 64;
/// See [`MAX_QUESTIONS`].
pub const MAX_RECORDS: usize = 512;
/// Links, so that a set of them is one word. A config has fewer zones.
pub const MAX_LINKS: usize = 64;
/// Packets of one source a second, and at once. Further ones are dropped and counted.
pub const SOURCE_RATE: (u32, u32) = (20, 100);
/// Packets of one link a second, and at once. Further ones are dropped and counted.
pub const LINK_RATE: (u32, u32) = (100, 400);
/// Sources whose rates are known. When so many are busy, a new one's packets are dropped and counted.
pub const MAX_SOURCES: usize = 1024;
/// How long it is remembered what was reflected: the same within this time comes from another reflector, or is said twice.
/// Below the second after which devices say things again (RFC 6762 §5.2, §8.3).
pub const REPEAT_WINDOW: Duration = Duration::from_millis(900);
/// Messages that are remembered so. Of more, the oldest are forgotten.
pub const MAX_REMEMBERED: usize = 4096;
/// Names of hosts and services that are known to be of a link, by link. Records of further ones are left out and counted.
pub const MAX_NAMES: usize = 1024;
/// How long a name is a link's after it was last said there.
pub const NAME_LIFE: Duration = Duration::from_secs(300);
/// Askers that wait for an answer to them alone. Of more, the oldest are forgotten.
pub const MAX_ASKERS: usize = 128;
/// Of these, those with one source address. Of more, its oldest is forgotten.
pub const MAX_ASKERS_OF_SOURCE: usize = 8;
/// Answers that one of them gets. What comes then is for others.
pub const MAX_ANSWERS: u32 = 32;
/// How long an asker of mDNS waits.
pub const MDNS_WAIT: Duration = Duration::from_secs(3);
/// How long an asker of SSDP waits beyond the time that it names (`MX`, at most five seconds by UPnP Device Architecture
/// 1.1 §1.3.2).
pub const SSDP_WAIT: Duration = Duration::from_secs(2);
/// See [`SSDP_WAIT`].
pub const MAX_MX: u64 = 5;
/// Seconds that an asker with a port of its own may keep an answer (RFC 6762 §6.7).
pub const LEGACY_TTL: u32 = 10;
