//! `secctl logs f2btest`.

use ::logs::fail2ban::{
    Filter,
    samples::{self, Failed, Report, Unsupported},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
};

use super::{Done, fail2ban};
use crate::{
    failure::Failure,
    output::{Column, Output, Paint, painted, plain},
    text::count,
};

/// Run Fail2ban's sample logs through its filters, and compare with what the samples say about each line
///
/// Exits with 1 if a line is judged otherwise than its sample says.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The filters: `filter.d`, or the folder that it is in
    #[arg(long, value_name = "DIR")]
    filters: PathBuf,
    /// The samples: a folder like `testcases/files/logs`, a file for each filter
    #[arg(long, value_name = "DIR")]
    logs: PathBuf,
    /// Only the filters whose name holds this
    #[arg(value_name = "NAME")]
    only: Option<String>,
}

pub(crate) fn run(asked: &Arguments, output: &mut Output<'_>) -> Done {
    let filters = fail2ban::filters(&asked.filters)?;
    let mut logs = BTreeMap::new();
    for (name, path) in fail2ban::files(&asked.logs)? {
        logs.insert(name, fail2ban::read(&path)?);
    }
    let names: BTreeSet<String> = filters
        .within(fail2ban::FILTERS, ".conf")
        .map(|path| path[fail2ban::FILTERS.len()..].trim_end_matches(".conf").to_owned())
        .collect();
    let wanted = |name: &str| asked.only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    if !names.iter().any(|name| wanted(name)) {
        return Err(Failure::Usage {
            message: format!("there is no such filter in {}", asked.filters.display()),
            help: Some("name a folder of `.conf` files".into()),
        });
    }
    // Files that others add are no samples of a filter of their own.
    let added: BTreeSet<String> = logs.values().flat_map(|bytes| samples::added(bytes)).collect();
    let mut all = Report::default();
    for name in logs.keys().filter(|name| wanted(name)) {
        if names.contains(name) {
            let report = samples::run(&filters, fail2ban::FILTERS, name, &logs);
            all.passed += report.passed;
            all.failed.extend(report.failed);
            all.unsupported.extend(report.unsupported);
        } else if !added.contains(name) {
            let why = "there is no filter of this name".to_owned();
            all.unsupported.push(Unsupported { test: name.clone(), why });
        }
    }
    // Filters without samples have to load at least; parts that others include are none.
    for name in
        names.iter().filter(|name| wanted(name) && !logs.contains_key(*name) && !name.ends_with("common"))
    {
        if let Err(errors) = Filter::read(&filters, &format!("{}{name}", fail2ban::FILTERS), &BTreeMap::new())
        {
            let why = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            all.unsupported.push(Unsupported { test: name.clone(), why });
        }
    }
    output.show(&all, print)?;
    if all.failed.is_empty() { Ok(()) } else { Err(Failure::Finding) }
}

fn print(output: &mut Output<'_>, report: &Report) -> io::Result<()> {
    if !report.failed.is_empty() {
        let columns = [Column::new("TEST"), Column::new("ASSERT"), Column::new("GOT")];
        let row = |failed: &Failed| {
            vec![painted(&failed.test, Paint::Bad), plain(&failed.assert), plain(&failed.got)]
        };
        output.table(&columns, report.failed.iter().map(row).collect())?;
        output.line("")?;
    }
    if !report.unsupported.is_empty() {
        let columns = [Column::new("TEST"), Column::new("UNSUPPORTED")];
        let row = |one: &Unsupported| vec![painted(&one.test, Paint::Warn), plain(&one.why)];
        output.table(&columns, report.unsupported.iter().map(row).collect())?;
        output.line("")?;
    }
    output.sentence(&format!(
        "{} passed, {} failed, {} not supported.",
        count(report.passed as u64, "line", "lines"),
        report.failed.len(),
        report.unsupported.len()
    ))
}
