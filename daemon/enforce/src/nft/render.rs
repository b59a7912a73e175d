//! From policy to an nftables ruleset. Pure: what is written here is what the tests read.
//!
//! Every pair of zones gets a chain of its own with the rules that can hold between them, so a packet walks one verdict
//! map and a few rules. Bans, and lists that no rule names, are not repeated here; they hold in front of this wall.

use abi::{ZONE_MULTICAST, ZONE_SELF, ZoneId};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use model::{Action, Mode};
use nftables::{
    expr::{Expression, MetaKey, NamedExpression, SetItem},
    schema::CTHelper,
    stmt::{Mangle, RejectType, Statement, VerdictMap},
    types::{NfChainType, NfHook, RejectCode},
};
use policy::{Policy, Zone};
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
};

use super::{
    command::NftError,
    sides::Sets,
    spans::Family,
    syntax::{
        accept, concat, conntrack, counter, device, differs, equals, goto, is_in, jump, meta, one_of,
        payload, prefix, range, reject, text, to_the_router,
    },
    transaction::{Base, MAX_ELEMENTS, MAX_STATEMENTS, Ruleset, rule},
};

/// Chain that answers a refused packet.
pub(super) const REFUSE: &str = "refuse";
/// Label that a connection has whose opening was judged as it came in, before any table changed where it goes. One of
/// the last of 128, since people count from the first.
pub(super) const JUDGED: u32 = 120;

/// What goes into a ruleset beside the policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Zones whose TCP openings are answered by a SYN proxy until they have proven their source.
    pub flooded: Vec<ZoneId>,
    /// There may be connections that the SYN proxy opened; [`super::Wall`] sees to this by itself.
    pub keeps_proven: bool,
    /// Connection tracking helpers (FTP, SIP) are left out: this kernel has none.
    pub no_helpers: bool,
}

/// Renders the second wall of a policy.
///
/// - Connections that conntrack knows pass first; packets it calls invalid are dropped on interfaces of zones that
///   enforce, but for TCP of zones that are `loose`.
/// - What is meant for the router, for multicast or broadcast is judged as it comes in, before destination NAT, as the
///   packet path judges it. So ports that containers publish, and forwards, are asked for by the port of the router.
/// - New flows from sources that are not at home where they come from are dropped (zones with `anti_spoof`).
/// - A verdict map by incoming and outgoing device leads to the chain of the zone pair. Its rules carry the comment
///   `rule N` and a counter, its end the comment `default`.
/// - What comes from an interface of no zone passes here: on a router that existed before, other tables rule it. What
///   goes to one from a zone goes where the packet path thinks it goes: outside.
/// - ICMPv6 neighbour and router discovery, MLD, IGMP, DHCP on their links and loopback pass.
/// - The router's own traffic is judged only where a rule that names it denies something.
/// - A rule that lets flows pass to domains lets them pass to every address outside here, and one that stops them stops
///   none: the packet path knows what was answered, and leaves nothing it denies there to this wall.
/// - Questions to resolvers outside are dropped, or led to the router's own, where the zone says so.
/// - In observe mode (of the whole, a zone or a rule) what would be denied is counted and passes.
///
/// # Errors
/// [`NftError::TooMany`] where it would be too large for nft to take in time.
pub fn render(policy: &Policy, options: &Options) -> Result<Ruleset, NftError> {
    render_as(policy, options, "")
}

/// The same with names that begin with `prefix`.
pub(super) fn render_as(
    policy: &Policy,
    options: &Options,
    prefix: &'static str,
) -> Result<Ruleset, NftError> {
    let mut wall = Rendering::new(policy, options, prefix);
    wall.refuse();
    wall.limits();
    wall.flood();
    wall.arrivals();
    wall.input();
    wall.forward();
    wall.output();
    wall.translation();
    wall.redirect();
    wall.clamping();
    wall.finished()
}

/// A generation in the making.
pub(super) struct Rendering<'a> {
    pub(super) policy: &'a Policy,
    pub(super) options: &'a Options,
    pub(super) prefix: &'static str,
    pub(super) sets: Sets<'a>,
    pub(super) helpers: Vec<CTHelper<'static>>,
    pub(super) ruleset: Ruleset,
    /// Whether there is a chain, by its name.
    pub(super) made: BTreeMap<String, bool>,
    /// What would pass is proven by the SYN proxy first.
    pub(super) proves: bool,
}

pub(super) type Mapping = Vec<SetItem<'static>>;

impl<'a> Rendering<'a> {
    pub(super) fn new(policy: &'a Policy, options: &'a Options, prefix: &'static str) -> Self {
        let (helpers, ruleset, made) = (Vec::new(), Ruleset::default(), BTreeMap::new());
        Self {
            policy,
            options,
            prefix,
            sets: Sets::new(policy, prefix),
            helpers,
            ruleset,
            made,
            proves: false,
        }
    }

    fn refuse(&mut self) {
        self.chain(REFUSE);
        let tcp = equals(meta(MetaKey::L4proto), text("tcp"));
        self.rule(REFUSE, vec![tcp, reject(RejectType::TCPReset, None)], None);
        let prohibited = reject(RejectType::ICMPX, Some(RejectCode::AdminProhibited));
        self.rule(REFUSE, vec![prohibited], None);
    }

    /// What is meant for the router itself or for many, as it arrives: before any table, ours or another, sends it
    /// elsewhere.
    fn arrivals(&mut self) {
        self.base("arrivals", NfChainType::Filter, NfHook::Prerouting, -110);
        self.rule("arrivals", vec![differs(conntrack("state"), text("new")), accept()], None);
        self.assign_helpers("arrivals");
        self.essentials("arrivals", MetaKey::Iifname);
        self.forged("arrivals");
        // The proxy answers only where a packet is taken in or forwarded.
        let unproven = self.options.flooded.clone();
        let tcp = equals(meta(MetaKey::L4proto), text("tcp"));
        if let Some(ours) = self.devices_of(MetaKey::Iifname, |zone| unproven.contains(&zone.id)) {
            self.rule("arrivals", vec![ours, tcp, accept()], None);
        }
        let label = Statement::Mangle(Mangle { key: conntrack("label"), value: Expression::Number(JUDGED) });
        if let Some(ours) = self.devices_of(MetaKey::Iifname, |_| true) {
            for destination in self.multicast_destinations().into_iter().chain([to_the_router()]) {
                self.rule("arrivals", vec![ours.clone(), destination, label.clone()], None);
            }
        }
        self.redirected_arrivals("arrivals", &label);
        let (many, own) = self.own_maps();
        self.multicast_maps("arrivals", MetaKey::Iifname, &many);
        self.map("arrivals", vec![to_the_router()], meta(MetaKey::Iifname), own);
    }

    /// New flows whose source cannot be where they come from. XDP is not always there to say so.
    fn forged(&mut self, chain: &str) {
        let policy = self.policy;
        for zone in policy.zones.iter().filter(|zone| zone.anti_spoof) {
            let enforces = self.mode_of(zone.id) == Mode::Enforce;
            for family in Family::BOTH {
                let Some(abroad) = self.sets.abroad(zone, family) else { continue };
                let mut statements = vec![equals(meta(MetaKey::Iifname), device(zone)), abroad, counter()];
                statements.extend(enforces.then_some(Statement::Drop(None)));
                let comment = if enforces { "spoofed" } else { "spoofed observed" };
                self.rule(chain, statements, Some(comment));
            }
        }
    }

    /// What other tables made to be for the router, and what conntrack does not follow.
    fn input(&mut self) {
        self.base("input", NfChainType::Filter, NfHook::Input, 0);
        self.rule("input", vec![equals(meta(MetaKey::Iifname), text("lo")), accept()], None);
        self.proving("input");
        self.tracked("input");
        self.rule("input", vec![judged(), accept()], None);
        self.essentials("input", MetaKey::Iifname);
        let (many, own) = self.own_maps();
        self.multicast_maps("input", MetaKey::Iifname, &many);
        self.map("input", vec![], meta(MetaKey::Iifname), own);
    }

    fn own_maps(&mut self) -> (Mapping, Mapping) {
        let (mut many, mut own) = (Mapping::new(), Mapping::new());
        for zone in &self.policy.zones {
            many.push(self.leads("input", &device(zone), zone.id, ZONE_MULTICAST));
            own.push(self.leads("input", &device(zone), zone.id, ZONE_SELF));
        }
        (many, own)
    }

    /// What goes from one zone to another, or within one.
    fn forward(&mut self) {
        self.base("forward", NfChainType::Filter, NfHook::Forward, 0);
        self.proving("forward");
        self.tracked("forward");
        self.rule("forward", vec![judged(), accept()], None);
        self.half_seen();
        let mut pairs = Mapping::new();
        for from in &self.policy.zones {
            for to in &self.policy.zones {
                let key = concat([text(&from.device), text(&to.device)]);
                pairs.push(self.leads("forward", &key, from.id, to.id));
            }
        }
        let key = concat([meta(MetaKey::Iifname), meta(MetaKey::Oifname)]);
        self.map("forward", vec![], key, pairs);
        let outside = self.policy.zones.iter().find(|zone| zone.wan).map_or(abi::ZONE_NONE, |zone| zone.id);
        let elsewhere = self
            .policy
            .zones
            .iter()
            .map(|from| self.leads("forward", &device(from), from.id, outside))
            .collect();
        self.map("forward", vec![], meta(MetaKey::Iifname), elsewhere);
    }

    /// TCP of which only one way is seen, where a zone says so: an answer passes where its opening would have. What
    /// comes back from here is judged as if it were an opening.
    fn half_seen(&mut self) {
        let mut pairs = Mapping::new();
        for from in &self.policy.zones {
            for to in self.policy.zones.iter().filter(|to| from.loose || to.loose) {
                if let Some(chain) = self.backwards(from.id, to.id) {
                    let key = concat([text(&from.device), text(&to.device)]);
                    pairs.push(SetItem::MappingStatement(key, jump(&chain)));
                }
            }
        }
        let opens = super::syntax::tcp_flags(&["syn", "ack"]);
        let key = concat([meta(MetaKey::Iifname), meta(MetaKey::Oifname)]);
        self.map("forward", vec![differs(opens, text("syn"))], key, pairs);
    }

    /// The router's own traffic, if a rule denies any of it.
    fn output(&mut self) {
        let destinations: Vec<ZoneId> = self.policy.destinations().collect();
        let denied: Vec<ZoneId> = destinations.into_iter().filter(|to| self.denies_own(*to)).collect();
        if denied.is_empty() {
            return;
        }
        self.base("output", NfChainType::Filter, NfHook::Output, 0);
        self.rule("output", vec![equals(meta(MetaKey::Oifname), text("lo")), accept()], None);
        self.rule("output", vec![known(), accept()], None);
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

    /// Whether a rule denies the router something there. Nothing behind a rule that lets everything pass counts.
    fn denies_own(&self, to: ZoneId) -> bool {
        let mut named = self.policy.rules.iter().filter(|rule| !rule.goes_on && rule.covers(ZONE_SELF, to));
        let decisive = |rule: &&policy::Rule| {
            let every = rule.services.is_empty() && rule.from.contains(ZONE_SELF) && rule.to.contains(to);
            rule.action != Action::Pass || rule.limit.is_some() || every
        };
        named.find(decisive).is_some_and(|rule| rule.action != Action::Pass || rule.limit.is_some())
    }

    /// Known connections pass; packets that belong to none and open none are dropped where a zone enforces.
    fn tracked(&mut self, chain: &str) {
        self.rule(chain, vec![known(), accept()], None);
        let enforcing = |zone: &Zone| self.policy.mode.and(zone.mode) == Mode::Enforce;
        let (loose, strict): (Vec<_>, Vec<_>) =
            self.policy.zones.iter().filter(|zone| enforcing(zone)).partition(|zone| zone.loose);
        let invalid = is_in(conntrack("state"), text("invalid"));
        let dropped = |mut statements: Vec<Statement<'static>>| {
            statements.extend([counter(), Statement::Drop(None)]);
            statements
        };
        let devices = |zones: &[&Zone]| one_of(zones.iter().map(|zone| device(zone)).collect());
        // Invalid packets go out untranslated, so nothing loosens what leaves by masquerade.
        let may_leave: Vec<_> =
            self.policy.zones.iter().filter(|zone| zone.loose && !zone.masquerade).map(device).collect();
        if !strict.is_empty() {
            let mut statements = vec![invalid.clone(), equals(meta(MetaKey::Iifname), devices(&strict))];
            if chain == "forward" && !may_leave.is_empty() {
                let other = differs(meta(MetaKey::L4proto), text("tcp"));
                let mut all = statements.clone();
                all.push(other);
                self.rule(chain, dropped(all), Some("invalid"));
                statements.push(differs(meta(MetaKey::Oifname), one_of(may_leave)));
            }
            self.rule(chain, dropped(statements), Some("invalid"));
        }
        if !loose.is_empty() {
            let ours = equals(meta(MetaKey::Iifname), devices(&loose));
            let other = differs(meta(MetaKey::L4proto), text("tcp"));
            self.rule(chain, dropped(vec![invalid.clone(), ours.clone(), other]), Some("invalid"));
            let hidden: Vec<_> =
                self.policy.zones.iter().filter(|zone| zone.masquerade).map(device).collect();
            if chain == "forward" && !hidden.is_empty() {
                let leaves = equals(meta(MetaKey::Oifname), one_of(hidden));
                self.rule(chain, dropped(vec![invalid, ours, leaves]), Some("invalid"));
            }
        }
    }

    /// What the links themselves need, as narrow as in `datapath`: a packet that is refused there must not slip
    /// through here. `side` is where the zone's device shows: in or out.
    pub(super) fn essentials(&mut self, chain: &str, side: MetaKey) {
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
            let Some(ours) = self.devices_of(side, |zone| zone.wan == wan) else { continue };
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

    /// A match of the devices of these zones; none if there are none.
    pub(super) fn devices_of(&self, side: MetaKey, of: impl Fn(&Zone) -> bool) -> Option<Statement<'static>> {
        let devices: Vec<_> = self.policy.zones.iter().filter(|zone| of(zone)).map(device).collect();
        (!devices.is_empty()).then(|| equals(meta(side), one_of(devices)))
    }

    /// A name in this generation.
    pub(super) fn named(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    pub(super) fn chain(&mut self, name: &str) {
        let name = self.named(name);
        self.ruleset.chains.push(name);
    }

    /// A chain at a hook. On trial it is an ordinary one, and the hook is that of the first generation.
    pub(super) fn base(&mut self, name: &'static str, kind: NfChainType, hook: NfHook, priority: i32) {
        self.ruleset.bases.push(Base { name, kind, hook, priority });
        if !self.prefix.is_empty() {
            self.chain(name);
        }
    }

    pub(super) fn goto(&self, chain: &str) -> Statement<'static> {
        goto(&self.named(chain))
    }

    pub(super) fn rule(&mut self, chain: &str, statements: Vec<Statement<'static>>, comment: Option<&str>) {
        let chain = self.named(chain);
        // Beyond the limit nothing is kept: the whole is refused.
        if self.ruleset.rules.len() <= MAX_STATEMENTS {
            self.ruleset.rules.push(rule(chain, statements, comment));
        }
    }

    /// A rule that ends in a verdict map; none if the map would be empty.
    pub(super) fn map(
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

    pub(super) fn finished(self) -> Result<Ruleset, NftError> {
        let mut ruleset = self.ruleset;
        ruleset.helpers = self.helpers;
        (ruleset.sets, ruleset.elements) = self.sets.into_made();
        let too_many = |what, count, limit, help| NftError::TooMany { what, count, limit, help };
        if ruleset.rules.len() > MAX_STATEMENTS {
            let help = "let fewer rules say `any` or name addresses, so that each holds between fewer zones";
            return Err(too_many("lines of nftables or more", ruleset.rules.len(), MAX_STATEMENTS, help));
        }
        if ruleset.elements > MAX_ELEMENTS {
            let help = "subscribe to large lists instead of naming them in rules";
            return Err(too_many("networks in rules", ruleset.elements, MAX_ELEMENTS, help));
        }
        Ok(ruleset)
    }
}

/// The connection is known.
pub(super) fn known() -> Statement<'static> {
    let known = Expression::List(vec![text("established"), text("related")]);
    is_in(conntrack("state"), known)
}

/// The connection was judged as it came in.
fn judged() -> Statement<'static> {
    is_in(conntrack("label"), Expression::Number(JUDGED))
}

const V4_MULTICAST: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 4);

/// RFC 4291 §2.5.6.
fn link_local() -> Expression<'static> {
    prefix(IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10)))
}
