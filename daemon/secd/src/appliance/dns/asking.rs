//! Who asks, and what they would be answered.

use config::Dns;
use lists::{Clients, Facts, Who};
use model::ClientName;
use protocol::{DnsClientRow, DnsClients, DnsTest, DnsTestQuery, ErrorReply, Subject, WhyClient};
use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use super::group_names;
use crate::{
    appliance::{Appliance, Current},
    decisions::Failure,
    why::Asking,
};

/// With what a client is seen now.
#[derive(Default)]
struct Seen {
    addresses: Vec<IpAddr>,
    /// Its names by its leases.
    hosts: BTreeSet<String>,
}

impl Appliance {
    /// Every client of the config.
    pub fn dns_clients(&self) -> DnsClients {
        let current = self.current.load_full();
        let dns = &current.loaded.config.dns;
        let seen = self.seen_clients(&current, &dns.list_clients());
        let row = |client: &config::DnsClient| DnsClientRow {
            name: client.name.clone(),
            who: client.who.iter().map(ToString::to_string).collect(),
            groups: group_names(dns, client.groups),
            addresses: seen.get(&client.name).map(|seen| seen.addresses.clone()).unwrap_or_default(),
            hosts: seen
                .get(&client.name)
                .map(|seen| seen.hosts.iter().cloned().collect())
                .unwrap_or_default(),
            randomised: client.who.iter().any(|who| matches!(who, Who::Mac(mac) if mac.is_randomised())),
            comment: client.comment.clone(),
        };
        DnsClients { clients: dns.clients.iter().map(row).collect() }
    }

    /// Addresses of devices that are seen now, by the client they are found to be.
    fn seen_clients(&self, current: &Current, clients: &Clients) -> HashMap<String, Seen> {
        let mut seen: HashMap<String, Seen> = HashMap::new();
        let (macs, hosts) = (self.dns.macs.load(), self.dns.hosts.load());
        let leased = hosts.iter().flat_map(|host| &host.addresses).copied();
        let addresses: BTreeSet<IpAddr> = macs.keys().copied().chain(leased).collect();
        for address in addresses {
            let mac = macs.get(&address).copied();
            let host = hosts.name_of(address, mac);
            let zone = current.loaded.config.policy.zone_of(address).map_or("", |zone| zone.name.as_str());
            let facts = Facts { address, mac: mac.map(|mac| mac.0), host: host.map(|host| &**host), zone };
            let client = clients.find(&facts);
            if !client.name.is_empty() {
                let seen = seen.entry(client.name.to_string()).or_default();
                seen.addresses.push(address);
                seen.hosts.extend(host.map(ToString::to_string));
            }
        }
        seen
    }

    /// Who is meant by a client that a person names.
    ///
    /// # Errors
    /// 404 the config has no client of this name.
    pub(in crate::appliance) fn asking(
        &self,
        current: &Current,
        named: &ClientName,
    ) -> Result<Asking, Failure> {
        let config = &current.loaded.config;
        let clients = config.dns.list_clients();
        let (client, known_by, address) = match named.address() {
            Some(address) => {
                let (mac, host) = self.dns.device(address);
                let zone = config.policy.zone_of(address).map_or("", |zone| zone.name.as_str());
                let facts = Facts { address, mac: mac.map(|mac| mac.0), host: host.as_deref(), zone };
                let known_by = clients.named_by(&facts).map(|(_, who)| who.to_string());
                (clients.find(&facts), known_by, Some(address))
            }
            None => {
                let client = clients.get(named.as_str()).ok_or_else(|| no_client(named, &config.dns))?;
                let seen = self.seen_clients(current, &clients);
                let written = config.dns.clients.iter().find(|known| known.name == named.as_str());
                let address = seen.get(named.as_str()).and_then(|seen| seen.addresses.first().copied());
                let address = address.or_else(|| {
                    let all = written.into_iter().flat_map(|client| &client.who);
                    all.filter_map(|who| address_of(who, current)).next()
                });
                let who: Vec<String> =
                    written.into_iter().flat_map(|client| &client.who).map(ToString::to_string).collect();
                (client.clone(), Some(who.join(", ")), address)
            }
        };
        let (states, in_force) = self.groups_now(&current.loaded);
        let off = client.groups.places().filter_map(|place| {
            let (group, state) = (config.dns.groups.get(place)?, states.get(place)?);
            let why = match (&state.paused_until, &state.schedule) {
                (Some(until), _) => format!("paused until {until}"),
                (None, Some((schedule, false))) => format!("schedule {schedule}"),
                (None, Some((_, true)) | None) => return None,
            };
            Some(format!("{} ({why})", group.name))
        });
        let groups = client.groups.and(in_force);
        Ok(Asking {
            named: named.clone(),
            client: client.name.to_string(),
            address,
            groups,
            told: WhyClient {
                name: (!client.name.is_empty()).then(|| client.name.to_string()),
                known_by,
                groups: group_names(&config.dns, groups),
                off: off.collect(),
            },
        })
    }

    /// What somebody would be answered now, and why.
    ///
    /// # Errors
    /// 400 no such type, 404 no such client, 409 DNS is off or no address of the client is known.
    pub async fn dns_test(&self, query: DnsTestQuery) -> Result<DnsTest, Failure> {
        let current = self.current.load_full();
        let text = query.qtype.as_deref().unwrap_or("A").to_ascii_uppercase();
        let qtype = lists::type_number(&text).ok_or_else(|| {
            let message = format!("there is no record type `{text}`");
            (400, ErrorReply::new(message, Some("write for example A, AAAA, HTTPS, TXT or TYPE65")))
        })?;
        let named = query.client.clone();
        let address = match &named {
            None => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Some(named) => self.asking(&current, named)?.address.ok_or_else(|| {
                let message = format!("no address of {named} is known now");
                (409, ErrorReply::new(message, Some("give one of its addresses: `--client 10.4.0.9`")))
            })?,
        };
        let as_address: ClientName =
            address.to_string().parse().map_err(|message: String| (400, ErrorReply::new(message, None)))?;
        let target = model::Target::Domain(query.name.clone());
        let client = named.unwrap_or(as_address);
        let target = target.clone().for_client(client).unwrap_or(target);
        let engine = match self.resolver.read().await.as_ref() {
            Some(resolver) => Arc::clone(resolver.engine()),
            None => {
                return Err((409, ErrorReply::new("DNS is off", Some("set `listen` under [dns]"))));
            }
        };
        let probed = engine.probe(&query.name, qtype, address).await;
        let judged = engine.why(&query.name, &[qtype], Some(address));
        let why = self.why(&Subject::Target(target))?;
        let (code, records, said) = probed
            .map_or((None, Vec::new(), None), |probed| (Some(probed.code), probed.records, probed.said));
        Ok(DnsTest {
            qtype: text,
            address,
            code,
            records,
            said,
            behind: judged.alias.or_else(|| judged.rebinding.map(|address| address.to_string())),
            special: judged.special,
            why,
        })
    }
}

fn no_client(named: &ClientName, dns: &Dns) -> Failure {
    let known: Vec<_> = dns.clients.iter().map(|client| client.name.as_str()).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    let message = format!("there is no client `{named}`; the clients are {known}");
    (404, ErrorReply::new(message, Some("name one of [dns.clients], or give an address")))
}

/// An address that somebody has whom this names; none where only the neighbour table or a lease would know.
fn address_of(who: &Who, current: &Current) -> Option<IpAddr> {
    match who {
        Who::Address(address) => Some(*address),
        Who::Network(net) => net.hosts().next(),
        Who::Zone(name) => {
            let zone = current.loaded.config.policy.zones.iter().find(|zone| zone.name == **name)?;
            zone.networks.first()?.hosts().next()
        }
        Who::Mac(_) | Who::Host(_) => None,
    }
}
