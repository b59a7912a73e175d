//! The merged set of all domain lists: names, expressions and answers with listed addresses, asked as one.
//!
//! A lookup hashes each suffix of the question once and allocates nothing; it costs the same however long the lists are
//! and however many groups there are.

use model::Mode;
use serde::{Deserialize, Serialize};
use std::{net::IpAddr, sync::Arc};

use crate::{
    answer::{Answers, Effect},
    asked::Asked,
    groups::GroupSet,
    names::{Names, suffixes},
    regexes::Regexes,
    rule::{
        ALLOW, ANSWER, BELOW, BLOCK, DROP, EXACT, Expression, Extra, IMPORTANT, NODATA, NXDOMAIN, REFUSED,
        Says, TCP_ONLY,
    },
};

/// What an entry says about its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DomainKind {
    /// It is not answered as it is.
    Block,
    /// An exception: no list blocks it.
    Allow,
}

/// Where a list comes from. Later ones go before earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Rewrites to safe versions, where nothing else is said about a name.
    SafeSearch,
    /// A file.
    List,
    /// Names by which devices find out whether they are behind a captive portal, which no file blocks.
    Probes,
    /// Written by a person into the config.
    Written,
    /// `dns.allow`, which beats bans as well.
    AllowList,
}

/// What is known of a list in the set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListInfo {
    /// Its name in the config.
    pub name: Arc<str>,
    /// Its mode: exceptions of an observed list hold only against observed lists.
    pub mode: Mode,
    /// Whom it holds for.
    pub groups: GroupSet,
    /// Where it comes from.
    pub role: Role,
    /// Entries in its file.
    pub entries: u64,
    /// Its place among zone files, in which the longest name decides and not the kind of the entry.
    pub(crate) zone: Option<u8>,
}

impl ListInfo {
    /// Whether it is the allow-list of the config, which beats bans as well as lists.
    #[must_use]
    pub fn is_allow_list(&self) -> bool {
        self.role == Role::AllowList
    }

    /// Later ones win: what is observed has no effect on what is enforced.
    pub(crate) fn tier(&self) -> u8 {
        match self.mode {
            Mode::Observe => 0,
            Mode::Enforce => 1 + self.role as u8,
        }
    }
}

/// What the lists say about a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DomainMatch<'a> {
    /// Block or allow.
    pub kind: DomainKind,
    /// What becomes of the answer.
    pub effect: Effect<'a>,
    /// Place of the list in the set.
    pub list: u16,
    /// The list.
    pub info: &'a ListInfo,
    /// Line of the entry in its file.
    pub line: u32,
    /// The name of the entry, which is the one asked or a parent of it, or the expression or network as it is written.
    pub entry: &'a str,
    /// The entry covers everything below its name.
    pub below: bool,
    /// The entry goes before others (`$important`).
    pub important: bool,
    /// The groups of whoever asks that the list holds for: they say how to block.
    pub groups: GroupSet,
}

impl DomainMatch<'_> {
    /// Whether an answer changes by it: it blocks, and its list enforces.
    #[must_use]
    pub fn is_enforced_block(&self) -> bool {
        self.kind == DomainKind::Block && self.info.mode == Mode::Enforce
    }
}

/// An expression and what it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RegexEntry {
    pub(crate) expression: Expression,
    pub(crate) says: Says,
    pub(crate) extra: Option<Extra>,
}

/// A network that answers may not lead to, and what it says. IPv4 is v4-mapped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AddressEntry {
    pub(crate) length: u8,
    pub(crate) bits: u128,
    pub(crate) written: Box<str>,
    pub(crate) says: Says,
    pub(crate) extra: Option<Extra>,
}

/// All domain lists in one. Ask with [`DomainSet::decide`].
///
/// Which entry wins, from the strongest: `dns.allow`; what a person wrote into the config; the names of captive-portal
/// probes; files. Among those of one of these steps: an exception with `$important`, a block with it, an exception, a
/// block. An observed list has no effect on an enforced one. Among blocks that agree the widest name is kept
/// (`||example^` stands for everything below it), and of lists that say the same the first in the config.
///
/// In a zone file the longest name decides, and of several zone files the first that knows the name, whatever it says, as
/// RPZ has it; what that one says stands beside the other lists. Answers of several entries (`$dnsrewrite`) are given
/// together, unless one says that there is no such name, or leads elsewhere (`CNAME`).
#[derive(Clone, Debug)]
pub struct DomainSet {
    pub(crate) names: Names,
    pub(crate) regexes: Vec<RegexEntry>,
    pub(crate) automata: Option<Arc<Regexes>>,
    /// Ascending by length and bits.
    pub(crate) addresses: Vec<AddressEntry>,
    pub(crate) lists: Vec<ListInfo>,
}

impl Default for DomainSet {
    fn default() -> Self {
        Self::empty(0)
    }
}

impl DomainSet {
    pub(crate) fn empty(seed: u64) -> Self {
        Self {
            names: Names::new(seed),
            regexes: Vec::new(),
            automata: None,
            addresses: Vec::new(),
            lists: Vec::new(),
        }
    }

    /// What the lists say about the name that is asked for; none if they do not know it.
    #[must_use]
    pub fn decide<'a>(&'a self, asked: &Asked<'a>) -> Option<DomainMatch<'a>> {
        if self.names.len() == 0 && self.automata.is_none() {
            return None;
        }
        let mut best = Best::new(self, asked);
        let mut is_parent = false;
        for suffix in suffixes(asked.name) {
            let wanted = if is_parent { BELOW } else { EXACT };
            is_parent = true;
            for (at, entry) in self.names.find(suffix.as_bytes()) {
                let says = entry.says();
                if says.is(wanted) {
                    best.offer(says, self.names.extra(at, entry), suffix);
                }
            }
        }
        if let Some(automata) = &self.automata {
            automata.find(asked.name, |number| {
                if let Some(entry) = self.regexes.get(number as usize) {
                    best.offer(entry.says, entry.extra.as_ref(), &entry.expression.written);
                }
            });
        }
        best.decide()
    }

    /// What the lists say about an answer with `address`, whatever the name; none if they do not know it.
    #[must_use]
    pub fn decide_address<'a>(&'a self, address: IpAddr, asked: &Asked<'a>) -> Option<DomainMatch<'a>> {
        let bits = mapped(address);
        let mut best = Best::new(self, asked);
        let mut rest = &self.addresses[..];
        // From the longest prefix down: what is left each time ends with the next shorter ones.
        while let Some(length) = rest.last().map(|entry| entry.length) {
            let start = rest.partition_point(|entry| entry.length < length);
            let (shorter, same) = rest.split_at(start);
            let net = bits & mask(length);
            let at = same.partition_point(|entry| entry.bits < net);
            for entry in same.iter().skip(at).take_while(|entry| entry.bits == net) {
                best.offer(entry.says, entry.extra.as_ref(), &entry.written);
            }
            rest = shorter;
        }
        best.decide()
    }

    /// Whether answers are to be looked at with [`DomainSet::decide_address`] at all.
    #[must_use]
    pub fn knows_addresses(&self) -> bool {
        !self.addresses.is_empty()
    }

    /// The lists in their order.
    #[must_use]
    pub fn lists(&self) -> &[ListInfo] {
        &self.lists
    }

    /// Names, expressions and networks held after merging.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len() + self.regexes.len() + self.addresses.len()
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory it holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.names.bytes()
            + self.lists.capacity() * size_of::<ListInfo>()
            + self.automata.as_ref().map_or(0, |automata| automata.bytes())
            + self.regexes.capacity() * size_of::<RegexEntry>()
            + self.addresses.capacity() * size_of::<AddressEntry>()
    }
}

/// An entry that speaks about the question.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    rank: u8,
    says: Says,
    extra: Option<&'a Extra>,
    entry: &'a str,
}

/// The strongest entries so far.
struct Best<'a, 'q> {
    set: &'a DomainSet,
    asked: &'q Asked<'a>,
    /// Blocks and exceptions.
    plain: Option<Candidate<'a>>,
    /// Answers of an entry's own, which beat a block of the same strength.
    rewrite: Option<Candidate<'a>>,
    /// What is answered: the records of all entries as strong as `rewrite`.
    answers: Answers<'a>,
    /// The strongest entry by which a name does not exist, or is refused.
    code: Option<Candidate<'a>>,
    /// The strongest exception to rewrites alone.
    no_rewrite: Option<Candidate<'a>>,
    safe_search: Option<Candidate<'a>>,
    /// Zone files that have spoken: a shorter name of theirs does not count.
    zones: u64,
    /// What the first of them says, and whether it is enforced.
    zone: Option<(Mode, Candidate<'a>)>,
}

impl<'a, 'q> Best<'a, 'q> {
    fn new(set: &'a DomainSet, asked: &'q Asked<'a>) -> Self {
        Self {
            set,
            asked,
            plain: None,
            rewrite: None,
            answers: Answers::of(&[]),
            code: None,
            no_rewrite: None,
            safe_search: None,
            zones: 0,
            zone: None,
        }
    }

    fn offer(&mut self, says: Says, extra: Option<&'a Extra>, entry: &'a str) {
        let Some(info) = self.set.lists.get(usize::from(says.list)) else { return };
        if !info.groups.intersects(self.asked.groups)
            || extra.is_some_and(|extra| !extra.condition.holds(self.asked))
        {
            return;
        }
        if let Some(zone) = info.zone {
            if self.zones >> zone & 1 == 1 {
                return;
            }
            self.zones |= 1 << zone;
        }
        let rank = info.tier() * 4 + if says.is(IMPORTANT) { 2 } else { 0 } + (says.flags & ALLOW);
        let candidate = Candidate { rank, says, extra, entry };
        if info.zone.is_none() {
            return self.take(candidate, info);
        }
        let first = self.zone.is_none_or(|(mode, known)| match (info.mode, mode) {
            (Mode::Enforce, Mode::Observe) => true,
            (Mode::Observe, Mode::Enforce) => false,
            (Mode::Enforce, Mode::Enforce) | (Mode::Observe, Mode::Observe) => says.list < known.says.list,
        });
        if first {
            self.zone = Some((info.mode, candidate));
        }
    }

    fn take(&mut self, candidate: Candidate<'a>, info: &ListInfo) {
        let Candidate { rank, says, extra, entry } = candidate;
        let stronger = |known: Candidate<'_>| {
            rank > known.rank
                || (rank == known.rank
                    && (says.list, std::cmp::Reverse(entry.len()), says.line)
                        < (known.says.list, std::cmp::Reverse(known.entry.len()), known.says.line))
        };
        if info.role == Role::SafeSearch {
            if self.safe_search.is_none_or(stronger) {
                self.safe_search = Some(candidate);
            }
            return;
        }
        if says.action() == ANSWER && !says.is(ALLOW) {
            return self.take_rewrite(candidate, stronger);
        }
        let is_code = matches!(says.action(), NXDOMAIN | REFUSED) && !says.is(ALLOW);
        if is_code && self.code.is_none_or(stronger) {
            self.code = Some(candidate);
        }
        let place = if says.is(ALLOW) && extra.is_some_and(|extra| extra.condition.rewrites_only) {
            &mut self.no_rewrite
        } else {
            &mut self.plain
        };
        if place.is_none_or(stronger) {
            *place = Some(candidate);
        }
    }

    fn take_rewrite(&mut self, candidate: Candidate<'a>, stronger: impl Fn(Candidate<'_>) -> bool) {
        let records = candidate.extra.map_or(&[][..], |extra| &extra.records);
        let known = match self.rewrite {
            Some(known) if known.rank == candidate.rank => known,
            Some(known) if known.rank > candidate.rank => return,
            Some(_) | None => {
                (self.rewrite, self.answers) = (Some(candidate), Answers::of(records));
                return;
            }
        };
        let leads_elsewhere =
            |extra: Option<&Extra>| extra.is_some_and(|extra| Answers::is_alias(&extra.records));
        match (leads_elsewhere(known.extra), Answers::is_alias(records)) {
            (true, false) => {}
            (true, true) if !stronger(known) => {}
            (false, true) | (true, true) => {
                (self.rewrite, self.answers) = (Some(candidate), Answers::of(records));
            }
            (false, false) => {
                self.answers.join(records);
                if stronger(known) {
                    self.rewrite = Some(candidate);
                }
            }
        }
    }

    fn decide(mut self) -> Option<DomainMatch<'a>> {
        if let Some((_, candidate)) = self.zone.take()
            && let Some(info) = self.set.lists.get(usize::from(candidate.says.list))
        {
            self.take(candidate, info);
        }
        let rewrite = self
            .rewrite
            .filter(|rewrite| self.no_rewrite.is_none_or(|exception| exception.rank < rewrite.rank));
        let mut best = match (self.plain, rewrite) {
            (Some(plain), Some(rewrite)) if plain.rank > rewrite.rank => Some(plain),
            (_, Some(rewrite)) if self.code.is_some_and(|code| code.rank == rewrite.rank) => self.code,
            (plain, rewrite) => rewrite.or(plain),
        };
        let mut answers = self.answers;
        if let Some(safe) = self.safe_search
            && best.is_none_or(|best| self.is_weaker_than_safe_search(best))
        {
            best = Some(safe);
            answers = Answers::of(safe.extra.map_or(&[], |extra| &extra.records));
        }
        let Candidate { says, entry, .. } = best?;
        let info = self.set.lists.get(usize::from(says.list))?;
        let kind = if says.is(ALLOW) { DomainKind::Allow } else { DomainKind::Block };
        Some(DomainMatch {
            kind,
            effect: effect(kind, says, answers),
            list: says.list,
            info,
            line: says.line,
            entry,
            below: says.is(BELOW),
            important: says.is(IMPORTANT),
            groups: info.groups.and(self.asked.groups),
        })
    }

    /// Safe versions are asked for unless a person allows the name or somebody blocks it.
    fn is_weaker_than_safe_search(&self, best: Candidate<'a>) -> bool {
        self.set.lists.get(usize::from(best.says.list)).is_none_or(|info| {
            info.mode == Mode::Observe || (best.says.is(ALLOW) && info.role < Role::Written)
        })
    }
}

fn effect(kind: DomainKind, says: Says, answers: Answers<'_>) -> Effect<'_> {
    match (kind, says.action()) {
        (DomainKind::Allow, _) => Effect::Allow,
        (DomainKind::Block, NXDOMAIN) => Effect::NxDomain,
        (DomainKind::Block, NODATA) => Effect::NoData,
        (DomainKind::Block, REFUSED) => Effect::Refused,
        (DomainKind::Block, DROP) => Effect::Drop,
        (DomainKind::Block, TCP_ONLY) => Effect::TcpOnly,
        (DomainKind::Block, ANSWER) => Effect::Answer(answers),
        (DomainKind::Block, BLOCK..) => Effect::Block,
    }
}

/// An address as 128 bits, IPv4 v4-mapped.
pub(crate) fn mapped(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

pub(crate) fn mask(length: u8) -> u128 {
    u128::MAX.checked_shl(128_u32.saturating_sub(length.into())).unwrap_or(0)
}
