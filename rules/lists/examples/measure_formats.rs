//! Speed of the readers: a million lines in each format. `cargo run --release -p lists --example measure_formats`.

use lists::{AddressList, AddressReading, DomainSetBuilder, Format};
use std::{fmt::Write, time::Instant};

const LINES: u32 = 1_000_000;

#[expect(clippy::disallowed_methods, reason = "it measures")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address =
        |n: u32| std::net::Ipv4Addr::from((n.wrapping_mul(2_654_435_761) % (190 << 24)) + (11 << 24));
    let write = |line: &dyn Fn(u32) -> String| {
        (0..LINES).fold(String::new(), |mut text, n| {
            let _ = writeln!(text, "{}", line(n));
            text
        })
    };
    let files = [
        ("auto", write(&|n| address(n).to_string())),
        ("auto", write(&|n| format!("2001:db8:{:x}:{:x}::/64", n >> 16, n & 0xffff))),
        ("auto", write(&|n| format!("{0}-{0}", address(n)))),
        ("score", write(&|n| format!("{}\t{}", address(n), n % 10))),
        ("csv:2", write(&|n| format!("2026-01-01,\"{}\",443", address(n)))),
        ("json:cidr", write(&|n| format!("{{\"cidr\":\"{}\",\"id\":{n}}}", address(n)))),
        (
            "json:data.ip",
            format!(
                "{{\"data\":[{}{{}}]}}",
                write(&|n| format!("{{\"ip\":\"{}\",\"id\":{n}}},", address(n)))
            ),
        ),
    ];
    let own = ["10.0.0.0/8".parse()?, "fd00::/8".parse()?];
    for (name, text) in &files {
        let format: Format = name.parse()?;
        let started = Instant::now();
        let (list, report) =
            AddressList::read_as(text.as_bytes(), &format, AddressReading { min_score: None, own: &own })?;
        println!(
            "{name:14} {:40} {:4} MB, {} entries, {} rejected, {} prefixes: {:?}",
            text.lines().nth(1).unwrap_or_default(),
            text.len() >> 20,
            report.entries,
            report.rejected,
            list.len(),
            started.elapsed()
        );
    }
    let started = Instant::now();
    let (first, second) = (&files[0].1, &files[3].1);
    let read = |text: &str| AddressList::read(text.as_bytes(), AddressReading::default());
    let (now, former) = (read(second)?.0, read(first)?.0);
    let read = started.elapsed();
    println!("delta of two such lists: {:?} ({:?} to read them)", now.delta(&former).counts(), read);
    let names = write(&|n| format!("||host{n}.example.net^"));
    let started = Instant::now();
    let (report, delta) = DomainSetBuilder::compare(
        names.as_bytes(),
        &Format::Auto,
        Some((names.as_bytes(), &Format::Auto)),
        &[],
        7,
    )?;
    println!(
        "domains, read twice and compared: {} entries, {delta:?}: {:?}",
        report.entries,
        started.elapsed()
    );
    Ok(())
}
