//! Builds the set of all domain lists: two passes over each file, then what is covered or taken back goes.

use ipnet::IpNet;
use model::{Mode, Name};
use std::sync::Arc;

use crate::{
    Delta, Format, ListError, Report,
    domains::{self, Taker},
    groups::GroupSet,
    limits::{
        MAX_DOMAIN_LISTS, MAX_DOMAINS, MAX_EXTRAS, MAX_RECORDS, MAX_REGEX_TOGETHER, MAX_REGEX_TOTAL,
        MAX_REGEXES, MAX_ZONE_FILES,
    },
    names::{Bits, suffixes},
    regexes::{self, Placing, Regexes},
    rule::{ALLOW, ANSWER, Action, BELOW, EXACT, EXTRA, IMPORTANT, Pattern, Rule, Says},
    set::{AddressEntry, DomainKind, DomainSet, ListInfo, RegexEntry, Role, mapped, mask},
    written,
};

/// Builds a [`DomainSet`], list by list in the order of the config.
#[derive(Debug)]
pub struct DomainSetBuilder {
    set: DomainSet,
    own: Vec<Name>,
    /// Rules that take back others, with their list.
    takes_back: Vec<(Rule, u16)>,
    held: Needs,
    zones: u8,
}

impl DomainSetBuilder {
    /// An empty set. `seed` keys the hash table: let it be random, so that no list can be made to collide.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            set: DomainSet::empty(seed),
            own: Vec::new(),
            takes_back: Vec::new(),
            held: Needs::default(),
            zones: 0,
        }
    }

    /// Names that no file may block: those of the resolver's own upstreams. For the lists that are added from here on.
    #[must_use]
    pub fn protect(mut self, own: impl IntoIterator<Item = Name>) -> Self {
        self.own.extend(own);
        self
    }

    /// Reads a file without taking anything, to judge it (see [`crate::guard`]) before it replaces the last good one.
    ///
    /// # Errors
    /// Why the file as a whole is no list of domains.
    pub fn inspect(bytes: &[u8]) -> Result<Report, ListError> {
        Self::inspect_as(bytes, &Format::Auto, &[])
    }

    /// [`DomainSetBuilder::inspect`] for a file whose format is said; `own` are names that it may not block.
    ///
    /// # Errors
    /// Why the file as a whole is no list of domains.
    pub fn inspect_as(bytes: &[u8], format: &Format, own: &[Name]) -> Result<Report, ListError> {
        domains::read(bytes, format, own, &mut domains::Nothing)
    }

    /// Judges a file, and says what is different from `former`, the last good one.
    ///
    /// # Errors
    /// Why the file as a whole is no list of domains.
    pub fn compare(
        bytes: &[u8],
        format: &Format,
        former: Option<(&[u8], &Format)>,
        own: &[Name],
        seed: u64,
    ) -> Result<(Report, Delta), ListError> {
        let mut now = domains::Fingerprints::new(seed);
        let report = domains::read(bytes, format, own, &mut now)?;
        let mut before = domains::Fingerprints::new(seed);
        if let Some((bytes, format)) = former
            && domains::read(bytes, format, own, &mut before).is_err()
        {
            before = domains::Fingerprints::new(seed);
        }
        Ok((report, now.delta(before)))
    }

    /// Takes the names of a file as the next list, for the group `default`.
    ///
    /// # Errors
    /// Why the file as a whole is refused; nothing of it is taken then, but its place in the order is, so that the
    /// numbers of the lists after it stay.
    pub fn add(&mut self, name: &str, mode: Mode, bytes: &[u8]) -> Result<Report, ListError> {
        self.add_as(name, mode, GroupSet::DEFAULT, bytes, &Format::Auto)
    }

    /// [`DomainSetBuilder::add`] for the groups that the list holds for, and a file whose format is said.
    ///
    /// # Errors
    /// As [`DomainSetBuilder::add`].
    pub fn add_as(
        &mut self,
        name: &str,
        mode: Mode,
        groups: GroupSet,
        bytes: &[u8],
        format: &Format,
    ) -> Result<Report, ListError> {
        self.add_file(name, mode, groups, bytes, format, false)
    }

    /// Takes a file of exceptions as the next list: what it names is not blocked by lists, whatever the file itself says
    /// should become of it. Entries that take back others mean nothing there.
    ///
    /// # Errors
    /// As [`DomainSetBuilder::add`].
    pub fn add_exceptions(
        &mut self,
        name: &str,
        mode: Mode,
        groups: GroupSet,
        bytes: &[u8],
        format: &Format,
    ) -> Result<Report, ListError> {
        self.add_file(name, mode, groups, bytes, format, true)
    }

    fn add_file(
        &mut self,
        name: &str,
        mode: Mode,
        groups: GroupSet,
        bytes: &[u8],
        format: &Format,
        excepts: bool,
    ) -> Result<Report, ListError> {
        let list = self.open(name, mode, groups, Role::List)?;
        let own = std::mem::take(&mut self.own);
        // Who excepts them means well.
        let shielded = if excepts { &[] } else { &own[..] };
        let mut needs = Needs { placing: self.held.placing.clone(), ..Needs::default() };
        let read = domains::read(bytes, format, shielded, &mut needs).and_then(|report| {
            self.reserve(needs)?;
            if report.is_zone {
                self.open_zone(list)?;
            }
            // The second pass over a file that is known to be good.
            domains::read(bytes, format, shielded, &mut Insertion { builder: self, list, excepts })
        });
        self.own = own;
        let report = read?;
        if let Some(info) = self.set.lists.last_mut() {
            info.entries = report.entries;
        }
        Ok(report)
    }

    /// Takes names that the config allows to everybody, each with everything below it, as a list of its own. `line` is
    /// where the name stands in the config, 0 if that is not known.
    ///
    /// # Errors
    /// Too many lists or names.
    pub fn add_allowed<'a>(
        &mut self,
        name: &str,
        allowed: impl IntoIterator<Item = (&'a Name, u32)>,
    ) -> Result<(), ListError> {
        let allowed = allowed.into_iter().map(|(name, line)| (name.as_str(), line));
        self.add_config(name, DomainKind::Allow, Mode::Enforce, GroupSet::ALL, Role::AllowList, allowed)
            .map(drop)
    }

    /// Takes `dns.allow` as it is written: names (each with everything below it), adblock rules and expressions.
    ///
    /// # Errors
    /// Too many lists or names. Entries that cannot be read are rejects of the report.
    pub fn add_allow_list<'a>(
        &mut self,
        name: &str,
        entries: impl IntoIterator<Item = (&'a str, u32)>,
    ) -> Result<Report, ListError> {
        self.add_config(name, DomainKind::Allow, Mode::Enforce, GroupSet::ALL, Role::AllowList, entries)
    }

    /// Takes what a person wrote into the config for `groups`: names (each with everything below it), adblock rules and
    /// expressions, which [`crate::check_written`] has found good. It goes before every file.
    ///
    /// # Errors
    /// Too many lists or names. Entries that cannot be read are rejects of the report.
    pub fn add_written<'a>(
        &mut self,
        name: &str,
        kind: DomainKind,
        mode: Mode,
        groups: GroupSet,
        entries: impl IntoIterator<Item = (&'a str, u32)>,
    ) -> Result<Report, ListError> {
        self.add_config(name, kind, mode, groups, Role::Written, entries)
    }

    fn add_config<'a>(
        &mut self,
        name: &str,
        kind: DomainKind,
        mode: Mode,
        groups: GroupSet,
        role: Role,
        entries: impl IntoIterator<Item = (&'a str, u32)>,
    ) -> Result<Report, ListError> {
        let list = self.open(name, mode, groups, role)?;
        let mut report = Report::default();
        for (text, line) in entries {
            match written::read(text, kind) {
                Ok(rule) => {
                    self.put(&rule, list, line)?;
                    report.entries += 1;
                    report.exceptions += u64::from(rule.kind == DomainKind::Allow);
                }
                Err(why) => report.reject(line, text.as_bytes(), why),
            }
        }
        if let Some(info) = self.set.lists.last_mut() {
            info.entries = report.entries;
        }
        Ok(report)
    }

    /// A list of rules that are not from a file.
    pub(crate) fn add_rules(
        &mut self,
        name: &str,
        mode: Mode,
        groups: GroupSet,
        role: Role,
        rules: impl IntoIterator<Item = Rule>,
    ) -> Result<(), ListError> {
        let list = self.open(name, mode, groups, role)?;
        let mut entries = 0;
        for rule in rules {
            self.put(&rule, list, 0)?;
            entries += 1;
        }
        if let Some(info) = self.set.lists.last_mut() {
            info.entries = entries;
        }
        Ok(())
    }

    fn put(&mut self, rule: &Rule, list: u16, line: u32) -> Result<(), ListError> {
        let mut needs = Needs::default();
        if matches!(rule.pattern, Pattern::Regex(_)) {
            needs.placing.clone_from(&self.held.placing);
        }
        needs.take(line, rule);
        self.reserve(needs)?;
        self.insert(rule, list, line);
        Ok(())
    }

    /// Drops what is taken back or covered by a parent, gives unused memory back, and is done.
    #[must_use]
    pub fn finish(self) -> DomainSet {
        let (mut set, takes_back) = (self.set, self.takes_back);
        let mut gone = Bits::of(set.names.len());
        for (rule, list) in &takes_back {
            set.take_back(rule, *list, &mut gone);
        }
        let covered: Vec<usize> = (0_u32..)
            .take(set.names.len())
            .filter(|&at| !gone.has(at as usize) && set.is_covered(at, &gone))
            .map(|at| at as usize)
            .collect();
        covered.into_iter().for_each(|at| gone.set(at));
        set.names.compact(&gone);
        set.addresses.sort_by_key(|entry| (entry.length, entry.bits, entry.says.list, entry.says.line));
        set.addresses.shrink_to_fit();
        set.regexes.shrink_to_fit();
        set.build_automata();
        set
    }

    fn open(&mut self, name: &str, mode: Mode, groups: GroupSet, role: Role) -> Result<u16, ListError> {
        let full = ListError::TooManyLists { limit: MAX_DOMAIN_LISTS };
        let list =
            u16::try_from(self.set.lists.len()).ok().filter(|&list| usize::from(list) < MAX_DOMAIN_LISTS);
        let list = list.ok_or(full)?;
        self.set.lists.push(ListInfo { name: name.into(), mode, groups, role, entries: 0, zone: None });
        Ok(list)
    }

    fn open_zone(&mut self, list: u16) -> Result<(), ListError> {
        if usize::from(self.zones) == MAX_ZONE_FILES {
            return Err(ListError::TooManyLists { limit: MAX_ZONE_FILES });
        }
        if let Some(info) = self.set.lists.get_mut(usize::from(list)) {
            info.zone = Some(self.zones);
        }
        self.zones += 1;
        Ok(())
    }

    fn reserve(&mut self, needs: Needs) -> Result<(), ListError> {
        let all = Needs {
            names: self.set.names.len().saturating_add(needs.names),
            text: self.set.names.text_len().saturating_add(needs.text),
            regexes: self.held.regexes.saturating_add(needs.regexes),
            automata: self.held.automata.saturating_add(needs.automata),
            together: self.held.together.saturating_add(needs.together),
            extras: self.held.extras.saturating_add(needs.extras),
            placing: Placing::default(),
        };
        for (count, limit, what) in [
            (all.names, MAX_DOMAINS, "names of all domain lists"),
            (all.regexes, MAX_REGEXES, "expressions of all domain lists"),
            (all.automata, MAX_REGEX_TOTAL, "bytes of all expressions"),
            (all.together, MAX_REGEX_TOGETHER, "bytes of all expressions that every name is held against"),
            (all.extras, MAX_EXTRAS, "entries with conditions, records or networks"),
            (all.text, u32::MAX as usize, "bytes of all names"),
        ] {
            if count > limit {
                return Err(ListError::TooManyEntries { entries: count, limit, what });
            }
        }
        let placing = if needs.regexes > 0 { needs.placing } else { std::mem::take(&mut self.held.placing) };
        self.held = Needs { placing, ..all };
        self.set.names.reserve(needs.names, needs.text);
        Ok(())
    }

    fn insert(&mut self, rule: &Rule, list: u16, line: u32) {
        let says = Says { line, list, flags: rule.flags() };
        if rule.takes_back {
            self.takes_back.push((rule.clone(), list));
            return;
        }
        match &rule.pattern {
            Pattern::Name(name, _) => self.set.insert_name(name.as_str(), rule, says),
            Pattern::Regex(expression) => self.set.regexes.push(RegexEntry {
                expression: expression.clone(),
                says,
                extra: rule.extra(),
            }),
            Pattern::Address(net) => self.set.insert_address(*net, rule, says),
        }
    }
}

/// What entries need room for.
#[derive(Clone, Debug, Default)]
struct Needs {
    names: usize,
    text: usize,
    regexes: usize,
    automata: usize,
    /// Of `automata`, those that every name is held against.
    together: usize,
    extras: usize,
    /// Where the expressions are tried, those of all lists before included.
    placing: Placing,
}

impl Taker for Needs {
    fn take(&mut self, _: u32, rule: &Rule) {
        self.extras += usize::from(rule.has_extra() || rule.takes_back);
        match &rule.pattern {
            Pattern::Name(name, _) => {
                self.names += 1;
                self.text += name.as_str().len();
            }
            Pattern::Regex(expression) => {
                self.regexes += 1;
                if let Ok(checked) = regexes::check(&expression.regex, expression.invert) {
                    self.automata += checked.bytes;
                    self.together += match self.placing.place(checked.choices) {
                        Some(_) => 0,
                        None => checked.bytes,
                    };
                }
            }
            Pattern::Address(_) => self.extras += 1,
        }
    }

    fn restart(&mut self) {
        // Places that are taken twice are at most a few of one object.
        *self = Self { placing: std::mem::take(&mut self.placing), ..Self::default() };
    }
}

struct Insertion<'a> {
    builder: &'a mut DomainSetBuilder,
    list: u16,
    /// The entries are exceptions.
    excepts: bool,
}

impl Taker for Insertion<'_> {
    fn take(&mut self, line: u32, rule: &Rule) {
        match (self.excepts, rule.takes_back) {
            (false, _) => self.builder.insert(rule, self.list, line),
            (true, false) => {
                let exception = Rule { kind: DomainKind::Allow, action: Action::Block, ..rule.clone() };
                self.builder.insert(&exception, self.list, line);
            }
            (true, true) => {}
        }
    }

    /// Only JSON of one object a line is read anew, and what it gave before was its first object, which comes again.
    fn restart(&mut self) {}
}

impl DomainSet {
    fn insert_name(&mut self, name: &str, rule: &Rule, says: Says) {
        let is_zone = self.lists.get(usize::from(says.list)).is_some_and(|info| info.zone.is_some());
        let (extra, mut merge) = (rule.extra(), None);
        for (at, known) in self.names.find(name.as_bytes()) {
            let shapeless = |flags: u8| flags & !(EXACT | BELOW);
            let same_list = known.list == says.list;
            if !says.is(EXTRA)
                && known.flags == says.flags
                && (same_list || self.stands_for(known.list, says.list))
            {
                return;
            }
            // `x CNAME .` and `*.x CNAME .` are one entry; the records of one name are one answer.
            let one_entry =
                is_zone && same_list && !says.is(EXTRA) && shapeless(known.flags) == shapeless(says.flags);
            let one_answer = same_list
                && known.flags == says.flags
                && says.action() == ANSWER
                && self.names.extra(at, known).map(|known| &known.condition)
                    == extra.as_ref().map(|extra| &extra.condition);
            if one_entry || one_answer {
                merge = Some(at);
            } else if is_zone && same_list && known.flags & says.flags & (EXACT | BELOW) != 0 {
                // A zone says one thing about a name: the first.
                return;
            }
        }
        match (merge, extra) {
            (Some(at), None) => {
                if let Some(flags) = self.names.flags_mut(at) {
                    *flags |= says.flags;
                }
            }
            (Some(at), Some(extra)) => {
                if let Some(known) = self.names.extra_mut(at) {
                    join(&mut known.records, extra.records);
                }
            }
            (None, extra) => self.names.push(name, says, extra),
        }
    }

    fn insert_address(&mut self, net: IpNet, rule: &Rule, says: Says) {
        let length = match net {
            IpNet::V4(net) => net.prefix_len() + 96,
            IpNet::V6(net) => net.prefix_len(),
        };
        let bits = mapped(net.addr()) & mask(length);
        let extra = rule.extra();
        if let (Some(last), Some(extra)) = (self.addresses.last_mut(), &extra)
            && (last.bits, last.length, last.says.list, last.says.flags)
                == (bits, length, says.list, says.flags)
            && let Some(known) = &mut last.extra
        {
            join(&mut known.records, extra.records.clone());
            return;
        }
        self.addresses.push(AddressEntry { length, bits, written: net.to_string().into(), says, extra });
    }

    /// Whether an entry of `list` speaks wherever the same entry of `other` would, and as strongly.
    fn stands_for(&self, list: u16, other: u16) -> bool {
        let info = |list: u16| self.lists.get(usize::from(list));
        let (Some(list), Some(other)) = (info(list), info(other)) else { return false };
        list.zone.is_none()
            && other.zone.is_none()
            && list.tier() >= other.tier()
            && (list.role == Role::SafeSearch) == (other.role == Role::SafeSearch)
            && other.groups.without(list.groups).is_empty()
    }

    /// Whether another entry says the same of this one's name and more.
    fn is_covered(&self, at: u32, gone: &Bits) -> bool {
        let Some(entry) = self.names.entry(at) else { return false };
        let Ok(name) = str::from_utf8(self.names.text(entry)) else { return false };
        let says = entry.says();
        // Records and zone files speak for themselves.
        if says.action() == ANSWER
            || self.lists.get(usize::from(says.list)).is_none_or(|info| info.zone.is_some())
        {
            return false;
        }
        let rewrites_only = self.names.extra(at, entry).is_some_and(|extra| extra.condition.rewrites_only);
        let mut itself = true;
        for suffix in suffixes(name) {
            let is_itself = std::mem::take(&mut itself);
            for (other, by) in self.names.find(suffix.as_bytes()) {
                if other == at || gone.has(other as usize) || by.says().is(EXTRA) || rewrites_only {
                    continue;
                }
                let wanted = if is_itself { says.flags & (EXACT | BELOW) } else { BELOW };
                let covers = by.flags & wanted == wanted
                    && by.flags & ALLOW == says.flags & ALLOW
                    && by.says().action() == says.action()
                    && (by.flags & IMPORTANT >= says.flags & IMPORTANT)
                    && self.stands_for(by.list, says.list);
                // Of two that cover each other the first stays.
                let covered_by_it =
                    is_itself && by.flags == says.flags && self.stands_for(says.list, by.list) && other > at;
                if covers && !covered_by_it {
                    return true;
                }
            }
        }
        false
    }

    /// Takes back the rules that read as `rule` does, of lists that hold for nobody else and are no stronger.
    fn take_back(&mut self, rule: &Rule, list: u16, gone: &mut Bits) {
        let (flags, extra) = (rule.flags(), rule.extra());
        match &rule.pattern {
            Pattern::Name(name, _) => {
                for (at, entry) in self.names.find(name.as_str().as_bytes()) {
                    if entry.flags == flags
                        && self.names.extra(at, entry) == extra.as_ref()
                        && self.stands_for(list, entry.list)
                    {
                        gone.set(at as usize);
                    }
                }
            }
            Pattern::Regex(expression) => {
                let mut all = std::mem::take(&mut self.regexes);
                all.retain(|entry| {
                    entry.expression != *expression
                        || entry.says.flags != flags
                        || entry.extra != extra
                        || !self.stands_for(list, entry.says.list)
                });
                self.regexes = all;
            }
            // No language that takes rules back knows addresses.
            Pattern::Address(_) => {}
        }
    }

    /// Builds what searches for the expressions; none where there are none.
    pub(crate) fn build_automata(&mut self) {
        self.automata = if self.regexes.is_empty() {
            None
        } else {
            let expressions =
                self.regexes.iter().map(|entry| (&*entry.expression.regex, entry.expression.invert));
            Regexes::new(expressions).map(Arc::new)
        };
    }
}

fn join(known: &mut Vec<crate::answer::Record>, more: Vec<crate::answer::Record>) {
    for record in more {
        if known.len() < MAX_RECORDS && !known.contains(&record) {
            known.push(record);
        }
    }
}
