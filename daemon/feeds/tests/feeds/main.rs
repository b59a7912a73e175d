//! Subscriptions and GeoIP databases: against servers and files that are kind, real, broken and hostile.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod geoip;
mod mmdb;
mod nginx;
mod pipeline;
mod support;
