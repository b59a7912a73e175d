//! One question: what is answered, and what is said about it.

use lists::{Asked, DomainSet, Effect, GroupSet, Overrides};
use model::{DecisionKind, EventAction, Mode};
use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use crate::{
    Engine, Local, Now,
    cache::{Answer, Found},
    engine::{
        Active, Pending, Refresh, Step,
        asker::Asker,
        forward::Via,
        judge::{Judge, Verdict},
        special::special,
    },
    journal::{Decider, From, Query},
    limits::MAX_PREFETCHES,
    rate::Pace,
    stats::count,
    wire::{
        name::is_within,
        question::{Code, Cookie, Question, Transport},
        reply::{Extended, Extras, Reply},
        text::Text,
    },
};

pub(super) const A: u16 = 1;
pub(super) const AAAA: u16 = 28;
pub(super) const ANY: u16 = 255;

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
pub(super) struct Told<'a> {
    pub(super) code: u16,
    pub(super) from: From,
    pub(super) action: EventAction,
    pub(super) by: Option<(Decider, DecisionKind)>,
    pub(super) alias: &'a str,
    pub(super) secure: bool,
}

impl Told<'_> {
    pub(super) fn pass(code: Code, from: From) -> Self {
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
        if let Some(first) = special.filter(|special| special.is_always_ours()) {
            return self.answer_special(out, first);
        }
        let has_local = !self.local.is_empty() || self.active.settings.designated.is_some();
        if has_local && let Some(found) = self.find_local(self.question.text()) {
            return self.answer_local(out, found);
        }
        if let Some(special) = special
            && !self.is_forwarded(self.question.text())
        {
            return self.answer_special(out, special);
        }
        match self.judge(self.question.text()) {
            Verdict::Blocked(said, mode, effect, groups)
                if self.is_enforced(mode) && !self.passes(effect) =>
            {
                self.apply(out, said, effect, groups, Behind::Itself)
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
        let counters = &self.engine.counters;
        match self.question.transport {
            Transport::Udp => {}
            Transport::Tcp | Transport::Encrypted => {
                if self.engine.stream_rates.take(self.asker.address, rate, self.now.steady) == Pace::Within {
                    return None;
                }
                count(&counters.over_rate);
                let reply = Reply::start(out, self.question, Code::Refused);
                let text = "too many questions: ask fewer";
                reply.finish(self.question, self.extras(Some((Extended::Prohibited, text))));
                return Some(Step::Reply);
            }
        }
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

    /// Whether the name is answered here, whatever lists and upstreams say.
    pub(super) fn is_ours(&self) -> bool {
        let name = self.question.text();
        self.find_local(name).is_some()
            || special(name, self.question.qtype)
                .is_some_and(|special| special.is_always_ours() || !self.is_forwarded(name))
    }

    /// Whether others than the upstreams are asked about a name.
    pub(super) fn is_forwarded(&self, name: &str) -> bool {
        self.active.forwarded.iter().any(|domain| is_within(name, domain))
    }

    /// Whether something that is decided in this mode is carried out.
    pub(crate) fn is_enforced(&self, mode: Mode) -> bool {
        self.active.settings.mode.and(mode) == Mode::Enforce
    }

    /// "Over TCP only" says nothing to who is there already.
    pub(super) fn passes(&self, effect: Effect<'_>) -> bool {
        effect == Effect::TcpOnly && self.question.transport != Transport::Udp
    }

    /// Whether an alias that a rewrite or a record of ours leads to is not followed. It is not rewritten again, which might
    /// never end.
    pub(super) fn blocks_alias(&self, effect: Effect<'_>) -> bool {
        !matches!(effect, Effect::Answer(_)) && !self.passes(effect)
    }

    pub(crate) fn judge(&self, name: &'a str) -> Verdict<'a> {
        self.judges().name(&self.asked(name))
    }

    pub(super) fn asked<'n>(&self, name: &'n str) -> Asked<'n>
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

    pub(super) fn judges(&self) -> Judge<'a> {
        Judge {
            lists: self.lists,
            overrides: self.overrides,
            enforcing: self.active.enforcing,
            date: self.now.date,
        }
    }

    pub(super) fn groups(&self) -> GroupSet {
        self.asker.groups(GroupSet(self.engine.in_force.load(Relaxed)))
    }

    /// From the cache, or from upstreams.
    fn look_up(&self, out: &mut Vec<u8>, verdict: &Verdict<'_>) -> Step {
        let counters = &self.engine.counters;
        match self.engine.cache.load().get(self.question, self.now.steady) {
            Found::Fresh(answer) => {
                count(&counters.from_cache);
                let step = self.deliver(out, verdict, &answer, From::Cache);
                self.refresh(step, self.question, &answer)
            }
            Found::Stale(answer) if answer.is_excused(self.now.steady) => {
                count(&counters.stale);
                self.deliver(out, verdict, &answer, From::Stale)
            }
            Found::Stale(answer) => self.start_forward(out, None, Some(answer)),
            Found::Nothing => self.start_forward(out, None, None),
        }
    }

    pub(super) fn refresh(&self, step: Step, question: &Question, answer: &Arc<Answer>) -> Step {
        let prefetches = &self.engine.prefetches;
        let wanted = matches!(step, Step::Reply)
            && self.active.settings.cache.prefetch
            && answer.wants_refresh(self.now.steady);
        if !wanted {
            return step;
        }
        if prefetches.fetch_add(1, Relaxed) >= MAX_PREFETCHES {
            prefetches.fetch_sub(1, Relaxed);
            answer.refresh_ended(self.now.steady);
            return step;
        }
        count(&self.engine.counters.prefetched);
        Step::ReplyAndRefresh(Box::new(Refresh { question: question.clone(), answer: Arc::clone(answer) }))
    }

    pub(super) fn start_forward(
        &self,
        out: &mut Vec<u8>,
        via: Option<Via>,
        stale: Option<Arc<Answer>>,
    ) -> Step {
        if let Some(place) = self.engine.in_flight.take(self.asker.address) {
            return Step::Forward(Box::new(Pending {
                question: self.question.clone(),
                asker: self.asker.clone(),
                started: self.now,
                via,
                stale,
                place: Arc::new(place),
            }));
        }
        count(&self.engine.counters.overloaded);
        if let Some(answer) = stale {
            count(&self.engine.counters.stale);
            return self.finish(out, via.as_ref(), &answer, From::Stale);
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

    pub(super) fn tell_behind(&self, told: Told<'_>, behind: Behind<'_>) {
        match behind {
            Behind::Itself => self.tell(told),
            Behind::Alias(alias) => self.tell(Told { alias, ..told }),
            Behind::Address(address) => {
                let text = Text::<64>::of(format_args!("{address}"));
                self.tell(Told { alias: text.as_str(), ..told });
            }
        }
    }

    pub(super) fn tell(&self, told: Told<'_>) {
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
            transport: self.question.transport,
            code,
            action,
            from,
            by,
            secure,
            micros: u32::try_from(micros).unwrap_or(u32::MAX),
        });
    }
}

/// Says that there is more over TCP.
pub(super) fn set_truncated(out: &mut [u8]) {
    if let Some(flags) = out.get_mut(2) {
        *flags |= 0x02;
    }
}
