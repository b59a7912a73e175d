//! `secctl rules`.

use protocol::{RuleRow, Rules, path};
use std::io;

use super::{Done, Online};
use crate::{
    output::{Column, Field, Output, Paint, painted, plain},
    text::{bytes, number},
};

/// Show the rules in order, with their counters
///
/// The counters of rules begin again when the rules change; those of zones' defaults do not.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only rules that decided nothing since the rules were last changed
    #[arg(long)]
    unused: bool,
}

pub(crate) fn run(asked: &Arguments, online: &mut Online<'_, '_>) -> Done {
    let mut rules: Rules = online.client.get(path::RULES, &())?;
    if asked.unused {
        rules.rules.retain(|rule| rule.packets == 0 && rule.id.is_some());
    }
    Ok(online.output.show(&rules, |output, rules| {
        let since = rules.since.map(|since| output.moment(since));
        if asked.unused && rules.rules.is_empty() {
            return output.line("Every rule has decided something.");
        }
        print(output, rules)?;
        match since {
            Some(since) => {
                let line = output.paint(&format!("counted since {since}"), Paint::Quiet);
                output.line(&line)
            }
            None => Ok(()),
        }
    })?)
}

fn print(output: &mut Output<'_>, rules: &Rules) -> io::Result<()> {
    if rules.rules.is_empty() {
        return output.line("There are no rules; see `[[rules]]` in `secctl config reference`.");
    }
    let rows = rules.rules.iter().map(row).collect();
    output.table(
        &[
            Column::new("RULE").right(),
            Column::new("FROM"),
            Column::new("TO"),
            Column::new("SERVICES"),
            Column::new("ACTION").whole(),
            Column::new("MODE").whole().wide(100),
            Column::new("PACKETS").right().wide(70),
            Column::new("BYTES").right().wide(100),
            Column::new("LINE").right().wide(80),
            Column::new("COMMENT").wide(120),
        ],
        rows,
    )
}

fn row(rule: &RuleRow) -> Vec<Field> {
    let action = match rule.action.as_str() {
        "allow" | "pass" => painted(&rule.action, Paint::Good),
        _ => painted(&rule.action, Paint::Bad),
    };
    let services = if rule.services.is_empty() { "everything".into() } else { rule.services.join(", ") };
    vec![
        plain(rule.id.map_or_else(|| "default".into(), |id| id.to_string())),
        plain(rule.from.join(", ")),
        plain(rule.to.join(", ")),
        plain(services),
        action,
        super::mode_field(rule.mode),
        plain(number(rule.packets)),
        plain(bytes(rule.bytes)),
        plain(rule.line.to_string()),
        plain(rule.comment.clone().unwrap_or_default()),
    ]
}
