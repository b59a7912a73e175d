//! The command as people and scripts use it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code")]

mod cases;
mod daemon;
mod fake;
mod files;
mod import;
