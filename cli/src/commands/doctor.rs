//! `secctl doctor`.

use protocol::{Diagnosis, Finding, Level, path};
use std::io;

use super::{Done, Online};
use crate::{
    failure::Failure,
    output::{Output, Paint},
    text::{count, escape},
};

/// Look at the whole machine: kernel, interfaces, offloads, VLANs, the outside, the clock, what is reachable
///
/// Each finding comes with what to do about it. Exits with 1 if something is wrong.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Show what is as it should be, too
    #[arg(short, long)]
    all: bool,
}

pub(crate) fn run(asked: &Arguments, online: &mut Online<'_, '_>) -> Done {
    let diagnosis: Diagnosis = online.client.get(path::DOCTOR, &())?;
    online.output.show(&diagnosis, |output, diagnosis| print(output, diagnosis, asked.all))?;
    if diagnosis.is_wrong() { Err(Failure::Finding) } else { Ok(()) }
}

fn print(output: &mut Output<'_>, diagnosis: &Diagnosis, all: bool) -> io::Result<()> {
    let of = |level| diagnosis.findings.iter().filter(move |finding| finding.level == level);
    let mut shown: Vec<&Finding> = of(Level::Wrong).chain(of(Level::Note)).collect();
    if all {
        shown.extend(of(Level::Good));
    }
    for finding in &shown {
        let (word, paint) = match finding.level {
            Level::Wrong => ("wrong", Paint::Bad),
            Level::Note => ("note", Paint::Warn),
            Level::Good => ("good", Paint::Good),
        };
        let line = format!(
            "{} {} {}",
            output.paint(&format!("{word}:"), paint),
            output.paint(&format!("{}:", finding.topic), Paint::Title),
            escape(&finding.message)
        );
        output.sentence(&line)?;
        if let Some(help) = &finding.help {
            output.paragraph(4, help, Paint::Quiet)?;
        }
    }
    let counted = |level, one: &str, many: &str| count(of(level).count() as u64, one, many);
    let line = format!(
        "{}, {}, {} good.",
        counted(Level::Wrong, "thing wrong", "things wrong"),
        counted(Level::Note, "note", "notes"),
        of(Level::Good).count()
    );
    output.line(&line)
}
