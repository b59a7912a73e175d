//! What is known of addresses: one sweep over all prefixes of a family, sorted, gives runs of addresses of which the
//! same is known; what is known is numbered, and the runs become the trie.

use abi::{
    DIRECTION_IN, DIRECTION_OUT, ListValue, ZONE_NONE, ZoneId,
    image::{
        ADDRESS_IN_OBSERVED, ADDRESS_OUT_OBSERVED, ADDRESS_PROTECTED, ADDRESS_UPSTREAM, AddressClass,
        Coordinate, MAX_ADDRESS_CLASSES, MAX_PATTERNS, NOTHING,
    },
};
use foldhash::fast::FixedState;
use ipnet::IpNet;
use std::collections::{BTreeMap, HashMap};

use super::{
    ImageError,
    builder::{WORDS, Writer},
    too_many_classes,
    trie::{Runs, Trie, Width},
};
use crate::{Plan, Selector};

/// Everything known of addresses.
#[derive(Debug)]
pub(super) struct Known {
    /// What is known, by class; the cells are not given yet.
    classes: Vec<AddressClass>,
    v4: Runs<u32>,
    v6: Runs<u128>,
    /// The sets that each class of sources is in, sorted. Class 0 is in none.
    pub(super) sources: Vec<Vec<u16>>,
    /// The same for destinations.
    pub(super) destinations: Vec<Vec<u16>>,
    /// The class of destinations of each pattern of names.
    pub(super) patterns: Vec<usize>,
}

impl Known {
    /// Sweeps over the prefixes of a plan.
    pub(super) fn new(plan: &Plan) -> Result<Self, ImageError> {
        let mut states = States::new(plan);
        let mut v4 = Vec::with_capacity(plan.listed.len());
        let mut v6 = Vec::new();
        let mut push = |net: &IpNet, token| match net.trunc() {
            IpNet::V4(net) => {
                v4.push(Prefix { start: net.addr().to_bits(), length: net.prefix_len(), token });
            }
            IpNet::V6(net) => {
                v6.push(Prefix { start: net.addr().to_bits(), length: net.prefix_len(), token });
            }
        };
        for (net, zone) in &plan.networks {
            push(net, states.token(Token::Zone(*zone)));
        }
        for net in &plan.protected {
            push(net, states.token(Token::Protected));
        }
        for net in &plan.upstreams {
            push(net, states.token(Token::Upstream));
        }
        for (set, nets) in (0..).zip(&plan.sets) {
            if states.names(set) {
                let token = states.token(Token::Set(set));
                nets.iter().for_each(|net| push(net, token));
            }
        }
        for (net, value) in plan.listed.iter() {
            push(net, states.token(Token::Listed(*value)));
        }
        let v4 = sweep(v4, &mut states)?;
        let v6 = sweep(v6, &mut states)?;
        Self::settle(states, v4, v6, &plan.names)
    }

    /// Numbers what is still told apart, and only that.
    fn settle(
        states: States,
        mut v4: Runs<u32>,
        mut v6: Runs<u128>,
        names: &BTreeMap<u16, u64>,
    ) -> Result<Self, ImageError> {
        let mut sources = Numbers::default();
        let mut destinations = Numbers::default();
        let mut classes = Vec::new();
        let mut by_row: HashMap<AddressClass, u32, FixedState> = HashMap::default();
        let mut numbers = vec![u32::MAX; states.list.len()];
        let mut number = |state: u32| {
            let number = &mut numbers[state as usize];
            if *number == u32::MAX {
                let row = states.list[state as usize].row(&states, &mut sources, &mut destinations);
                *number = *by_row.entry(row).or_insert_with(|| {
                    classes.push(row);
                    classes.len() as u32 - 1
                });
            }
            *number
        };
        number(0);
        for run in &mut v4.0 {
            run.1 = number(run.1);
        }
        for run in &mut v6.0 {
            run.1 = number(run.1);
        }
        let is_named = |set: u16| states.named[1].get(usize::from(set)).copied().unwrap_or(false);
        let patterns = (0..MAX_PATTERNS).map(|pattern| {
            let sets =
                names.iter().filter(|(set, patterns)| is_named(**set) && **patterns >> pattern & 1 != 0);
            destinations.number(sets.map(|(set, _)| *set).collect())
        });
        let patterns = patterns.collect();
        let count = classes.len().max(sources.list.len()).max(destinations.list.len());
        if count > MAX_ADDRESS_CLASSES as usize {
            return Err(too_many_classes(count));
        }
        Ok(Self { classes, v4, v6, sources: sources.list, destinations: destinations.list, patterns })
    }

    /// Different things that are known.
    pub(super) fn len(&self) -> usize {
        self.classes.len()
    }

    /// Blocks of the rows.
    pub(super) fn class_blocks(&self) -> usize {
        (self.classes.len() * 2).div_ceil(WORDS)
    }

    /// Writes the rows, with the parts of cells that the classifier gave to sources and destinations.
    pub(super) fn write_rows(
        &self,
        writer: &mut Writer,
        first: usize,
        sources: &[Coordinate],
        destinations: &[Coordinate],
    ) {
        for (number, class) in self.classes.iter().enumerate() {
            let place = |places: &[Coordinate], of: Coordinate| places[usize::from(of.class)];
            let row = AddressClass {
                source: place(sources, class.source),
                destination: place(destinations, class.destination),
                ..*class
            };
            let [known, places] = row.words();
            writer.set(first * WORDS + number * 2, known);
            writer.set(first * WORDS + number * 2 + 1, places);
        }
    }

    /// Writes the trie in blocks of its own.
    pub(super) fn write_trie(&self, writer: &mut Writer) -> Result<Trie, ImageError> {
        Trie::write(&self.v4, &self.v6, writer)
    }
}

/// A prefix and what it says.
#[derive(Clone, Copy, Debug)]
struct Prefix<W> {
    start: W,
    length: u8,
    token: u32,
}

/// The runs of addresses in which the same prefixes hold. Prefixes nest or are apart, so those that hold form a stack.
fn sweep<W: Width>(mut prefixes: Vec<Prefix<W>>, states: &mut States) -> Result<Runs<W>, ImageError> {
    // Mostly sorted already, in a few stretches: a stable sort sees that.
    prefixes.sort_by_key(|prefix| (prefix.start, prefix.length));
    let mut runs = Runs::default();
    // The last address of each prefix that holds, and what is known within it.
    let mut stack: Vec<(W, u32)> = Vec::with_capacity(130);
    for prefix in &prefixes {
        while let Some(&(last, _)) = stack.last()
            && last < prefix.start
        {
            stack.pop();
            // There is an address after the last, since a prefix starts behind it.
            runs.push(last.next(), stack.last().map_or(0, |(_, state)| *state));
        }
        let above = stack.last().map_or(0, |(_, state)| *state);
        let state = states.with(above, prefix.token)?;
        // A prefix that says nothing new needs no place of its own.
        if state != above {
            runs.push(prefix.start, state);
            stack.push((prefix.start.last_of(prefix.length), state));
        }
    }
    while let Some((last, _)) = stack.pop() {
        if last != W::LAST {
            runs.push(last.next(), stack.last().map_or(0, |(_, state)| *state));
        }
    }
    Ok(runs)
}

/// What one prefix says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Token {
    Zone(ZoneId),
    Protected,
    Upstream,
    Set(u16),
    Listed(ListValue),
}

/// Everything that covering prefixes say together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct State {
    zone: ZoneId,
    protected: bool,
    upstream: bool,
    /// Per direction (in, out): the first list that enforces, the first that observes.
    enforced: [Option<u16>; 2],
    observed: [Option<u16>; 2],
    /// Sets that rules name, sorted.
    sets: Vec<u16>,
}

/// What is known, numbered as it is found.
struct States {
    list: Vec<State>,
    numbers: HashMap<State, u32, FixedState>,
    tokens: Vec<Token>,
    by_token: HashMap<Token, u32, FixedState>,
    /// What a token makes of a state.
    with: HashMap<(u32, u32), u32, FixedState>,
    /// The last answer of `with`: lists come in stretches.
    last: (u32, u32, u32),
    /// Sets that rules name as sources, as destinations.
    named: [Vec<bool>; 2],
}

/// States at most, so that a plan which cannot fit does not take all memory. Some are only passed through.
const MAX_STATES: usize = 4 * MAX_ADDRESS_CLASSES as usize;

impl States {
    fn new(plan: &Plan) -> Self {
        let mut named = [vec![false; plan.sets.len()], vec![false; plan.sets.len()]];
        for row in &plan.rows {
            for (side, selector) in named.iter_mut().zip([row.source, row.destination]) {
                match selector {
                    Selector::Any => {}
                    Selector::Set(set) => side[usize::from(set)] = true,
                }
            }
        }
        let nothing = State { zone: ZONE_NONE, ..State::default() };
        Self {
            numbers: HashMap::from_iter([(nothing.clone(), 0)]),
            list: vec![nothing],
            tokens: Vec::new(),
            by_token: HashMap::default(),
            with: HashMap::default(),
            last: (u32::MAX, u32::MAX, 0),
            named,
        }
    }

    /// Whether any rule names the set.
    fn names(&self, set: u16) -> bool {
        self.named.iter().any(|side| side[usize::from(set)])
    }

    fn token(&mut self, token: Token) -> u32 {
        if let Some(last) = self.tokens.last()
            && *last == token
        {
            return self.tokens.len() as u32 - 1;
        }
        *self.by_token.entry(token).or_insert_with(|| {
            self.tokens.push(token);
            self.tokens.len() as u32 - 1
        })
    }

    /// The state within a prefix that says `token`, where `state` holds around it.
    fn with(&mut self, state: u32, token: u32) -> Result<u32, ImageError> {
        if (self.last.0, self.last.1) == (state, token) {
            return Ok(self.last.2);
        }
        let found = match self.with.get(&(state, token)) {
            Some(&found) => found,
            None => {
                let next = self.list[state as usize].with(self.tokens[token as usize]);
                let new = self.list.len() as u32;
                let found = *self.numbers.entry(next).or_insert_with_key(|next| {
                    self.list.push(next.clone());
                    new
                });
                if self.list.len() > MAX_STATES {
                    return Err(too_many_classes(self.list.len()));
                }
                self.with.insert((state, token), found);
                found
            }
        };
        self.last = (state, token, found);
        Ok(found)
    }
}

impl State {
    fn with(&self, token: Token) -> Self {
        let mut next = self.clone();
        match token {
            Token::Zone(zone) => next.zone = zone,
            Token::Protected => next.protected = true,
            Token::Upstream => next.upstream = true,
            Token::Set(set) => {
                if let Err(place) = next.sets.binary_search(&set) {
                    next.sets.insert(place, set);
                }
            }
            Token::Listed(ListValue { list, directions, observe }) => {
                let slots = if observe == 0 { &mut next.enforced } else { &mut next.observed };
                for (slot, bit) in slots.iter_mut().zip([DIRECTION_IN, DIRECTION_OUT]) {
                    if directions & bit != 0 {
                        *slot = Some(slot.map_or(list, |first| first.min(list)));
                    }
                }
            }
        }
        next
    }

    /// As a row, the cells not given yet.
    fn row(&self, states: &States, sources: &mut Numbers, destinations: &mut Numbers) -> AddressClass {
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        let mut flags = flag(self.protected, ADDRESS_PROTECTED) | flag(self.upstream, ADDRESS_UPSTREAM);
        let mut listed =
            |direction: usize, observed_flag| match (self.enforced[direction], self.observed[direction]) {
                (Some(list), _) => list,
                (None, Some(list)) => {
                    flags |= observed_flag;
                    list
                }
                (None, None) => NOTHING,
            };
        let listed_in = listed(0, ADDRESS_IN_OBSERVED);
        let listed_out = listed(1, ADDRESS_OUT_OBSERVED);
        let [as_source, as_destination] = states
            .named
            .each_ref()
            .map(|named| self.sets.iter().copied().filter(|set| named[usize::from(*set)]));
        // Counted when all are known.
        let place = |class: usize| Coordinate { class: class as u16, cell: 0 };
        AddressClass {
            zone: self.zone,
            flags,
            listed_in,
            listed_out,
            source: place(sources.number(as_source.collect())),
            destination: place(destinations.number(as_destination.collect())),
        }
    }
}

/// Sets of address sets, numbered as they are found; number 0 is the empty one.
struct Numbers {
    list: Vec<Vec<u16>>,
    known: HashMap<Vec<u16>, usize, FixedState>,
}

impl Default for Numbers {
    fn default() -> Self {
        Self { list: vec![Vec::new()], known: HashMap::from_iter([(Vec::new(), 0)]) }
    }
}

impl Numbers {
    fn number(&mut self, sets: Vec<u16>) -> usize {
        *self.known.entry(sets).or_insert_with_key(|sets| {
            self.list.push(sets.clone());
            self.list.len() - 1
        })
    }
}
