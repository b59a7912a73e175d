//! Half a million names, and a thousand expressions: CPU seconds to load from text and from a snapshot, bytes held, and
//! nanoseconds a decision. `cargo run --release -p lists --example measure_domains`.

use lists::{Asked, DomainSet, DomainSetBuilder};
use model::Mode;
use std::{fmt::Write, hint::black_box};

/// Nanoseconds that this thread has run.
fn cpu() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(0)
}

fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let lines = status.lines().filter(|line| line.starts_with("VmHWM") || line.starts_with("VmRSS"));
    lines.map(|line| line.replace(char::is_whitespace, "")).collect::<Vec<_>>().join(" ")
}

/// Seeded: the same names each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn label(&mut self, least: u64, most: u64) -> String {
        let length = least + self.next() % (most - least + 1);
        (0..length).map(|_| char::from(b'a' + (self.next() % 26) as u8)).collect()
    }
}

/// Names of 22 bytes on average, of which 32 % stand below another one.
fn names(count: usize) -> Vec<String> {
    let mut random = Random(0x5eed);
    let mut names: Vec<String> = Vec::with_capacity(count);
    let tops = ["com", "net", "org", "info", "co.uk", "xyz", "online"];
    while names.len() < count {
        let below = random.next() % 100 < 32 && names.len() > 100;
        let name = if below {
            let parent = (random.next() % names.len() as u64) as usize;
            format!("{}.{}", random.label(2, 7), names[parent])
        } else {
            format!("{}.{}.{}", random.label(2, 8), random.label(6, 15), tops[(random.next() % 7) as usize])
        };
        names.push(name);
    }
    names
}

fn decide(set: &DomainSet, names: &[String]) -> u64 {
    let started = cpu();
    let mut found = 0;
    for name in names {
        found += usize::from(black_box(set.decide(&Asked::about(name))).is_some());
    }
    let each = (cpu() - started) / names.len().max(1) as u64;
    black_box(found);
    each
}

/// The same over as many of the names as take a second.
fn decide_long(set: &DomainSet, names: &[String]) -> u64 {
    let (started, mut asked) = (cpu(), 0);
    for name in names.iter().cycle() {
        black_box(set.decide(&Asked::about(name)));
        asked += 1;
        let passed = if asked % 8 == 0 { cpu() - started } else { 0 };
        if passed > 1_000_000_000 {
            return passed / asked;
        }
    }
    0
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let all = names(500_000);
    let bytes: usize = all.iter().map(String::len).sum();
    println!("{} names of {:.1} bytes", all.len(), bytes as f64 / all.len() as f64);
    let mut random = Random(7);
    let misses: Vec<String> =
        (0..100_000).map(|_| format!("{}.{}.example.com", random.label(3, 9), random.label(3, 12))).collect();
    for count in [0, 1000, 50_000, 500_000] {
        let text = all[..count].iter().fold(String::new(), |mut text, name| {
            let _ = writeln!(text, "||{name}^");
            text
        });
        let mut builder = DomainSetBuilder::new(42);
        let before = resident();
        let started = cpu();
        if count > 0 {
            builder.add("list", Mode::Enforce, text.as_bytes())?;
        }
        let set = builder.finish();
        let loaded = cpu() - started;
        let snapshot = set.write();
        let started = cpu();
        let again = DomainSet::read(&snapshot)?;
        let read = cpu() - started;
        println!(
            "{count} names: {} held in {:.1} MB; from text {:.3} s, from {:.1} MB of snapshot {:.3} s; {before} -> {}",
            set.len(),
            set.bytes() as f64 / 1e6,
            loaded as f64 / 1e9,
            snapshot.len() as f64 / 1e6,
            read as f64 / 1e9,
            resident(),
        );
        let hits: Vec<String> = all[..count].iter().step_by(count / 100_000 + 1).cloned().collect();
        println!(
            "  a decision: listed {} ns, not listed {} ns",
            decide(&again, &hits),
            decide(&again, &misses)
        );
    }
    expressions(&all, &misses)
}

/// Expressions as people write them, and as somebody writes them who wants to make questions slow.
fn expressions(all: &[String], misses: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let mut random = Random(7);
    let mut text = String::new();
    for number in 0..1000 {
        let _ = match number % 4 {
            0 => writeln!(text, "^ad{number}s?[0-9]*[_.-]"),
            1 => writeln!(text, "(^|\\.){}[0-9]+\\.", random.label(4, 9)),
            2 => writeln!(text, "^(.+[_.-])?{}(er?|ice)?s?[0-9]*[_.-]", random.label(4, 7)),
            _ => writeln!(text, "{}[.-](track|pixel|count){number}", random.label(3, 6)),
        };
    }
    let mut builder = DomainSetBuilder::new(42);
    let started = cpu();
    builder.add("expressions", Mode::Enforce, text.as_bytes())?;
    let set = builder.finish();
    println!(
        "1000 expressions: {:.1} MB, loaded in {:.3} s",
        set.bytes() as f64 / 1e6,
        (cpu() - started) as f64 / 1e9
    );
    for _ in 0..2 {
        println!("  a decision: new names {} ns", decide(&set, misses));
    }
    println!("  a decision: listed names {} ns", decide(&set, &all[..100_000]));
    hostile(misses)?;
    let mut builder = DomainSetBuilder::new(42);
    builder.add(
        "expressions",
        Mode::Enforce,
        (text + "^[a-z]{30}\\.\n^[^.]*[0-9]{8}[^.]*\\.x$\n").as_bytes(),
    )?;
    let set = builder.finish();
    println!("  with two that have no literal: new names {} ns", decide(&set, misses));
    Ok(())
}

fn hostile(misses: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    // A file of little else than rejects would be refused as a whole.
    let names = (0..9000).map(|n| format!("n{n}.example\n")).collect::<String>();
    let all = |line: &dyn Fn(usize) -> String| {
        (0..9000).map(|n| line(n) + "\n").fold(names.clone(), |all, line| all + &line)
    };
    let letters = |n: usize| {
        [n / 676 % 26, n / 26 % 26, n % 26].map(|at| char::from(b'a' + u8::try_from(at).unwrap_or(0)))
    };
    let syllable = |n: usize| letters(n).iter().collect::<String>();
    let pairs: String = (0..84).map(syllable).collect();
    for (what, text, names) in [
        ("one literal", all(&|n| format!("^x{n}[0-9]*[.]com")), misses.to_vec()),
        (
            "one literal, nothing else",
            all(&|n| format!("^[a-z]{{2}}[^.]{{{}}}[.]com", n % 40)),
            misses.to_vec(),
        ),
        ("no literal", all(&|n| format!("^.[a-m][^{}]{{{}}}[n-z]", letters(n)[2], n % 30)), misses.to_vec()),
        (
            "literals of three letters, all in the names",
            all(&|n| format!("{}[^x]*[0-9][0-9]{{{}}}[.]com", syllable(n % 600), n % 7)),
            (0..500).map(|n| format!("{}{n}.com", &pairs[..240])).collect(),
        ),
    ] {
        let mut builder = DomainSetBuilder::new(42);
        let report = builder.add("expressions", Mode::Enforce, text.as_bytes())?;
        let set = builder.finish();
        println!(
            "  {what}: {} expressions, {} rejected, {:.1} MB; new names {} ns",
            report.entries,
            report.rejected,
            set.bytes() as f64 / 1e6,
            decide_long(&set, &names)
        );
    }
    Ok(())
}
