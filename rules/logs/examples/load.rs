//! What the built-in library costs in CPU time and memory: `cargo run --release -p logs --example load`.

mod support;

use jiff::tz::TimeZone;
use logs::{Clock, Engine, Library, Limits, Source};
use model::Mode;
use support::{cpu_seconds, resident};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (start, before) = (cpu_seconds()?, resident()?);
    let library = Library::builtin();
    println!("read: {:.1} ms, {} KiB", (cpu_seconds()? - start) * 1e3, resident()? - before);
    let names: Vec<String> = library.filters().map(|filter| filter.name.clone()).collect();
    for used in [vec!["sshd".to_owned()], names] {
        let (start, before) = (cpu_seconds()?, resident()?);
        let source = |name: &String| Source { name: name.clone(), filter: name.clone(), mode: Mode::Enforce };
        let sources = used.iter().map(source).collect();
        let engine = Engine::new(&library, sources, Limits::default(), Clock::new(TimeZone::UTC))?;
        let (cost, size) = ((cpu_seconds()? - start) * 1e3, resident()? - before);
        println!("{} filters compiled: {cost:.1} ms, {size} KiB", used.len());
        drop(engine);
    }
    Ok(())
}
