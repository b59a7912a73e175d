//! Limits of what is taken from clients, each tested where it is used.

use std::time::Duration;

/// Sessions at once, as Pi-hole has them (`webserver.api.max_sessions`). A login beyond them is refused with 429.
pub const MAX_SESSIONS: usize = 16;
/// How long a session is good for after its last use, as Pi-hole has it (`webserver.session.timeout`).
pub const SESSION_LIFE: Duration = Duration::from_secs(1800);
/// Passwords: one's own, and one for each app.
pub const MAX_PASSWORDS: usize = 16;
/// Bytes of a password. A longer one is wrong.
pub const MAX_PASSWORD: usize = 256;
/// Wrong passwords in a row from one source; further logins from there are refused with 429.
pub const LOGIN_TRIES: u32 = 5;
/// After so long a source has one more try.
pub const LOGIN_PAUSE: Duration = Duration::from_secs(20);
/// Sources with wrong passwords that are remembered. While there are so many, logins from others are refused.
pub const MAX_LOGIN_SOURCES: usize = 256;
/// Bytes of a client's description of itself that are kept with its session.
pub const MAX_USER_AGENT: usize = 128;

/// Connections at once. More are closed at once.
pub const MAX_CONNECTIONS: usize = 64;
/// Connections of one source at once, of IPv6 of one /64.
pub const MAX_CONNECTIONS_EACH: usize = 16;
/// Bytes of the head of a request. More is answered with 431.
pub const MAX_HEAD: usize = 16 * 1024;
/// Headers of a request. More is answered with 431.
pub const MAX_HEADERS: usize = 64;
/// Time for the head of a request, from the end of the one before.
pub const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// Bytes of the body of a request. More is answered with 413.
pub const MAX_BODY: usize = 64 * 1024;
/// Time for the body of a request. Later it is answered with 408.
pub const BODY_WITHIN: Duration = Duration::from_secs(10);
/// Time for an answer. Later it is 504.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// Longest life of a connection; then it is closed, also while a client is slow to read.
pub const CONNECTION_LIFE: Duration = Duration::from_secs(300);

/// Parameters of a request. More is answered with 400.
pub const MAX_PARAMETERS: usize = 128;
/// Names in one order. More is answered with 400.
pub const MAX_ITEMS: usize = 64;
/// Bytes of a comment.
pub const MAX_COMMENT: usize = 256;

/// Reads of the log of questions at once. Further ones wait for their turn.
pub const MAX_READS: usize = 2;
/// The time that is summed up where none is named, as in Pi-hole.
pub const DAY: Duration = Duration::from_secs(86_400);
/// How long that is kept and given again.
pub const KEEP_STATS: Duration = Duration::from_secs(3);
/// Seconds of a piece of the history, as in Pi-hole.
pub const HISTORY_PIECE: u32 = 600;
/// Pieces of a history of another time; they are longer where that is long.
pub const MAX_HISTORY: u64 = 500;
/// Clients with a history of their own where no number is named, and at most.
pub const HISTORY_CLIENTS: usize = 20;
/// See [`HISTORY_CLIENTS`].
pub const MAX_HISTORY_CLIENTS: usize = 50;
/// Names and clients that are summed up with the last day.
pub const TOP: u32 = 50;
/// Names or clients in an answer.
pub const MAX_TOP: u32 = 1000;
/// Names in an answer about what was blocked last.
pub const MAX_RECENT: u32 = 100;
/// Rows of the log in an answer where no number is named, as in Pi-hole.
pub const QUERIES: u32 = 100;
/// Rows of the log in an answer.
pub const MAX_QUERIES: u32 = 1000;
/// Rows that can be skipped.
pub const MAX_QUERIES_BACK: u32 = 5000;
/// Suggestions of a kind.
pub const MAX_SUGGESTIONS: usize = 30;
