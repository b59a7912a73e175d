//! `secctl logs`.

mod status;

use super::{Done, Online};

/// Logs that lead to bans
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Where lines come from: how many, when the last, what is wrong
    Status(status::Arguments),
}

pub(crate) fn run(asked: &Arguments, online: &mut Online<'_, '_>) -> Done {
    match &asked.what {
        What::Status(asked) => status::run(asked, online),
    }
}
