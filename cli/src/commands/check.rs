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

/// Check a config file, the log filters and the folders of Fail2ban and CrowdSec it names, and report everything that is wrong with them
///
/// Exits with 1 if anything is wrong. Rules that decide nothing (equal to an earlier one, shadowed by earlier ones, or
/// about flows that cannot be) are warnings, and so is what does not run of Fail2ban's and CrowdSec's folders.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The file
    #[arg(default_value = DEFAULT_CONFIG)]
    file: PathBuf,
    /// Exit with 1 for warnings, too
    #[arg(long)]
    strict: bool,
}

/// What `-o json` prints.
#[derive(Debug, Serialize)]
struct Checked {
    errors: Vec<::config::ConfigError>,
    warnings: Vec<::config::ConfigError>,
    /// Rules that decide nothing.
    findings: Vec<policy::Finding>,
    /// Rules of which that was not settled: it would have taken too long.
    unsettled: Vec<u16>,
}

pub(crate) fn run(asked: &Arguments, output: &mut Output<'_>) -> Done {
    let text = read(&asked.file)?;
    let name = asked.file.display().to_string();
    let mut texts = own_filters(&::config::filters_dir(&text))?;
    let checked = match ::config::load(&name, &text, &texts) {
        Ok((config, _)) => {
            // The router's own addresses are not in a config, but for those that it answers DNS on.
            let own: Vec<_> = config.dns.listen.iter().map(std::net::SocketAddr::ip).collect();
            let policy::Review { findings, unsettled } = config.policy.review(&own);
            // What of other programs' folders does not run: the rest of them does.
            let odd = folders::Dialects::read(&config).problems();
            let mut warnings = config.warnings;
            warnings.extend(odd.into_iter().map(::config::ConfigError::from));
            Checked { errors: Vec::new(), warnings, findings, unsettled }
        }
        Err(errors) => Checked { errors, warnings: Vec::new(), findings: Vec::new(), unsettled: Vec::new() },
    };
    texts.push((name.clone(), text));
    output.show(&checked, |output, checked| {
        print(output, &checked.warnings, &texts, Paint::Warn)?;
        print(output, &checked.errors, &texts, Paint::Bad)?;
        for finding in &checked.findings {
            print_finding(output, finding, &texts)?;
        }
        if !checked.unsettled.is_empty() {
            let rules = checked.unsettled.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            output.sentence(&format!(
                "Whether these rules decide anything was not settled, that takes too long: {rules}."
            ))?;
        }
        let name = output.paint(&name, Paint::Title);
        match checked.errors.len() as u64 {
            0 => {
                let warnings = checked.warnings.len() + checked.findings.len();
                let with = match warnings {
                    0 => String::new(),
                    _ => format!(", with {}", count(warnings as u64, "warning", "warnings")),
                };
                output.line(&format!("{name} is {}{with}.", output.paint("right", Paint::Good)))
            }
            errors => output.line(&format!("{name} has {}.", count(errors, "error", "errors"))),
        }
    })?;
    let odd = !(checked.warnings.is_empty() && checked.findings.is_empty());
    if checked.errors.is_empty() && !(asked.strict && odd) { Ok(()) } else { Err(Failure::Finding) }
}

/// A rule that decides nothing, with its line and the lines of those that decide for it.
fn print_finding(
    output: &mut Output<'_>,
    finding: &policy::Finding,
    texts: &[(String, String)],
) -> io::Result<()> {
    let paint = if finding.contradicts { Paint::Bad } else { Paint::Warn };
    let line = format!("{} {}", output.paint("warning:", paint), escape(&finding.message));
    output.line(&line)?;
    for (place, word) in
        std::iter::once((&finding.rule, "-->")).chain(finding.by.iter().map(|by| (by, "by ")))
    {
        output.line(&format!("  {word} {}:{}", escape(&place.file), place.line))?;
        let text = texts.iter().find(|(file, _)| *file == place.file);
        for (number, line) in text.map(|(_, text)| table_of(text, place.line)).unwrap_or_default() {
            output.line(&format!(" {number} | {}", escape(&line)))?;
        }
    }
    output.line("")
}

/// Lines of a table that are shown.
const MOST_LINES: usize = 8;

/// The table that begins in a line: up to the next empty line or table.
fn table_of(text: &str, line: u32) -> Vec<(usize, String)> {
    let first = usize::try_from(line).unwrap_or(1).max(1);
    let lines = text.lines().enumerate().skip(first - 1);
    let own = |(place, line): &(usize, &str)| {
        *place + 1 == first || !(line.trim().is_empty() || line.trim_start().starts_with('['))
    };
    lines.take_while(own).take(MOST_LINES).map(|(place, line)| (place + 1, cut(line))).collect()
}

/// A line as much as fits.
fn cut(line: &str) -> String {
    line.chars().take(Excerpt::WIDTH).map(|c| if c == '\t' { ' ' } else { c }).collect()
}

/// Reads a config file that has to be right.
pub(crate) fn parsed(path: &Path) -> Result<::config::Config, Failure> {
    let text = read(path)?;
    let name = path.display().to_string();
    let loaded = ::config::load(&name, &text, &own_filters(&::config::filters_dir(&text))?);
    loaded.map(|(config, _)| config).map_err(|errors| Failure::Usage {
        message: format!("{name} has {}", count(errors.len() as u64, "error", "errors")),
        help: Some(format!("`secctl check {}` shows them", shell(&name))),
    })
}

/// Path and text of each log filter of the user's own; no folder is none.
pub(crate) fn own_filters(folder: &Path) -> Result<Vec<(String, String)>, Failure> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(Vec::new()) };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    files.iter().map(|file| Ok((file.display().to_string(), read(file)?))).collect()
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
    texts: &[(String, String)],
    paint: Paint,
) -> io::Result<()> {
    let word = if paint == Paint::Bad { "error:" } else { "warning:" };
    for problem in problems {
        let line = format!("{} {}", output.paint(word, paint), escape(&problem.message));
        output.line(&line)?;
        let line = format!("  --> {}:{}:{}", escape(&problem.file), problem.line, problem.column);
        output.line(&line)?;
        let text = texts.iter().find(|(file, _)| *file == problem.file);
        if let Some(excerpt) = text.and_then(|(_, text)| Excerpt::of(text, problem.line, problem.column)) {
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
