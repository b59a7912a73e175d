//! The command line as a whole; each command's own part stands with the command.

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

use crate::{commands, output::Format};

/// Ask and order secd, the network security appliance
///
/// Exit codes: 0 ok, 1 a finding or a refusal, 2 usage, 3 the daemon cannot be reached.
#[derive(Debug, Parser)]
#[command(
    name = "secctl",
    version,
    propagate_version = false,
    max_term_width = 100,
    arg_required_else_help = true
)]
pub(crate) struct Arguments {
    /// Socket of the daemon
    #[arg(long, global = true, value_name = "PATH", default_value = protocol::DEFAULT_SOCKET,
           help_heading = "Global options")]
    pub(crate) socket: PathBuf,

    /// How to print results
    #[arg(long, short, global = true, value_enum, value_name = "FORMAT", default_value_t = Format::Table,
          help_heading = "Global options")]
    pub(crate) output: Format,

    /// When to use colours; `auto` is on terminals, unless NO_COLOR is set
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = Color::Auto,
          help_heading = "Global options")]
    pub(crate) color: Color,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what secd does and whether all is well
    Status,
    Doctor(commands::doctor::Arguments),
    Why(commands::why::Arguments),
    Ban(commands::ban::Arguments),
    Unban(commands::unban::Arguments),
    Allow(commands::allow::Arguments),
    Decisions(commands::decisions::Arguments),
    Audit(commands::audit::Arguments),
    Undo(commands::undo::Arguments),
    Lists(commands::lists::Arguments),
    Bouncers(commands::bouncers::Arguments),
    Machines(commands::machines::Arguments),
    Device(commands::device::Arguments),
    Dns(commands::dns::Arguments),
    Rules(commands::rules::Arguments),
    Flows(commands::flows::Arguments),
    Top(commands::top::Arguments),
    Tail(commands::tail::Arguments),
    Capture(commands::capture::Arguments),
    Mode(commands::mode::Arguments),
    /// Read the config again; if it is bad, the old one stays
    Reload,
    Apply(commands::apply::Arguments),
    Diff(commands::diff::Arguments),
    Detach(commands::detach::Arguments),
    Explain(commands::explain::Arguments),
    Check(commands::check::Arguments),
    Config(commands::config::Arguments),
    Import(commands::import::Arguments),
    Inspect(commands::inspect::Arguments),
    Logs(commands::logs::Arguments),
    Completions(commands::completions::Arguments),
    Man(commands::man::Arguments),
}

/// The command line as data, for completions, man pages and documentation.
#[must_use]
pub fn command() -> clap::Command {
    Arguments::command()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command().debug_assert();
    }
}
