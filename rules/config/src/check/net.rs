//! Addresses, networks and sockets as people write them.

use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

use crate::{
    error::{Report, quoted},
    located::Located,
};

/// A network whose host bits are zero; a single address is a network of one.
pub(super) fn network(key: &str, text: &Located<String>, report: &mut Report<'_>) -> Option<IpNet> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical().into());
    }
    let Ok(net) = text.parse::<IpNet>() else {
        report.add(
            text.at,
            format!("{} in `{key}` is no address and no network", quoted(text)),
            why_not(text),
        );
        return None;
    };
    if let IpNet::V6(v6) = net
        && v6.addr().to_ipv4_mapped().is_some()
    {
        report.add(
            text.at,
            format!("{} in `{key}` is an IPv4 network in IPv6 notation", quoted(text)),
            "write it as IPv4, for example `192.0.2.0/24`",
        );
        return None;
    }
    if net != net.trunc() {
        report.add(
            text.at,
            format!("{} in `{key}` has bits set behind its prefix", quoted(text)),
            format!("write `{}` for the network or `{}` for the address", net.trunc(), net.addr()),
        );
        return None;
    }
    Some(net)
}

/// An address and port; without a port `default_port` holds.
pub(super) fn socket(
    key: &str,
    text: &Located<String>,
    default_port: Option<u16>,
    report: &mut Report<'_>,
) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let parsed = text
        .parse::<SocketAddr>()
        .ok()
        .or_else(|| Some(SocketAddr::new(bare.parse::<IpAddr>().ok()?, default_port?)));
    let Some(socket) = parsed else {
        let help = if let Some((scheme, _)) = text.split_once("://") {
            format!("write address and port without `{scheme}://`, for example `9.9.9.9:53`; plain DNS only")
        } else if text.matches(':').count() > 1 && !text.contains('[') {
            "write an IPv6 address with a port in brackets, for example `[fd00:1::1]:53`".to_owned()
        } else {
            "write an address and a port, for example `10.1.0.1:53` or `[fd00:1::1]:53`; host names cannot be used"
                .to_owned()
        };
        report.add(text.at, format!("{} in `{key}` is no address with a port", quoted(text)), help);
        return None;
    };
    if socket.port() == 0 {
        report.add(
            text.at,
            format!("{} in `{key}` has port 0", quoted(text)),
            "write a port from 1 to 65535",
        );
        return None;
    }
    Some(SocketAddr::new(socket.ip().to_canonical(), socket.port()))
}

fn why_not(text: &str) -> String {
    let example = "for example `10.4.0.0/24` or `fd00:4::/64`";
    match text.split_once('/') {
        Some((address, bits)) => match address.parse::<IpAddr>() {
            Ok(address) => {
                let most = if address.is_ipv4() { 32 } else { 128 };
                match bits.parse::<IpAddr>() {
                    Ok(IpAddr::V4(mask))
                        if u32::from(mask).leading_ones() + u32::from(mask).trailing_zeros() >= 32 =>
                    {
                        format!(
                            "write the mask as a number of bits: `{address}/{}`",
                            u32::from(mask).leading_ones()
                        )
                    }
                    _ => format!("the number of bits behind `/` goes from 0 to {most}"),
                }
            }
            Err(_) => format!("write the whole address and the number of bits, {example}"),
        },
        None => format!("write an address or a network, {example}"),
    }
}
