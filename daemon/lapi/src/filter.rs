//! Which decisions are asked for.

use ipnet::IpNet;
use std::net::IpAddr;

use crate::{limits::MAX_WORDS, reply::Reply, request::Request, shown::Shown};

/// The parameters of `/v1/decisions` and its stream. What is left out lets everything through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    /// An address or range that decisions hold, or where `inside` is set, that holds them.
    pub(crate) net: Option<IpNet>,
    pub(crate) inside: bool,
    scopes: Option<Vec<String>>,
    value: Option<String>,
    kind: Option<String>,
    origins: Option<Vec<String>>,
    containing: Option<Vec<String>>,
    not_containing: Option<Vec<String>>,
    above: u64,
    pub(crate) limit: Option<usize>,
}

impl Filter {
    /// Reads the parameters; those that are not known are left alone, as in CrowdSec.
    ///
    /// # Errors
    /// 400 one makes no sense.
    pub(crate) fn read(request: &Request) -> Result<Self, Reply> {
        let words = |name: &str| {
            let Some(text) = request.parameter(name) else { return Ok(None) };
            let words: Vec<String> = text.split(',').map(|word| word.trim().to_ascii_lowercase()).collect();
            if words.len() > MAX_WORDS {
                return Err(Reply::message(400, &format!("`{name}` has more than {MAX_WORDS} words")));
            }
            Ok(Some(words))
        };
        let number = |name: &str| {
            let Some(text) = request.parameter(name) else { return Ok(None) };
            let bad = |_| Reply::message(400, &format!("invalid {name} value: it is no number"));
            text.parse::<u64>().map(Some).map_err(bad)
        };
        let net = match request.parameter("ip").or_else(|| request.parameter("range")) {
            None => None,
            Some(text) => Some(net(text).ok_or_else(|| {
                Reply::message(400, &format!("unable to convert '{text}' to int: invalid address or range"))
            })?),
        };
        Ok(Self {
            net,
            inside: request.flag("contains")? == Some(false),
            scopes: words("scopes")?.or(words("scope")?),
            value: request.parameter("value").map(str::to_owned),
            kind: request.parameter("type").map(str::to_owned),
            origins: words("origins")?,
            containing: words("scenarios_containing")?,
            not_containing: words("scenarios_not_containing")?,
            above: number("id_gt")?.unwrap_or(0),
            limit: number("limit")?
                .filter(|limit| *limit > 0)
                .map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
        })
    }

    /// For a stream: nothing that a bouncer is to be told may be left for next time, since it is not told then.
    pub(crate) fn of_all(self) -> Self {
        Self { above: 0, limit: None, ..self }
    }

    /// The address that is meant where only a value is named.
    pub(crate) fn about(&self) -> Option<IpNet> {
        self.net.or_else(|| net(self.value.as_deref()?))
    }

    /// Whether it lets a decision through that is about this.
    pub(crate) fn passes(&self, shown: &Shown, about: IpNet) -> bool {
        let has = |list: &Option<Vec<String>>, word: &str| {
            list.as_ref().is_none_or(|list| list.iter().any(|known| known.eq_ignore_ascii_case(word)))
        };
        let named = |list: &[String]| {
            let scenario = shown.scenario.to_ascii_lowercase();
            list.iter().any(|word| scenario.contains(word.as_str()))
        };
        let place =
            self.net.is_none_or(|net| if self.inside { net.contains(&about) } else { about.contains(&net) });
        place
            && has(&self.scopes, shown.scope)
            && self.value.as_ref().is_none_or(|value| *value == shown.value || net(value) == Some(about))
            && self.kind.as_ref().is_none_or(|kind| kind == shown.kind)
            && has(&self.origins, shown.origin)
            && self.containing.as_ref().is_none_or(|list| named(list))
            && self.not_containing.as_ref().is_none_or(|list| !named(list))
            && shown.id > self.above
    }
}

/// An address or a range; host bits do not matter, addresses of IPv4 in IPv6 are of IPv4.
pub(crate) fn net(text: &str) -> Option<IpNet> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical().into());
    }
    let net: IpNet = text.parse().ok()?;
    match net {
        IpNet::V6(v6) if v6.prefix_len() >= 96 => match v6.addr().to_ipv4_mapped() {
            Some(v4) => IpNet::new(v4.into(), v6.prefix_len() - 96).ok().map(|net| net.trunc()),
            None => Some(net.trunc()),
        },
        IpNet::V4(_) | IpNet::V6(_) => Some(net.trunc()),
    }
}
