//! Whether sources still speak and are understood. Pure: counts and the time go in, what a person should know comes out.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

use model::duration_text;

/// How often to look.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Looks in a minute, for the rate.
const LOOKS: usize = 6;
/// Lines that have to have come since the last that was understood, before that is told: fewer can be chance.
const MIN_LINES: u64 = 100;

/// What is seen of a source.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) name: String,
    /// Lines read and lines understood, so far. Where one is smaller than before, it was begun anew.
    pub(super) lines: u64,
    pub(super) matched: u64,
    /// None = its silence is not told.
    pub(super) silent_after: Option<Duration>,
}

/// All sources.
#[derive(Debug, Default)]
pub(super) struct Vigil {
    sources: HashMap<String, Watched>,
    /// Sources that spoke in an earlier run.
    spoke_before: HashSet<String>,
}

#[derive(Debug)]
struct Watched {
    lines: u64,
    matched: u64,
    /// Since when no line came.
    quiet_since: Duration,
    /// Since when no line was understood, and lines that came since.
    strange_since: Duration,
    strange_lines: u64,
    spoke: bool,
    understood: bool,
    silent: bool,
    strange: bool,
    /// Lines of the last looks.
    recent: VecDeque<u64>,
    silent_after: Option<Duration>,
}

impl Vigil {
    pub(super) fn new(spoke_before: HashSet<String>) -> Self {
        Self { sources: HashMap::new(), spoke_before }
    }

    /// Looks at all sources at `now`, a clock that only goes on. Returns what has changed, each a source and a sentence.
    pub(super) fn look(&mut self, now: Duration, all: Vec<Seen>) -> Vec<(String, String)> {
        let names: HashSet<&str> = all.iter().map(|seen| seen.name.as_str()).collect();
        self.sources.retain(|name, _| names.contains(name.as_str()));
        let mut changes = Vec::new();
        for seen in all {
            let spoke = self.spoke_before.contains(&seen.name);
            let watched = self.sources.entry(seen.name.clone()).or_insert_with(|| Watched::new(now, spoke));
            changes.extend(watched.look(now, &seen).into_iter().map(|change| (seen.name.clone(), change)));
        }
        changes
    }

    /// Lines in the last minute.
    pub(super) fn per_minute(&self, name: &str) -> u64 {
        self.sources.get(name).map_or(0, |watched| watched.recent.iter().sum())
    }

    /// What is wrong with a source.
    pub(super) fn trouble(&self, name: &str) -> Option<String> {
        let watched = self.sources.get(name)?;
        let after = duration_text(watched.silent_after?);
        if watched.silent {
            return Some(format!(
                "no line has come for {after}, and some did before: look whether its program still writes there"
            ));
        }
        watched.strange.then(|| {
            format!(
                "no line has been understood for {after}, and some were before: look whether the format of its \
                 program has changed, or another filter fits"
            )
        })
    }
}

impl Watched {
    fn new(now: Duration, spoke: bool) -> Self {
        Self {
            lines: 0,
            matched: 0,
            quiet_since: now,
            strange_since: now,
            strange_lines: 0,
            spoke,
            understood: false,
            silent: false,
            strange: false,
            recent: VecDeque::new(),
            silent_after: None,
        }
    }

    fn look(&mut self, now: Duration, seen: &Seen) -> Vec<String> {
        self.silent_after = seen.silent_after;
        let grown = |former: u64, current: u64| current.checked_sub(former).unwrap_or(current);
        let (lines, matched) = (grown(self.lines, seen.lines), grown(self.matched, seen.matched));
        (self.lines, self.matched) = (seen.lines, seen.matched);
        self.recent.push_back(lines);
        if self.recent.len() > LOOKS {
            self.recent.pop_front();
        }
        let mut changes = Vec::new();
        if lines > 0 {
            (self.spoke, self.quiet_since) = (true, now);
            self.strange_lines = self.strange_lines.saturating_add(lines);
            if std::mem::take(&mut self.silent) {
                changes.push("lines come again".to_owned());
            }
        }
        if matched > 0 {
            (self.understood, self.strange_since, self.strange_lines) = (true, now, 0);
            if std::mem::take(&mut self.strange) {
                changes.push("lines are understood again".to_owned());
            }
        }
        let Some(after) = seen.silent_after else {
            (self.silent, self.strange) = (false, false);
            return changes;
        };
        let is_over = |since: Duration| now.saturating_sub(since) >= after;
        if self.spoke && !self.silent && is_over(self.quiet_since) {
            self.silent = true;
            changes.push(format!("no line has come for {}", duration_text(after)));
        }
        let strange = self.understood && is_over(self.strange_since) && self.strange_lines >= MIN_LINES;
        if strange && !self.strange {
            self.strange = true;
            let text = duration_text(after);
            changes.push(format!("none of {} lines in {text} was understood", self.strange_lines));
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    struct Play {
        vigil: Vigil,
        now: Duration,
        seen: Seen,
    }

    impl Play {
        fn new(spoke_before: &[&str]) -> Self {
            let spoke = spoke_before.iter().map(|name| (*name).to_owned()).collect();
            let seen = Seen { name: "a".into(), lines: 0, matched: 0, silent_after: Some(HOUR) };
            Self { vigil: Vigil::new(spoke), now: HOUR, seen }
        }

        /// Lines that come and are understood, and then time that goes by.
        fn step(&mut self, lines: u64, matched: u64, later: Duration) -> Vec<String> {
            self.seen.lines += lines;
            self.seen.matched += matched;
            let mut changes = self.vigil.look(self.now, vec![self.seen.clone()]);
            self.now += later;
            changes.extend(self.vigil.look(self.now, vec![self.seen.clone()]));
            changes.into_iter().map(|(_, change)| change).collect()
        }
    }

    #[test]
    fn a_source_that_spoke_and_is_silent_is_told_once_and_clears_by_itself() {
        let mut play = Play::new(&[]);
        assert_eq!(play.step(0, 0, HOUR * 50), Vec::<String>::new(), "it never spoke");
        assert_eq!(play.step(1, 0, HOUR - LOOK_EVERY), Vec::<String>::new());
        assert_eq!(play.step(0, 0, LOOK_EVERY), ["no line has come for 1h"]);
        assert!(play.vigil.trouble("a").unwrap().contains("no line has come"));
        assert_eq!(play.step(0, 0, HOUR * 5), Vec::<String>::new(), "once");
        assert_eq!(play.step(1, 0, LOOK_EVERY), ["lines come again"]);
        assert_eq!(play.vigil.trouble("a"), None);
    }

    #[test]
    fn one_that_spoke_in_an_earlier_run_is_told_too_and_one_that_need_not_speak_is_not() {
        let mut play = Play::new(&["a"]);
        assert_eq!(play.step(0, 0, HOUR), ["no line has come for 1h"]);
        play.seen.silent_after = None;
        assert_eq!(play.step(0, 0, HOUR), Vec::<String>::new());
        assert_eq!(play.vigil.trouble("a"), None);
    }

    #[test]
    fn lines_that_are_not_understood_any_more_are_told_once() {
        let mut play = Play::new(&[]);
        for _ in 0..4 {
            assert_eq!(
                play.step(1_000, 0, HOUR / 2),
                Vec::<String>::new(),
                "none ever was: the filter sees other things"
            );
        }
        assert_eq!(play.step(10, 1, HOUR / 2), Vec::<String>::new());
        assert_eq!(play.step(MIN_LINES - 1, 0, HOUR / 2), Vec::<String>::new(), "too few to tell");
        assert_eq!(play.step(1, 0, HOUR / 2), ["none of 100 lines in 1h was understood"]);
        assert!(play.vigil.trouble("a").unwrap().contains("understood"));
        assert_eq!(play.step(500, 0, HOUR / 2), Vec::<String>::new(), "once");
        assert_eq!(play.step(1, 1, LOOK_EVERY), ["lines are understood again"]);
    }

    #[test]
    fn the_rate_is_that_of_a_minute_also_when_counting_begins_anew() {
        let mut play = Play::new(&[]);
        for _ in 0..10 {
            play.seen.lines += 5;
            play.vigil.look(play.now, vec![play.seen.clone()]);
        }
        assert_eq!(play.vigil.per_minute("a"), 30);
        play.seen.lines = 2;
        play.vigil.look(play.now, vec![play.seen.clone()]);
        assert_eq!(play.vigil.per_minute("a"), 27);
        play.vigil.look(play.now, Vec::new());
        assert_eq!(play.vigil.per_minute("a"), 0, "a source that is gone is forgotten");
    }
}
