//! Named limits of the resolver. What happens at each is said beside it.

use std::time::Duration;

/// Seconds a sinkhole answer may be cached by clients where the config says nothing: short, so that an allow is felt
/// soon.
pub const SINKHOLE_TTL: u32 = 10;
/// Seconds for the answers made here for special names.
pub const SPECIAL_TTL: u32 = 3600;
/// UDP payload that is offered and used at most (DNS flag day 2020): fits without fragments. Larger answers are
/// truncated and come over TCP.
pub const EDNS_PAYLOAD: u16 = 1232;
/// UDP payload for clients without EDNS (RFC 1035 §4.2.1).
pub const PLAIN_PAYLOAD: u16 = 512;
/// Bytes of a query in a stream. The connection of a longer one is closed.
pub const MAX_QUERY: usize = 4096;
/// Bytes of a query in a datagram: what fits an Ethernet frame. A longer one is cut by the socket and malformed.
pub const MAX_DATAGRAM: usize = 1472;
/// Questions that wait for an upstream, each with a socket: well below the usual limit of 1024 open files. Further ones
/// are answered SERVFAIL with EDE at once.
pub const MAX_IN_FLIGHT: usize = 512;
/// Of these the questions of one client (an IPv6 client is its /64), so that none can starve the others. Further ones
/// are answered SERVFAIL with EDE at once.
pub const MAX_IN_FLIGHT_PER_CLIENT: usize = 128;
/// Answers that are asked for anew ahead of their time, at once. Further ones wait until they have run out.
pub const MAX_PREFETCHES: usize = 64;
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
/// Questions of one stream that are under way at a time. Further ones are read when one of them is answered.
pub const MAX_STREAM_QUESTIONS: usize = 32;
/// Bytes of answers of one stream that are gathered before they are written. Beyond it nothing more is read.
pub const MAX_GATHERED: usize = 16 * 1024;
/// Encrypted connections at a time. Further ones are closed at once and counted.
pub const MAX_ENCRYPTED_CONNECTIONS: usize = 256;
/// Encrypted connections of one client at a time. Further ones are closed at once and counted.
pub const MAX_ENCRYPTED_PER_CLIENT: usize = 16;
/// Time for a TLS handshake. The connection of a slower client is closed.
pub const HANDSHAKE_TIME: Duration = Duration::from_secs(5);
/// Time in which a client of an encrypted connection must have sent its next question, or taken its answer: a new
/// handshake is dear.
pub const ENCRYPTED_IDLE: Duration = Duration::from_secs(30);
/// Requests of one HTTP/2 connection at a time. Further ones are refused by the protocol.
pub const MAX_HTTP_STREAMS: u32 = 64;
/// Bytes of the header of an HTTP request, in which a query of [`MAX_QUERY`] bytes has room. More is refused: the
/// connection is closed, or the answer is 431.
pub const MAX_HTTP_HEADER: usize = 8192;
/// Fields of the header of an HTTP/1.1 request. More is refused with 431.
pub const MAX_HTTP_FIELDS: usize = 32;
/// Time for the body of an HTTP request. Then 408.
pub const HTTP_BODY_TIME: Duration = Duration::from_secs(5);
/// Streams that a client may open and reset before they are answered (CVE-2023-44487); then the connection is closed.
pub const MAX_HTTP_RESETS: usize = 20;
/// Bytes of answers of one HTTP connection that its client has not taken. Further ones are 503.
pub const MAX_UNTAKEN: usize = 128 * 1024;
/// Certificates of a chain. A longer one is refused.
pub const MAX_CHAIN: usize = 16;
/// Bytes of an answer that is cached. Larger ones are asked for each time.
pub const MAX_CACHED_ANSWER: usize = 4096;
/// Bytes of answers in the cache. Beyond it the least recently used go.
pub const MAX_CACHE_BYTES: usize = 16 * 1024 * 1024;
/// Entries the config may give the cache. More is refused.
pub const MAX_CACHE_ENTRIES: usize = 1_000_000;
/// Seconds an answer is cached at most, where the config says nothing.
pub const MAX_TTL: u32 = 86_400;
/// Seconds a negative answer is cached at most, where the config says nothing (RFC 2308 §5).
pub const MAX_NEGATIVE_TTL: u32 = 3600;
/// Time after which a client gets an answer that is past its time, if there is one (RFC 8767 §5).
pub const STALE_AFTER: Duration = Duration::from_millis(1800);
/// Seconds such an answer may be cached by clients (RFC 8767 §4).
pub const STALE_TTL: u32 = 30;
/// Seconds in which such an answer is given at once after no upstream answered (RFC 8767 §5).
pub const STALE_RECHECK: u32 = 30;
/// How long a question that nobody could answer is not asked again (RFC 9520 §3.2: at least a second); twice as long after
/// each failure in a row.
pub const SHORTEST_FAILURE: Duration = Duration::from_secs(1);
/// How long at most. Five minutes are allowed; but an outage of ours is felt for as long after it is over.
pub const LONGEST_FAILURE: Duration = Duration::from_secs(30);
/// Questions of which a failure is remembered, each with an answer of at most [`MAX_CACHED_ANSWER`] bytes. The least recently
/// asked go first.
pub const MAX_FAILURES: usize = 1024;
/// Answers that live shorter are not asked for ahead of their time.
pub const PREFETCH_FROM_TTL: u32 = 30;
/// Times an answer must have been given to be worth asking for ahead of its time.
pub const PREFETCH_FROM_HITS: u32 = 2;
/// Seconds after which a refresh that brought nothing is tried again.
pub const PREFETCH_RETRY: u32 = 5;
/// Names an answer may lead to: its aliases, and targets of service bindings. One with more is a failure of the upstream.
pub const MAX_ALIASES: usize = 16;
/// Time in which questions under way may end at shutdown.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);
/// Bytes of extra text in an extended error.
pub const MAX_EXTRA_TEXT: usize = 255;
/// Bytes to a multiple of which answers over encrypted transports are padded (RFC 8467 §4.1).
pub const PADDING_BLOCK: usize = 468;
/// Clients whose rate is known each; see [`crate::Rate`]. Beyond it newcomers share one bucket.
pub const MAX_RATED_CLIENTS: usize = 16_384;
/// Clients of which a reader of a socket remembers zone, name and groups. Beyond it all are looked up anew.
pub const MAX_ASKERS: usize = 4096;
/// How long it remembers them: a new lease or neighbour is known after that.
pub const ASKER_LIFE: Duration = Duration::from_secs(5);
/// Records of questions that wait to be told. Further ones are dropped and counted.
pub const MAX_JOURNAL: usize = 16_384;
/// Bytes of names in them.
pub const MAX_JOURNAL_TEXT: usize = 1024 * 1024;
/// Datagrams that are taken and answered at once.
pub const BATCH: usize = 32;
/// Local names. A table with more is refused.
pub const MAX_LOCAL_NAMES: usize = 65_536;
/// Records of one local name. More are refused.
pub const MAX_LOCAL_RECORDS: usize = 64;
/// Records of a rewrite or of local names in one answer. Further ones are left out.
pub const MAX_LOCAL_ANSWER: usize = 64;
/// Aliases among local names that are followed in one answer.
pub const MAX_LOCAL_ALIASES: usize = 8;
/// Seconds since 1970 before which the machine's clock has not been set: dates of signatures are not looked at then.
pub const CLOCK_SET_FROM: u64 = 1_767_225_600;
