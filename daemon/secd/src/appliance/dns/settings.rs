//! What of the config the resolver is told.

use anyhow::Result;
use config::{Dns, DnsForward, RecordValue, Upstream, UpstreamOrder, UpstreamTransport};
use lists::{GroupSet, RecordData};
use model::Name;
use resolver::{
    CacheSettings, ClientNetwork, Designated, Local, Order, Rate, Rebinding, Server, Settings,
    UpstreamForward, UpstreamSettings, WireName,
};
use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::loading::Loaded;

/// The resolver answers the zones, never the WAN.
pub(super) fn settings(loaded: &Loaded, in_force: GroupSet) -> Result<Settings> {
    let config = &loaded.config;
    let dns = &config.dns;
    Ok(Settings {
        listen: dns.listen.clone(),
        listen_tls: dns.listen_tls.clone(),
        listen_https: dns.listen_https.clone(),
        upstreams: UpstreamSettings {
            servers: servers(&dns.upstreams)?,
            order: match dns.upstream_order {
                UpstreamOrder::Ordered => Order::Ordered,
                UpstreamOrder::Fastest => Order::Fastest,
                UpstreamOrder::Parallel => Order::Parallel,
            },
            bootstrap: dns.bootstrap.clone(),
            forwards: dns.forwards.iter().map(forward).collect::<Result<_>>()?,
            dnssec: dns.dnssec,
            negative_trust_anchors: wire_names(&dns.negative_trust_anchors)?,
            case_randomisation: dns.case_randomisation,
            ..UpstreamSettings::default()
        },
        mode: config.mode.and(dns.mode),
        cache: CacheSettings {
            entries: dns.cache_entries,
            min_ttl: seconds(dns.min_ttl),
            max_ttl: seconds(dns.max_ttl),
            negative_ttl: seconds(dns.negative_ttl),
            serve_stale: seconds(dns.serve_stale),
            prefetch: dns.prefetch,
            ..CacheSettings::default()
        },
        clients: networks(loaded),
        policy: resolver::Policy {
            clients: dns.list_clients(),
            groups: dns.list_groups(),
            in_force,
            block_ttl: seconds(dns.block_ttl),
        },
        rebinding: Rebinding {
            protect: dns.rebind_protection,
            allow: dns.rebind_allow.iter().map(|name| name.as_str().into()).collect(),
        },
        rate: Some(rate(dns.rate)),
        designated: designated(dns),
    })
}

/// The encrypted way that devices are told of. Its addresses are those where all of it is to be had, at one port each.
fn designated(dns: &Dns) -> Option<Designated> {
    let at = |listen: &[SocketAddr]| {
        let port = listen.first()?.port();
        let there = listen.iter().filter(|socket| socket.port() == port && !socket.ip().is_unspecified());
        let there: Vec<IpAddr> = there.map(SocketAddr::ip).collect();
        (!there.is_empty()).then_some((port, there))
    };
    let (tls, https) = (at(&dns.listen_tls), at(&dns.listen_https));
    let both: Option<Vec<IpAddr>> = tls.as_ref().zip(https.as_ref()).map(|((_, tls), (_, https))| {
        tls.iter().copied().filter(|address| https.contains(address)).collect()
    });
    let both = both.filter(|both| !both.is_empty());
    let https = https.filter(|_| both.is_some() || tls.is_none());
    let addresses = both.or_else(|| tls.as_ref().or(https.as_ref()).map(|(_, there)| there.clone()))?;
    Some(Designated {
        name: dns.name.as_str().into(),
        addresses,
        tls: tls.map(|(port, _)| port),
        https: https.map(|(port, _)| (port, "/dns-query{?dns}".into())),
    })
}

/// Whom it answers: the networks of the inner zones, and this machine.
fn networks(loaded: &Loaded) -> Vec<ClientNetwork> {
    let resolved: Vec<&str> = loaded.config.policy.zones_resolved().map(|zone| zone.name.as_str()).collect();
    let network =
        |net, zone: &str| ClientNetwork { net, zone: zone.into(), resolved: resolved.contains(&zone) };
    let zones = loaded.config.policy.zones.iter().filter(|zone| !zone.wan);
    let inner = zones.flat_map(|zone| zone.networks.iter().map(|net| network(*net, &zone.name)));
    let own =
        ["127.0.0.0/8", "::1/128"].into_iter().filter_map(|net| Some(network(net.parse().ok()?, "self")));
    inner.chain(own).collect()
}

fn servers(upstreams: &[Upstream]) -> Result<Vec<Server>> {
    upstreams.iter().map(server).collect()
}

fn server(upstream: &Upstream) -> Result<Server> {
    match (&upstream.transport, upstream.address) {
        (UpstreamTransport::Plain, Some(address)) => Ok(SocketAddr::new(address, upstream.port).into()),
        (UpstreamTransport::Plain | UpstreamTransport::Tls | UpstreamTransport::Https { .. }, _) => {
            Ok(upstream.text.parse()?)
        }
    }
}

fn wire_names(names: &[Name]) -> Result<Vec<WireName>> {
    names.iter().map(|name| Ok(format!("{}.", name.as_str()).parse()?)).collect()
}

fn forward(forward: &DnsForward) -> Result<UpstreamForward> {
    Ok(UpstreamForward { names: wire_names(&forward.names)?, to: servers(&forward.to)?, dnssec: false })
}

/// Names of this network.
pub(super) fn local(dns: &Dns) -> Result<Local> {
    let mut local = Local::new([dns.local.domain.as_str()]);
    for record in &dns.records {
        let name = record.name.as_str();
        let name = if record.wildcard { format!("*.{name}") } else { name.to_owned() };
        local.insert(&name, lists::Record { ttl: None, data: data(&record.value) })?;
    }
    Ok(local)
}

fn data(value: &RecordValue) -> RecordData {
    match value {
        RecordValue::Address(address) => (*address).into(),
        RecordValue::Cname(name) => RecordData::Cname(name.as_str().into()),
        RecordValue::Ptr(name) => RecordData::Ptr(name.as_str().into()),
        RecordValue::Srv { priority, weight, port, target } => RecordData::Srv {
            priority: *priority,
            weight: *weight,
            port: *port,
            target: target.as_str().into(),
        },
        RecordValue::Txt(strings) => {
            RecordData::Txt(strings.iter().map(|text| text.as_bytes().into()).collect())
        }
    }
}

fn rate(rate: policy::Rate) -> Rate {
    Rate { interval: Duration::from_nanos(rate.interval), burst: rate.burst.max(1) }
}

/// Whole seconds, as far as a TTL counts.
fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_the_config_is_one_of_the_resolver() {
        let text = "[dns]\nupstreams = ['9.9.9.9', 'udp://9.9.9.9:5353', '[2620:fe::fe]:53', 'tls://dns.quad9.net', \
            'tls://9.9.9.9:853#dns.quad9.net', 'tls://[2620:fe::fe]#dns.quad9.net', 'https://dns.quad9.net', \
            'https://one.one.one.one/dns-query', 'https://9.9.9.9/dns-query#dns.quad9.net', 'tls://1.1.1.1']\n";
        let config = config::parse("secd.toml", text).unwrap();
        for upstream in &config.dns.upstreams {
            let server = server(upstream).unwrap_or_else(|error| panic!("{}: {error}", upstream.text));
            assert_eq!(server.name().is_some(), upstream.address.is_none(), "{}", upstream.text);
        }
    }

    #[test]
    fn devices_are_told_of_addresses_where_all_of_it_is() {
        let told = |tls: &str, https: &str| {
            let text = format!("[dns]\nlisten_tls = [{tls}]\nlisten_https = [{https}]\n");
            let told = designated(&config::parse("secd.toml", &text).unwrap().dns)?;
            let addresses: Vec<String> = told.addresses.iter().map(ToString::to_string).collect();
            Some((addresses.join(" "), told.tls, told.https.map(|(port, _)| port)))
        };
        assert_eq!(told("", ""), None);
        assert_eq!(told("'0.0.0.0'", ""), None, "no address to tell");
        assert_eq!(told("'10.1.0.1'", ""), Some(("10.1.0.1".into(), Some(853), None)));
        assert_eq!(told("", "'10.1.0.1:8443'"), Some(("10.1.0.1".into(), None, Some(8443))));
        let both = told("'10.1.0.1', '10.2.0.1', '10.3.0.1:8853'", "'10.2.0.1:8443', '10.3.0.1:8443'");
        assert_eq!(both, Some(("10.2.0.1".into(), Some(853), Some(8443))));
        let apart = told("'10.1.0.1'", "'10.2.0.1:8443'");
        assert_eq!(apart, Some(("10.1.0.1".into(), Some(853), None)));
    }

    #[test]
    fn records_become_local_names() {
        let text = "[dns.records]\n'nas.home.arpa' = ['10.2.0.5', 'TXT one']\n'*.apps.home.arpa' = ['CNAME nas.home.arpa']\n";
        let config = config::parse("secd.toml", text).unwrap();
        let local = local(&config.dns).unwrap();
        let count = |name: &str| match local.find(name) {
            resolver::LocalFound::Records(records) => Some(records.len()),
            resolver::LocalFound::Unknown | resolver::LocalFound::Absent => None,
        };
        assert_eq!((count("nas.home.arpa"), count("x.apps.home.arpa")), (Some(2), Some(1)));
        assert_eq!(local.find("nothing.home.arpa"), resolver::LocalFound::Absent);
        assert_eq!(local.find("nas.example"), resolver::LocalFound::Unknown);
    }
}
