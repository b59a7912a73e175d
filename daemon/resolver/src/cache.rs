//! Answers of upstreams, kept as long as their TTL allows and never beyond the limits of entries and bytes.

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{Name, RData, RecordType},
    serialize::binary::BinEncodable,
};
use lru::LruCache;
use std::{num::NonZeroUsize, time::Instant};

use crate::{
    limits::{MAX_CACHE_BYTES, MAX_CACHED_ANSWER, MAX_NEGATIVE_TTL, MAX_TTL},
    query::Question,
};

/// The question as it is looked up: the name's wire form in lower case, type, DNSSEC and checking flags.
type Key = Box<[u8]>;

/// Bytes of a key behind the name.
const KEY_TAIL: usize = 3;

struct Entry {
    answer: Box<[u8]>,
    stored: Instant,
    ttl: u32,
}

/// A bounded cache; when full the least recently used answer goes.
pub(crate) struct Cache {
    entries: Option<LruCache<Key, Entry>>,
    bytes: usize,
}

impl Cache {
    /// A cache of at most `entries` answers; none at all with 0.
    pub(crate) fn new(entries: usize) -> Self {
        let mut cache = Self { entries: None, bytes: 0 };
        cache.resize(entries);
        cache
    }

    /// Changes how many answers are held; what is too much goes.
    pub(crate) fn resize(&mut self, entries: usize) {
        match (NonZeroUsize::new(entries), &mut self.entries) {
            (None, _) => *self = Self { entries: None, bytes: 0 },
            (Some(most), None) => {
                // Unbounded at first, so that memory grows with use; the bound is set at once.
                let mut cache = LruCache::unbounded();
                cache.resize(most);
                self.entries = Some(cache);
            }
            (Some(most), Some(cache)) => {
                while cache.len() > most.get() {
                    let Some((key, entry)) = cache.pop_lru() else { break };
                    self.bytes = self.bytes.saturating_sub(key.len() + entry.answer.len());
                }
                cache.resize(most);
            }
        }
    }

    /// The answer to a question, its TTLs counted down; none if it is not held or has run out.
    pub(crate) fn get(&mut self, question: &Question, now: Instant) -> Option<Message> {
        let key = key(question)?;
        let cache = self.entries.as_mut()?;
        let entry = cache.get(&key)?;
        let age = u32::try_from(now.saturating_duration_since(entry.stored).as_secs()).unwrap_or(u32::MAX);
        if age >= entry.ttl {
            self.remove(&key);
            return None;
        }
        let ttl = entry.ttl;
        let mut message = Message::from_vec(&entry.answer).ok()?;
        for records in [&mut message.answers, &mut message.authorities, &mut message.additionals] {
            for record in records {
                // Never longer than the whole is kept: the shortest TTL of an answer holds for all of it.
                record.ttl = record.ttl.min(ttl).saturating_sub(age);
            }
        }
        Some(message)
    }

    /// Keeps an answer if it may be kept.
    pub(crate) fn put(&mut self, question: &Question, answer: &Message, now: Instant) {
        let (Some(ttl), Some(key)) = (time_to_live(answer), key(question)) else { return };
        let Some(cache) = &mut self.entries else { return };
        let mut kept = answer.clone();
        kept.edns = None;
        kept.signature = None;
        let Ok(bytes) = kept.to_vec() else { return };
        if bytes.len() > MAX_CACHED_ANSWER {
            return;
        }
        let entry = Entry { answer: bytes.into(), stored: now, ttl };
        self.bytes += key.len() + entry.answer.len();
        if let Some((key, old)) = cache.push(key, entry) {
            self.bytes = self.bytes.saturating_sub(key.len() + old.answer.len());
        }
        while self.bytes > MAX_CACHE_BYTES {
            let Some((key, entry)) = cache.pop_lru() else { break };
            self.bytes = self.bytes.saturating_sub(key.len() + entry.answer.len());
        }
    }

    /// Forgets a name and everything below it, or all with none. Says how many answers went.
    pub(crate) fn flush(&mut self, name: Option<&Name>) -> usize {
        let Some(cache) = &mut self.entries else { return 0 };
        let Some(parent) = name else {
            let count = cache.len();
            cache.clear();
            self.bytes = 0;
            return count;
        };
        let Ok(parent) = parent.to_lowercase().to_bytes() else { return 0 };
        let gone: Vec<Key> =
            cache.iter().filter(|(key, _)| is_within(key, &parent)).map(|(key, _)| key.clone()).collect();
        for key in &gone {
            self.remove(key);
        }
        gone.len()
    }

    /// Answers held.
    pub(crate) fn len(&self) -> usize {
        self.entries.as_ref().map_or(0, LruCache::len)
    }

    fn remove(&mut self, key: &[u8]) {
        if let Some(entry) = self.entries.as_mut().and_then(|cache| cache.pop(key)) {
            self.bytes = self.bytes.saturating_sub(key.len() + entry.answer.len());
        }
    }
}

fn key(question: &Question) -> Option<Key> {
    let mut key = question.name.to_lowercase().to_bytes().ok()?;
    key.extend(u16::from(question.qtype).to_be_bytes());
    key.push(u8::from(question.dnssec) | u8::from(question.checking_disabled) << 1);
    Some(key.into())
}

/// Whether a key's name is `parent` (wire form, lower case) or below it.
fn is_within(key: &[u8], parent: &[u8]) -> bool {
    let mut name = &key[..key.len().saturating_sub(KEY_TAIL)];
    loop {
        if name == parent {
            return true;
        }
        match name.split_first() {
            Some((&length, rest)) if length > 0 => match rest.get(usize::from(length)..) {
                Some(rest) => name = rest,
                None => return false,
            },
            Some(_) | None => return false,
        }
    }
}

/// Seconds an answer may be kept; none if not at all. Negative answers live as their SOA says (RFC 2308 §5), those
/// without one are not kept.
fn time_to_live(answer: &Message) -> Option<u32> {
    let code = answer.metadata.response_code;
    if answer.metadata.truncation || !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) {
        return None;
    }
    let positive = answer.answers.iter().map(|record| record.ttl).min();
    let asked = answer.queries.first().map(|query| query.query_type)?;
    let answered =
        answer.answers.iter().any(|record| record.record_type() == asked || asked == RecordType::ANY);
    let negative = if code == ResponseCode::NXDomain || !answered {
        Some(answer.authorities.iter().find_map(|record| match &record.data {
            RData::SOA(soa) => Some(record.ttl.min(soa.minimum).min(MAX_NEGATIVE_TTL)),
            _ => None,
        })?)
    } else {
        None
    };
    let ttl = positive.into_iter().chain(negative).min()?;
    (ttl > 0).then_some(ttl.min(MAX_TTL))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        answer::addresses,
        query::{Received, Transport, read},
    };
    use hickory_proto::{
        op::{OpCode, Query},
        rr::{
            Record,
            rdata::{A, CNAME, SOA},
        },
    };
    use std::time::Duration;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn question(text: &str) -> Question {
        let mut message = Message::query();
        message.add_query(Query::query(name(text), RecordType::A));
        match read(&message.to_vec().unwrap(), Transport::Udp) {
            Received::Question(question) => *question,
            other => panic!("{other:?}"),
        }
    }

    fn answer(text: &str, code: ResponseCode, answers: &[(u32, RData)], soa: Option<(u32, u32)>) -> Message {
        let mut message = Message::response(1, OpCode::Query);
        message.metadata.response_code = code;
        message.add_query(Query::query(name(text), RecordType::A));
        for (ttl, data) in answers {
            message.add_answer(Record::from_rdata(name(text), *ttl, data.clone()));
        }
        if let Some((ttl, minimum)) = soa {
            let soa = SOA::new(name("ns."), name("root."), 1, 2, 3, 4, minimum);
            message.add_authority(Record::from_rdata(name("example."), ttl, RData::SOA(soa)));
        }
        message
    }

    fn a(ttl: u32) -> (u32, RData) {
        (ttl, RData::A(A::new(192, 0, 2, 1)))
    }

    #[test]
    fn answers_live_as_long_as_their_shortest_ttl_and_count_down() {
        let (mut cache, start) = (Cache::new(10), Instant::now());
        let asked = question("WWW.example.");
        cache.put(&asked, &answer("www.example.", ResponseCode::NoError, &[a(300), a(60)], None), start);
        let at = |seconds| start + Duration::from_secs(seconds);
        let hit = cache.get(&question("www.EXAMPLE."), at(59)).unwrap();
        assert_eq!(hit.answers.iter().map(|record| record.ttl).collect::<Vec<_>>(), [1, 1]);
        assert_eq!(addresses(&hit).len(), 2);
        assert!(cache.get(&asked, at(60)).is_none());
        assert_eq!((cache.len(), cache.bytes), (0, 0));
    }

    #[test]
    fn negative_answers_live_as_their_soa_says() {
        let code = ResponseCode::NXDomain;
        assert_eq!(time_to_live(&answer("x.", code, &[], Some((900, 60)))), Some(60));
        assert_eq!(time_to_live(&answer("x.", code, &[], Some((30, 60)))), Some(30));
        assert_eq!(time_to_live(&answer("x.", code, &[], Some((99_999, 99_999)))), Some(MAX_NEGATIVE_TTL));
        assert_eq!(time_to_live(&answer("x.", code, &[], None)), None);
        assert_eq!(time_to_live(&answer("x.", ResponseCode::NoError, &[], None)), None, "no data, no SOA");
        let alias = (5, RData::CNAME(CNAME(name("y."))));
        assert_eq!(time_to_live(&answer("x.", ResponseCode::NoError, &[alias], Some((900, 60)))), Some(5));
    }

    #[test]
    fn what_may_not_be_kept_is_not() {
        assert_eq!(time_to_live(&answer("x.", ResponseCode::ServFail, &[a(60)], None)), None);
        assert_eq!(time_to_live(&answer("x.", ResponseCode::NoError, &[a(0)], None)), None);
        assert_eq!(time_to_live(&answer("x.", ResponseCode::NoError, &[a(u32::MAX)], None)), Some(MAX_TTL));
        let mut truncated = answer("x.", ResponseCode::NoError, &[a(60)], None);
        truncated.metadata.truncation = true;
        assert_eq!(time_to_live(&truncated), None);
        let mut off = Cache::new(0);
        off.put(&question("x."), &answer("x.", ResponseCode::NoError, &[a(60)], None), Instant::now());
        assert_eq!(off.len(), 0);
    }

    #[test]
    fn entries_and_bytes_are_bounded() {
        let (mut cache, now) = (Cache::new(100), Instant::now());
        for number in 0..1000 {
            let host = format!("h{number}.example.");
            cache.put(&question(&host), &answer(&host, ResponseCode::NoError, &[a(60)], None), now);
        }
        assert_eq!(cache.len(), 100);
        assert!(cache.get(&question("h999.example."), now).is_some());
        assert!(cache.get(&question("h0.example."), now).is_none());
        cache.resize(10);
        assert_eq!(cache.len(), 10);

        let mut cache = Cache::new(MAX_CACHE_BYTES);
        let big = vec![a(60); 150];
        for number in 0..MAX_CACHE_BYTES / 3000 + 100 {
            let host = format!("h{number}.example.");
            cache.put(&question(&host), &answer(&host, ResponseCode::NoError, &big, None), now);
        }
        assert!(cache.bytes <= MAX_CACHE_BYTES && cache.bytes > MAX_CACHE_BYTES / 2, "{}", cache.bytes);
        let held: usize =
            cache.entries.as_ref().unwrap().iter().map(|(key, entry)| key.len() + entry.answer.len()).sum();
        assert_eq!(held, cache.bytes);
        let huge = vec![a(60); 1000];
        let before = cache.len();
        cache.put(
            &question("huge.example."),
            &answer("huge.example.", ResponseCode::NoError, &huge, None),
            now,
        );
        assert_eq!(cache.len(), before, "too large to be kept");
    }

    #[test]
    fn names_are_forgotten_with_what_is_below() {
        let (mut cache, now) = (Cache::new(10), Instant::now());
        for host in ["example.", "a.example.", "b.a.example.", "xa.example.", "other."] {
            cache.put(&question(host), &answer(host, ResponseCode::NoError, &[a(60)], None), now);
        }
        assert_eq!(cache.flush(Some(&name("A.example."))), 2);
        assert!(cache.get(&question("xa.example."), now).is_some());
        assert_eq!(cache.flush(None), 3);
        assert_eq!((cache.len(), cache.bytes), (0, 0));
    }
}
