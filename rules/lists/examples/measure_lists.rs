//! Memory and time of domain and address lists: `cargo run --release -p lists --example measure_lists -- DOMAINS…
//! --addresses ADDRESSES…`. Prints build times, bytes held, resident peak and ns per decision.

use lists::{AddressList, AddressLists, AddressReading, Asked, DomainSetBuilder, ListedAs};
use model::{Direction, Mode, Name};
use std::{sync::Arc, time::Instant};

fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .filter(|line| line.starts_with("VmHWM") || line.starts_with("VmRSS"))
        .collect::<Vec<_>>()
        .join(" ")
}

#[expect(clippy::disallowed_methods, reason = "it measures")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files: Vec<String> = std::env::args().skip(1).collect();
    let (domains, addresses) = match files.iter().position(|file| file == "--addresses") {
        Some(at) => (&files[..at], &files[at + 1..]),
        None => (&files[..], &[][..]),
    };
    println!("before: {}", peak());
    let started = Instant::now();
    let mut builder = DomainSetBuilder::new(started.elapsed().subsec_nanos().into());
    for file in domains {
        let report = builder.add(file, Mode::Enforce, &std::fs::read(file)?)?;
        println!("{file}: {} entries, {} rejected, {:?}", report.entries, report.rejected, started.elapsed());
    }
    let set = builder.finish();
    println!(
        "domains: {} names, {} bytes, built in {:?}; {}",
        set.len(),
        set.bytes(),
        started.elapsed(),
        peak()
    );

    let started = Instant::now();
    let mut lists = Vec::new();
    for (id, file) in (0..).zip(addresses) {
        let (list, report) = AddressList::read(&std::fs::read(file)?, AddressReading::default())?;
        println!("{file}: {} entries, {} rejected", report.entries, report.rejected);
        lists.push(ListedAs { list: Arc::new(list), id, direction: Direction::In, mode: Mode::Enforce });
    }
    let merged = AddressLists::merge(lists)?;
    println!(
        "addresses: {} prefixes, {} bytes, built in {:?}; {}",
        merged.table().len(),
        merged.bytes(),
        started.elapsed(),
        peak()
    );

    let mut builder = DomainSetBuilder::new(7);
    for file in domains {
        builder.add(file, Mode::Enforce, &std::fs::read(file)?)?;
    }
    let refreshed = builder.finish();
    println!("refresh beside the old set: {} names; {}", refreshed.len(), peak());
    drop(refreshed);

    let mut hits = Vec::new();
    for file in domains {
        let text = std::fs::read_to_string(file)?;
        let name = |line: &str| line.trim_matches(['|', '^']).parse::<Name>().ok();
        hits.extend(text.lines().filter_map(name).step_by(7));
    }
    let misses: Vec<Name> =
        (0..50_000).filter_map(|number| format!("host{number}.cdn.example.net").parse().ok()).collect();
    for (what, names) in [("listed", &hits), ("not listed", &misses)] {
        let started = Instant::now();
        let found = names.iter().filter(|name| set.decide(&Asked::about(name.as_str())).is_some()).count();
        let each = started.elapsed().as_nanos() / (names.len().max(1) as u128);
        println!("decide, {what}: {each} ns a name over {} names, {found} found", names.len());
    }
    Ok(())
}
