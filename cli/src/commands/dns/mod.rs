//! `secctl dns`.

mod clients;
mod groups;
mod pause;
mod queries;
pub(crate) mod services;
mod stats;
mod test;
mod top;

pub(crate) use pause::paused;

use model::{ClientName, Name, Timestamp};
use protocol::{DnsClients, DnsGroups, DnsTest, DnsTestQuery, Lasting, path};

use super::{Done, Online};

/// Show what was asked, the groups and clients of the resolver, pause blocking, and try what somebody would be answered
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Show what was asked, the latest last
    Queries(queries::Arguments),
    /// Show the names and clients that lead the log
    Top(top::Arguments),
    /// Sum up what was asked: how much was blocked, from where answers came, and when
    Stats(stats::Arguments),
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
        What::Queries(asked) => queries::run(asked, online),
        What::Top(asked) => top::run(asked, online),
        What::Stats(asked) => stats::run(asked, online),
        What::Pause { lasting, group } => pause::run(group.clone(), Some(*lasting), online),
        What::Resume { group } => pause::run(group.clone(), None, online),
        What::Groups => {
            let groups: DnsGroups = online.client.get(path::DNS_GROUPS, &())?;
            Ok(online.output.show(&groups, groups::print)?)
        }
        What::Clients => {
            let clients: DnsClients = online.client.get(path::DNS_CLIENTS, &())?;
            Ok(online.output.show(&clients, clients::print)?)
        }
        What::Test { name, client, qtype } => {
            let query =
                DnsTestQuery { name: name.clone(), client: client.clone(), qtype: Some(qtype.clone()) };
            let test: DnsTest = online.client.get(path::DNS_TEST, &query)?;
            Ok(online.output.show(&test, test::print)?)
        }
        What::Services => services::run(online.output),
    }
}

/// So long ago.
fn ago(time: Lasting, online: &Online<'_, '_>) -> Timestamp {
    let micros = i64::try_from(time.0.as_micros()).unwrap_or(i64::MAX);
    Timestamp(online.output.now().0.saturating_sub(micros))
}
