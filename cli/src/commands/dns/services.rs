//! `secctl dns services`.

use model::Name;
use serde::Serialize;

use crate::{
    commands::Done,
    output::{Column, Output, plain},
};

/// A service and its names.
#[derive(Serialize)]
struct ServiceRow {
    name: String,
    names: Vec<Name>,
}

/// What can be blocked by name; it is part of the program.
pub(crate) fn run(output: &mut Output<'_>) -> Done {
    let rows: Vec<ServiceRow> =
        config::dns_services().into_iter().map(|(name, names)| ServiceRow { name, names }).collect();
    Ok(output.show(&rows, |output, rows| {
        let rows = rows
            .iter()
            .map(|row| {
                vec![
                    plain(&row.name),
                    plain(row.names.iter().map(Name::as_str).collect::<Vec<_>>().join(", ")),
                ]
            })
            .collect();
        output.table(&[Column::new("SERVICE").whole(), Column::new("NAMES")], rows)
    })?)
}
