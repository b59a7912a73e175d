//! What the APIs for other programs have in common: whom they let in, and whether they could open.

use anyhow::Result;
use httpd::{Admits, Server, Site};
use std::{
    net::IpAddr,
    sync::{Arc, Weak},
};

use super::Appliance;

/// Hosts of these zones, and this machine itself: from there comes what stands in front of an API here, such as a proxy
/// that adds TLS.
pub(super) fn admits(secd: Weak<Appliance>, zones: Vec<String>) -> Admits {
    Arc::new(move |from: IpAddr| {
        from.is_loopback()
            || secd.upgrade().is_some_and(|secd| {
                let current = secd.current.load();
                let zone = current.loaded.config.policy.zone_of(from);
                zone.is_some_and(|zone| zones.contains(&zone.name))
            })
    })
}

/// Where a server cannot listen, in words.
pub(super) fn all_open<S: Site>(server: &Server<S>) -> Result<()> {
    let unopened: Vec<_> =
        server.unopened().iter().map(|(address, error)| format!("{address}: {error}")).collect();
    anyhow::ensure!(unopened.is_empty(), "cannot listen on {}", unopened.join("; "));
    Ok(())
}
