//! `secctl completions`.

use super::Done;
use crate::output::Output;

/// Print completions for a shell
///
/// For bash: `secctl completions bash > /etc/bash_completion.d/secctl`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

pub(crate) fn run(asked: &Arguments, output: &mut Output<'_>) -> Done {
    let mut script = Vec::new();
    clap_complete::generate(asked.shell, &mut crate::command(), "secctl", &mut script);
    Ok(output.raw(&script)?)
}
