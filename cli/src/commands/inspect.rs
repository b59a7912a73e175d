//! `secctl inspect`.

use serde::Serialize;
use signatures::{Classification, Limits, Loader, Refused, RuleSet, Variables, inspect_capture};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::Done;
use crate::{
    failure::Failure,
    output::{Format, Output, Paint},
    text::{count, escape, json_line, number},
};

/// Longest rule file that is read, in bytes. A longer one is an error.
const MAX_RULES_FILE_BYTES: u64 = 256 * 1024 * 1024;

/// Refused rules shown to people unless they ask for all.
const REFUSED_SHOWN: usize = 10;

/// Run signatures over a capture and print EVE JSON alerts, without the daemon
///
/// Alerts go to standard output, one JSON object a line; rules that are refused and a summary go to standard error.
/// Exits with 0 also if there are alerts, unless --exit-code is given.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The capture, pcap or pcapng; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pcap: PathBuf,
    /// Suricata rules; may be given several times
    #[arg(long, value_name = "FILE", required = true)]
    rules: Vec<PathBuf>,
    /// Take the variables ($HOME_NET, …) from this config
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set a variable: HOME_NET=[10.0.0.0/8]; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    var: Vec<(String, String)>,
    /// Names and priorities of classes, as in Suricata's classification.config
    #[arg(long, value_name = "FILE")]
    classification: Option<PathBuf>,
    /// `drop` and `reject` end a flow, as they do live; otherwise the whole capture is looked at
    #[arg(long)]
    cut: bool,
    /// Leave out TCP flows whose beginning is not in the capture
    #[arg(long)]
    no_midstream: bool,
    /// Show every rule that was refused, not the first few
    #[arg(long)]
    refused: bool,
    /// Exit with 1 if there are alerts
    #[arg(long)]
    exit_code: bool,
}

/// What was done, on standard error.
#[derive(Debug, Serialize)]
struct Summary {
    packets: u64,
    alerts: u64,
    rules: usize,
    refused: usize,
    refusals: Vec<Refused>,
    /// Where the capture could not be read to its end.
    error: Option<String>,
}

pub(crate) fn run(asked: &Arguments, output: &mut Output<'_>) -> Done {
    let (rules, refusals) = load(asked, output)?;
    let mut summary = Summary {
        packets: 0,
        alerts: 0,
        rules: rules.len(),
        refused: rules.refused(),
        refusals,
        error: None,
    };
    let name = asked.pcap.display().to_string();
    let source: Box<dyn Read + Send> = if name == "-" {
        Box::new(io::stdin())
    } else {
        let opened = File::open(&asked.pcap).map_err(|error| Failure::file(&asked.pcap, "read", &error))?;
        Box::new(BufReader::new(opened))
    };
    let limits = Limits { cut: asked.cut, midstream: !asked.no_midstream, ..Limits::default() };
    let mut printed = Ok(());
    let report = inspect_capture(source, &name, Arc::new(rules), limits, &mut |alert| {
        summary.alerts += 1;
        // The capture is read to its end all the same: one cannot stop it, and it is bounded.
        if printed.is_ok() {
            printed = json_line(&alert).and_then(|line| output.line(&line));
        }
    });
    printed?;
    output.flush()?;
    match report {
        Ok(report) => {
            summary.packets = report.capture.packets;
            if report.capture.cut {
                summary.error = Some(format!("{name} ends in the middle of a packet"));
            }
        }
        Err(error) => summary.error = Some(error.to_string()),
    }
    let unreadable = summary.error.clone().filter(|_| summary.packets == 0);
    tell(&summary, asked.refused, output)?;
    match unreadable {
        Some(message) => Err(Failure::Usage { message, help: None }),
        None if asked.exit_code && summary.alerts > 0 => Err(Failure::Finding),
        None => Ok(()),
    }
}

fn load(asked: &Arguments, output: &mut Output<'_>) -> Result<(RuleSet, Vec<Refused>), Failure> {
    let mut values = match &asked.config {
        Some(path) => super::check::parsed(path)?.signatures.variables,
        None => BTreeMap::new(),
    };
    values.extend(asked.var.iter().cloned());
    let variables = Variables::with(values.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let classification = match &asked.classification {
        Some(path) => {
            let (classification, errors) = Classification::parse(&read(path)?, &path.display().to_string());
            for error in errors {
                let line =
                    format!("{} {}", output.paint("warning:", Paint::Warn), escape(&error.to_string()));
                output.aside(&line)?;
            }
            classification
        }
        None => Classification::default(),
    };
    let mut loader = Loader::new(&variables, &classification);
    for path in &asked.rules {
        loader.file(&read(path)?, &path.display().to_string());
    }
    Ok(loader.finish())
}

/// Reads a rule file. What is not UTF-8 in it becomes replacement characters: comments often hold some.
fn read(path: &Path) -> Result<String, Failure> {
    let failed = |error| Failure::file(path, "read", &error);
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(failed)?
        .take(MAX_RULES_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > MAX_RULES_FILE_BYTES {
        return Err(super::usage(format!("{} is longer than {MAX_RULES_FILE_BYTES} bytes", path.display())));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn tell(summary: &Summary, all: bool, output: &mut Output<'_>) -> io::Result<()> {
    if output.format() == Format::Json {
        let line = json_line(summary)?;
        return output.aside(&line);
    }
    let shown = if all { usize::MAX } else { REFUSED_SHOWN };
    for refused in summary.refusals.iter().take(shown) {
        let line = format!("{} {}", output.paint("refused:", Paint::Warn), escape(&refused.to_string()));
        output.aside(&line)?;
    }
    if summary.refusals.len() > shown {
        output.aside(&format!("… {} more; --refused shows them", summary.refusals.len() - shown))?;
        let line = format!("refused because of {}", by_keyword(&summary.refusals));
        output.aside(&escape(&line))?;
    }
    if let Some(error) = summary.error.as_ref().filter(|_| summary.packets > 0) {
        let line = format!("{} {}", output.paint("warning:", Paint::Warn), escape(error));
        output.aside(&line)?;
    }
    output.aside(&format!(
        "{}, {}; {} run, {} refused",
        count(summary.packets, "packet", "packets"),
        count(summary.alerts, "alert", "alerts"),
        count(summary.rules as u64, "rule", "rules"),
        number(summary.refused as u64)
    ))
}

/// The keywords that rules were refused for, the most frequent first: `http 8 123, lua 40`.
fn by_keyword(refusals: &[Refused]) -> String {
    let mut counts = BTreeMap::<&str, u64>::new();
    for refused in refusals {
        *counts.entry(&refused.keyword).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(keyword, count)| (std::cmp::Reverse(*count), *keyword));
    let shown: Vec<_> = counts
        .iter()
        .take(REFUSED_SHOWN)
        .map(|(keyword, count)| format!("{keyword} {}", number(*count)))
        .collect();
    shown.join(", ")
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE, for example HOME_NET=[10.0.0.0/8]")?;
    Ok((name.to_owned(), value.to_owned()))
}
