//! `secctl ban`.

use model::{ClientName, Decision, DecisionKind, Direction, Evidence, Mode, Origin, OriginKind, Target};
use protocol::{Lasting, Order, Ordered, path};
use std::{
    io,
    path::{Path, PathBuf},
};

use super::{Done, Online};
use crate::{
    output::{Output, Paint},
    text::{escape, left},
};

/// Ban an address, a range or a name, or a file of them
///
/// A ban stops what the target starts, and not the replies to our own connections, unless --direction says otherwise.
/// It is stored and in force when the command returns.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// An address (192.0.2.7), range (198.51.100.0/24) or name (ads.example, and everything below)
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    target: Option<Target>,
    /// All of this file, an address, range or name a line (`-`: standard input; `#` begins a comment)
    #[arg(long, value_name = "FILE", conflicts_with = "client")]
    file: Option<PathBuf>,
    /// For this client of the resolver alone: its name in the config, or an address
    #[arg(long, value_name = "CLIENT")]
    client: Option<ClientName>,
    /// For how long: 90s, 10m, 1h30m, 7d; until it is lifted if left out
    #[arg(long = "for", value_name = "TIME")]
    lasting: Option<Lasting>,
    /// What it stops
    #[arg(long, value_enum, default_value_t = Way::In)]
    direction: Way,
    /// Why, for whoever asks `secctl why` later
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
}

/// Which way a ban holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Way {
    /// What it starts
    In,
    /// What we start towards it
    Out,
    /// Both
    Both,
}

impl From<Way> for Direction {
    fn from(way: Way) -> Self {
        match way {
            Way::In => Self::In,
            Way::Out => Self::Out,
            Way::Both => Self::Both,
        }
    }
}

pub(crate) fn run(asked: &Arguments, online: &mut Online<'_, '_>) -> Done {
    let target = match (&asked.file, &asked.target) {
        (Some(file), _) => return from_file(file, asked, online),
        (None, Some(target)) => target,
        (None, None) => return Err(super::usage("name an address, a range or a name".into())),
    };
    let order = Order {
        kind: DecisionKind::Ban,
        target: super::target(target, asked.client.as_ref())?,
        lasting: asked.lasting,
        direction: asked.direction.into(),
        comment: asked.comment.clone(),
        user: online.environment.user.clone(),
    };
    send(&order, online)
}

/// Bans what stands in a file.
fn from_file(file: &Path, asked: &Arguments, online: &mut Online<'_, '_>) -> Done {
    // What holds for one holds for each.
    let order = Order {
        kind: DecisionKind::Ban,
        target: Target::address([0, 0, 0, 0].into()),
        lasting: asked.lasting,
        direction: asked.direction.into(),
        comment: asked.comment.clone(),
        user: online.environment.user.clone(),
    };
    order.check().map_err(super::usage)?;
    super::many::send(file, online, |line, now| {
        let text = line.split('#').next().unwrap_or_default().trim();
        if text.is_empty() {
            return Ok(None);
        }
        let target: Target = text.parse().map_err(|error: model::TargetError| error.to_string())?;
        Ok(Some(Decision {
            id: 0,
            kind: order.kind,
            target,
            direction: order.direction,
            mode: Mode::Enforce,
            since: now,
            until: order.lasting.map(|Lasting(lasting)| now.plus(lasting)),
            // Whoever asks.
            origin: Origin { kind: OriginKind::Person, name: String::new(), at: None },
            evidence: order.comment.iter().map(|text| Evidence::new(now, "comment", text)).collect(),
        }))
    })
}

/// Orders and prints what came of it.
pub(crate) fn send(order: &Order, online: &mut Online<'_, '_>) -> Done {
    order.check().map_err(super::usage)?;
    let ordered: Ordered = online.client.post(path::DECISIONS, order)?;
    Ok(online.output.show(&ordered, print)?)
}

fn print(output: &mut Output<'_>, ordered: &Ordered) -> io::Result<()> {
    let decision = &ordered.decision;
    let (verb, paint) = match decision.kind {
        DecisionKind::Ban => ("banned", Paint::Bad),
        DecisionKind::Allow => ("allowed", Paint::Good),
    };
    let until = match decision.until {
        Some(until) => format!("until {} ({})", output.moment(until), left(until, output.now())),
        None => "until it is lifted".into(),
    };
    let line = format!(
        "{} is {} {until} (decision {}).",
        output.paint(&decision.target.to_string(), Paint::Title),
        output.paint(verb, paint),
        decision.id
    );
    output.sentence(&line)?;
    notes(output, &ordered.notes)
}

/// Prints what the person should know besides.
pub(crate) fn notes(output: &mut Output<'_>, notes: &[String]) -> io::Result<()> {
    for note in notes {
        let line = format!("{} {}", output.paint("note:", Paint::Warn), escape(note));
        output.sentence(&line)?;
    }
    Ok(())
}
