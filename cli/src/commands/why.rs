//! `secctl why`.

use model::ClientName;
use protocol::{By, ByKind, Subject, Why, WhyQuery, path};
use std::io;

use super::{Done, Online};
use crate::{
    failure::Failure,
    output::{Output, Paint, plain},
    text::{ago, escape, left},
};

/// Say what blocks an address, a name or a flow, since when, and the command that would allow it
///
/// Exits with 0 whatever the answer is, unless --exit-code is given.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// An address (192.0.2.7), range, name (ads.example) or flow ("zone=iot src=10.4.0.9 dst=10.3.0.2 proto=tcp
    /// dport=445")
    #[arg(value_name = "IP|NAME|FLOW", required = true, num_args = 1..)]
    subject: Vec<String>,
    /// Of a name: for this client of the resolver, its name in the config or an address
    #[arg(long, value_name = "CLIENT")]
    client: Option<ClientName>,
    /// Exit with 1 if it is blocked
    #[arg(long)]
    exit_code: bool,
}

pub(crate) fn run(asked: &Arguments, online: &mut Online<'_, '_>) -> Done {
    // The words of a flow need no quotes.
    let mut target: Subject = asked.subject.join(" ").parse().map_err(super::usage)?;
    if let Some(client) = &asked.client {
        let Subject::Target(about) = &target else {
            return Err(super::usage("`--client` is for names: a flow says itself who starts it".into()));
        };
        target = Subject::Target(super::target(about, Some(client))?);
    }
    let why: Why = online.client.get(path::WHY, &WhyQuery { target })?;
    online.output.show(&why, print)?;
    if asked.exit_code && why.blocked { Err(Failure::Finding) } else { Ok(()) }
}

/// Prints an answer.
pub(crate) fn print(output: &mut Output<'_>, why: &Why) -> io::Result<()> {
    let (verb, paint) = match (why.blocked, why.observed, &why.by) {
        (true, false, _) => ("is blocked", Paint::Bad),
        (_, true, _) => ("would be blocked", Paint::Warn),
        (false, false, Some(_)) => ("is let through", Paint::Good),
        (false, false, None) => ("is not blocked", Paint::Good),
    };
    let by = why.by.as_ref().map(|by| format!(" by {}", source(by))).unwrap_or_default();
    let only = if why.observed { ", but this is only observed" } else { "" };
    let line = format!(
        "{} {}{}{only}: {}.",
        output.paint(&why.target, Paint::Title),
        output.paint(verb, paint),
        escape(&by),
        escape(&reason(&why.reason))
    );
    output.sentence(&line)?;
    let mut facts = Vec::new();
    if let Some(client) = &why.client {
        let name = client.name.clone().unwrap_or_else(|| "nobody the config names".into());
        let by = client.known_by.as_ref().map(|by| format!(", known by {by}")).unwrap_or_default();
        facts.push(("client", format!("{name}{by}")));
        let groups =
            if client.groups.is_empty() { "none in force".to_owned() } else { client.groups.join(", ") };
        facts.push(("groups", groups));
        facts.extend(client.off.iter().map(|group| ("off", group.clone())));
    }
    if !why.groups.is_empty() {
        facts.push(("holds for", format!("the groups {}", why.groups.join(", "))));
    }
    if let Some(since) = why.since {
        facts.push(("since", format!("{} ({})", output.moment(since), ago(since, output.now()))));
    }
    let is_decision = |kind| matches!(kind, ByKind::Person | ByKind::Scenario | ByKind::Signature);
    match why.until {
        Some(until) => {
            facts.push(("until", format!("{} ({} left)", output.moment(until), left(until, output.now()))));
        }
        None if why.by.as_ref().is_some_and(|by| is_decision(by.kind)) => {
            facts.push(("until", "it is lifted".into()));
        }
        None => {}
    }
    for evidence in &why.evidence {
        facts
            .push(("seen", format!("{} {}: {}", output.moment(evidence.at), evidence.source, evidence.text)));
    }
    facts.extend(why.answered.iter().map(|answer| {
        let names =
            if answer.names.is_empty() { String::new() } else { format!(" for {}", answer.names.join(", ")) };
        let (zone, address, until) = (&answer.zone, answer.address, output.moment(answer.until));
        ("answered", format!("{address} to the zone {zone}{names}; flows may be opened there until {until}"))
    }));
    facts.extend(why.also.iter().map(|also| ("also", format!("by {}", source(also)))));
    let facts: Vec<_> = facts.into_iter().map(|(name, text)| (name, plain(text))).collect();
    output.facts(2, &facts)?;
    if let Some(command) = &why.allow_command {
        output.line("To let it through:")?;
        let line = format!("  {}", output.paint(command, Paint::Title));
        output.line(&line)?;
    }
    Ok(())
}

/// What says so, in words: `the list phishing (line 12)`.
pub(crate) fn source(by: &By) -> String {
    let kind = match by.kind {
        ByKind::List => "the list ",
        ByKind::Rule => "rule ",
        ByKind::ZoneDefault => "the default of zone ",
        ByKind::Scenario => "the scenario ",
        ByKind::Signature => "the signature ",
        ByKind::Person | ByKind::Protected | ByKind::Check => "",
    };
    let place = match (&by.file, by.line) {
        (Some(file), Some(line)) => format!(" ({file}:{line})"),
        (Some(file), None) => format!(" ({file})"),
        (None, Some(line)) => format!(" (line {line})"),
        (None, None) => String::new(),
    };
    format!("{kind}{}{place}", by.name)
}

/// A reason word in words. One that is not known here is shown as it is.
pub(crate) fn reason(word: &str) -> String {
    match word {
        "banned_source" | "banned" => "it is banned",
        "banned_destination" => "its destination is banned",
        "listed_source" => "it is on a list",
        "listed_destination" => "its destination is on a list",
        "listed_name" | "listed" => "the name is on a list",
        "rule_denied" => "a rule denies it",
        "rule_allowed" => "a rule allows it",
        "default_denied" => "no rule allows it",
        "signature" => "a signature matched",
        "spoofed" => "its source does not belong to its zone",
        "wrong_vlan" => "its VLAN belongs to no zone",
        "malformed" => "it is malformed",
        "rate_limited" => "its source starts flows faster than it may",
        "half_seen" => "only one way of its connection is seen here",
        "port_scan" => "its source tried many ports or hosts, so its new flows wait",
        "new_device" => "its device is new and nobody has let it in",
        "isolated" => "hosts of its zone are kept apart",
        "bogon" => "its source cannot exist in the Internet",
        "other_resolver" => "its zone asks no other resolver than the router's own",
        "unresolved" => "the DNS of its zone did not answer where it goes",
        "unsolicited" => "it belongs to no known connection, and the zone takes no others",
        "not_listed" => "nothing is known against it",
        "allowed" => "it is allowed",
        "protected" => "it is protected",
        other => return other.replace('_', " "),
    }
    .into()
}
