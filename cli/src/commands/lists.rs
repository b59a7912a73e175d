//! `secctl lists`.

use model::Direction;
use protocol::{ListKind, Lists, path};
use std::io;

use super::{Done, Online};
use crate::{
    output::{Column, Output, plain},
    text::{ago, number},
};

pub(crate) fn run(online: &mut Online<'_, '_>) -> Done {
    let lists: Lists = online.client.get(path::LISTS, &())?;
    Ok(online.output.show(&lists, print)?)
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
                plain(list.loaded.map_or_else(|| "never".into(), |at| ago(at, now))),
                super::state(list.error.as_deref()),
                plain(&list.path),
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
            Column::new("FILE").wide(140),
        ],
        rows,
    )
}

/// What a list holds, as a word.
pub(crate) fn kind(kind: ListKind) -> &'static str {
    match kind {
        ListKind::Domains => "domains",
        ListKind::Addresses => "addresses",
    }
}
