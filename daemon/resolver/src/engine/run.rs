//! One question: what is answered, and what is said about it.

use lists::{Asked, Blocking, DomainSet, Effect, GroupSet, Overrides, Record, RecordData};
use model::{DecisionKind, EventAction, Mode};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use crate::{
    Engine, Local, Now,
    cache::{Answer, Found},
    engine::{
        Active, Pending, Refresh, Step,
        asker::Asker,
        forward::{Chain, Via},
        judge::{Judge, Said, Verdict},
        rebinding::{MEANT, is_mail_list, is_private},
        special::{Special, special},
        write,
    },
    journal::{Decider, From, Query, Resolved},
    limits::{MAX_EXTRA_TEXT, MAX_PREFETCHES, SPECIAL_TTL},
    local::{LOCAL_TTL, LocalFound},
    rate::Pace,
    stats::count,
    wire::{
        name::is_within,
        question::{Code, Cookie, Question, Transport},
        reply::{Extended, Extras, Reply},
        text::Text,
    },
};

pub(crate) const A: u16 = 1;
pub(crate) const CNAME: u16 = 5;
pub(crate) const AAAA: u16 = 28;
const SVCB: u16 = 64;
const ANY: u16 = 255;
const HINFO: u16 = 13;

/// A question with everything that is asked about it.
pub(crate) struct Run<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) active: &'a Active,
    pub(crate) lists: &'a DomainSet,
    pub(crate) overrides: &'a Overrides,
    pub(crate) local: &'a Local,
    pub(crate) asker: &'a Asker,
    pub(crate) question: &'a Question,
    pub(crate) now: Now,
    pub(crate) started: Now,
}

/// What behind the question decides.
#[derive(Clone, Copy)]
pub(crate) enum Behind<'a> {
    Itself,
    Alias(&'a str),
    Address(IpAddr),
}

impl fmt::Display for Behind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Itself => Ok(()),
            Self::Alias(alias) => write!(f, " (alias {alias})"),
            Self::Address(address) => write!(f, " (address {address})"),
        }
    }
}

/// What a record of the question says.
struct Told<'a> {
    code: u16,
    from: From,
    action: EventAction,
    by: Option<(Decider, DecisionKind)>,
    alias: &'a str,
    secure: bool,
}

impl Told<'_> {
    fn pass(code: Code, from: From) -> Self {
        Self { code: code as u16, from, action: EventAction::Pass, by: None, alias: "", secure: false }
    }
}

impl<'a> Run<'a> {
    /// Answers, or says that an upstream must be asked.
    pub(crate) fn answer(&self, out: &mut Vec<u8>) -> Step {
        count(&self.engine.counters.queries);
        if let Some(step) = self.over_rate(out) {
            return step;
        }
        let special = special(self.question.text(), self.question.qtype);
        if let Some(first @ (Special::Loopback | Special::Discovery | Special::Empty)) = special {
            return self.answer_special(out, first);
        }
        if !self.local.is_empty() || self.active.settings.designated.is_some() {
            match self.find_local(self.question.text()) {
                Some(found) => return self.answer_local(out, found),
                None => {}
            }
        }
        if let Some(special) = special
            && !self.is_forwarded()
        {
            return self.answer_special(out, special);
        }
        match self.judge(self.question.text()) {
            Verdict::Blocked(said, mode, effect, groups) if self.is_enforced(mode) && !self.passes(effect) => {
                return self.apply(out, said, effect, groups, Behind::Itself);
            }
            verdict @ (Verdict::Clean | Verdict::Allowed(_) | Verdict::Blocked(..)) => {
                if self.question.qtype == ANY {
                    return self.answer_any(out);
                }
                self.look_up(out, &verdict)
            }
        }
    }

    /// An error with the question, so that the client knows what it is about.
    pub(crate) fn refuse(&self, out: &mut Vec<u8>, code: Code) -> Step {
        Reply::start(out, self.question, code).finish(self.question, self.extras(None));
        Step::Reply
    }

    fn over_rate(&self, out: &mut Vec<u8>) -> Option<Step> {
        let rate = self.active.settings.rate?;
        if self.question.transport != Transport::Udp {
            return None;
        }
        let counters = &self.engine.counters;
        match self.engine.rates.take(self.asker.address, rate, self.now.steady) {
            Pace::Within => None,
            Pace::Over => {
                count(&counters.over_rate);
                Some(Step::Ignore)
            }
            Pace::Slip => {
                count(&counters.slipped);
                // Whoever could show a cookie and does not may be somebody else: it gets one and asks again.
                let cookie = self.question.edns.map_or(Cookie::None, |edns| edns.cookie);
                if cookie != Cookie::None && !self.shows_cookie(cookie) {
                    return Some(self.refuse(out, Code::BadCookie));
                }
                let text = "too many questions: ask over TCP";
                let reply = Reply::start(out, self.question, Code::NoError);
                reply.finish(self.question, self.extras(Some((Extended::Prohibited, text))));
                set_truncated(out);
                Some(Step::Reply)
            }
        }
    }

    fn shows_cookie(&self, cookie: Cookie) -> bool {
        match cookie {
            Cookie::Both(client, Some(server)) => {
                self.engine.secret.is_valid(client, server, self.asker.address, self.now.date)
            }
            Cookie::None | Cookie::Client(_) | Cookie::Both(_, None) => false,
        }
    }

    /// What the OPT record carries: an explanation, and a cookie for clients that have one.
    pub(crate) fn extras<'t>(&self, error: Option<(Extended, &'t str)>) -> Extras<'t> {
        let cookie = match self.question.edns.map_or(Cookie::None, |edns| edns.cookie) {
            Cookie::None => None,
            Cookie::Client(client) | Cookie::Both(client, _) => {
                Some((client, self.engine.secret.cookie(client, self.asker.address, self.now.date)))
            }
        };
        Extras { error, cookie }
    }

    fn is_forwarded(&self) -> bool {
        self.active.settings.forwarded.iter().any(|domain| is_within(self.question.text(), domain))
    }

    fn answer_special(&self, out: &mut Vec<u8>, special: Special) -> Step {
        let (code, address, designations) = match (special, self.question.qtype) {
            (Special::Loopback, A) => (Code::NoError, Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), false),
            (Special::Loopback, AAAA) => (Code::NoError, Some(IpAddr::V6(Ipv6Addr::LOCALHOST)), false),
            (Special::Ipv4Only, A) => (Code::NoError, Some(IpAddr::V4(Ipv4Addr::new(192, 0, 0, 170))), false),
            (Special::Discovery, SVCB) => (Code::NoError, None, true),
            (Special::Loopback | Special::Ipv4Only | Special::Discovery | Special::Empty, _) => {
                (Code::NoError, None, false)
            }
            (Special::Nothing | Special::Ours, _) => (Code::NxDomain, None, false),
        };
        let mut reply = Reply::start(out, self.question, code);
        let mut nothing = true;
        if let Some(address) = address {
            reply.address(address, SPECIAL_TTL);
            if special == Special::Ipv4Only {
                reply.address(Ipv4Addr::new(192, 0, 0, 171).into(), SPECIAL_TTL);
            }
            nothing = false;
        }
        if designations && let Some(designated) = &self.active.settings.designated {
            for record in write::designations(designated) {
                reply.answer(record.data.qtype(), SPECIAL_TTL, |out| write::data(out, &record.data));
                nothing = false;
            }
        }
        if nothing {
            reply.nothing_for(SPECIAL_TTL);
        }
        reply.finish(self.question, self.extras(None));
        self.tell(Told::pass(code, From::Here));
        Step::Reply
    }

    /// What this network says about a name; none if it is not its own.
    pub(crate) fn find_local(&self, name: &str) -> Option<Result<Vec<Record>, Code>> {
        match self.local.find(name) {
            LocalFound::Records(records) => return Some(Ok(records.to_vec())),
            // A forward knows more about a part of our domain than a table without it.
            LocalFound::Absent if !self.is_forwarded() => {}
            LocalFound::Absent | LocalFound::Unknown => {
                let designated = self.active.settings.designated.as_ref()?;
                return (*designated.name == *name)
                    .then(|| Ok(designated.addresses.iter().map(|&address| RecordData::from(address).into()).collect()));
            }
        }
        match &self.active.settings.designated {
            Some(designated) if *designated.name == *name => {
                Some(Ok(designated.addresses.iter().map(|&address| RecordData::from(address).into()).collect()))
            }
            Some(_) | None => Some(Err(Code::NxDomain)),
        }
    }

    fn answer_local(&self, out: &mut Vec<u8>, found: Result<Vec<Record>, Code>) -> Step {
        count(&self.engine.counters.local);
        match found {
            Ok(records) => self.answer_records(out, &records, LOCAL_TTL, Told::pass(Code::NoError, From::Local), None),
            Err(code) => {
                let mut reply = Reply::start(out, self.question, code);
                reply.nothing_for(LOCAL_TTL);
                reply.finish(self.question, self.extras(None));
                self.tell(Told::pass(code, From::Local));
                Step::Reply
            }
        }
    }

    /// Answers with records of a rewrite or of this network, following their aliases.
    fn answer_records(
        &self,
        out: &mut Vec<u8>,
        records: &[Record],
        ttl: u32,
        told: Told<'_>,
        explained: Option<(Extended, &str)>,
    ) -> Step {
        let chain = Chain::follow(self, records, ttl);
        if let Some(target) = chain.outside {
            // The rest of the way is known to others.
            let Some(question) =
                Question::about(&target, self.question.qtype, self.question.dnssec_ok(), self.question.checking_disabled)
            else {
                return self.refuse(out, Code::ServFail);
            };
            let said = told.by.clone();
            let via = Via { records: chain.records, question, from: told.from, said };
            return self.start_forward(out, Some(via), None);
        }
        let mut reply = Reply::start(out, self.question, Code::NoError);
        for (owner, record) in &chain.records {
            let (kind, ttl) = (record.data.qtype(), record.ttl.unwrap_or(ttl));
            match owner {
                None => reply.answer(kind, ttl, |out| write::data(out, &record.data)),
                Some(owner) => reply.answer_of(owner, kind, ttl, |out| write::data(out, &record.data)),
            }
        }
        if !chain.found {
            reply.nothing_for(ttl);
        }
        reply.finish(self.question, self.extras(explained));
        self.tell(told);
        Step::Reply
    }

    fn answer_any(&self, out: &mut Vec<u8>) -> Step {
        let mut reply = Reply::start(out, self.question, Code::NoError);
        // RFC 8482 §4.2.
        reply.answer(HINFO, SPECIAL_TTL, |out| {
            out.extend_from_slice(b"\x07RFC8482\0");
            true
        });
        reply.finish(self.question, self.extras(None));
        self.tell(Told::pass(Code::NoError, From::Here));
        Step::Reply
    }

    /// Whether something that is decided in this mode is carried out.
    pub(crate) fn is_enforced(&self, mode: Mode) -> bool {
        self.active.settings.mode.and(mode) == Mode::Enforce
    }

    /// "Over TCP only" says nothing to who is there already.
    fn passes(&self, effect: Effect<'_>) -> bool {
        effect == Effect::TcpOnly && self.question.transport != Transport::Udp
    }

    pub(crate) fn judge(&self, name: &'a str) -> Verdict<'a> {
        self.judges().name(&self.asked(name))
    }

    fn asked<'n>(&self, name: &'n str) -> Asked<'n>
    where
        'a: 'n,
    {
        Asked {
            name,
            qtype: self.question.qtype,
            groups: self.groups(),
            address: Some(self.asker.address),
            client: &self.asker.client.name,
        }
    }

    fn judges(&self) -> Judge<'a> {
        Judge {
            lists: self.lists,
            overrides: self.overrides,
            enforcing: self.active.enforcing,
            date: self.now.date,
        }
    }

    fn groups(&self) -> GroupSet {
        self.asker.groups(GroupSet(self.engine.in_force.load(Relaxed)))
    }

    /// Carries out what was decided.
    fn apply(
        &self,
        out: &mut Vec<u8>,
        said: Said<'_>,
        effect: Effect<'_>,
        groups: GroupSet,
        behind: Behind<'_>,
    ) -> Step {
        let ttl = self.active.settings.policy.block_ttl;
        let told = |code: Code, from, action| Told {
            action,
            by: Some((said.decider(), DecisionKind::Ban)),
            ..Told::pass(code, from)
        };
        // The text is made for those who get it.
        let text = match self.question.edns {
            Some(_) => Text::<MAX_EXTRA_TEXT>::of(match effect {
                Effect::Answer(_) => format_args!("rewritten by {said}{behind}"),
                Effect::Block
                | Effect::Allow
                | Effect::NxDomain
                | Effect::NoData
                | Effect::Refused
                | Effect::Drop
                | Effect::TcpOnly => format_args!("blocked by {said}{behind}"),
            }),
            None => Text::of(format_args!("")),
        };
        let blocked = Some((Extended::Blocked, text.as_str()));
        let nowhere = Blocking::Address { v4: None, v6: None };
        let way = match effect {
            Effect::Block | Effect::Allow => self.blocking(groups),
            Effect::NxDomain => Blocking::NxDomain,
            Effect::NoData => nowhere,
            Effect::Refused => Blocking::Refused,
            Effect::Drop => {
                count(&self.engine.counters.sinkholed);
                self.tell_behind(told(Code::NoError, From::Sinkhole, EventAction::Drop), behind);
                return Step::Ignore;
            }
            Effect::TcpOnly => {
                let reply = Reply::start(out, self.question, Code::NoError);
                reply.finish(self.question, self.extras(None));
                set_truncated(out);
                self.tell_behind(told(Code::NoError, From::Sinkhole, EventAction::Sinkhole), behind);
                return Step::Reply;
            }
            Effect::Answer(records) => {
                count(&self.engine.counters.rewritten);
                let told = told(Code::NoError, From::Rewrite, EventAction::Sinkhole);
                let forged = Some((Extended::Forged, text.as_str()));
                return self.answer_records(out, records, ttl, told, forged);
            }
        };
        count(&self.engine.counters.sinkholed);
        let code = match way {
            Blocking::NxDomain => Code::NxDomain,
            Blocking::Refused => Code::Refused,
            Blocking::Null | Blocking::NoData | Blocking::Address { .. } => Code::NoError,
        };
        let mut reply = Reply::start(out, self.question, code);
        match address(way, self.question.qtype) {
            Some(address) => reply.address(address, ttl),
            None if code == Code::Refused => {}
            None => reply.nothing_for(ttl),
        }
        reply.finish(self.question, self.extras(blocked));
        self.tell_behind(told(code, From::Sinkhole, EventAction::Sinkhole), behind);
        Step::Reply
    }

    /// How the last of the groups blocks.
    pub(crate) fn blocking(&self, groups: GroupSet) -> Blocking {
        let groups_of = &self.active.settings.policy.groups;
        let last = groups.and(self.groups()).last();
        last.and_then(|place| groups_of.get(place)).map_or(Blocking::Null, |group| group.blocking)
    }

    /// From the cache, or from upstreams.
    fn look_up(&self, out: &mut Vec<u8>, verdict: &Verdict<'_>) -> Step {
        let counters = &self.engine.counters;
        match self.engine.cache.load().get(self.question, self.now.steady) {
            Found::Fresh(answer) => {
                count(&counters.from_cache);
                let step = self.deliver(out, verdict, &answer, From::Cache);
                self.refresh(step, &answer)
            }
            Found::Stale(answer) if answer.is_excused(self.now.steady) => {
                count(&counters.stale);
                self.deliver(out, verdict, &answer, From::Stale)
            }
            Found::Stale(answer) => self.start_forward(out, None, Some(answer)),
            Found::Nothing => self.start_forward(out, None, None),
        }
    }

    fn refresh(&self, step: Step, answer: &Arc<Answer>) -> Step {
        let prefetches = &self.engine.prefetches;
        let wanted = matches!(step, Step::Reply)
            && self.active.settings.cache.prefetch
            && answer.wants_refresh(self.now.steady);
        if !wanted {
            return step;
        }
        if prefetches.fetch_add(1, Relaxed) >= MAX_PREFETCHES {
            prefetches.fetch_sub(1, Relaxed);
            answer.refresh_ended();
            return step;
        }
        count(&self.engine.counters.prefetched);
        Step::ReplyAndRefresh(Box::new(Refresh {
            question: self.question.clone(),
            zone: Arc::clone(&self.asker.zone),
            answer: Arc::clone(answer),
        }))
    }

    fn start_forward(&self, out: &mut Vec<u8>, via: Option<Via>, stale: Option<Arc<Answer>>) -> Step {
        if let Some(place) = self.engine.in_flight.take(self.asker.address) {
            return Step::Forward(Box::new(Pending {
                question: self.question.clone(),
                asker: self.asker.clone(),
                started: self.now,
                via,
                stale,
                _place: place,
            }));
        }
        count(&self.engine.counters.overloaded);
        if let Some(answer) = stale {
            count(&self.engine.counters.stale);
            let verdict = self.judge(self.question.text());
            return self.deliver(out, &verdict, &answer, From::Stale);
        }
        self.fail(out, From::Overload, Extended::Other, "too many questions wait for upstreams");
        Step::Reply
    }

    /// SERVFAIL with the reason.
    pub(crate) fn fail(&self, out: &mut Vec<u8>, from: From, extended: Extended, text: &str) {
        let reply = Reply::start(out, self.question, Code::ServFail);
        reply.finish(self.question, self.extras(Some((extended, text))));
        self.tell(Told::pass(Code::ServFail, from));
    }

    /// Hands an answer of cache or upstream on, unless it goes over a name that is blocked or leads inside.
    pub(crate) fn deliver(&self, out: &mut Vec<u8>, verdict: &Verdict<'_>, answer: &Answer, from: From) -> Step {
        let mut told = Told { code: answer.code, secure: answer.secure, ..Told::pass(Code::NoError, from) };
        let mut observed = |said: Said<'_>| {
            count(&self.engine.counters.observed);
            Some((said.decider(), DecisionKind::Ban))
        };
        match *verdict {
            Verdict::Allowed(said) => told.by = Some((said.decider(), DecisionKind::Allow)),
            Verdict::Blocked(said, mode, effect, groups) => {
                if self.is_enforced(mode) && !self.passes(effect) {
                    return self.apply(out, said, effect, groups, Behind::Itself);
                }
                told.action = EventAction::Observe;
                told.by = observed(said);
            }
            Verdict::Clean => match self.behind(answer) {
                Some((behind, Verdict::Blocked(said, mode, effect, groups))) => {
                    if self.is_enforced(mode) {
                        return self.apply(out, said, effect, groups, behind);
                    }
                    told.action = EventAction::Observe;
                    told.by = observed(said);
                    if let Behind::Alias(alias) = behind {
                        told.alias = alias;
                    }
                }
                Some((_, Verdict::Clean | Verdict::Allowed(_))) | None => {}
            },
        }
        if let Some(address) = self.rebinding(answer) {
            count(&self.engine.counters.rebinding);
            let by = Some((Decider::Rebinding(address), DecisionKind::Ban));
            if self.is_enforced(Mode::Enforce) {
                return self.refuse_rebinding(out, address, by);
            }
            (told.action, told.by) = (EventAction::Observe, by);
        }
        let stale = matches!(told.from, From::Stale).then(|| (answer.stale(), "no upstream answered"));
        let explained = answer.explained.as_ref().map(|(code, text)| (Extended::Number(*code), &**text));
        answer.reply(out, self.question, self.now.steady).finish(self.question, self.extras(stale.or(explained)));
        if self.asker.resolved && !answer.addresses.is_empty() {
            self.engine.sink.resolved(&Resolved {
                client: self.asker.address,
                zone: &self.asker.zone,
                name: self.question.text(),
                aliases: &answer.targets,
                addresses: &answer.addresses,
                ttl: answer.ttl().saturating_sub(answer.age(self.now.steady)),
            });
        }
        self.tell(told);
        Step::Reply
    }

    /// The first name or address behind the question that is blocked. An enforced block goes before an observed one.
    pub(crate) fn behind<'b>(&'b self, answer: &'b Answer) -> Option<(Behind<'b>, Verdict<'b>)> {
        let judge: Judge<'b> = self.judges();
        let aliases = answer.targets.iter().map(|target| {
            let target: &'b str = target;
            (Behind::Alias(target), judge.name(&self.asked(target)))
        });
        let addresses = answer.addresses.iter().filter(|_| self.lists.knows_addresses()).map(|&address| {
            (Behind::Address(address), judge.address(address, &self.asked(self.question.text())))
        });
        let mut seen = None;
        for (behind, verdict) in aliases.chain(addresses) {
            let Verdict::Blocked(_, mode, effect, _) = verdict else { continue };
            match mode {
                _ if self.passes(effect) => {}
                Mode::Enforce => return Some((behind, verdict)),
                Mode::Observe => seen = seen.or(Some((behind, verdict))),
            }
        }
        seen
    }

    /// The private address that a public name leads to.
    pub(crate) fn rebinding(&self, answer: &Answer) -> Option<IpAddr> {
        let settings = &self.active.settings;
        if !settings.rebinding.protect {
            return None;
        }
        let address = answer.addresses.iter().copied().find(|&address| is_private(address))?;
        let name = self.question.text();
        let within = |domain: &Box<str>| is_within(name, domain);
        let meant = MEANT.iter().any(|domain| is_within(name, domain))
            || settings.rebinding.allow.iter().any(within)
            || settings.forwarded.iter().any(within)
            || self.local.domains().iter().any(within)
            || answer.addresses.iter().all(|&address| is_mail_list(name, address));
        (!meant).then_some(address)
    }

    fn refuse_rebinding(&self, out: &mut Vec<u8>, address: IpAddr, by: Option<(Decider, DecisionKind)>) -> Step {
        let text = Text::<MAX_EXTRA_TEXT>::of(format_args!(
            "rebinding protection: {address} for a public name; if it is meant, add the name to rebind_allow"
        ));
        let mut reply = Reply::start(out, self.question, Code::NoError);
        reply.nothing_for(self.active.settings.policy.block_ttl);
        reply.finish(self.question, self.extras(Some((Extended::Blocked, text.as_str()))));
        self.tell(Told { action: EventAction::Sinkhole, by, ..Told::pass(Code::NoError, From::Sinkhole) });
        Step::Reply
    }

    fn tell_behind(&self, told: Told<'_>, behind: Behind<'_>) {
        match behind {
            Behind::Itself => self.tell(told),
            Behind::Alias(alias) => self.tell(Told { alias, ..told }),
            Behind::Address(address) => {
                let text = Text::<64>::of(format_args!("{address}"));
                self.tell(Told { alias: text.as_str(), ..told });
            }
        }
    }

    fn tell(&self, told: Told<'_>) {
        let Told { code, from, action, by, alias, secure } = told;
        let micros = self.now.steady.saturating_sub(self.started.steady).as_micros();
        self.engine.journal.push(Query {
            date: self.started.date,
            client: self.asker.address,
            zone: Arc::clone(&self.asker.zone),
            client_name: Arc::clone(&self.asker.client.name),
            name: self.question.text(),
            alias,
            qtype: self.question.qtype,
            code,
            action,
            from,
            by,
            secure,
            micros: u32::try_from(micros).unwrap_or(u32::MAX),
        });
    }

    /// The answer to a question that was led elsewhere by a rewrite.
    pub(crate) fn deliver_via(&self, out: &mut Vec<u8>, via: &Via, answer: &Answer) {
        let text = Text::<MAX_EXTRA_TEXT>::of(match &via.said {
            Some((by, _)) => format_args!("rewritten by {by}"),
            None => format_args!(""),
        });
        let explained = via.said.as_ref().map(|_| (Extended::Forged, text.as_str()));
        via.write(out, self.question, answer, self.now, self.extras(explained));
        let action = if via.said.is_some() { EventAction::Sinkhole } else { EventAction::Pass };
        self.tell(Told {
            code: answer.code,
            action,
            by: via.said.clone(),
            ..Told::pass(Code::NoError, via.from.clone())
        });
    }
}

/// The address that a blocked name gets.
fn address(way: Blocking, qtype: u16) -> Option<IpAddr> {
    match (way, qtype) {
        (Blocking::Null, A) => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        (Blocking::Null, AAAA) => Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        (Blocking::Address { v4, .. }, A) => v4.map(IpAddr::V4),
        (Blocking::Address { v6, .. }, AAAA) => v6.map(IpAddr::V6),
        (
            Blocking::Null
            | Blocking::NxDomain
            | Blocking::NoData
            | Blocking::Refused
            | Blocking::Address { .. },
            _,
        ) => None,
    }
}

/// Says that there is more over TCP.
fn set_truncated(out: &mut [u8]) {
    if let Some(flags) = out.get_mut(2) {
        *flags |= 0x02;
    }
}
