//! The API over a hole in memory: cases, hostile requests, and clients over real sockets.

#![expect(clippy::unwrap_used, reason = "a test fails where its helpers do")]

mod cases;
mod fake;
mod hostile;
mod server;
