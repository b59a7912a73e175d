//! `secctl diff`.

use protocol::{DiffRequest, Difference, FlowChange, path};
use std::{io, path::PathBuf};

use super::{Done, Online};
use crate::{
    failure::Failure,
    output::{Column, Field, Output, Paint, painted, plain},
    text::{bytes, escape, number},
};

/// Show what a config would change: rules and zones in words, and the open flows that would be judged otherwise
///
/// Nothing is changed. Bans and lists are left out: they hold whatever the policy says.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The new config; left out, secd reads its own config file
    file: Option<PathBuf>,
    /// Exit with 1 if anything would change
    #[arg(long)]
    exit_code: bool,
}

pub(crate) fn run(asked: &Arguments, online: &mut Online<'_, '_>) -> Done {
    let (file, text) = super::apply::named(asked.file.as_deref())?;
    let difference: Difference = online.client.post(path::DIFF, &DiffRequest { text, file })?;
    online.output.show(&difference, print)?;
    let same = difference.changes.is_empty() && difference.flows.is_empty();
    if asked.exit_code && !same { Err(Failure::Finding) } else { Ok(()) }
}

fn print(output: &mut Output<'_>, difference: &Difference) -> io::Result<()> {
    if difference.changes.is_empty() {
        output.line("The policy stays as it is.")?;
    }
    for change in &difference.changes {
        let paint = match change.kind.as_str() {
            "added" => Paint::Good,
            "removed" => Paint::Bad,
            _ => Paint::Warn,
        };
        let place = match (&change.old_place, &change.new_place) {
            (Some(old), Some(new)) if old != new => format!(" ({old}, now {new})"),
            (Some(place), _) | (None, Some(place)) => format!(" ({place})"),
            (None, None) => String::new(),
        };
        let line = format!(
            "{} {}{}",
            output.paint(&change.name, Paint::Title),
            output.paint(&change.kind, paint),
            escape(&place)
        );
        output.sentence(&line)?;
        for before in &change.before {
            output.paragraph(2, &format!("- {before}"), Paint::Bad)?;
        }
        for after in &change.after {
            output.paragraph(2, &format!("+ {after}"), Paint::Good)?;
        }
    }
    super::ban::notes(output, &difference.notes)?;
    output.line("")?;
    if !difference.flows.is_empty() {
        output.table(
            &[
                Column::new("FLOW"),
                Column::new("NOW").whole(),
                Column::new("BY").wide(100),
                Column::new("THEN").whole(),
                Column::new("BY").wide(80),
                Column::new("BYTES").right().wide(120),
            ],
            difference.flows.iter().map(row).collect(),
        )?;
    }
    let unasked = difference.open.saturating_sub(difference.compared);
    let rest = match unasked {
        0 => String::new(),
        more => format!("; {} smaller ones were not compared", number(more)),
    };
    let line = format!(
        "{} of {} open flows would be judged otherwise{rest}.",
        number(difference.flows.len() as u64),
        number(difference.open)
    );
    output.sentence(&escape(&line))
}

fn row(flow: &FlowChange) -> Vec<Field> {
    let verdict = |verdict: &str| painted(verdict, if verdict == "pass" { Paint::Good } else { Paint::Bad });
    vec![
        plain(&flow.flow),
        verdict(&flow.before),
        plain(&flow.before_by),
        verdict(&flow.after),
        plain(&flow.after_by),
        plain(bytes(flow.bytes)),
    ]
}
