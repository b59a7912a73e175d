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
/// Connections of one source at once.
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
