//! `/v1/alerts`: machines say what they have seen, and what is to be banned for it. Here an alert is a ban with what was
//! seen: that is how it is kept, and how bans that were ordered here are shown, too. What leads to no ban is told as an
//! event.

use hyper::Method;
use ipnet::IpNet;
use model::{
    Decision, DecisionKind, Direction, Evidence, Mode, Origin, OriginKind, ProgramName, Severity, Target,
    Timestamp,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::BTreeSet, time::Duration};

use super::{Api, decisions::in_the_body};
use crate::{
    filter, go,
    ledger::{Change, Ledger},
    limits::{ALERTS, MAX_ALERTS, MAX_HISTORY, MAX_ORDERS, MAX_SCENARIO, NO_END},
    reply::Reply,
    request::Request,
    shown::{self, BAN, Shown},
};

/// An alert as machines send it; what is not known here is left alone.
#[derive(Deserialize)]
struct Alert {
    scenario: String,
    source: Source,
    #[serde(default)]
    message: String,
    #[serde(default)]
    simulated: bool,
    #[serde(default)]
    remediation: bool,
    #[serde(default)]
    decisions: Option<Vec<Order>>,
    #[serde(default)]
    events: Option<Vec<Event>>,
}

#[derive(Deserialize)]
struct Source {
    scope: String,
    value: String,
    #[serde(default)]
    range: Option<String>,
}

#[derive(Deserialize)]
struct Order {
    duration: String,
    #[serde(default)]
    scenario: Option<String>,
    scope: String,
    #[serde(rename = "type")]
    kind: String,
    value: String,
    #[serde(default)]
    simulated: Option<bool>,
}

#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    timestamp: String,
    #[serde(default)]
    meta: Option<Vec<Meta>>,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(default)]
    key: String,
    #[serde(default)]
    value: String,
}

/// What one order comes to.
struct Wanted {
    net: IpNet,
    lasting: i64,
    scenario: String,
    mode: Mode,
}

impl<L: Ledger> Api<L> {
    /// `POST /v1/alerts`: the numbers of the bans that are in force for it.
    pub(super) async fn add_alerts(&self, request: &Request) -> Reply {
        let machine = match self.machine(request) {
            Ok(machine) => machine,
            Err(reply) => return reply,
        };
        let alerts: Vec<Alert> = match serde_json::from_slice(&request.body) {
            Ok(alerts) => alerts,
            Err(error) => return Reply::message(400, &error.to_string()),
        };
        let orders: usize = alerts.iter().filter_map(|alert| alert.decisions.as_ref()).map(Vec::len).sum();
        if alerts.len() > MAX_ALERTS || orders > MAX_ORDERS {
            let message = format!("more than {MAX_ALERTS} alerts or {MAX_ORDERS} decisions");
            return Reply::message(400, &message);
        }
        // All of them are looked at before any is carried out.
        let wanted: Result<Vec<_>, String> = alerts.iter().map(|alert| self.wanted(alert)).collect();
        let wanted = match wanted {
            Ok(wanted) => wanted,
            Err(message) => return Reply::message(400, &message),
        };
        let mut numbers = Vec::new();
        for (alert, (wanted, unknown)) in alerts.iter().zip(wanted) {
            let mut untaken = unknown;
            let none = wanted.is_empty();
            for wanted in wanted {
                let target = Target::Net(wanted.net);
                match self.ledger.ban(self.decision(&machine, alert, wanted)).await {
                    Ok(number) => numbers.push(number.to_string()),
                    Err(refusal) if refusal.status >= 500 => return refusal.into(),
                    Err(refusal) => untaken.push(format!("{target}: {}", refusal.message)),
                }
            }
            if none || !untaken.is_empty() {
                self.told(&machine, alert, &untaken);
            }
        }
        Reply::json(201, &numbers)
    }

    /// The bans that an alert asks for, and what of it is nothing that is done here.
    fn wanted(&self, alert: &Alert) -> Result<(Vec<Wanted>, Vec<String>), String> {
        let scenario = |named: Option<&String>| {
            let name = named.map_or(alert.scenario.as_str(), String::as_str);
            name.chars().filter(|c| !c.is_control()).take(MAX_SCENARIO).collect::<String>()
        };
        let mode = |simulated: bool| if simulated { Mode::Observe } else { Mode::Enforce };
        let (mut wanted, mut unknown) = (Vec::new(), Vec::new());
        for order in alert.decisions.iter().flatten() {
            let lasting = go::parse_duration(&order.duration)
                .ok_or_else(|| format!("time: invalid duration \"{}\"", order.duration))?;
            match about(&order.scope, &order.value) {
                About::Addresses(net) if order.kind == BAN && lasting > 0 => {
                    let mode = mode(order.simulated.unwrap_or(alert.simulated));
                    wanted.push(Wanted { net, lasting, scenario: scenario(order.scenario.as_ref()), mode });
                }
                About::Nothing => {
                    return Err(format!("'{}' is no {}", order.value, order.scope));
                }
                About::Addresses(_) | About::Else => {
                    unknown
                        .push(format!("{} of {} {} is not done here", order.kind, order.scope, order.value));
                }
            }
        }
        // As CrowdSec's own profile decides where an alert brings no decision.
        if alert.decisions.as_ref().is_none_or(Vec::is_empty) && alert.remediation && !alert.simulated {
            let source = &alert.source;
            let value = match source.scope.eq_ignore_ascii_case("range") {
                true => source.range.as_deref().filter(|range| !range.is_empty()).unwrap_or(&source.value),
                false => &source.value,
            };
            match about(&source.scope, value) {
                About::Addresses(net) => {
                    let lasting = i64::try_from(self.ledger.usual_ban().as_micros()).unwrap_or(i64::MAX);
                    wanted.push(Wanted { net, lasting, scenario: scenario(None), mode: Mode::Enforce });
                }
                About::Nothing => return Err(format!("'{value}' is no {}", source.scope)),
                About::Else => unknown.push(format!("a ban of {} {value} is not done here", source.scope)),
            }
        }
        Ok((wanted, unknown))
    }

    fn decision(&self, machine: &ProgramName, alert: &Alert, wanted: Wanted) -> Decision {
        let now = self.now();
        let lasting = Duration::from_micros(wanted.lasting.unsigned_abs());
        let events = alert.events.as_deref().unwrap_or_default();
        let seen = events[events.len().saturating_sub(Evidence::MAX_PIECES)..].iter().map(|event| {
            let meta = event.meta.iter().flatten().map(|meta| format!("{}={}", meta.key, meta.value));
            let text = meta.take(32).collect::<Vec<_>>().join(" ");
            Evidence::new(event.timestamp.parse().unwrap_or(now), format!("machine {machine}"), &text)
        });
        let message = Evidence::new(now, format!("machine {machine}"), &alert.message);
        let evidence = if events.is_empty() { vec![message] } else { seen.collect() };
        Decision {
            id: 0,
            kind: DecisionKind::Ban,
            target: Target::Net(wanted.net),
            direction: Direction::In,
            mode: wanted.mode,
            since: now,
            until: Some(now.plus(lasting.min(NO_END))),
            origin: Origin {
                kind: OriginKind::Scenario,
                name: wanted.scenario,
                at: Some(format!("machine {machine}")),
            },
            evidence,
        }
    }

    /// Tells of an alert that did not come to all the bans it asked for, or to none.
    fn told(&self, machine: &ProgramName, alert: &Alert, untaken: &[String]) {
        let short =
            |text: &str| text.chars().filter(|c| !c.is_control()).take(MAX_SCENARIO).collect::<String>();
        let mut message = format!(
            "the machine {machine} tells of {} by {} {}",
            short(&alert.scenario),
            short(&alert.source.scope),
            short(&alert.source.value)
        );
        for why in untaken.iter().take(8) {
            message.push_str("; ");
            message.push_str(&short(why));
        }
        self.ledger.tell(Severity::Notice, message);
    }

    /// `GET /v1/alerts`, newest first.
    pub(super) async fn alerts(&self, request: &Request) -> Reply {
        if let Err(reply) = self.machine(request) {
            return reply;
        }
        let found = match self.found(request, None).await {
            Ok(found) => found,
            Err(reply) => return reply,
        };
        if request.method == Method::HEAD {
            return Reply::empty(200);
        }
        let now = self.now();
        let alerts: Vec<Value> = found.iter().filter_map(|change| alert(change, now)).collect();
        Reply::list(200, &alerts)
    }

    /// `GET /v1/alerts/{id}`.
    pub(super) async fn alert(&self, request: &Request, id: &str) -> Reply {
        if let Err(reply) = self.machine(request) {
            return reply;
        }
        let found = match self.found(request, Some(id)).await {
            Ok(found) => found,
            Err(reply) => return reply,
        };
        match found.first().and_then(|change| alert(change, self.now())) {
            Some(_) if request.method == Method::HEAD => Reply::empty(200),
            Some(alert) => Reply::json(200, &alert),
            None => Reply::message(404, "object not found"),
        }
    }

    /// `DELETE /v1/alerts` and `/v1/alerts/{id}`: the bans end. That they were there stays on record.
    pub(super) async fn delete_alerts(&self, request: &Request, id: Option<&str>) -> Reply {
        let machine = match self.machine(request) {
            Ok(machine) => machine,
            Err(reply) => return reply,
        };
        if id.is_none() && !request.body.is_empty() {
            return in_the_body();
        }
        let found = match self.found(request, id).await {
            Ok(found) => found,
            Err(reply) => return reply,
        };
        if id.is_some() && found.is_empty() {
            return Reply::message(404, "object not found");
        }
        let standing = found.into_iter().filter(|change| change.ended.is_none());
        let targets: BTreeSet<Target> = standing.map(|change| change.decision.target).collect();
        self.lift(targets, machine.as_str()).await
    }

    /// The bans that are asked for.
    async fn found(&self, request: &Request, id: Option<&str>) -> Result<Vec<Change>, Reply> {
        let now = self.now();
        let id = match id.map(str::parse::<u64>) {
            None => None,
            Some(Ok(id)) => Some(id),
            Some(Err(_)) => return Err(Reply::message(400, "alert_id must be valid integer")),
        };
        let asked = if id.is_some() { Asked { id, ..Asked::default() } } else { Asked::read(request, now)? };
        let limit = asked.limit;
        let _turn = self.pulls.acquire().await.map_err(|_| Reply::empty(500))?;
        let mut found = self.ledger.history(MAX_HISTORY).await.map_err(Reply::from)?;
        found.retain(|change| asked.passes(change, now));
        found.truncate(limit);
        Ok(found)
    }
}

enum About {
    Addresses(IpNet),
    /// Of a scope that is not about addresses.
    Else,
    /// It is of such a scope, but no address.
    Nothing,
}

fn about(scope: &str, value: &str) -> About {
    if !scope.eq_ignore_ascii_case("ip") && !scope.eq_ignore_ascii_case("range") {
        return About::Else;
    }
    filter::net(value).map_or(About::Nothing, About::Addresses)
}

/// The parameters of `/v1/alerts`.
struct Asked {
    id: Option<u64>,
    net: Option<IpNet>,
    scope: Option<String>,
    value: Option<String>,
    scenario: Option<String>,
    origin: Option<String>,
    kind: Option<String>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    active: Option<bool>,
    simulated: Option<bool>,
    limit: usize,
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            id: None,
            net: None,
            scope: None,
            value: None,
            scenario: None,
            origin: None,
            kind: None,
            since: None,
            until: None,
            active: None,
            simulated: None,
            limit: usize::MAX,
        }
    }
}

impl Asked {
    fn read(request: &Request, now: Timestamp) -> Result<Self, Reply> {
        let text = |name: &str| request.parameter(name).map(str::to_owned);
        // How long ago.
        let ago = |name: &str| -> Result<Option<Timestamp>, Reply> {
            let Some(text) = request.parameter(name) else { return Ok(None) };
            let ago = go::parse_duration(text)
                .ok_or_else(|| Reply::message(400, &format!("unable to parse '{text}' in {name}")))?;
            Ok(Some(Timestamp(now.0.saturating_sub(ago))))
        };
        let net = match request.parameter("ip").or_else(|| request.parameter("range")) {
            None => None,
            Some(text) => Some(filter::net(text).ok_or_else(|| {
                Reply::message(400, &format!("unable to convert '{text}' to int: invalid address or range"))
            })?),
        };
        let limit = match request.parameter("limit").map(str::parse::<usize>) {
            None => ALERTS,
            Some(Ok(0)) => usize::MAX,
            Some(Ok(limit)) => limit,
            Some(Err(_)) => return Err(Reply::message(400, "invalid limit value: it is no number")),
        };
        Ok(Self {
            id: None,
            net,
            scope: text("scope"),
            value: text("value"),
            scenario: text("scenario"),
            origin: text("origin"),
            kind: text("decision_type"),
            since: ago("since")?,
            until: ago("until")?,
            active: request.flag("has_active_decision")?,
            simulated: request.flag("simulated")?,
            limit,
        })
    }

    fn passes(&self, change: &Change, now: Timestamp) -> bool {
        let ban = &change.decision;
        let Some(net) = shown::net(ban) else { return false };
        let is_active = change.ended.is_none() && ban.until.is_none_or(|until| until > now);
        self.id.is_none_or(|id| id == ban.id)
            && self.net.is_none_or(|asked| net.contains(&asked) || asked.contains(&net))
            && self.scope.as_ref().is_none_or(|scope| scope.eq_ignore_ascii_case(shown::scope(net)))
            && self.value.as_ref().is_none_or(|value| filter::net(value) == Some(net))
            && self.scenario.as_ref().is_none_or(|scenario| shown::scenario(ban).contains(scenario.as_str()))
            && self.origin.as_ref().is_none_or(|origin| origin == shown::origin(ban))
            && self.kind.as_ref().is_none_or(|kind| kind == BAN)
            && self.since.is_none_or(|since| ban.since >= since)
            && self.until.is_none_or(|until| ban.since <= until)
            && self.active.is_none_or(|active| active == is_active)
            && (self.simulated != Some(false) || ban.mode == Mode::Enforce)
    }
}

/// `Alert` of CrowdSec's models.
fn alert(change: &Change, now: Timestamp) -> Option<Value> {
    let ban = &change.decision;
    let (net, decision) = (shown::net(ban)?, Shown::of_change(change, now)?);
    let scenario = shown::scenario(ban);
    let events: Vec<Value> = ban
        .evidence
        .iter()
        .map(|seen| {
            let meta = [("source", seen.source.as_str()), ("line", seen.text.as_str())];
            let meta: Vec<_> =
                meta.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
            json!({ "meta": meta, "timestamp": go::time_text(seen.at) })
        })
        .collect();
    let machine = ban.origin.at.as_deref().and_then(|at| at.strip_prefix("machine ")).unwrap_or("secd");
    let first = ban.evidence.iter().map(|seen| seen.at).min().unwrap_or(ban.since);
    let (value, scope) = (ban.target.to_string(), shown::scope(net));
    Some(json!({
        "capacity": 0,
        "created_at": go::rfc3339(ban.since),
        "decisions": [decision],
        "events": events,
        "events_count": events.len(),
        "id": ban.id,
        "labels": null,
        "leakspeed": "",
        "machine_id": machine,
        "message": format!("{scope} {value} banned: {scenario}"),
        "meta": null,
        "scenario": scenario,
        "scenario_hash": "",
        "scenario_version": "",
        "simulated": ban.mode == Mode::Observe,
        "source": {
            "ip": if scope == "Ip" { value.as_str() } else { "" },
            "range": if scope == "Range" { value.as_str() } else { "" },
            "scope": scope,
            "value": value,
        },
        "start_at": go::time_text(first),
        "stop_at": go::time_text(ban.since),
        "uuid": shown::uuid(ban),
    }))
}
