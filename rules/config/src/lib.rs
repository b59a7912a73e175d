//! The language of `secd.toml`: text in, checked types or every mistake out.
//!
//! [`parse`] goes in three steps: the TOML parser (which recovers and tells every syntax error), the structural
//! check against the schema of the draft types, and the checks of meaning. Each step goes on with what the one before
//! left standing, so that one run tells everything that is wrong with a file. [`reference()`] and [`schema()`] come from
//! the same types.

mod check;
mod checked;
mod draft;
mod error;
mod located;
mod reference;
mod repair;
mod shape;
mod structure;

pub use checked::{
    Api, Bans, Certificate, Config, Crowdsec, Dns, DnsClient, DnsForward, DnsGroup, DnsZone, Events,
    Fail2ban, Geoip, Lapi, LeaseSource, Limits, ListSource, LocalNames, LogInput, LogSource, LogTls, Loki,
    NameEntry, PiholeApi, QueryLog, Record, RecordValue, Reflect, RuleSource, Signatures, Store,
    Subscription, Transport, Upstream, UpstreamTransport,
};
pub use draft::{ListKind, LogFormat, Privacy, UpstreamOrder};
pub use error::ConfigError;
pub use reference::{reference, services_page};

use draft::Draft;
use error::Report;
use logs::Library;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use toml::de::DeTable;

/// Bytes of a file that are read; a longer one is refused.
pub const MAX_FILE_BYTES: usize = 4 * 1024 * 1024;
/// Characters of a text value; a longer one is refused.
pub const MAX_TEXT_VALUE: u64 = 4096;
/// Where the user's own log filters are looked for.
pub const DEFAULT_FILTERS_DIR: &str = "/etc/secd/filters";

/// Log filters that are built in.
pub const BUILT_IN_FILTERS: [&str; 21] = [
    "sshd",
    "nginx",
    "traefik",
    "haproxy",
    "harbor",
    "authentik",
    "gitlab",
    "grafana",
    "home-assistant",
    "jellyfin",
    "nextcloud",
    "overseerr",
    "servarr",
    "syncthing",
    "vaultwarden",
    "postfix",
    "dovecot",
    "mosquitto",
    "postgresql",
    "samba",
    "secd",
];

/// Services that `services` can name, each with its names.
#[must_use]
pub fn dns_services() -> Vec<(String, Vec<model::Name>)> {
    lists::services().into_iter().map(|service| (service.name, service.names)).collect()
}

/// Checks the text of a config file that uses built-in log filters only. `file` is the name that errors carry.
///
/// # Errors
/// Every mistake of the file, in the order of the file; never empty.
pub fn parse(file: &str, text: &str) -> Result<Config, Vec<ConfigError>> {
    parse_with(file, text, &[])
}

/// Where `text` says that the user's own log filters are, whatever else is wrong with it. Their names are what
/// [`load`] wants to know.
#[must_use]
pub fn filters_dir(text: &str) -> PathBuf {
    let (table, _) = DeTable::parse_recoverable(text);
    let written = table.get_ref().get("filters_dir").and_then(|value| value.get_ref().as_str());
    PathBuf::from(written.unwrap_or(DEFAULT_FILTERS_DIR))
}

/// Checks the text of a config file together with the user's own log filters: the name and text of each `*.toml` in
/// [`filters_dir`]. Returns the filters and scenarios with the configuration.
///
/// # Errors
/// Every mistake of all the files, those of the config first; never empty.
pub fn load(
    file: &str,
    text: &str,
    own_filters: &[(String, String)],
) -> Result<(Config, Library), Vec<ConfigError>> {
    let mut library = Library::builtin();
    let mut mistakes = Vec::new();
    let mut unread = Vec::new();
    for (name, text) in own_filters {
        if let Err(errors) = library.add(name, text) {
            mistakes.extend(errors.into_iter().map(ConfigError::from));
            // A filter whose file has a mistake is not unknown: its file is named after it.
            unread.extend(Path::new(name).file_stem().and_then(|stem| stem.to_str()));
        }
    }
    let read = library.filters().map(|filter| filter.name.as_str());
    let names: Vec<&str> = read.filter(|name| !BUILT_IN_FILTERS.contains(name)).chain(unread).collect();
    match parse_with(file, text, &names) {
        Ok(config) if mistakes.is_empty() => Ok((config, library)),
        Ok(_) => Err(mistakes),
        Err(mut errors) => {
            errors.append(&mut mistakes);
            Err(errors)
        }
    }
}

fn parse_with(file: &str, text: &str, own_filters: &[&str]) -> Result<Config, Vec<ConfigError>> {
    let mut report = Report::new(file, text);
    if text.len() > MAX_FILE_BYTES {
        report.add(
            MAX_FILE_BYTES,
            format!("the file has {} bytes", text.len()),
            format!(
                "write at most {MAX_FILE_BYTES}; long lists belong into files of their own (`[[lists]]`)"
            ),
        );
        return Err(report.into_errors());
    }
    let draft = read(text, &mut report);
    let config = check::check(draft, own_filters, &mut report);
    if report.is_clean() { Ok(config) } else { Err(report.into_errors()) }
}

/// The JSON schema of the file.
#[must_use]
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(draft::Draft).to_value()
}

/// The draft that is left after everything wrong has been told and taken out.
fn read(text: &str, report: &mut Report<'_>) -> Draft {
    let repaired = repair::repair(text, report);
    let (mut table, syntax) = DeTable::parse_recoverable(&repaired);
    for error in &syntax {
        // One a line: the others are consequences.
        report.mute_told_lines();
        let at = error.span().map_or(0, |span| span.start);
        let (message, help) = syntax_help(error.message());
        report.add(at, message, help);
    }
    report.mute_told_lines();
    structure::check(&shape::Key::root(), table.get_mut(), report);
    Draft::deserialize(toml::de::Deserializer::from(table)).unwrap_or_else(|error| {
        let at = error.span().map_or(0, |span| span.start);
        report.add(at, error.message(), "see `secctl config reference` for the form of this value");
        Draft::default()
    })
}

/// The parser's message in words for people, and what to do about it.
fn syntax_help(message: &str) -> (String, String) {
    let (what, expected) = message.split_once(", expected ").unwrap_or((message, ""));
    let help = match what {
        "string values must be quoted" => {
            "write text in quotes: `\"…\"`; `true`, `false` and numbers go without"
        }
        "duplicate key" => {
            "a key stands only once in a table: remove one, or write `[[…]]` for a list of tables"
        }
        "key with no value" => "write `key = value`",
        "unclosed table" => "write the name of a table in brackets: `[zones.iot]`, `[[rules]]`",
        "unclosed array" => "close the list with `]`",
        "unclosed inline table" => "close the table with `}`",
        "missing comma between array elements" => "separate the entries of a list by commas",
        "unexpected leading zero" => "write the number without zeros in front",
        "unquoted keys cannot be empty" => "write a name before `=`",
        _ if what.contains("string") => "close the quotes on the same line",
        _ if what.contains("boolean") => "write `true` or `false`, or text in quotes",
        _ if what.contains("float") || what.contains("integer") || what.contains("date") => {
            "write a whole number without quotes, or text in quotes: addresses are text"
        }
        _ if !expected.is_empty() && expected != "nothing" => {
            return (format!("not valid TOML: {what}"), format!("write {expected} here"));
        }
        _ => "see https://toml.io for the form of the file",
    };
    (format!("not valid TOML: {what}"), help.to_owned())
}
