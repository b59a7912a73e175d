//! `secctl config`.

use super::Done;
use crate::{output::Output, text};

/// Print what can stand in the config
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// A commented file with every key and its default
    Reference,
    /// A JSON schema, for editors
    Schema,
}

pub(crate) fn run(asked: &Arguments, output: &mut Output<'_>) -> Done {
    match asked.what {
        What::Reference => output.raw(::config::reference().as_bytes())?,
        What::Schema => output.line(&text::json(&::config::schema())?)?,
    }
    Ok(())
}
