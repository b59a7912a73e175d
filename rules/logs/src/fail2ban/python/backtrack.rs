//! Trees as programs that are matched by trying, as Python does it, for what automata cannot do. Steps are counted.
//! After a while the matcher remembers where it has been, so that only what asks for the same text once more
//! (`(?P=name)`) can take more than linear time; and that ends at a named limit.

use regex_syntax::hir::ClassUnicode;

use super::syntax::{Assert, Node, word};
use crate::fail2ban::limits::{FREE_STEPS, MAX_PROGRAM, MAX_STEPS, MAX_VISITED};

/// Conditions that are part of what the matcher remembers of a place.
const MAX_CONDITIONS: usize = 4;

/// A set of characters with a table for ASCII.
#[derive(Debug)]
struct Set {
    ascii: u128,
    set: ClassUnicode,
}

impl Set {
    fn new(set: &ClassUnicode) -> Self {
        let mut ascii = 0_u128;
        for range in set.iter() {
            for c in u32::from(range.start())..=u32::from(range.end()).min(127) {
                ascii |= 1 << c;
            }
        }
        Self { ascii, set: set.clone() }
    }

    fn has(&self, c: char) -> bool {
        if c.is_ascii() {
            return self.ascii >> u32::from(c) & 1 == 1;
        }
        let ranges = self.set.ranges();
        let after = ranges.partition_point(|range| range.start() <= c);
        after.checked_sub(1).and_then(|at| ranges.get(at)).is_some_and(|range| c <= range.end())
    }
}

#[derive(Debug)]
enum Step {
    Text(Box<str>),
    Set(usize),
    Assert(Assert),
    Save(usize),
    /// Go on at the first; if that fails, at the second.
    Try(usize, usize),
    Go(usize),
    /// As many characters of a set as there are (or, lazily, as few as do), from `least` to `most`.
    Span {
        set: usize,
        least: u32,
        most: u32,
        greedy: bool,
        atomic: bool,
    },
    /// Remembers where a round of a loop begins.
    Begin(usize),
    /// A round that took nothing is the last.
    Check {
        register: usize,
        out: usize,
    },
    Same {
        group: usize,
        ignore_case: bool,
    },
    If {
        group: usize,
        no: usize,
    },
    /// What follows up to `Done` must match here (or `back` characters before), or must not.
    Around {
        back: Option<usize>,
        negative: bool,
        then: usize,
    },
    /// What follows up to `Done` is matched once.
    Atomic {
        then: usize,
    },
    Done,
}

/// A compiled tree.
#[derive(Debug)]
pub(super) struct Program {
    steps: Vec<Step>,
    sets: Vec<Set>,
    word: Set,
    slots: usize,
    registers: usize,
    /// Groups that conditions ask for.
    conditions: Vec<usize>,
    /// It can only match at the start of the text.
    anchored: bool,
    /// There is a step whose way depends on what groups hold.
    asks_again: bool,
}

impl Program {
    pub(super) fn new(node: &Node, groups: usize) -> Result<Self, String> {
        let mut program = Self {
            steps: Vec::new(),
            sets: Vec::new(),
            word: Set::new(&word()),
            slots: 2 * (groups + 1),
            registers: 0,
            conditions: Vec::new(),
            anchored: is_anchored(node),
            asks_again: false,
        };
        program.put(node)?;
        program.push(Step::Done)?;
        program.asks_again = program.steps.iter().any(|step| matches!(step, Step::Same { .. }));
        Ok(program)
    }

    fn push(&mut self, step: Step) -> Result<usize, String> {
        if self.steps.len() >= MAX_PROGRAM {
            return Err(format!("it takes more than {MAX_PROGRAM} steps"));
        }
        self.steps.push(step);
        Ok(self.steps.len() - 1)
    }

    fn set(&mut self, set: &ClassUnicode) -> usize {
        if let Some(at) = self.sets.iter().position(|known| known.set == *set) {
            return at;
        }
        self.sets.push(Set::new(set));
        self.sets.len() - 1
    }

    fn put(&mut self, node: &Node) -> Result<(), String> {
        match node {
            Node::Empty => {}
            Node::Literal(c) => {
                self.push(Step::Text(c.to_string().into()))?;
            }
            Node::Set(set) => {
                let set = self.set(set);
                self.push(Step::Set(set))?;
            }
            Node::Assert(assert) => {
                self.push(Step::Assert(*assert))?;
            }
            Node::Group { index, node } => {
                self.push(Step::Save(2 * index))?;
                self.put(node)?;
                self.push(Step::Save(2 * index + 1))?;
            }
            Node::Concat(nodes) => {
                let mut text = String::new();
                for node in nodes {
                    if let Node::Literal(c) = node {
                        text.push(*c);
                        continue;
                    }
                    if !text.is_empty() {
                        self.push(Step::Text(std::mem::take(&mut text).into()))?;
                    }
                    self.put(node)?;
                }
                if !text.is_empty() {
                    self.push(Step::Text(text.into()))?;
                }
            }
            Node::Either(nodes) => {
                let mut ends = Vec::new();
                for (number, node) in nodes.iter().enumerate() {
                    if number + 1 == nodes.len() {
                        self.put(node)?;
                        break;
                    }
                    let branch = self.push(Step::Try(0, 0))?;
                    self.put(node)?;
                    ends.push(self.push(Step::Go(0))?);
                    self.steps[branch] = Step::Try(branch + 1, self.steps.len());
                }
                let end = self.steps.len();
                for at in ends {
                    self.steps[at] = Step::Go(end);
                }
            }
            Node::Repeat { node, least, most, greedy, possessive } => {
                self.repeat(node, *least, *most, *greedy, *possessive)?;
            }
            Node::Around { ahead, negative, node } => {
                let back = match ahead {
                    true => None,
                    false => Some(width(node).ok_or("a look-behind of no fixed width")?),
                };
                let at = self.push(Step::Done)?;
                self.put(node)?;
                self.push(Step::Done)?;
                self.steps[at] = Step::Around { back, negative: *negative, then: self.steps.len() };
            }
            Node::Atomic(node) => {
                let at = self.push(Step::Done)?;
                self.put(node)?;
                self.push(Step::Done)?;
                self.steps[at] = Step::Atomic { then: self.steps.len() };
            }
            Node::Same { group, ignore_case } => {
                self.push(Step::Same { group: *group, ignore_case: *ignore_case })?;
            }
            Node::If { group, yes, no } => {
                if !self.conditions.contains(group) {
                    self.conditions.push(*group);
                }
                let at = self.push(Step::Done)?;
                self.put(yes)?;
                let end = self.push(Step::Go(0))?;
                self.steps[at] = Step::If { group: *group, no: self.steps.len() };
                self.put(no)?;
                self.steps[end] = Step::Go(self.steps.len());
            }
        }
        Ok(())
    }

    fn repeat(
        &mut self,
        node: &Node,
        least: u32,
        most: Option<u32>,
        greedy: bool,
        possessive: bool,
    ) -> Result<(), String> {
        let one = match node {
            Node::Set(set) => Some(self.set(set)),
            Node::Literal(c) => {
                let mut set = ClassUnicode::empty();
                set.push(regex_syntax::hir::ClassUnicodeRange::new(*c, *c));
                Some(self.set(&set))
            }
            _ => None,
        };
        if let Some(set) = one {
            let most = most.unwrap_or(u32::MAX);
            self.push(Step::Span { set, least, most, greedy, atomic: possessive })?;
            return Ok(());
        }
        let atomic = if possessive { Some(self.push(Step::Done)?) } else { None };
        for _ in 0..least {
            self.put(node)?;
        }
        let branch =
            |into: usize, out: usize| if greedy { Step::Try(into, out) } else { Step::Try(out, into) };
        match most {
            Some(most) => {
                let mut branches = Vec::new();
                for _ in least..most {
                    branches.push(self.push(Step::Done)?);
                    self.put(node)?;
                }
                let out = self.steps.len();
                for at in branches {
                    self.steps[at] = branch(at + 1, out);
                }
            }
            None => {
                let register = self.registers;
                self.registers += 1;
                let at = self.push(Step::Done)?;
                self.push(Step::Begin(register))?;
                self.put(node)?;
                self.push(Step::Check { register, out: 0 })?;
                let check = self.steps.len() - 1;
                self.push(Step::Go(at))?;
                let out = self.steps.len();
                self.steps[at] = branch(at + 1, out);
                self.steps[check] = Step::Check { register, out };
            }
        }
        if let Some(at) = atomic {
            self.push(Step::Done)?;
            self.steps[at] = Step::Atomic { then: self.steps.len() };
        }
        Ok(())
    }
}

/// Characters that a node takes, if they are always as many.
fn width(node: &Node) -> Option<usize> {
    match node {
        Node::Empty | Node::Assert(_) | Node::Around { .. } => Some(0),
        Node::Literal(_) | Node::Set(_) => Some(1),
        Node::Group { node, .. } | Node::Atomic(node) => width(node),
        Node::Concat(nodes) => nodes.iter().map(width).sum(),
        Node::Either(nodes) => {
            let mut widths = nodes.iter().map(width);
            let first = widths.next()??;
            widths.all(|width| width == Some(first)).then_some(first)
        }
        Node::Repeat { node, least, most, .. } => {
            (Some(*least) == *most).then(|| width(node).map(|width| width * *least as usize)).flatten()
        }
        Node::If { yes, no, .. } => width(yes).filter(|yes| width(no) == Some(*yes)),
        Node::Same { .. } => None,
    }
}

fn is_anchored(node: &Node) -> bool {
    match node {
        Node::Assert(assert) => *assert == Assert::Start,
        Node::Group { node, .. } | Node::Atomic(node) => is_anchored(node),
        Node::Concat(nodes) => nodes.first().is_some_and(is_anchored),
        Node::Either(nodes) => nodes.iter().all(is_anchored),
        Node::Repeat { node, least, .. } => *least > 0 && is_anchored(node),
        Node::Empty
        | Node::Literal(_)
        | Node::Set(_)
        | Node::Around { .. }
        | Node::Same { .. }
        | Node::If { .. } => false,
    }
}

/// What to do when a way turns out wrong.
#[derive(Clone, Copy, Debug)]
enum Back {
    Try {
        step: usize,
        at: usize,
    },
    /// A span may give back (or, lazily, take) one more.
    Shrink {
        step: usize,
        least: usize,
        at: usize,
    },
    Grow {
        step: usize,
        at: usize,
        left: u32,
    },
    Slot {
        slot: usize,
        held: usize,
    },
    Register {
        register: usize,
        held: usize,
    },
}

/// Memory of the matcher, to be used again.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) slots: Vec<usize>,
    registers: Vec<usize>,
    back: Vec<Back>,
    visited: Vec<u64>,
    /// Steps left for the line.
    pub(super) steps: u32,
    /// A search ended at a limit.
    pub(super) gave_up: bool,
}

/// No place.
pub(super) const UNSET: usize = usize::MAX;

struct Run<'p, 't> {
    program: &'p Program,
    text: &'t str,
    memory: &'p mut Memory,
    /// Steps left for this search.
    left: u32,
    /// Where it has been is remembered.
    remember: bool,
}

/// Ended at the limit of steps.
struct GaveUp;

impl Program {
    /// The leftmost match, from `from` on; `memory.slots` holds its groups.
    pub(super) fn search(&self, text: &str, from: usize, memory: &mut Memory) -> bool {
        let most = MAX_STEPS.min(memory.steps);
        for (limit, remember) in [(FREE_STEPS.min(most), false), (most, true)] {
            let mut run = Run { program: self, text, memory, left: limit, remember };
            let found = run.search(from);
            let used = limit - run.left;
            memory.steps -= used.min(memory.steps);
            match found {
                Ok(found) => return found,
                Err(GaveUp) if remember => memory.gave_up = true,
                Err(GaveUp) => {}
            }
        }
        false
    }
}

impl Run<'_, '_> {
    fn search(&mut self, from: usize) -> Result<bool, GaveUp> {
        if self.remember {
            let bits = ((self.text.len() + 1) * self.program.steps.len()) << self.conditions();
            self.remember = bits <= MAX_VISITED;
            self.memory.visited.clear();
            if self.remember {
                self.memory.visited.resize(bits / 64 + 1, 0);
            }
        }
        let mut at = from;
        loop {
            self.memory.slots.clear();
            self.memory.slots.resize(self.program.slots, UNSET);
            self.memory.registers.clear();
            self.memory.registers.resize(self.program.registers, UNSET);
            self.memory.back.clear();
            if let Some(end) = self.run(0, at, 0)? {
                self.memory.slots[0] = at;
                self.memory.slots[1] = end;
                return Ok(true);
            }
            let Some(c) = self.text.get(at..).and_then(|rest| rest.chars().next()) else { return Ok(false) };
            if self.program.anchored {
                return Ok(false);
            }
            at += c.len_utf8();
        }
    }

    fn conditions(&self) -> usize {
        if self.program.conditions.len() > MAX_CONDITIONS { 0 } else { self.program.conditions.len() }
    }

    /// This step has been tried here before, and failed.
    fn visited(&mut self, step: usize, at: usize) -> bool {
        let mut state = step * (self.text.len() + 1) + at;
        if self.program.conditions.len() > MAX_CONDITIONS {
            return false;
        }
        for group in &self.program.conditions {
            state = state << 1 | usize::from(self.memory.slots[2 * group + 1] != UNSET);
        }
        let Some(word) = self.memory.visited.get_mut(state / 64) else { return false };
        let known = *word >> (state % 64) & 1 == 1;
        *word |= 1 << (state % 64);
        known
    }

    /// From a step at a place to its `Done`; the place there. Depth is that of looking around.
    fn run(&mut self, mut step: usize, mut at: usize, depth: usize) -> Result<Option<usize>, GaveUp> {
        let floor = self.memory.back.len();
        let remember = self.remember && depth == 0 && !self.program.asks_again;
        loop {
            self.left = self.left.checked_sub(1).ok_or(GaveUp)?;
            let program = self.program;
            let text = self.text;
            let rest = &text[at..];
            let goes_on = match &program.steps[step] {
                Step::Text(wanted) => {
                    let fits = rest.as_bytes().starts_with(wanted.as_bytes());
                    at += if fits { wanted.len() } else { 0 };
                    step += 1;
                    fits
                }
                Step::Set(set) => match rest.chars().next() {
                    Some(c) if program.sets[*set].has(c) => {
                        at += c.len_utf8();
                        step += 1;
                        true
                    }
                    _ => false,
                },
                Step::Assert(assert) => {
                    step += 1;
                    self.holds(*assert, at)
                }
                Step::Save(slot) => {
                    let held = std::mem::replace(&mut self.memory.slots[*slot], at);
                    self.memory.back.push(Back::Slot { slot: *slot, held });
                    step += 1;
                    true
                }
                Step::Try(first, second) => {
                    if remember && self.visited(step, at) {
                        false
                    } else {
                        self.memory.back.push(Back::Try { step: *second, at });
                        step = *first;
                        true
                    }
                }
                Step::Go(to) => {
                    step = *to;
                    true
                }
                Step::Span { set, least, most, greedy, atomic } => {
                    if remember && self.visited(step, at) {
                        false
                    } else {
                        let set = &program.sets[*set];
                        let wanted = if *greedy { *most } else { *least };
                        let (mut taken, mut end, mut lowest) = (0_u32, at, at);
                        for c in rest.chars() {
                            if taken == *least {
                                lowest = end;
                            }
                            if taken == wanted || !set.has(c) {
                                break;
                            }
                            taken += 1;
                            end += c.len_utf8();
                        }
                        if taken == *least {
                            lowest = end;
                        }
                        self.left = self.left.saturating_sub(taken / 8);
                        if taken < *least {
                            false
                        } else {
                            if *greedy && !atomic && end > lowest {
                                self.memory.back.push(Back::Shrink {
                                    step: step + 1,
                                    least: lowest,
                                    at: end,
                                });
                            } else if !*greedy && *most > taken {
                                self.memory.back.push(Back::Grow { step, at: end, left: *most - taken });
                            }
                            at = end;
                            step += 1;
                            true
                        }
                    }
                }
                Step::Begin(register) => {
                    let held = std::mem::replace(&mut self.memory.registers[*register], at);
                    self.memory.back.push(Back::Register { register: *register, held });
                    step += 1;
                    true
                }
                Step::Check { register, out } => {
                    step = if self.memory.registers[*register] == at { *out } else { step + 1 };
                    true
                }
                Step::Same { group, ignore_case } => {
                    let (start, end) = (self.memory.slots[2 * group], self.memory.slots[2 * group + 1]);
                    let held = if end == UNSET { None } else { self.text.get(start..end) };
                    let taken = held.and_then(|held| same(held, rest, *ignore_case));
                    at += taken.unwrap_or(0);
                    step += 1;
                    taken.is_some()
                }
                Step::If { group, no } => {
                    step = if self.memory.slots[2 * group + 1] == UNSET { *no } else { step + 1 };
                    true
                }
                Step::Around { back, negative, then } => {
                    let start = match back {
                        None => Some(at),
                        Some(0) => Some(at),
                        Some(back) => self.text[..at].char_indices().rev().nth(back - 1).map(|(at, _)| at),
                    };
                    let found = match start {
                        Some(start) => self.sub(step + 1, start, depth, *negative)?,
                        None => None,
                    };
                    step = *then;
                    found.is_some() != *negative
                }
                Step::Atomic { then } => {
                    let found = self.sub(step + 1, at, depth, false)?;
                    at = found.unwrap_or(at);
                    step = *then;
                    found.is_some()
                }
                Step::Done => return Ok(Some(at)),
            };
            if !goes_on {
                match self.back(floor) {
                    Some(to) => (step, at) = to,
                    None => return Ok(None),
                }
            }
        }
    }

    /// Runs what is looked around for. What it saved stays if it is found, but not how else it could have been.
    fn sub(&mut self, step: usize, at: usize, depth: usize, forget: bool) -> Result<Option<usize>, GaveUp> {
        let floor = self.memory.back.len();
        let found = self.run(step, at, depth + 1)?;
        if found.is_some() {
            if forget {
                while self.memory.back.len() > floor {
                    self.undo();
                }
            } else {
                let mut kept = floor;
                for at in floor..self.memory.back.len() {
                    if let entry @ (Back::Slot { .. } | Back::Register { .. }) = self.memory.back[at] {
                        self.memory.back[kept] = entry;
                        kept += 1;
                    }
                }
                self.memory.back.truncate(kept);
            }
        }
        Ok(found)
    }

    /// Takes the last thing back that is no way to go on.
    fn undo(&mut self) {
        match self.memory.back.pop() {
            Some(Back::Slot { slot, held }) => self.memory.slots[slot] = held,
            Some(Back::Register { register, held }) => self.memory.registers[register] = held,
            Some(Back::Try { .. } | Back::Shrink { .. } | Back::Grow { .. }) | None => {}
        }
    }

    /// The next way to try.
    fn back(&mut self, floor: usize) -> Option<(usize, usize)> {
        while self.memory.back.len() > floor {
            match *self.memory.back.last()? {
                Back::Try { step, at } => {
                    self.memory.back.pop();
                    return Some((step, at));
                }
                Back::Shrink { step, least, at } => {
                    let (lower, _) = self.text[..at].char_indices().next_back()?;
                    self.memory.back.pop();
                    if lower > least {
                        self.memory.back.push(Back::Shrink { step, least, at: lower });
                    }
                    return Some((step, lower));
                }
                Back::Grow { step, at, left } => {
                    self.memory.back.pop();
                    let Step::Span { set, .. } = &self.program.steps[step] else { return None };
                    let Some(c) = self.text[at..].chars().next() else { continue };
                    if !self.program.sets[*set].has(c) {
                        continue;
                    }
                    let at = at + c.len_utf8();
                    if left > 1 {
                        self.memory.back.push(Back::Grow { step, at, left: left - 1 });
                    }
                    return Some((step + 1, at));
                }
                Back::Slot { .. } | Back::Register { .. } => self.undo(),
            }
        }
        None
    }

    fn holds(&self, assert: Assert, at: usize) -> bool {
        let (before, rest) = self.text.split_at(at);
        let is_word = |c: Option<char>| c.is_some_and(|c| self.program.word.has(c));
        let edge = || is_word(before.chars().next_back()) != is_word(rest.chars().next());
        match assert {
            Assert::Start => at == 0,
            Assert::StartOfLine => at == 0 || before.ends_with('\n'),
            Assert::End => rest.is_empty() || rest == "\n",
            Assert::EndOfLine => rest.is_empty() || rest.starts_with('\n'),
            Assert::VeryEnd => rest.is_empty(),
            Assert::Word => edge(),
            Assert::NotWord => !edge(),
            Assert::Edge => !(is_word(before.chars().next_back()) && is_word(rest.chars().next())),
        }
    }
}

/// Bytes at the beginning of `rest` that are `held` once more.
fn same(held: &str, rest: &str, ignore_case: bool) -> Option<usize> {
    if !ignore_case {
        return rest.as_bytes().starts_with(held.as_bytes()).then_some(held.len());
    }
    let mut taken = 0;
    let mut chars = rest.chars();
    for c in held.chars() {
        let other = chars.next()?;
        c.to_lowercase().eq(other.to_lowercase()).then_some(())?;
        taken += other.len_utf8();
    }
    Some(taken)
}
