//! The log over real files.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code")]

mod common;
mod model;
mod reading;
mod retention;
#[path = "../../../store/tests/common/tmpfs.rs"]
mod tmpfs;
mod trouble;
