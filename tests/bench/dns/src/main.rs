//! `bench-dns`: microseconds of the server's processor an answer costs — blocked, cached, uncached — with 500,000 names
//! loaded, beside dnsmasq, unbound and pdns-recursor where they are installed. dnsperf asks over loopback; the server
//! has one processor, dnsperf and the upstream the other.
//!
//! A side that lost answers, or gave other ones than it should, is failed, not reported.

mod measure;
mod names;
mod server;
mod sides;
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
    /// Shorter and fewer rounds
    #[arg(long)]
    quick: bool,
    /// Only sides whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
}

/// What the bench starts itself as.
#[derive(Subcommand)]
enum Part {
    /// The resolver, with a list
    #[command(hide = true)]
    Serve { listen: SocketAddr, upstream: SocketAddr, list: PathBuf },
    /// An upstream that gives every name an address
    #[command(hide = true)]
    Upstream { listen: SocketAddr },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.part {
        Some(Part::Serve { listen, upstream, list }) => server::run(*listen, *upstream, list),
        Some(Part::Upstream { listen }) => upstream::run(*listen),
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
        measure::Effort { rounds: 3, seconds: 4 }
    };
    let results = measure::run(effort, &arguments.only)?;
    for result in &results {
        println!("{}", result.words());
    }
    if let Some(path) = &arguments.json {
        let json = serde_json::to_vec_pretty(&measure::to_json(&results))?;
        std::fs::write(path, json).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}
