//! Named limits of asking upstreams. What happens at each is said beside it.

use std::time::Duration;

/// Time for all upstreams together, also if the one who asks has more. Then SERVFAIL with EDE 22.
pub const QUERY_DEADLINE: Duration = Duration::from_millis(4500);
/// Time for one upstream before the next is asked.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(1200);
/// Time for a connection to one address of an encrypted upstream, and for one bootstrap server.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(800);
/// Rounds over all upstreams.
pub const ROUNDS: usize = 2;
/// Upstreams that are asked at once with `upstream_order = "parallel"`. Further ones are asked when those failed.
pub const MAX_PARALLEL: usize = 4;
/// With `upstream_order = "fastest"`, one question in so many goes to another than the fastest first.
pub const EXPLORE_ONE_IN: u32 = 32;
/// Failures in a row after which an upstream is asked last.
pub const FAILURES_UNTIL_DOWN: u32 = 2;
/// How long it is asked last before it is probed the first time; twice as long after each probe without an answer.
pub const SHORTEST_DOWN: Duration = Duration::from_secs(1);
/// How long it is asked last at most before it is probed.
pub const LONGEST_DOWN: Duration = Duration::from_secs(60);
/// Questions one upstream has to answer at a time. Further ones go to the next; where all are full, SERVFAIL with EDE.
pub const MAX_IN_FLIGHT_PER_UPSTREAM: usize = 512;
/// Different questions of clients under way. Further ones are SERVFAIL with EDE.
pub const MAX_FLIGHTS: usize = 1024;
/// Different links of the chain of trust under way; what clients ask takes no place of theirs. Further ones are SERVFAIL with
/// EDE.
pub const MAX_LINKS: usize = 1024;
/// Those who wait for the same answer. Further ones get SERVFAIL with EDE.
pub const MAX_WAITERS: usize = 4096;
/// Answers on a UDP socket that are not to our question. After so many it is asked over TCP.
pub const MAX_MISMATCHES: usize = 16;
/// Ports that are tried until a free one is found; then the system chooses one.
pub const MAX_PORT_TRIES: usize = 16;
/// Bytes of an upstream's UDP answer that are read; more than we offer, for upstreams that do not care.
pub const MAX_UDP_ANSWER: usize = 4096;
/// Records of an answer. One that says it has more is not read.
pub const MAX_RECORDS: usize = 2048;
/// Records of an answer that prove absence; further ones are not looked at. Four prove anything.
pub const MAX_DENIAL_RECORDS: usize = 12;
/// Bytes to a multiple of which questions over TLS and HTTPS are filled up (RFC 8467 §4.1).
pub const PADDING: usize = 128;
/// Questions that wait on one TCP or TLS connection. Further attempts fail.
pub const MAX_PIPELINED: usize = 256;
/// How long a connection to an upstream stays open unused.
pub const UPSTREAM_IDLE: Duration = Duration::from_secs(20);
/// After how long the name of an upstream that could not be resolved is asked for again.
pub const BOOTSTRAP_RETRY: Duration = Duration::from_secs(5);
/// Addresses of an encrypted upstream that are tried.
pub const MAX_ADDRESSES: usize = 4;
/// How long addresses of upstreams are kept at least.
pub const MIN_BOOTSTRAP_TTL: Duration = Duration::from_secs(60);
/// How long addresses of upstreams are kept at most before they are asked for again.
pub const MAX_BOOTSTRAP_TTL: Duration = Duration::from_secs(3600);

/// Pairs of key and signature that are tried for one RRset (CVE-2023-50387, "KeyTrap"). Then it is bogus.
pub const MAX_VALIDATIONS_PER_RRSET: usize = 8;
/// Signatures over one RRset that are looked at; further ones are as if not there.
pub const MAX_SIGNATURES_READ: usize = 16;
/// Signatures that are verified for one answer with its chain of trust. Then it is bogus.
pub const MAX_SIGNATURES_PER_ANSWER: usize = 128;
/// Questions for the chain of trust of one answer. Then it is bogus. A name has at most 127 labels, hardly ever more
/// than 34 (ip6.arpa), and a question or two at each.
pub const MAX_CHAIN_QUESTIONS: usize = 80;
/// Keys of a zone. One with more is bogus; of its DS as many are looked at.
pub const MAX_KEYS_PER_ZONE: usize = 16;
/// Iterations of NSEC3 hashes. What needs more is insecure (RFC 9276 §3.2).
pub const MAX_NSEC3_ITERATIONS: u16 = 100;
/// Names that are hashed for one answer (CVE-2023-50868). What needs more is not proven.
pub const MAX_NSEC3_HASHES: usize = 80;
/// Names whose place in the chain of trust is remembered. The least recently used go first.
pub const MAX_CUTS: usize = 8192;
/// How long it is remembered at least.
pub const MIN_CUT_LIFETIME: Duration = Duration::from_secs(10);
/// How long it is remembered at most.
pub const MAX_CUT_LIFETIME: Duration = Duration::from_secs(3600);
/// How long it is remembered that something is bogus (RFC 9520 §3.2 allows five minutes).
pub const BOGUS_LIFETIME: Duration = Duration::from_secs(30);
