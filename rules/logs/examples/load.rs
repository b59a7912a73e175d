//! What the built-in library costs: `cargo run --release -p logs --example load`.

use std::time::Instant;

use jiff::tz::TimeZone;
use logs::{Clock, Engine, Library, Limits, Source};
use model::Mode;

/// Resident memory in KiB.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (start, before) = (Instant::now(), resident());
    let library = Library::builtin();
    println!("read: {:?}, {} KiB", start.elapsed(), resident() - before);
    let names: Vec<String> = library.filters().map(|filter| filter.name.clone()).collect();
    for used in [vec!["sshd".to_owned()], names] {
        let (start, before) = (Instant::now(), resident());
        let sources =
            used.iter().map(|name| Source { name: name.clone(), filter: name.clone(), mode: Mode::Enforce });
        let engine = Engine::new(&library, sources.collect(), Limits::default(), Clock::new(TimeZone::UTC))?;
        println!("{} filters used: {:?}, {} KiB", used.len(), start.elapsed(), resident() - before);
        drop(engine);
    }
    Ok(())
}
