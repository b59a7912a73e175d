//! The appliance: everything that runs, and how it starts, changes and stops.

mod answers;
mod apply;
mod changes;
mod diagnosis;
mod diff;
mod dns;
mod doors;
mod floods;
mod flows;
mod hosts;
mod lapi;
mod pihole;
mod plan;
mod protection;
mod reflect;
mod refresh;
mod resolved;
mod tasks;
mod undo;

use ::feeds::{SystemResolver, Web, WebLimits};
use abi::{Active, ZoneId};
use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use config::Config;
use enforce::{
    nft::Wall,
    xdp::{Counters, Dataplane, Flows, Options},
};
use jiff::tz::TimeZone;
use lists::DomainSet;
use model::{Body, Event, EventAction, Mode, Severity, Timestamp};
use policy::{Plan, TimeZones};
use shippers::{EventSender, Shippers, Tail};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, atomic::AtomicBool},
    time::Duration,
};
use store::Store;
use tokio::sync::Semaphore;

use crate::{
    allowed_names::AllowedNames,
    api::MAX_TAILS,
    clock,
    decisions::{Decisions, Held, Tell},
    devices::{Addresses, AllowedDevices, Devices, read_told},
    events,
    feeds::Feeds,
    flags::Flags,
    floods::Floods,
    inspection::Inspection,
    keeper::Keeper,
    kernel::KernelOrders,
    loading::Loaded,
    logs::Pipeline,
    machine::Machine,
    packets::Names,
    standing::Standing,
    trial::ConfigFiles,
};

/// How long a stop waits for sinks to take the last events.
const SHIP_BY: Duration = Duration::from_secs(5);

/// Everything that runs.
pub struct Appliance {
    flags: Flags,
    started: Timestamp,
    /// What is in force.
    current: ArcSwap<Current>,
    /// The kernel's word and memory as last seen, for when a change is under way.
    known: Mutex<(Active, u64)>,
    /// One change at a time.
    change: tokio::sync::Mutex<Walls>,
    flows: Mutex<Flows>,
    counters: Mutex<Counters>,
    domains: Arc<ArcSwap<DomainSet>>,
    store: Store,
    decisions: Arc<Decisions<KernelOrders>>,
    resolver: tokio::sync::RwLock<Option<resolver::Handle>>,
    /// What it answered to zones that open flows only to that.
    resolved: resolved::Resolved,
    /// Of what was lost of that: what was told (pushed out, refused by the kernel).
    answers_told: Mutex<(u64, u64)>,
    /// What the resolver asks of the rest.
    dns: dns::Shared,
    /// Pi-hole's API; there from the start on.
    pihole_api: OnceLock<pihole::Doors>,
    /// CrowdSec's API; there from the start on.
    lapi: OnceLock<lapi::Doors>,
    /// The reflector of mDNS and SSDP.
    reflector: Mutex<reflect::Running>,
    logs: Arc<Pipeline>,
    inspection: Inspection,
    sender: EventSender,
    shippers: tokio::sync::Mutex<Option<Shippers>>,
    tails: Arc<Semaphore>,
    troubles: Mutex<BTreeMap<&'static str, String>>,
    /// Lists, rule sets and databases that are fetched.
    fetched: ::feeds::Keeper,
    /// There may be something new to fetch.
    to_fetch: tokio::sync::Notify,
    /// Devices of the zones.
    devices: Mutex<Devices>,
    /// Devices that people have let in.
    allowed: Mutex<AllowedDevices>,
    /// What names in `allow` were last known to be.
    allowed_names: Mutex<AllowedNames>,
    /// Someone let a device in, or took that back, and the plan does not have it yet.
    let_in: AtomicBool,
    /// SYN floods.
    floods: Mutex<Floods>,
    /// When what could not be put in force is tried again.
    retry: Mutex<Option<plan::Retry>>,
    /// Time zones of schedules.
    zones: TimeZones,
    /// The config that goes back by itself. Changed under `change` only.
    trial: Mutex<Option<apply::OnTrial>>,
}

/// What is in force, as one snapshot.
#[derive(Clone)]
struct Current {
    loaded: Loaded,
    machine: Machine,
    feeds: Feeds,
    names: Arc<Names>,
    /// The policy with everything put in.
    standing: Standing,
    /// Addresses of devices that it was made with.
    addresses: Addresses,
    /// When the plan was last changed.
    applied: Option<Timestamp>,
    /// When its rules were: they are counted since then.
    counted: Option<Timestamp>,
    interfaces: Vec<(String, &'static str)>,
    /// Zones whose openings nftables answers, see [`crate::floods`].
    flooded: Vec<ZoneId>,
    /// What a person should know of how it is enforced, and need not do anything about.
    notes: Vec<String>,
}

/// Both walls, which belong to whoever changes them.
struct Walls {
    dataplane: Dataplane,
    wall: Wall,
    /// The plan in force, without its lists.
    plan: Option<Plan>,
}

impl Appliance {
    /// Starts everything: adopts what an earlier run left in the kernel, then brings it to what the config says.
    ///
    /// # Errors
    /// The config is bad, the kernel lacks something, or the store cannot be opened.
    pub async fn start(flags: Flags) -> Result<Arc<Self>> {
        let started = clock::now().wall;
        std::fs::create_dir_all(&flags.state_dir)
            .with_context(|| format!("cannot make the state folder {}", flags.state_dir.display()))?;
        let file = store_file(&flags);
        let store = Store::open(&file).await?;
        let chosen = store.mode().await?;
        let (loaded, bad_config) = read_or_last_good(&flags, chosen)?;
        let (settings, bad_sink) = match events::settings(&loaded.config, &flags.state_dir) {
            Ok(settings) => (settings, None),
            Err(error) => {
                let without = Config { loki: None, ..loaded.config.clone() };
                (
                    events::settings(&without, &flags.state_dir)?,
                    Some(format!("no events go to Loki: {error:#}")),
                )
            }
        };
        let shippers = Shippers::start(settings);
        let sender = shippers.sender();
        let tell = tell(&sender);
        let options = Options { flows: loaded.config.limits.flows, ..Options::default() };
        let (mut dataplane, adopted) = Dataplane::open_with(&flags.bpffs, &options)?;
        // Who was not confirmed when the daemon ended goes back at once: the config on disk says so too.
        dataplane.revert()?;
        let orders = dataplane.orders()?;
        let allows = orders.allows()?.into_iter().map(|(net, _)| net).collect();
        let held = Held { bans: orders.bans()?, allows };
        let names = AllowedNames::open(&flags.state_dir.join(protection::NAMES_FILE));
        let machine = Machine::with(names.of(&loaded.config.allow_names));
        let mut keeper = Keeper::new(KernelOrders(orders));
        keeper.protect(machine.protected(&loaded.config));
        keeper.set_bans(loaded.config.bans.clone());
        let decisions = Decisions::start(keeper, held, store.clone(), Arc::clone(&tell)).await?;
        let logs = Pipeline::start(
            &loaded.config,
            (&loaded.library, &loaded.dialects),
            &store,
            Arc::clone(&decisions),
            Arc::clone(&tell),
        );
        let logs = Arc::new(logs.await?);
        let flows = dataplane.flows()?;
        let inspection =
            Inspection::start(&loaded, dataplane.inspect_ring()?, dataplane.flows()?, Arc::clone(&tell))?;
        let web = Web::new(Arc::new(SystemResolver), WebLimits::default());
        let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 1);
        let fetched = ::feeds::Keeper::open(flags.state_dir.join("feeds"), [], web, seed, started)
            .context("the folder for what is fetched cannot be made")?;
        let allowed = flags.state_dir.join("devices.json");
        let allowed = AllowedDevices::open(&allowed)
            .with_context(|| format!("devices that were let in: {} cannot be read", allowed.display()))?;
        let told = read_told(&flags.state_dir.join(hosts::TOLD_FILE));
        let pauses = dns::kept_pauses(&store).await;
        let query_log = dns::start_log(&flags.state_dir, &loaded.config.dns)?;
        let packet_ring = dataplane.packet_ring()?;
        // Before the walls: what depends on it must not find it empty.
        let (resolved, unread) =
            resolved::restored(dataplane.resolved()?, &loaded.config.policy, &flags.state_dir);
        let appliance = Arc::new(Self {
            started,
            counters: Mutex::new(dataplane.counters()?),
            flows: Mutex::new(flows),
            change: tokio::sync::Mutex::new(Walls { dataplane, wall: Wall::default(), plan: None }),
            domains: Arc::new(ArcSwap::new(Feeds::empty().domains)),
            known: Mutex::default(),
            current: ArcSwap::from_pointee(Current {
                loaded: loaded.clone(),
                machine,
                feeds: Feeds::empty(),
                names: Arc::default(),
                standing: Standing::default(),
                addresses: Addresses::new(),
                applied: None,
                counted: None,
                interfaces: Vec::new(),
                flooded: Vec::new(),
                notes: Vec::new(),
            }),
            flags,
            store,
            decisions,
            resolver: tokio::sync::RwLock::new(None),
            dns: dns::Shared::new(pauses, query_log),
            pihole_api: OnceLock::new(),
            lapi: OnceLock::new(),
            reflector: Mutex::default(),
            resolved,
            answers_told: Mutex::default(),
            logs,
            inspection,
            sender,
            shippers: tokio::sync::Mutex::new(Some(shippers)),
            tails: Arc::new(Semaphore::new(MAX_TAILS)),
            troubles: Mutex::default(),
            fetched,
            to_fetch: tokio::sync::Notify::new(),
            devices: Mutex::new(Devices::with_told(told)),
            allowed: Mutex::new(allowed),
            allowed_names: Mutex::new(names),
            let_in: AtomicBool::new(false),
            floods: Mutex::default(),
            retry: Mutex::default(),
            zones: TimeZones::new(TimeZone::system()),
            trial: Mutex::default(),
        });
        appliance.pihole_api.get_or_init(|| pihole::Doors::new(&appliance));
        let doors = lapi::Doors::new(&appliance).await;
        appliance.lapi.get_or_init(|| doors);
        if adopted.maps {
            appliance.system(
                Severity::Info,
                format!(
                    "adopted generation {} with {} bans on {}",
                    adopted.generation,
                    adopted.bans,
                    adopted.interfaces.join(", ")
                ),
            );
        }
        appliance.trouble("the config", bad_config);
        appliance.trouble("events", bad_sink);
        if let Some(unread) = unread {
            tracing::warn!("{unread}");
            appliance.system(Severity::Warning, unread);
        }
        appliance.bring_up(loaded).await?;
        appliance.spawn_tasks(packet_ring)?;
        appliance.system(Severity::Info, format!("secd {} started", env!("CARGO_PKG_VERSION")));
        Ok(appliance)
    }

    /// Stops what runs here. Enforcement stays pinned in the kernel.
    pub async fn stop(&self) {
        self.system(Severity::Info, "secd stops; enforcement stays in the kernel".into());
        self.update_pihole_api(None).await;
        self.update_lapi(None).await;
        if let Some(resolver) = self.resolver.write().await.take() {
            resolver.shutdown().await;
        }
        self.close_query_log().await;
        self.stop_reflector();
        tokio::task::block_in_place(|| self.keep_answers());
        // Bans before offsets: a line whose ban is lost must be judged again.
        self.logs.stop().await;
        self.decisions.finish().await;
        if let Err(error) = self.logs.save(&self.store).await {
            tracing::warn!(%error, "log offsets are not saved");
        }
        let shippers = self.shippers.lock().await.take();
        if let Some(shippers) = shippers
            && !shippers.stop(SHIP_BY).await
        {
            tracing::warn!("some events were not delivered");
        }
        self.store.clone().close().await;
    }

    /// The decisions.
    pub fn decisions(&self) -> &Decisions<KernelOrders> {
        &self.decisions
    }

    /// Permits to follow the events.
    pub fn tails(&self) -> &Arc<Semaphore> {
        &self.tails
    }

    /// Follows the events from now on.
    pub fn tail(&self) -> Tail {
        self.sender.tail()
    }

    fn flows_handle(&self) -> MutexGuard<'_, Flows> {
        self.flows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counters_handle(&self) -> MutexGuard<'_, Counters> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn system(&self, severity: Severity, message: String) {
        self.sender.send(system_event(severity, message, None));
    }

    fn in_trouble(&self, what: &'static str) -> bool {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).contains_key(what)
    }

    /// Remembers (or forgets) what needs a person; returns whether that changed.
    fn note_trouble(&self, what: &'static str, trouble: Option<&str>) -> bool {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        match trouble {
            Some(text) => troubles.insert(what, text.to_owned()).as_deref() != Some(text),
            None => troubles.remove(what).is_some(),
        }
    }

    /// The same; tells when it changes.
    fn trouble(&self, what: &'static str, trouble: Option<String>) {
        let changed = self.note_trouble(what, trouble.as_deref());
        match trouble {
            Some(text) if changed => {
                tracing::warn!("{text}");
                self.system(Severity::Warning, text);
            }
            None if changed => self.system(Severity::Info, format!("{what} is well again")),
            Some(_) | None => {}
        }
    }
}

/// Tells events to the sinks.
fn tell(sender: &EventSender) -> Tell {
    let sender = sender.clone();
    Arc::new(move |event| sender.send(event))
}

/// A reader of events was too slow.
#[must_use]
pub fn missed(count: u64) -> Event {
    system_event(Severity::Warning, "this reader was too slow and missed events".into(), Some(count))
}

fn system_event(severity: Severity, message: String, count: Option<u64>) -> Event {
    Event {
        ts: clock::now().wall,
        severity,
        action: EventAction::Alert,
        zone: None,
        reason: Some("system".into()),
        body: Body::System { message, count },
    }
}

/// Reads the config. Where it has mistakes, the last one that was in force stands in for it: a router that starts with
/// what it had yesterday is better than one that does not start.
fn read_or_last_good(flags: &Flags, chosen: Option<Mode>) -> Result<(Loaded, Option<String>)> {
    let files = ConfigFiles::new(&flags.config, &flags.state_dir);
    files.finish();
    // A daemon that ended during a trial was not confirmed, whatever ended it.
    let (tried, good) = (files.has_trial(), files.good());
    files.abandon();
    if files.is_refused()
        && let Ok(loaded) = Loaded::read(&good, chosen)
    {
        return Ok((loaded, Some(apply::refused(flags))));
    }
    if tried {
        tracing::warn!("a config was on trial when secd ended and was not confirmed; the former one holds");
    }
    let problems = match Loaded::read(&flags.config, chosen) {
        Ok(loaded) => return Ok((loaded, None)),
        Err(problems) => problems.iter().map(problem_line).collect::<Vec<_>>().join("\n"),
    };
    match Loaded::read(&good, chosen) {
        Ok(loaded) => {
            let stands_in =
                format!("the config has errors, {} stands in for it:\n{problems}", good.display());
            Ok((loaded, Some(stands_in)))
        }
        Err(_) => anyhow::bail!("the config has errors:\n{problems}"),
    }
}

/// A mistake in a file, in one line.
#[must_use]
pub fn problem_line(problem: &protocol::Problem) -> String {
    let help = problem.help.as_deref().map(|help| format!("; {help}")).unwrap_or_default();
    format!("{}:{}:{}: {}{help}", problem.file, problem.line, problem.column, problem.message)
}

/// The store's file stands in the config, and the mode that wins over the config's stands in the store: so the config
/// is looked at once for the former alone.
fn store_file(flags: &Flags) -> PathBuf {
    let files = ConfigFiles::new(&flags.config, &flags.state_dir);
    let mut candidates = [flags.config.clone(), files.good()];
    if files.is_refused() {
        candidates.reverse();
    }
    let configured = candidates.into_iter().find_map(|file| {
        let text = std::fs::read_to_string(file).ok()?;
        config::parse("", &text).ok()
    });
    configured.and_then(|config| config.store.path).unwrap_or_else(|| flags.state_dir.join("secd.db"))
}
