//! What the resolver is told.

use ipnet::IpNet;
use lists::{Clients, Group, GroupSet};
use model::Mode;
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use crate::{
    Rate, UpstreamSettings,
    limits::{
        MAX_CACHE_BYTES, MAX_CACHE_ENTRIES, MAX_LISTENERS, MAX_NEGATIVE_TTL, MAX_TTL, MAX_UPSTREAMS,
        SINKHOLE_TTL,
    },
    upstream::Server,
};

/// Settings of the resolver, from the config.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Addresses to answer on, UDP and TCP. Concrete ones: from a wildcard (`0.0.0.0`) the system chooses the source of
    /// an answer, which on a router may be another address than the client asked.
    pub listen: Vec<SocketAddr>,
    /// Likewise by TLS, with [`crate::Sources::certificate`].
    pub listen_tls: Vec<SocketAddr>,
    /// Likewise by HTTPS at `/dns-query`.
    pub listen_https: Vec<SocketAddr>,
    /// Who is asked, and how.
    pub upstreams: UpstreamSettings,
    /// Observe judges, tells and answers as if nothing were listed.
    pub mode: Mode,
    /// What is kept of answers.
    pub cache: CacheSettings,
    /// Who is answered: the most specific network that holds the client names its zone. Others get no answer.
    pub clients: Vec<ClientNetwork>,
    /// What is blocked how, for whom.
    pub policy: Policy,
    /// Which private addresses may be in answers.
    pub rebinding: Rebinding,
    /// Questions a client may ask in a time; none = as many as it likes.
    pub rate: Option<Rate>,
    /// The encrypted way to this resolver, if there is one.
    pub designated: Option<Designated>,
}

/// What is blocked how, for whom.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Clients the config names.
    pub clients: Clients,
    /// All groups, by their bits; the first is `default`. Empty: `default` alone, which says nothing of its own.
    pub groups: Vec<Group>,
    /// Groups that are in force at first; see [`crate::Handle::set_in_force`].
    pub in_force: GroupSet,
    /// Seconds clients may keep a sinkhole answer.
    pub block_ttl: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            clients: Clients::default(),
            groups: Vec::new(),
            in_force: GroupSet::ALL,
            block_ttl: SINKHOLE_TTL,
        }
    }
}

/// What is kept of answers, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// Answers that are kept; 0 = none.
    pub entries: usize,
    /// Bytes of answers that are kept.
    pub bytes: usize,
    /// Seconds an answer is kept at least.
    pub min_ttl: u32,
    /// Seconds an answer is kept at most.
    pub max_ttl: u32,
    /// Seconds a negative answer is kept at most.
    pub negative_ttl: u32,
    /// Seconds an answer may stand in, past its time, for upstreams that do not answer (RFC 8767); 0 = never.
    pub serve_stale: u32,
    /// What is asked for often is asked anew ahead of its end.
    pub prefetch: bool,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            entries: 10_000,
            bytes: MAX_CACHE_BYTES,
            min_ttl: 0,
            max_ttl: MAX_TTL,
            negative_ttl: MAX_NEGATIVE_TTL,
            serve_stale: 86_400,
            prefetch: true,
        }
    }
}

/// Which private addresses may be in answers for public names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebinding {
    /// Such answers are not given.
    pub protect: bool,
    /// Names for which they are, with everything below them (lower case, without final dot). Names of this network,
    /// forwarded ones and those nobody can register need not be among them.
    pub allow: Vec<Box<str>>,
}

impl Default for Rebinding {
    fn default() -> Self {
        Self { protect: true, allow: Vec::new() }
    }
}

/// The encrypted way to this resolver, as clients discover it (RFC 9462).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Designated {
    /// The name its certificate is for; lower case, without final dot.
    pub name: Box<str>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Port of DNS over TLS.
    pub tls: Option<u16>,
    /// Port and path of DNS over HTTPS, the path as a template: `/dns-query{?dns}`.
    pub https: Option<(u16, Box<str>)>,
}

/// A network whose clients are answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientNetwork {
    /// The network.
    pub net: IpNet,
    /// Its zone, as events name it.
    pub zone: Arc<str>,
    /// Addresses its clients learn are told before they learn them ([`crate::Sink::resolved`]).
    pub resolved: bool,
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
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// TLS cannot be used.
    #[error("TLS cannot be used: {0}")]
    Tls(tokio_rustls::rustls::Error),
    /// A socket could not be opened.
    #[error("cannot listen on {address}/{transport}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// `udp`, `tcp`, `tls` or `https`.
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
        let listeners = self.listen.len() + self.listen_tls.len() + self.listen_https.len();
        for (what, count, limit) in [
            ("upstreams", self.upstreams.servers.len(), MAX_UPSTREAMS),
            ("addresses to listen on", listeners, MAX_LISTENERS),
            ("cache entries", self.cache.entries, MAX_CACHE_ENTRIES),
        ] {
            if count > limit {
                return Err(ResolverError::TooMany { what, count, limit });
            }
        }
        if listeners > 0 && self.upstreams.servers.is_empty() {
            return Err(ResolverError::NoUpstreams);
        }
        let forwards = self.upstreams.forwards.iter().flat_map(|forward| &forward.to);
        let plain = self.upstreams.servers.iter().chain(forwards).filter_map(Server::plain);
        match plain.chain(self.upstreams.bootstrap.iter().copied()).find(|asked| self.listen.contains(asked))
        {
            Some(upstream) => Err(ResolverError::AsksItself(upstream)),
            None => Ok(()),
        }
    }

    /// The most specific network of a client; none if it is not to be answered.
    #[must_use]
    pub fn network_of(&self, client: IpAddr) -> Option<&ClientNetwork> {
        let client = client.to_canonical();
        self.clients
            .iter()
            .filter(|network| network.net.contains(&client))
            .max_by_key(|network| network.net.prefix_len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let here: SocketAddr = "127.0.0.1:53".parse().unwrap();
        let asked =
            |count| UpstreamSettings { servers: vec![here.into(); count], ..UpstreamSettings::default() };
        let settings = Settings { listen: vec![here], ..Settings::default() };
        assert!(matches!(settings.check(), Err(ResolverError::NoUpstreams)));
        let settings = Settings { upstreams: asked(1), ..settings };
        assert!(matches!(settings.check(), Err(ResolverError::AsksItself(_))));
        let settings = Settings { upstreams: asked(MAX_UPSTREAMS + 1), listen: vec![], ..settings };
        assert!(matches!(settings.check(), Err(ResolverError::TooMany { .. })));
        assert!(Settings::default().check().is_ok(), "no listener: DNS is off");
    }

    #[test]
    fn the_most_specific_network_names_the_zone() {
        let network = |net: &str, zone: &str| ClientNetwork {
            net: net.parse().unwrap(),
            zone: zone.into(),
            resolved: false,
        };
        let settings = Settings {
            clients: vec![
                network("10.0.0.0/8", "home"),
                network("10.4.0.0/24", "iot"),
                network("fd00:4::/64", "iot"),
            ],
            ..Settings::default()
        };
        let zone = |client: &str| {
            settings.network_of(client.parse().unwrap()).map(|network| network.zone.to_string())
        };
        assert_eq!(zone("10.4.0.9").as_deref(), Some("iot"));
        assert_eq!(zone("::ffff:10.4.0.9").as_deref(), Some("iot"));
        assert_eq!(zone("10.5.0.9").as_deref(), Some("home"));
        assert_eq!(zone("fd00:4::1").as_deref(), Some("iot"));
        assert_eq!(zone("192.0.2.1"), None);
    }
}
