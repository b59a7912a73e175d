//! What CrowdSec's scenarios cost: `cargo run --release -p logs --example crowdsec HUB`. Time to compile all of the hub,
//! events a second through all of its scenarios, and a million addresses in the buckets of one.

mod support;

use std::path::Path;
use std::sync::Arc;

use logs::crowdsec::buckets::{BucketLimits, Buckets};
use logs::crowdsec::scenario::Scenario;
use logs::crowdsec::{Event, Items, Line, Mode, Pipeline};
use logs::expr::Time;
use support::{cpu_seconds, resident};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let hub = std::env::args().nth(1).ok_or("name the folder of the hub")?;
    let mut files = Vec::new();
    read(&Path::new(&hub).join("scenarios"), &mut files)?;
    let start = cpu_seconds()?;
    let mut scenarios = Vec::new();
    for (path, bytes) in &files {
        scenarios.extend(Scenario::read(path, bytes).map_err(|mistakes| format!("{mistakes:?}"))?);
    }
    println!(
        "{} files, {} scenarios: {:.1} ms, {} MB",
        files.len(),
        scenarios.len(),
        (cpu_seconds()? - start) * 1e3,
        resident()? / 1024
    );

    let http =
        [("service", "http"), ("log_type", "http_access-log"), ("http_status", "404"), ("http_verb", "GET")];
    let ssh = [("service", "ssh"), ("log_type", "ssh_failed-auth"), ("target_user", "root")];
    let mut buckets = Buckets::new(scenarios, BucketLimits::default());
    measure("web, all scenarios", &mut buckets, 100_000, 5_300, &http)?;
    measure("ssh, all scenarios", &mut buckets, 100_000, 5_300, &ssh)?;
    for name in ["scenarios/crowdsecurity/ssh-bf.yaml", "scenarios/crowdsecurity/ssh-slow-bf.yaml"] {
        let bytes = std::fs::read(Path::new(&hub).join(name))?;
        let scenarios = Scenario::read(name, &bytes).map_err(|mistakes| format!("{mistakes:?}"))?;
        let mut buckets = Buckets::new(scenarios, BucketLimits::default());
        measure(&format!("{name}, 5,300 addresses"), &mut buckets, 1_000_000, 5_300, &ssh)?;
        measure(&format!("{name}, 1M addresses"), &mut buckets, 1_000_000, 1_000_000, &ssh)?;
    }
    Ok(())
}

/// Pours events of so many addresses, a thousand a second.
fn measure(
    name: &str,
    buckets: &mut Buckets,
    events: u32,
    addresses: u32,
    meta: &[(&str, &str)],
) -> Result<(), Failure> {
    let (mut pipeline, _) = Pipeline::new(&Items::default());
    let mut spent = 0.0;
    let mut overflows = 0;
    for number in 0..events {
        let at = jiff::Timestamp::from_millisecond(1_790_000_000_000 + i64::from(number))?;
        let time = Time::utc(at);
        let mut event = Event::line(Line::default(), Mode::Replay, time);
        event.marshaled_time = at.to_string().into();
        let texts = Arc::make_mut(&mut event.meta);
        texts.extend(meta.iter().map(|(name, value)| ((*name).into(), (*value).into())));
        let address = std::net::Ipv4Addr::from(0x0a00_0000 + number % addresses);
        texts.insert("source_ip".into(), address.to_string().into());
        let mut seen = event.clone();
        let event = Arc::new(event);
        let start = cpu_seconds()?;
        overflows += buckets.pour(&event, &mut pipeline.scope(&mut seen, time), 0).len();
        spent += cpu_seconds()? - start;
    }
    let per_second = f64::from(events) / spent;
    let stats = buckets.stats();
    println!(
        "{name}: {per_second:.0} events/s, {overflows} overflows, {} buckets, {} evicted, {} events forgotten, {} MB",
        stats.buckets,
        stats.evicted,
        stats.forgotten,
        resident()? / 1024
    );
    Ok(())
}

fn read(folder: &Path, files: &mut Vec<(String, Vec<u8>)>) -> Result<(), Failure> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            read(&path, files)?;
        } else {
            files.push((path.display().to_string(), std::fs::read(&path)?));
        }
    }
    Ok(())
}
