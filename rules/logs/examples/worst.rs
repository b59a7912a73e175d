//! The dearest line of every built-in filter: the injection templates of `tests/cases/logs` with very long texts in them.
//! `cargo run --release -p logs --example worst`

mod support;

use jiff::tz::TimeZone;
use logs::{Clock, Engine, Library, Limits, Source, SourceIndex};
use model::{Mode, Timestamp};
use support::cpu_seconds;

/// Bytes of the long texts: around both limits of what is judged.
const LENGTHS: [usize; 2] = [7_500, 64_000];
/// The kernel counts CPU time in ticks.
const REPEATED: usize = 40;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let library = Library::builtin();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases/logs");
    let now: Timestamp = "2026-11-23T02:45:00Z".parse()?;
    for filter in library.filters() {
        let text = std::fs::read_to_string(folder.join(format!("{}.toml", filter.name)))?;
        let cases: toml::Value = toml::from_str(&text)?;
        let list = |key: &str| -> Vec<String> {
            let list = cases.get("injection").and_then(|table| table.get(key)?.as_array());
            list.into_iter().flatten().filter_map(|text| Some(text.as_str()?.to_owned())).collect()
        };
        let source = Source { name: "log".into(), filter: filter.name.clone(), mode: Mode::Enforce };
        let mut engine = Engine::new(&library, vec![source], Limits::default(), Clock::new(TimeZone::UTC))?;
        let mut evil = list("evil");
        evil.extend(["x", " ", "%2e%2e/", "a ", "\\", "(", "from 10.0.100.1 port 22 "].map(str::to_owned));
        let (mut dearest, mut line_of) = (0.0, String::new());
        for template in list("templates") {
            for (evil, length) in evil.iter().flat_map(|evil| LENGTHS.map(|length| (evil, length))) {
                let long = evil.repeat(length / evil.len());
                let json = serde_json::to_string(&long)?;
                let line = ["{evil}", "{escaped}", "{quoted}"]
                    .iter()
                    .fold(template.replacen("{json}", &json, 1), |line, place| line.replacen(place, &long, 1))
                    .replace("{json}", "\"x\"");
                let line = ["{evil}", "{escaped}", "{quoted}"]
                    .iter()
                    .fold(line, |line, place| line.replace(place, "x"));
                let start = cpu_seconds()?;
                for _ in 0..REPEATED {
                    engine.line(now, SourceIndex(0), line.as_bytes());
                }
                let cost = (cpu_seconds()? - start) * 1e3 / REPEATED as f64;
                if cost > dearest {
                    (dearest, line_of) = (cost, format!("{length} bytes of {evil} in {template}"));
                }
            }
        }
        println!("{}: {dearest:.3} ms: {line_of}", filter.name);
    }
    Ok(())
}
