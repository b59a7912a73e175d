//! `secctl machines`.

use model::ProgramName;
use protocol::{ProgramAction, ProgramOrder, ProgramOrdered, Programs, path};
use std::io;

use super::{
    Done, Online,
    bouncers::{columns, print_ordered, row},
};
use crate::output::{Column, Output, Paint, painted};

/// Show the programs that order bans here, add, let in and delete them
///
/// They speak CrowdSec's local API (`[lapi]` in secd.toml): CrowdSec's agent and others. What they order is checked like
/// a ban from a log line.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Show them
    List,
    /// Add one, and show its password, which is kept nowhere
    Add {
        /// The name it logs in with
        name: ProgramName,
        /// A password that it has already
        #[arg(long)]
        password: Option<String>,
    },
    /// Let one order that registered itself
    Validate {
        /// Its name
        name: ProgramName,
    },
    /// Delete one; what it ordered stays
    Delete {
        /// Its name
        name: ProgramName,
    },
}

pub(crate) fn run(asked: &Arguments, online: &mut Online<'_, '_>) -> Done {
    let user = online.environment.user.clone();
    let order = match &asked.what {
        None | Some(What::List) => {
            let programs: Programs = online.client.get(path::MACHINES, &())?;
            return Ok(online.output.show(&programs, print)?);
        }
        Some(What::Add { name, password }) => {
            ProgramOrder { name: name.clone(), action: ProgramAction::Add, secret: password.clone(), user }
        }
        Some(What::Validate { name }) => {
            ProgramOrder { name: name.clone(), action: ProgramAction::Validate, secret: None, user }
        }
        Some(What::Delete { name }) => {
            ProgramOrder { name: name.clone(), action: ProgramAction::Delete, secret: None, user }
        }
    };
    let done = if order.action == ProgramAction::Validate { "let in" } else { "deleted" };
    let ordered: ProgramOrdered = online.client.post(path::ORDER_MACHINE, &order)?;
    Ok(online
        .output
        .show(&ordered, |output, ordered| print_ordered(output, ordered, "Its password", done))?)
}

fn print(output: &mut Output<'_>, programs: &Programs) -> io::Result<()> {
    if programs.programs.is_empty() {
        return output.line("There are no machines: `secctl machines add NAME` adds one.");
    }
    let now = output.now();
    let rows = programs.programs.iter().map(|program| {
        let state = if program.validated {
            painted("may order", Paint::Good)
        } else {
            painted("waits to be let in", Paint::Warn)
        };
        [row(program, now), vec![state]].concat()
    });
    let rows = rows.collect();
    output.table(&[columns().as_slice(), &[Column::new("STATE").whole()]].concat(), rows)
}
