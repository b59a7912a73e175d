//! `cargo xtask`: everything a newcomer or CI runs. Light on dependencies, so that it is built in seconds.
//!
//! Each command first does the set-up that is missing. What goes wrong is said in one sentence, with the log
//! file that holds the rest; compiler and apt output never reach the terminal.

mod bench;
mod console;
mod deb;
mod demo;
mod directions;
mod fuzz;
mod generate;
mod machine;
mod setup;
mod skips;
mod stages;
mod suite;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Set-up, tests, demo, package and bench of secd.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what is missing on this machine: Debian packages, the BPF compiler, tools in the cache folder
    Setup {
        /// Only say what is missing; fails if anything is
        #[arg(long)]
        check: bool,
    },
    /// Everything CI runs: formatting, lints, docs, tests of all kinds, licences, advisories
    Test {
        /// Also what takes minutes: installs and runs cargo-deny and cargo-audit, longer test versions
        #[arg(long)]
        full: bool,
        /// Only tests whose name contains this (leaves out the stages that are not tests)
        #[arg(long, value_name = "TEXT")]
        filter: Option<String>,
    },
    /// Play the main job in network namespaces with real programs, print what was seen, stay up to be tried
    Demo(demo::Options),
    /// Build and check target/deb/secd_VERSION_ARCH.deb
    Deb,
    /// Measure, beside what others cost in the same run
    Bench(bench::Options),
    /// Run a fuzz target, or all of them, with libFuzzer
    Fuzz(fuzz::Options),
    /// Write the generated documents again: the reference of the config and its schema
    Gen,
    /// Check that no crate depends on one it must not see
    Directions,
}

fn main() -> ExitCode {
    let root = machine::workspace_root();
    let outcome = match Arguments::parse().command {
        Command::Setup { check } => {
            setup::run(&root, if check { setup::How::Check } else { setup::How::Install })
        }
        Command::Test { full, filter } => stages::run(&root, full, filter.as_deref()),
        Command::Demo(options) => demo::run(&root, &options),
        Command::Deb => deb::run(&root),
        Command::Bench(options) => bench::run(&root, &options),
        Command::Fuzz(options) => fuzz::run(&root, &options),
        Command::Gen => generate::run(&root),
        Command::Directions => {
            directions::check(&root).map(|count| println!("{count} dependencies, none points up"))
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Where logs of what xtask ran are kept.
fn log_directory(root: &std::path::Path) -> PathBuf {
    root.join("target/xtask")
}
