//! `secctl allow`.

use model::{ClientName, DecisionKind, Direction, Target};
use protocol::{Lasting, Order};

use super::{Done, Online};

/// Allow an address, a range or a name against every ban and list
///
/// Rules hold as before: an allowed address still reaches only what its zone may reach. For good, write it into the
/// config (`allow`).
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// An address (192.0.2.7), range (198.51.100.0/24) or name (good.example, and everything below)
    target: Target,
    /// For this client of the resolver alone: its name in the config, or an address
    #[arg(long, value_name = "CLIENT")]
    client: Option<ClientName>,
    /// For how long: 90s, 10m, 1h30m, 7d; until it is lifted if left out
    #[arg(long = "for", value_name = "TIME")]
    lasting: Option<Lasting>,
    /// Why, for whoever asks `secctl why` later
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
}

pub(crate) fn run(asked: &Arguments, online: &mut Online<'_, '_>) -> Done {
    let order = Order {
        kind: DecisionKind::Allow,
        target: super::target(&asked.target, asked.client.as_ref())?,
        lasting: asked.lasting,
        direction: Direction::Both,
        comment: asked.comment.clone(),
        user: online.environment.user.clone(),
    };
    super::ban::send(&order, online)
}
