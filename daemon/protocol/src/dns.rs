//! Groups and clients of the resolver, pauses, and what a client would be answered.

use model::{ClientName, Mode, Name, Timestamp};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

use crate::{Lasting, Order, Why};

/// Reply to `GET /v1/dns/groups`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsGroups {
    /// All groups, `default` first, as in the config.
    pub groups: Vec<DnsGroupRow>,
    /// Until when nothing is blocked for anybody.
    pub paused_until: Option<Timestamp>,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsGroupRow {
    /// Its name.
    pub name: String,
    /// It is in force now.
    pub in_force: bool,
    /// Its schedule.
    pub schedule: Option<String>,
    /// When that begins or ceases to hold.
    pub next_change: Option<Timestamp>,
    /// Until when it is paused, alone or with all others.
    pub paused_until: Option<Timestamp>,
    /// How a blocked name is answered.
    pub blocking: String,
    /// Its mode.
    pub mode: Mode,
    /// Lists of names that hold for it.
    pub lists: Vec<String>,
    /// Services that are blocked.
    pub services: Vec<String>,
    /// Safe versions of search engines.
    pub safe_search: bool,
    /// Clients of the config that are in it.
    pub clients: Vec<String>,
    /// Comment.
    pub comment: Option<String>,
}

/// Reply to `GET /v1/dns/clients`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsClients {
    /// Those of the config, in its order.
    pub clients: Vec<DnsClientRow>,
}

/// A client of the config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsClientRow {
    /// Its name.
    pub name: String,
    /// What names it.
    pub who: Vec<String>,
    /// Its groups.
    pub groups: Vec<String>,
    /// Addresses of devices that are seen now and found to be it.
    pub addresses: Vec<IpAddr>,
    /// Names of these devices by their leases.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// One of the MAC addresses that name it is randomised: the device may have another one later.
    #[serde(default)]
    pub randomised: bool,
    /// Comment.
    pub comment: Option<String>,
}

/// `POST /v1/dns/pause`: nothing is blocked for a time, or that ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DnsPauseOrder {
    /// The group; null = everything for everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// For how long; null ends the pause, with no group every one.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasting: Option<Lasting>,
    /// Who asks.
    pub user: String,
}

impl DnsPauseOrder {
    /// Longest pause, in seconds: a day. For longer, change the config.
    pub const MAX_SECONDS: u64 = 86_400;

    /// Checks what the types do not.
    ///
    /// # Errors
    /// Says what is too long or too short.
    pub fn check(&self) -> Result<(), String> {
        if self.user.is_empty() || self.user.len() > Order::MAX_USER {
            return Err(format!("the user name must have 1 to {} bytes", Order::MAX_USER));
        }
        match self.lasting {
            Some(Lasting(lasting)) if lasting.as_secs() == 0 || lasting.as_secs() > Self::MAX_SECONDS => {
                Err("a pause lasts from 1s to 1d".into())
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Reply to a [`DnsPauseOrder`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsPaused {
    /// The group; null = everything.
    pub group: Option<String>,
    /// Until when; null = no longer.
    pub until: Option<Timestamp>,
    /// There was something to end, or a pause began.
    pub changed: bool,
    /// What the person should know besides.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// A pause, as the status has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsPause {
    /// The group; null = everything.
    pub group: Option<String>,
    /// Until when.
    pub until: Timestamp,
}

/// `GET /v1/dns/test?…`: what somebody would be answered now. It is asked as they would ask, and stands in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsTestQuery {
    /// The name.
    pub name: Name,
    /// Who asks: a client of the config or an address. Left out: this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientName>,
    /// The type, `A` if left out.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub qtype: Option<String>,
}

/// Reply to a [`DnsTestQuery`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsTest {
    /// The type that was asked for.
    pub qtype: String,
    /// The address that was asked from.
    pub address: IpAddr,
    /// The answer code; null if there is no answer.
    pub code: Option<String>,
    /// The records of the answer.
    pub records: Vec<String>,
    /// What the answer itself says about why.
    pub said: Option<String>,
    /// The alias or address behind the name that decides.
    pub behind: Option<String>,
    /// It is answered here and never asked of an upstream.
    pub special: bool,
    /// Why.
    pub why: Why,
}
