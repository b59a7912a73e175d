//! `secctl decisions`.

use model::{Decision, DecisionKind, Direction, Mode, OriginKind, Target, Timestamp};
use protocol::{Decisions, DecisionsQuery, path};
use std::{io, path::PathBuf};

use super::{Done, Online};
use crate::{
    output::{Column, Field, Output, Paint, painted, plain},
    text::{ago, json_line, left, number},
};

/// Show the bans and allows in force, newest first
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
    /// Only those that hold for this address, range or name
    target: Option<Target>,
    /// Only this kind
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// Only those ordered by
    #[arg(long, value_enum, value_name = "WHO")]
    by: Option<Who>,
    /// At most this many
    #[arg(long, default_value_t = protocol::DEFAULT_ROWS, value_name = "N")]
    limit: u32,
    /// All of them, a JSON object a line, for `secctl decisions import` on another appliance
    #[arg(long, conflicts_with = "limit")]
    export: bool,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Take over what `secctl decisions --export` wrote, with its ends, origins and evidence
    Import {
        /// The file; `-`: standard input
        file: PathBuf,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    Ban,
    Allow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Who {
    /// A person, by command
    Person,
    /// A scenario over log lines
    Scenario,
    /// A signature
    Signature,
}

pub(crate) fn run(asked: &Arguments, online: &mut Online<'_, '_>) -> Done {
    if let Some(What::Import { file }) = &asked.what {
        return super::many::send(file, online, |line, _| {
            let text = line.trim();
            if text.is_empty() {
                return Ok(None);
            }
            serde_json::from_str(text).map(Some).map_err(|error| format!("it is no decision: {error}"))
        });
    }
    let query = DecisionsQuery {
        target: asked.target.clone(),
        kind: asked.kind.map(|kind| match kind {
            Kind::Ban => DecisionKind::Ban,
            Kind::Allow => DecisionKind::Allow,
        }),
        origin: asked.by.map(|who| match who {
            Who::Person => OriginKind::Person,
            Who::Scenario => OriginKind::Scenario,
            Who::Signature => OriginKind::Signature,
        }),
        limit: Some(asked.limit),
        before: None,
    };
    if asked.export {
        return export(query, online);
    }
    let decisions: Decisions = online.client.get(path::DECISIONS, &query)?;
    Ok(online.output.show(&decisions, print)?)
}

/// Decisions that are read at a time: with all their evidence they fit into a reply.
const EXPORT_PAGE: u32 = 2_000;

/// All that match, oldest last, a page at a time.
fn export(mut query: DecisionsQuery, online: &mut Online<'_, '_>) -> Done {
    query.limit = Some(EXPORT_PAGE);
    let mut before = u64::MAX;
    loop {
        query.before = Some(before);
        let page: Decisions = online.client.get(path::DECISIONS, &query)?;
        let Some(last) = page.decisions.last() else { return Ok(()) };
        before = last.id;
        for decision in &page.decisions {
            online.output.line(&json_line(decision)?)?;
        }
    }
}

fn print(output: &mut Output<'_>, decisions: &Decisions) -> io::Result<()> {
    if decisions.decisions.is_empty() {
        let none = if decisions.total == 0 { "Nothing is banned or allowed." } else { "None that match." };
        return output.line(none);
    }
    let now = output.now();
    let rows = decisions.decisions.iter().map(|decision| row(decision, now)).collect();
    output.table(
        &[
            Column::new("ID").right().wide(80),
            Column::new("KIND").whole(),
            Column::new("TARGET").whole(),
            Column::new("STOPS").whole().wide(100),
            Column::new("LEFT").whole(),
            Column::new("SINCE").whole().wide(100),
            Column::new("BY"),
            Column::new("SEEN").wide(140),
        ],
        rows,
    )?;
    let shown = decisions.decisions.len() as u64;
    if shown < decisions.total {
        let line =
            output.paint(&format!("{} of {} in force", number(shown), number(decisions.total)), Paint::Quiet);
        output.line(&line)?;
    }
    Ok(())
}

fn row(decision: &Decision, now: Timestamp) -> Vec<Field> {
    let kind = match (decision.kind, decision.mode) {
        (DecisionKind::Ban, Mode::Enforce) => painted("ban", Paint::Bad),
        (DecisionKind::Ban, Mode::Observe) => painted("ban, observed", Paint::Warn),
        (DecisionKind::Allow, Mode::Enforce | Mode::Observe) => painted("allow", Paint::Good),
    };
    let stops = match (decision.kind, decision.direction) {
        (DecisionKind::Allow, _) => "",
        (DecisionKind::Ban, Direction::In) => "what it starts",
        (DecisionKind::Ban, Direction::Out) => "what we start",
        (DecisionKind::Ban, Direction::Both) => "both ways",
    };
    let by = match decision.origin.kind {
        OriginKind::Person => decision.origin.name.clone(),
        OriginKind::Scenario => format!("scenario {}", decision.origin.name),
        OriginKind::Signature => format!("signature {}", decision.origin.name),
    };
    let seen = decision.evidence.last().map(|evidence| format!("{}: {}", evidence.source, evidence.text));
    vec![
        plain(decision.id.to_string()),
        kind,
        plain(decision.target.to_string()),
        plain(stops),
        plain(decision.until.map_or_else(|| "forever".into(), |until| left(until, now))),
        plain(ago(decision.since, now)),
        plain(by),
        plain(seen.unwrap_or_default()),
    ]
}
