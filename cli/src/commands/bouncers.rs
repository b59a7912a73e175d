//! `secctl bouncers`.

use model::{ProgramName, Timestamp};
use protocol::{Program, ProgramAction, ProgramOrder, ProgramOrdered, Programs, path};
use std::io;

use super::{Done, Online};
use crate::{
    output::{Column, Field, Output, Paint, painted, plain},
    text::ago,
};

/// Show the programs that enforce elsewhere what is decided here, add and delete them
///
/// They ask secd by CrowdSec's local API (`[lapi]` in secd.toml): crowdsec-firewall-bouncer and others.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Show them
    List,
    /// Add one, and show its key, which is kept nowhere
    Add {
        /// A name for it
        name: ProgramName,
        /// A key that it has already
        #[arg(long)]
        key: Option<String>,
    },
    /// Delete one: its key is good no more
    Delete {
        /// Its name
        name: ProgramName,
    },
}

pub(crate) fn run(asked: &Arguments, online: &mut Online<'_, '_>) -> Done {
    let user = online.environment.user.clone();
    let order = match &asked.what {
        None | Some(What::List) => {
            let programs: Programs = online.client.get(path::BOUNCERS, &())?;
            return Ok(online.output.show(&programs, print)?);
        }
        Some(What::Add { name, key }) => {
            ProgramOrder { name: name.clone(), action: ProgramAction::Add, secret: key.clone(), user }
        }
        Some(What::Delete { name }) => {
            ProgramOrder { name: name.clone(), action: ProgramAction::Delete, secret: None, user }
        }
    };
    let ordered: ProgramOrdered = online.client.post(path::ORDER_BOUNCER, &order)?;
    Ok(online
        .output
        .show(&ordered, |output, ordered| print_ordered(output, ordered, "Its key", "deleted"))?)
}

fn print(output: &mut Output<'_>, programs: &Programs) -> io::Result<()> {
    if programs.programs.is_empty() {
        return output.line("There are no bouncers: `secctl bouncers add NAME` adds one.");
    }
    let now = output.now();
    let rows = programs.programs.iter().map(|program| {
        let pulled = program.pulled.map_or_else(|| "never".into(), |at| ago(at, now));
        [row(program, now), vec![plain(pulled)]].concat()
    });
    let rows = rows.collect();
    output.table(&[columns().as_slice(), &[Column::new("TOLD").whole()]].concat(), rows)
}

/// What bouncers and machines have in common.
pub(super) fn columns() -> [Column; 4] {
    [
        Column::new("NAME").whole(),
        Column::new("SEEN").whole(),
        Column::new("FROM").whole(),
        Column::new("PROGRAM").wide(80),
    ]
}

pub(super) fn row(program: &Program, now: Timestamp) -> Vec<Field> {
    let seen = match program.last.at {
        Some(at) => plain(ago(at, now)),
        None => painted("never", Paint::Quiet),
    };
    vec![
        plain(program.name.to_string()),
        seen,
        plain(program.last.address.clone()),
        plain(program.last.agent.clone()),
    ]
}

/// `done`: what was done with one that was not added.
pub(super) fn print_ordered(
    output: &mut Output<'_>,
    ordered: &ProgramOrdered,
    secret: &str,
    done: &str,
) -> io::Result<()> {
    match &ordered.secret {
        Some(text) => {
            output.line(&format!("{} is added. {secret}, which is not shown again:", ordered.name))?;
            output.line(&crate::text::escape(text))?;
        }
        None => output.line(&format!("{} is {done}.", ordered.name))?,
    }
    super::ban::notes(output, &ordered.notes)
}
