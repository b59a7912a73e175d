//! `secctl dns`.

use model::{ClientName, Name};
use protocol::{
    DnsClients, DnsGroupRow, DnsGroups, DnsPauseOrder, DnsPaused, DnsTest, DnsTestQuery, Lasting, path,
};
use serde::Serialize;
use std::io;

use super::{Done, Online, why};
use crate::{
    output::{Column, Field, Output, Paint, painted, plain},
    text::{escape, left},
};

/// Show the groups and clients of the resolver, pause blocking, and try what somebody would be answered
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Block nothing for a time; kept over restarts
    Pause {
        /// For how long: 30s, 10m, 1h; a day at most
        #[arg(value_name = "TIME")]
        lasting: Lasting,
        /// For this group only
        #[arg(long)]
        group: Option<String>,
    },
    /// Block again before a pause is over
    Resume {
        /// This group only
        #[arg(long)]
        group: Option<String>,
    },
    /// Show the groups: which are in force, until when, and what they block
    Groups,
    /// Show the clients that the config names, and the addresses they are seen with
    Clients,
    /// Ask as somebody would, and say why the answer is what it is
    ///
    /// It is a real question: it stands in the log of questions.
    Test {
        /// The name
        name: Name,
        /// Who asks: a client of the config or an address; this machine if left out
        #[arg(long, value_name = "CLIENT")]
        client: Option<ClientName>,
        /// The type: A, AAAA, HTTPS, TXT, TYPE65, …
        #[arg(long = "type", value_name = "TYPE", default_value = "A")]
        qtype: String,
    },
    /// Show the services that can be blocked (`services = ["…"]`)
    Services,
}

impl Arguments {
    /// Whether it needs no daemon.
    pub(crate) fn is_offline(&self) -> bool {
        matches!(self.what, What::Services)
    }
}

pub(crate) fn run(asked: &Arguments, online: &mut Online<'_, '_>) -> Done {
    match &asked.what {
        What::Pause { lasting, group } => pause(group.clone(), Some(*lasting), online),
        What::Resume { group } => pause(group.clone(), None, online),
        What::Groups => {
            let groups: DnsGroups = online.client.get(path::DNS_GROUPS, &())?;
            Ok(online.output.show(&groups, print_groups)?)
        }
        What::Clients => {
            let clients: DnsClients = online.client.get(path::DNS_CLIENTS, &())?;
            Ok(online.output.show(&clients, print_clients)?)
        }
        What::Test { name, client, qtype } => {
            let query =
                DnsTestQuery { name: name.clone(), client: client.clone(), qtype: Some(qtype.clone()) };
            let test: DnsTest = online.client.get(path::DNS_TEST, &query)?;
            Ok(online.output.show(&test, print_test)?)
        }
        What::Services => services(online.output),
    }
}

fn pause(group: Option<String>, lasting: Option<Lasting>, online: &mut Online<'_, '_>) -> Done {
    let order = DnsPauseOrder { group, lasting, user: online.environment.user.clone() };
    order.check().map_err(super::usage)?;
    let paused: DnsPaused = online.client.post(path::DNS_PAUSE, &order)?;
    Ok(online.output.show(&paused, print_paused)?)
}

fn print_paused(output: &mut Output<'_>, paused: &DnsPaused) -> io::Result<()> {
    let of =
        paused.group.as_ref().map(|group| format!(" for the group {}", escape(group))).unwrap_or_default();
    let line = match paused.until {
        Some(until) => format!(
            "Blocking is {}{of} until {} ({}).",
            output.paint("paused", Paint::Warn),
            output.moment(until),
            left(until, output.now())
        ),
        None if paused.changed => format!("Blocking {}{of}.", output.paint("goes on", Paint::Good)),
        None => format!("Blocking was not paused{of}."),
    };
    output.sentence(&line)?;
    super::ban::notes(output, &paused.notes)
}

fn print_groups(output: &mut Output<'_>, groups: &DnsGroups) -> io::Result<()> {
    let now = output.now();
    if let Some(until) = groups.paused_until {
        let line = format!(
            "Blocking is {} for everybody until {} ({}); `secctl dns resume` ends that.",
            output.paint("paused", Paint::Warn),
            output.moment(until),
            left(until, now)
        );
        output.sentence(&line)?;
    }
    let rows = groups.groups.iter().map(|group| {
        vec![
            plain(&group.name),
            state(group, now),
            super::mode_field(group.mode),
            plain(&group.blocking),
            plain(group.lists.join(", ")),
            plain(what_else(group)),
            plain(group.clients.join(", ")),
            plain(group.comment.clone().unwrap_or_default()),
        ]
    });
    let rows = rows.collect();
    output.table(
        &[
            Column::new("GROUP").whole(),
            Column::new("STATE"),
            Column::new("MODE").whole(),
            Column::new("ANSWERS").wide(100),
            Column::new("LISTS"),
            Column::new("BESIDES").wide(70),
            Column::new("CLIENTS").wide(70),
            Column::new("COMMENT").wide(120),
        ],
        rows,
    )
}

/// Whether a group is in force, why not, and when that changes.
fn state(group: &DnsGroupRow, now: model::Timestamp) -> Field {
    let change = |word: &str| match (&group.schedule, group.next_change) {
        (Some(schedule), Some(at)) => format!("{word} for {} (schedule {schedule})", left(at, now)),
        (Some(schedule), None) => format!("{word} (schedule {schedule})"),
        (None, _) => word.to_owned(),
    };
    match (group.paused_until, group.in_force) {
        (Some(until), _) => painted(format!("paused for {}", left(until, now)), Paint::Warn),
        (None, true) => painted(change("in force"), Paint::Good),
        (None, false) => painted(change("off"), Paint::Quiet),
    }
}

/// Services and safe search.
fn what_else(group: &DnsGroupRow) -> String {
    let safe = group.safe_search.then(|| "safe search".to_owned());
    group.services.iter().cloned().chain(safe).collect::<Vec<_>>().join(", ")
}

fn print_clients(output: &mut Output<'_>, clients: &DnsClients) -> io::Result<()> {
    if clients.clients.is_empty() {
        return output.sentence(
            "The config names no clients: everybody is in the group default. See `[dns.clients]` in `secctl config reference`.",
        );
    }
    let rows = clients.clients.iter().map(|client| {
        let addresses: Vec<String> = client.addresses.iter().map(ToString::to_string).collect();
        vec![
            plain(&client.name),
            plain(client.groups.join(", ")),
            plain(client.who.join(", ")),
            if addresses.is_empty() {
                painted("not seen", Paint::Quiet)
            } else {
                plain(addresses.join(", "))
            },
            plain(client.comment.clone().unwrap_or_default()),
        ]
    });
    let rows = rows.collect();
    output.table(
        &[
            Column::new("CLIENT").whole(),
            Column::new("GROUPS"),
            Column::new("NAMED BY"),
            Column::new("SEEN WITH").wide(70),
            Column::new("COMMENT").wide(120),
        ],
        rows,
    )?;
    for client in clients.clients.iter().filter(|client| client.randomised) {
        let line = format!(
            "{} {} is named by a MAC address that the device made up: it may have another one later. Turn private addresses off there, or name it otherwise.",
            output.paint("note:", Paint::Warn),
            escape(&client.name)
        );
        output.sentence(&line)?;
    }
    Ok(())
}

fn print_test(output: &mut Output<'_>, test: &DnsTest) -> io::Result<()> {
    let code = test.code.as_deref().unwrap_or("no answer");
    let paint = if test.code.as_deref() == Some("NOERROR") { Paint::Good } else { Paint::Warn };
    let line = format!(
        "{} is the answer to {} from {}.",
        output.paint(code, paint),
        escape(&test.qtype),
        test.address
    );
    output.sentence(&line)?;
    for record in &test.records {
        output.line(&format!("  {}", escape(record)))?;
    }
    let mut facts = Vec::new();
    if let Some(said) = &test.said {
        facts.push(("it says", plain(said)));
    }
    if test.special {
        facts.push(("from", plain("this resolver itself: the name is not asked outside")));
    }
    if let Some(behind) = &test.behind {
        facts.push(("decided by", plain(format!("what is behind the name: {behind}"))));
    }
    output.facts(2, &facts)?;
    why::print(output, &test.why)
}

/// A service and its names.
#[derive(Serialize)]
struct ServiceRow {
    name: String,
    names: Vec<Name>,
}

/// What can be blocked by name; it is part of the program.
pub(crate) fn services(output: &mut Output<'_>) -> Done {
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

/// Where nothing is blocked for a time, in the status.
pub(crate) fn paused(pauses: &[protocol::DnsPause], now: model::Timestamp) -> Option<String> {
    let shown = |pause: &protocol::DnsPause| {
        let group =
            pause.group.as_ref().map_or_else(|| "everybody".to_owned(), |group| format!("the group {group}"));
        format!("{group} for {}", left(pause.until, now))
    };
    let shown: Vec<String> = pauses.iter().map(shown).collect();
    (!shown.is_empty()).then(|| format!("blocking is paused for {}", shown.join(", ")))
}
