//! What running an expression costs, in nanoseconds of CPU, and compiling those of a folder of YAML files:
//! `cargo run --release -p logs --example expressions [FILE OF EXPRESSIONS, ONE A LINE]`.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;

use logs::expr::{Program, Scope, Time, Value};

const RUNS: u32 = 1_000_000;

/// An event with its maps as a parser holds them.
struct Event {
    meta: HashMap<Arc<str>, Arc<str>>,
    empty: Arc<str>,
}

impl Scope for Event {
    fn path(&self, path: &[Arc<str>]) -> Option<(Value, usize)> {
        match path {
            [evt, map, name, ..] if &**evt == "evt" && &**map == "Meta" => {
                Some((Value::Text(self.meta.get(name).unwrap_or(&self.empty).clone()), 3))
            }
            _ => None,
        }
    }

    fn now(&self) -> Time {
        Time::zero()
    }
}

/// Nanoseconds this process has computed.
fn computed() -> Result<u64, Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string("/proc/self/schedstat")?;
    Ok(text.split(' ').next().unwrap_or_default().parse()?)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pairs = [
        ("service", "http"),
        ("http_status", "404"),
        ("http_path", "/wp-login.php"),
        ("source_ip", "192.0.2.7"),
        ("log_type", "http_access-log"),
    ];
    let meta = pairs.map(|(key, value)| (Arc::from(key), Arc::from(value)));
    let mut event = Event { meta: meta.into(), empty: Arc::from("") };
    for text in [
        "evt.Meta.service == 'http'",
        "evt.Meta.service == \"http\" && evt.Meta.http_status in [\"404\",\"403\"]",
        "evt.Meta.service == 'ssh' && evt.Meta.http_status in ['404', '403']",
        "Lower(evt.Meta.http_path) contains 'login'",
        "evt.Meta.http_path matches '(?i)/wp-[a-z]+\\\\.php$'",
        "evt.Meta.source_ip + '/' + evt.Meta.service",
        "any(['a', 'b', 'c', 'd'], {evt.Meta.http_path contains #})",
        "IpInRange(evt.Meta.source_ip, '192.0.2.0/24')",
    ] {
        let program = Program::compile(text)?;
        let start = computed()?;
        for _ in 0..RUNS {
            black_box(program.run(black_box(&mut event))?);
        }
        println!("{:6.0} ns  {text}", (computed()? - start) as f64 / f64::from(RUNS));
    }
    if let Some(file) = std::env::args().nth(1) {
        let text = std::fs::read_to_string(file)?;
        let start = computed()?;
        let programs: Vec<Program> = text.lines().filter_map(|line| Program::compile(line).ok()).collect();
        println!("{:6.0} ms  {} expressions compiled", (computed()? - start) as f64 / 1e6, programs.len());
    }
    Ok(())
}
