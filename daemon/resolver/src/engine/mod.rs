//! From the bytes of a query to the bytes of its answer and the record of it. No sockets towards clients here, and no
//! clock: what time it is, is an input.

mod asker;
mod block;
mod deliver;
mod forward;
mod judge;
mod own;
mod probe;
mod rebinding;
mod run;
mod special;
mod why;
mod write;

pub use asker::{Device, Devices};
pub use judge::{By, Judgement};
pub use probe::Probed;
pub use why::Why;

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use lists::{DomainSet, Group, GroupSet, Overrides};
use model::Name;
use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use crate::{
    Certificate, Clock, Local, Now, Settings, Sink, Stats, SystemClock,
    cache::{Answer, Bounds, Cache, Failures, Lifetimes},
    cookie::Secret,
    engine::{
        asker::{Asker, Askers},
        forward::{Fetched, Via},
        run::Run,
    },
    forwarder::Forwarder,
    journal::Journal,
    limits::{CLOCK_SET_FROM, MAX_IN_FLIGHT, MAX_IN_FLIGHT_PER_CLIENT},
    quota::{Place, Quota},
    rate::{Pace, Rates},
    stats::{Counters, count},
    upstream::Upstreams,
    wire::{
        name::text,
        question::{Question, Received, Transport},
        reply::unreadable,
    },
};

/// What the engine looks at for every question. Each may be exchanged at any time, and holds from the next question on,
/// also for what is cached.
#[derive(Clone)]
pub struct Sources {
    /// Domain lists.
    pub lists: Arc<ArcSwap<DomainSet>>,
    /// Standing orders.
    pub overrides: Arc<ArcSwap<Overrides>>,
    /// Names of this network.
    pub local: Arc<ArcSwap<Local>>,
    /// Who knows devices.
    pub devices: Devices,
    /// By what clients of TLS and HTTPS know this resolver; with none no handshake comes about.
    pub certificate: Arc<ArcSwapOption<Certificate>>,
    /// Who knows the time.
    pub clock: Arc<dyn Clock>,
}

impl Default for Sources {
    fn default() -> Self {
        Self {
            lists: Arc::default(),
            overrides: Arc::default(),
            local: Arc::default(),
            devices: Arc::new(|_| Device::default()),
            certificate: Arc::default(),
            clock: Arc::new(SystemClock::default()),
        }
    }
}

/// Settings with what belongs to one version of them.
struct Active {
    version: u64,
    /// Another number whenever answers that are kept may not be those that would come now.
    truth: u64,
    settings: Settings,
    forwarder: Arc<dyn Forwarder>,
    /// Of `forwarder`, where it is the one that asks upstreams.
    upstreams: Option<Upstreams>,
    enforcing: GroupSet,
    /// Domains that are asked of others than the upstreams: whatever those say is meant.
    forwarded: Vec<Box<str>>,
}

/// Everything that may be exchanged, as it is at one moment.
struct View {
    active: Guard<Arc<Active>>,
    lists: Guard<Arc<DomainSet>>,
    overrides: Guard<Arc<Overrides>>,
    local: Guard<Arc<Local>>,
}

/// The resolver without its sockets.
pub struct Engine {
    active: ArcSwap<Active>,
    changing: Mutex<()>,
    in_force: AtomicU64,
    sources: Sources,
    cache: ArcSwap<Cache>,
    failures: Failures<Fetched>,
    pub(crate) counters: Counters,
    in_flight: Arc<Quota>,
    prefetches: AtomicUsize,
    rates: Rates,
    /// Of streams, whose addresses nobody forges: what others ask over UDP in a client's name is not held against it.
    stream_rates: Rates,
    secret: Secret,
    journal: Journal,
    sink: Box<dyn Sink>,
}

/// What a reader of a socket uses again for each question.
#[derive(Default)]
pub(crate) struct Scratch {
    askers: Askers,
    question: Question,
    /// The answer, once there is one.
    pub(crate) out: Vec<u8>,
}

/// What becomes of bytes at once.
pub(crate) enum Step {
    /// Nothing is answered.
    Ignore,
    /// The answer stands in the scratch.
    Reply,
    /// Likewise, and it is worth asking anew ahead of its end; see [`Engine::refresh`].
    ReplyAndRefresh(Box<Refresh>),
    /// An upstream must be asked first; see [`Engine::forward`].
    Forward(Box<Pending>),
}

/// A question under way.
pub(crate) struct Pending {
    question: Question,
    asker: Asker,
    started: Now,
    /// The aliases it was led over by a rewrite.
    via: Option<Via>,
    /// An answer past its time, in case no upstream answers.
    stale: Option<Arc<Answer>>,
    /// Given back when neither the question nor the asking for it is under way.
    place: Arc<Place>,
}

/// An answer that is to be asked for anew.
pub(crate) struct Refresh {
    question: Question,
    answer: Arc<Answer>,
}

impl Engine {
    /// An engine that asks the upstreams of `settings`.
    #[must_use]
    pub fn new(settings: Settings, sources: Sources, sink: impl Sink) -> Self {
        let upstreams = upstreams(&settings, &sources);
        let forwarder = Arc::new(upstreams.clone()) as Arc<dyn Forwarder>;
        Self::build(settings, sources, forwarder, Some(upstreams), Box::new(sink))
    }

    /// An engine that asks `forwarder` instead of upstreams: for tests and other ways to know.
    #[must_use]
    pub fn with_forwarder(
        settings: Settings,
        sources: Sources,
        forwarder: Arc<dyn Forwarder>,
        sink: impl Sink,
    ) -> Self {
        Self::build(settings, sources, forwarder, None, Box::new(sink))
    }

    fn build(
        settings: Settings,
        sources: Sources,
        forwarder: Arc<dyn Forwarder>,
        upstreams: Option<Upstreams>,
        sink: Box<dyn Sink>,
    ) -> Self {
        Self {
            cache: ArcSwap::from_pointee(Cache::new(bounds(&settings))),
            failures: Failures::new(),
            in_force: AtomicU64::new(settings.policy.in_force.0),
            active: ArcSwap::from_pointee(Active {
                version: 0,
                truth: 0,
                enforcing: enforcing(&settings),
                forwarded: forwarded(&settings),
                settings,
                forwarder,
                upstreams,
            }),
            changing: Mutex::new(()),
            sources,
            counters: Counters::default(),
            in_flight: Quota::new(MAX_IN_FLIGHT, MAX_IN_FLIGHT_PER_CLIENT),
            prefetches: AtomicUsize::new(0),
            rates: Rates::new(),
            stream_rates: Rates::new(),
            secret: Secret::new(rand::random()),
            journal: Journal::default(),
            sink,
        }
    }

    /// The answer to the bytes of a query, none if it is to be ignored. Asks upstreams where it must.
    pub async fn answer(
        self: &Arc<Self>,
        bytes: &[u8],
        client: IpAddr,
        transport: Transport,
    ) -> Option<Vec<u8>> {
        let mut scratch = Scratch::default();
        self.answer_with(bytes, client, transport, &mut scratch).await.then_some(scratch.out)
    }

    /// [`Engine::answer`] into a scratch that is used again. Says whether there is an answer.
    pub(crate) async fn answer_with(
        self: &Arc<Self>,
        bytes: &[u8],
        client: IpAddr,
        transport: Transport,
        scratch: &mut Scratch,
    ) -> bool {
        match self.step(bytes, client, transport, self.now(), scratch) {
            Step::Ignore => false,
            Step::Reply => true,
            Step::ReplyAndRefresh(refresh) => {
                let engine = Arc::clone(self);
                tokio::spawn(async move { engine.refresh(*refresh).await });
                true
            }
            Step::Forward(pending) => self.forward(pending, &mut scratch.out).await,
        }
    }

    /// Counters and state.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = self.counters.snapshot();
        let cache = self.cache.load();
        stats.cache_entries = cache.len() as u64;
        stats.cache_bytes = cache.bytes() as u64;
        stats.untold = self.journal.dropped();
        stats.in_flight = self.in_flight.taken() as u64;
        if let Some(upstreams) = &self.active.load().upstreams {
            stats.upstreams = upstreams.status();
        }
        stats
    }

    /// Forgets the cached answers of a name and everything below it, of all names with none. Says how many.
    pub fn flush(&self, name: Option<&Name>) -> usize {
        self.failures.clear();
        self.cache.load().flush(name.map(Name::as_str))
    }

    /// Which groups are in force from the next question on: the others' lists, entries and ways to block do not hold.
    pub fn set_in_force(&self, groups: GroupSet) {
        self.in_force.store(groups.0, Relaxed);
    }

    /// Hands records of questions that wait to the sink, now.
    pub fn tell(&self) {
        self.journal.drain(&*self.sink);
    }

    /// Hands on records until [`Engine::stop_telling`]. For a thread of its own.
    pub(crate) fn keep_telling(&self) {
        self.journal.run(&*self.sink);
    }

    /// Ends [`Engine::keep_telling`], when all is told.
    pub(crate) fn stop_telling(&self) {
        self.journal.close();
    }

    /// Takes new settings; the health of upstreams that stay is not lost, nor the cache, unless others are asked for some
    /// names from now on, or something else is believed.
    pub(crate) fn update(&self, settings: Settings) {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.active.load_full();
        if bounds(&settings) != bounds(&old.settings) {
            // What is put in between is lost, and asked for again.
            self.cache.store(Arc::new(self.cache.load().resized(bounds(&settings))));
        }
        self.in_force.store(settings.policy.in_force.0, Relaxed);
        let (forwarder, upstreams) = match &old.upstreams {
            Some(_) if old.settings.upstreams != settings.upstreams => {
                let new = upstreams(&settings, &self.sources);
                (Arc::new(new.clone()) as Arc<dyn Forwarder>, Some(new))
            }
            Some(_) | None => (Arc::clone(&old.forwarder), old.upstreams.clone()),
        };
        let believes_alike = is_believed_alike(&old.settings, &settings);
        self.active.store(Arc::new(Active {
            version: old.version.wrapping_add(1),
            truth: if believes_alike { old.truth } else { old.truth.wrapping_add(1) },
            enforcing: enforcing(&settings),
            forwarded: forwarded(&settings),
            settings,
            forwarder,
            upstreams,
        }));
        self.failures.clear();
        if !believes_alike {
            self.cache.load().flush(None);
        }
    }

    /// Whether a client is answered at all.
    pub(crate) fn is_client(&self, client: IpAddr) -> bool {
        self.active.load().settings.network_of(client).is_some()
    }

    /// Counts a handshake of a client as a question. Says whether it is within its rate.
    pub(crate) fn admits(&self, client: IpAddr) -> bool {
        let rate = self.active.load().settings.rate;
        rate.is_none_or(|rate| self.stream_rates.take(client, rate, self.now().steady) == Pace::Within)
    }

    /// Waits until no question is under way.
    pub(crate) async fn drained(&self) {
        self.in_flight.emptied().await;
    }

    /// Now.
    pub(crate) fn now(&self) -> Now {
        self.sources.clock.now()
    }

    /// What questions are judged by now.
    fn view(&self) -> View {
        View {
            active: self.active.load(),
            lists: self.sources.lists.load(),
            overrides: self.sources.overrides.load(),
            local: self.sources.local.load(),
        }
    }

    /// What can be said about a query without waiting.
    pub(crate) fn step(
        &self,
        bytes: &[u8],
        client: IpAddr,
        transport: Transport,
        now: Now,
        scratch: &mut Scratch,
    ) -> Step {
        let view = self.view();
        let Scratch { askers, question, out } = scratch;
        let client = client.to_canonical();
        let look = || Asker::find(client, &view.active.settings, &self.sources.devices);
        let Some(asker) = askers.find(client, view.active.version, now.steady, look) else {
            count(&self.counters.refused_clients);
            return Step::Ignore;
        };
        let received = question.read(bytes, transport);
        let run = view.run(self, asker, question, now, now);
        match received {
            Received::Question => run.answer(out),
            Received::Refused(code) => {
                count(&self.counters.malformed);
                run.refuse(out, code)
            }
            Received::Unreadable(code) => {
                count(&self.counters.malformed);
                unreadable(out, bytes, code);
                Step::Reply
            }
            Received::Ignore => {
                count(&self.counters.malformed);
                Step::Ignore
            }
        }
    }
}

impl View {
    /// A question under this view: asked at `started`, answered at `now`.
    fn run<'a>(
        &'a self,
        engine: &'a Engine,
        asker: &'a Asker,
        question: &'a Question,
        started: Now,
        now: Now,
    ) -> Run<'a> {
        Run {
            engine,
            active: &self.active,
            lists: &self.lists,
            overrides: &self.overrides,
            local: &self.local,
            asker,
            question,
            now,
            started,
        }
    }
}

impl Active {
    /// How long answers are kept.
    const fn lifetimes(&self) -> Lifetimes {
        let cache = &self.settings.cache;
        Lifetimes { least: cache.min_ttl, most: cache.max_ttl, negative: cache.negative_ttl }
    }
}

fn upstreams(settings: &Settings, sources: &Sources) -> Upstreams {
    let clock = Arc::clone(&sources.clock);
    let date =
        move || u64::try_from(clock.now().date.0 / 1_000_000).ok().filter(|&date| date >= CLOCK_SET_FROM);
    Upstreams::new(&settings.upstreams, Arc::new(date))
}

/// Whether answers that came under the one are those that would come under the other. Another upstream says the same; a
/// forward knows names that others do not, and what was believed without validation may be false.
fn is_believed_alike(one: &Settings, other: &Settings) -> bool {
    let (one, other) = (&one.upstreams, &other.upstreams);
    one.forwards == other.forwards
        && one.dnssec == other.dnssec
        && one.negative_trust_anchors == other.negative_trust_anchors
        && one.root_keys == other.root_keys
}

fn forwarded(settings: &Settings) -> Vec<Box<str>> {
    let names = settings.upstreams.forwards.iter().flat_map(|forward| &forward.names);
    names.map(|name| text(name).into()).collect()
}

const fn bounds(settings: &Settings) -> Bounds {
    let cache = &settings.cache;
    Bounds { entries: cache.entries, bytes: cache.bytes, stale: cache.serve_stale }
}

/// Groups that carry out what they say: also those of which the settings know nothing.
fn enforcing(settings: &Settings) -> GroupSet {
    let observing = Group::all_where(&settings.policy.groups, |group| group.mode == model::Mode::Observe);
    GroupSet::ALL.without(observing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Answered, Asking, Query, Trouble, UpstreamForward, Validation, Wanted};
    use hickory_proto::{
        op::{Message, OpCode},
        rr::{RData, Record, rdata::A},
    };

    /// Answers everything with an address, and counts; or fails.
    #[derive(Default)]
    struct Counting {
        asked: AtomicUsize,
        fails: std::sync::atomic::AtomicBool,
    }

    impl Forwarder for Counting {
        fn ask<'a>(&'a self, wanted: Wanted<'a>) -> Asking<'a> {
            Box::pin(async move {
                self.asked.fetch_add(1, Relaxed);
                if self.fails.load(Relaxed) {
                    return Err(Trouble::Unreachable("nobody".into()));
                }
                let mut message = Message::response(0, OpCode::Query);
                message.add_answer(Record::from_rdata(
                    wanted.name.clone(),
                    300,
                    RData::A(A::new(192, 0, 2, 1)),
                ));
                Ok(Answered { message, upstream: "x".into(), validated: Validation::Unchecked })
            })
        }
    }

    #[tokio::test]
    async fn answers_and_failures_of_other_settings_are_not_kept() {
        let counting = Arc::new(Counting::default());
        let forwarder = Arc::clone(&counting) as Arc<dyn Forwarder>;
        let clients = vec![crate::ClientNetwork {
            net: "10.0.0.0/8".parse().unwrap(),
            zone: "home".into(),
            resolved: false,
        }];
        let settings = Settings { clients, ..Settings::default() };
        let engine = Arc::new(Engine::with_forwarder(
            settings.clone(),
            Sources::default(),
            forwarder,
            |_: &Query<'_>| {},
        ));
        let asks = async || {
            let name = "www.example".parse().unwrap();
            engine.probe(&name, 1, [10, 0, 0, 1].into()).await.unwrap();
            counting.asked.load(Relaxed)
        };
        assert_eq!((asks().await, asks().await), (1, 1), "from the cache");
        let mut other = settings.clone();
        other.rate = Some(crate::Rate { interval: std::time::Duration::ZERO, burst: 1 });
        other.upstreams.servers = vec!["192.0.2.1".parse().unwrap()];
        engine.update(other.clone());
        assert_eq!(asks().await, 1, "another upstream says the same");
        other.upstreams.dnssec = true;
        engine.update(other.clone());
        assert_eq!((asks().await, asks().await), (2, 2), "what came without validation");
        let names = vec!["example.".parse().unwrap()];
        other.upstreams.forwards = vec![UpstreamForward { names, to: Vec::new(), dnssec: false }];
        engine.update(other.clone());
        assert_eq!(asks().await, 3, "others are asked");
        other.upstreams.negative_trust_anchors = vec!["example.".parse().unwrap()];
        engine.update(other.clone());
        counting.fails.store(true, Relaxed);
        assert_eq!((asks().await, asks().await), (4, 4), "a failure is remembered for a second");
        other.mode = model::Mode::Observe;
        engine.update(other);
        assert_eq!(asks().await, 5, "but not over new settings");
        engine.flush(None);
        assert_eq!(asks().await, 6, "nor when somebody wants to know");
    }
}
