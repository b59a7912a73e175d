//! `bench packets`: what the packet path costs, beside what others cost, measured in turns in one run.
//!
//! A case whose sides did not do the same work is failed, not reported.

mod chance;
mod classifier;
mod clock;
mod floors;
mod frame;
mod harness;
mod micro;
mod peers;
mod picture;
mod progress;
mod report;
mod rules;
mod swap;
mod wire;
mod world;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use std::{path::PathBuf, process::ExitCode};

use micro::Effort;

/// What secd costs, beside what others cost.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// The packet path
    Packets(Packets),
}

#[derive(clap::Args)]
struct Packets {
    /// The bench's BPF object
    #[arg(long, value_name = "FILE")]
    programs: PathBuf,
    /// Write the results as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw the pictures into this folder
    #[arg(long, value_name = "FOLDER")]
    pictures: Option<PathBuf>,
    /// Fewer sizes and rounds
    #[arg(long)]
    quick: bool,
    /// Only cases whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
}

fn main() -> ExitCode {
    let Bench::Packets(packets) = Arguments::parse().bench;
    match run(&packets) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Packets) -> Result<()> {
    let machine = report::Machine::here();
    let progress = progress::Progress::new();
    let cpu = kernel_tests::stay_on_this_cpu();
    progress.at("making lists");
    let listed = world::Listed::new(micro::LIST, 0x7365_6364);
    let effort = if options.quick {
        Effort { rounds: 9, repeat: 50_000, quick: true }
    } else {
        Effort { rounds: 15, repeat: 200_000, quick: false }
    };
    let mut cases = floors::run(&options.programs, effort, &options.only, &progress)?;
    cases.extend(micro::run(&options.programs, &listed, effort, &options.only, &progress)?);
    let floods =
        wire::Effort { rounds: effort.rounds.min(9), frames: if options.quick { 1 << 16 } else { 1 << 18 } };
    cases.extend(wire::run(&options.programs, &listed, floods, &options.only, cpu, &progress)?);
    clock::roam()?;
    let swaps = if options.quick { 10 } else { 50 };
    cases.extend(swap::run(&options.programs, &listed, swaps, &options.only, &progress)?);
    let took = progress.end();
    println!("{}\nprocessor {cpu}", machine.words());
    println!("{}", report::table(&cases));
    println!("{} cases in {:.0} s", cases.len(), took.as_secs_f64());
    if let Some(path) = &options.json {
        let json = report::to_json("packets", &machine, &cases);
        std::fs::write(path, serde_json::to_vec_pretty(&json)?)
            .with_context(|| format!("write {}", path.display()))?;
    }
    if let Some(folder) = &options.pictures {
        for picture in picture::of(&cases) {
            let path = folder.join(picture.file);
            std::fs::write(&path, picture.to_svg()).with_context(|| format!("write {}", path.display()))?;
        }
    }
    Ok(())
}
