//! From the bytes of a query to the bytes of its answer and the event about it. No sockets towards clients here.

use arc_swap::ArcSwap;
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{DNSClass, Name as WireName, RData, RecordType},
};
use lists::{DomainSet, Overrides};
use model::{Body, DecisionKind, Event, EventAction, Mode, Name, Severity, Timestamp};
use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Instant, SystemTime},
};

use crate::{
    By, Judgement, Settings, Stats,
    answer::{self, Extended},
    cache::Cache,
    judge::{Special, judge, special},
    limits::{MAX_ALIASES, MAX_IN_FLIGHT, MAX_IN_FLIGHT_PER_CLIENT},
    query::{Question, Received, Transport, read, text},
    quota::{Place, Quota},
    stats::{Counters, count},
    upstream::{Ask, Clock, Trouble, UpstreamSettings, Upstreams, limits::QUERY_DEADLINE},
};

/// Who is told of every answered question. Must not block: publishing an event never waits for anyone.
pub trait Sink: Send + Sync + 'static {
    /// Takes an event.
    fn event(&self, event: Event);
}

impl<F: Fn(Event) + Send + Sync + 'static> Sink for F {
    fn event(&self, event: Event) {
        self(event);
    }
}

/// Why a name is answered as it is; what `secctl why NAME` prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// What is said about the name, or about the alias that decides.
    pub judgement: Judgement,
    /// The alias, where it is one that decides (known from the cache only).
    pub alias: Option<String>,
    /// The sinkhole answers: blocked, and everything enforces.
    pub blocked: bool,
    /// The name is answered here and never asked of an upstream.
    pub special: bool,
}

/// Settings with what belongs to one version of them.
struct Active {
    settings: Settings,
    upstreams: Upstreams,
}

/// The resolver without its sockets.
pub struct Engine {
    active: ArcSwap<Active>,
    lists: Arc<ArcSwap<DomainSet>>,
    overrides: Arc<ArcSwap<Overrides>>,
    cache: Mutex<Cache>,
    pub(crate) counters: Counters,
    in_flight: Arc<Quota>,
    sink: Box<dyn Sink>,
}

/// What becomes of bytes at once.
pub(crate) enum Step {
    /// Nothing is answered.
    Ignore,
    /// The answer.
    Reply(Vec<u8>),
    /// An upstream must be asked first; see [`Engine::forward`].
    Forward(Box<Pending>),
}

/// A question under way.
pub(crate) struct Pending {
    question: Question,
    client: IpAddr,
    zone: Arc<str>,
    started: Instant,
    verdict: Judgement,
    _place: Place,
}

/// What an event says beside the question.
struct Told<'a> {
    code: ResponseCode,
    from: String,
    action: EventAction,
    by: Option<(&'a By, DecisionKind)>,
    alias: Option<&'a str>,
}

impl Engine {
    /// An engine that asks no one yet.
    #[must_use]
    pub fn new(
        settings: Settings,
        lists: Arc<ArcSwap<DomainSet>>,
        overrides: Arc<ArcSwap<Overrides>>,
        sink: impl Sink,
    ) -> Self {
        let cache = Mutex::new(Cache::new(settings.cache_entries));
        let upstreams = upstreams(&settings);
        Self {
            active: ArcSwap::from_pointee(Active { settings, upstreams }),
            lists,
            overrides,
            cache,
            counters: Counters::default(),
            in_flight: Quota::new(MAX_IN_FLIGHT, MAX_IN_FLIGHT_PER_CLIENT),
            sink: Box::new(sink),
        }
    }

    /// The answer to the bytes of a query, none if it is to be ignored. Asks upstreams where it must.
    pub async fn answer(&self, bytes: &[u8], client: IpAddr, tcp: bool) -> Option<Vec<u8>> {
        let transport = if tcp { Transport::Tcp } else { Transport::Udp };
        match self.step(bytes, client, transport) {
            Step::Ignore => None,
            Step::Reply(bytes) => Some(bytes),
            Step::Forward(pending) => Some(self.forward(*pending).await),
        }
    }

    /// Counters and state.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = self.counters.snapshot();
        stats.cache_entries = self.cache().len() as u64;
        stats.in_flight = self.in_flight.taken() as u64;
        stats.upstreams = self.active.load().upstreams.status();
        stats
    }

    /// Forgets the cached answers of a name and everything below it, of all names with none. Says how many.
    pub fn flush(&self, name: Option<&Name>) -> usize {
        let wire = name.map(|name| WireName::from_ascii(format!("{name}.")));
        match wire {
            None => self.cache().flush(None),
            Some(Ok(name)) => self.cache().flush(Some(&name)),
            Some(Err(_)) => 0,
        }
    }

    /// Why a name is answered as it is, now.
    #[must_use]
    pub fn lookup_why(&self, name: &Name) -> Why {
        let mode = self.active.load().settings.mode;
        let judgement = self.judge(name.as_str());
        let mut why =
            Why { judgement, alias: None, blocked: false, special: special(name.as_str()).is_some() };
        if why.judgement == Judgement::Clean
            && let Ok(wire) = WireName::from_ascii(format!("{name}."))
        {
            for qtype in [RecordType::A, RecordType::AAAA, RecordType::HTTPS] {
                let question = Question::about(&wire, qtype);
                let Some(cached) = self.cache().get(&question, Instant::now()) else { continue };
                if let Some((alias, by, mode)) = self.blocked_alias(&question, &cached) {
                    why.judgement = Judgement::Blocked(by, mode);
                    why.alias = Some(alias);
                    break;
                }
            }
        }
        why.blocked = !why.special
            && matches!(&why.judgement, Judgement::Blocked(_, part) if mode.and(*part) == Mode::Enforce);
        why
    }

    /// Takes new settings; the cache and the health of upstreams that stay are not lost.
    pub(crate) fn update(&self, settings: Settings) {
        self.cache().resize(settings.cache_entries);
        let old = self.active.load_full();
        let upstreams = if old.settings.upstreams == settings.upstreams {
            old.upstreams.clone()
        } else {
            upstreams(&settings)
        };
        self.active.store(Arc::new(Active { settings, upstreams }));
    }

    /// Whether a client is answered at all.
    pub(crate) fn is_client(&self, client: IpAddr) -> bool {
        self.active.load().settings.zone_of(client).is_some()
    }

    /// Waits until no question is under way.
    pub(crate) async fn drained(&self) {
        self.in_flight.emptied().await;
    }

    /// What can be said about a query without waiting.
    pub(crate) fn step(&self, bytes: &[u8], client: IpAddr, transport: Transport) -> Step {
        let started = Instant::now();
        let active = self.active.load();
        let client = client.to_canonical();
        let Some(zone) = active.settings.zone_of(client) else {
            count(&self.counters.refused_clients);
            return Step::Ignore;
        };
        let question = match read(bytes, transport) {
            Received::Question(question) => *question,
            Received::Refuse(answer) => {
                count(&self.counters.malformed);
                return Step::Reply(answer);
            }
            Received::Ignore => {
                count(&self.counters.malformed);
                return Step::Ignore;
            }
        };
        count(&self.counters.queries);
        let asker = Asker { client, zone: &zone, started };
        if let Some(answer) = self.answer_special(&question, &asker) {
            return Step::Reply(answer);
        }
        let verdict = self.judge(&question.text);
        if let Judgement::Blocked(by, part) = &verdict
            && active.settings.mode.and(*part) == Mode::Enforce
        {
            return Step::Reply(self.sinkhole(&question, &asker, by, None));
        }
        if question.qtype == RecordType::ANY {
            let told = Told::pass(ResponseCode::NoError, "here");
            self.tell(&question, &asker, &told);
            return Step::Reply(answer::any(&question));
        }
        let cached = self.cache().get(&question, started);
        if let Some(message) = cached {
            count(&self.counters.from_cache);
            return Step::Reply(self.deliver(&question, &asker, &verdict, message, "cache".into()));
        }
        match self.in_flight.take(client) {
            Some(place) => {
                Step::Forward(Box::new(Pending { question, client, zone, started, verdict, _place: place }))
            }
            None => {
                count(&self.counters.overloaded);
                self.tell(&question, &asker, &Told::pass(ResponseCode::ServFail, "overload"));
                Step::Reply(answer::failure(
                    &question,
                    Extended::Other,
                    "too many questions wait for upstreams",
                ))
            }
        }
    }

    /// Asks the upstreams, and answers.
    pub(crate) async fn forward(&self, pending: Pending) -> Vec<u8> {
        let Pending { question, client, zone, started, verdict, _place } = pending;
        let active = self.active.load_full();
        let asker = Asker { client, zone: &zone, started };
        let ask = Ask {
            name: &question.name,
            qtype: question.qtype,
            class: question.class,
            dnssec_ok: question.dnssec,
            checking_disabled: question.checking_disabled,
            deadline: tokio::time::Instant::now() + QUERY_DEADLINE,
        };
        match active.upstreams.ask(&ask).await {
            Ok(answered) => {
                count(&self.counters.forwarded);
                self.cache().put(&question, &answered.message, Instant::now());
                self.deliver(&question, &asker, &verdict, answered.message, answered.upstream.to_string())
            }
            Err(trouble) => {
                count(&self.counters.failed);
                self.tell(&question, &asker, &Told::pass(ResponseCode::ServFail, "none"));
                let extended = match trouble {
                    Trouble::Unreachable(_) => Extended::NoReachableAuthority,
                    Trouble::Overload | Trouble::Bogus { .. } => Extended::Other,
                };
                answer::failure(&question, extended, &trouble.to_string())
            }
        }
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn judge(&self, text: &str) -> Judgement {
        judge(text, &self.lists.load(), &self.overrides.load(), now())
    }

    fn answer_special(&self, question: &Question, asker: &Asker<'_>) -> Option<Vec<u8>> {
        let (code, bytes) = match special(&question.text)? {
            Special::Loopback => (ResponseCode::NoError, answer::loopback(question)),
            Special::Nothing => (ResponseCode::NXDomain, answer::refused(question, ResponseCode::NXDomain)),
            Special::Empty => (ResponseCode::NoError, answer::refused(question, ResponseCode::NoError)),
        };
        self.tell(question, asker, &Told::pass(code, "here"));
        Some(bytes)
    }

    /// Hands an answer of cache or upstream on, unless it goes over a name that is blocked.
    fn deliver(
        &self,
        question: &Question,
        asker: &Asker<'_>,
        verdict: &Judgement,
        message: Message,
        from: String,
    ) -> Vec<u8> {
        let mut told = Told { from, ..Told::pass(message.metadata.response_code, "") };
        let hop;
        match verdict {
            Judgement::Allowed(by) => told.by = Some((by, DecisionKind::Allow)),
            Judgement::Blocked(by, _) => {
                count(&self.counters.observed);
                told.action = EventAction::Observe;
                told.by = Some((by, DecisionKind::Ban));
            }
            Judgement::Clean => {
                hop = self.blocked_alias(question, &message);
                if let Some((alias, by, part)) = &hop {
                    if self.active.load().settings.mode.and(*part) == Mode::Enforce {
                        return self.sinkhole(question, asker, by, Some(alias));
                    }
                    count(&self.counters.observed);
                    told.action = EventAction::Observe;
                    told.by = Some((by, DecisionKind::Ban));
                    told.alias = Some(alias);
                }
            }
        }
        self.tell(question, asker, &told);
        answer::relay(question, message)
    }

    /// The first name behind the question that is blocked: aliases, and targets of service bindings (RFC 9460). An
    /// enforced block goes before an observed one.
    fn blocked_alias(&self, question: &Question, message: &Message) -> Option<(String, By, Mode)> {
        let targets = message.answers.iter().filter_map(|record| match &record.data {
            RData::CNAME(target) => Some(&target.0),
            RData::HTTPS(binding) => Some(&binding.0.target_name),
            RData::SVCB(binding) => Some(&binding.target_name),
            _ => None,
        });
        let mut observed = None;
        for target in
            targets.filter(|target| !target.is_root() && **target != question.name).take(MAX_ALIASES)
        {
            let name = text(target);
            if let Judgement::Blocked(by, mode) = self.judge(&name) {
                match mode {
                    Mode::Enforce => return Some((name, by, mode)),
                    Mode::Observe => observed = observed.or(Some((name, by, mode))),
                }
            }
        }
        observed
    }

    fn sinkhole(&self, question: &Question, asker: &Asker<'_>, by: &By, alias: Option<&str>) -> Vec<u8> {
        count(&self.counters.sinkholed);
        let told = Told {
            action: EventAction::Sinkhole,
            by: Some((by, DecisionKind::Ban)),
            alias,
            ..Told::pass(ResponseCode::NoError, "sinkhole")
        };
        self.tell(question, asker, &told);
        let alias = alias.map_or_else(String::new, |alias| format!(" (alias {alias})"));
        answer::sinkhole(question, &format!("blocked by {by}{alias}"))
    }

    fn tell(&self, question: &Question, asker: &Asker<'_>, told: &Told<'_>) {
        let by = told.by.map(|(by, _)| match told.alias {
            Some(alias) => format!("{by} (alias {alias})"),
            None => by.to_string(),
        });
        self.sink.event(Event {
            ts: now(),
            severity: Severity::Info,
            action: told.action,
            zone: Some(asker.zone.to_string()),
            reason: told.by.map(|(by, kind)| by.reason(kind).to_owned()),
            body: Body::Query {
                client: asker.client,
                name: if question.text.is_empty() { ".".into() } else { question.text.clone() },
                qtype: question.qtype.to_string(),
                rcode: code_name(told.code),
                from: told.from.clone(),
                by,
                micros: u64::try_from(asker.started.elapsed().as_micros()).unwrap_or(u64::MAX),
            },
        });
    }
}

struct Asker<'a> {
    client: IpAddr,
    zone: &'a str,
    started: Instant,
}

impl Told<'_> {
    fn pass(code: ResponseCode, from: &str) -> Self {
        Self { code, from: from.to_owned(), action: EventAction::Pass, by: None, alias: None }
    }
}

impl Question {
    /// A question of nobody, to look into the cache.
    fn about(name: &WireName, qtype: RecordType) -> Self {
        Self {
            id: 0,
            name: name.clone(),
            text: text(name),
            qtype,
            class: DNSClass::IN,
            recursion_desired: true,
            checking_disabled: false,
            edns: false,
            dnssec: false,
            limit: usize::MAX,
        }
    }
}

/// The name of an answer code as tools print it.
fn code_name(code: ResponseCode) -> String {
    match code {
        ResponseCode::NoError => "NOERROR".into(),
        ResponseCode::FormErr => "FORMERR".into(),
        ResponseCode::ServFail => "SERVFAIL".into(),
        ResponseCode::NXDomain => "NXDOMAIN".into(),
        ResponseCode::NotImp => "NOTIMP".into(),
        ResponseCode::Refused => "REFUSED".into(),
        other => format!("RCODE{}", u16::from(other)),
    }
}

fn upstreams(settings: &Settings) -> Upstreams {
    let servers = settings.upstreams.iter().map(|&address| address.into()).collect();
    let clock: Clock = Arc::new(|| {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs())
    });
    Upstreams::new(&UpstreamSettings { servers, ..UpstreamSettings::default() }, clock)
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
