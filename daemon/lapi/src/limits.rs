//! Limits of what is taken from clients, each tested where it is used.

use std::time::Duration;

/// Connections at once. More are closed at once.
pub const MAX_CONNECTIONS: usize = 256;
/// Connections of one source at once, of IPv6 of one /64. A proxy asks over many.
pub const MAX_CONNECTIONS_EACH: usize = 128;
/// Bytes of the head of a request: a proxy hands on all headers of its client. More is answered with 431.
pub const MAX_HEAD: usize = 64 * 1024;
/// Headers of a request. More is answered with 431.
pub const MAX_HEADERS: usize = 128;
/// Time for the head of a request, from the end of the one before.
pub const HEAD_WITHIN: Duration = Duration::from_secs(120);
/// Bytes of the body of a request. More is answered with 413.
pub const MAX_BODY: usize = 2 * 1024 * 1024;
/// Time for the body of a request. Later it is answered with 408.
pub const BODY_WITHIN: Duration = Duration::from_secs(10);
/// Time for an answer. Later it is 504.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Longest life of a connection.
pub const CONNECTION_LIFE: Duration = Duration::from_secs(3600);

/// Parameters of a request. More is answered with 400.
pub const MAX_PARAMETERS: usize = 32;
/// Words in one parameter. More is answered with 400.
pub const MAX_WORDS: usize = 64;
/// Answers that hold many decisions and are made at once. Further ones wait for their turn.
pub const MAX_PULLS: usize = 2;
/// A bouncer that begins anew is told what has ended within this time: it may hold it still.
pub const TOLD_AGAIN: Duration = Duration::from_secs(86_400);
/// What bouncers are told where a ban has no end.
pub const NO_END: Duration = Duration::from_secs(3650 * 86_400);
/// The last sign of a program is kept so often at most.
pub const KEEP_SIGN: Duration = Duration::from_secs(60);
/// Addresses in `X-Forwarded-For` that are looked at, from the nearest on. What is behind them is not believed.
pub const MAX_HOPS: usize = 32;

/// Bytes of a machine's password.
pub const MAX_PASSWORD: usize = 256;
/// Machines that registered themselves and nobody has let in. More are refused with 403.
pub const MAX_PENDING: usize = 16;
/// Wrong passwords in a row from one source; further logins from there are refused with 401.
pub const LOGIN_TRIES: u32 = 5;
/// After so long a source has one more try.
pub const LOGIN_PAUSE: Duration = Duration::from_secs(20);
/// Sources with wrong passwords that are remembered. While there are so many, logins from others are refused.
pub const MAX_LOGIN_SOURCES: usize = 256;
/// How long the token of a login is good for, as in CrowdSec.
pub const TOKEN_LIFE: Duration = Duration::from_secs(3600);
/// Rounds that make a password slow to guess from its hash.
pub const PASSWORD_ROUNDS: u32 = 100_000;

/// Alerts in one order. More is answered with 400.
pub const MAX_ALERTS: usize = 1000;
/// Decisions in one order of alerts: each is stored before the next. More is answered with 400.
pub const MAX_ORDERS: usize = 2000;
/// Alerts in an answer where no number is named, as in CrowdSec.
pub const ALERTS: usize = 100;
/// Decisions that are looked through for an answer about alerts, the newest.
pub const MAX_HISTORY: u32 = 2_000;
/// Bytes of a scenario's name.
pub const MAX_SCENARIO: usize = 256;
