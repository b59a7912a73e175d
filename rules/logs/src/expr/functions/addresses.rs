//! Functions on IP addresses.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Function, Problem, Value, pure, text};

pub(super) const FUNCTIONS: &[Function] = &[
    pure("IpInRange", 2, 2, |arguments| {
        let (address, range) = (read(text(arguments, 0)?), read_range(text(arguments, 1)?));
        Ok(Value::Bool(matches!((address, range), (Some(address), Some(range)) if range.contains(&address))))
    }),
    pure("IsIP", 1, 1, |arguments| Ok(Value::Bool(read(text(arguments, 0)?).is_some()))),
    pure("IsIPV4", 1, 1, |arguments| {
        Ok(Value::Bool(read(text(arguments, 0)?).is_some_and(|ip| ip.is_ipv4())))
    }),
    pure("IsIPV6", 1, 1, |arguments| {
        Ok(Value::Bool(read(text(arguments, 0)?).is_some_and(|ip| ip.is_ipv6())))
    }),
    pure("IpToRange", 2, 2, to_range),
];

/// An address; an IPv4 one in the clothes of IPv6 is an IPv4 one.
fn read(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

fn read_range(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>().ok()
}

/// The range around an address; an empty text where one of both is none.
fn to_range(arguments: &[Value]) -> Result<Value, Problem> {
    let (address, length) = (text(arguments, 0)?, text(arguments, 1)?);
    let length = length.strip_prefix('/').unwrap_or(length).parse::<u8>().ok();
    let range = read(address).zip(length).and_then(|(address, length)| IpNet::new(address, length).ok());
    Ok(range.map_or_else(|| Value::text(""), |range| Value::from(range.trunc().to_string())))
}
