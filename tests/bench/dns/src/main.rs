//! `bench-dns`: what answers cost — blocked, cached, uncached — with 500,000 names loaded, beside dnsmasq, unbound and
//! pdns-recursor where they are installed; and what becomes of them while a list is refreshed and while one client floods.
//!
//! Servers have processor 0; who asks, and the upstream, have processor 1. A side that lost answers, or gave other ones
//! than it should, is failed, not reported.

mod client;
mod flood;
mod lists;
mod measure;
mod names;
mod refresh;
mod report;
mod server;
mod sides;
mod streams;
mod upstream;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

/// What an answer costs.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    /// Write the results as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the figures into this page, behind its line `## Figures as seen`
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
    /// Shorter and fewer rounds
    #[arg(long)]
    quick: bool,
    /// Only this part: answers, load, streams, refresh or flood
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
}

/// What the bench starts itself as.
#[derive(Subcommand)]
enum Part {
    /// The resolver, with a list; a line on its standard input has it read the list anew
    #[command(hide = true)]
    Serve(server::Options),
    /// An upstream that gives every name an address
    #[command(hide = true)]
    Upstream { listen: SocketAddr },
    /// What it takes to load a list
    #[command(hide = true)]
    Lists { list: PathBuf },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.part {
        Some(Part::Serve(options)) => server::run(options),
        Some(Part::Upstream { listen }) => upstream::run(*listen),
        Some(Part::Lists { list }) => lists::run(list),
        None => run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let effort = if arguments.quick {
        measure::Effort { rounds: 1, seconds: 2 }
    } else {
        measure::Effort { rounds: 5, seconds: 4 }
    };
    sides::stay_on_processor(1);
    let machine = report::Machine::here();
    println!("{}", machine.words());
    let mut cases = Vec::new();
    for (name, measure) in [
        ("dns/answers", measure::run as fn(measure::Effort) -> Result<Vec<report::Case>>),
        ("dns/load", lists::measure),
        ("dns/streams", streams::measure),
        ("dns/refresh", refresh::measure),
        ("dns/flood", flood::measure),
    ] {
        if name.contains(&arguments.only) {
            let failed = |error: anyhow::Error| vec![report::Case::failed(name, format!("{error:#}"))];
            cases.extend(measure(effort).unwrap_or_else(failed));
        }
    }
    println!("{}", report::table(&cases));
    if let Some(path) = &arguments.json {
        let json = serde_json::to_vec_pretty(&report::to_json(&machine, &cases))?;
        std::fs::write(path, json).with_context(|| format!("write {}", path.display()))?;
    }
    if let Some(path) = &arguments.page {
        report::write_page(path, &machine, &cases)?;
    }
    Ok(())
}
