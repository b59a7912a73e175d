//! The API over a ledger in memory.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code")]

mod cases;
mod fake;
mod hostile;
mod server;
