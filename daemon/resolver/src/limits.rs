//! Named limits of the resolver. What happens at each is said beside it.

use std::time::Duration;

/// Seconds a sinkhole answer may be cached by clients: short, so that an allow is felt soon.
pub const SINKHOLE_TTL: u32 = 10;
/// Seconds for the answers made here for special names.
pub const SPECIAL_TTL: u32 = 3600;
/// UDP payload that is offered and used at most (DNS flag day 2020): fits without fragments. Larger answers are
/// truncated and come over TCP.
pub const EDNS_PAYLOAD: u16 = 1232;
/// UDP payload for clients without EDNS (RFC 1035 §4.2.1).
pub const PLAIN_PAYLOAD: u16 = 512;
/// Bytes of a query. A longer one is cut by the socket and malformed.
pub const MAX_QUERY: usize = 4096;
/// Questions that wait for an upstream, each with a socket: well below the usual limit of 1024 open files. Further ones
/// are answered SERVFAIL with EDE at once.
pub const MAX_IN_FLIGHT: usize = 512;
/// Of these the questions of one client (an IPv6 client is its /64), so that none can starve the others. Further ones
/// are answered SERVFAIL with EDE at once.
pub const MAX_IN_FLIGHT_PER_CLIENT: usize = 128;
/// Upstreams. A config with more is refused.
pub const MAX_UPSTREAMS: usize = 16;
/// Addresses to listen on. A config with more is refused.
pub const MAX_LISTENERS: usize = 64;
/// TCP connections at a time. Further ones are closed at once and counted.
pub const MAX_TCP_CONNECTIONS: usize = 128;
/// TCP connections of one client at a time. Further ones are closed at once and counted.
pub const MAX_TCP_PER_CLIENT: usize = 16;
/// Time in which a TCP client must have sent its next query, or taken its answer.
pub const TCP_IDLE: Duration = Duration::from_secs(10);
/// Bytes of an answer that is cached. Larger ones are asked for each time.
pub const MAX_CACHED_ANSWER: usize = 4096;
/// Bytes of answers in the cache. Beyond it the least recently used go.
pub const MAX_CACHE_BYTES: usize = 16 * 1024 * 1024;
/// Entries the config may give the cache. More is refused.
pub const MAX_CACHE_ENTRIES: usize = 1_000_000;
/// Seconds an answer is cached at most, whatever its TTL.
pub const MAX_TTL: u32 = 86_400;
/// Seconds a negative answer is cached at most (RFC 2308 §5).
pub const MAX_NEGATIVE_TTL: u32 = 3600;
/// Aliases an answer may go over. A longer chain is a failure of the upstream.
pub const MAX_ALIASES: usize = 16;
/// Time in which questions under way may end at shutdown.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);
/// Bytes of extra text in an extended error.
pub const MAX_EXTRA_TEXT: usize = 255;
