//! `secctl inspect`.

use super::Done;
use crate::output::Output;

/// Run signatures over a capture and print EVE JSON alerts, without the daemon
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

pub(crate) fn run(_asked: &Arguments, _output: &mut Output<'_>) -> Done {
    Err(super::usage("not built in yet".into()))
}
