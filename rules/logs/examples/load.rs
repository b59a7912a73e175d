//! What the built-in library costs in CPU time and memory: `cargo run --release -p logs --example load`.

use jiff::tz::TimeZone;
use logs::{Clock, Engine, Library, Limits, Source};
use model::Mode;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (start, before) = (cpu_milliseconds()?, resident()?);
    let library = Library::builtin();
    println!("read: {:.1} ms, {} KiB", cpu_milliseconds()? - start, resident()? - before);
    let names: Vec<String> = library.filters().map(|filter| filter.name.clone()).collect();
    for used in [vec!["sshd".to_owned()], names] {
        let (start, before) = (cpu_milliseconds()?, resident()?);
        let source = |name: &String| Source { name: name.clone(), filter: name.clone(), mode: Mode::Enforce };
        let sources = used.iter().map(source).collect();
        let engine = Engine::new(&library, sources, Limits::default(), Clock::new(TimeZone::UTC))?;
        let (cost, size) = (cpu_milliseconds()? - start, resident()? - before);
        println!("{} filters compiled: {cost:.1} ms, {size} KiB", used.len());
        drop(engine);
    }
    Ok(())
}

/// Resident memory in KiB.
fn resident() -> Result<i64, Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages: i64 = text.split(' ').nth(1).unwrap_or_default().parse()?;
    Ok(pages * 4)
}

/// CPU time of this thread, as Linux counts it.
fn cpu_milliseconds() -> Result<f64, Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds: f64 = text.split(' ').next().unwrap_or_default().parse()?;
    Ok(nanoseconds / 1e6)
}
