//! `secctl check`.

use serde::Serialize;
use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{DEFAULT_CONFIG, Done};
use crate::{
    failure::Failure,
    output::{Output, Paint},
    text::{count, escape, shell},
};

/// Check a config file and report everything that is wrong with it
///
/// Exits with 1 if anything is wrong.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The file
    #[arg(default_value = DEFAULT_CONFIG)]
    file: PathBuf,
}

/// What `-o json` prints.
#[derive(Debug, Serialize)]
struct Checked {
    errors: Vec<::config::ConfigError>,
    warnings: Vec<::config::ConfigError>,
}

pub(crate) fn run(asked: &Arguments, output: &mut Output<'_>) -> Done {
    let text = read(&asked.file)?;
    let name = asked.file.display().to_string();
    let checked = match ::config::parse(&name, &text) {
        Ok(config) => Checked { errors: Vec::new(), warnings: config.warnings },
        Err(errors) => Checked { errors, warnings: Vec::new() },
    };
    output.show(&checked, |output, checked| {
        print(output, &checked.warnings, &text, Paint::Warn)?;
        print(output, &checked.errors, &text, Paint::Bad)?;
        let name = output.paint(&name, Paint::Title);
        match checked.errors.len() as u64 {
            0 => output.line(&format!("{name} is {}.", output.paint("right", Paint::Good))),
            errors => output.line(&format!("{name} has {}.", count(errors, "error", "errors"))),
        }
    })?;
    if checked.errors.is_empty() { Ok(()) } else { Err(Failure::Finding) }
}

/// Reads a config file that has to be right.
pub(crate) fn parsed(path: &Path) -> Result<::config::Config, Failure> {
    let text = read(path)?;
    let name = path.display().to_string();
    ::config::parse(&name, &text).map_err(|errors| Failure::Usage {
        message: format!("{name} has {}", count(errors.len() as u64, "error", "errors")),
        help: Some(format!("`secctl check {}` shows them", shell(&name))),
    })
}

/// Reads a config file, bounded by what the config may have.
pub(crate) fn read(path: &Path) -> Result<String, Failure> {
    let failed = |error| Failure::file(path, "read", &error);
    let mut bytes = Vec::new();
    // One byte more than is taken, so that the config says that it is too long.
    let most = ::config::MAX_FILE_BYTES as u64 + 1;
    std::fs::File::open(path).map_err(failed)?.take(most).read_to_end(&mut bytes).map_err(failed)?;
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        Failure::Usage {
            message: format!(
                "{} is not UTF-8 text: the first byte that is not is in line {line}",
                path.display()
            ),
            help: Some("save it as UTF-8".into()),
        }
    })
}

/// Prints each problem with its line and a caret under its column.
pub(crate) fn print(
    output: &mut Output<'_>,
    problems: &[::config::ConfigError],
    text: &str,
    paint: Paint,
) -> io::Result<()> {
    let word = if paint == Paint::Bad { "error:" } else { "warning:" };
    for problem in problems {
        let line = format!("{} {}", output.paint(word, paint), escape(&problem.message));
        output.line(&line)?;
        let line = format!("  --> {}:{}:{}", escape(&problem.file), problem.line, problem.column);
        output.line(&line)?;
        if let Some(excerpt) = Excerpt::of(text, problem.line, problem.column) {
            let number = problem.line.to_string();
            output.line(&format!(" {number} | {}", escape(&excerpt.line)))?;
            let caret = format!(" {:1$} | {2:3$}", "", number.len(), "", excerpt.before);
            let line = format!("{caret}{}", output.paint("^", paint));
            output.line(&line)?;
        }
        if !problem.help.is_empty() {
            let line = format!("  {} {}", output.paint("help:", Paint::Title), escape(&problem.help));
            output.line(&line)?;
        }
        output.line("")?;
    }
    Ok(())
}

/// A line of the file, cut around the column so that it fits.
struct Excerpt {
    line: String,
    before: usize,
}

impl Excerpt {
    /// Characters shown of a line.
    const WIDTH: usize = 90;

    fn of(text: &str, line: u32, column: u32) -> Option<Self> {
        let line = text.lines().nth(usize::try_from(line.checked_sub(1)?).ok()?)?;
        let before = usize::try_from(column.saturating_sub(1)).ok()?.min(line.chars().count());
        let skip = before.saturating_sub(Self::WIDTH * 2 / 3);
        let shown: String =
            line.chars().skip(skip).take(Self::WIDTH).map(|c| if c == '\t' { ' ' } else { c }).collect();
        Some(Self { line: shown, before: before - skip })
    }
}
