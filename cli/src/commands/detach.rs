//! `secctl detach`.

use protocol::{Detached, path};
use std::io;

use super::{Done, Online};
use crate::{failure::Failure, output::Output, text::escape};

/// Take secd's programs and tables out of the kernel: nothing is enforced any more
///
/// Stopping secd leaves enforcement in place; this removes it. Starting secd again puts it back.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Yes, leave the network without protection
    #[arg(long)]
    yes: bool,
}

pub(crate) fn run(asked: &Arguments, online: &mut Online<'_, '_>) -> Done {
    if !asked.yes {
        return Err(Failure::Usage {
            message: "this leaves the network without protection until secd starts again".into(),
            help: Some(
                "say --yes if that is meant; to look without dropping, use `secctl mode observe`".into(),
            ),
        });
    }
    let detached: Detached = online.client.post(path::DETACH, &serde_json::json!({}))?;
    Ok(online.output.show(&detached, print)?)
}

fn print(output: &mut Output<'_>, detached: &Detached) -> io::Result<()> {
    if detached.removed.is_empty() {
        return output.line("Nothing was attached.");
    }
    output.line("Nothing is enforced any more. Removed:")?;
    for removed in &detached.removed {
        output.line(&format!("  {}", escape(removed)))?;
    }
    output.line("`systemctl restart secd` puts it back.")
}
