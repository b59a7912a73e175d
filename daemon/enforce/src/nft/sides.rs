//! The sides of a rule as nftables can match them. What a side names is one set per family, however much it is, and what
//! can have no address between two zones is left out there: so a chain holds the rules that can say something.

use model::Mac;
use nftables::{
    expr::{Expression, MetaKey},
    schema::{Set, SetFlag, SetType, SetTypeValue},
    stmt::Statement,
    types::NfFamily,
};
use policy::{Policy, Side, Zone};
use std::{
    collections::{BTreeMap, HashSet},
    rc::Rc,
};

use abi::{ZONE_MULTICAST, ZONE_SELF, ZoneId};

use super::{
    spans::{Family, Spans},
    syntax::{differs, equals, meta, owned, payload, text, written},
    transaction::{MAX_ELEMENTS, TABLE},
};

/// One way in which a side of a rule holds.
#[derive(Clone, Debug)]
pub(super) struct Way {
    /// It holds for this family only.
    pub(super) family: Option<Family>,
    /// What must hold.
    pub(super) statements: Vec<Statement<'static>>,
}

/// Whose side it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Sender,
    Receiver,
}

/// Where the packet carries the address of that side: a rule is also asked backwards, with the ends exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Source,
    Destination,
}

/// The sets of one generation, made when a rule first asks for them.
pub(super) struct Sets<'a> {
    policy: &'a Policy,
    prefix: &'static str,
    unions: BTreeMap<Key, Rc<Union>>,
    groups: BTreeMap<Vec<u16>, Option<String>>,
    homes: BTreeMap<ZoneId, Rc<Home>>,
    meets: BTreeMap<(usize, ZoneId, bool), bool>,
    made: Vec<Set<'static>>,
    elements: usize,
}

type Key = (Vec<u16>, Vec<u16>);

struct Union {
    place: usize,
    spans: Spans,
    /// Set by family, where there is anything of it.
    names: BTreeMap<Family, String>,
}

/// Which addresses a zone can have.
enum Home {
    Every,
    These(Spans),
    AllBut(Spans),
}

impl<'a> Sets<'a> {
    pub(super) fn new(policy: &'a Policy, prefix: &'static str) -> Self {
        Self {
            policy,
            prefix,
            unions: BTreeMap::new(),
            groups: BTreeMap::new(),
            homes: BTreeMap::new(),
            meets: BTreeMap::new(),
            made: Vec::new(),
            elements: 0,
        }
    }

    pub(super) fn into_made(self) -> (Vec<Set<'static>>, usize) {
        (self.made, self.elements)
    }

    /// The ways in which a side holds for flows that have this zone there; none = it does not.
    pub(super) fn ways(&mut self, side: &Side, zone: ZoneId, end: End, field: Field) -> Vec<Way> {
        if side.contains(zone) {
            return vec![Way { family: None, statements: Vec::new() }];
        }
        // A MAC address is that of the packet's sender. Anywhere else a device is known by its addresses.
        let by_mac = end == End::Sender && field == Field::Source;
        let devices = if by_mac { &[][..] } else { &side.devices };
        let mut ways = self.within(&side.sets, devices, zone, end, field);
        if by_mac
            && zone != ZONE_SELF
            && let Some(name) = self.group(&side.devices)
        {
            let statement = equals(payload("ether", "saddr"), text(&format!("@{name}")));
            ways.push(Way { family: None, statements: vec![statement] });
        }
        ways
    }

    /// The ways in which an address is in one of these sets, or one of these devices'.
    fn within(&mut self, sets: &[u16], devices: &[u16], zone: ZoneId, end: End, field: Field) -> Vec<Way> {
        if sets.is_empty() && devices.is_empty() {
            return Vec::new();
        }
        let union = self.union(sets, devices);
        if !self.can_be(&union, zone, end) {
            return Vec::new();
        }
        self.named(&union, sets, devices);
        let union = self.union(sets, devices);
        let way = |(family, name): (&Family, &String)| Way {
            family: Some(*family),
            statements: vec![equals(payload(family.header(), field.name()), text(&format!("@{name}")))],
        };
        union.names.iter().map(way).collect()
    }

    /// The ways in which a source is in one of these sets; every source if there are none.
    pub(super) fn sources(&mut self, sets: &[u16], zone: ZoneId) -> Vec<Way> {
        if sets.is_empty() {
            return vec![Way { family: None, statements: Vec::new() }];
        }
        self.within(sets, &[], zone, End::Sender, Field::Source)
    }

    /// The sender is an Ethernet device of no group.
    pub(super) fn new_device(&mut self) -> Statement<'static> {
        let every: Vec<u16> = (0u16..).take(self.policy.devices.len()).collect();
        match self.group(&every) {
            Some(name) => differs(payload("ether", "saddr"), text(&format!("@{name}"))),
            None => equals(meta(MetaKey::Iiftype), text("ether")),
        }
    }

    /// The address is one of those that are at home in `zone`, for the outside: in no other.
    pub(super) fn at_home(
        &mut self,
        zone: &Zone,
        family: Family,
        field: Field,
    ) -> Option<Statement<'static>> {
        let address = payload(family.header(), field.name());
        match &*self.home(zone.id) {
            Home::Every => None,
            Home::These(spans) => Some(equals(address, listed(spans, family)?)),
            Home::AllBut(spans) => Some(differs(address, listed(spans, family)?)),
        }
    }

    /// The source is none of the addresses that are at home in `zone`; none where every one may be.
    pub(super) fn abroad(&mut self, zone: &Zone, family: Family) -> Option<Statement<'static>> {
        let address = payload(family.header(), "saddr");
        match &*self.home(zone.id) {
            Home::Every => None,
            Home::These(spans) => Some(match listed(spans, family) {
                Some(home) => differs(address, home),
                None => equals(meta(MetaKey::Nfproto), text(family.protocol())),
            }),
            Home::AllBut(spans) => Some(equals(address, listed(spans, family)?)),
        }
    }

    fn union(&mut self, sets: &[u16], devices: &[u16]) -> Rc<Union> {
        let key = (ordered(sets), ordered(devices));
        if let Some(known) = self.unions.get(&key) {
            return Rc::clone(known);
        }
        let policy = self.policy;
        let of_sets = key.0.iter().filter_map(|place| Some(&policy.sets.get(usize::from(*place))?.nets));
        let of_devices =
            key.1.iter().filter_map(|place| Some(&policy.devices.get(usize::from(*place))?.addresses));
        let spans = Spans::new(of_sets.chain(of_devices).flat_map(|nets| nets.iter()));
        let union = Rc::new(Union { place: self.unions.len(), spans, names: BTreeMap::new() });
        self.unions.insert(key, Rc::clone(&union));
        union
    }

    /// Makes the sets of a union, if they are not made yet.
    fn named(&mut self, union: &Rc<Union>, sets: &[u16], devices: &[u16]) {
        if !union.names.is_empty() {
            return;
        }
        let policy = self.policy;
        let written_sets = sets.iter().filter_map(|place| policy.sets.get(usize::from(*place)));
        let written_devices = devices.iter().filter_map(|place| policy.devices.get(usize::from(*place)));
        let said: Vec<String> = written_sets
            .map(policy::AddressSet::written)
            .chain(written_devices.map(|group| group.name.clone()))
            .collect();
        let mut names = BTreeMap::new();
        for family in Family::BOTH {
            let count = union.spans.written(family).count();
            self.elements += count;
            // What is too much is counted, and refused at the end; nothing is made of it.
            if count == 0 || self.elements > MAX_ELEMENTS {
                continue;
            }
            let elements = union.spans.written(family).map(written).collect();
            let name = format!("{}addresses.{}.{}", self.prefix, union.place, family.suffix());
            let kind = match family {
                Family::V4 => SetType::Ipv4Addr,
                Family::V6 => SetType::Ipv6Addr,
            };
            self.made.push(set(&name, kind, Some(SetFlag::Interval), elements, &said.join(", ")));
            names.insert(family, name);
        }
        let union = Union { place: union.place, spans: union.spans.clone(), names };
        self.unions.insert((ordered(sets), ordered(devices)), Rc::new(union));
    }

    /// The set of the MAC addresses of these groups; none = there are none.
    fn group(&mut self, groups: &[u16]) -> Option<String> {
        let key = ordered(groups);
        if let Some(known) = self.groups.get(&key) {
            return known.clone();
        }
        let named: Vec<_> =
            key.iter().filter_map(|place| self.policy.devices.get(usize::from(*place))).collect();
        let mut macs: Vec<Mac> = named.iter().flat_map(|group| group.macs.iter().copied()).collect();
        macs.sort_unstable();
        macs.dedup();
        let name = (!macs.is_empty()).then(|| {
            let name = format!("{}devices.{}", self.prefix, self.groups.len());
            let said: Vec<&str> = named.iter().map(|group| group.name.as_str()).collect();
            self.elements += macs.len();
            let macs = macs.into_iter().map(|mac| text(&mac_text(mac))).collect();
            self.made.push(set(&name, SetType::EtherAddr, None, macs, &said.join(", ")));
            name
        });
        self.groups.insert(key, name.clone());
        name
    }

    /// Whether a flow that has `zone` at this end can have one of these addresses there. Where sources are not checked,
    /// they can be anything; the router's own addresses are not known here.
    fn can_be(&mut self, union: &Union, zone: ZoneId, end: End) -> bool {
        let checked = match end {
            End::Sender => self.policy.zone(zone).is_some_and(|zone| zone.anti_spoof),
            End::Receiver => true,
        };
        if union.spans.len() == 0 || !checked {
            return union.spans.len() > 0;
        }
        let key = (union.place, zone, end == End::Sender);
        if let Some(known) = self.meets.get(&key) {
            return *known;
        }
        let meets = match &*self.home(zone) {
            Home::Every => true,
            Home::These(spans) => union.spans.meets(spans),
            Home::AllBut(spans) => union.spans.without(spans).len() > 0,
        };
        self.meets.insert(key, meets);
        meets
    }

    fn home(&mut self, id: ZoneId) -> Rc<Home> {
        if let Some(known) = self.homes.get(&id) {
            return Rc::clone(known);
        }
        let home = Rc::new(home(self.policy, id));
        self.homes.insert(id, Rc::clone(&home));
        home
    }
}

impl Field {
    fn name(self) -> &'static str {
        match self {
            Self::Source => "saddr",
            Self::Destination => "daddr",
        }
    }
}

fn home(policy: &Policy, id: ZoneId) -> Home {
    let nets = |zone: &Zone| zone.networks.iter().chain(&zone.routes).copied().collect::<Vec<_>>();
    match (id, policy.zone(id)) {
        (ZONE_SELF, _) => Home::Every,
        (ZONE_MULTICAST, _) => Home::These(Spans::new(&policy.multicast())),
        (_, Some(zone)) if !zone.wan => {
            // The longest prefix wins, so what others hold within these networks is not at home here.
            let mine = nets(zone);
            let others = policy.zones.iter().filter(|other| other.id != id).flat_map(nets);
            let within = |net: &ipnet::IpNet| mine.iter().any(|own| own.contains(net));
            let others: Vec<_> = others.filter(within).collect();
            let mut own = Spans::new(&mine).without(&Spans::new(&others));
            // And what is ours within what others hold there is.
            let inner: Vec<_> =
                mine.iter().filter(|net| others.iter().any(|other| other.contains(*net))).collect();
            if !inner.is_empty() {
                let kept: Vec<_> = mine
                    .iter()
                    .filter(|net| !others.iter().any(|other| net.contains(other)))
                    .copied()
                    .collect();
                own = Spans::joined(&own, &Spans::new(&kept));
            }
            let link = ipnet::Ipv6Net::new_assert(std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10);
            Home::These(Spans::joined(&own, &Spans::new(&[link.into()])))
        }
        (_, Some(_) | None) => {
            let inner: Vec<_> = policy.zones.iter().filter(|zone| !zone.wan).flat_map(nets).collect();
            Home::AllBut(Spans::new(&inner))
        }
    }
}

/// These addresses in place; none = there are none of the family.
fn listed(spans: &Spans, family: Family) -> Option<Expression<'static>> {
    let elements: Vec<_> = spans.written(family).map(written).collect();
    (!elements.is_empty()).then(|| super::syntax::one_of(elements))
}

fn set(
    name: &str,
    kind: SetType,
    flag: Option<SetFlag>,
    elements: Vec<Expression<'static>>,
    said: &str,
) -> Set<'static> {
    /// Characters of a comment that nftables keeps.
    const COMMENT: usize = 120;
    Set {
        family: NfFamily::INet,
        table: TABLE.into(),
        name: owned(name),
        set_type: SetTypeValue::Single(kind),
        flags: flag.map(|flag| HashSet::from([flag])),
        elem: Some(elements.into()),
        comment: Some(said.chars().filter(char::is_ascii).take(COMMENT).collect::<String>().into()),
        handle: None,
        policy: None,
        timeout: None,
        gc_interval: None,
        size: None,
    }
}

fn mac_text(Mac(bytes): Mac) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

fn ordered(places: &[u16]) -> Vec<u16> {
    let mut places = places.to_vec();
    places.sort_unstable();
    places.dedup();
    places
}
