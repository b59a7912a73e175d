//! `secctl tail`.

use model::{Body, DecisionKind, Event, EventAction, Severity};
use protocol::{TailQuery, path};
use serde::de::IgnoredAny;
use std::{io, ops::ControlFlow};

use super::{Done, Online, endpoint};
use crate::{
    failure::Failure,
    output::{Format, Output, Paint},
    text::{self, escape},
};

/// Show events as they happen
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only these kinds: packet, query, decision, signature, list, source, system
    #[arg(long, value_name = "KIND,…")]
    kind: Option<String>,
    /// Only these actions: pass, drop, reject, observe, sinkhole, ban, lift, allow, alert
    #[arg(long, value_name = "ACTION,…")]
    action: Option<String>,
    /// Only from these zones
    #[arg(long, value_name = "ZONE,…")]
    zone: Option<String>,
    /// End after this many events
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,
}

pub(crate) fn run(asked: &Arguments, online: &mut Online<'_, '_>) -> Done {
    let query =
        TailQuery { kind: asked.kind.clone(), action: asked.action.clone(), zone: asked.zone.clone() };
    query.filter().map_err(super::usage)?;
    let mut rest = asked.count.unwrap_or(u64::MAX);
    if rest == 0 {
        return Ok(());
    }
    online.client.follow(path::TAIL, &query, |line| {
        // An empty line keeps the connection alive.
        if line.is_empty() {
            return Ok(ControlFlow::Continue(()));
        }
        print(online.output, line)?;
        rest -= 1;
        Ok(if rest == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })
}

/// The failure of an event that cannot be read.
#[expect(clippy::needless_pass_by_value, reason = "used with map_err")]
pub(super) fn unclear(error: serde_json::Error) -> Failure {
    Failure::Unreachable {
        message: format!("secd sent an event that makes no sense ({error})"),
        help: "do secd and secctl come from the same package?".into(),
    }
}

/// Prints an event.
pub(super) fn print(output: &mut Output<'_>, line: &[u8]) -> Result<(), Failure> {
    let line = match output.format() {
        // As it came, so that fields this secctl does not know are there too.
        Format::Json => {
            serde_json::from_slice::<IgnoredAny>(line).map_err(unclear)?;
            text::json_escaped(&String::from_utf8_lossy(line))
        }
        Format::Table => shown(output, &serde_json::from_slice(line).map_err(unclear)?),
    };
    output.line(&line)?;
    output.flush().map_err(io::Error::into)
}

/// `14:13:20 drop      iot       packet     10.4.0.9:51234 -> 10.3.0.2:445 tcp (rule_denied, rule 3)`.
fn shown(output: &Output<'_>, event: &Event) -> String {
    let paint = match event.action {
        EventAction::Pass | EventAction::Allow => Paint::Good,
        EventAction::Drop | EventAction::Reject | EventAction::Sinkhole | EventAction::Ban => Paint::Bad,
        EventAction::Observe | EventAction::Alert => Paint::Warn,
        EventAction::Lift => Paint::Plain,
    };
    let told = what(&event.body);
    let what = match event.severity {
        Severity::Info | Severity::Notice => escape(&told).into_owned(),
        Severity::Warning => output.paint(&told, Paint::Warn),
        Severity::Error => output.paint(&told, Paint::Bad),
    };
    let news = |reason: &&str| !told.contains(reason);
    let because = match (event.reason.as_deref().filter(news), by(&event.body)) {
        (Some(reason), Some(by)) => format!(" ({reason}, {by})"),
        (Some(text), None) | (None, Some(text)) => format!(" ({text})"),
        (None, None) => String::new(),
    };
    format!(
        "{} {} {:<10} {:<9} {what}{}",
        output.paint(&output.clock(event.ts), Paint::Quiet),
        output.paint(&format!("{:<8}", event.action.name()), paint),
        escape(event.zone.as_deref().unwrap_or("-")),
        event.body.kind(),
        escape(&because)
    )
}

fn what(body: &Body) -> String {
    match body {
        Body::Packet { src, dst, proto, sport, dport, vlan, interface, zone_out, .. } => {
            let tag = if *vlan == 0 { String::new() } else { format!(" vlan {vlan}") };
            let to = zone_out.as_ref().map(|zone| format!(" to {zone}")).unwrap_or_default();
            format!(
                "{} -> {} {proto} on {interface}{tag}{to}",
                endpoint(*src, *sport, proto, true),
                endpoint(*dst, *dport, proto, false)
            )
        }
        Body::Query { client, name, qtype, rcode, from, encrypted, micros, .. } => {
            let how = if *encrypted { " encrypted" } else { "" };
            format!("{client} asked{how} {name} {qtype}: {rcode} from {from} in {micros} µs")
        }
        Body::Decision { decision } => {
            let kind = match decision.kind {
                DecisionKind::Ban => "ban",
                DecisionKind::Allow => "allow",
            };
            format!("{kind} of {} by {}", decision.target, decision.origin.name)
        }
        Body::Signature { sid, rev, msg, src, dst, proto, sport, dport, .. } => format!(
            "{msg} [{sid}:{rev}] {} -> {} {proto}",
            endpoint(*src, *sport, proto, true),
            endpoint(*dst, *dport, proto, false)
        ),
        Body::List { list, entries, rejected, error } => match error {
            Some(error) => format!("list {list}: {error}"),
            None => format!("list {list}: {entries} entries, {rejected} lines refused"),
        },
        Body::Source { source, message } => format!("{source}: {message}"),
        Body::System { message, count } => match count {
            Some(count) => format!("{message} ({count})"),
            None => message.clone(),
        },
    }
}

fn by(body: &Body) -> Option<&str> {
    match body {
        Body::Packet { by, .. } | Body::Query { by, .. } => by.as_deref(),
        Body::Decision { .. }
        | Body::Signature { .. }
        | Body::List { .. }
        | Body::Source { .. }
        | Body::System { .. } => None,
    }
}
