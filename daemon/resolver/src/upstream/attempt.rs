//! One upstream, asked once.

use hickory_proto::op::Message;
use std::{io, sync::Arc};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

use super::{
    encrypted::{Https, Tls},
    health::Health,
    limits::MAX_IN_FLIGHT_PER_UPSTREAM,
    plain::Plain,
    question::Outgoing,
    settings::{Server, Transport},
};

pub(crate) use super::encrypted::Secrets;

/// One upstream with what is remembered of it.
pub(crate) struct Upstream {
    pub(crate) name: Arc<str>,
    pub(crate) health: Arc<Health>,
    places: Semaphore,
    way: Way,
}

enum Way {
    Plain(Plain),
    Tls(Tls),
    Https(Https),
}

/// Why one attempt brought nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttemptError {
    #[error("timed out")]
    Timeout,
    #[error("{0}")]
    Socket(#[from] io::Error),
    #[error("no socket to ask from: {0}")]
    NoSocket(io::Error),
    #[error("unreadable answer")]
    Unreadable,
    #[error("already has {MAX_IN_FLIGHT_PER_UPSTREAM} questions to answer")]
    Busy,
    #[error("{0}")]
    Encryption(String),
    #[error("HTTP status {0}")]
    Status(u16),
    #[error("its name could not be resolved: {0}")]
    Name(String),
}

impl AttemptError {
    /// Whether it speaks against the upstream, and not against ourselves.
    fn is_its_fault(&self) -> bool {
        match self {
            Self::NoSocket(_) | Self::Busy => false,
            Self::Timeout
            | Self::Socket(_)
            | Self::Unreadable
            | Self::Encryption(_)
            | Self::Status(_)
            | Self::Name(_) => true,
        }
    }
}

impl Upstream {
    pub(crate) fn new(server: &Server, secrets: &Arc<Secrets>) -> Self {
        Self {
            name: server.spelling(),
            health: Arc::default(),
            places: Semaphore::new(MAX_IN_FLIGHT_PER_UPSTREAM),
            way: match &server.transport {
                Transport::Plain(address) => Way::Plain(Plain::new(*address)),
                Transport::Tls(host) => Way::Tls(Tls::new(host.clone(), Arc::clone(secrets))),
                Transport::Https(host, path) => {
                    Way::Https(Https::new(host.clone(), Arc::clone(path), Arc::clone(secrets)))
                }
            },
        }
    }

    /// Asks, and remembers how it went.
    pub(crate) async fn ask(&self, outgoing: &Outgoing, until: Instant) -> Result<Message, AttemptError> {
        let _place = self.places.try_acquire().map_err(|_| AttemptError::Busy)?;
        let start = Instant::now();
        self.health.asked();
        let result = timeout_at(until, async {
            match &self.way {
                Way::Plain(plain) => plain.ask(outgoing, &self.health).await,
                Way::Tls(tls) => tls.ask(outgoing, &self.health).await,
                Way::Https(https) => https.ask(outgoing, &self.health).await,
            }
        })
        .await
        .unwrap_or(Err(AttemptError::Timeout));
        match &result {
            Ok(_) => self.health.answered(start.elapsed()),
            Err(error) if error.is_its_fault() => self.health.failed(Instant::now()),
            Err(_) => {}
        }
        result
    }
}
