//! `secctl mode`.

use model::Mode;
use protocol::{ModeReply, ModeRequest, path};
use std::io;

use super::{Done, Online};
use crate::output::{Output, Paint};

/// Show the mode of the whole, or change it
///
/// A mode set by command holds over restarts, until it is set again.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The mode to change to
    #[arg(value_enum)]
    mode: Option<To>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum To {
    /// Judge, count and explain; drop nothing
    Observe,
    /// Carry verdicts out
    Enforce,
}

pub(crate) fn run(asked: &Arguments, online: &mut Online<'_, '_>) -> Done {
    let reply: ModeReply = match asked.mode {
        None => online.client.get(path::MODE, &())?,
        Some(to) => {
            let mode = match to {
                To::Observe => Mode::Observe,
                To::Enforce => Mode::Enforce,
            };
            online.client.post(path::MODE, &ModeRequest { mode, user: online.environment.user.clone() })?
        }
    };
    Ok(online.output.show(&reply, print)?)
}

fn print(output: &mut Output<'_>, reply: &ModeReply) -> io::Result<()> {
    let paint = match reply.mode {
        Mode::Enforce => Paint::Good,
        Mode::Observe => Paint::Warn,
    };
    let mode = output.paint(&reply.mode.to_string(), paint);
    if reply.mode == reply.configured {
        output.sentence(&format!("The mode is {mode}, as in the config."))?;
    } else {
        output.sentence(&format!(
            "The mode is {mode}, set by command; the config says {}.",
            reply.configured
        ))?;
    }
    if reply.mode == Mode::Enforce && !reply.observing.is_empty() {
        let line = output.paint(&format!("These only observe: {}.", reply.observing.join(", ")), Paint::Warn);
        output.sentence(&line)?;
    }
    Ok(())
}
