//! `secctl unban`.

use model::{ClientName, DecisionKind, Target};
use protocol::{Lift, Lifted, path};
use std::io;

use super::{Done, Online};
use crate::{
    failure::Failure,
    output::{Output, Paint},
    text::escape,
};

/// Lift the bans of exactly this address, range or name
///
/// Exits with 1 if nothing was in force.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// As it was banned: see `secctl decisions`
    target: Target,
    /// What was ordered for this client of the resolver alone
    #[arg(long, value_name = "CLIENT")]
    client: Option<ClientName>,
    /// Lift what was allowed with `secctl allow` instead
    #[arg(long)]
    allowed: bool,
}

pub(crate) fn run(asked: &Arguments, online: &mut Online<'_, '_>) -> Done {
    let kind = if asked.allowed { DecisionKind::Allow } else { DecisionKind::Ban };
    let target = super::target(&asked.target, asked.client.as_ref())?;
    let lift = Lift { target: target.clone(), kind: Some(kind), user: online.environment.user.clone() };
    let lifted: Lifted = online.client.post(path::LIFT, &lift)?;
    online.output.show(&lifted, |output, lifted| print(output, asked, &target, lifted))?;
    if lifted.lifted.is_empty() { Err(Failure::Finding) } else { Ok(()) }
}

fn print(output: &mut Output<'_>, asked: &Arguments, about: &Target, lifted: &Lifted) -> io::Result<()> {
    let target = output.paint(&about.to_string(), Paint::Title);
    if lifted.lifted.is_empty() {
        let what = if asked.allowed { "allowed by a decision" } else { "banned" };
        output.sentence(&format!("{target} was not {what}; `secctl why {about}` says what holds."))?;
    }
    for decision in &lifted.lifted {
        let what = match decision.kind {
            DecisionKind::Ban => "banned",
            DecisionKind::Allow => "allowed",
        };
        let line = format!(
            "{target} is no longer {what} (decision {}, by {}).",
            decision.id,
            escape(&decision.origin.name)
        );
        output.sentence(&line)?;
    }
    super::ban::notes(output, &lifted.notes)
}
