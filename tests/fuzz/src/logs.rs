//! Log lines of strangers, and filters of one's own.

use jiff::tz::TimeZone;
use logs::fail2ban::{Filter, Matcher, Options, Texts, limits::MAX_CONNECTIONS};
use logs::{Clock, Engine, Library, Limits, Source, SourceIndex};
use model::{Mode, Timestamp};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Small, so that the limits are reached.
const LIMITS: Limits = Limits { buckets: 64, evidence: 4096 };

fn engine(library: &Library) -> Option<Engine> {
    let sources = library
        .filters()
        .map(|filter| Source { name: filter.name.clone(), filter: filter.name.clone(), mode: Mode::Enforce })
        .collect();
    Engine::new(library, sources, LIMITS, Clock::new(TimeZone::UTC)).ok()
}

thread_local! {
    static BUILT_IN: RefCell<(Engine, usize)> = RefCell::new({
        let library = Library::builtin();
        (engine(&library).unwrap(), library.filters().count())
    });
}

fn judge(engine: &mut Engine, sources: usize, text: &[u8]) {
    for (line, second) in text.split(|&byte| byte == b'\n').take(64).zip(0..) {
        let now = Timestamp::from_seconds(1_790_000_000 + second);
        for source in 0..sources {
            for overflow in engine.line(now, SourceIndex(source), line).overflows {
                assert!(!overflow.evidence.is_empty(), "{overflow:?} without a line");
                let target = overflow.decision_target().to_string();
                assert!(target.parse::<model::Target>().is_ok(), "{target}");
            }
        }
        assert!(engine.buckets() <= LIMITS.buckets, "{} buckets", engine.buckets());
    }
}

/// Lines through every built-in filter.
pub(crate) fn lines(data: &[u8]) {
    BUILT_IN.with_borrow_mut(|(engine, sources)| judge(engine, *sources, data));
}

/// What stands before a line of `%%`, and behind it.
fn halves(data: &[u8]) -> (&[u8], &[u8]) {
    let mark = b"\n%%\n";
    let at = data.windows(mark.len()).position(|window| window == mark);
    at.map_or((data, &[][..]), |at| (&data[..at], &data[at + mark.len()..]))
}

/// A filter of Fail2ban's, then lines.
pub(crate) fn fail2ban(data: &[u8]) {
    let (file, lines) = halves(data);
    let mut texts = Texts::new();
    texts.add("filter.d/own.conf", file.to_vec());
    match Filter::read(&texts, "filter.d/own", &BTreeMap::new()) {
        Ok(filter) => {
            let filter = Arc::new(filter);
            for all in [false, true] {
                let options = Options { all, ..Options::default() };
                let mut matcher = Matcher::new(Arc::clone(&filter), options);
                for (line, second) in lines.split(|&byte| byte == b'\n').take(64).zip(0..) {
                    let judged = matcher.line(Timestamp::from_seconds(1_790_000_000 + second), line);
                    for failure in judged.failures {
                        assert!(failure.regex < filter.fail_regexes().count());
                        assert!(all || (failure.who.is_some() && !failure.no_failure), "{failure:?}");
                    }
                    assert!(matcher.connections() <= MAX_CONNECTIONS);
                }
            }
        }
        Err(errors) => {
            assert!(!errors.is_empty());
            let count = file.split(|&byte| byte == b'\n').count();
            for error in errors {
                assert!((1..=count).contains(&(error.line as usize)), "no such line: {error}");
                assert!(!error.message.is_empty() && !error.help.is_empty());
            }
        }
    }
}

/// A file of filters, then lines.
pub(crate) fn filter(data: &[u8]) {
    let (file, lines) = halves(data);
    let Ok(text) = str::from_utf8(file) else { return };
    let mut library = Library::empty();
    match library.add("own.toml", text) {
        Ok(()) => {
            if let Some(mut engine) = engine(&library) {
                judge(&mut engine, library.filters().count(), lines);
            }
        }
        Err(errors) => {
            assert!(!errors.is_empty());
            let count = text.split('\n').count();
            for error in errors {
                assert!((1..=count).contains(&(error.line as usize)), "no such line: {error}");
                assert!(!error.message.is_empty() && !error.help.is_empty());
            }
        }
    }
}
