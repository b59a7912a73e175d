//! What changes packets or follows them: forwards with hairpin, masquerade, MSS clamping, helpers, the SYN proxy.

use abi::{ZONE_SELF, ZoneId};
use model::Protocol;
use nftables::{
    expr::{Expression, Map, MetaKey, NamedExpression, RT, RTKey, SetItem, TcpOption},
    schema::CTHelper,
    stmt::{Mangle, NAT, NATFamily, Statement, SynProxy},
    types::{NfChainType, NfFamily, NfHook, SynProxyFlag},
};
use policy::{Forward, HELPERS, ServiceMatch, Zone};
use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::{
    pairs::{Port, match_statements, merged},
    render::{Mapping, Rendering},
    sides::Field,
    spans::Family,
    syntax::{
        accept, concat, conntrack, counter, device, differs, equals, is_in, meta, number, one_of, owned,
        payload, range, tcp_flags, text, to_the_router,
    },
    transaction::TABLE,
};

/// What the SYN proxy tells everyone before it knows the server: the segment size of Ethernet, a window of 16 MiB at
/// most.
const PROVEN_SEGMENT: u32 = 1460;
const PROVEN_SCALE: u32 = 8;
/// Chain of the SYN proxy.
const PROVE: &str = "prove";

impl Rendering<'_> {
    /// The forwards that are reached from a zone, as the first of the rules for what is meant for the router.
    pub(super) fn forwards_in(&mut self, name: &str, from: ZoneId, to: ZoneId) {
        if to != ZONE_SELF {
            return;
        }
        let policy = self.policy;
        for (place, forward) in policy.forwards.iter().enumerate() {
            let comment = format!("forward {}", policy.forward_id(place));
            for mut statements in self.asks_for(forward, from) {
                statements.extend([counter(), self.passes()]);
                self.rule(name, statements, Some(&comment));
            }
        }
    }

    /// Matches of what comes from a zone and asks for a forward, by its outer addresses; none where that zone may not.
    fn asks_for(&mut self, forward: &Forward, from: ZoneId) -> Vec<Vec<Statement<'static>>> {
        let policy = self.policy;
        let family = Family::of(forward.to);
        let sources: &[u16] = match from == forward.from {
            true => &forward.sources,
            false if policy.hairpin_zones(forward).any(|zone| zone.id == from) => &[],
            false => return Vec::new(),
        };
        let Some(zone) = policy.zone(forward.from) else { return Vec::new() };
        let outer = self.sets.at_home(zone, family, Field::Destination);
        let ways = self.sets.sources(sources, from).into_iter();
        let ways: Vec<_> = ways.filter(|way| way.family.is_none_or(|of| of == family)).collect();
        let mut matched = Vec::new();
        for way in ways {
            for service in match_statements(&forward.services, Some(family), Port::Destination) {
                let of_family = equals(meta(MetaKey::Nfproto), text(family.protocol()));
                let statements = [of_family].into_iter().chain(outer.clone());
                matched.push(statements.chain(way.statements.iter().cloned()).chain(service).collect());
            }
        }
        matched
    }

    /// Forwards where packets come in; masquerade where they leave, also for hosts that reach one of their own zone by
    /// the outer address, since the answer would go to them directly.
    pub(super) fn translation(&mut self) {
        let policy = self.policy;
        if !policy.forwards.is_empty() {
            self.base("translation", NfChainType::NAT, NfHook::Prerouting, -100);
            for forward in &policy.forwards {
                self.translate(forward);
            }
            // What the SYN proxy sends on for those that have proven themselves starts at the router.
            let is_flooded = |zone: &ZoneId| self.options.flooded.contains(zone);
            if policy
                .forwards
                .iter()
                .any(|forward| policy.reached_from(forward).any(|zone| is_flooded(&zone)))
            {
                self.base("translation.proven", NfChainType::NAT, NfHook::Output, -100);
                for forward in &policy.forwards {
                    self.translate_proven(forward);
                }
            }
        }
        let leaving: Vec<_> = policy.zones.iter().filter(|zone| zone.masquerade).map(device).collect();
        let hairpins: Vec<(&Zone, &Forward)> = policy
            .forwards
            .iter()
            .filter_map(|forward| Some((policy.zone_of(forward.to)?, forward)))
            .filter(|(zone, forward)| {
                zone.id == forward.from || policy.hairpin_zones(forward).any(|other| other.id == zone.id)
            })
            .collect();
        if leaving.is_empty() && hairpins.is_empty() {
            return;
        }
        self.base("leaving", NfChainType::NAT, NfHook::Postrouting, 100);
        for (zone, forward) in hairpins {
            let (host, family) = (forward.to.to_string(), Family::of(forward.to));
            // By address: what a bridge carries on has no incoming device here.
            let Some(at_home) = self.sets.at_home(zone, family, Field::Source) else { continue };
            let within = [equals(meta(MetaKey::Oifname), device(zone)), at_home];
            let translated = is_in(conntrack("status"), text("dnat"));
            let there = equals(payload(family.header(), "daddr"), text(&host));
            let statements =
                within.into_iter().chain([translated, there, Statement::Masquerade(None)]).collect();
            self.rule("leaving", statements, None);
        }
        if !leaving.is_empty() {
            let leaves = equals(meta(MetaKey::Oifname), one_of(leaving));
            let v4 = equals(meta(MetaKey::Nfproto), text("ipv4"));
            self.rule("leaving", vec![leaves, v4, Statement::Masquerade(None)], None);
        }
    }

    /// The translation of a forward where packets come in.
    fn translate(&mut self, forward: &Forward) {
        let policy = self.policy;
        // Zones that are asked alike share their rules.
        let mut alike: BTreeMap<(bool, bool), Vec<ZoneId>> = BTreeMap::new();
        for zone in policy.reached_from(forward) {
            let flooded = self.options.flooded.contains(&zone);
            alike.entry((zone == forward.from, flooded)).or_default().push(zone);
        }
        for ((_, flooded), zones) in alike {
            let devices = zones.iter().filter_map(|zone| policy.zone(*zone)).map(device).collect();
            let first = vec![equals(meta(MetaKey::Iifname), one_of(devices)), to_the_router()];
            // What has not proven itself is answered by the proxy under the outer address, and translated behind it.
            let at_once = |matched: &ServiceMatch| !(flooded && matched.protocol == Protocol::TCP);
            self.translated("translation", forward, zones[0], &first, at_once);
        }
    }

    /// The translation of a forward where what the SYN proxy sends on leaves the router: it has the address of the
    /// client, and no device it came in by.
    fn translate_proven(&mut self, forward: &Forward) {
        let policy = self.policy;
        let flooded: Vec<ZoneId> = policy.reached_from(forward).collect();
        for id in flooded.into_iter().filter(|zone| self.options.flooded.contains(zone)) {
            let Some(zone) = policy.zone(id) else { continue };
            let mut first = vec![foreign_source(), to_the_router()];
            first.extend(self.sets.at_home(zone, Family::of(forward.to), Field::Source));
            let is_tcp = |matched: &ServiceMatch| matched.protocol == Protocol::TCP;
            self.translated("translation.proven", forward, id, &first, is_tcp);
        }
    }

    /// The rules by which a forward leads inside, for those of its services and what is asked from this zone.
    fn translated(
        &mut self,
        chain: &str,
        forward: &Forward,
        from: ZoneId,
        first: &[Statement<'static>],
        of: impl Fn(&ServiceMatch) -> bool,
    ) {
        for matched in forward.services.iter().filter(|matched| of(matched)) {
            let one = Forward { services: vec![*matched], ..forward.clone() };
            for asked in self.asks_for(&one, from) {
                let target = Statement::DNAT(Some(target(forward, *matched)));
                let statements = first.iter().cloned().chain(asked).chain([target]).collect();
                self.rule(chain, statements, None);
            }
        }
    }

    /// TCP keeps to segments that the path of these zones carries, both ways.
    pub(super) fn clamping(&mut self) {
        for (place, side) in [MetaKey::Iifname, MetaKey::Oifname].into_iter().enumerate() {
            let Some(devices) = self.devices_of(side, |zone| zone.clamp_mss) else { return };
            if place == 0 {
                self.base("clamping", NfChainType::Filter, NfHook::Forward, -150);
            }
            let opens = equals(tcp_flags(&["syn", "rst"]), text("syn"));
            let option = TcpOption { name: "maxseg".into(), field: Some("size".into()) };
            let key = Expression::Named(NamedExpression::TcpOption(option));
            let value = Expression::Named(NamedExpression::RT(RT { key: RTKey::MTU, family: None }));
            let clamp = Statement::Mangle(Mangle { key, value });
            self.rule("clamping", vec![devices, opens, clamp], None);
        }
    }

    /// Conntrack follows the further connections of services whose rule is called so. Who may connect at all is not
    /// said here: what the rules deny has no further connections.
    pub(super) fn assign_helpers(&mut self, chain: &str) {
        if self.options.no_helpers {
            return;
        }
        let policy = self.policy;
        let followed = policy.followed();
        for helper in HELPERS {
            for protocol in helper.asked {
                let mut asked: BTreeMap<ZoneId, BTreeSet<(u16, u16)>> = BTreeMap::new();
                for followed in followed.iter().filter(|followed| followed.helper == helper) {
                    let matches = followed.matches.iter().filter(|matched| matched.protocol == *protocol);
                    let ports: Vec<_> =
                        matches.map(|matched| (matched.ports.first, matched.ports.last)).collect();
                    for zone in followed.from.iter().filter(|_| !ports.is_empty()) {
                        asked.entry(*zone).or_default().extend(&ports);
                    }
                }
                if asked.is_empty() {
                    continue;
                }
                let name = if *protocol == Protocol::UDP { "udp" } else { "tcp" };
                let object = format!("{}-{name}", helper.name);
                self.helpers.push(CTHelper {
                    family: NfFamily::INet,
                    table: TABLE.into(),
                    name: owned(&object),
                    handle: None,
                    _type: helper.name.into(),
                    protocol: Some(name.into()),
                    l3proto: None,
                });
                for (zone, ports) in asked {
                    let Some(zone) = policy.zone(zone) else { continue };
                    let from = equals(meta(MetaKey::Iifname), device(zone));
                    let ports = merged(ports.into_iter().collect());
                    let ports = one_of(ports.into_iter().map(|(first, last)| range(first, last)).collect());
                    let ports = equals(payload(name, "dport"), ports);
                    self.rule(chain, vec![from, ports, Statement::CTHelper(owned(&object))], None);
                }
            }
        }
    }

    /// TCP that opens from a flooded zone is not remembered until it has proven its source: the proxy answers for the
    /// server, and only who answers back reaches it.
    ///
    /// Connections that were opened so need the proxy to their end (their timestamps are shifted), and the kernel's half
    /// of it is there as long as a rule names it: then the chain stays, though nothing leads to it.
    pub(super) fn flood(&mut self) {
        let flooded = self.options.flooded.clone();
        let ours = self.devices_of(MetaKey::Iifname, |zone| flooded.contains(&zone.id));
        if ours.is_none() && !self.options.keeps_proven {
            return;
        }
        self.chain(PROVE);
        let flags = HashSet::from([SynProxyFlag::Timestamp, SynProxyFlag::SackPerm]);
        let proxy = SynProxy { mss: Some(PROVEN_SEGMENT), wscale: Some(PROVEN_SCALE), flags: Some(flags) };
        let tcp = equals(meta(MetaKey::L4proto), text("tcp"));
        self.rule(PROVE, vec![tcp, Statement::SynProxy(proxy)], None);
        self.rule(PROVE, vec![Statement::Drop(None)], None);
        if let Some(ours) = ours {
            self.base("flood", NfChainType::Filter, NfHook::Prerouting, -300);
            let opens = equals(tcp_flags(&["fin", "syn", "rst", "ack"]), text("syn"));
            self.rule("flood", vec![ours, opens, Statement::Notrack], None);
        }
    }

    /// Where packets are taken in or forwarded: openings of flooded zones are judged, and what would pass is proven.
    pub(super) fn proving(&mut self, chain: &'static str) {
        let policy = self.policy;
        let flooded: Vec<&Zone> =
            policy.zones.iter().filter(|zone| self.options.flooded.contains(&zone.id)).collect();
        if flooded.is_empty() {
            return;
        }
        self.proves = true;
        let mut maps = Mapping::new();
        for from in flooded {
            if chain == "input" {
                maps.push(self.leads("prove", &device(from), from.id, ZONE_SELF));
            }
            for to in policy.zones.iter().filter(|_| chain == "forward") {
                let key = concat([device(from), device(to)]);
                maps.push(self.leads("prove", &key, from.id, to.id));
            }
        }
        self.proves = false;
        let key = match chain {
            "input" => meta(MetaKey::Iifname),
            _ => concat([meta(MetaKey::Iifname), meta(MetaKey::Oifname)]),
        };
        let unknown = Expression::List(["new", "untracked", "invalid"].map(text).to_vec());
        let tcp = equals(meta(MetaKey::L4proto), text("tcp"));
        self.map(chain, vec![is_in(conntrack("state"), unknown), tcp], key, maps);
    }

    /// The verdict of what may pass.
    pub(super) fn passes(&self) -> Statement<'static> {
        if self.proves { self.goto(PROVE) } else { accept() }
    }
}

/// The source is not the router itself.
fn foreign_source() -> Statement<'static> {
    use nftables::expr::{Fib, FibFlag, FibResult};
    let fib = Fib { result: FibResult::Type, flags: HashSet::from([FibFlag::Saddr]) };
    differs(Expression::Named(NamedExpression::Fib(fib)), text("local"))
}

/// Where a forward leads: the host, and its port where that is another one.
fn target(forward: &Forward, matched: ServiceMatch) -> NAT<'static> {
    let (first, last) = (matched.ports.first, matched.ports.last);
    let port = forward.port.filter(|port| *port != first).map(|port| {
        if first == last {
            return number(port);
        }
        let name = if matched.protocol == Protocol::UDP { "udp" } else { "tcp" };
        let pairs = (first..=last).zip(port..=u16::MAX);
        let data = pairs.map(|(outer, inner)| SetItem::Mapping(number(outer), number(inner))).collect();
        let data = Expression::Named(NamedExpression::Set(data));
        Expression::Named(NamedExpression::Map(Box::new(Map { key: payload(name, "dport"), data })))
    });
    let family = match Family::of(forward.to) {
        Family::V4 => NATFamily::IP,
        Family::V6 => NATFamily::IP6,
    };
    NAT { addr: Some(text(&forward.to.to_string())), family: Some(family), port, flags: None }
}
