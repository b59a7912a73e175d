//! Every target over its corpus, and over changes of it: what libFuzzer once found stays found, on stable.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

/// Changes of each seed that are tried; with `SECD_FULL` twenty times as many.
const CHANGES: u64 = 60;
/// Bytes of a seed.
const LONGEST: u64 = 256 * 1024;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// Seeds of a target, by name.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(corpus().join(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
        .iter()
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap()))
        .collect()
}

/// Numbers that look like chance and are the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % most.max(1)
    }

    fn byte(&mut self) -> u8 {
        [0, 1, 0x7f, 0x80, 0xff, 0xc0, b'\n', b' ']
            .get(self.below(16))
            .copied()
            .unwrap_or(self.below(256) as u8)
    }

    /// The bytes with a few changes as fuzzers make them.
    fn change(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            match self.below(6) {
                0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                1 if !bytes.is_empty() => bytes[at] = self.byte(),
                2 => bytes.insert(at, self.byte()),
                3 if !bytes.is_empty() => drop(bytes.remove(at)),
                4 => bytes.truncate(at),
                _ => {
                    let to = (at + self.below(16)).min(bytes.len());
                    let piece = bytes[at..to].to_vec();
                    let into = self.below(bytes.len());
                    bytes.splice(into..into, piece);
                }
            }
        }
        bytes
    }
}

#[test]
fn every_target_holds_over_its_corpus_and_changes_of_it() {
    let changes = if std::env::var_os("SECD_FULL").is_some() { 20 * CHANGES } else { CHANGES };
    let mut failed = Vec::new();
    for (name, target) in fuzz::TARGETS {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "no seeds of {name}");
        let mut chance = Chance(0x5eed);
        let mut run = |seed: &str, bytes: &[u8]| {
            if catch_unwind(AssertUnwindSafe(|| target(bytes))).is_err() {
                failed.push(format!("{name}, {seed}: {:?}", String::from_utf8_lossy(bytes)));
            }
        };
        run("nothing", b"");
        for (seed, bytes) in &seeds {
            assert!(bytes.len() as u64 <= LONGEST, "{name}/{seed} is too long");
            run(seed, bytes);
            for _ in 0..changes {
                run(&format!("{seed}, changed"), &chance.change(bytes));
            }
        }
    }
    assert!(failed.is_empty(), "{} failed, the first: {}", failed.len(), failed[0]);
}

#[test]
fn every_folder_of_seeds_has_its_target() {
    for entry in fs::read_dir(corpus()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(fuzz::target(&name).is_some(), "there is no target {name}");
    }
}
