//! `secctl`, the command of secd: a file per command in `commands/`, tables for people or JSON for programs.
//!
//! Everything it knows of the process it runs in comes in by [`Environment`], so that tests run it as people see it, at
//! any width and time. Exit codes: 0 ok, 1 a finding or a refusal, 2 usage, 3 the daemon cannot be reached.

mod arguments;
mod client;
mod commands;
mod environment;
mod failure;
mod output;
mod pcapng;
mod text;

pub use arguments::command;
pub use environment::Environment;

use arguments::{Arguments, Color};
use clap::{CommandFactory, FromArgMatches};
use output::Output;
use std::{ffi::OsString, io::Write};

/// Runs the command line `arguments` (the first is the program) and returns the exit code.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    environment: &Environment,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let parsed = Arguments::command()
        .try_get_matches_from(arguments)
        .and_then(|matches| Arguments::from_arg_matches(&matches));
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(error) => return tell_usage(&error, environment, out, err),
    };
    let color = match arguments.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => environment.terminal && !environment.no_color,
    };
    let mut output = Output::new(out, err, arguments.output, color, environment);
    match commands::run(arguments, environment, &mut output) {
        Ok(()) => 0,
        Err(failure) => failure.tell(&mut output),
    }
}

/// Prints help, version or what is wrong with the command line.
fn tell_usage(
    error: &clap::Error,
    environment: &Environment,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let text = error.render();
    let text = if environment.terminal && !environment.no_color {
        text.ansi().to_string()
    } else {
        text.to_string()
    };
    // Nothing is left to do where even this cannot be written.
    let _ = if error.use_stderr() { err.write_all(text.as_bytes()) } else { out.write_all(text.as_bytes()) };
    u8::try_from(error.exit_code()).unwrap_or(failure::USAGE)
}
