//! Trees as automata, which take time linear in the text. What automata cannot do (looking around, the same text once
//! more, conditions) is left out in a *relaxed* one: it finds all that the tree finds and more, so that what it does not
//! find needs no backtracking.

use regex_automata::MatchKind;
use regex_automata::meta::{BuildError, Config, Regex};
use regex_syntax::hir::{Capture, Class, ClassUnicode, ClassUnicodeRange, Hir, Look, Repetition};

use super::syntax::{Assert, Node, everything};
use crate::fail2ban::limits::MAX_AUTOMATON;

/// What the text holds. Most lines are ASCII, and automata for that are a tenth of the size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alphabet {
    Ascii,
    Unicode,
}

/// An automaton can do all of this tree.
pub(super) fn is_linear(node: &Node) -> bool {
    match node {
        Node::Empty | Node::Literal(_) | Node::Set(_) | Node::Assert(_) => true,
        Node::Group { node, .. } => is_linear(node),
        Node::Concat(nodes) | Node::Either(nodes) => nodes.iter().all(is_linear),
        // What a group holds after an empty round is not the same in both.
        Node::Repeat { node, possessive, .. } => {
            !possessive && is_linear(node) && !(has_group(node) && may_be_empty(node))
        }
        Node::Around { .. } | Node::Atomic(_) | Node::Same { .. } | Node::If { .. } => false,
    }
}

fn has_group(node: &Node) -> bool {
    match node {
        Node::Group { .. } => true,
        Node::Empty | Node::Literal(_) | Node::Set(_) | Node::Assert(_) | Node::Same { .. } => false,
        Node::Repeat { node, .. } | Node::Around { node, .. } | Node::Atomic(node) => has_group(node),
        Node::Concat(nodes) | Node::Either(nodes) => nodes.iter().any(has_group),
        Node::If { yes, no, .. } => has_group(yes) || has_group(no),
    }
}

fn may_be_empty(node: &Node) -> bool {
    match node {
        Node::Empty | Node::Assert(_) | Node::Around { .. } | Node::Same { .. } => true,
        Node::Literal(_) | Node::Set(_) => false,
        Node::Group { node, .. } | Node::Atomic(node) => may_be_empty(node),
        Node::Concat(nodes) => nodes.iter().all(may_be_empty),
        Node::Either(nodes) => nodes.iter().any(may_be_empty),
        Node::Repeat { node, least, .. } => *least == 0 || may_be_empty(node),
        Node::If { yes, no, .. } => may_be_empty(yes) || may_be_empty(no),
    }
}

/// There is a `$` that stands for the end of the text, not of a line.
pub(super) fn has_end(node: &Node) -> bool {
    match node {
        Node::Assert(assert) => *assert == Assert::End,
        Node::Empty | Node::Literal(_) | Node::Set(_) | Node::Same { .. } => false,
        Node::Group { node, .. }
        | Node::Repeat { node, .. }
        | Node::Around { node, .. }
        | Node::Atomic(node) => has_end(node),
        Node::Concat(nodes) | Node::Either(nodes) => nodes.iter().any(has_end),
        Node::If { yes, no, .. } => has_end(yes) || has_end(no),
    }
}

/// The automaton of a tree, with its groups, or relaxed and without.
///
/// In a text whose only line feed is its last character, Python's `$` is the end of a line; other texts need
/// backtracking where [`has_end`] says so.
pub(super) fn compile(node: &Node, alphabet: Alphabet, relaxed: bool) -> Result<Regex, Box<BuildError>> {
    let hir = hir(node, alphabet, relaxed);
    Regex::builder().configure(config()).build_from_hir(&hir).map_err(Box::new)
}

/// An automaton that says which of these trees may match.
pub(super) fn compile_set(nodes: &[&Node], alphabet: Alphabet) -> Result<Regex, Box<BuildError>> {
    let hirs: Vec<Hir> = nodes.iter().map(|node| hir(node, alphabet, true)).collect();
    let config = config().match_kind(MatchKind::All).nfa_size_limit(Some(4 * MAX_AUTOMATON));
    Regex::builder().configure(config).build_many_from_hir(&hirs).map_err(Box::new)
}

fn config() -> Config {
    Config::new()
        .utf8_empty(false)
        .nfa_size_limit(Some(MAX_AUTOMATON))
        .onepass_size_limit(Some(MAX_AUTOMATON / 8))
        .hybrid_cache_capacity(MAX_AUTOMATON / 4)
}

fn hir(node: &Node, alphabet: Alphabet, relaxed: bool) -> Hir {
    let inner = |node: &Node| hir(node, alphabet, relaxed);
    match node {
        Node::Empty | Node::Around { .. } => Hir::empty(),
        Node::Literal(c) => Hir::literal(c.encode_utf8(&mut [0; 4]).as_bytes().to_vec()),
        Node::Set(set) => class(set, alphabet),
        Node::Assert(Assert::Edge) => match alphabet {
            Alphabet::Ascii => either(Look::WordAscii, Look::WordEndHalfAscii),
            Alphabet::Unicode => either(Look::WordUnicode, Look::WordEndHalfUnicode),
        },
        Node::Assert(assert) => Hir::look(match (assert, alphabet) {
            (Assert::Start, _) => Look::Start,
            (Assert::StartOfLine, _) => Look::StartLF,
            (Assert::End | Assert::EndOfLine, _) => Look::EndLF,
            (Assert::VeryEnd, _) => Look::End,
            (Assert::Word, Alphabet::Ascii) => Look::WordAscii,
            (Assert::NotWord | Assert::Edge, Alphabet::Ascii) => Look::WordAsciiNegate,
            (Assert::Word, Alphabet::Unicode) => Look::WordUnicode,
            (Assert::NotWord | Assert::Edge, Alphabet::Unicode) => Look::WordUnicodeNegate,
        }),
        Node::Group { node, .. } if relaxed => inner(node),
        Node::Group { index, node } => Hir::capture(Capture {
            index: u32::try_from(*index).unwrap_or(u32::MAX),
            name: None,
            sub: Box::new(inner(node)),
        }),
        Node::Concat(nodes) => Hir::concat(nodes.iter().map(inner).collect()),
        Node::Either(nodes) => Hir::alternation(nodes.iter().map(inner).collect()),
        Node::Repeat { node, least, most, greedy, .. } => Hir::repetition(Repetition {
            min: *least,
            max: *most,
            greedy: *greedy,
            sub: Box::new(inner(node)),
        }),
        Node::Atomic(node) => inner(node),
        Node::Same { .. } => Hir::repetition(Repetition {
            min: 0,
            max: None,
            greedy: false,
            sub: Box::new(class(&everything(), alphabet)),
        }),
        Node::If { yes, no, .. } => Hir::alternation(vec![inner(yes), inner(no)]),
    }
}

fn either(one: Look, other: Look) -> Hir {
    Hir::alternation(vec![Hir::look(one), Hir::look(other)])
}

fn class(set: &ClassUnicode, alphabet: Alphabet) -> Hir {
    let mut set = set.clone();
    if alphabet == Alphabet::Ascii {
        set.intersect(&ClassUnicode::new([ClassUnicodeRange::new('\0', '\u{7f}')]));
        // Cannot be `None`: it is ASCII.
        if let Some(bytes) = set.to_byte_class() {
            return Hir::class(Class::Bytes(bytes));
        }
    }
    Hir::class(Class::Unicode(set))
}
