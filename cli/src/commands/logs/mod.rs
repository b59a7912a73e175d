//! `secctl logs`.

mod explain;
mod f2btest;
mod fail2ban;
mod hubtest;
mod places;
mod test;

use super::Done;
use crate::{Environment, output::Output};

/// Try filters, parsers and scenarios on logs, without the daemon
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Hubtest(hubtest::Arguments),
    F2btest(f2btest::Arguments),
    Test(test::Arguments),
    Explain(explain::Arguments),
}

pub(crate) fn run(asked: &Arguments, environment: &Environment, output: &mut Output<'_>) -> Done {
    match &asked.what {
        What::Hubtest(asked) => hubtest::run(asked, environment, output),
        What::F2btest(asked) => f2btest::run(asked, output),
        What::Test(asked) => test::run(asked, environment, output),
        What::Explain(asked) => explain::run(asked, environment, output),
    }
}
