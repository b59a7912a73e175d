//! `secctl logs`.

mod explain;
mod f2btest;
mod fail2ban;
mod hubtest;
mod places;
mod status;
mod test;

use super::{Done, Online};
use crate::{Environment, output::Output};

/// Log sources, and filters and scenarios tried without the daemon
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Status(status::Arguments),
    Hubtest(hubtest::Arguments),
    F2btest(f2btest::Arguments),
    Test(test::Arguments),
    Explain(explain::Arguments),
}

impl Arguments {
    /// Whether the daemon is not asked.
    pub(crate) fn is_offline(&self) -> bool {
        match self.what {
            What::Status(_) => false,
            What::Hubtest(_) | What::F2btest(_) | What::Test(_) | What::Explain(_) => true,
        }
    }
}

/// What asks the daemon.
pub(crate) fn online(asked: &Arguments, online: &mut Online<'_, '_>) -> Done {
    match &asked.what {
        What::Status(asked) => status::run(asked, online),
        What::Hubtest(_) | What::F2btest(_) | What::Test(_) | What::Explain(_) => Ok(()),
    }
}

/// What does not.
pub(crate) fn run(asked: &Arguments, environment: &Environment, output: &mut Output<'_>) -> Done {
    match &asked.what {
        What::Status(_) => Ok(()),
        What::Hubtest(asked) => hubtest::run(asked, environment, output),
        What::F2btest(asked) => f2btest::run(asked, output),
        What::Test(asked) => test::run(asked, environment, output),
        What::Explain(asked) => explain::run(asked, environment, output),
    }
}
