//! Asking upstreams: hostile ones scripted on loopback, encrypted ones, and signed zones of real servers.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

mod encrypted;
mod fake;
mod plain;
mod validation;
