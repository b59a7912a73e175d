//! From policy to an nftables ruleset. Pure: what is written here is what the tests read.
//!
//! Every pair of zones gets a chain of its own with the rules that name it, so a packet walks one verdict map and a
//! few rules. Lists and bans are not repeated here; they hold in front of this wall.

use abi::{ZONE_MULTICAST, ZONE_SELF, ZoneId};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use model::{Action, Mode, Protocol};
use nftables::{
    batch::Batch,
    expr::{CT, Expression, Meta, MetaKey, NamedExpression, Payload, PayloadField, Prefix, Range, SetItem},
    schema::{Chain, NfListObject, Nftables, Rule, Table},
    stmt::{Counter, JumpTarget, Match, Operator, Reject, RejectType, Statement, VerdictMap},
    types::{NfChainPolicy, NfChainType, NfFamily, NfHook, RejectCode},
};
use policy::{Policy, ServiceMatch, Zone, has_ports};
use std::{
    borrow::Cow,
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
};

/// The only table secd touches.
pub const TABLE: &str = "secd";
/// Chain that answers a refused packet.
const REFUSE: &str = "refuse";

/// Renders the second wall of a policy: one transaction that replaces the whole table.
///
/// - Connections that conntrack knows pass first; packets it calls invalid are dropped on interfaces of zones that
///   enforce.
/// - A verdict map by incoming and outgoing device leads to the chain of the zone pair. Its rules carry the comment
///   `rule N` and a counter, its end the comment `default`.
/// - What comes from or goes to an interface of no zone passes here: on a router that existed before, other tables
///   rule it.
/// - ICMPv6 neighbour and router discovery, MLD, IGMP, DHCP on their links and loopback pass.
/// - The router's own traffic is judged only where a rule that names it denies something.
/// - In observe mode (of the whole, a zone or a rule) what would be denied is counted and passes.
#[must_use]
pub fn render(policy: &Policy) -> Nftables<'static> {
    let mut wall = Rendering { policy, chains: Vec::new(), rules: Vec::new() };
    wall.refuse();
    wall.input();
    wall.forward();
    wall.output();
    wall.masquerade();
    wall.into_transaction()
}

/// The transaction that removes the table, whether it is there or not.
#[must_use]
pub fn render_removal() -> Nftables<'static> {
    let mut batch = Batch::new();
    batch.add(NfListObject::Table(table()));
    batch.delete(NfListObject::Table(table()));
    batch.to_nftables()
}

struct Rendering<'a> {
    policy: &'a Policy,
    chains: Vec<Chain<'static>>,
    rules: Vec<Rule<'static>>,
}

type Mapping = Vec<SetItem<'static>>;

impl Rendering<'_> {
    fn refuse(&mut self) {
        self.chain(REFUSE);
        let tcp = equals(meta(MetaKey::L4proto), text("tcp"));
        self.rule(REFUSE, vec![tcp, reject(RejectType::TCPReset, None)], None);
        let prohibited = reject(RejectType::ICMPX, Some(RejectCode::AdminProhibited));
        self.rule(REFUSE, vec![prohibited], None);
    }

    /// What is meant for the router itself, and multicast and broadcast that arrive at it.
    fn input(&mut self) {
        self.base("input", NfChainType::Filter, NfHook::Input, 0);
        self.rule("input", vec![equals(meta(MetaKey::Iifname), text("lo")), accept()], None);
        self.tracked("input");
        self.essentials("input", MetaKey::Iifname);
        let (mut many, mut own) = (Mapping::new(), Mapping::new());
        for zone in &self.policy.zones {
            many.push(self.leads("input", &device(zone), zone.id, ZONE_MULTICAST));
            own.push(self.leads("input", &device(zone), zone.id, ZONE_SELF));
        }
        self.multicast_maps("input", MetaKey::Iifname, &many);
        self.map("input", vec![], meta(MetaKey::Iifname), own);
    }

    /// What goes from one zone to another, or within one.
    fn forward(&mut self) {
        self.base("forward", NfChainType::Filter, NfHook::Forward, 0);
        self.tracked("forward");
        let mut pairs = Mapping::new();
        for from in &self.policy.zones {
            for to in &self.policy.zones {
                let key = NamedExpression::Concat(vec![text(&from.device), text(&to.device)]);
                pairs.push(self.leads("forward", &Expression::Named(key), from.id, to.id));
            }
        }
        let key = NamedExpression::Concat(vec![meta(MetaKey::Iifname), meta(MetaKey::Oifname)]);
        self.map("forward", vec![], Expression::Named(key), pairs);
    }

    /// The router's own traffic, if a rule denies any of it.
    fn output(&mut self) {
        // Nothing behind a rule that lets everything pass counts.
        let denies = |to| {
            let mut named = self.policy.rules.iter().filter(|rule| rule.covers(ZONE_SELF, to));
            let decisive = |rule: &&policy::Rule| rule.action != Action::Pass || rule.services.is_empty();
            named.find(decisive).is_some_and(|rule| rule.action != Action::Pass)
        };
        let denied: Vec<ZoneId> = self.policy.destinations().filter(|to| denies(*to)).collect();
        if denied.is_empty() {
            return;
        }
        self.base("output", NfChainType::Filter, NfHook::Output, 0);
        self.rule("output", vec![equals(meta(MetaKey::Oifname), text("lo")), accept()], None);
        let known = Expression::List(vec![text("established"), text("related")]);
        self.rule("output", vec![is_in(conntrack_state(), known), accept()], None);
        self.essentials("output", MetaKey::Oifname);
        if denied.contains(&ZONE_MULTICAST) {
            let devices: Vec<_> = self.policy.zones.iter().map(device).collect();
            let many = devices
                .iter()
                .map(|device| self.leads("output", device, ZONE_SELF, ZONE_MULTICAST))
                .collect();
            self.multicast_maps("output", MetaKey::Oifname, &many);
        } else {
            for destination in self.multicast_destinations() {
                self.rule("output", vec![destination, accept()], None);
            }
        }
        let zones: Vec<_> = self.policy.zones.iter().filter(|zone| denied.contains(&zone.id)).collect();
        let own =
            zones.into_iter().map(|zone| self.leads("output", &device(zone), ZONE_SELF, zone.id)).collect();
        self.map("output", vec![], meta(MetaKey::Oifname), own);
    }

    fn masquerade(&mut self) {
        let devices: Vec<_> = self.policy.zones.iter().filter(|zone| zone.masquerade).map(device).collect();
        if devices.is_empty() {
            return;
        }
        self.base("postrouting", NfChainType::NAT, NfHook::Postrouting, 100);
        let leaves = equals(meta(MetaKey::Oifname), one_of(devices));
        let v4 = equals(meta(MetaKey::Nfproto), text("ipv4"));
        self.rule("postrouting", vec![leaves, v4, Statement::Masquerade(None)], None);
    }

    /// Known connections pass; packets that belong to none and open none are dropped where a zone enforces.
    fn tracked(&mut self, chain: &str) {
        let known = Expression::List(vec![text("established"), text("related")]);
        self.rule(chain, vec![is_in(conntrack_state(), known), accept()], None);
        let enforcing = |zone: &&Zone| self.policy.mode.and(zone.mode) == Mode::Enforce;
        let devices: Vec<_> = self.policy.zones.iter().filter(enforcing).map(device).collect();
        if !devices.is_empty() {
            let invalid = is_in(conntrack_state(), text("invalid"));
            let ours = equals(meta(MetaKey::Iifname), one_of(devices));
            self.rule(chain, vec![invalid, ours, counter(), Statement::Drop(None)], Some("invalid"));
        }
    }

    /// What the links themselves need, as narrow as in `datapath`: a packet that is refused there must not slip
    /// through here. `side` is where the zone's device shows: in or out.
    fn essentials(&mut self, chain: &str, side: MetaKey) {
        // ND and RA never cross a router: their hop limit is still 255 (RFC 4861 §6.1, §7.1, §8.1).
        let discovery = equals(payload("icmpv6", "type"), range(133, 137));
        let fresh = equals(payload("ip6", "hoplimit"), Expression::Number(255));
        self.rule(chain, vec![discovery, fresh, accept()], None);
        // MLD (RFC 3810 §5) and IGMP (RFC 3376 §4) are not forwarded.
        let listeners = one_of([130, 131, 132, 143].map(Expression::Number).to_vec());
        let listeners = equals(payload("icmpv6", "type"), listeners);
        let near = equals(payload("ip6", "hoplimit"), Expression::Number(1));
        let sources = one_of(vec![text("::"), link_local()]);
        let on_link = equals(payload("ip6", "saddr"), sources);
        self.rule(chain, vec![listeners, near, on_link, accept()], None);
        let igmp = equals(payload("ip", "protocol"), text("igmp"));
        let near = equals(payload("ip", "ttl"), Expression::Number(1));
        let group = equals(payload("ip", "daddr"), prefix(IpNet::V4(V4_MULTICAST)));
        self.rule(chain, vec![igmp, near, group, accept()], None);
        // DHCP (RFC 2131, RFC 8415): inside the router is the server, outside the client.
        let incoming = side == MetaKey::Iifname;
        for wan in [false, true] {
            let devices: Vec<_> =
                self.policy.zones.iter().filter(|zone| zone.wan == wan).map(device).collect();
            if devices.is_empty() {
                continue;
            }
            let ours = equals(meta(side), one_of(devices));
            let to_server = incoming != wan;
            let port = |field, server: u32, client: u32| {
                let is_server = (field == "dport") == to_server;
                equals(payload("udp", field), Expression::Number(if is_server { server } else { client }))
            };
            let v4 = equals(meta(MetaKey::Nfproto), text("ipv4"));
            self.rule(
                chain,
                vec![ours.clone(), v4, port("sport", 67, 68), port("dport", 67, 68), accept()],
                None,
            );
            let on_link = equals(payload("ip6", "saddr"), link_local());
            self.rule(
                chain,
                vec![ours, on_link, port("sport", 547, 546), port("dport", 547, 546), accept()],
                None,
            );
        }
    }

    fn multicast_destinations(&self) -> Vec<Statement<'static>> {
        let (v4, v6): (Vec<_>, Vec<_>) =
            self.policy.multicast().into_iter().partition(|net| matches!(net, IpNet::V4(_)));
        [("ip", v4), ("ip6", v6)]
            .map(|(family, nets)| {
                equals(payload(family, "daddr"), one_of(nets.into_iter().map(prefix).collect()))
            })
            .to_vec()
    }

    fn multicast_maps(&mut self, chain: &str, side: MetaKey, many: &Mapping) {
        for destination in self.multicast_destinations() {
            self.map(chain, vec![destination], meta(side), many.clone());
        }
    }

    /// An element of a verdict map: to the pair's chain, which is made here, or straight to accept where no rule says
    /// anything and the default passes.
    fn leads(&mut self, hook: &str, key: &Expression<'static>, from: ZoneId, to: ZoneId) -> SetItem<'static> {
        let unnamed = !self.policy.rules.iter().any(|rule| rule.covers(from, to));
        if unnamed && self.policy.default_action(from, to) == Action::Pass {
            return SetItem::MappingStatement(key.clone(), accept());
        }
        let name = format!("{hook}.{}.{}", self.label(from), self.label(to));
        if !self.chains.iter().any(|chain| chain.name == name) {
            self.pair(&name, from, to);
        }
        SetItem::MappingStatement(key.clone(), goto(&name))
    }

    /// The chain of a zone pair: its rules in the order of the file, then the default.
    fn pair(&mut self, name: &str, from: ZoneId, to: ZoneId) {
        self.chain(name);
        let zone_mode = self.policy.zone(from).map_or(Mode::Enforce, |zone| zone.mode);
        let part_mode = self.policy.mode.and(zone_mode);
        let policy = self.policy;
        for rule in policy.rules.iter().filter(|rule| rule.covers(from, to)) {
            // The multicast exception of the slow reference holds here as well.
            let action = match rule.action {
                Action::Reject if to == ZONE_MULTICAST => Action::Drop,
                Action::Pass | Action::Drop | Action::Reject => rule.action,
            };
            let (verdict, observed) = carried_out(action, part_mode.and(rule.mode));
            let comment = format!("rule {}{observed}", rule.id);
            if rule.services.is_empty() {
                self.rule(name, vec![counter(), verdict], Some(&comment));
                return;
            }
            let matches: Vec<ServiceMatch> =
                rule.services.iter().flat_map(|service| service.matches.iter().copied()).collect();
            for mut statements in match_statements(&matches) {
                statements.extend([counter(), verdict.clone()]);
                self.rule(name, statements, Some(&comment));
            }
        }
        let (verdict, observed) = carried_out(policy.default_action(from, to), part_mode);
        self.rule(name, vec![counter(), verdict], Some(&format!("default{observed}")));
    }

    /// A zone in the name of a chain: its name if nftables can hold it, else its number, which no name can equal.
    fn label(&self, zone: ZoneId) -> String {
        let name = self.policy.zone_name(zone);
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if plain && (1..=40).contains(&name.len()) { name.to_owned() } else { format!("zone.{zone}") }
    }

    fn chain(&mut self, name: &str) {
        self.chains.push(Chain {
            family: NfFamily::INet,
            table: TABLE.into(),
            name: owned(name),
            ..Chain::default()
        });
    }

    fn base(&mut self, name: &str, kind: NfChainType, hook: NfHook, priority: i32) {
        self.chains.push(Chain {
            family: NfFamily::INet,
            table: TABLE.into(),
            name: owned(name),
            _type: Some(kind),
            hook: Some(hook),
            prio: Some(priority),
            policy: Some(NfChainPolicy::Accept),
            ..Chain::default()
        });
    }

    fn rule(&mut self, chain: &str, statements: Vec<Statement<'static>>, comment: Option<&str>) {
        self.rules.push(Rule {
            family: NfFamily::INet,
            table: TABLE.into(),
            chain: owned(chain),
            expr: statements.into(),
            comment: comment.map(owned),
            ..Rule::default()
        });
    }

    /// A rule that ends in a verdict map; none if the map would be empty.
    fn map(
        &mut self,
        chain: &str,
        mut statements: Vec<Statement<'static>>,
        key: Expression<'static>,
        data: Mapping,
    ) {
        if !data.is_empty() {
            let data = Expression::Named(NamedExpression::Set(data));
            statements.push(Statement::VerdictMap(VerdictMap { key, data }));
            self.rule(chain, statements, None);
        }
    }

    /// Adding before deleting makes the deletion succeed where there was no table.
    fn into_transaction(self) -> Nftables<'static> {
        let mut batch = Batch::new();
        batch.add(NfListObject::Table(table()));
        batch.delete(NfListObject::Table(table()));
        batch.add(NfListObject::Table(table()));
        for chain in self.chains {
            batch.add(NfListObject::Chain(chain));
        }
        for rule in self.rules {
            batch.add(NfListObject::Rule(rule));
        }
        batch.to_nftables()
    }
}

/// What a rule's action does in this mode, and what the comment says about it.
fn carried_out(action: Action, mode: Mode) -> (Statement<'static>, &'static str) {
    match (action, mode) {
        (Action::Pass, Mode::Observe | Mode::Enforce) => (accept(), ""),
        (Action::Drop | Action::Reject, Mode::Observe) => (accept(), " observed"),
        (Action::Drop, Mode::Enforce) => (Statement::Drop(None), ""),
        (Action::Reject, Mode::Enforce) => (goto(REFUSE), ""),
    }
}

/// The statements that match any of a rule's protocols and ports, as few nft rules as possible.
fn match_statements(matches: &[ServiceMatch]) -> Vec<Vec<Statement<'static>>> {
    let mut by_protocol: BTreeMap<Protocol, Vec<(u16, u16)>> = BTreeMap::new();
    for matched in matches {
        by_protocol.entry(matched.protocol).or_default().push((matched.ports.first, matched.ports.last));
    }
    let (mut whole, mut rules) = (Vec::new(), Vec::new());
    for (protocol, ranges) in by_protocol {
        let ranges = merged(ranges);
        if !has_ports(protocol) || ranges == [(0, u16::MAX)] {
            whole.push(Expression::Number(u32::from(protocol.0)));
        } else if protocol == Protocol::TCP || protocol == Protocol::UDP {
            let name = if protocol == Protocol::TCP { "tcp" } else { "udp" };
            let ports = ranges.into_iter().map(|(first, last)| range(first, last)).collect();
            rules.push(vec![equals(payload(name, "dport"), one_of(ports))]);
        } else {
            let name = if protocol == Protocol::ICMP { "icmp" } else { "icmpv6" };
            rules.extend(icmp_statements(name, &ranges));
        }
    }
    if !whole.is_empty() {
        rules.push(vec![equals(meta(MetaKey::L4proto), one_of(whole))]);
    }
    rules
}

/// ICMP ranges over type * 256 + code: whole types in one rule, parts of a type in one each.
fn icmp_statements(name: &'static str, ranges: &[(u16, u16)]) -> Vec<Vec<Statement<'static>>> {
    let (mut types, mut rules) = (Vec::new(), Vec::new());
    for &(first, last) in ranges {
        let ([first_type, first_code], [last_type, last_code]) = (first.to_be_bytes(), last.to_be_bytes());
        for kind in first_type..=last_type {
            let from = if kind == first_type { first_code } else { 0 };
            let to = if kind == last_type { last_code } else { u8::MAX };
            if (from, to) == (0, u8::MAX) {
                types.push((u16::from(kind), u16::from(kind)));
            } else {
                let kind = equals(payload(name, "type"), Expression::Number(u32::from(kind)));
                let codes = one_of(vec![range(u16::from(from), u16::from(to))]);
                rules.push(vec![kind, equals(payload(name, "code"), codes)]);
            }
        }
    }
    if !types.is_empty() {
        let types = merged(types).into_iter().map(|(first, last)| range(first, last)).collect();
        rules.insert(0, vec![equals(payload(name, "type"), one_of(types))]);
    }
    rules
}

/// Sorted, with ranges that touch or overlap made one: nft refuses sets whose intervals overlap.
fn merged(mut ranges: Vec<(u16, u16)>) -> Vec<(u16, u16)> {
    ranges.retain(|(first, last)| first <= last);
    ranges.sort_unstable();
    let mut merged: Vec<(u16, u16)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(before) if u32::from(first) <= u32::from(before.1) + 1 => before.1 = before.1.max(last),
            Some(_) | None => merged.push((first, last)),
        }
    }
    merged
}

fn table() -> Table<'static> {
    Table { family: NfFamily::INet, name: TABLE.into(), handle: None }
}

const V4_MULTICAST: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 4);

/// RFC 4291 §2.5.6.
fn link_local() -> Expression<'static> {
    prefix(IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10)))
}

fn owned(text: &str) -> Cow<'static, str> {
    Cow::Owned(text.to_owned())
}

fn text(text: &str) -> Expression<'static> {
    Expression::String(owned(text))
}

fn device(zone: &Zone) -> Expression<'static> {
    text(&zone.device)
}

fn meta(key: MetaKey) -> Expression<'static> {
    Expression::Named(NamedExpression::Meta(Meta { key }))
}

fn conntrack_state() -> Expression<'static> {
    Expression::Named(NamedExpression::CT(CT { key: "state".into(), family: None, dir: None }))
}

fn payload(protocol: &'static str, field: &'static str) -> Expression<'static> {
    let field = PayloadField { protocol: protocol.into(), field: field.into() };
    Expression::Named(NamedExpression::Payload(Payload::PayloadField(field)))
}

fn range(first: u16, last: u16) -> Expression<'static> {
    if first == last {
        return Expression::Number(u32::from(first));
    }
    let range = [first, last].map(|port| Expression::Number(u32::from(port)));
    Expression::Range(Box::new(Range { range }))
}

fn prefix(net: IpNet) -> Expression<'static> {
    if net.prefix_len() == net.max_prefix_len() {
        return text(&net.addr().to_string());
    }
    let addr = Box::new(text(&net.addr().to_string()));
    Expression::Named(NamedExpression::Prefix(Prefix { addr, len: u32::from(net.prefix_len()) }))
}

/// A set, or its only element as it is.
fn one_of(mut elements: Vec<Expression<'static>>) -> Expression<'static> {
    match elements.pop() {
        Some(only) if elements.is_empty() => only,
        last => {
            let items = elements.into_iter().chain(last).map(SetItem::Element).collect();
            Expression::Named(NamedExpression::Set(items))
        }
    }
}

fn equals(left: Expression<'static>, right: Expression<'static>) -> Statement<'static> {
    Statement::Match(Match { left, right, op: Operator::EQ })
}

fn is_in(left: Expression<'static>, right: Expression<'static>) -> Statement<'static> {
    Statement::Match(Match { left, right, op: Operator::IN })
}

fn accept() -> Statement<'static> {
    Statement::Accept(None)
}

fn goto(chain: &str) -> Statement<'static> {
    Statement::Goto(JumpTarget { target: owned(chain) })
}

fn counter() -> Statement<'static> {
    Statement::Counter(Counter::Anonymous(None))
}

fn reject(kind: RejectType, code: Option<RejectCode>) -> Statement<'static> {
    Statement::Reject(Some(Reject::new(Some(kind), code)))
}
