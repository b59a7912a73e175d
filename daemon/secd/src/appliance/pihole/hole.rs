//! The appliance as Pi-hole's API sees it.

use ::pihole::{
    About, Blocking, Client, Device, Domain, Group, Hole, Kind, List, ListState, Message, Refusal, Verdict,
};
use config::NameEntry;
use model::{
    Decision, DecisionKind, Direction, Mode, Name, QueryFilter, QueryPage, QueryStats, QueryStatsFilter,
    Severity, Target, Timestamp,
};
use protocol::{DnsPauseOrder, Lasting, Lift, ListKind, Order};
use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use super::super::{Appliance, Current};
use crate::{
    clock,
    decisions::Failure,
    process::{Memory, cpu_time},
};

/// Ids of entries that stand in the config begin here; those of orders stay below.
const CONFIG_IDS: u64 = 1 << 40;

/// The appliance, as long as it runs.
pub(in crate::appliance) struct Behind(pub(super) Weak<Appliance>);

impl Behind {
    /// What it says; nothing while it stops.
    fn ask<T: Default>(&self, what: impl FnOnce(&Appliance, &Current) -> T) -> T {
        let Some(secd) = self.0.upgrade() else { return T::default() };
        let current = secd.current.load_full();
        what(&secd, &current)
    }

    fn running(&self) -> Result<Arc<Appliance>, Refusal> {
        let stops =
            || Refusal { status: 503, key: "internal_error", message: "secd stops".into(), hint: None };
        self.0.upgrade().ok_or_else(stops)
    }
}

impl Hole for Behind {
    fn now(&self) -> Timestamp {
        clock::now().wall
    }

    fn tell(&self, severity: Severity, message: String) {
        self.ask(|secd, _| secd.system(severity, message));
    }

    fn blocking(&self) -> (Blocking, Option<Timestamp>) {
        let found = self.ask(|secd, current| {
            let config = &current.loaded.config;
            if !config.dns.answers() {
                return None;
            }
            let paused = secd.pauses().into_iter().find(|pause| pause.group.is_none());
            Some(match (paused, config.mode.and(config.dns.mode)) {
                (Some(pause), _) => (Blocking::Disabled, Some(pause.until)),
                (None, Mode::Observe) => (Blocking::Disabled, None),
                (None, Mode::Enforce) => (Blocking::Enabled, None),
            })
        });
        found.unwrap_or((Blocking::Failure, None))
    }

    async fn set_blocking(&self, enabled: bool, lasting: Option<Duration>, who: &str) -> Result<(), Refusal> {
        let secd = self.running()?;
        if enabled && self.blocking() == (Blocking::Disabled, None) {
            let hint = "set `mode = \"enforce\"` in secd.toml, or use `secctl mode enforce`";
            return Err(Refusal::forbidden("Names are only observed: nothing is blocked", hint));
        }
        let longest = Duration::from_secs(DnsPauseOrder::MAX_SECONDS);
        let lasting = lasting.unwrap_or(longest);
        // Whole seconds, as pauses have them.
        let lasting = Duration::from_secs(lasting.as_secs() + u64::from(lasting.subsec_nanos() > 0));
        let lasting = (!enabled).then_some(Lasting(lasting));
        secd.pause(DnsPauseOrder { group: None, lasting, user: who.to_owned() }).await.map_err(refusal)?;
        Ok(())
    }

    fn domains(&self) -> Vec<Domain> {
        self.ask(|secd, current| {
            let keeper = secd.decisions.keeper();
            let mut orders: Vec<_> = keeper.domains().filter_map(order).collect();
            orders.sort_by_key(|order| order.id);
            drop(keeper);
            let written = written(secd, current).into_iter().zip(CONFIG_IDS..);
            orders.extend(written.map(|(entry, id)| Domain { id, ..entry }));
            orders
        })
    }

    async fn add_domain(
        &self,
        verdict: Verdict,
        name: Name,
        comment: Option<String>,
        who: &str,
    ) -> Result<(), Refusal> {
        let order = Order {
            kind: kind(verdict),
            target: Target::Domain(name),
            lasting: None,
            direction: Direction::default(),
            comment,
            user: who.to_owned(),
        };
        self.running()?.order(order).await.map_err(refusal)?;
        Ok(())
    }

    async fn remove_domain(&self, verdict: Verdict, name: Name, who: &str) -> Result<bool, Refusal> {
        let lift = Lift { target: Target::Domain(name), kind: Some(kind(verdict)), user: who.to_owned() };
        let lifted = self.running()?.lift(lift).await.map_err(refusal)?;
        Ok(!lifted.lifted.is_empty())
    }

    fn groups(&self) -> Vec<Group> {
        self.ask(|secd, current| {
            let groups = secd.dns_groups().groups.into_iter().zip(0..);
            let group = |(group, id): (protocol::DnsGroupRow, u64)| Group {
                id,
                enabled: group.in_force && group.mode == Mode::Enforce,
                name: group.name,
                comment: group.comment,
                since: since(secd, current),
            };
            groups.map(group).collect()
        })
    }

    fn lists(&self) -> Vec<List> {
        self.ask(|secd, current| {
            let config = &current.loaded.config;
            let rows = secd.lists().lists.into_iter().zip(&config.lists).zip(1..);
            let names = rows.filter(|((row, _), _)| row.kind == ListKind::Domains);
            let list = |((row, source), id): ((protocol::ListRow, &config::ListSource), u64)| List {
                id,
                address: match &row.fetched {
                    Some(fetched) => fetched.from.clone(),
                    None => format!("file://{}", row.path),
                },
                allows: source.allow,
                groups: source.groups.places().map(|place| place as u64).collect(),
                enabled: row.mode == Mode::Enforce,
                entries: row.entries,
                rejected: row.rejected,
                state: match (&row.error, row.entries) {
                    (None, _) => ListState::Current,
                    (Some(_), 0) => ListState::Unavailable,
                    (Some(_), _) => ListState::OldCopy,
                },
                loaded: row.loaded,
                name: row.name,
                since: since(secd, current),
            };
            names.map(list).collect()
        })
    }

    fn clients(&self) -> Vec<Client> {
        self.ask(|secd, current| {
            let ways = current.loaded.config.dns.clients.iter();
            let ways = ways.flat_map(|client| client.who.iter().map(move |who| (client, who)));
            let client = |((client, who), id): ((&config::DnsClient, &lists::Who), u64)| Client {
                id,
                text: who.to_string(),
                name: client.name.clone(),
                comment: client.comment.clone(),
                groups: client.groups.places().map(|place| place as u64).collect(),
                since: since(secd, current),
            };
            ways.zip(1..).map(client).collect()
        })
    }

    fn devices(&self) -> Vec<Device> {
        self.ask(|secd, _| {
            let rows = secd.device_rows().devices.into_iter().filter(|row| !row.addresses.is_empty());
            let device = |row: protocol::DeviceRow| Device {
                mac: row.mac.to_string(),
                addresses: row.addresses,
                seen: row.last,
            };
            rows.map(device).collect()
        })
    }

    async fn queries(&self, filter: &QueryFilter) -> Result<QueryPage, Refusal> {
        self.running()?.dns_queries(filter).await.map_err(refusal)
    }

    async fn stats(&self, filter: &QueryStatsFilter) -> Result<QueryStats, Refusal> {
        self.running()?.dns_stats(filter).await.map_err(refusal)
    }

    fn messages(&self) -> Vec<Message> {
        self.ask(|secd, _| {
            let troubles = secd.troubles.lock().map(|all| all.values().cloned().collect::<Vec<_>>());
            let at = clock::now().wall;
            troubles.unwrap_or_default().into_iter().map(|text| Message { text, at }).collect()
        })
    }

    fn about(&self) -> About {
        self.ask(|secd, _| {
            let resolver = secd.resolver.try_read();
            let stats =
                resolver.ok().and_then(|resolver| Some(resolver.as_ref()?.stats())).unwrap_or_default();
            About {
                version: env!("CARGO_PKG_VERSION").into(),
                started: secd.started,
                pid: std::process::id(),
                resident: Memory::read().resident,
                cpu: cpu_time(),
                from_cache: stats.from_cache,
                stale: stats.stale,
                forwarded: stats.forwarded,
                failed: stats.failed,
                cache_entries: stats.cache_entries,
            }
        })
    }
}

fn kind(verdict: Verdict) -> DecisionKind {
    match verdict {
        Verdict::Allow => DecisionKind::Allow,
        Verdict::Deny => DecisionKind::Ban,
    }
}

/// What the config says of single names: everybody's first, then each group's.
fn written(secd: &Appliance, current: &Current) -> Vec<Domain> {
    let dns = &current.loaded.config.dns;
    let since = since(secd, current);
    let everybody: Vec<u64> = (0..dns.groups.len() as u64).collect();
    let of = |verdict, groups: Vec<u64>, entries: &[NameEntry]| -> Vec<Domain> {
        let entry = |NameEntry { rule, line }: &NameEntry| {
            let expression = rule.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
            Domain {
                id: 0,
                text: expression.unwrap_or(rule).to_owned(),
                verdict,
                kind: if expression.is_some() { Kind::Regex } else { Kind::Exact },
                comment: None,
                groups: groups.clone(),
                since,
                fixed: Some(format!("{} line {line}", current.loaded.file)),
            }
        };
        entries.iter().map(entry).collect()
    };
    let mut all = of(Verdict::Allow, everybody.clone(), &dns.allow);
    all.extend(of(Verdict::Deny, everybody, &dns.deny));
    for (group, id) in dns.groups.iter().zip(0..) {
        all.extend(of(Verdict::Allow, vec![id], &group.allow));
        all.extend(of(Verdict::Deny, vec![id], &group.deny));
    }
    all
}

/// An order about a name, for everybody: Pi-hole knows none for one client.
fn order(decision: &Decision) -> Option<Domain> {
    let (name, None) = decision.target.domain()? else { return None };
    let comment =
        decision.evidence.iter().find(|piece| piece.source == "comment").map(|piece| piece.text.clone());
    let comment = match (comment, decision.until) {
        (comment, None) => comment,
        (Some(comment), Some(until)) => Some(format!("{comment} (until {until})")),
        (None, Some(until)) => Some(format!("until {until}")),
    };
    Some(Domain {
        id: decision.id,
        text: name.to_string(),
        verdict: match decision.kind {
            DecisionKind::Allow => Verdict::Allow,
            DecisionKind::Ban => Verdict::Deny,
        },
        kind: Kind::Exact,
        comment,
        groups: vec![0],
        since: decision.since,
        fixed: None,
    })
}

/// Since when the config is in force.
fn since(secd: &Appliance, current: &Current) -> Timestamp {
    current.applied.unwrap_or(secd.started)
}

fn refusal((status, reply): Failure) -> Refusal {
    let key = match status {
        400 => "bad_request",
        404 => "not_found",
        409 => "conflict",
        _ => "database_error",
    };
    Refusal { status, key, message: reply.error.message, hint: reply.error.help }
}
