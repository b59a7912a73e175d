//! Python's `re` syntax (3.11) as a tree. What means something else in other dialects is settled here: `\<` is a `<`,
//! `[` and `&&` in a class are themselves, `{,n}` counts from 0, `$` stands before a last line feed, `\w` is what
//! Python's `isalnum` says.
//!
//! Source: the Python documentation of `re`.

use std::collections::BTreeMap;
use std::sync::Arc;

use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, HirKind};

use crate::fail2ban::limits::{MAX_COUNT, MAX_NESTING, MAX_REGEX};

/// A regex as a tree.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Empty,
    Literal(char),
    /// One character of these.
    Set(ClassUnicode),
    Assert(Assert),
    Group {
        index: usize,
        node: Box<Node>,
    },
    Concat(Vec<Node>),
    Either(Vec<Node>),
    Repeat {
        node: Box<Node>,
        least: u32,
        most: Option<u32>,
        greedy: bool,
        /// Never gives back what it took.
        possessive: bool,
    },
    /// Look-ahead and look-behind.
    Around {
        ahead: bool,
        negative: bool,
        node: Box<Node>,
    },
    Atomic(Box<Node>),
    /// What a group holds, once more.
    Same {
        group: usize,
        ignore_case: bool,
    },
    /// `(?(group)yes|no)`
    If {
        group: usize,
        yes: Box<Node>,
        no: Box<Node>,
    },
}

/// What holds at a place without taking a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Assert {
    Start,
    StartOfLine,
    /// The end, or before a line feed that is the end.
    End,
    EndOfLine,
    VeryEnd,
    Word,
    NotWord,
    /// Not inside a word: `(?=\b|\W|$)`, which is how Fail2ban bounds dates.
    Edge,
}

/// A parsed regex.
#[derive(Clone, Debug)]
pub(super) struct Parsed {
    pub(super) node: Node,
    /// Groups without the whole.
    pub(super) groups: usize,
    pub(super) names: Vec<(Arc<str>, usize)>,
}

/// Why a regex cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at character {at}: {message}")]
pub struct Mistake {
    /// Character of the regex, from 1.
    pub at: usize,
    /// What is wrong.
    pub message: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Flags {
    ignore_case: bool,
    many_lines: bool,
    dot_all: bool,
    verbose: bool,
    ascii: bool,
}

/// Reads a regex; `many_lines` is Python's `re.MULTILINE`.
pub(super) fn parse(text: &str, many_lines: bool) -> Result<Parsed, Mistake> {
    if text.len() > MAX_REGEX {
        return Err(Mistake { at: 1, message: format!("longer than {MAX_REGEX} bytes") });
    }
    let chars: Vec<char> = text.chars().collect();
    let mut flags = Flags { many_lines, ..Flags::default() };
    // Flags for the whole regex count from its beginning on, wherever they stand.
    for _ in 0..=5 {
        let mut parser = Parser::new(&chars, flags);
        let node = parser.either(flags, 0)?;
        if parser.at < chars.len() {
            return Err(parser.mistake("a `)` too many"));
        }
        if parser.whole == flags {
            if let Some((at, group)) = parser.asked.iter().find(|(_, group)| *group > parser.groups) {
                return Err(Mistake { at: *at, message: format!("there is no group {group}") });
            }
            return Ok(Parsed { node: settled(node), groups: parser.groups, names: parser.names });
        }
        flags = parser.whole;
    }
    Err(Mistake { at: 1, message: "its flags contradict each other".into() })
}

struct Parser<'t> {
    chars: &'t [char],
    at: usize,
    groups: usize,
    names: Vec<(Arc<str>, usize)>,
    /// Groups asked for by number that may come later.
    asked: Vec<(usize, usize)>,
    /// Flags that are set for the whole.
    whole: Flags,
}

impl<'t> Parser<'t> {
    fn new(chars: &'t [char], whole: Flags) -> Self {
        Self { chars, at: 0, groups: 0, names: Vec::new(), asked: Vec::new(), whole }
    }

    fn mistake(&self, message: impl Into<String>) -> Mistake {
        Mistake { at: self.at + 1, message: message.into() }
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }

    fn take(&mut self, text: &str) -> bool {
        let fits = text.chars().enumerate().all(|(n, c)| self.chars.get(self.at + n) == Some(&c));
        if fits {
            self.at += text.chars().count();
        }
        fits
    }

    /// Alternatives up to a `)` or the end.
    fn either(&mut self, flags: Flags, depth: usize) -> Result<Node, Mistake> {
        if depth > MAX_NESTING {
            return Err(self.mistake(format!("groups are nested deeper than {MAX_NESTING}")));
        }
        let mut branches = vec![self.concat(flags, depth)?];
        while self.take("|") {
            branches.push(self.concat(flags, depth)?);
        }
        Ok(if branches.len() == 1 { branches.remove(0) } else { Node::Either(branches) })
    }

    fn concat(&mut self, mut flags: Flags, depth: usize) -> Result<Node, Mistake> {
        let mut nodes = Vec::new();
        while let Some(c) = self.peek() {
            if c == '|' || c == ')' {
                break;
            }
            if flags.verbose && (c.is_ascii_whitespace() || c == '#') {
                self.at += 1;
                if c == '#' {
                    while self.next().is_some_and(|c| c != '\n') {}
                }
                continue;
            }
            let Some(node) = self.atom(&mut flags, depth)? else { continue };
            nodes.push(self.repeated(node, flags, c == '(')?);
        }
        Ok(match nodes.len() {
            0 => Node::Empty,
            1 => nodes.remove(0),
            _ => Node::Concat(nodes),
        })
    }

    /// Whatever `*`, `+`, `?` or `{m,n}` stands behind a node.
    fn repeated(&mut self, node: Node, flags: Flags, grouped: bool) -> Result<Node, Mistake> {
        if flags.verbose {
            while self.peek().is_some_and(|c| c.is_ascii_whitespace()) {
                self.at += 1;
            }
        }
        let Some((least, most)) = self.count()? else { return Ok(node) };
        if matches!(node, Node::Assert(_) | Node::Empty) && !grouped {
            return Err(self.mistake("there is nothing to repeat"));
        }
        let (greedy, possessive) = match self.peek() {
            Some('?') => (false, false),
            Some('+') => (true, true),
            _ => (true, false),
        };
        if !greedy || possessive {
            self.at += 1;
        }
        let before = self.at;
        if self.count()?.is_some() {
            self.at = before;
            return Err(self.mistake("a repeat of a repeat"));
        }
        Ok(Node::Repeat { node: Box::new(node), least, most, greedy, possessive })
    }

    fn count(&mut self) -> Result<Option<(u32, Option<u32>)>, Mistake> {
        let start = self.at;
        match self.peek() {
            Some('*') => {
                self.at += 1;
                return Ok(Some((0, None)));
            }
            Some('+') => {
                self.at += 1;
                return Ok(Some((1, None)));
            }
            Some('?') => {
                self.at += 1;
                return Ok(Some((0, Some(1))));
            }
            Some('{') => self.at += 1,
            _ => return Ok(None),
        }
        let low = self.digits()?;
        let comma = self.take(",");
        let high = if comma { self.digits()? } else { low };
        // `{}` and whatever is not a count stands for itself.
        if !self.take("}") || (low.is_none() && !comma) {
            self.at = start;
            return Ok(None);
        }
        let least = low.unwrap_or(0);
        if high.is_some_and(|high| high < least) {
            return Err(self.mistake("a repeat counts down"));
        }
        if least > MAX_COUNT || high.is_some_and(|high| high > MAX_COUNT) {
            return Err(self.mistake(format!("a repeat counts beyond {MAX_COUNT}")));
        }
        Ok(Some((least, high)))
    }

    fn digits(&mut self) -> Result<Option<u32>, Mistake> {
        let start = self.at;
        while self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
        }
        if start == self.at {
            return Ok(None);
        }
        let digits: String = self.chars[start..self.at].iter().collect();
        digits.parse().map(Some).map_err(|_| self.mistake("the number is too large"))
    }

    /// One thing; `None` for what only sets flags or is a comment.
    fn atom(&mut self, flags: &mut Flags, depth: usize) -> Result<Option<Node>, Mistake> {
        let Some(c) = self.next() else { return Ok(Some(Node::Empty)) };
        Ok(Some(match c {
            '.' if flags.dot_all => Node::Set(everything()),
            '.' => {
                let mut set = of(&[('\n', '\n')]);
                set.negate();
                Node::Set(set)
            }
            '^' if flags.many_lines => Node::Assert(Assert::StartOfLine),
            '^' => Node::Assert(Assert::Start),
            '$' if flags.many_lines => Node::Assert(Assert::EndOfLine),
            '$' => Node::Assert(Assert::End),
            '[' => self.set(*flags)?,
            '(' => return self.group(flags, depth),
            '*' | '+' | '?' => {
                self.at -= 1;
                return Err(self.mistake("there is nothing to repeat"));
            }
            '\\' => self.escape(*flags)?,
            c => literal(c, *flags),
        }))
    }

    fn escape(&mut self, flags: Flags) -> Result<Node, Mistake> {
        let Some(c) = self.next() else { return Err(self.mistake("a `\\` at the end")) };
        Ok(match c {
            'A' => Node::Assert(Assert::Start),
            'Z' => Node::Assert(Assert::VeryEnd),
            'b' => Node::Assert(Assert::Word),
            'B' => Node::Assert(Assert::NotWord),
            'd' | 'D' | 's' | 'S' | 'w' | 'W' => Node::Set(named(c, flags)),
            '1'..='9' => {
                let mut group = c as usize - '0' as usize;
                if let Some(more) = self.peek().and_then(|c| c.to_digit(10)) {
                    // Three octal digits are a character.
                    let octal: Option<u32> = (c < '4')
                        .then(|| self.chars.get(self.at - 1..self.at + 2))
                        .flatten()
                        .and_then(|digits| u32::from_str_radix(&digits.iter().collect::<String>(), 8).ok());
                    if let Some(octal) = octal.and_then(char::from_u32) {
                        self.at += 2;
                        return Ok(literal(octal, flags));
                    }
                    self.at += 1;
                    group = group * 10 + more as usize;
                }
                self.asked.push((self.at, group));
                Node::Same { group, ignore_case: flags.ignore_case }
            }
            c => literal(self.character(c)?, flags),
        })
    }

    /// The character that an escape stands for; the letter has been taken.
    fn character(&mut self, c: char) -> Result<char, Mistake> {
        let hex = |parser: &mut Self, count: usize| {
            let digits: String = parser.chars.iter().skip(parser.at).take(count).collect();
            let whole = digits.len() == count && digits.chars().all(|c| c.is_ascii_hexdigit());
            let code = whole.then(|| u32::from_str_radix(&digits, 16).ok()).flatten();
            parser.at += count;
            code.and_then(char::from_u32).ok_or_else(|| parser.mistake("not the number of a character"))
        };
        Ok(match c {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'f' => '\u{c}',
            'v' => '\u{b}',
            'a' => '\u{7}',
            'x' => hex(self, 2)?,
            'u' => hex(self, 4)?,
            'U' => hex(self, 8)?,
            '0' => {
                let digits: String =
                    self.chars[self.at..].iter().take(2).take_while(|c| ('0'..='7').contains(c)).collect();
                self.at += digits.len();
                u32::from_str_radix(&format!("0{digits}"), 8).ok().and_then(char::from_u32).unwrap_or('\0')
            }
            c if c.is_ascii_alphanumeric() => {
                return Err(self.mistake(format!("`\\{c}` means nothing")));
            }
            c => c,
        })
    }

    fn set(&mut self, flags: Flags) -> Result<Node, Mistake> {
        let start = self.at;
        let negative = self.take("^");
        let first = self.at;
        let mut set = ClassUnicode::empty();
        loop {
            let Some(c) = self.next() else {
                self.at = start;
                return Err(self.mistake("a `[` without its `]`"));
            };
            if c == ']' && self.at - 1 > first {
                break;
            }
            let low = match self.member(c, flags)? {
                Member::Set(more) => {
                    set.union(&more);
                    continue;
                }
                Member::Char(c) => c,
            };
            let range = self.peek() == Some('-') && self.chars.get(self.at + 1).is_some_and(|c| *c != ']');
            let mut high = low;
            if range {
                self.at += 1;
                let c = self.next().unwrap_or(']');
                match self.member(c, flags)? {
                    Member::Char(c) if c >= low => high = c,
                    Member::Char(_) => return Err(self.mistake("a range goes backwards")),
                    Member::Set(_) => return Err(self.mistake("a range to a class")),
                }
            }
            set.push(ClassUnicodeRange::new(low, high));
        }
        if flags.ignore_case {
            // Cannot fail: the tables are compiled in.
            let _ = set.try_case_fold_simple();
        }
        if negative {
            set.negate();
        }
        Ok(Node::Set(set))
    }

    fn member(&mut self, c: char, flags: Flags) -> Result<Member, Mistake> {
        if c != '\\' {
            return Ok(Member::Char(c));
        }
        let Some(c) = self.next() else { return Err(self.mistake("a `\\` at the end")) };
        Ok(match c {
            'd' | 'D' | 's' | 'S' | 'w' | 'W' => Member::Set(named(c, flags)),
            'b' => Member::Char('\u{8}'),
            '1'..='7' => {
                let digits: String = std::iter::once(c)
                    .chain(self.chars[self.at..].iter().copied().take(2))
                    .take_while(|c| ('0'..='7').contains(c))
                    .collect();
                self.at += digits.len() - 1;
                let code = u32::from_str_radix(&digits, 8).ok().and_then(char::from_u32);
                Member::Char(code.ok_or_else(|| self.mistake("not the number of a character"))?)
            }
            c => Member::Char(self.character(c)?),
        })
    }

    fn group(&mut self, flags: &mut Flags, depth: usize) -> Result<Option<Node>, Mistake> {
        let start = self.at;
        if self.take(r"?=\b|\W|$)") {
            return Ok(Some(Node::Assert(Assert::Edge)));
        }
        let node = if !self.take("?") {
            let index = self.new_group(None)?;
            Node::Group { index, node: Box::new(self.either(*flags, depth + 1)?) }
        } else if self.take(":") {
            self.either(*flags, depth + 1)?
        } else if self.take(">") {
            Node::Atomic(Box::new(self.either(*flags, depth + 1)?))
        } else if self.take("#") {
            while self.peek().is_some_and(|c| c != ')') {
                self.at += 1;
            }
            self.close(start)?;
            return Ok(None);
        } else if self.take("P<") {
            let name = self.name('>')?;
            let index = self.new_group(Some(name))?;
            Node::Group { index, node: Box::new(self.either(*flags, depth + 1)?) }
        } else if self.take("P=") {
            let name = self.name(')')?;
            let group = self.named_group(&name)?;
            return Ok(Some(Node::Same { group, ignore_case: flags.ignore_case }));
        } else if self.take("(") {
            let name = self.name(')')?;
            let group = match name.parse::<usize>() {
                Ok(group) => {
                    self.asked.push((self.at, group));
                    group
                }
                Err(_) => self.named_group(&name)?,
            };
            let yes = Box::new(self.concat(*flags, depth + 1)?);
            let no = Box::new(if self.take("|") { self.concat(*flags, depth + 1)? } else { Node::Empty });
            if self.peek() == Some('|') {
                return Err(self.mistake("a condition with more than two branches"));
            }
            Node::If { group, yes, no }
        } else if let Some((ahead, negative)) = self.around() {
            Node::Around { ahead, negative, node: Box::new(self.either(*flags, depth + 1)?) }
        } else {
            let changed = self.flags(*flags)?;
            if self.take(")") {
                // For the whole, as Python took it up to 3.10 wherever it stood.
                self.whole = Flags {
                    ignore_case: self.whole.ignore_case | changed.ignore_case,
                    many_lines: self.whole.many_lines | changed.many_lines,
                    dot_all: self.whole.dot_all | changed.dot_all,
                    verbose: self.whole.verbose | changed.verbose,
                    ascii: self.whole.ascii | changed.ascii,
                };
                *flags = changed;
                return Ok(None);
            }
            if !self.take(":") {
                return Err(self.mistake("a group that begins with `(?` and goes on in no known way"));
            }
            self.either(changed, depth + 1)?
        };
        self.close(start)?;
        Ok(Some(node))
    }

    fn around(&mut self) -> Option<(bool, bool)> {
        [("=", (true, false)), ("!", (true, true)), ("<=", (false, false)), ("<!", (false, true))]
            .into_iter()
            .find_map(|(sign, kind)| self.take(sign).then_some(kind))
    }

    fn flags(&mut self, mut flags: Flags) -> Result<Flags, Mistake> {
        let mut on = true;
        while let Some(c) = self.peek() {
            match c {
                'i' => flags.ignore_case = on,
                'm' => flags.many_lines = on,
                's' => flags.dot_all = on,
                'x' => flags.verbose = on,
                'a' => flags.ascii = on,
                'u' => flags.ascii = !on,
                'L' => return Err(self.mistake("the flag `L` is for bytes, not for text")),
                '-' if on => on = false,
                _ => break,
            }
            self.at += 1;
        }
        Ok(flags)
    }

    fn close(&mut self, start: usize) -> Result<(), Mistake> {
        if self.take(")") {
            return Ok(());
        }
        self.at = start.saturating_sub(1);
        Err(self.mistake("a `(` without its `)`"))
    }

    fn name(&mut self, end: char) -> Result<String, Mistake> {
        let start = self.at;
        while self.peek().is_some_and(|c| c != end) {
            self.at += 1;
        }
        let name: String = self.chars[start..self.at].iter().collect();
        if self.next().is_none() || name.is_empty() {
            self.at = start;
            return Err(self.mistake(format!("a name without its `{end}`")));
        }
        Ok(name)
    }

    fn new_group(&mut self, name: Option<String>) -> Result<usize, Mistake> {
        self.groups += 1;
        if let Some(name) = name {
            let right = name.chars().all(|c| c.is_alphanumeric() || c == '_')
                && !name.starts_with(|c: char| c.is_numeric());
            if !right {
                return Err(self.mistake(format!("`{name}` is not a name for a group")));
            }
            if self.names.iter().any(|(known, _)| **known == *name) {
                return Err(self.mistake(format!("the group `{name}` is there twice")));
            }
            self.names.push((name.into(), self.groups));
        }
        Ok(self.groups)
    }

    fn named_group(&self, name: &str) -> Result<usize, Mistake> {
        let known = self.names.iter().find(|(known, _)| **known == *name);
        known.map(|(_, index)| *index).ok_or_else(|| self.mistake(format!("there is no group `{name}`")))
    }
}

/// Most characters of a group that is asked for again and is written out for each of them.
const MAX_WRITTEN_OUT: usize = 4;

/// Writes `(?P<a>[-/])x(?P=a)` out as `(?P<a>-)x-|(?P<a>/)x/`, which an automaton can do. Dates are written so.
fn settled(node: Node) -> Node {
    let mut counts = BTreeMap::new();
    count_same(&node, &mut counts);
    if counts.is_empty() { node } else { write_out(node, &counts) }
}

/// How often groups are asked for again.
fn count_same(node: &Node, counts: &mut BTreeMap<usize, usize>) {
    match node {
        Node::Same { group, .. } => *counts.entry(*group).or_default() += 1,
        Node::Empty | Node::Literal(_) | Node::Set(_) | Node::Assert(_) => {}
        Node::Group { node, .. }
        | Node::Repeat { node, .. }
        | Node::Around { node, .. }
        | Node::Atomic(node) => count_same(node, counts),
        Node::Concat(nodes) | Node::Either(nodes) => nodes.iter().for_each(|node| count_same(node, counts)),
        Node::If { yes, no, .. } => [yes, no].into_iter().for_each(|node| count_same(node, counts)),
    }
}

fn write_out(node: Node, counts: &BTreeMap<usize, usize>) -> Node {
    let inner = |node: Box<Node>| Box::new(write_out(*node, counts));
    match node {
        Node::Concat(nodes) => {
            let found = nodes.iter().enumerate().find_map(|(at, node)| {
                let Node::Group { index, node } = node else { return None };
                let Node::Set(set) = &**node else { return None };
                let chars: Vec<char> =
                    set.iter().flat_map(|range| range.start()..=range.end()).take(5).collect();
                let mut after = BTreeMap::new();
                nodes[at + 1..].iter().for_each(|node| count_same(node, &mut after));
                let all = after.get(index).is_some_and(|count| counts.get(index) == Some(count));
                let plain = chars.len() <= MAX_WRITTEN_OUT && chars.iter().all(|c| !c.is_alphabetic());
                (all && plain).then_some((at, *index, chars))
            });
            let Some((at, index, chars)) = found else {
                return Node::Concat(nodes.into_iter().map(|node| write_out(node, counts)).collect());
            };
            let branch = |c: char| {
                let mut nodes = nodes.clone();
                nodes[at] = Node::Group { index, node: Box::new(Node::Literal(c)) };
                nodes[at + 1..].iter_mut().for_each(|node| replace_same(node, index, c));
                Node::Concat(nodes)
            };
            Node::Either(chars.into_iter().map(branch).collect())
        }
        Node::Either(nodes) => Node::Either(nodes.into_iter().map(|node| write_out(node, counts)).collect()),
        Node::Group { index, node } => Node::Group { index, node: inner(node) },
        Node::Atomic(node) => Node::Atomic(inner(node)),
        // Within a repeat the group may be of another round.
        node @ (Node::Empty
        | Node::Literal(_)
        | Node::Set(_)
        | Node::Assert(_)
        | Node::Same { .. }
        | Node::Repeat { .. }
        | Node::Around { .. }
        | Node::If { .. }) => node,
    }
}

fn replace_same(node: &mut Node, wanted: usize, c: char) {
    match node {
        Node::Same { group, .. } if *group == wanted => *node = Node::Literal(c),
        Node::Empty | Node::Literal(_) | Node::Set(_) | Node::Assert(_) | Node::Same { .. } => {}
        Node::Group { node, .. }
        | Node::Repeat { node, .. }
        | Node::Around { node, .. }
        | Node::Atomic(node) => replace_same(node, wanted, c),
        Node::Concat(nodes) | Node::Either(nodes) => {
            nodes.iter_mut().for_each(|node| replace_same(node, wanted, c));
        }
        Node::If { yes, no, .. } => [yes, no].into_iter().for_each(|node| replace_same(node, wanted, c)),
    }
}

enum Member {
    Char(char),
    Set(ClassUnicode),
}

fn literal(c: char, flags: Flags) -> Node {
    if !flags.ignore_case {
        return Node::Literal(c);
    }
    let mut set = of(&[(c, c)]);
    // Cannot fail: the tables are compiled in.
    let _ = set.try_case_fold_simple();
    match set.ranges() {
        [one] if one.start() == one.end() => Node::Literal(c),
        _ => Node::Set(set),
    }
}

/// `\d`, `\s`, `\w` and their opposites.
fn named(c: char, flags: Flags) -> ClassUnicode {
    let mut set = match (c.to_ascii_lowercase(), flags.ascii) {
        ('d', true) => of(&[('0', '9')]),
        ('s', true) => of(&[('\t', '\r'), (' ', ' ')]),
        ('w', true) => of(&[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')]),
        ('d', false) => of_syntax(r"\p{Nd}"),
        ('s', false) => of_syntax(r"[\s\x1c-\x1f]"),
        _ => word(),
    };
    if c.is_ascii_uppercase() {
        set.negate();
    }
    set
}

/// What `\w` and `\b` take for a letter.
pub(super) fn word() -> ClassUnicode {
    of_syntax(r"[\p{L}\p{N}_]")
}

fn of(ranges: &[(char, char)]) -> ClassUnicode {
    ClassUnicode::new(ranges.iter().map(|(low, high)| ClassUnicodeRange::new(*low, *high)))
}

pub(super) fn everything() -> ClassUnicode {
    of(&[('\0', char::MAX)])
}

fn of_syntax(class: &str) -> ClassUnicode {
    match regex_syntax::parse(class).map(regex_syntax::hir::Hir::into_kind) {
        Ok(HirKind::Class(Class::Unicode(set))) => set,
        // The few classes above are Unicode classes.
        _ => ClassUnicode::empty(),
    }
}
