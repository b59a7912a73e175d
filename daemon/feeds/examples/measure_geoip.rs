//! Time of a GeoIP database: `cargo run --release -p feeds --example measure_geoip -- FILE.mmdb COUNTRY…`.

use feeds::geoip::{Country, GeoIp, Selector};
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or("which file?")?;
    let selectors: Vec<_> = arguments.filter_map(|code| Country::new(&code)).map(Selector::Country).collect();
    let bytes = std::fs::read(file)?;
    let started = Instant::now();
    let geoip = GeoIp::open(bytes)?;
    println!("opened and checked, {} nodes: {:?}", geoip.nodes(), started.elapsed());
    let started = Instant::now();
    let networks = geoip.networks_of(&selectors)?;
    let all: usize = networks.iter().map(|nets| nets.len()).sum();
    println!("{} countries in one pass, {all} prefixes: {:?}", networks.len(), started.elapsed());
    const LOOKUPS: u32 = 1_000_000;
    let started = Instant::now();
    let found = (0..LOOKUPS)
        .filter(|n| {
            geoip.place(std::net::Ipv4Addr::from(n.wrapping_mul(2_654_435_761)).into()).country.is_some()
        })
        .count();
    println!("{LOOKUPS} addresses, {found} with a country: {:?} each", started.elapsed() / LOOKUPS);
    Ok(())
}
