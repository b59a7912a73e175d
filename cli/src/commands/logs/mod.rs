//! `secctl logs`.

mod hubtest;
mod places;

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
}

pub(crate) fn run(asked: &Arguments, environment: &Environment, output: &mut Output<'_>) -> Done {
    match &asked.what {
        What::Hubtest(asked) => hubtest::run(asked, environment, output),
    }
}
