//! Which part of a line is its date. A filter may give patterns; without, the stock ones are tried, and those that lines
//! of this log have used come first. A date that stands further to the right than dates of this log did is only taken
//! if there is no better one: it may be part of the message.
//!
//! Sources: jail.conf(5) ("datepattern"), and the behaviour of Fail2ban 1.1.

mod template;
#[cfg(test)]
mod tests;
pub(crate) mod zone;

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use model::Timestamp;

use super::limits::MAX_REGEXES;
use super::python::{Candidates, PatternSetIndex, Scratch, Text};
use template::{Found, Template};

/// The stock patterns, in their order.
const STOCK: [&str; 17] = [
    // 2005-01-23T21:59:59.981746+01:00, 2005/01/23 21:59:59, 2005.01.23  8:59:59
    r"%ExY(?P<_sep>[-/.])%m(?P=_sep)%d(?:T|  ?)%H:%M:%S(?:[.,]%f)?(?:\s*%z)?",
    // Sun Jan 23 21:59:59.011 2005, and without the weekday, the fraction or the year
    r"(?:%a )?%b %d %k:%M:%S(?:\.%f)?(?: %ExY)?",
    // Sun Jan 23 2005 21:59:59.011
    r"(?:%a )?%b %d %ExY %k:%M:%S(?:\.%f)?",
    // 23/01/2005 21:59:59, 23-01-05 21:59:59
    r"%d(?P<_sep>[-/])%m(?P=_sep)(?:%ExY|%Exy) %k:%M:%S",
    // 31/Oct/2006:09:22:55 -0000, 26-Jul-2007 15:20:52.252
    r"%d(?P<_sep>[-/])%b(?P=_sep)%ExY[ :]?%H:%M:%S(?:\.%f)?(?: %z)?",
    // 05/20/2008:01:57:39
    "%m/%d/%ExY:%H:%M:%S",
    // 01-27-2012 16:22:44.252
    r"%m-%d-%ExY %k:%M:%S(?:\.%f)?",
    "EPOCH",
    // 21:59:59 at the beginning
    "{^LN-BEG}%H:%M:%S",
    // <09/16/08@05:03:30>
    "^<%m/%d/%Exy@%H:%M:%S>",
    // 130322 11:46:11
    "%Exy%Exm%Exd  ?%H:%M:%S",
    // Apr 27, 2013 2:33:06 PM
    "%b %d, %ExY %I:%M:%S %p",
    // Apr-27-13 02:33:06
    "^%b-%d-%Exy %k:%M:%S",
    // 20050123T215959
    r"%ExY%Exm%Exd(?:T|  ?)%ExH%ExM%ExS(?:[.,]%f)?(?:\s*%z)?",
    // PDT Apr 16 21:05:29
    r"(?:%Z )?(?:%a )?%b %d %k:%M:%S(?:\.%f)?(?: %ExY)?",
    // +00:00 Jan 23 21:59:59.011 2005
    r"(?:%z )?(?:%a )?%b %d %k:%M:%S(?:\.%f)?(?: %ExY)?",
    "TAI64N",
];

/// Date patterns of a filter.
#[derive(Debug)]
pub(super) struct Detector {
    templates: Vec<Template>,
    /// Which of them can match at all.
    index: PatternSetIndex,
}

impl Detector {
    /// Compiles patterns, one a line; without, the stock ones.
    ///
    /// # Errors
    /// What is wrong with a pattern.
    pub(super) fn new(patterns: Option<&str>) -> Result<Self, String> {
        let mut made = Self { templates: Vec::new(), index: PatternSetIndex::new(std::iter::empty()) };
        let mut names = BTreeSet::new();
        for pattern in patterns.unwrap_or("").split('\n').map(str::trim).filter(|line| !line.is_empty()) {
            match pattern.to_uppercase().as_str() {
                "{^LN-BEG}" => made.add_stock(&mut names, true)?,
                "{DEFAULT}" => made.add_stock(&mut names, false)?,
                upper if upper.contains("{DATE}") && upper.len() == pattern.len() => {
                    made.add_with_date(&mut names, pattern, upper)?;
                }
                _ => {
                    let template = Template::new(pattern)?;
                    if !names.insert(template.name.clone()) {
                        return Err(format!("the pattern `{pattern}` is there twice"));
                    }
                    made.templates.push(template);
                }
            }
            if made.templates.len() > MAX_REGEXES {
                return Err(format!("more than {MAX_REGEXES} patterns"));
            }
        }
        if made.templates.is_empty() {
            made.add_stock(&mut names, false)?;
        }
        made.index = PatternSetIndex::new(made.templates.iter().map(|template| &template.pattern));
        Ok(made)
    }

    /// The stock patterns: first each at the beginning of a line only, then as they are.
    fn add_stock(&mut self, names: &mut BTreeSet<String>, begin_only: bool) -> Result<(), String> {
        let stock = || STOCK.into_iter();
        for pattern in
            stock().filter(|pattern| !pattern.starts_with("{^LN-BEG}") && !pattern.starts_with('^'))
        {
            let mut template = Template::new(&format!("{{^LN-BEG}}{pattern}"))?;
            template.weight = 100.0;
            self.add(names, template);
        }
        for pattern in stock() {
            let template = Template::new(pattern)?;
            if !begin_only || template.at_begin {
                self.add(names, template);
            }
        }
        Ok(())
    }

    /// Each stock pattern in place of `{DATE}`.
    fn add_with_date(
        &mut self,
        names: &mut BTreeSet<String>,
        pattern: &str,
        upper: &str,
    ) -> Result<(), String> {
        // Others than patterns of fields cannot stand inside a pattern.
        for stock in STOCK.into_iter().filter(|stock| stock.contains('%')) {
            let stock = stock.strip_prefix("{^LN-BEG}").unwrap_or(stock);
            let (mut put, mut from) = (String::new(), 0);
            for (at, _) in upper.match_indices("{DATE}") {
                put.push_str(&pattern[from..at]);
                put.push_str(if pattern[..at].ends_with('\\') { "{DATE}" } else { stock });
                from = at + "{DATE}".len();
            }
            put.push_str(&pattern[from..]);
            let template = Template::new(&put)?;
            self.add(names, template);
        }
        Ok(())
    }

    fn add(&mut self, names: &mut BTreeSet<String>, template: Template) {
        if names.insert(template.name.clone()) {
            self.templates.push(template);
        }
    }

    /// Names of the patterns.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.templates.iter().map(|template| template.name.as_str())
    }
}

/// A date that was found in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dated {
    /// Bytes of the line that are the date, and are cut out.
    pub(super) cut: (usize, usize),
    /// What it says, if it says anything.
    pub(super) at: Option<Timestamp>,
}

/// How patterns have been used in a log.
#[derive(Debug)]
pub(super) struct Usage {
    /// Patterns in the order in which they are tried.
    order: Vec<Used>,
    /// Place in `order` of the pattern that matched last.
    last: Option<usize>,
    /// Where the last date stood, and the characters around it.
    start: (usize, Option<u8>),
    end: (usize, Option<u8>),
    /// The first in `order` that was never used.
    unused: usize,
    /// The last date that was read, and in which minute: lines of a second share it.
    read: Option<(usize, String, i64, Option<Timestamp>)>,
    candidates: Candidates,
}

#[derive(Clone, Copy, Debug)]
struct Used {
    template: usize,
    hits: u64,
    at: Timestamp,
    distance: usize,
}

/// Seconds after which a pattern counts as long unused.
const LONG: i64 = 300;
const FAR: usize = usize::MAX;

impl Usage {
    pub(super) fn new(detector: &Detector) -> Self {
        let order = (0..detector.templates.len())
            .map(|template| Used { template, hits: 0, at: Timestamp(0), distance: FAR })
            .collect();
        let candidates = detector.index.candidates(detector.templates.len());
        Self { order, last: None, start: (1, None), end: (FAR, None), unused: 0, read: None, candidates }
    }

    /// Hits of each pattern, in the order of [`Detector::names`].
    pub(super) fn hits(&self) -> Vec<u64> {
        let mut hits = vec![0; self.order.len()];
        for used in &self.order {
            hits[used.template] = used.hits;
        }
        hits
    }

    /// Finds the date of a line.
    pub(super) fn find(
        &mut self,
        detector: &Detector,
        line: &str,
        now: Timestamp,
        zone: &TimeZone,
        offset: Option<i64>,
        scratch: &mut Scratch,
    ) -> Option<Dated> {
        let (place, found) = self.search(detector, line, scratch)?;
        let template = self.order[place].template;
        let (start, end) = found.whole;
        let bytes = line.as_bytes();
        self.order[place].hits += 1;
        self.order[place].at = now;
        self.order[place].distance = start;
        if self.unused == place {
            self.unused += 1;
        }
        self.start = (start, start.checked_sub(1).map(|at| bytes[at]));
        self.end = (end, bytes.get(end).copied());
        let moved = if place > 0 && self.last != Some(place) { self.reorder(detector, place) } else { place };
        self.last = Some(moved);
        let text = line.get(found.cut.0..found.cut.1)?;
        let minute = now.seconds().div_euclid(60);
        let at = match &self.read {
            // The pattern says that there need not be a date.
            _ if text.is_empty() => None,
            Some((known, last, when, at)) if *known == template && last == text && *when == minute => *at,
            _ => {
                let at = detector.templates[template].time(line, scratch, now, zone, offset);
                self.read = Some((template, text.to_owned(), minute, at));
                at
            }
        };
        Some(Dated { cut: found.cut, at })
    }

    /// The pattern that finds the date, by its place; `scratch` holds its groups.
    fn search(&mut self, detector: &Detector, line: &str, scratch: &mut Scratch) -> Option<(usize, Found)> {
        let bytes = line.as_bytes();
        let mut tried = None;
        if let Some(place) = self.last {
            let template = &detector.templates[self.order[place].template];
            if template.anchored {
                if let Some(found) = template.find(line, 0, scratch) {
                    return Some((place, found));
                }
                tried = Some(place);
            } else {
                // At the same place between the same characters.
                let (start, before) = self.start;
                let (end, after) = self.end;
                let same = start.checked_sub(1).and_then(|at| bytes.get(at)).copied() == before
                    && bytes.get(end).copied() == after
                    && end <= line.len()
                    && line.is_char_boundary(start)
                    && line.is_char_boundary(end);
                if same
                    && let Some(found) = template.find(&line[..end], start, scratch)
                    && found.whole == (start, end)
                {
                    return Some((place, found));
                }
            }
        }
        detector.index.ask(Text::new(line), &mut self.candidates);
        let mut best: Option<(usize, Found)> = None;
        for (place, used) in self.order.iter().enumerate() {
            if tried == Some(place) || !self.candidates.has(used.template) {
                continue;
            }
            let template = &detector.templates[used.template];
            let Some(found) = template.find(line, 0, scratch) else { continue };
            let distance = found.whole.0;
            let next_unused = self.order.get(place + 1).is_none_or(|next| next.hits == 0);
            let wins = place + 1 >= self.order.len()
                || template.anchored
                || (distance == 0 && used.hits > 0 && next_unused)
                || (distance <= used.distance && distance <= self.start.0);
            if wins {
                return Some((place, found));
            }
            // Further to the right than before: perhaps part of the message.
            if best.is_none_or(|(_, best)| distance < best.whole.0) {
                best = Some((place, found));
            }
        }
        let (place, _) = best?;
        let found = detector.templates[self.order[place].template].find(line, 0, scratch)?;
        Some((place, found))
    }

    /// Moves a pattern towards the front if it has earned it; its new place.
    fn reorder(&mut self, detector: &Detector, place: usize) -> usize {
        let used = self.order[place];
        let weight = |used: &Used| {
            let weight = detector.templates[used.template].weight;
            // Exact: neither counts that high.
            used.hits as f64 * weight / used.distance.clamp(1, 0x7fff_ffff) as f64
        };
        let long_ago = used.at.seconds() - LONG;
        let earned = |order: &[Used], to: usize| {
            weight(&used) > weight(&order[to]) || long_ago > order[to].at.seconds()
        };
        let mut to = if self.unused < place { self.unused } else { place / 2 };
        if !earned(&self.order, to) {
            if to == place - 1 {
                return place;
            }
            to = place - 1;
            if !earned(&self.order, to) {
                return place;
            }
        }
        self.order.remove(place);
        self.order.insert(to, used);
        while self.order.get(self.unused).is_some_and(|used| used.hits > 0) {
            self.unused += 1;
        }
        to
    }
}
