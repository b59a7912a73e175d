//! `loki-receiver`: the receiver as a program, for the demo and the lab.

use anyhow::Context;
use clap::Parser;
use loki_receiver::{Limits, Receiver};
use std::{net::SocketAddr, path::PathBuf};

/// Receives Loki pushes, as strictly as Loki, and shows them under /entries.
#[derive(Debug, Parser)]
struct Flags {
    /// Address and port to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// File that gets the address and port, once the receiver listens.
    #[arg(long)]
    port_file: Option<PathBuf>,
    /// File that gets every entry, one JSON object a line.
    #[arg(long)]
    record: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    let record = match &flags.record {
        Some(path) => {
            let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
            Some(file.with_context(|| format!("cannot write {}", path.display()))?)
        }
        None => None,
    };
    let receiver = Receiver::start_with(flags.listen, Limits::default(), record)
        .await
        .with_context(|| format!("cannot listen on {}", flags.listen))?;
    if let Some(path) = &flags.port_file {
        // Renamed into place, so that whoever waits for the file never reads half of it.
        let partial = path.with_extension("partial");
        std::fs::write(&partial, format!("{}\n", receiver.address()))
            .and_then(|()| std::fs::rename(&partial, path))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    println!("listening on {}", receiver.url());
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result?,
        _ = terminate.recv() => {}
    }
    println!("{} entries", receiver.entries().len());
    Ok(())
}
