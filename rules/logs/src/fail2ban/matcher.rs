//! Lines to failures. A line loses its date, has to pass `prefregex`, and is judged by each `failregex` in turn.
//! Lines of one connection (`<F-MLFID>`) are put together: what one of them says of the user or the address counts for
//! the others, a failure waits until somebody is known to blame, and a success forgives what its own user did.
//!
//! Source: the behaviour of Fail2ban 1.0 and 1.1.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use jiff::tz::TimeZone;
use model::Timestamp;

use super::date::Usage;
use super::filter::{Filter, Regex};
use super::limits::{
    CONNECTION_SECONDS, MAX_BUFFER, MAX_CONNECTIONS, MAX_LINE, MAX_MATCHES, MAX_REMEMBERED, MAX_USERS,
};
use super::python::{Candidates, Scratch, Text};

/// What a matcher should do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Zone of dates that name none.
    pub zone: TimeZone,
    /// `logtimezone`: a fixed offset for such dates instead, seconds east of UTC.
    pub offset: Option<i64>,
    /// Try each regex on each line, as a test of regexes wants; otherwise the first that matches counts.
    pub all: bool,
    /// A line without a date happened now; otherwise it has no time.
    pub live: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { zone: TimeZone::UTC, offset: None, all: false, live: true }
    }
}

/// A line that says of somebody that he failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// Number of the failregex, from 0.
    pub regex: usize,
    /// Whom it is about, as the line says it: an address, a name, or another id. Nothing while nobody is known.
    pub who: Option<String>,
    /// The address, if it is one; an IPv4 address in an IPv6 address is that.
    pub address: Option<IpAddr>,
    /// Only an address that is part of the failure's id; the failure is counted for `who`.
    pub part: bool,
    /// When it happened, as far as that is known.
    pub at: Option<Timestamp>,
    /// What the regexes took from the lines: `user`, `fport`, …
    pub fields: BTreeMap<Arc<str>, String>,
    /// Users of the connection so far.
    pub users: BTreeSet<String>,
    /// It does not count: a helper, or it may yet be forgiven.
    pub no_failure: bool,
    /// The lines it is made of; the last ones.
    pub lines: Vec<Arc<str>>,
    /// How many there were.
    pub attempts: usize,
}

/// What was found in a line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judged {
    /// Failures; with [`Options::all`] also those that do not count.
    pub failures: Vec<Failure>,
    /// An ignoreregex matched; its number.
    pub ignored: Option<usize>,
    /// The date of the line.
    pub at: Option<Timestamp>,
    /// A search ended at its limit of steps, and counts as not found.
    pub gave_up: bool,
    /// The line is longer than [`MAX_LINE`], and was not judged.
    pub too_long: bool,
}

/// Judges the lines of one log by one filter.
#[derive(Debug)]
pub struct Matcher {
    filter: Arc<Filter>,
    options: Options,
    usage: Option<Usage>,
    scratch: Scratch,
    candidates: Candidates,
    last_date: Option<Timestamp>,
    /// Lines kept for `maxlines`.
    kept: VecDeque<Kept>,
    connections: Connections,
    text: String,
    content: String,
}

/// A line without its date, and with it.
#[derive(Clone, Debug)]
struct Kept {
    text: Arc<str>,
    whole: Arc<str>,
}

type Fields = BTreeMap<Arc<str>, String>;

/// What a failure is made of while it is put together.
#[derive(Clone, Debug, Default)]
struct Draft {
    fields: Fields,
    users: BTreeSet<String>,
    /// Lines of a failure, and those that may yet be forgiven.
    lines: Lines,
    forgivable: Lines,
    pending: bool,
}

#[derive(Clone, Debug, Default)]
struct Lines {
    lines: Vec<Arc<str>>,
    count: usize,
}

impl Lines {
    fn extend(&mut self, lines: &[Arc<str>], count: usize) {
        self.count += count;
        self.lines.extend_from_slice(lines);
        let over = self.lines.len().saturating_sub(MAX_MATCHES);
        self.lines.drain(..over);
    }
}

impl Matcher {
    /// A matcher that has seen no line yet.
    #[must_use]
    pub fn new(filter: Arc<Filter>, options: Options) -> Self {
        let usage = filter.dates.as_ref().map(|dates| Usage::new(dates));
        let candidates = filter.index.candidates(filter.fails.len());
        Self {
            filter,
            options,
            usage,
            scratch: Scratch::default(),
            candidates,
            last_date: None,
            kept: VecDeque::new(),
            connections: Connections::default(),
            text: String::new(),
            content: String::new(),
        }
    }

    /// How often each date pattern was the date of a line.
    #[must_use]
    pub fn date_hits(&self) -> Vec<u64> {
        self.usage.as_ref().map(Usage::hits).unwrap_or_default()
    }

    /// Connections that are remembered.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.by_id.len()
    }

    /// Judges a line of a file, without its end.
    pub fn line(&mut self, now: Timestamp, line: &[u8]) -> Judged {
        let Some(line) = readable(line) else { return Judged { too_long: true, ..Judged::default() } };
        self.scratch.begin();
        let filter = Arc::clone(&self.filter);
        let recent = self.last_date.filter(|last| last.0 > now.0.saturating_sub(60_000_000));
        let mut at = None;
        let mut cut = (0, 0);
        let Options { zone, offset, .. } = &self.options;
        if let (Some(dates), Some(usage)) = (&filter.dates, &mut self.usage) {
            let found = usage.find(dates, &line, now, zone, *offset, &mut self.scratch);
            if let Some(found) = found {
                cut = found.cut;
                at = found.at;
                if at.is_some() {
                    self.last_date = at;
                } else if cut.0 == cut.1 {
                    // The pattern says that there need not be a date.
                    at = recent.or(Some(now));
                }
            }
        } else {
            at = recent.or(Some(now));
        }
        if at.is_none() {
            at = recent.or(self.options.live.then_some(now));
            // The whole line counts as text then.
            if recent.is_some() {
                cut = (0, 0);
            }
        }
        self.judge(now, &filter, &line, cut, at)
    }

    /// Judges an entry of the journal, whose time is known.
    pub fn entry(&mut self, now: Timestamp, at: Timestamp, message: &[u8]) -> Judged {
        let Some(line) = readable(message) else { return Judged { too_long: true, ..Judged::default() } };
        self.scratch.begin();
        self.last_date = Some(at);
        let filter = Arc::clone(&self.filter);
        self.judge(now, &filter, &line, (0, 0), Some(at))
    }

    fn judge(
        &mut self,
        now: Timestamp,
        filter: &Filter,
        line: &str,
        cut: (usize, usize),
        at: Option<Timestamp>,
    ) -> Judged {
        let mut judged = Judged { at, ..Judged::default() };
        let many = filter.lines > 1;
        self.text.clear();
        if many {
            self.keep(filter.lines, line, cut);
            for kept in &self.kept {
                self.text.push_str(&kept.text);
                self.text.push('\n');
            }
        } else {
            self.text.push_str(&line[..cut.0]);
            self.text.push_str(&line[cut.1..]);
            self.text.push('\n');
        }
        let text = std::mem::take(&mut self.text);
        let content = std::mem::take(&mut self.content);
        let (text, content) = self.search(now, filter, line, text, content, many, &mut judged);
        (self.text, self.content) = (text, content);
        judged.gave_up = self.scratch.gave_up();
        judged
    }

    #[expect(clippy::too_many_arguments, reason = "the buffers are lent for the time of one line")]
    fn search(
        &mut self,
        now: Timestamp,
        filter: &Filter,
        line: &str,
        mut text: String,
        mut content: String,
        many: bool,
        judged: &mut Judged,
    ) -> (String, String) {
        let few_ignores = !filter.ignores.is_empty() && filter.ignores.len() + 2 < filter.fails.len();
        if few_ignores {
            judged.ignored = self.ignored(filter, &text);
            if judged.ignored.is_some() {
                return (text, content);
            }
        }
        let mut prefix: Option<Fields> = None;
        let mut in_content = false;
        if let Some(regex) = &filter.prefix {
            if !regex.pattern.search(Text::new(&text), &mut self.scratch) {
                return (text, content);
            }
            let mut fields = groups(regex, &self.scratch, &text);
            if let Some(found) = fields.remove("content").filter(|content| !content.is_empty()) {
                content.clear();
                content.push_str(&found);
                content.push('\n');
                in_content = true;
            }
            prefix = Some(fields);
        }
        let mut from = 0;
        {
            let text = Text::new(if in_content { &content } else { &text });
            filter.index.ask(text, &mut self.candidates);
        }
        while let Some(number) = self.candidates.next(from) {
            from = number + 1;
            let regex = &filter.fails[number];
            let searched = if in_content { content.as_str() } else { text.as_str() };
            if !regex.pattern.search(Text::new(searched), &mut self.scratch) {
                continue;
            }
            let mut fields = groups(regex, &self.scratch, searched);
            let (lines, rest) = if many {
                let whole = if in_content { None } else { self.scratch.group(0) };
                self.matched(regex, whole, searched)
            } else {
                (vec![Arc::<str>::from(shortened(line))], None)
            };
            if !filter.ignores.is_empty() {
                let of_match;
                let judged_by = if many {
                    of_match = self.texts_of(&lines);
                    of_match.as_str()
                } else {
                    searched
                };
                let ignored = self.ignored(filter, judged_by);
                if ignored.is_some() {
                    judged.ignored = ignored;
                    if many {
                        self.kept = rest.unwrap_or_default();
                    }
                    if !self.options.all {
                        break;
                    }
                    continue;
                }
            }
            if many {
                self.kept = rest.unwrap_or_default();
                text.clear();
                for kept in &self.kept {
                    text.push_str(&kept.text);
                    text.push('\n');
                }
                in_content = false;
            }
            if let Some(prefix) = &prefix {
                for (name, value) in prefix {
                    fields.entry(Arc::clone(name)).or_insert_with(|| value.clone());
                }
            }
            let failure = self.put_together(now, number, fields, &lines, judged.at);
            if failure.no_failure || failure.who.is_none() {
                if self.options.all {
                    judged.failures.push(failure);
                    continue;
                }
                break;
            }
            judged.failures.push(failure);
            if !self.options.all {
                break;
            }
        }
        (text, content)
    }

    fn ignored(&mut self, filter: &Filter, text: &str) -> Option<usize> {
        filter.ignores.iter().position(|regex| regex.pattern.search(Text::new(text), &mut self.scratch))
    }

    fn keep(&mut self, most: usize, line: &str, cut: (usize, usize)) {
        let text = format!("{}{}", &line[..cut.0], &line[cut.1..]);
        self.kept.push_back(Kept { text: text.into(), whole: shortened(line).into() });
        let mut bytes: usize = self.kept.iter().map(|kept| kept.text.len() + 1).sum();
        while self.kept.len() > most || (bytes > MAX_BUFFER && self.kept.len() > 1) {
            bytes -= self.kept.pop_front().map_or(0, |kept| kept.text.len() + 1);
        }
    }

    /// Which of the kept lines a match over several is made of, and those that stay: the others, and what the regex
    /// skipped.
    fn matched(
        &self,
        regex: &Regex,
        whole: Option<(usize, usize)>,
        text: &str,
    ) -> (Vec<Arc<str>>, Option<VecDeque<Kept>>) {
        let Some((start, end)) = whole.filter(|_| self.kept.len() > 1) else {
            return (self.kept.iter().map(|kept| Arc::clone(&kept.whole)).collect(), None);
        };
        let bytes = text.as_bytes();
        let line_start =
            bytes[..(start + 1).min(bytes.len())].iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let from = end.saturating_sub(1);
        let line_end = bytes[from..].iter().position(|b| *b == b'\n').map_or(bytes.len(), |at| from + at + 1);
        let count = |to: usize| bytes[..to].iter().filter(|b| **b == b'\n').count();
        let (first, last) = (count(line_start), count(line_end));
        let mut skipped: VecDeque<&str> = VecDeque::new();
        for group in &regex.skipped {
            if let Some((start, end)) = self.scratch.group(*group) {
                skipped.extend(text.get(start..end).unwrap_or("").lines());
            }
        }
        let (mut lines, mut rest) = (Vec::new(), VecDeque::new());
        for (at, kept) in self.kept.iter().enumerate() {
            let inside = (first..last).contains(&at);
            let is_skipped = inside && skipped.front().is_some_and(|skipped| **skipped == *kept.text);
            if is_skipped {
                skipped.pop_front();
            }
            if inside && !is_skipped {
                lines.push(Arc::clone(&kept.whole));
            } else {
                rest.push_back(kept.clone());
            }
        }
        (lines, Some(rest))
    }

    /// Texts of lines that are still kept.
    fn texts_of(&self, lines: &[Arc<str>]) -> String {
        let mut text = String::new();
        for kept in self.kept.iter().filter(|kept| lines.iter().any(|line| Arc::ptr_eq(line, &kept.whole))) {
            text.push_str(&kept.text);
            text.push('\n');
        }
        text
    }

    /// What a match means, with what is known of its connection.
    fn put_together(
        &mut self,
        now: Timestamp,
        regex: usize,
        fields: Fields,
        lines: &[Arc<str>],
        at: Option<Timestamp>,
    ) -> Failure {
        let Some(id) = fields.get("mlfid").cloned() else {
            let mut draft = Draft { fields, ..Draft::default() };
            draft.lines.extend(lines, lines.len());
            return draft.failure(regex, at).0;
        };
        let forget = fields.contains_key("mlfforget");
        let gained = fields.get("mlfgained").filter(|gained| !gained.is_empty()).cloned();
        let known = self.connections.take(&id, now);
        let was_known = known.is_some();
        let (draft, harmless) = merge(known, fields, gained, forget);
        let mut draft = draft;
        // Lines that may yet be forgiven wait; those of a failure go with it.
        match harmless {
            Harmless::No { gained } => {
                let mut all = std::mem::take(&mut draft.forgivable);
                all.extend(&draft.lines.lines, draft.lines.count);
                if !gained {
                    all.extend(lines, lines.len());
                }
                draft.lines = all;
            }
            Harmless::Yes if !forget => draft.forgivable.extend(lines, lines.len()),
            Harmless::Yes => {}
        }
        let (failure, pending) = draft.failure(regex, at);
        draft.pending |= pending;
        if !forget {
            self.connections.put(id, draft, now);
        } else if was_known {
            self.connections.forget(&id);
        }
        failure
    }
}

enum Harmless {
    Yes,
    No { gained: bool },
}

/// Puts a match into what is known of its connection.
fn merge(
    known: Option<Draft>,
    mut fields: Fields,
    gained: Option<String>,
    forget: bool,
) -> (Draft, Harmless) {
    let is_set = |fields: &Fields, name: &str| fields.get(name).is_some_and(|value| !value.is_empty());
    let mut harmless = gained.is_some() || is_set(&fields, "nofail");
    let mut success = gained.is_some();
    if let Some(gained) = gained
        && !is_set(&fields, "nofail")
    {
        fields.insert("nofail".into(), gained);
    }
    fields.remove("mlfforget");
    let user = fields.get("user").filter(|user| !user.is_empty()).cloned();
    let mut several = false;
    let mut draft = match known {
        Some(mut known) => {
            if let Some(user) = user
                && known.users.len() < MAX_USERS
            {
                known.users.insert(shortened(&user).to_owned());
            }
            let mut waited = is_set(&known.fields, "nofail");
            known.fields.remove("nofail");
            waited |= is_set(&known.fields, "mlfgained");
            known.fields.remove("mlfgained");
            if success {
                known.pending = false;
            }
            // What was a failure before has been told.
            if !waited && !known.pending {
                known.lines = Lines::default();
            }
            known.fields.extend(fields);
            several = known.users.len() > 1;
            known
        }
        None => {
            let mut draft = Draft { fields, ..Draft::default() };
            if !forget {
                draft.users.extend(user.map(|user| shortened(&user).to_owned()));
            }
            draft
        }
    };
    if std::mem::take(&mut draft.pending) || several {
        // Success of one user does not forgive what others did, nor what nobody was known to blame for.
        draft.fields.remove("nofail");
        draft.fields.remove("mlfgained");
        (harmless, success) = (false, false);
    }
    (draft, if harmless { Harmless::Yes } else { Harmless::No { gained: success } })
}

impl Draft {
    /// As a failure; also whether it waits for somebody to blame.
    fn failure(&self, regex: usize, at: Option<Timestamp>) -> (Failure, bool) {
        let field = |name: &str| self.fields.get(name);
        let host = field("ip4").or_else(|| field("ip6"));
        let id = field("fid");
        let cidr = field("cidr").and_then(|cidr| cidr.parse::<u8>().ok()).filter(|_| host.is_some());
        let name = host.or_else(|| field("dns")).or(id);
        let address = host.and_then(|host| address(host));
        let complex = id.is_some_and(|id| name != Some(id));
        let who = match (id, name) {
            (Some(id), Some(_)) if complex => Some(id.clone()),
            (_, Some(name)) => Some(match (address, cidr) {
                (Some(address), Some(cidr)) => network(address, cidr),
                (Some(address), None) => address.to_string(),
                (None, _) => name.clone(),
            }),
            (_, None) => None,
        };
        let address = address.or_else(|| who.as_deref().and_then(self::address));
        let failure = Failure {
            regex,
            address,
            part: complex,
            at,
            fields: self.fields.clone(),
            users: self.users.clone(),
            no_failure: self.fields.get("nofail").is_some_and(|value| !value.is_empty()),
            lines: self.lines.lines.clone(),
            attempts: self.lines.count,
            who,
        };
        let pending = failure.who.is_none();
        (failure, pending)
    }
}

/// An address as Python's `inet_pton` takes it; IPv4 in IPv6 is IPv4.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address: IpAddr = text.parse().ok()?;
    Some(match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    })
}

/// A network in its shortest form.
fn network(address: IpAddr, prefix: u8) -> String {
    match ipnet::IpNet::new(address, prefix) {
        Ok(net) if net.prefix_len() < net.max_prefix_len() => net.trunc().to_string(),
        Ok(_) | Err(_) => address.to_string(),
    }
}

/// The line as text: without line ends, with U+FFFD for what is not UTF-8. Nothing if it is too long.
fn readable(line: &[u8]) -> Option<Cow<'_, str>> {
    let end = line.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |at| at + 1);
    (end <= MAX_LINE).then(|| String::from_utf8_lossy(&line[..end]))
}

/// As much of a text as is remembered.
fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_REMEMBERED)]
}

/// Groups of a match by name, those that took part in it.
fn groups(regex: &Regex, scratch: &Scratch, text: &str) -> Fields {
    let mut fields = Fields::new();
    for (name, group) in &regex.fields {
        if let Some((start, end)) = scratch.group(*group)
            && let Some(value) = text.get(start..end)
        {
            fields.insert(Arc::clone(name), value.to_owned());
        }
    }
    for (other, name) in &regex.others {
        let value = fields.get(other).filter(|value| !value.is_empty()).cloned();
        if let Some(value) = value
            && fields.get(name).is_none_or(String::is_empty)
        {
            fields.insert(Arc::clone(name), value);
        }
    }
    for (part, name) in &regex.tuples {
        let part = fields.get(part).cloned().unwrap_or_default();
        let whole = fields.entry(Arc::clone(name)).or_default();
        whole.push(TUPLE);
        whole.push_str(&part);
    }
    fields
}

/// Stands between the parts of an id that is put together of several (`<F-TUPLE_ID>`).
pub(super) const TUPLE: char = '\u{1f}';

/// What is known of connections.
#[derive(Debug, Default)]
struct Connections {
    by_id: HashMap<String, (Draft, Timestamp, u64)>,
    /// Ids in the order in which they were heard of, with the turn in which; older turns of an id no longer count.
    order: VecDeque<(String, u64)>,
    turn: u64,
}

impl Connections {
    fn take(&mut self, id: &str, now: Timestamp) -> Option<Draft> {
        let (draft, at, turn) = self.by_id.get_mut(id)?;
        if now.since(*at).as_secs() > CONNECTION_SECONDS.unsigned_abs() {
            self.by_id.remove(id);
            return None;
        }
        let _ = turn;
        Some(std::mem::take(draft))
    }

    fn put(&mut self, id: String, mut draft: Draft, now: Timestamp) {
        if id.len() > MAX_REMEMBERED {
            return;
        }
        for value in draft.fields.values_mut().filter(|value| value.len() > MAX_REMEMBERED) {
            value.truncate(shortened(value).len());
        }
        self.turn += 1;
        let turn = self.turn;
        self.order.push_back((id.clone(), turn));
        self.by_id.insert(id, (draft, now, turn));
        while self.by_id.len() > MAX_CONNECTIONS || self.order.len() > 2 * MAX_CONNECTIONS {
            let Some((id, turn)) = self.order.pop_front() else { break };
            if self.by_id.get(&id).is_some_and(|(_, _, last)| *last == turn) {
                self.by_id.remove(&id);
            }
        }
    }

    fn forget(&mut self, id: &str) {
        self.by_id.remove(id);
    }
}

/// The IPv6 network of 64 bits that an address belongs to; an IPv4 address itself.
pub(super) fn neighbourhood(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(u32::from(128 - prefix.min(128))).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from(u128::from(v6) & mask))
        }
    }
}
