//! Who is known to be welcome for a while: sources of a successful login, and sessions that are open now.
//!
//! Someone who has just logged in and mistypes a password somewhere else is told of, not banned.

use ipnet::IpNet;
use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    time::Duration,
};

/// Sources of logins that are remembered. When full, the oldest goes.
pub const MAX_LOGINS: usize = 4_096;
/// Sessions that are looked at.
pub const MAX_SESSIONS: usize = 256;

/// Who is welcome, and since when.
#[derive(Debug, Default)]
pub struct Known {
    /// Nanoseconds since boot.
    logins: HashMap<IpAddr, u64>,
    sessions: BTreeSet<IpAddr>,
}

/// Why somebody is welcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Welcome {
    /// Of an open session.
    Session(IpAddr),
    /// Of a login.
    Login(IpAddr),
}

impl Known {
    /// Somebody logged in from there.
    pub fn login(&mut self, from: IpAddr, boot: u64) {
        let from = from.to_canonical();
        if self.logins.len() >= MAX_LOGINS && !self.logins.contains_key(&from) {
            let oldest = self.logins.iter().min_by_key(|(address, at)| (**at, **address));
            if let Some(oldest) = oldest.map(|(address, _)| *address) {
                self.logins.remove(&oldest);
            }
        }
        self.logins.insert(from, boot);
    }

    /// The sessions that are open now.
    pub fn sessions(&mut self, open: impl IntoIterator<Item = IpAddr>) {
        // One's own machine needs no protection, and nobody comes from everywhere.
        let real = |address: &IpAddr| !address.is_loopback() && !address.is_unspecified();
        let open = open.into_iter().map(|address| address.to_canonical()).filter(real);
        self.sessions = open.take(MAX_SESSIONS).collect();
    }

    /// Whether a ban of `net` would hit somebody with an open session.
    #[must_use]
    pub fn session_in(&self, net: IpNet) -> Option<Welcome> {
        self.sessions.iter().find(|address| net.contains(*address)).map(|address| Welcome::Session(*address))
    }

    /// Whether a ban of `net` would hit somebody who logged in less than `lasting` ago.
    #[must_use]
    pub fn login_in(&self, net: IpNet, lasting: Duration, boot: u64) -> Option<Welcome> {
        let lasting = u64::try_from(lasting.as_nanos()).unwrap_or(u64::MAX);
        let recent = |at: u64| boot.saturating_sub(at) < lasting;
        let mut hit = self.logins.iter().filter(|(address, at)| net.contains(*address) && recent(**at));
        hit.next().map(|(address, _)| Welcome::Login(*address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_login_protects_its_address_and_what_holds_it_for_a_while() {
        let mut known = Known::default();
        known.login("::ffff:192.0.2.7".parse().unwrap(), 100 * SECOND);
        let hit = |net: &str, at: u64| {
            known.login_in(net.parse().unwrap(), Duration::from_secs(60), at * SECOND).is_some()
        };
        assert!(hit("192.0.2.7/32", 100) && hit("192.0.2.0/24", 159));
        assert!(!hit("192.0.2.8/32", 100) && !hit("192.0.2.7/32", 160));
        assert_eq!(known.login_in("192.0.2.7/32".parse().unwrap(), Duration::ZERO, 100 * SECOND), None);
    }

    #[test]
    fn a_full_table_drops_the_oldest() {
        let mut known = Known::default();
        let address = |n: u64| IpAddr::from(std::net::Ipv4Addr::from(u32::try_from(n).unwrap()));
        let most = MAX_LOGINS as u64;
        for n in 0..=most {
            known.login(address(n), n);
        }
        let hit = |n| known.login_in(address(n).into(), Duration::from_secs(60), most).is_some();
        assert_eq!((known.logins.len(), hit(0), hit(1), hit(most)), (MAX_LOGINS, false, true, true));
    }

    #[test]
    fn sessions_are_those_of_now() {
        let mut known = Known::default();
        known.sessions(["10.1.0.5", "127.0.0.1", "0.0.0.0"].map(|text| text.parse().unwrap()));
        assert!(known.session_in("10.1.0.0/24".parse().unwrap()).is_some());
        assert!(known.session_in("127.0.0.0/8".parse().unwrap()).is_none());
        known.sessions([]);
        assert!(known.session_in("10.1.0.5/32".parse().unwrap()).is_none());
    }
}
