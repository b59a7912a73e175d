//! `secctl lists`.

use model::{Direction, Timestamp};
use protocol::{ListKind, ListOrder, ListOrdered, ListRow, Lists, path};
use std::io;

use super::{Done, Online};
use crate::{
    failure::Failure,
    output::{Column, Field, Output, Paint, painted, plain},
    text::{ago, escape, number, shell},
};

/// Show the lists and what they stopped; fetch them, or let through what is held
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Fetch a list now, or all that are fetched
    ///
    /// Exits with 1 if one could not be fetched or is held.
    Refresh {
        /// Its name
        name: Option<String>,
    },
    /// Let a held list through: it changed too much, or holds what no list should
    ///
    /// Entries that no list may hold (own networks, 0.0.0.0/0, public suffixes) are left out all the same.
    Accept {
        /// Its name
        name: String,
    },
}

pub(crate) fn run(asked: &Arguments, online: &mut Online<'_, '_>) -> Done {
    let (place, name) = match &asked.what {
        None => {
            let lists: Lists = online.client.get(path::LISTS, &())?;
            return Ok(online.output.show(&lists, print)?);
        }
        Some(What::Refresh { name }) => (path::REFRESH, name.clone()),
        Some(What::Accept { name }) => (path::ACCEPT, Some(name.clone())),
    };
    let order = ListOrder { name, user: online.environment.user.clone() };
    let ordered: ListOrdered = online.client.post(place, &order)?;
    online.output.show(&ordered, |output, ordered| {
        for outcome in &ordered.outcomes {
            output.sentence(&escape(outcome))?;
        }
        if ordered.outcomes.is_empty() {
            output.line("Nothing is fetched: no list has a `url`.")?;
        }
        Ok(())
    })?;
    if ordered.failed { Err(Failure::Finding) } else { Ok(()) }
}

fn print(output: &mut Output<'_>, lists: &Lists) -> io::Result<()> {
    if lists.lists.is_empty() {
        return output.line("There are no lists; see `[[lists]]` in `secctl config reference`.");
    }
    let now = output.now();
    let rows = lists
        .lists
        .iter()
        .map(|list| {
            let stops = match (list.kind, list.direction) {
                (ListKind::Domains, _) => "the name",
                (ListKind::Addresses, None | Some(Direction::In)) => "what it starts",
                (ListKind::Addresses, Some(Direction::Out)) => "what we start",
                (ListKind::Addresses, Some(Direction::Both)) => "both ways",
            };
            vec![
                plain(&list.name),
                plain(kind(list.kind)),
                super::mode_field(list.mode),
                plain(number(list.entries)),
                plain(number(list.hits)),
                plain(stops),
                plain(number(list.rejected)),
                plain(age(list).map_or_else(|| "never".into(), |at| ago(at, now))),
                state(list),
                plain(list.fetched.as_ref().map_or(&list.path, |fetched| &fetched.from)),
            ]
        })
        .collect();
    output.table(
        &[
            Column::new("LIST").whole(),
            Column::new("OF").whole().wide(80),
            Column::new("MODE").whole(),
            Column::new("ENTRIES").right(),
            Column::new("HITS").right(),
            Column::new("STOPS").whole().wide(100),
            Column::new("REFUSED").right().wide(80),
            Column::new("READ").whole().wide(80),
            Column::new("STATE"),
            Column::new("FROM").wide(140),
        ],
        rows,
    )
}

/// How old what is in force is.
fn age(list: &ListRow) -> Option<Timestamp> {
    match &list.fetched {
        Some(fetched) => fetched.checked.max(fetched.at),
        None => list.loaded,
    }
}

fn state(list: &ListRow) -> Field {
    let held = list.fetched.as_ref().and_then(|fetched| fetched.held.as_ref());
    match (held, &list.error) {
        (Some(held), _) => {
            let name = shell(&list.name);
            painted(format!("held: {held}; `secctl lists accept {name}` takes it"), Paint::Warn)
        }
        (None, error) => super::state(error.as_deref()),
    }
}

/// What a list holds, as a word.
pub(crate) fn kind(kind: ListKind) -> &'static str {
    match kind {
        ListKind::Domains => "domains",
        ListKind::Addresses => "addresses",
    }
}
