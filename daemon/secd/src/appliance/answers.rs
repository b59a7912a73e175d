//! Answers to the control socket.

use abi::{Action, Active, DIRECTION_IN, DIRECTION_OUT, MAX_FLOWS};
use config::ListKind;
use ipnet::IpNet;
use lists::Group;
use model::{Flow, Mode, Reason, Target};
use policy::{Policy, ZoneSet};
use protocol::{
    API_VERSION, By, ByKind, DEFAULT_ROWS, DecisionsQuery, DnsStatus, EventsStatus, FetchedList,
    InterfaceStatus, ListRow, ListSummary, Lists, LogStatus, MAX_ROWS, MemoryStatus, ModeReply,
    PacketsStatus, RuleRow, Rules, ScenarioStatus, SignaturesStatus, Status, Subject, Why,
};
use std::{collections::BTreeMap, net::IpAddr, sync::PoisonError};

use super::{Appliance, Current, resolved::About};
use crate::{
    clock,
    decisions::Failure,
    logs::SourceState,
    metrics::Page,
    packets,
    process::Memory,
    why::{Asking, Sources},
};

impl Appliance {
    /// The state of the whole.
    pub async fn status(&self) -> Status {
        let current = self.current.load_full();
        let config = &current.loaded.config;
        let now = clock::now().wall;
        let memory = Memory::read();
        let (active, bpf) = self.kernel_state();
        let dns = match self.resolver.read().await.as_ref() {
            Some(resolver) => {
                let stats = resolver.stats();
                Some(DnsStatus {
                    listen: resolver.addresses().await.iter().map(ToString::to_string).collect(),
                    queries: stats.queries,
                    blocked: stats.sinkholed,
                    cached: stats.from_cache,
                    failed: stats.failed,
                    paused: self.pauses(),
                    log: self.query_log_status(),
                })
            }
            None => None,
        };
        let logs: Vec<LogStatus> = self.logs.states().await.into_iter().map(log_status).collect();
        let mut troubles: Vec<String> =
            self.troubles.lock().map(|all| all.values().cloned().collect()).unwrap_or_default();
        let of_log = |log: &LogStatus| Some(format!("the log {}: {}", log.name, log.error.as_ref()?));
        troubles.extend(logs.iter().filter_map(of_log));
        let summary = |state: &crate::feeds::ListState| ListSummary {
            name: state.name.clone(),
            kind: list_kind(state.kind),
            entries: state.entries,
            error: state.error.clone(),
        };
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            api: API_VERSION,
            mode: config.mode,
            config: self.flags.config.display().to_string(),
            started: self.started,
            uptime_seconds: now.since(self.started).as_secs(),
            generation: active.generation.into(),
            epoch: active.epoch.into(),
            applied: current.applied,
            trial: self.trial().trial,
            troubles,
            notes: current.notes.clone(),
            interfaces: interfaces(&current),
            packets: self.packets(),
            dns,
            decisions: self.decisions.keeper().len() as u64,
            lists: current.feeds.states.iter().map(summary).collect(),
            logs,
            scenarios: self
                .logs
                .tallies()
                .into_iter()
                .map(|tally| ScenarioStatus {
                    name: tally.name,
                    failures: tally.failures,
                    overflows: tally.overflows,
                })
                .collect(),
            signatures: SignaturesStatus {
                rules: current.loaded.signatures.len() as u64,
                refused: current.loaded.signatures.refused() as u64,
                hits: self.inspection.hits(),
            },
            events: self.events_status(),
            memory: MemoryStatus { rss: memory.resident, rss_peak: memory.peak, bpf },
        }
    }

    /// The kernel's word and the bytes its tables take; as last seen while a change is under way.
    fn kernel_state(&self) -> (Active, u64) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(walls) = self.change.try_lock() {
            *known = (walls.dataplane.active().unwrap_or_default(), walls.dataplane.memory().unwrap_or(0));
        }
        *known
    }

    /// Packets by what happened to them.
    fn packets(&self) -> PacketsStatus {
        let mut status = PacketsStatus::default();
        for count in self.counters_handle().packets().unwrap_or_default() {
            let packets = count.counter.packets;
            match count.action {
                Action::Pass => status.passed += packets,
                Action::Drop => status.dropped += packets,
                Action::Reject => status.rejected += packets,
            }
            if count.action != Action::Pass {
                *status.reasons.entry(count.reason.name().into()).or_default() += packets;
            }
        }
        status
    }

    fn events_status(&self) -> EventsStatus {
        let mut status = EventsStatus::default();
        for sink in self.sender.sinks() {
            status.sent += sink.delivered;
            status.lost += sink.lost + sink.dropped;
            status.queue += sink.queued as u64 + sink.undelivered;
            status.queue_limit += sink.capacity as u64;
            status.error = status.error.or(sink.trouble.map(|trouble| format!("{}: {trouble}", sink.name)));
        }
        status
    }

    /// Every list.
    pub fn lists(&self) -> Lists {
        let current = self.current.load();
        let hits = self.counters_handle().lists(current.loaded.config.lists.len()).unwrap_or_default();
        let states = current.feeds.states.iter().zip(&current.loaded.config.lists).enumerate();
        let fetched = self.fetched.states();
        let lists = states.map(|(number, (state, source))| ListRow {
            name: state.name.clone(),
            kind: list_kind(state.kind),
            path: source.path.display().to_string(),
            fetched: fetched.iter().find(|fetched| fetched.name == state.name).map(fetched_list),
            mode: source.mode,
            direction: (source.kind == ListKind::Addresses).then_some(source.direction),
            entries: state.entries,
            rejected: state.rejected,
            hits: hits.get(number).map_or(0, |counter| counter.packets),
            loaded: state.loaded,
            // What cannot be fetched is worse news than what is in force.
            error: fetched
                .iter()
                .find(|fetched| fetched.name == state.name)
                .and_then(|fetched| fetched.error.clone())
                .or_else(|| state.error.clone()),
        });
        Lists { lists: lists.collect() }
    }

    /// Every rule with its counters.
    pub fn rules(&self) -> Rules {
        let current = self.current.load();
        let policy = &current.loaded.config.policy;
        let all = policy.rules.len() + policy.forwards.len();
        let counters = self.counters_handle().rules(all).unwrap_or_default();
        let rules = policy.rules.iter().map(|rule| {
            let counter = counters.get(usize::from(rule.id)).copied().unwrap_or_default();
            RuleRow {
                id: Some(rule.id),
                from: side_names(policy, &rule.from),
                to: side_names(policy, &rule.to),
                services: rule.services.iter().map(|service| service.name.clone()).collect(),
                action: action_word(rule).into(),
                mode: rule.mode,
                log: rule.log,
                comment: rule.comment.clone(),
                file: rule.span.file.clone(),
                line: rule.span.line,
                packets: counter.packets,
                bytes: counter.bytes,
            }
        });
        let mut rows: Vec<_> = rules.collect();
        rows.extend(policy.forwards.iter().enumerate().map(|(place, forward)| {
            let id = policy.forward_id(place);
            let counter = counters.get(usize::from(id)).copied().unwrap_or_default();
            RuleRow {
                id: Some(id),
                from: vec![policy.zone_name(forward.from).to_owned()],
                to: vec![forward.port.map_or_else(
                    || forward.to.to_string(),
                    |port| std::net::SocketAddr::new(forward.to, port).to_string(),
                )],
                services: forward.services.iter().map(service_text).collect(),
                action: "forward".into(),
                mode: Mode::Enforce,
                log: false,
                comment: Some(forward.comment.clone().unwrap_or_else(|| forward.name.clone())),
                file: forward.span.file.clone(),
                line: forward.span.line,
                packets: counter.packets,
                bytes: counter.bytes,
            }
        }));
        let packets = self.counters_handle().packets().unwrap_or_default();
        for zone in &policy.zones {
            let denied =
                packets.iter().filter(|count| count.zone == zone.id && count.reason == Reason::DefaultDenied);
            let (packets, bytes) = denied.fold((0, 0), |(packets, bytes), count| {
                (packets + count.counter.packets, bytes + count.counter.bytes)
            });
            rows.push(RuleRow {
                id: None,
                from: vec![zone.name.clone()],
                to: vec!["any".into()],
                services: Vec::new(),
                action: zone.denial.name().into(),
                mode: zone.mode,
                log: false,
                comment: Some("what no rule names".into()),
                file: zone.span.file.clone(),
                line: zone.span.line,
                packets,
                bytes,
            });
        }
        // The kernel keeps counting over a restart; this daemon knows only of changes it made itself.
        Rules { rules: rows, since: current.counted }
    }

    /// Decisions in force, newest first.
    pub fn decisions_in_force(&self, query: &DecisionsQuery) -> protocol::Decisions {
        let keeper = self.decisions.keeper();
        let total = keeper.len() as u64;
        let mut found = match &query.target {
            Some(Target::Net(net)) => keeper.touching(*net),
            Some(Target::Domain(name) | Target::DomainFor { name, .. }) => keeper.about_name(name),
            None => keeper.decisions(),
        };
        found.retain(|decision| {
            query.kind.is_none_or(|kind| decision.kind == kind)
                && query.origin.is_none_or(|origin| decision.origin.kind == origin)
                && query.before.is_none_or(|before| decision.id < before)
        });
        match query.before {
            Some(_) => found.sort_by_key(|decision| std::cmp::Reverse(decision.id)),
            None => found.sort_by_key(|decision| std::cmp::Reverse(decision.since)),
        }
        protocol::Decisions {
            decisions: found.into_iter().take(limit(query.limit)).cloned().collect(),
            total,
        }
    }

    /// Prometheus text.
    pub fn metrics(&self) -> String {
        let current = self.current.load();
        let mut page = Page::default();
        let packets = self.counters_handle().packets().unwrap_or_default();
        page.packets(&packets, &current.loaded.config.policy);
        let lost = self.counters_handle().lost().unwrap_or_default();
        let lost = lost.iter().map(|(kind, count)| (kind.name(), *count));
        page.by_label(
            ("secd_kernel_lost_total", "counter", "What the packet path could not tell or keep."),
            "kind",
            lost,
        );
        page.events(&self.sender.counts(), &self.sender.sinks());
        let entries = current.feeds.states.iter().map(|state| (state.name.as_str(), state.entries));
        page.by_label(("secd_list_entries", "gauge", "Entries of a list in force."), "list", entries);
        let fill = self.answers_fill();
        page.by_label(
            (
                "secd_resolved_entries",
                "gauge",
                "Addresses that DNS answered to a zone which depends on that.",
            ),
            "zone",
            fill.iter().map(|zone| (zone.zone.as_str(), zone.entries)),
        );
        page.by_label(
            ("secd_resolved_pushed_out_total", "counter", "Of these, those that made way before their time."),
            "zone",
            fill.iter().map(|zone| (zone.zone.as_str(), zone.pushed_out)),
        );
        let (decisions, prefixes) = {
            let keeper = self.decisions.keeper();
            (keeper.len() as u64, keeper.banned_prefixes() as u64)
        };
        page.single("secd_decisions", "gauge", "Decisions in force.", decisions);
        page.single("secd_banned_prefixes", "gauge", "Prefixes banned in the kernel.", prefixes);
        page.single("secd_signature_hits_total", "counter", "Signature matches.", self.inspection.hits());
        let log = self.query_log_status();
        page.single("secd_dns_log_bytes", "gauge", "Bytes of the log of questions.", log.bytes);
        page.single("secd_dns_log_written_total", "counter", "Questions kept in the log.", log.written);
        page.single("secd_dns_log_lost_total", "counter", "Questions that could not be kept.", log.lost);
        page.single(
            "secd_dns_log_folded_total",
            "counter",
            "Questions kept with a shortened name.",
            log.folded,
        );
        page.single("secd_memory_bytes", "gauge", "Resident memory of the daemon.", Memory::read().resident);
        self.measure_reflector(&mut page);
        page.finish()
    }

    /// The mode and what observes in spite of it.
    pub fn mode(&self) -> ModeReply {
        let current = self.current.load();
        let config = &current.loaded.config;
        let mut observing = Vec::new();
        let mut part = |mode: Mode, what: String| {
            if mode == Mode::Observe {
                observing.push(what);
            }
        };
        for zone in &config.policy.zones {
            part(zone.mode, format!("zone {}", zone.name));
        }
        for rule in &config.policy.rules {
            part(rule.mode, format!("rule {} ({}:{})", rule.id, rule.span.file, rule.span.line));
        }
        for list in &config.lists {
            part(list.mode, format!("list {}", list.name));
        }
        for log in &config.logs {
            part(log.mode, format!("log {}", log.name));
        }
        part(config.dns.mode, "dns".into());
        part(config.signatures.mode, "signatures".into());
        ModeReply { mode: config.mode, configured: current.loaded.configured, observing }
    }

    /// Why a subject is blocked, or that it is not.
    ///
    /// # Errors
    /// 404 it is asked for a client that the config does not have.
    pub fn why(&self, subject: &Subject) -> Result<Why, Failure> {
        let current = self.current.load_full();
        let asking = match subject {
            Subject::Target(Target::DomainFor { client, .. }) => Some(self.asking(&current, client)?),
            Subject::Target(Target::Net(_) | Target::Domain(_)) | Subject::Flow(_) => None,
        };
        Ok(match subject {
            Subject::Target(target) => self.why_target(&current, target, None, asking.as_ref()),
            Subject::Flow(flow) => self.why_flow(&current, flow),
        })
    }

    /// What holds against a target. `direction`: only what holds in one of these `abi::DIRECTION_*`.
    pub(super) fn why_held(
        &self,
        current: &Current,
        target: &Target,
        direction: Option<u8>,
        asking: Option<&Asking>,
    ) -> Why {
        let config = &current.loaded.config;
        let keeper = self.decisions.keeper();
        let lists: Vec<_> =
            config.lists.iter().map(|list| (list.name.clone(), list.path.display().to_string())).collect();
        let groups: Vec<_> = config.dns.groups.iter().map(|group| group.name.clone()).collect();
        let sources = Sources {
            decisions: match target {
                Target::Net(net) => keeper.about(*net),
                Target::Domain(name) | Target::DomainFor { name, .. } => keeper.about_name(name),
            },
            protected: keeper.protected(),
            addresses: &current.feeds.addresses,
            domains: &current.feeds.domains,
            lists: &lists,
            groups: &groups,
            observing: Group::all_where(&config.dns.list_groups(), |group| group.mode == Mode::Observe),
            mode: config.mode,
            dns_mode: config.dns.mode,
            now: clock::now().wall,
        };
        match target {
            Target::Net(net) => sources.net(*net, direction),
            Target::Domain(name) | Target::DomainFor { name, .. } => sources.name(name, asking),
        }
    }

    /// The same, and what the resolver answered of it.
    fn why_target(
        &self,
        current: &Current,
        target: &Target,
        direction: Option<u8>,
        asking: Option<&Asking>,
    ) -> Why {
        let mut why = self.why_held(current, target, direction, asking);
        why.answered = match target {
            Target::Net(net) if net.prefix_len() == net.max_prefix_len() => {
                self.answers_about(About::Address(net.addr()))
            }
            Target::Net(_) => Vec::new(),
            Target::Domain(name) | Target::DomainFor { name, .. } => {
                self.answers_about(About::Name(name.as_str()))
            }
        };
        why
    }

    /// What the packet path knows of the flow itself, then what holds against its ends, then the policy.
    fn why_flow(&self, current: &Current, flow: &Flow) -> Why {
        let mut why = self.why_policy(current, flow);
        if let Some(cut) = self.cut_by_signature(current, flow) {
            why.also.extend(why.by.take());
            return Why { target: flow.to_string(), ..cut };
        }
        let observes =
            current.loaded.config.policy.zone_of(flow.src).is_some_and(|zone| zone.mode == Mode::Observe);
        for (end, direction) in [(flow.src, DIRECTION_IN), (flow.dst, DIRECTION_OUT)] {
            let mut about = self.why_target(current, &Target::Net(IpNet::from(end)), Some(direction), None);
            if about.blocked || about.observed {
                if observes {
                    (about.blocked, about.observed) = (false, true);
                }
                why.also.extend(why.by.take());
                return Why { target: flow.to_string(), also: [why.also, about.also].concat(), ..about };
            }
        }
        why
    }

    fn why_policy(&self, current: &Current, flow: &Flow) -> Why {
        let config = &current.loaded.config;
        let own: Vec<IpAddr> = current.machine.addresses.iter().copied().collect();
        let mut why = Why {
            target: flow.to_string(),
            blocked: false,
            reason: "unknown".into(),
            by: None,
            since: current.applied,
            until: None,
            evidence: Vec::new(),
            allow_command: None,
            observed: false,
            client: None,
            groups: Vec::new(),
            answered: Vec::new(),
            also: Vec::new(),
        };
        let zone = flow.zone.clone().or_else(|| Some(config.policy.zone_of(flow.src)?.name.clone()));
        let answered = self.answered(current, &zone.unwrap_or_default(), flow.dst);
        let explained = match current.standing.now.explain_answered(&own, flow, answered) {
            Ok(explained) => explained,
            Err(error) => {
                why.by = Some(By { kind: ByKind::Check, name: error.to_string(), line: None, file: None });
                return why;
            }
        };
        let stopped = explained.action != Action::Pass;
        why.blocked = stopped && !explained.observed;
        why.observed = stopped && explained.observed;
        why.reason = explained.reason.name().into();
        why.by = Some(match explained.rule {
            Some(rule) => {
                let comment = config.policy.rule(rule.id).and_then(|rule| rule.comment.clone());
                let name = config.policy.rule_name(rule.id).unwrap_or_else(|| format!("rule {}", rule.id));
                let name = comment.map_or_else(|| name.clone(), |text| format!("{name}: {text}"));
                By { kind: ByKind::Rule, name, line: Some(rule.line), file: Some(rule.file) }
            }
            None if explained.reason == Reason::DefaultDenied => {
                let zone = config.policy.zones.iter().find(|zone| zone.name == explained.zone_in);
                By {
                    kind: ByKind::ZoneDefault,
                    name: explained.zone_in.clone(),
                    line: zone.map(|zone| zone.span.line),
                    file: zone.map(|zone| zone.span.file.clone()),
                }
            }
            None => By { kind: ByKind::Check, name: explained.steps.join("; "), line: None, file: None },
        });
        if why.blocked {
            // A rule that names the zone is not enough where its DNS did not answer the address.
            let to = match explained.reason {
                Reason::Unresolved => flow.dst.to_string(),
                _ => explained.zone_out,
            };
            why.allow_command = Some(format!(
                "add before line {} of {}: [[rules]] from = [\"{}\"] to = [\"{}\"] services = [\"{}/{}\"] action = \"allow\", then secctl reload",
                why.by.as_ref().and_then(|by| by.line).unwrap_or(1),
                self.flags.config.display(),
                explained.zone_in,
                to,
                flow.proto,
                flow.dport
            ));
        }
        why
    }

    fn cut_by_signature(&self, current: &Current, flow: &Flow) -> Option<Why> {
        let known = self.flows_handle().list(MAX_FLOWS as usize).ok()?;
        let cut = known.into_iter().find(|known| {
            let ends = (packets::address(known.key.source), packets::address(known.key.destination));
            let ports =
                (u16::from_be_bytes(known.key.source_port), u16::from_be_bytes(known.key.destination_port));
            known.value.reason == Reason::Signature as u8
                && known.key.protocol == flow.proto.0
                && ((ends == (flow.src, flow.dst) && ports.1 == flow.dport)
                    || (ends == (flow.dst, flow.src) && ports.0 == flow.dport))
        })?;
        let rule = current.loaded.signatures.rules().find(|rule| rule.sid == cut.value.rule);
        Some(Why {
            target: String::new(),
            blocked: true,
            reason: Reason::Signature.name().into(),
            by: Some(By {
                kind: ByKind::Signature,
                name: rule.map_or_else(
                    || format!("sid:{}", cut.value.rule),
                    |rule| format!("sid:{} {}", rule.sid, rule.msg),
                ),
                line: rule.map(|rule| rule.line),
                file: rule.map(|rule| rule.file.to_string()),
            }),
            since: Some(packets::wall_time(cut.value.first_seen, clock::now())),
            until: None,
            evidence: Vec::new(),
            allow_command: Some(format!(
                "comment out sid {} in its file, then secctl reload",
                cut.value.rule
            )),
            observed: false,
            client: None,
            groups: Vec::new(),
            answered: Vec::new(),
            also: Vec::new(),
        })
    }
}

pub(super) fn limit(asked: Option<u32>) -> usize {
    asked.unwrap_or(DEFAULT_ROWS).min(MAX_ROWS) as usize
}

fn fetched_list(state: &::feeds::State) -> FetchedList {
    FetchedList {
        from: state.location.clone(),
        at: state.fetched,
        checked: state.checked,
        next: state.next,
        failures: state.failures,
        held: state.held.as_ref().map(|held| held.why.clone()),
    }
}

fn list_kind(kind: ListKind) -> protocol::ListKind {
    match kind {
        ListKind::Domains => protocol::ListKind::Domains,
        ListKind::Addresses => protocol::ListKind::Addresses,
    }
}

/// What one side of a rule names, as it is written.
fn side_names(policy: &Policy, side: &policy::Side) -> Vec<String> {
    let mut names = match &side.zones {
        ZoneSet::Any => vec!["any".into()],
        ZoneSet::Of(ids) => ids.iter().map(|id| policy.zone_name(*id).to_owned()).collect(),
    };
    let sets = side.sets.iter().filter_map(|place| policy.sets.get(usize::from(*place)));
    names.extend(sets.map(policy::AddressSet::written));
    let groups = side.devices.iter().filter_map(|place| policy.devices.get(usize::from(*place)));
    names.extend(groups.map(|group| group.name.clone()));
    names
}

/// `tcp/443`, `udp/5000-5010`.
fn service_text(service: &policy::ServiceMatch) -> String {
    let (first, last) = (service.ports.first, service.ports.last);
    let ports = if first == last { first.to_string() } else { format!("{first}-{last}") };
    format!("{}/{ports}", service.protocol)
}

/// A rule's action in the word of the config.
fn action_word(rule: &policy::Rule) -> &'static str {
    match rule.action {
        _ if rule.goes_on => "log",
        Action::Pass if rule.limit.is_some() => "limit",
        Action::Pass => "allow",
        Action::Drop | Action::Reject => rule.action.name(),
    }
}

fn interfaces(current: &Current) -> Vec<InterfaceStatus> {
    let mut zones = BTreeMap::<&str, Vec<String>>::new();
    for zone in &current.loaded.config.policy.zones {
        let shown = zone.vlan.map_or_else(|| zone.name.clone(), |vlan| format!("{} ({vlan})", zone.name));
        zones.entry(&zone.interface).or_default().push(shown);
    }
    let attached = |name: &str| {
        let held = current.interfaces.iter().find(|(held, _)| held == name);
        held.map_or("absent", |(_, how)| how).to_owned()
    };
    zones
        .into_iter()
        .map(|(name, zones)| InterfaceStatus { name: name.to_owned(), attached: attached(name), zones })
        .collect()
}

fn log_status(state: SourceState) -> LogStatus {
    let SourceState { source, from, filter, matched, last_match, per_minute, trouble } = state;
    LogStatus {
        name: source.name,
        lines: source.lines,
        matched,
        last: source.last_line,
        error: trouble,
        from,
        filter,
        per_minute,
        last_match,
        files: source.files as u64,
        connections: source.connections as u64,
        lost: source.lost,
        oversized: source.oversized,
        refused: source.refused,
    }
}
