//! Fuzz targets: for each thing that reads what others wrote a function that takes any bytes and holds what comes out to
//! what must be true of it: bounds, round trips, agreement with another way to the same answer. A target that fails panics.
//!
//! `cargo xtask fuzz TARGET --for 60s` runs one with libFuzzer. What it once failed on, and seeds that reach far, stand in
//! `corpus/TARGET`; `tests/replay.rs` runs them, and changes of them, with every test run, on stable.

#![allow(clippy::panic, reason = "a target fails by panicking")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a target fails by panicking")]

mod configs;
mod crowdsec;
mod dns;
mod expressions;
mod feeds;
mod imports;
mod lapi;
mod lists;
mod logs;
mod packets;
mod parsers;
mod signatures;

/// A target: panics where something is not as it must be.
pub type Target = fn(&[u8]);

/// All targets by their names.
pub const TARGETS: &[(&str, Target)] = &[
    ("dns-question", dns::question),
    ("dns-answer", dns::answer),
    ("domain-list", lists::domains),
    ("address-list", lists::addresses),
    ("expression", lists::expression),
    ("list-snapshot", lists::snapshot),
    ("config", configs::config),
    ("import-archive", imports::archive),
    ("import-database", imports::database),
    ("import-yaml", imports::yaml),
    ("frame", packets::frame),
    ("image", packets::image),
    ("log-lines", logs::lines),
    ("log-filter", logs::filter),
    ("crowdsec-scenario", crowdsec::scenario),
    ("crowdsec-parser", parsers::parser),
    ("grok", parsers::grok),
    ("log-expression", expressions::expression),
    ("fail2ban-filter", logs::fail2ban),
    ("signature-rules", signatures::rules),
    ("capture", signatures::capture),
    ("packed", feeds::packed),
    ("geoip", feeds::geoip),
    ("lapi-request", lapi::request),
];

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|&(_, target)| target)
}

/// The first byte as a choice, and the rest.
fn choice(data: &[u8]) -> (usize, &[u8]) {
    data.split_first().map_or((0, data), |(first, rest)| (usize::from(*first), rest))
}
