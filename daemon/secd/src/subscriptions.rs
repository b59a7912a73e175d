//! From the config's subscriptions to the ones that are fetched.

use ::feeds::{Kind, Location, Subscription};
use anyhow::{Context, Result};
use config::{Config, Geoip, ListKind};
use model::Name;

/// What the GeoIP database is called among subscriptions.
pub const GEOIP: &str = "geoip database";
/// What the database of providers is called, where it is one of its own.
pub const GEOIP_SYSTEMS: &str = "geoip database of systems";

/// What a set of rules is called among subscriptions: lists and sets of rules may have the same names.
#[must_use]
pub fn rules_name(name: &str) -> String {
    format!("rules {name}")
}

/// Names that no list may block: those of the resolver's own upstreams.
#[must_use]
pub fn own_names(config: &Config) -> Vec<Name> {
    let forwards = config.dns.forwards.iter().flat_map(|forward| &forward.to);
    let mut names: Vec<Name> =
        config.dns.upstreams.iter().chain(forwards).filter_map(|upstream| upstream.name.clone()).collect();
    names.sort();
    names.dedup();
    names
}

/// Every subscription of a config; those that make no sense are told by name.
#[must_use]
pub fn subscriptions(config: &Config) -> (Vec<Subscription>, Vec<String>) {
    let lists = config.lists.iter().filter_map(|list| {
        let format = list.format.clone();
        let kind = match list.kind {
            ListKind::Domains => Kind::Domains { format, own: own_names(config) },
            ListKind::Addresses => {
                Kind::Addresses { format, min_score: (list.min_score > 0).then_some(list.min_score) }
            }
        };
        Some((list.name.clone(), kind, list.subscription.as_ref()?))
    });
    let rules = config
        .signatures
        .sources
        .iter()
        .map(|source| (rules_name(&source.name), Kind::Rules, &source.subscription));
    let databases = [(&config.geoip, GEOIP), (&config.geoip_systems, GEOIP_SYSTEMS)];
    let geoip = databases.into_iter().filter_map(|(source, name)| match source {
        Some(Geoip::Subscription(subscription)) => Some((name.to_owned(), Kind::GeoIp, subscription)),
        Some(Geoip::File(_)) | None => None,
    });
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for (name, kind, subscription) in lists.chain(rules).chain(geoip) {
        match made(&name, kind, subscription) {
            Ok(subscription) => good.push(subscription),
            Err(error) => bad.push(format!("{name} is not fetched: {error:#}")),
        }
    }
    (good, bad)
}

fn made(name: &str, kind: Kind, from: &config::Subscription) -> Result<Subscription> {
    // What stands there may hold a password or key, so it is not repeated.
    let location = |key: &'static str, text: &str| text.parse::<Location>().context(key);
    Ok(Subscription {
        refresh: from.refresh,
        insecure: from.insecure,
        private: from.private,
        basic: from.basic.clone(),
        header: from.header.clone(),
        authorities: from.ca_file.clone(),
        public_key: from.public_key.clone(),
        signature: from.signature_url.as_deref().map(|text| location("signature_url", text)).transpose()?,
        ..Subscription::new(name, kind, location("url", &from.url)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_fetched_is_subscribed_to() {
        let text = "[zones.wan]\ninterface = 'wan0'\nwan = true\n\
            [[lists]]\nname = 'drop'\nurl = 'https://lists.example/drop.txt'\nkind = 'addresses'\nmin_score = 3\nformat = 'score'\nrefresh = '1h'\n\
            [[lists]]\nname = 'own'\npath = '/nowhere'\nkind = 'domains'\n\
            [geoip]\nurl = 'file:///var/lib/geoip.mmdb'\n\
            [[signatures.sources]]\nname = 'drop'\nurl = 'https://rules.example/all.rules'\n";
        let config = config::parse("secd.toml", text).unwrap();
        let (good, bad) = subscriptions(&config);
        assert_eq!(bad, [] as [&str; 0]);
        let names: Vec<_> = good.iter().map(|subscription| subscription.name.as_str()).collect();
        assert_eq!(names, ["drop", "rules drop", GEOIP]);
        assert_eq!(good[0].kind, Kind::Addresses { format: "score".parse().unwrap(), min_score: Some(3) });
        assert_eq!(good[0].refresh.as_secs(), 3600);
    }

    #[test]
    fn what_may_be_secret_is_not_repeated() {
        let text = "[zones.wan]\ninterface = 'wan0'\nwan = true\n\
            [[lists]]\nname = 'drop'\nurl = 'https://lists.example/x'\nkind = 'addresses'\n";
        let good = config::parse("secd.toml", text).unwrap().lists[0].subscription.clone().unwrap();
        let bad = "https://user:hunter2@lists.example/x?key=hunter2".to_owned();
        let signed = config::Subscription { signature_url: Some(bad.clone()), ..good.clone() };
        for (from, key) in [(config::Subscription { url: bad, ..good }, "url"), (signed, "signature_url")] {
            let error = format!("{:#}", made("drop", Kind::Rules, &from).unwrap_err());
            assert!(!error.contains("hunter2") && error.starts_with(key), "{error}");
        }
    }
}
