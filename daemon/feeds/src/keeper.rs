//! All subscriptions: what is in force, what is held, when each is due; refreshes them when told the time.

use foldhash::fast::FixedState;
use futures_util::{StreamExt, stream};
use ipnet::IpNet;
use model::Timestamp;
use std::{
    collections::BTreeMap,
    hash::BuildHasher,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    Happening, JudgeError, Kind, Subscription, Web,
    disk::{Folder, Note, Which},
    fetch::{FetchError, Fetched, Validators, fetch},
    judge::{Judged, judge},
    limits::{MAX_AT_ONCE, MAX_SUBSCRIPTIONS},
    schedule,
};

/// All subscriptions. Every method takes `&self`; refreshes of one subscription wait for each other.
#[derive(Debug)]
pub struct Keeper {
    folder: Folder,
    web: Web,
    seed: u64,
    entries: Mutex<BTreeMap<String, Entry>>,
}

#[derive(Debug)]
struct Entry {
    subscription: Arc<Subscription>,
    good: Option<Note>,
    held: Option<Note>,
    next: Timestamp,
    failures: u32,
    error: Option<String>,
    /// Times it was scheduled: input of the jitter.
    rolls: u64,
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// What is known of a subscription, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// Where it is fetched from, without what may be secret.
    pub location: String,
    /// Entries in force.
    pub entries: u64,
    /// Lines of the file in force that could not be read.
    pub rejected: u64,
    /// The first of them, in words.
    pub rejects: Vec<String>,
    /// When what is in force was fetched; none = there is nothing.
    pub fetched: Option<Timestamp>,
    /// When the server last said that it is still the newest.
    pub checked: Option<Timestamp>,
    /// When it is due next.
    pub next: Timestamp,
    /// Failures in a row.
    pub failures: u32,
    /// Why the last refresh failed.
    pub error: Option<String>,
    /// The file that waits to be accepted.
    pub held: Option<Held>,
}

/// A file that the guard holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Why.
    pub why: String,
    /// Its entries.
    pub entries: u64,
    /// When it was fetched.
    pub since: Timestamp,
}

/// Why nothing could be accepted.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// No such subscription.
    #[error("there is no subscription `{0}`")]
    Unknown(String),
    /// Nothing waits.
    #[error("`{0}` has no held file: there is nothing to accept")]
    NothingHeld(String),
    /// The file on disk is damaged, or no file of its kind.
    #[error("the held file of `{name}` cannot be used: {why}; it is fetched again at the next refresh")]
    Unusable {
        /// The subscription.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// The disk.
    #[error("the file of `{name}` cannot be written: {error}")]
    Disk {
        /// The subscription.
        name: String,
        /// The error.
        error: io::Error,
    },
}

impl Keeper {
    /// Opens the files in `folder` (made if it is not there) for `subscriptions`; nothing is fetched yet. `seed` keys
    /// hash tables and the jitter: let it be random. Of more than [`MAX_SUBSCRIPTIONS`] the last are left out.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(
        folder: PathBuf,
        subscriptions: impl IntoIterator<Item = Subscription>,
        web: Web,
        seed: u64,
        now: Timestamp,
    ) -> io::Result<Self> {
        let keeper = Self { folder: Folder::open(folder)?, web, seed, entries: Mutex::default() };
        keeper.configure(subscriptions, now);
        Ok(keeper)
    }

    /// Takes a new config. What did not change goes on; what is new is due at once; what is gone is forgotten, its file
    /// stays on disk.
    pub fn configure(&self, subscriptions: impl IntoIterator<Item = Subscription>, now: Timestamp) {
        let mut entries = self.entries();
        let mut former = std::mem::take(&mut *entries);
        for subscription in subscriptions.into_iter().take(MAX_SUBSCRIPTIONS) {
            let entry = match former.remove(&subscription.name) {
                Some(entry) if *entry.subscription == subscription => entry,
                _ => self.start(subscription, now),
            };
            entries.insert(entry.subscription.name.clone(), entry);
        }
    }

    /// When the next subscription is due; none if there is no subscription.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.entries().values().map(|entry| entry.next).min()
    }

    /// Refreshes all that are due, at most [`MAX_AT_ONCE`] at a time. `own` are networks and addresses that no list may
    /// hold.
    pub async fn refresh_due(&self, own: &[IpNet], now: Timestamp) -> Vec<Happening> {
        let due: Vec<String> = {
            let entries = self.entries();
            entries.iter().filter(|(_, entry)| entry.next <= now).map(|(name, _)| name.clone()).collect()
        };
        self.refresh_all(due, own, now).await
    }

    /// Refreshes these, due or not, at most [`MAX_AT_ONCE`] at a time. Names of no subscription are left out.
    pub async fn refresh_these(&self, names: Vec<String>, own: &[IpNet], now: Timestamp) -> Vec<Happening> {
        self.refresh_all(names, own, now).await
    }

    /// Refreshes one, due or not; none if there is no such subscription.
    pub async fn refresh(&self, name: &str, own: &[IpNet], now: Timestamp) -> Option<Happening> {
        self.refresh_all(vec![name.to_owned()], own, now).await.pop()
    }

    /// Lets a held file through the guard. Entries that no list may hold are left out all the same.
    ///
    /// # Errors
    /// There is none, or it cannot be used; nothing changes then.
    pub async fn accept(&self, name: &str, own: &[IpNet], now: Timestamp) -> Result<Happening, AcceptError> {
        let (subscription, turn) = self.find(name).ok_or_else(|| AcceptError::Unknown(name.into()))?;
        let _turn = turn.lock().await;
        let held = self.entries().get(name).and_then(|entry| entry.held.clone());
        let held = held.ok_or_else(|| AcceptError::NothingHeld(name.into()))?;
        let work = Work {
            folder: self.folder.clone(),
            subscription,
            good: self.good(name),
            own: own.into(),
            seed: self.seed,
            now,
        };
        let accepted = tokio::task::spawn_blocking(move || work.accept(held)).await;
        let unusable = |why: String| AcceptError::Unusable { name: name.into(), why };
        let (note, judged) =
            accepted.map_err(|error| unusable(error.to_string()))?.map_err(|failure| match failure {
                Failure::Disk(error) => AcceptError::Disk { name: name.into(), error },
                Failure::Fetch(error) => unusable(error.to_string()),
                Failure::Judge(error) => unusable(error.to_string()),
                Failure::Damaged => unusable("it is damaged".into()),
            })?;
        if let Some(entry) = self.entries().get_mut(name) {
            (entry.good, entry.held, entry.error) = (Some(note), None, None);
        }
        Ok(refreshed(name, &judged, true))
    }

    /// The last good file of a subscription, unpacked; none if there is none yet.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<PathBuf> {
        let entries = self.entries();
        let entry = entries.get(name)?;
        entry.good.as_ref()?;
        Some(self.folder.file(&entry.subscription, Which::Good))
    }

    /// Every subscription, by name.
    #[must_use]
    pub fn states(&self) -> Vec<State> {
        self.entries().values().map(Entry::state).collect()
    }

    fn start(&self, subscription: Subscription, now: Timestamp) -> Entry {
        let good = self.folder.note(&subscription, Which::Good);
        let held = self.folder.note(&subscription, Which::Held).filter(|note| note.is_of(&subscription));
        let checked = good.as_ref().filter(|note| note.is_of(&subscription)).map(|note| note.checked);
        let mut entry = Entry {
            next: now,
            subscription: Arc::new(subscription),
            good,
            held,
            failures: 0,
            error: None,
            rolls: 0,
            turn: Arc::default(),
        };
        let roll = entry.roll(self.seed);
        entry.next = schedule::at_start(now, checked, entry.subscription.interval(), roll);
        entry
    }

    async fn refresh_all(&self, names: Vec<String>, own: &[IpNet], now: Timestamp) -> Vec<Happening> {
        let refreshes = names.into_iter().map(|name| async move { self.refresh_one(&name, own, now).await });
        stream::iter(refreshes).buffer_unordered(MAX_AT_ONCE).filter_map(std::future::ready).collect().await
    }

    async fn refresh_one(&self, name: &str, own: &[IpNet], now: Timestamp) -> Option<Happening> {
        let (subscription, turn) = self.find(name)?;
        let _turn = turn.lock().await;
        let good = self.good(name);
        let outcome = self.attempt(&subscription, good, own, now).await;
        let mut entries = self.entries();
        // A new config may have come in between: then what was fetched is on disk, and the new entry is due anyway.
        let entry = entries.get_mut(name).filter(|entry| Arc::ptr_eq(&entry.subscription, &subscription))?;
        let happening = entry.settle(name, outcome, now, self.seed);
        match &happening {
            Happening::Refreshed { .. } => tracing::info!(list = name, "{happening}"),
            Happening::Held { again: false, .. } | Happening::Failed { again: false, .. } => {
                tracing::warn!(list = name, "{happening}");
            }
            Happening::Unchanged { .. } | Happening::Held { .. } | Happening::Failed { .. } => {
                tracing::debug!(list = name, "{happening}");
            }
        }
        Some(happening)
    }

    async fn attempt(
        &self,
        subscription: &Arc<Subscription>,
        good: Option<Note>,
        own: &[IpNet],
        now: Timestamp,
    ) -> Result<Outcome, Failure> {
        let held = self.entries().get(&subscription.name).and_then(|entry| entry.held.clone());
        let (folder, of) = (self.folder.clone(), Arc::clone(subscription));
        let (good, held) = tokio::task::spawn_blocking(move || {
            // A file that was changed behind our back is not what the server would call unchanged.
            let checked = |note: Option<Note>, which| {
                let mut note = note?;
                if !folder.read(&of, which).is_ok_and(|bytes| bytes.is_some_and(|bytes| note.fits(&bytes))) {
                    note.forget();
                }
                Some(note)
            };
            (checked(good, Which::Good), checked(held, Which::Held).filter(|note| note.is_of(&of)))
        })
        .await
        .map_err(|error| Failure::Disk(io::Error::other(error)))?;
        // What the server is asked about is the newest file seen, be it in force or held.
        let known = held.as_ref().or(good.as_ref()).filter(|note| note.is_of(subscription));
        let known = known.map(|note| note.validators.clone()).unwrap_or_default();
        let fetched = fetch(&self.web, subscription, &known, own).await.map_err(Failure::Fetch)?;
        let work = Work {
            folder: self.folder.clone(),
            subscription: Arc::clone(subscription),
            good,
            own: own.into(),
            seed: self.seed,
            now,
        };
        tokio::task::spawn_blocking(move || match fetched {
            Fetched::Unchanged => work.unchanged(held),
            Fetched::File { bytes, validators } => work.take(&bytes, validators, held),
        })
        .await
        .map_err(|error| Failure::Disk(io::Error::other(error)))?
    }

    fn find(&self, name: &str) -> Option<(Arc<Subscription>, Arc<tokio::sync::Mutex<()>>)> {
        let entries = self.entries();
        let entry = entries.get(name)?;
        Some((Arc::clone(&entry.subscription), Arc::clone(&entry.turn)))
    }

    fn good(&self, name: &str) -> Option<Note> {
        self.entries().get(name).and_then(|entry| entry.good.clone())
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What came of a refresh.
enum Outcome {
    /// The same as before; the note says when that was found out.
    Unchanged(Option<Note>),
    /// In force.
    Taken(Note, Judged),
    /// The guard holds it.
    Held { note: Note, again: bool },
}

/// Why a refresh failed.
enum Failure {
    Fetch(FetchError),
    Judge(JudgeError),
    Damaged,
    Disk(io::Error),
}

impl Entry {
    fn roll(&mut self, seed: u64) -> u64 {
        self.rolls += 1;
        FixedState::with_seed(seed).hash_one((&self.subscription.name, self.rolls))
    }

    fn settle(
        &mut self,
        name: &str,
        outcome: Result<Outcome, Failure>,
        now: Timestamp,
        seed: u64,
    ) -> Happening {
        let (roll, interval) = (self.roll(seed), self.subscription.interval());
        let failure = match outcome {
            Ok(outcome) => {
                (self.failures, self.error) = (0, None);
                self.next = schedule::after_success(now, interval, roll);
                return match outcome {
                    Outcome::Unchanged(note) => {
                        self.good = note.or_else(|| self.good.take());
                        Happening::Unchanged { name: name.into() }
                    }
                    Outcome::Taken(note, judged) => {
                        (self.good, self.held) = (Some(note), None);
                        refreshed(name, &judged, false)
                    }
                    Outcome::Held { note, again } => {
                        let happening = Happening::Held {
                            name: name.into(),
                            entries: note.entries,
                            rejected: note.rejected,
                            why: note.held.clone().unwrap_or_default(),
                            again,
                        };
                        self.held = Some(note);
                        happening
                    }
                };
            }
            Err(failure) => failure,
        };
        let (why, wait) = failure.words();
        let again = self.error.as_ref() == Some(&why);
        self.failures = self.failures.saturating_add(1);
        self.next = schedule::after_failure(now, interval, self.failures, wait, roll);
        self.error = Some(why.clone());
        let entries = self.good.as_ref().map_or(0, |note| note.entries);
        Happening::Failed { name: name.into(), entries, why, retry: self.next, again }
    }

    fn state(&self) -> State {
        let good = self.good.as_ref();
        State {
            name: self.subscription.name.clone(),
            kind: self.subscription.kind.clone(),
            location: self.subscription.location.to_string(),
            entries: good.map_or(0, |note| note.entries),
            rejected: good.map_or(0, |note| note.rejected),
            rejects: good.map(|note| note.rejects.clone()).unwrap_or_default(),
            fetched: good.map(|note| note.fetched),
            checked: good.map(|note| note.checked),
            next: self.next,
            failures: self.failures,
            error: self.error.clone(),
            held: self.held.as_ref().map(|note| Held {
                why: note.held.clone().unwrap_or_default(),
                entries: note.entries,
                since: note.fetched,
            }),
        }
    }
}

impl Failure {
    fn words(&self) -> (String, Option<Duration>) {
        match self {
            Self::Fetch(FetchError::Status { retry_after, .. }) => (self.text(), *retry_after),
            Self::Fetch(_) | Self::Judge(_) | Self::Damaged | Self::Disk(_) => (self.text(), None),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Fetch(error) => error.to_string(),
            Self::Judge(error) => error.to_string(),
            Self::Damaged => "the file on disk is damaged".into(),
            Self::Disk(error) => format!("the file cannot be kept: {error}"),
        }
    }
}

/// The part of a refresh that works on whole files; it runs beside the runtime.
struct Work {
    folder: Folder,
    subscription: Arc<Subscription>,
    good: Option<Note>,
    own: Arc<[IpNet]>,
    seed: u64,
    now: Timestamp,
}

impl Work {
    fn unchanged(self, held: Option<Note>) -> Result<Outcome, Failure> {
        if let Some(note) = held {
            return Ok(Outcome::Held { note, again: true });
        }
        let Some(mut note) = self.good else { return Ok(Outcome::Unchanged(None)) };
        note.checked = self.now;
        self.folder.write_note(&self.subscription, Which::Good, &note).map_err(Failure::Disk)?;
        Ok(Outcome::Unchanged(Some(note)))
    }

    fn take(self, bytes: &[u8], validators: Validators, held: Option<Note>) -> Result<Outcome, Failure> {
        let former = self.former();
        let is_same =
            self.good.as_ref().is_some_and(|good| good.is_of(&self.subscription) && good.fits(bytes));
        if is_same && former.is_some() {
            self.folder.drop_held(&self.subscription);
            let good = self.good.clone().map(|good| Note { validators, ..good });
            return Work { good, ..self }.unchanged(None).map(|outcome| match (outcome, held) {
                // What was held is gone: that the former file came back is a change for whoever looks.
                (Outcome::Unchanged(Some(note)), Some(_)) => {
                    let judged =
                        Judged { entries: note.entries, rejected: note.rejected, ..Judged::default() };
                    Outcome::Taken(note, judged)
                }
                (outcome, _) => outcome,
            });
        }
        let judged = judge(&self.subscription.kind, bytes, former.as_deref(), &self.own, self.seed)
            .map_err(Failure::Judge)?;
        let mut note = Note::new(&self.subscription, bytes, validators, &judged, self.now);
        // Another place is another list: only one and the same can shrink or grow.
        let known = self.good.as_ref().filter(|good| good.is_of(&self.subscription) && former.is_some());
        if let Err(why) = judged.guard(known.map(|good| (good.entries, good.dangers()))) {
            note.held =
                Some(format!("{why}; `secctl lists accept {}` lets it through", self.subscription.name));
            let again = held.is_some_and(|held| held.fits(bytes));
            self.folder.write(&self.subscription, Which::Held, bytes, &note).map_err(Failure::Disk)?;
            return Ok(Outcome::Held { note, again });
        }
        self.folder.write(&self.subscription, Which::Good, bytes, &note).map_err(Failure::Disk)?;
        self.folder.drop_held(&self.subscription);
        Ok(Outcome::Taken(note, judged))
    }

    fn accept(self, held: Note) -> Result<(Note, Judged), Failure> {
        let bytes = self.folder.read(&self.subscription, Which::Held).map_err(Failure::Disk)?;
        let Some(bytes) = bytes.filter(|bytes| held.fits(bytes)) else { return Err(Failure::Damaged) };
        let former = self.former();
        let judged = judge(&self.subscription.kind, &bytes, former.as_deref(), &self.own, self.seed)
            .map_err(Failure::Judge)?;
        let mut note = Note::new(&self.subscription, &bytes, held.validators, &judged, self.now);
        note.fetched = held.fetched;
        self.folder.write(&self.subscription, Which::Good, &bytes, &note).map_err(Failure::Disk)?;
        self.folder.drop_held(&self.subscription);
        Ok((note, judged))
    }

    /// The bytes of the last good file. One that cannot be read counts as none: a fresh one mends it.
    fn former(&self) -> Option<Vec<u8>> {
        self.good.as_ref()?;
        match self.folder.read(&self.subscription, Which::Good) {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::warn!(list = self.subscription.name, %error, "the last good file cannot be read");
                None
            }
        }
    }
}

fn refreshed(name: &str, judged: &Judged, accepted: bool) -> Happening {
    Happening::Refreshed {
        name: name.into(),
        entries: judged.entries,
        rejected: judged.rejected,
        delta: judged.delta,
        accepted,
    }
}
