//! The resolver: how it runs, which groups are in force, and who knows devices.

mod asking;
mod certificate;
mod leases;
mod log;
mod pauses;
mod settings;

use ::leases::Hosts;
use anyhow::Result;
use arc_swap::ArcSwap;
use config::{Dns, Privacy};
use lists::GroupSet;
use model::{Change, DecisionKind, Mac, Name, Severity, Timestamp, duration_text};
use protocol::{
    DnsGroupRow, DnsGroups, DnsPause, DnsPauseOrder, DnsPaused, ErrorReply, Lift, Lifted, Order, Ordered,
};
use querylog::QueryLog;
use resolver::{Device, Local, Resolver, Settings, Sources};
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use store::{Actor, Store};

pub(in crate::appliance) use self::log::start as start_log;
use self::{
    certificate::Certificates,
    leases::Names,
    pauses::KeptPauses,
    settings::{local, settings},
};
use super::{Appliance, tell};
use crate::{
    clock,
    decisions::Failure,
    events::QuerySink,
    groups::{GroupState, Pauses, in_force, states},
    loading::Loaded,
};

/// The setting in which pauses are kept.
const PAUSES: &str = "dns_pauses";

/// What the resolver asks of the rest of the daemon; each is exchanged as a whole.
pub(in crate::appliance) struct Shared {
    /// MAC addresses by address, as the neighbour table has them.
    macs: Arc<ArcSwap<HashMap<IpAddr, Mac>>>,
    /// Names of this network.
    local: Arc<ArcSwap<Local>>,
    /// Devices by their leases.
    hosts: Arc<ArcSwap<Hosts>>,
    /// What `local` is made of. Whoever changes it or `hosts` stores `local` before letting go.
    names: Mutex<Names>,
    /// What of each zone's questions is told.
    privacy: Arc<ArcSwap<HashMap<String, Privacy>>>,
    pauses: KeptPauses,
    certificates: Arc<Certificates>,
    /// What was asked.
    log: QueryLog,
    /// A damaged log that people were told of.
    set_aside: Mutex<Option<String>>,
    /// The groups as they were last put in force.
    groups: Mutex<Vec<(String, GroupState)>>,
}

impl Shared {
    pub(in crate::appliance) fn new(pauses: Pauses, log: QueryLog) -> Self {
        Self {
            macs: Arc::default(),
            local: Arc::default(),
            hosts: Arc::default(),
            names: Mutex::default(),
            privacy: Arc::default(),
            pauses: KeptPauses::new(pauses),
            certificates: Arc::default(),
            log,
            set_aside: Mutex::default(),
            groups: Mutex::default(),
        }
    }

    fn groups(&self) -> MutexGuard<'_, Vec<(String, GroupState)>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pauses that were ordered before this daemon started. What cannot be read is no pause: blocking goes on.
pub(in crate::appliance) async fn kept_pauses(store: &Store) -> Pauses {
    let kept = store.setting(PAUSES).await.ok().flatten();
    kept.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

impl Appliance {
    /// Starts, changes or ends the resolver, as the config says.
    ///
    /// # Errors
    /// The settings cannot work, or an address cannot be listened on. The other addresses answer all the same.
    pub(in crate::appliance) async fn update_resolver(&self, loaded: &Loaded) -> Result<()> {
        let dns = &loaded.config.dns;
        let settings = settings(loaded, self.groups_now(loaded).1)?;
        self.look_at_certificate(dns).await;
        let mut resolver = self.resolver.write().await;
        if !dns.answers() {
            if let Some(running) = resolver.take() {
                running.shutdown().await;
            }
            return Ok(());
        }
        self.dns.write_names(dns, local(dns)?);
        let privacy = dns.zones.iter().map(|zone| (zone.name.clone(), zone.privacy));
        self.dns.privacy.store(Arc::new(privacy.collect()));
        let running = match resolver.take() {
            Some(running) => {
                let updated = running.update(settings).await;
                let running = resolver.insert(running);
                updated?;
                running
            }
            None => resolver.insert(self.start_resolver(settings).await?),
        };
        let unopened = running.unopened();
        anyhow::ensure!(unopened.is_empty(), "{}; the other addresses answer", unopened.join("; "));
        Ok(())
    }

    async fn start_resolver(&self, settings: Settings) -> Result<resolver::Handle> {
        let sink = QuerySink {
            tell: tell(&self.sender),
            log: self.dns.log.clone(),
            privacy: Arc::clone(&self.dns.privacy),
            resolved: Arc::clone(&self.resolved),
        };
        let (macs, hosts) = (Arc::clone(&self.dns.macs), Arc::clone(&self.dns.hosts));
        let sources = Sources {
            lists: Arc::clone(&self.domains),
            overrides: self.decisions.overrides(),
            local: Arc::clone(&self.dns.local),
            devices: Arc::new(move |address| {
                let mac = macs.load().get(&address).copied();
                let host = hosts.load().name_of(address, mac).cloned();
                Device { mac: mac.map(|mac| mac.0), host }
            }),
            certificate: self.dns.certificates.current(),
            ..Sources::default()
        };
        Ok(Resolver::start(settings, sources, sink).await?)
    }

    /// Takes a certificate that was exchanged, and renews one's own in time. Called every few seconds.
    pub(in crate::appliance) async fn look_at_encryption(&self) {
        let current = self.current.load_full();
        let dns = &current.loaded.config.dns;
        if !(dns.listen_tls.is_empty() && dns.listen_https.is_empty()) {
            self.look_at_certificate(dns).await;
        }
    }

    async fn look_at_certificate(&self, dns: &Dns) {
        let certificates = Arc::clone(&self.dns.certificates);
        let (dns, folder) = (dns.clone(), self.flags.state_dir.clone());
        let look = move || certificates.look(&dns, &folder, clock::now().wall);
        let looked = tokio::task::spawn_blocking(look).await.unwrap_or_else(|error| Err(error.to_string()));
        self.trouble("the certificate of encrypted DNS", looked.err());
    }

    /// Lets the resolver know devices by the addresses they are seen with now.
    pub(in crate::appliance) fn learn_macs(&self) {
        let devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        let known = devices
            .iter()
            .flat_map(|(mac, seen)| seen.addresses.iter().map(move |(address, at)| (*address, (*at, mac))));
        // Whoever was seen last with an address has it.
        let mut latest: HashMap<IpAddr, (Timestamp, Mac)> = HashMap::new();
        for (address, seen) in known {
            latest.entry(address).and_modify(|held| *held = seen.max(*held)).or_insert(seen);
        }
        let macs: HashMap<IpAddr, Mac> =
            latest.into_iter().map(|(address, (_, mac))| (address.to_canonical(), mac)).collect();
        if **self.dns.macs.load() != macs {
            self.dns.macs.store(Arc::new(macs));
        }
    }

    /// Every group and the set of those in force, now.
    fn groups_now(&self, loaded: &Loaded) -> (Vec<GroupState>, GroupSet) {
        let config = &loaded.config;
        let now = clock::now().wall;
        let pauses = self.dns.pauses.now();
        let states = states(&config.dns, &config.policy.schedules, &pauses, (now, &self.zones));
        let set = in_force(&states, &pauses, now);
        (states, set)
    }

    /// Puts the groups in force that are now, ends pauses that are over, and tells of both. Called every few seconds and
    /// when something of it changed.
    pub(in crate::appliance) async fn look_at_groups(&self) {
        let current = self.current.load_full();
        let dns = &current.loaded.config.dns;
        let keep = |pauses| self.keep_pauses(pauses);
        for group in self.dns.pauses.expire(dns, clock::now().wall, keep).await {
            let of = group.map(|group| format!(" for the group {group}")).unwrap_or_default();
            self.system(Severity::Info, format!("blocking goes on{of}: the pause is over"));
        }
        let (states, set) = self.groups_now(&current.loaded);
        if let Some(resolver) = self.resolver.read().await.as_ref() {
            resolver.set_in_force(set);
        }
        let named: Vec<_> = dns.groups.iter().map(|group| group.name.clone()).zip(states).collect();
        let former = std::mem::replace(&mut *self.dns.groups(), named.clone());
        for (name, state) in named {
            let before = former.iter().find(|(known, _)| *known == name).map(|(_, state)| &state.schedule);
            if let (Some((schedule, holds)), Some(Some((_, held)))) = (&state.schedule, before)
                && holds != held
            {
                let what = if *holds { "is" } else { "is no longer" };
                self.system(Severity::Info, format!("the group {name} {what} in force: schedule {schedule}"));
            }
        }
    }

    async fn keep_pauses(&self, pauses: Pauses) {
        if let Err(error) = self.store_pauses(pauses).await {
            tracing::warn!(
                error = error.1.error.message,
                "a pause of blocking that is over is kept in the store"
            );
        }
    }

    async fn store_pauses(&self, pauses: Pauses) -> Result<(), Failure> {
        let failed = |error: String| {
            (503, ErrorReply::new(format!("it could not be stored: {error}"), Some("nothing was changed")))
        };
        let text = serde_json::to_string(&pauses).map_err(|error| failed(error.to_string()))?;
        self.store.save_setting(PAUSES, Some(&text)).await.map_err(|error| failed(error.to_string()))
    }

    /// Pauses blocking for a group or for everybody, or ends that; kept over restarts, in force when it returns.
    ///
    /// # Errors
    /// 400 it makes no sense, 404 there is no such group, 503 it could not be stored.
    pub async fn pause(&self, order: DnsPauseOrder) -> Result<DnsPaused, Failure> {
        order.check().map_err(|message| (400, ErrorReply::new(message, None)))?;
        let until = order.lasting.map(|lasting| clock::now().wall.plus(lasting.0));
        let actor = Actor::person(&order.user);
        self.pause_until(order.group, until, &actor).await
    }

    /// The same until a moment, by whoever it is.
    ///
    /// # Errors
    /// 404 there is no such group, 503 it could not be stored.
    pub(in crate::appliance) async fn pause_until(
        &self,
        of: Option<String>,
        until: Option<Timestamp>,
        actor: &Actor,
    ) -> Result<DnsPaused, Failure> {
        let dns = &self.current.load_full().loaded.config.dns;
        let group = of.as_deref();
        if let Some(group) = group
            && !dns.groups.iter().any(|known| known.name == group)
        {
            let known: Vec<_> = dns.groups.iter().map(|group| group.name.as_str()).collect();
            let message = format!("there is no group `{group}`; the groups are {}", known.join(", "));
            return Err((404, ErrorReply::new(message, Some("`secctl dns groups` shows them"))));
        }
        let now = clock::now().wall;
        let change = |pauses: &mut Pauses| {
            let before = pauses.until(group).filter(|until| *until > now);
            let changed = match until {
                Some(until) => {
                    pauses.pause(group, until);
                    true
                }
                None => pauses.resume(group),
            };
            (changed, before)
        };
        let ((changed, before), pauses) =
            self.dns.pauses.change(change, |pauses| self.store_pauses(pauses)).await?;
        self.look_at_groups().await;
        if changed {
            let change = Change::Pause { group: of.clone(), before, after: until };
            self.write_down_by(actor, change).await;
        }
        let named = group.map(|group| format!(" for the group {group}")).unwrap_or_default();
        let by = &actor.by.name;
        match until {
            Some(until) => {
                // A moment of it has gone since it was ordered.
                let lasting = duration_text(until.since(now) + Duration::from_millis(999));
                self.system(Severity::Notice, format!("blocking is paused{named} for {lasting}, by {by}"));
            }
            None if changed => self.system(Severity::Notice, format!("blocking goes on{named}, by {by}")),
            None => {}
        }
        let mut notes = Vec::new();
        if until.is_some() {
            notes.push(format!(
                "clients may keep for {} what they were told before",
                duration_text(dns.block_ttl.max(Duration::from_secs(1)))
            ));
        } else if let Some(until) = pauses.until(None)
            && group.is_some()
        {
            notes.push(format!("everything is paused until {until}: `secctl dns resume` ends that"));
        }
        Ok(DnsPaused { group: of, until, changed, notes })
    }

    /// Pauses that hold now.
    pub(in crate::appliance) fn pauses(&self) -> Vec<DnsPause> {
        let now = clock::now().wall;
        let (pauses, groups) = (self.dns.pauses.now(), self.dns.groups());
        let names = groups.iter().map(|(name, _)| Some(name.clone()));
        std::iter::once(None)
            .chain(names)
            .filter_map(|group| {
                let until = pauses.until(group.as_deref()).filter(|until| *until > now)?;
                Some(DnsPause { group, until })
            })
            .collect()
    }

    /// Every group.
    pub fn dns_groups(&self) -> DnsGroups {
        let current = self.current.load_full();
        let config = &current.loaded.config;
        let (states, _) = self.groups_now(&current.loaded);
        let rows = config.dns.groups.iter().zip(states).enumerate().map(|(place, (group, state))| {
            let domains = |list: &&config::ListSource| list.kind == config::ListKind::Domains;
            let lists = config.lists.iter().filter(domains).filter(|list| list.groups.contains(place));
            let clients = config.dns.clients.iter().filter(|client| client.groups.contains(place));
            DnsGroupRow {
                name: group.name.clone(),
                in_force: state.in_force,
                schedule: state.schedule.map(|(name, _)| name),
                next_change: state.next_change,
                paused_until: state.paused_until,
                blocking: group.blocking.to_string(),
                mode: config.mode.and(config.dns.mode).and(group.mode),
                lists: lists.map(|list| list.name.clone()).collect(),
                services: group.services.clone(),
                safe_search: group.safe_search,
                clients: clients.map(|client| client.name.clone()).collect(),
                comment: group.comment.clone(),
            }
        });
        let groups = rows.collect();
        let paused_until =
            self.pauses().into_iter().find(|pause| pause.group.is_none()).map(|pause| pause.until);
        DnsGroups { groups, paused_until }
    }

    /// Carries out what a person ordered; what the resolver keeps of the name is forgotten.
    ///
    /// # Errors
    /// See [`crate::decisions::Decisions::order`]; 404 it is for a client that the config does not have.
    pub async fn order(&self, order: Order) -> Result<Ordered, Failure> {
        if let Some((_, Some(client))) = order.target.domain() {
            self.asking(&self.current.load_full(), client)?;
        }
        let name = order.target.domain().map(|(name, _)| name.clone());
        let is_allow = order.kind == DecisionKind::Allow;
        self.look_at_sessions();
        let mut ordered = self.decisions.order(order).await?;
        self.forget_answers(name.iter()).await;
        if name.is_some() && is_allow {
            let ttl =
                duration_text(self.current.load().loaded.config.dns.block_ttl.max(Duration::from_secs(1)));
            ordered.notes.push(format!("a client may keep for {ttl} that it was blocked"));
        }
        Ok(ordered)
    }

    /// Ends what stands at exactly a target; what the resolver keeps of the name is forgotten.
    ///
    /// # Errors
    /// See [`crate::decisions::Decisions::lift`].
    pub async fn lift(&self, lift: Lift) -> Result<Lifted, Failure> {
        let name = lift.target.domain().map(|(name, _)| name.clone());
        let lifted = self.decisions.lift(lift).await?;
        self.forget_answers(name.iter()).await;
        Ok(lifted)
    }

    /// What was answered about names is not any more.
    pub(in crate::appliance) async fn forget_answers<'n>(
        &self,
        names: impl Iterator<Item = &'n Name> + Send,
    ) {
        if let Some(resolver) = self.resolver.read().await.as_ref() {
            for name in names {
                resolver.flush(Some(name));
            }
        }
    }
}

/// Names of groups.
fn group_names(dns: &Dns, groups: GroupSet) -> Vec<String> {
    groups.places().filter_map(|place| dns.groups.get(place)).map(|group| group.name.clone()).collect()
}
