//! `secctl capture`.

use model::{Body, Event, Reason};
use protocol::{TailQuery, path};
use std::{
    fs::File,
    io::{self, BufWriter, Write},
    ops::ControlFlow,
    path::PathBuf,
};

use super::{Done, Online};
use crate::{
    failure::Failure,
    output::Paint,
    pcapng::{Headers, Pcapng},
    text::count,
};

/// Show or write down packets as they are dropped, refused or logged, with the reason
///
/// The kernel keeps no packet it drops: a capture holds addresses, ports, protocol, VLAN, length, interface and time of
/// each, and the reason as a comment, but no payload, flags or MAC addresses. At most 200 packets a second and CPU are
/// told of; the counters of `secctl top` see all. Packets that pass without a log rule are not told of: take those with
/// tcpdump, which in turn sees nothing that is dropped.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only packets judged for these reasons: spoofed, default_denied, listed_source, …
    #[arg(long, value_name = "REASON,…", value_delimiter = ',', value_parser = reason)]
    reason: Vec<Reason>,
    /// Only packets from these zones
    #[arg(long, value_name = "ZONE,…")]
    zone: Option<String>,
    /// End after this many packets
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,
    /// Write them to this pcapng file (`-` = standard output) instead of showing them
    #[arg(short, long, value_name = "FILE")]
    write: Option<PathBuf>,
}

fn reason(word: &str) -> Result<Reason, String> {
    Reason::ALL.iter().copied().find(|reason| reason.name() == word).ok_or_else(|| {
        let known: Vec<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        format!("`{word}` is no reason; the reasons are {}", known.join(", "))
    })
}

pub(crate) fn run(asked: &Arguments, online: &mut Online<'_, '_>) -> Done {
    let query = TailQuery { kind: Some("packet".into()), action: None, zone: asked.zone.clone() };
    query.filter().map_err(super::usage)?;
    let mut file = match &asked.write {
        Some(path) => Some(open(path)?),
        None => None,
    };
    let most = asked.count.unwrap_or(u64::MAX);
    let mut seen = 0;
    if most > 0 {
        online.client.follow(path::TAIL, &query, |line| {
            if line.is_empty() {
                return Ok(ControlFlow::Continue(()));
            }
            let event: Event = serde_json::from_slice(line).map_err(super::tail::unclear)?;
            if !wanted(&event, &asked.reason) {
                return Ok(ControlFlow::Continue(()));
            }
            match &mut file {
                Some(capture) => write(capture, &event).map_err(Failure::Output)?,
                None => super::tail::print(online.output, line)?,
            }
            seen += 1;
            Ok(if seen == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
    }
    if let Some(path) = asked.write.as_ref().filter(|path| path.as_os_str() != "-") {
        let told = format!("{} in {}: headers only", count(seen, "packet", "packets"), path.display());
        let line = online.output.paint(&told, Paint::Quiet);
        online.output.aside(&line)?;
    }
    Ok(())
}

fn open(path: &std::path::Path) -> Result<Pcapng<Box<dyn Write>>, Failure> {
    let out: Box<dyn Write> = if path.as_os_str() == "-" {
        Box::new(io::stdout())
    } else {
        Box::new(BufWriter::new(File::create(path).map_err(|error| Failure::file(path, "write", &error))?))
    };
    Pcapng::new(out).map_err(Failure::Output)
}

fn wanted(event: &Event, reasons: &[Reason]) -> bool {
    let named = || reasons.iter().any(|reason| event.reason.as_deref() == Some(reason.name()));
    matches!(event.body, Body::Packet { .. }) && (reasons.is_empty() || named())
}

fn write(capture: &mut Pcapng<Box<dyn Write>>, event: &Event) -> io::Result<()> {
    let Body::Packet { src, dst, proto, sport, dport, vlan, interface, length, by, .. } = &event.body else {
        return Ok(());
    };
    let Ok(protocol) = proto.parse() else { return Ok(()) };
    let headers = Headers {
        source: *src,
        destination: *dst,
        protocol,
        source_port: *sport,
        destination_port: *dport,
        vlan: *vlan,
        length: *length,
        interface,
    };
    let mut comment = format!("{} {}", event.action.name(), event.reason.as_deref().unwrap_or(""));
    for (word, value) in [("zone", &event.zone), ("by", by)] {
        if let Some(value) = value {
            comment += &format!(", {word} {value}");
        }
    }
    capture.packet(event, &headers, &comment)
}
