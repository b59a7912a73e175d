//! Sockets of the reflector: of each link one for every group that is listened to, one task each, and one engine
//! ([`discovery::Reflector`]) for all. A packet is judged where it is read; what a socket cannot send at once is lost and
//! counted, as on the link itself. What waits to be read is bounded by the sockets' buffers.

mod sockets;

use discovery::{Counts, Group, Link, Packet, Reflector, Send, limits::MAX_PACKET};
use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    io,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use sockets::{Door, LinkSockets};

/// How long a socket rests that cannot be read, as where its device is down.
const REST: Duration = Duration::from_secs(1);

/// What to reflect between which devices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The links, by number.
    pub links: Vec<Device>,
    /// Which of them find each other's services.
    pub groups: Vec<Group>,
    /// The router's addresses.
    pub own: Vec<IpAddr>,
}

/// A link, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Name of the device.
    pub name: String,
    /// Its index in the kernel; none = it is not there.
    pub index: Option<u32>,
    /// The link.
    pub link: Link,
}

/// A running reflector; ends when dropped.
#[derive(Debug)]
pub struct Handle {
    shared: Arc<Shared>,
    unopened: Vec<String>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    engine: Mutex<Reflector>,
    links: Vec<LinkSockets>,
    start: Instant,
    /// Packets that could not be sent.
    unsent: AtomicU64,
}

impl Handle {
    /// Opens the sockets and starts. Must be called inside a runtime.
    #[must_use]
    pub fn start(settings: &Settings) -> Self {
        let (mut links, mut unopened) = (Vec::new(), Vec::new());
        for (number, device) in settings.links.iter().enumerate() {
            let ssdp = settings.groups.iter().any(|group| group.ssdp && group.links.contains(&number));
            let (sockets, errors) = match device.index {
                Some(index) => LinkSockets::open(&device.name, index, ssdp),
                None => (LinkSockets::default(), vec![io::Error::other("there is no such device")]),
            };
            links.push(sockets);
            unopened.extend(errors.into_iter().map(|error| format!("{}: {error}", device.name)));
        }
        let key = (RandomState::new().hash_one(0), RandomState::new().hash_one(1));
        let own = settings.own.iter().copied();
        let engine = Reflector::new(
            settings.links.iter().map(|device| device.link.clone()).collect(),
            &settings.groups,
            own,
            key,
        );
        let shared = Arc::new(Shared {
            engine: Mutex::new(engine),
            links,
            start: Instant::now(),
            unsent: AtomicU64::new(0),
        });
        let mut tasks = JoinSet::new();
        for (link, sockets) in shared.links.iter().enumerate() {
            for door in sockets.doors() {
                tasks.spawn(Arc::clone(&shared).serve(link, door));
            }
        }
        Self { shared, unopened, _tasks: tasks }
    }

    /// Sockets that could not be opened, each a sentence; the others work.
    #[must_use]
    pub fn unopened(&self) -> &[String] {
        &self.unopened
    }

    /// How many packets came, went and were dropped, and how many could not be sent.
    #[must_use]
    pub fn counts(&self) -> (Counts, u64) {
        (self.shared.engine().counts().clone(), self.shared.unsent.load(Ordering::Relaxed))
    }
}

impl Shared {
    fn engine(&self) -> MutexGuard<'_, Reflector> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(self: Arc<Self>, link: usize, door: Door) {
        // One byte more shows that a packet is too long.
        let mut buffer = vec![0; MAX_PACKET + 1];
        loop {
            let (length, source) = match door.socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                Err(error) => {
                    tracing::debug!(%error, link, "a socket of the reflector cannot be read");
                    sleep(REST).await;
                    continue;
                }
            };
            let bytes = buffer.get(..length).unwrap_or_default();
            let packet = Packet { link, way: door.way, source, bytes };
            let sends = self.engine().take(&packet, self.start.elapsed());
            for send in &sends {
                self.send(send);
            }
        }
    }

    fn send(&self, send: &Send) {
        let sent = self.links.get(send.link).is_some_and(|link| match link.send(send) {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(%error, link = send.link, "a packet cannot be reflected");
                false
            }
        });
        if !sent {
            self.unsent.fetch_add(1, Ordering::Relaxed);
        }
    }
}
