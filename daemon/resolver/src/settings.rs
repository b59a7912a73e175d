//! What the resolver is told.

use ipnet::IpNet;
use model::Mode;
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use crate::limits::{MAX_CACHE_ENTRIES, MAX_LISTENERS, MAX_UPSTREAMS};

/// Settings of the resolver, from the config.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Addresses to answer on, UDP and TCP. Concrete ones: from a wildcard (`0.0.0.0`) the system chooses the source of
    /// an answer, which on a router may be another address than the client asked.
    pub listen: Vec<SocketAddr>,
    /// Upstreams in the order of preference.
    pub upstreams: Vec<SocketAddr>,
    /// Observe judges, tells and answers as if nothing were listed.
    pub mode: Mode,
    /// Answers that are cached; 0 = no cache.
    pub cache_entries: usize,
    /// Who is answered: the most specific network that holds the client names its zone. Others get no answer.
    pub clients: Vec<ClientNetwork>,
}

/// A network whose clients are answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientNetwork {
    /// The network.
    pub net: IpNet,
    /// Its zone, as events name it.
    pub zone: Arc<str>,
}

/// Why the resolver cannot start or take new settings. The old ones stay.
#[derive(Debug, thiserror::Error)]
pub enum ResolverError {
    /// More than a limit allows.
    #[error("{count} {what}, at most {limit} are possible")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// Nobody to ask.
    #[error("there is an address to listen on, but no upstream to ask: give dns.upstreams at least one")]
    NoUpstreams,
    /// It would ask itself.
    #[error("the upstream {0} is an address this resolver listens on: it would ask itself")]
    AsksItself(SocketAddr),
    /// A socket could not be opened.
    #[error("cannot listen on {address}/{transport}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// `udp` or `tcp`.
        transport: &'static str,
        /// What the system says.
        error: std::io::Error,
    },
}

impl Settings {
    /// Checks what can be said without opening a socket.
    ///
    /// # Errors
    /// What is wrong and what to write.
    pub fn check(&self) -> Result<(), ResolverError> {
        for (what, count, limit) in [
            ("upstreams", self.upstreams.len(), MAX_UPSTREAMS),
            ("addresses to listen on", self.listen.len(), MAX_LISTENERS),
            ("cache entries", self.cache_entries, MAX_CACHE_ENTRIES),
        ] {
            if count > limit {
                return Err(ResolverError::TooMany { what, count, limit });
            }
        }
        if !self.listen.is_empty() && self.upstreams.is_empty() {
            return Err(ResolverError::NoUpstreams);
        }
        match self.upstreams.iter().find(|upstream| self.listen.contains(upstream) && upstream.port() != 0) {
            Some(&upstream) => Err(ResolverError::AsksItself(upstream)),
            None => Ok(()),
        }
    }

    /// The zone of a client; none if it is not to be answered.
    #[must_use]
    pub fn zone_of(&self, client: IpAddr) -> Option<Arc<str>> {
        let client = client.to_canonical();
        self.clients
            .iter()
            .filter(|network| network.net.contains(&client))
            .max_by_key(|network| network.net.prefix_len())
            .map(|network| Arc::clone(&network.zone))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let here: SocketAddr = "127.0.0.1:53".parse().unwrap();
        let settings = Settings { listen: vec![here], ..Settings::default() };
        assert!(matches!(settings.check(), Err(ResolverError::NoUpstreams)));
        let settings = Settings { upstreams: vec![here], ..settings };
        assert!(matches!(settings.check(), Err(ResolverError::AsksItself(_))));
        let settings = Settings { upstreams: vec![here; MAX_UPSTREAMS + 1], listen: vec![], ..settings };
        assert!(matches!(settings.check(), Err(ResolverError::TooMany { .. })));
        assert!(Settings::default().check().is_ok(), "no listener: DNS is off");
    }

    #[test]
    fn the_most_specific_network_names_the_zone() {
        let network = |net: &str, zone: &str| ClientNetwork { net: net.parse().unwrap(), zone: zone.into() };
        let settings = Settings {
            clients: vec![
                network("10.0.0.0/8", "home"),
                network("10.4.0.0/24", "iot"),
                network("fd00:4::/64", "iot"),
            ],
            ..Settings::default()
        };
        let zone = |client: &str| settings.zone_of(client.parse().unwrap()).map(|zone| zone.to_string());
        assert_eq!(zone("10.4.0.9").as_deref(), Some("iot"));
        assert_eq!(zone("::ffff:10.4.0.9").as_deref(), Some("iot"));
        assert_eq!(zone("10.5.0.9").as_deref(), Some("home"));
        assert_eq!(zone("fd00:4::1").as_deref(), Some("iot"));
        assert_eq!(zone("192.0.2.1"), None);
    }
}
