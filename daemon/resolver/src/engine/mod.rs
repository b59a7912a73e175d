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

use arc_swap::{ArcSwap, Guard};
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
    Clock, Local, Now, Settings, Sink, Stats, SystemClock,
    cache::{Answer, Bounds, Cache, Lifetimes},
    cookie::Secret,
    engine::{
        asker::{Asker, Askers},
        forward::Via,
        run::Run,
    },
    forwarder::Forwarder,
    journal::Journal,
    limits::{CLOCK_SET_FROM, MAX_IN_FLIGHT, MAX_IN_FLIGHT_PER_CLIENT},
    quota::{Place, Quota},
    rate::Rates,
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
            clock: Arc::new(SystemClock::default()),
        }
    }
}

/// Settings with what belongs to one version of them.
struct Active {
    version: u64,
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
    pub(crate) counters: Counters,
    in_flight: Arc<Quota>,
    prefetches: AtomicUsize,
    rates: Rates,
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
            in_force: AtomicU64::new(settings.policy.in_force.0),
            active: ArcSwap::from_pointee(Active {
                version: 0,
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

    /// Takes new settings; the cache and the health of upstreams that stay are not lost.
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
        self.active.store(Arc::new(Active {
            version: old.version.wrapping_add(1),
            enforcing: enforcing(&settings),
            forwarded: forwarded(&settings),
            settings,
            forwarder,
            upstreams,
        }));
    }

    /// Whether a client is answered at all.
    pub(crate) fn is_client(&self, client: IpAddr) -> bool {
        self.active.load().settings.network_of(client).is_some()
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
