//! `secctl undo`.

use protocol::{UndoOrder, Undone, path};
use std::io;

use super::{Done, Online};
use crate::{output::Output, text::escape};

/// Take the last change back, or the one with this number
///
/// Bans, allows, lifts, the mode and pauses. Without a number it is the last change of a person that nobody took back.
/// Exits with 1 and says why if it cannot be taken back.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Its number: see `secctl audit`
    id: Option<u64>,
}

pub(crate) fn run(asked: &Arguments, online: &mut Online<'_, '_>) -> Done {
    let order = UndoOrder { id: asked.id, user: online.environment.user.clone() };
    let undone: Undone = online.client.post(path::UNDO, &order)?;
    Ok(online.output.show(&undone, print)?)
}

fn print(output: &mut Output<'_>, undone: &Undone) -> io::Result<()> {
    let record = &undone.record;
    let words = record.change.in_words();
    let what = escape(&words);
    output.sentence(&format!("Taken back: {what} (row {}, by {}).", record.id, escape(&record.by.name)))?;
    for done in &undone.done {
        output.sentence(&format!("Done: {}.", escape(done)))?;
    }
    super::ban::notes(output, &undone.notes)
}
