//! `secctl reload`.

use protocol::{Reloaded, path};
use std::io;

use super::{Done, Online};
use crate::{output::Output, text::escape};

pub(crate) fn run(online: &mut Online<'_, '_>) -> Done {
    let reloaded: Reloaded = online.client.post(path::RELOAD, &serde_json::json!({}))?;
    Ok(online.output.show(&reloaded, print)?)
}

fn print(output: &mut Output<'_>, reloaded: &Reloaded) -> io::Result<()> {
    let what = if reloaded.changes.is_empty() { "nothing has changed" } else { "in force" };
    output.line(&format!("The config was read again: {what} (generation {}).", reloaded.generation))?;
    for change in &reloaded.changes {
        output.line(&format!("  {}", escape(change)))?;
    }
    super::ban::notes(output, &reloaded.notes)
}
