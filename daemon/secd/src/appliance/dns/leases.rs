//! Names of devices by their leases: who has which, told to the resolver, to policy and to people.

use config::{Dns, LeaseSource, RecordValue};
use leases::{Claim, Held, Hosts, Reserved};
use model::{Mac, Severity};
use resolver::Local;
use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::{Arc, MutexGuard, PoisonError},
};

use super::Shared;
use crate::{
    appliance::{Appliance, Current},
    clock,
    leases::{LeaseFiles, Look},
};

/// The setting in which is kept who has which name.
const HELD: &str = "host_names";
/// Claims that are told of at one look; the others are told as a number.
const TOLD_AT_ONCE: usize = 8;

/// Names of this network, as a person wrote them and with those of leases.
#[derive(Debug, Default)]
pub(super) struct Names {
    written: Local,
    domain: String,
    /// Those of before this daemon, until every source was read.
    held: Held,
}

impl Names {
    fn with(&self, hosts: &Hosts) -> (Local, Option<String>) {
        let mut local = self.written.clone();
        for host in hosts.iter().filter(|host| host.in_dns) {
            if let Err(full) = local.insert_host(&host.name, &self.domain, host.bare, &host.addresses) {
                return (local, Some(format!("not every lease has a name: {full}")));
            }
        }
        (local, None)
    }
}

impl Shared {
    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what a person wrote; names of leases stand beside it.
    pub(super) fn write_names(&self, dns: &Dns, written: Local) {
        let mut names = self.names();
        (names.written, names.domain) = (written, dns.local.domain.as_str().to_owned());
        self.local.store(Arc::new(names.with(&self.hosts.load()).0));
    }

    /// The device at an address: its MAC address by the neighbour table, and its name by its lease.
    pub(super) fn device(&self, address: IpAddr) -> (Option<Mac>, Option<Arc<str>>) {
        let mac = self.macs.load().get(&address).copied();
        (mac, self.hosts.load().name_of(address, mac).cloned())
    }
}

impl Appliance {
    /// The name of a device by its lease.
    pub(in crate::appliance) fn host_of(&self, mac: Mac) -> Option<String> {
        self.dns.hosts.load().name_of_mac(mac).map(ToString::to_string)
    }

    /// Who had which name before this daemon started. What cannot be read is nobody.
    pub(in crate::appliance) async fn recall_names(&self) {
        let kept = self.store.setting(HELD).await.ok().flatten();
        if let Some(held) = kept.and_then(|text| serde_json::from_str(&text).ok()) {
            self.dns.names().held = held;
        }
    }

    /// Looks at the leases and gives names by them. Called every few seconds, beside everything else: a file may be slow.
    pub(in crate::appliance) async fn look_at_leases(&self, mut files: LeaseFiles) -> LeaseFiles {
        let current = self.current.load_full();
        let sources: Vec<LeaseSource> = current.loaded.config.dns.local.leases.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let look = files.look(&sources);
            (files, look)
        });
        let Ok((files, look)) = looked.await else { return LeaseFiles::default() };
        let trouble = (!look.troubles.is_empty()).then(|| look.troubles.join("; "));
        self.trouble("leases", trouble);
        if let Some(held) = self.give_names(&current, &look) {
            let stored = match serde_json::to_string(&held) {
                Ok(text) => {
                    self.store.save_setting(HELD, Some(&text)).await.map_err(|error| error.to_string())
                }
                Err(error) => Err(error.to_string()),
            };
            if let Err(error) = stored {
                tracing::warn!(error, "who has which name is not kept over a restart");
            }
        }
        files
    }

    /// Gives names by these leases; who has which, if that changed and is to be kept.
    fn give_names(&self, current: &Current, look: &Look) -> Option<Held> {
        let former = self.dns.hosts.load_full();
        let mut names = self.dns.names();
        let config = &current.loaded.config;
        let own = &current.machine.addresses;
        let at_home = |address: IpAddr| {
            !own.contains(&address)
                && config.policy.zone_of(address).is_some_and(|zone| {
                    !zone.wan && zone.networks.iter().chain(&zone.routes).any(|net| net.contains(&address))
                })
        };
        let macs = self.dns.macs.load();
        let seen = |address: IpAddr| macs.get(&address).copied();
        let hosts =
            Hosts::new(&look.leases, &names.held, &reserved(&config.dns), clock::now().wall, at_home, seen);
        // Where a source was never read, who had a name there has not lost it.
        let held = hosts.held().clone();
        let held = if look.complete { held } else { held.or_former(&names.held) };
        let held = (held != names.held).then_some(held);
        if let Some(held) = &held {
            names.held = held.clone();
        }
        if hosts != *former {
            let (local, full) = names.with(&hosts);
            self.dns.local.store(Arc::new(local));
            self.tell_claims(former.claims(), hosts.claims());
            self.dns.hosts.store(Arc::new(hosts));
            drop(names);
            self.trouble("local names", full);
        }
        held
    }

    fn tell_claims(&self, former: &[Claim], claims: &[Claim]) {
        let former: BTreeSet<&Claim> = former.iter().collect();
        let new: Vec<&Claim> = claims.iter().filter(|claim| !former.contains(claim)).collect();
        for Claim { name, address, held_by } in new.iter().take(TOLD_AT_ONCE) {
            let why = match held_by {
                Some(holder) => format!("{holder} has it"),
                None => "it is taken by the config or by custom".to_owned(),
            };
            self.system(
                Severity::Notice,
                format!("{address} asks for the name {name} and does not get it: {why}"),
            );
        }
        let more = new.len().saturating_sub(TOLD_AT_ONCE);
        if more > 0 {
            self.system(Severity::Notice, format!("{more} more ask for names that they do not get"));
        }
    }
}

/// Names inside the domain that leases cannot have: those of records and everything above them, the resolver's own, those
/// that others are asked about, and the router's.
fn reserved(dns: &Dns) -> Reserved {
    let mut reserved = Reserved::default();
    let domain = dns.local.domain.as_str();
    let mut take = |name: &str, wildcard: bool, address: Option<IpAddr>| {
        let inside = name.strip_suffix(domain).and_then(|rest| rest.strip_suffix('.'));
        if name == domain {
            reserved.every_name |= wildcard;
        }
        // A name without a domain as well.
        let label = match (inside, name.contains('.')) {
            (Some(inside), _) => inside.rsplit('.').next().filter(|label| !label.is_empty()),
            (None, false) => Some(name),
            (None, true) => None,
        };
        if let Some(label) = label {
            let addresses = reserved.names.entry(label.into()).or_default();
            addresses.extend(address.filter(|_| inside.is_none_or(|inside| inside == label)));
        }
    };
    for record in &dns.records {
        let address = match &record.value {
            RecordValue::Address(address) => Some(*address),
            RecordValue::Cname(_) | RecordValue::Ptr(_) | RecordValue::Srv { .. } | RecordValue::Txt(_) => {
                None
            }
        };
        take(record.name.as_str(), record.wildcard, address);
    }
    take(dns.name.as_str(), false, None);
    for name in dns.forwards.iter().flat_map(|forward| &forward.names) {
        take(name.as_str(), false, None);
    }
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_lowercase();
    if let Some(own) = own.split('.').next().filter(|own| !own.is_empty()) {
        take(own, false, None);
    }
    reserved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_config_are_reserved_with_what_is_above_them() {
        let text = "[dns]\n[dns.records]\n'nas.home.arpa' = ['10.4.0.9']\n'*.apps.home.arpa' = ['10.4.0.5']\n\
            'a.deep.home.arpa' = ['10.4.0.7']\n'shop.example' = ['10.4.0.8']\n'intranet' = ['10.4.0.4']\n\
            [[dns.forwards]]\nnames = ['ad.home.arpa']\nto = ['10.4.0.2']\n";
        let config = config::parse("secd.toml", text).unwrap();
        let reserved = reserved(&config.dns);
        let addresses = |name: &str| reserved.names.get(name).map(|addresses| addresses.len());
        assert_eq!([addresses("nas"), addresses("intranet")], [Some(1); 2]);
        assert_eq!([addresses("apps"), addresses("ad"), addresses("dns")], [Some(1), Some(0), Some(0)]);
        assert_eq!([addresses("deep"), addresses("a"), addresses("shop")], [Some(0), None, None]);
        assert!(!reserved.every_name);
        let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_lowercase();
        assert!(reserved.names.contains_key(own.split('.').next().unwrap()));
        let text = "[dns.records]\n'*.home.arpa' = ['10.4.0.5']\n";
        assert!(super::reserved(&config::parse("secd.toml", text).unwrap().dns).every_name);
    }
}
