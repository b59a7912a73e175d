//! Many expressions, asked at once.
//!
//! Of nearly every expression some literal must stand in a name that it matches (`ads` of `^ads?[0-9]+\.`). One
//! Aho-Corasick automaton looks for all those literals; only expressions whose literal is there are tried, each with a
//! lazy DFA. Each goes behind the rarest of its literals, and at most [`MAX_REGEX_SHARED`] behind one, so that a literal
//! in many names (`.com`) does not have thousands tried. Those without a literal, or with none that has room, go through
//! one lazy DFA together, whose size is bounded. All this is linear in the name, whatever the expression; what that cannot
//! do (back-references, look-around) is refused when the list is read.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind as Literals};
use regex_automata::{
    Anchored, Input, MatchKind, PatternID, PatternSet,
    hybrid::dfa::{Cache, Config, DFA},
    nfa::thompson::{Compiler, Config as NfaConfig, NFA, WhichCaptures, pikevm::PikeVM},
    util::pool::Pool,
};
use regex_syntax::{
    ParserBuilder,
    hir::{Class, Dot, Hir, HirKind, Repetition},
};
use std::collections::HashMap;

use crate::limits::{
    MAX_REGEX_BYTES, MAX_REGEX_CACHE, MAX_REGEX_DEPTH, MAX_REGEX_SHARED, MAX_REGEX_STATES, MAX_REGEX_TOTAL,
    MAX_REGEX_TRIED,
};

/// Names that have nothing in common but their dots: an expression that matches all of them matches everything.
const UNLIKE: [&str; 5] = ["a.b", "x.xn--p1ai", "news.example.com", "0-1.net", "q_q.w.e.r.t.z.org"];
/// Alternative literals of one expression that are looked for.
const MAX_LITERALS: usize = 64;
/// Bytes of the shortest literal worth looking for.
const MIN_LITERAL: usize = 2;
/// Literals of one expression, each of which must stand in a name, among which the rarest is chosen: the longest ones.
const MAX_CHOICES: usize = 8;
/// Expressions behind a literal that make it as good as the next: it is longer literals that are wanted, not only rare
/// ones.
const AS_RARE: usize = 4;

/// Literals one of which stands in every name that an expression matches, in lower case.
type Alternatives = Vec<Vec<u8>>;

/// An expression that can be used.
pub(crate) struct Checked {
    /// Bytes of its automaton.
    pub(crate) bytes: usize,
    /// What may stand in its place when literals are looked for; see [`Placing`].
    pub(crate) choices: Choices,
    /// It matches (or, inverted, fails to match) names that have nothing in common.
    pub(crate) matches_everything: bool,
}

/// Compiles one expression to see whether it can be used.
///
/// # Errors
/// What is wrong with it, for whoever wrote it.
pub(crate) fn check(regex: &str, invert: bool) -> Result<Checked, String> {
    if regex.len() > MAX_REGEX_BYTES {
        return Err(format!("the expression is longer than {MAX_REGEX_BYTES} bytes"));
    }
    let hir = parse(regex)?;
    let choices = Choices::of(&hir, invert);
    let nfa = nfa(&[unanchored(hir)], MAX_REGEX_STATES).ok_or_else(|| {
        format!("the expression is too large: its automaton has more than {MAX_REGEX_STATES} bytes")
    })?;
    let bytes = nfa.memory_usage();
    let machine = PikeVM::new_from_nfa(nfa).map_err(|error| error.to_string())?;
    let mut cache = machine.create_cache();
    let matches_everything = UNLIKE.iter().all(|name| machine.is_match(&mut cache, *name) != invert);
    Ok(Checked { bytes, choices, matches_everything })
}

/// Whether the expression matches one of `names`. It has been checked.
pub(crate) fn matches_any<'a>(regex: &str, mut names: impl Iterator<Item = &'a str>) -> bool {
    let machine = parse(regex)
        .ok()
        .and_then(|hir| nfa(&[unanchored(hir)], MAX_REGEX_STATES))
        .and_then(|nfa| PikeVM::new_from_nfa(nfa).ok());
    machine.is_some_and(|machine| {
        let mut cache = machine.create_cache();
        names.any(|name| machine.is_match(&mut cache, name))
    })
}

/// The sets of literals behind any of which an expression may be tried, the longest first; none where every name must be
/// held against it.
pub(crate) struct Choices(Vec<Alternatives>);

impl Choices {
    fn of(hir: &Hir, invert: bool) -> Self {
        if invert {
            return Self(Vec::new());
        }
        let mut choices = choices(hir);
        choices.sort_by_key(|alternatives| std::cmp::Reverse(shortest(alternatives)));
        choices.truncate(MAX_CHOICES);
        Self(choices)
    }
}

/// How many expressions stand behind each literal, as they come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Placing(HashMap<Vec<u8>, usize>);

impl Placing {
    /// The literals behind which an expression is tried: rare ones, then long ones. None: it goes with those that every
    /// name is held against.
    pub(crate) fn place(&mut self, choices: Choices) -> Option<Alternatives> {
        let most = |alternatives: &Alternatives| {
            alternatives.iter().map(|literal| self.0.get(literal).copied().unwrap_or(0)).max().unwrap_or(0)
        };
        let ranked = choices.0.into_iter().map(|alternatives| (most(&alternatives), alternatives));
        let (_, chosen) = ranked.filter(|(owners, _)| *owners < MAX_REGEX_SHARED).min_by_key(
            |(owners, alternatives)| (owners / AS_RARE, std::cmp::Reverse(shortest(alternatives))),
        )?;
        for literal in &chosen {
            *self.0.entry(literal.clone()).or_default() += 1;
        }
        Some(chosen)
    }
}

/// Expressions by their place in the slice they were built from.
pub(crate) struct Regexes {
    literals: AhoCorasick,
    /// For each literal the expressions that it stands for.
    owners: Vec<Vec<u32>>,
    /// The expressions, by their number, each tried alone.
    alone: DFA,
    /// Those without a literal, tried together, and their numbers.
    together: DFA,
    always: Vec<u32>,
    inverted: Vec<bool>,
    scratch: Pool<
        Scratch,
        Box<dyn Fn() -> Scratch + Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe>,
    >,
    bytes: usize,
}

impl std::fmt::Debug for Regexes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Regexes({}, {} without a literal)", self.inverted.len(), self.always.len())
    }
}

/// What a search needs for itself.
struct Scratch {
    alone: Cache,
    together: Cache,
    found: PatternSet,
    /// For each expression the last search it was tried in.
    tried: Vec<u32>,
    search: u32,
}

impl Regexes {
    /// Builds the automata of expressions, each with whether it is inverted. None if one cannot be used or they are too
    /// large together; each has been checked before.
    pub(crate) fn new<'a>(expressions: impl Iterator<Item = (&'a str, bool)>) -> Option<Self> {
        let (mut hirs, mut inverted) = (Vec::new(), Vec::new());
        let (mut texts, mut owners): (Vec<Vec<u8>>, Vec<Vec<u32>>) = (Vec::new(), Vec::new());
        let (mut known, mut placing) = (HashMap::new(), Placing::default());
        let (mut always, mut others) = (Vec::new(), Vec::new());
        for (number, (regex, invert)) in (0_u32..).zip(expressions) {
            let hir = parse(regex).ok()?;
            match placing.place(Choices::of(&hir, invert)) {
                Some(literals) => {
                    for literal in literals {
                        let place = *known.entry(literal.clone()).or_insert_with(|| {
                            texts.push(literal);
                            owners.push(Vec::new());
                            texts.len() - 1
                        });
                        owners[place].push(number);
                    }
                }
                None => {
                    always.push(number);
                    others.push(hir.clone());
                }
            }
            hirs.push(unanchored(hir));
            inverted.push(invert);
        }
        let literals = AhoCorasick::builder()
            .match_kind(Literals::Standard)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(&texts)
            .ok()?;
        let limit = MAX_REGEX_STATES.saturating_mul(hirs.len()).min(2 * MAX_REGEX_TOTAL);
        let (alone, together) = (nfa(&hirs, limit)?, nfa(&others, limit)?);
        let bytes =
            literals.memory_usage() + alone.memory_usage() + together.memory_usage() + 2 * MAX_REGEX_CACHE;
        let (alone, together) = (dfa(alone)?, dfa(together)?);
        let scratch = {
            let (alone, together, count) = (alone.clone(), together.clone(), hirs.len());
            move || Scratch {
                alone: alone.create_cache(),
                together: together.create_cache(),
                found: PatternSet::new(together.pattern_len()),
                tried: vec![0; count],
                search: 0,
            }
        };
        let scratch = Pool::new(Box::new(scratch) as Box<_>);
        Some(Self { literals, owners, alone, together, always, inverted, scratch, bytes })
    }

    /// Gives the number of every expression that speaks about `name` to `take`, in no order.
    pub(crate) fn find(&self, name: &str, mut take: impl FnMut(u32)) {
        let mut scratch = self.scratch.get();
        let scratch = &mut *scratch;
        scratch.search = scratch.search.wrapping_add(1);
        if scratch.search == 0 {
            scratch.tried.fill(0);
            scratch.search = 1;
        }
        let mut left = MAX_REGEX_TRIED;
        'name: for literal in self.literals.find_overlapping_iter(name) {
            for &number in self.owners.get(literal.pattern().as_usize()).into_iter().flatten() {
                let Some(tried) = scratch.tried.get_mut(number as usize) else { continue };
                if std::mem::replace(tried, scratch.search) == scratch.search {
                    continue;
                }
                let Some(fewer) = left.checked_sub(1) else { break 'name };
                left = fewer;
                let Ok(pattern) = PatternID::new(number as usize) else { continue };
                let input = Input::new(name).anchored(Anchored::Pattern(pattern)).earliest(true);
                if matches!(self.alone.try_search_fwd(&mut scratch.alone, &input), Ok(Some(_))) {
                    take(number);
                }
            }
        }
        if self.always.is_empty() {
            return;
        }
        scratch.found.clear();
        let input = Input::new(name);
        let searched =
            self.together.try_which_overlapping_matches(&mut scratch.together, &input, &mut scratch.found);
        if searched.is_err() {
            return;
        }
        for (place, &number) in self.always.iter().enumerate() {
            let matched = PatternID::new(place).is_ok_and(|place| scratch.found.contains(place));
            if matched != self.inverted.get(number as usize).copied().unwrap_or(false) {
                take(number);
            }
        }
    }

    /// Bytes of memory it holds, the caches of one search included.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn parse(regex: &str) -> Result<Hir, String> {
    ParserBuilder::new()
        .unicode(false)
        .utf8(false)
        .case_insensitive(true)
        .nest_limit(MAX_REGEX_DEPTH)
        .build()
        .parse(regex)
        .map_err(|error| {
            let why = match error {
                regex_syntax::Error::Parse(error) => error.kind().to_string(),
                regex_syntax::Error::Translate(error) => error.kind().to_string(),
                _ => "it cannot be read".to_owned(),
            };
            format!("not an expression that can be used: {why}")
        })
}

/// The same expression, tried from the beginning of a name only.
fn unanchored(hir: Hir) -> Hir {
    let before = Repetition { min: 0, max: None, greedy: false, sub: Box::new(Hir::dot(Dot::AnyByte)) };
    Hir::concat(vec![Hir::repetition(before), hir])
}

fn nfa(hirs: &[Hir], limit: usize) -> Option<NFA> {
    let config = NfaConfig::new()
        .utf8(false)
        .nfa_size_limit(Some(limit.max(MAX_REGEX_STATES)))
        .which_captures(WhichCaptures::None);
    Compiler::new().configure(config).build_many_from_hir(hirs).ok()
}

fn dfa(nfa: NFA) -> Option<DFA> {
    let config = Config::new()
        .match_kind(MatchKind::All)
        .starts_for_each_pattern(true)
        .cache_capacity(MAX_REGEX_CACHE)
        .skip_cache_capacity_check(true);
    DFA::builder().configure(config).build_from_nfa(nfa).ok()
}

/// Sets of literals; of each set one stands in every name that matches.
fn choices(hir: &Hir) -> Vec<Alternatives> {
    let useful = |alternatives: &Alternatives| shortest(alternatives) >= MIN_LITERAL;
    match hir.kind() {
        HirKind::Literal(literal) => {
            Some(vec![literal.0.to_ascii_lowercase()]).filter(useful).into_iter().collect()
        }
        HirKind::Capture(capture) => choices(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => choices(&repetition.sub),
        HirKind::Alternation(branches) => {
            let mut all = Vec::new();
            for branch in branches {
                match choices(branch).into_iter().max_by_key(shortest) {
                    Some(longest) if all.len() + longest.len() <= MAX_LITERALS => all.extend(longest),
                    Some(_) | None => return Vec::new(),
                }
            }
            // The same literal of two branches counts once.
            all.sort_unstable();
            all.dedup();
            vec![all]
        }
        HirKind::Concat(parts) => {
            let (mut all, mut run) = (Vec::new(), Vec::new());
            for part in parts {
                if let Some(bytes) = exactly(part) {
                    run.extend(bytes);
                    continue;
                }
                all.push(vec![std::mem::take(&mut run)]);
                all.extend(choices(part));
            }
            all.push(vec![run]);
            all.retain(useful);
            all
        }
        HirKind::Empty | HirKind::Class(_) | HirKind::Look(_) | HirKind::Repetition(_) => Vec::new(),
    }
}

/// Bytes of the shortest.
fn shortest(alternatives: &Alternatives) -> usize {
    alternatives.iter().map(Vec::len).min().unwrap_or(0)
}

/// The one text that a part stands for in a lower-case name.
fn exactly(hir: &Hir) -> Option<Vec<u8>> {
    match hir.kind() {
        HirKind::Literal(literal) => Some(literal.0.to_ascii_lowercase()),
        HirKind::Capture(capture) => exactly(&capture.sub),
        HirKind::Concat(parts) => {
            parts.iter().map(exactly).collect::<Option<Vec<_>>>().map(|all| all.concat())
        }
        // `[Aa]`: what a letter becomes where case does not matter.
        HirKind::Class(Class::Bytes(class)) => match class.ranges() {
            [upper, lower]
                if upper.len() == 1
                    && lower.len() == 1
                    && upper.start().is_ascii_uppercase()
                    && lower.start() == upper.start().to_ascii_lowercase() =>
            {
                Some(vec![lower.start()])
            }
            _ => None,
        },
        HirKind::Empty
        | HirKind::Class(_)
        | HirKind::Look(_)
        | HirKind::Repetition(_)
        | HirKind::Alternation(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(expressions: &[(&str, bool)], name: &str) -> Vec<u32> {
        let mut found = Vec::new();
        Regexes::new(expressions.iter().copied()).unwrap().find(name, |number| found.push(number));
        found.sort_unstable();
        found
    }

    #[test]
    fn many_expressions_are_asked_at_once() {
        let expressions = [
            (r"^ads?[0-9]*\.", false),
            (r"(^|\.)tracker\.example$", false),
            (r"^[a-z]{3}$", false),
            (r"good", true),
            (r"(banner|pop(up|under))s?", false),
            (r"^.{30,}$", false),
        ];
        assert_eq!(found(&expressions, "ad7.good.example"), [0]);
        assert_eq!(found(&expressions, "x.tracker.example"), [1, 3]);
        assert_eq!(found(&expressions, "xtracker.example"), [3]);
        assert_eq!(found(&expressions, "abc"), [2, 3]);
        assert_eq!(found(&expressions, "popunder.popups.good.and.quite.long"), [4, 5]);
        assert_eq!(found(&[], "abc"), [] as [u32; 0]);
    }

    #[test]
    fn literals_are_found_where_they_must_stand() {
        let literals = |regex: &str| {
            Choices::of(&parse(regex).unwrap(), false).0.into_iter().next().map(|all| {
                all.into_iter().map(|one| String::from_utf8(one).unwrap()).collect::<Vec<_>>().join(" ")
            })
        };
        assert_eq!(literals(r"^ads?[0-9]*\.").as_deref(), Some("ad"));
        assert_eq!(literals(r"(^|\.)tracker\.EXAMPLE$").as_deref(), Some("tracker.example"));
        assert_eq!(literals(r"(banner|pop(up|under))s?").as_deref(), Some("banner pop"));
        assert_eq!(literals(r"(ads)*x?"), None);
        assert_eq!(literals(r"(ads|)"), None);
        assert_eq!(literals(r"^[a-z]{3}$"), None);
    }

    /// Expressions of few letters, so that they match now and then.
    fn expression() -> impl Strategy<Value = String> {
        const ATOMS: [&str; 14] =
            ["ab", "ba", "abc", "[ab]", "[^a]", "[.]", "c", "a", "[bB]", ".", "^", "$", r"\b", "(?i:AB)"];
        const MANY: [&str; 9] = ["", "", "", "", "*", "+", "?", "{2}", "{0,2}"];
        let (atom, part) = (proptest::sample::select(&ATOMS[..]), proptest::sample::select(&MANY[..]));
        let branch = proptest::collection::vec((atom, part), 1..6).prop_map(|parts| {
            parts.into_iter().map(|(atom, many)| format!("(?:{atom}){many}")).collect::<String>()
        });
        proptest::collection::vec(branch, 1..4).prop_map(|branches| format!("({})", branches.join("|")))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn all_at_once_find_what_each_finds(
            expressions in proptest::collection::vec((expression(), proptest::bool::weighted(0.1)), 1..30),
            names in proptest::collection::vec("[abc.]{0,12}", 20),
        ) {
            let all: Vec<(&str, bool)> = expressions.iter().map(|(regex, invert)| (regex.as_str(), *invert)).collect();
            let regexes = Regexes::new(all.iter().copied()).unwrap();
            for name in &names {
                let mut found = Vec::new();
                regexes.find(name, |number| found.push(number));
                found.sort_unstable();
                let each: Vec<u32> = (0..).zip(&all).filter(|(_, (regex, invert))| {
                    matches_any(regex, [name.as_str()].into_iter()) != *invert
                }).map(|(number, _)| number).collect();
                prop_assert_eq!(found, each, "{}", name);
            }
        }
    }

    /// How many expressions are tried alone, and how many every name is held against.
    fn work(expressions: &[String], name: &str) -> (usize, usize) {
        let regexes = Regexes::new(expressions.iter().map(|regex| (regex.as_str(), false))).unwrap();
        regexes.find(name, |_| {});
        let scratch = regexes.scratch.get();
        (scratch.tried.iter().filter(|tried| **tried == scratch.search).count(), regexes.always.len())
    }

    #[test]
    fn thousands_that_share_a_literal_are_not_all_tried() {
        let many = |line: &dyn Fn(usize) -> String| (0..9000).map(line).collect::<Vec<_>>();
        let rarer = many(&|n| format!("^x{n}[0-9]*[.]com$"));
        let (tried, always) = work(&rarer, "x77.example.com");
        assert!(
            tried <= 3 * MAX_REGEX_SHARED && always == 0,
            "{tried}, {always}: each has a literal of its own"
        );
        let none: Vec<_> = (0..40).map(|n| format!("^[a-f]{{{}}}[.]com$", n % 7 + 1)).collect();
        assert_eq!(work(&none, "abc.com"), (MAX_REGEX_SHARED, 40 - MAX_REGEX_SHARED));
        let found = |name| {
            let mut found = 0;
            Regexes::new(none.iter().map(|regex| (regex.as_str(), false)))
                .unwrap()
                .find(name, |_| found += 1);
            found
        };
        assert_eq!(
            [found("abc.com"), found("abcdefa.com"), found("abc.net")],
            [6, 5, 0],
            "each is found all the same"
        );
    }

    #[test]
    fn a_list_whose_expressions_share_a_literal_keeps_as_many_as_every_name_may_be_held_against() {
        let plain = (0..9000).map(|n| format!("n{n}.example\n")).collect::<String>();
        let text = (0..9000)
            .map(|n| format!("^[a-z]{{2}}[^.]{{{}}}[.]com\n", n % 40))
            .fold(plain, |text, line| text + &line);
        let mut builder = crate::DomainSetBuilder::new(1);
        let report = builder.add("shared", model::Mode::Enforce, text.as_bytes()).unwrap();
        assert!((1000..8999).contains(&report.rejected), "{}", report.rejected);
        assert!(report.rejects[0].why.contains("write letters into it"), "{}", report.rejects[0]);
        let before = report.entries;
        let another = builder.add("more", model::Mode::Enforce, text.as_bytes()).unwrap_err();
        assert!(another.to_string().contains("every name is held against"), "{another}");
        assert!(before > 9000 && builder.add("plain", model::Mode::Enforce, b"one.example\n").is_ok());
    }

    #[test]
    fn a_name_made_of_literals_has_no_more_tried_than_the_limit() {
        let letters = |n: usize| [n / 26, n % 26].map(|at| char::from(b'a' + u8::try_from(at).unwrap()));
        let pair = |n: usize| letters(n).iter().collect::<String>();
        let expressions: Vec<_> =
            (0..2000).map(|n| format!("{}[0-9]{{{}}}x", pair(n % 200), n % 5)).collect();
        let name: String = (0..200).map(pair).collect();
        assert_eq!(work(&expressions, &name).0, MAX_REGEX_TRIED + 1, "the last is not tried any more");
        assert!(work(&expressions, "aaabac.example").0 <= 6 * MAX_REGEX_SHARED);
    }

    #[test]
    fn a_file_of_large_expressions_costs_no_more_than_the_limit() {
        let text = (0..2500).map(|n| format!("^x{n}([a-z0-9-]{{40}}\\.){{4}}$\n")).collect::<String>();
        let mut builder = crate::DomainSetBuilder::new(1);
        let report = builder.add("large", model::Mode::Enforce, text.as_bytes()).unwrap();
        assert!(report.rejected > 0 && report.entries > report.rejected, "{}", report.entries);
        assert!(report.rejects[0].why.contains("as many as a list may hold"), "{}", report.rejects[0]);
    }

    #[test]
    fn what_cannot_be_used_is_said() {
        for (regex, why) in [
            (r"(a)\1", "backreferences are not supported"),
            (r"(?=a)", "look-around"),
            ("(", "unclosed group"),
            ("(a{1000}){1000}", "too large"),
        ] {
            let error = check(regex, false).err().unwrap();
            assert!(error.contains(why), "{regex}: {error}");
        }
        let deep = "(".repeat(5000) + &")".repeat(5000);
        assert!(check(&deep, false).err().unwrap().contains("longer than"));
        assert!(check(&("(".repeat(200) + &")".repeat(200)), false).is_err());
        assert!(check(".*", false).unwrap().matches_everything);
        assert!(check("^$", true).unwrap().matches_everything);
        assert!(!check("^[^x]", false).unwrap().matches_everything);
    }
}
