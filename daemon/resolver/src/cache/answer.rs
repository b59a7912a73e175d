//! An answer as it is kept: the bytes it is given with, where its TTLs stand in them, and what has to be judged anew
//! each time it is given, since lists and groups may have changed.

use hickory_proto::{
    op::{Message, OpCode, Query, ResponseCode},
    rr::{Name, RData, RecordType, rdata::svcb::SVCB, rdata::svcb::SvcParamValue},
};
use std::{
    mem,
    net::IpAddr,
    sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use crate::{
    limits::{MAX_ALIASES, PREFETCH_FROM_HITS, PREFETCH_FROM_TTL, PREFETCH_RETRY, STALE_RECHECK, STALE_TTL},
    wire::{
        name::text,
        question::Question,
        reply::{Extended, Reply},
        walk::records,
    },
};

/// How long answers live; see [`crate::CacheSettings`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lifetimes {
    /// At least so many seconds.
    pub(crate) least: u32,
    /// At most so many.
    pub(crate) most: u32,
    /// Negative answers at most so many.
    pub(crate) negative: u32,
}

/// An answer with everything needed to give it again.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Header, question, answers, authorities; no OPT.
    wire: Box<[u8]>,
    /// Places of the TTLs in `wire`.
    ttls: Box<[u16]>,
    /// Names behind the question: aliases, targets of service bindings.
    pub(crate) targets: Box<[Box<str>]>,
    /// A, AAAA, and the hints of service bindings.
    pub(crate) addresses: Box<[IpAddr]>,
    /// What the upstream or the validation explains.
    pub(crate) explained: Option<(u16, Box<str>)>,
    /// It was validated.
    pub(crate) secure: bool,
    /// Answer code.
    pub(crate) code: u16,
    /// When it came.
    stored: Duration,
    /// Seconds it lives from then; 0: it is not kept.
    ttl: u32,
    hits: AtomicU32,
    refreshing: AtomicBool,
    /// Age from which a refresh may be tried, after one that brought nothing.
    refresh_from: AtomicU32,
    /// Second until which it is given at once although it is past its time.
    excused_until: AtomicU32,
}

impl Answer {
    /// Takes what an upstream said; none if that cannot be written, or leads to more names than [`MAX_ALIASES`].
    pub(crate) fn new(
        question: &Question,
        mut message: Message,
        secure: bool,
        lifetimes: Lifetimes,
        now: Duration,
    ) -> Option<Self> {
        // What goes beyond the header's four bits is between us and the upstream (RFC 6891 §6.1.3, RFC 7873 §5.3).
        let code = message.metadata.response_code;
        let code = if u16::from(code) > 15 { ResponseCode::ServFail } else { code };
        let name = question.name();
        let mut kept = Message::response(0, OpCode::Query);
        kept.metadata.response_code = code;
        kept.add_query(Query::query(name.clone(), question.record_type()));
        let ttl = time_to_live(&message, question.record_type(), lifetimes);
        // Never longer than the whole is kept: the shortest TTL of an answer holds for all of it.
        let cap = ttl.unwrap_or(u32::MAX);
        kept.answers = mem::take(&mut message.answers);
        kept.authorities = mem::take(&mut message.authorities);
        let mut kept = kept.maybe_strip_dnssec_records(question.dnssec_ok());
        for record in kept.answers.iter_mut().chain(&mut kept.authorities) {
            record.ttl = if ttl.is_some() {
                record.ttl.clamp(lifetimes.least.min(cap), cap)
            } else {
                record.ttl.min(lifetimes.most)
            };
            if record.name == name {
                record.name.clone_from(&name);
            }
        }
        let (targets, addresses) = facts(&name, &kept);
        if targets.len() > MAX_ALIASES {
            return None;
        }
        let wire = kept.to_vec().ok()?;
        let ttls =
            records(&wire)?.iter().map(|record| u16::try_from(record.ttl)).collect::<Result<_, _>>().ok()?;
        Some(Self {
            wire: wire.into(),
            ttls,
            targets,
            addresses,
            explained: explained(&message),
            secure,
            code: code.into(),
            stored: now,
            ttl: ttl.unwrap_or(0),
            hits: AtomicU32::new(0),
            refreshing: AtomicBool::new(false),
            refresh_from: AtomicU32::new(0),
            excused_until: AtomicU32::new(0),
        })
    }

    /// Seconds it lives; 0: it is not kept.
    pub(crate) const fn ttl(&self) -> u32 {
        self.ttl
    }

    /// Bytes of memory it holds.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.wire.len()
            + self.ttls.len() * 2
            + self.targets.iter().map(|target| target.len() + size_of::<Box<str>>()).sum::<usize>()
            + self.addresses.len() * size_of::<IpAddr>()
            + self.explained.as_ref().map_or(0, |(_, text)| text.len())
    }

    /// Bytes of the answer itself.
    pub(crate) fn wire_length(&self) -> usize {
        self.wire.len()
    }

    /// Seconds since it came.
    pub(crate) fn age(&self, now: Duration) -> u32 {
        u32::try_from(now.saturating_sub(self.stored).as_secs()).unwrap_or(u32::MAX)
    }

    /// Its time is not over.
    pub(crate) fn is_fresh(&self, now: Duration) -> bool {
        self.age(now) < self.ttl
    }

    /// Its time has been over for longer than `window` seconds.
    pub(crate) fn is_gone(&self, now: Duration, window: u32) -> bool {
        self.age(now) >= self.ttl.saturating_add(window)
    }

    /// Starts to write it for a client, its TTLs counted down, or those of an answer past its time.
    pub(crate) fn reply<'o>(&self, out: &'o mut Vec<u8>, question: &Question, now: Duration) -> Reply<'o> {
        let authentic = self.secure && !question.checking_disabled;
        Reply::kept(out, question, &self.wire, &self.ttls, authentic, self.left(now))
    }

    /// What is left of a TTL; for an answer past its time, what such ones get.
    pub(crate) fn left(&self, now: Duration) -> impl Fn(u32) -> u32 + use<> {
        let age = self.age(now);
        let stale = self.ttl > 0 && age >= self.ttl;
        move |ttl| if stale { STALE_TTL } else { ttl.saturating_sub(age) }
    }

    /// Counts a use, and says whether it is time to ask anew, ahead of the end: once, for what is asked for often.
    pub(crate) fn wants_refresh(&self, now: Duration) -> bool {
        let hits = self.hits.load(Relaxed).saturating_add(1);
        self.hits.store(hits, Relaxed);
        let age = self.age(now);
        let left = self.ttl.saturating_sub(age);
        hits >= PREFETCH_FROM_HITS
            && self.ttl >= PREFETCH_FROM_TTL
            && left <= self.ttl / 10
            && age >= self.refresh_from.load(Relaxed)
            && !self.refreshing.swap(true, Relaxed)
    }

    /// The refresh did not happen or failed: not every question tries it again.
    pub(crate) fn refresh_ended(&self, now: Duration) {
        self.refresh_from.store(self.age(now).saturating_add(PREFETCH_RETRY), Relaxed);
        self.refreshing.store(false, Relaxed);
    }

    /// No upstream answers: for a while it is given at once.
    pub(crate) fn excuse(&self, now: Duration) {
        let until = u32::try_from(now.as_secs()).unwrap_or(u32::MAX).saturating_add(STALE_RECHECK);
        self.excused_until.store(until, Relaxed);
    }

    /// Whether it is given at once although it is past its time.
    pub(crate) fn is_excused(&self, now: Duration) -> bool {
        now.as_secs() < u64::from(self.excused_until.load(Relaxed))
    }

    /// How an answer past its time is called.
    pub(crate) const fn stale(&self) -> Extended {
        if self.code == 3 { Extended::StaleNxDomain } else { Extended::Stale }
    }

    /// The answer as hickory-proto reads it, to be put behind a rewrite.
    pub(crate) fn message(&self, now: Duration) -> Option<Message> {
        let left = self.left(now);
        let mut message = Message::from_vec(&self.wire).ok()?;
        for record in message.answers.iter_mut().chain(&mut message.authorities) {
            record.ttl = left(record.ttl);
        }
        Some(message)
    }
}

/// Names and addresses that the client learns; of more names than [`MAX_ALIASES`] one more, to tell.
fn facts(name: &Name, message: &Message) -> (Box<[Box<str>]>, Box<[IpAddr]>) {
    let mut targets: Vec<Box<str>> = Vec::new();
    let mut addresses = Vec::new();
    let mut target = |found: &Name| {
        if !found.is_root() && found != name && targets.len() <= MAX_ALIASES {
            let found: Box<str> = text(found).into();
            if !targets.contains(&found) {
                targets.push(found);
            }
        }
    };
    for record in &message.answers {
        match &record.data {
            RData::A(address) => addresses.push(address.0.into()),
            RData::AAAA(address) => addresses.push(address.0.into()),
            RData::CNAME(alias) => target(&alias.0),
            RData::HTTPS(binding) => bound(&binding.0, &mut target, &mut addresses),
            RData::SVCB(binding) => bound(binding, &mut target, &mut addresses),
            _ => {}
        }
    }
    (targets.into(), addresses.into())
}

fn bound(binding: &SVCB, target: &mut impl FnMut(&Name), addresses: &mut Vec<IpAddr>) {
    target(&binding.target_name);
    for (_, value) in &binding.svc_params {
        match value {
            SvcParamValue::Ipv4Hint(hints) => {
                addresses.extend(hints.0.iter().map(|hint| IpAddr::from(hint.0)))
            }
            SvcParamValue::Ipv6Hint(hints) => {
                addresses.extend(hints.0.iter().map(|hint| IpAddr::from(hint.0)))
            }
            _ => {}
        }
    }
}

/// The upstream's own extended error (RFC 8914), so that its reason reaches the client.
fn explained(message: &Message) -> Option<(u16, Box<str>)> {
    use hickory_proto::rr::rdata::opt::EdnsOption;
    message.edns.as_ref()?.options().as_ref().iter().find_map(|(_, option)| match option {
        EdnsOption::Unknown(15, data) => {
            let (code, text) = data.split_first_chunk::<2>()?;
            let text = String::from_utf8_lossy(text);
            let clean: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
            Some((u16::from_be_bytes(*code), clean.into()))
        }
        _ => None,
    })
}

/// Seconds an answer may be kept; none if not at all. Negative answers live as their SOA says (RFC 2308 §5), those
/// without one are not kept.
fn time_to_live(answer: &Message, asked: RecordType, lifetimes: Lifetimes) -> Option<u32> {
    let code = answer.metadata.response_code;
    if answer.metadata.truncation || !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) {
        return None;
    }
    let positive = answer.answers.iter().map(|record| record.ttl).min();
    let answered =
        answer.answers.iter().any(|record| record.record_type() == asked || asked == RecordType::ANY);
    let negative = if code == ResponseCode::NXDomain || !answered {
        Some(answer.authorities.iter().find_map(|record| match &record.data {
            RData::SOA(soa) => Some(record.ttl.min(soa.minimum).min(lifetimes.negative)),
            _ => None,
        })?)
    } else {
        None
    };
    let ttl = positive.into_iter().chain(negative).min()?;
    let ttl = ttl.max(lifetimes.least).min(lifetimes.most);
    (ttl > 0).then_some(ttl)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::{
        Record,
        rdata::{A, SOA},
    };

    const LIFE: Lifetimes = Lifetimes { least: 0, most: 86_400, negative: 3600 };

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn message(code: ResponseCode, answers: &[u32], soa: Option<(u32, u32)>) -> Message {
        let mut message = Message::response(1, OpCode::Query);
        message.metadata.response_code = code;
        for &ttl in answers {
            message.add_answer(Record::from_rdata(name("x."), ttl, RData::A(A::new(192, 0, 2, 1))));
        }
        if let Some((ttl, minimum)) = soa {
            let soa = SOA::new(name("ns."), name("root."), 1, 2, 3, 4, minimum);
            message.add_authority(Record::from_rdata(name("."), ttl, RData::SOA(soa)));
        }
        message
    }

    fn life(
        code: ResponseCode,
        answers: &[u32],
        soa: Option<(u32, u32)>,
        lifetimes: Lifetimes,
    ) -> Option<u32> {
        time_to_live(&message(code, answers, soa), RecordType::A, lifetimes)
    }

    #[test]
    fn how_long_answers_live() {
        let (good, none) = (ResponseCode::NoError, ResponseCode::NXDomain);
        assert_eq!(life(good, &[300, 60], None, LIFE), Some(60), "the shortest");
        assert_eq!(life(good, &[u32::MAX], None, LIFE), Some(86_400));
        assert_eq!(life(good, &[0], None, LIFE), None);
        assert_eq!(life(good, &[0], None, Lifetimes { least: 30, ..LIFE }), Some(30));
        assert_eq!(life(good, &[300], None, Lifetimes { most: 10, ..LIFE }), Some(10));
        assert_eq!(life(none, &[], Some((900, 60)), LIFE), Some(60));
        assert_eq!(life(none, &[], Some((30, 60)), LIFE), Some(30));
        assert_eq!(life(none, &[], Some((99_999, 99_999)), LIFE), Some(3600));
        assert_eq!(life(none, &[], None, LIFE), None);
        assert_eq!(life(good, &[], None, LIFE), None, "no data, no SOA");
        assert_eq!(life(good, &[], Some((900, 60)), LIFE), Some(60));
        assert_eq!(life(ResponseCode::ServFail, &[300], None, LIFE), None);
    }

    #[test]
    fn a_code_that_does_not_fit_the_header_is_a_failure() {
        let question = Question::about("x", 1, false, false).unwrap();
        for code in [ResponseCode::BADVERS, ResponseCode::BADCOOKIE] {
            let answer =
                Answer::new(&question, message(code, &[300], None), false, LIFE, Duration::ZERO).unwrap();
            let mut out = Vec::new();
            let extras = crate::wire::reply::Extras::default();
            answer.reply(&mut out, &question, Duration::ZERO).finish(&question, extras);
            assert_eq!((answer.code, out[3] & 0x0f, answer.ttl()), (2, 2, 0), "{code}");
        }
    }

    #[test]
    fn given_again_it_counts_down_in_the_letters_of_the_client() {
        let mut bytes = b"\xab\xcd\x01\0\0\x01\0\0\0\0\0\0\x01X\0\0\x01\0\x01".to_vec();
        let mut question = Question::default();
        question.read(&bytes, crate::wire::question::Transport::Udp);
        let start = Duration::from_secs(5);
        let answer = message(ResponseCode::NoError, &[300, 60], None);
        let answer = Answer::new(&question, answer, true, LIFE, start).unwrap();
        let mut out = Vec::new();
        let mut given = |question: &Question, seconds| {
            let reply = answer.reply(&mut out, question, start + Duration::from_secs(seconds));
            reply.finish(question, crate::wire::reply::Extras::default());
            Message::from_vec(&out).unwrap()
        };
        let hit = given(&question, 59);
        assert_eq!(hit.answers.iter().map(|record| record.ttl).collect::<Vec<_>>(), [1, 1]);
        assert_eq!(hit.queries[0].name.to_ascii(), "X.");
        assert_eq!(hit.answers[0].name.to_ascii(), "X.");
        assert!(!hit.metadata.authentic_data, "nobody asked");
        bytes[3] = 0x20;
        question.read(&bytes, crate::wire::question::Transport::Udp);
        assert!(given(&question, 0).metadata.authentic_data);
        assert_eq!(given(&question, 60).answers[0].ttl, STALE_TTL);
        assert!(answer.is_fresh(start + Duration::from_secs(59)));
        assert!(!answer.is_fresh(start + Duration::from_secs(60)));
        assert!(!answer.is_gone(start + Duration::from_secs(159), 100));
        assert!(answer.is_gone(start + Duration::from_secs(160), 100));
    }

    #[test]
    fn what_is_asked_for_often_is_refreshed_once_near_its_end() {
        let question = Question::about("x", 1, false, false).unwrap();
        let at = Duration::from_secs;
        let kept = |ttl| {
            let message = message(ResponseCode::NoError, &[ttl], None);
            Answer::new(&question, message, false, LIFE, at(0)).unwrap()
        };
        let often = kept(300);
        assert!(!often.wants_refresh(at(10)) && !often.wants_refresh(at(269)));
        assert!(often.wants_refresh(at(270)) && !often.wants_refresh(at(271)), "once");
        often.refresh_ended(at(272));
        assert!(!often.wants_refresh(at(272)) && !often.wants_refresh(at(276)), "not by every question");
        assert!(often.wants_refresh(at(277)));
        let rare = kept(300);
        assert!(!rare.wants_refresh(at(299)), "nobody asked before");
        let short = kept(20);
        assert!(!short.wants_refresh(at(19)) && !short.wants_refresh(at(19)));
    }
}
