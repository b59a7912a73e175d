//! Many decisions at once: addresses of a file, decisions of another appliance. Read, checked and sent by the piece.

use model::{Decision, Timestamp};
use protocol::{ManyOrder, ManyOrdered, path};
use serde::Serialize;
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use super::{Done, Online};
use crate::{
    failure::Failure,
    output::{Output, Paint},
    text::{count, escape},
};

/// Lines of one file. A longer one is refused before anything is sent.
pub(super) const MAX_LINES: usize = 100_000;
/// Bytes of one line.
const MAX_LINE: u64 = 64 * 1024;
/// Lines that are told one by one.
const MAX_TOLD: usize = 20;
/// Bytes that a request may have besides its decisions.
const ENVELOPE: usize = 1_024;

/// What became of a file.
#[derive(Debug, Default, Serialize)]
struct Report {
    /// Decisions in force and stored.
    taken: u64,
    /// Lines that are not, and why; the first.
    refused: Vec<Refused>,
    /// How many lines were refused in all.
    refused_count: u64,
    /// Rows of the audit log, for `secctl undo`.
    audit: Vec<u64>,
}

#[derive(Debug, Serialize)]
struct Refused {
    line: u64,
    why: String,
}

impl Report {
    fn refuse(&mut self, line: u64, why: String) {
        self.refused_count += 1;
        if self.refused.len() < ManyOrdered::MAX_REFUSED {
            self.refused.push(Refused { line, why });
        }
    }
}

/// Reads a file (`-`: standard input), a decision of each line; what is no decision is told and left out.
pub(super) fn send(
    file: &Path,
    online: &mut Online<'_, '_>,
    mut read: impl FnMut(&str, Timestamp) -> Result<Option<Decision>, String>,
) -> Done {
    let now = online.environment.now;
    let (mut report, mut decisions) = (Report::default(), Vec::new());
    let input: Box<dyn Read> = if file.as_os_str() == "-" {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(file).map_err(|error| Failure::file(file, "read", &error))?)
    };
    let mut input = BufReader::new(input);
    for number in 1.. {
        let mut line = Vec::new();
        let bytes = input.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
        if bytes.map_err(|error| Failure::file(file, "read", &error))? == 0 {
            break;
        }
        if number > MAX_LINES as u64 {
            return Err(super::usage(format!(
                "{} has more than {MAX_LINES} lines; use an address list for so many",
                file.display()
            )));
        }
        if line.len() as u64 == MAX_LINE {
            return Err(super::usage(format!("line {number} of {} is too long", file.display())));
        }
        match std::str::from_utf8(&line)
            .map_err(|_| "it is no text".to_owned())
            .and_then(|text| read(text, now))
        {
            Ok(None) => {}
            Ok(Some(decision)) => decisions.push((number, decision)),
            Err(why) => report.refuse(number, why),
        }
    }
    send_by_the_piece(decisions, &mut report, online)?;
    report.refused.sort_by_key(|refused| refused.line);
    online.output.show(&report, print)?;
    if report.refused_count > 0 { Err(Failure::Finding) } else { Ok(()) }
}

fn send_by_the_piece(decisions: Vec<(u64, Decision)>, report: &mut Report, online: &Online<'_, '_>) -> Done {
    let user = online.environment.user.clone();
    let (mut lines, mut piece, mut bytes) = (Vec::new(), Vec::new(), ENVELOPE);
    let mut flush = |lines: &mut Vec<u64>, piece: &mut Vec<Decision>| {
        if piece.is_empty() {
            return Ok(());
        }
        let order = ManyOrder { decisions: std::mem::take(piece), user: user.clone() };
        let ordered: ManyOrdered = online.client.post(path::DECISIONS_MANY, &order)?;
        report.taken += ordered.taken;
        let told = ordered.refused.len() as u64;
        for (place, why) in ordered.refused {
            let line = usize::try_from(place).ok().and_then(|place| lines.get(place));
            report.refuse(line.copied().unwrap_or_default(), why);
        }
        report.refused_count += ordered.refused_count.saturating_sub(told);
        report.audit.extend(ordered.audit);
        lines.clear();
        Ok::<(), Failure>(())
    };
    for (line, decision) in decisions {
        let size = serde_json::to_vec(&decision).map_or(0, |text| text.len() + 1);
        if bytes + size > ManyOrder::MAX_BYTES || piece.len() == ManyOrder::MAX {
            flush(&mut lines, &mut piece)?;
            bytes = ENVELOPE;
        }
        bytes += size;
        lines.push(line);
        piece.push(decision);
    }
    flush(&mut lines, &mut piece)
}

fn print(output: &mut Output<'_>, report: &Report) -> io::Result<()> {
    output.sentence(&format!("{} in force.", count(report.taken, "decision is", "decisions are")))?;
    for refused in report.refused.iter().take(MAX_TOLD) {
        let line = format!("line {}: {}", refused.line, escape(&refused.why));
        let line = output.paint(&line, Paint::Bad);
        output.line(&line)?;
    }
    let told = report.refused.len().min(MAX_TOLD) as u64;
    if report.refused_count > told {
        output.line(&format!("and {} more lines that were refused", report.refused_count - told))?;
    }
    if !report.audit.is_empty() {
        let rows: Vec<String> = report.audit.iter().map(|row| format!("secctl undo {row}")).collect();
        output.sentence(&format!("To take it back: {}.", rows.join(", ")))?;
    }
    Ok(())
}
