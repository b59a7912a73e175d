//! How long a line takes from its writer to the channel: `cargo run --release -p sources --example latency`.

use std::collections::HashMap;
use std::io::Write;
use std::time::{Duration, Instant};

use sources::{Format, SourceConfig, SourceKind, Sources, Start};
use tokio::sync::mpsc;

const LINES: usize = 2_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("auth.log");
    let mut file = std::fs::File::create(&path)?;
    let (sender, mut lines) = mpsc::channel(64);
    let (notice, _notices) = mpsc::channel(64);
    let kind = SourceKind::File { path, start: Start::End, format: Format::Plain };
    let config = SourceConfig { name: "log".into(), kind };
    let handle = Sources::start(vec![config], HashMap::new(), sender, notice)?;
    let mut took = Vec::with_capacity(LINES);
    for number in 0..LINES {
        let line = format!("Nov 23 02:45:00 gate sshd[{number}]: Invalid user x from 192.0.2.7 port 4711\n");
        let written = Instant::now();
        file.write_all(line.as_bytes())?;
        lines.recv().await.ok_or("closed")?;
        took.push(written.elapsed());
    }
    handle.stop().await;
    took.sort_unstable();
    let at = |percent: usize| -> Duration { took[(LINES - 1) * percent / 100] };
    println!("median {:?}, 99 % {:?}, worst {:?}", at(50), at(99), at(100));
    Ok(())
}
