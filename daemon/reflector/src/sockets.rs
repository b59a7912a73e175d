//! The sockets of one link. Each is bound to its device, and those for everybody to the group's address: so they get what
//! was sent to the group on this link and nothing else, and programs on the router that use the same ports keep working.

use discovery::{MDNS_PORT, SEARCH_PORT, SSDP_PORT, Scope, Send, To, Way};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    sync::Arc,
};
use tokio::net::UdpSocket;

/// The groups of mDNS (RFC 6762 §3).
const MDNS_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const MDNS_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
/// The groups of SSDP (UPnP Device Architecture 1.1 §1.1, §A.3).
const SSDP_V4: Ipv4Addr = Ipv4Addr::new(239, 255, 255, 250);
const SSDP_LINK_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xc);
const SSDP_SITE_V6: Ipv6Addr = Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 0xc);
/// Hops of mDNS (RFC 6762 §11) and of SSDP (UPnP Device Architecture 1.1 §1.1): none is forwarded by a router.
const MDNS_HOPS: u32 = 255;
const SSDP_HOPS: u32 = 2;

/// A socket that is read, and what comes to it.
pub(crate) struct Door {
    pub(crate) socket: Arc<UdpSocket>,
    pub(crate) way: Way,
}

/// What of a link could be opened.
#[derive(Debug, Default)]
pub(crate) struct LinkSockets {
    index: u32,
    mdns: [Option<Arc<UdpSocket>>; 2],
    /// Bound to a group: read only.
    ssdp: Vec<(Scope, Arc<UdpSocket>)>,
    search: [Option<Arc<UdpSocket>>; 2],
}

impl LinkSockets {
    /// Opens what there can be opened; says what cannot. A device without IPv6 has no sockets of it, which is no error.
    pub(crate) fn open(device: &str, index: u32, ssdp: bool) -> (Self, Vec<io::Error>) {
        let (mut link, mut errors) = (Self { index, ..Self::default() }, Vec::new());
        let mut opened = |socket: io::Result<UdpSocket>| match socket {
            Ok(socket) => Some(Arc::new(socket)),
            Err(error) if no_such_family(&error) => None,
            Err(error) => {
                errors.push(error);
                None
            }
        };
        let group_v4 = |group, port, hops| for_group_v4(device, index, group, port, hops);
        let group_v6 = |group, port, hops| for_group_v6(device, index, group, port, hops);
        link.mdns = [
            opened(group_v4(MDNS_V4, MDNS_PORT, MDNS_HOPS)),
            opened(group_v6(MDNS_V6, MDNS_PORT, MDNS_HOPS)),
        ];
        if ssdp {
            let groups = [
                (Scope::V4, opened(group_v4(SSDP_V4, SSDP_PORT, SSDP_HOPS))),
                (Scope::LinkV6, opened(group_v6(SSDP_LINK_V6, SSDP_PORT, SSDP_HOPS))),
                (Scope::SiteV6, opened(group_v6(SSDP_SITE_V6, SSDP_PORT, SSDP_HOPS))),
            ];
            link.ssdp = groups.into_iter().filter_map(|(scope, socket)| Some((scope, socket?))).collect();
            link.search = [
                opened(to_search(device, index, Ipv4Addr::UNSPECIFIED.into())),
                opened(to_search(device, index, Ipv6Addr::UNSPECIFIED.into())),
            ];
        }
        (link, errors)
    }

    /// Those that are read.
    pub(crate) fn doors(&self) -> impl Iterator<Item = Door> {
        let mdns = self.mdns.iter().flatten().map(|socket| (socket, Way::Mdns));
        let ssdp = self.ssdp.iter().map(|(scope, socket)| (socket, Way::Ssdp(*scope)));
        let search = self.search.iter().flatten().map(|socket| (socket, Way::SsdpReply));
        mdns.chain(ssdp).chain(search).map(|(socket, way)| Door { socket: Arc::clone(socket), way })
    }

    /// Sends at once or not at all.
    pub(crate) fn send(&self, send: &Send) -> io::Result<()> {
        let on_link = |group: Ipv6Addr, port| SocketAddr::V6(SocketAddrV6::new(group, port, 0, self.index));
        let (sockets, to) = match send.to {
            To::Mdns { v6: false } => (&self.mdns, (MDNS_V4, MDNS_PORT).into()),
            To::Mdns { v6: true } => (&self.mdns, on_link(MDNS_V6, MDNS_PORT)),
            To::Asker(address) => (&self.mdns, address),
            To::Ssdp(Scope::V4) => (&self.search, (SSDP_V4, SSDP_PORT).into()),
            To::Ssdp(Scope::LinkV6) => (&self.search, on_link(SSDP_LINK_V6, SSDP_PORT)),
            To::Ssdp(Scope::SiteV6) => (&self.search, on_link(SSDP_SITE_V6, SSDP_PORT)),
            To::Searcher(address) => (&self.search, address),
        };
        let [v4, v6] = sockets;
        let socket = if to.is_ipv4() { v4 } else { v6 };
        let socket = socket.as_ref().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
        let sent = socket.try_send_to(&send.bytes, to)?;
        if sent == send.bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }
}

/// The kernel has no IPv6, or the device has it switched off.
fn no_such_family(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    matches!(code, Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

fn for_group_v4(device: &str, index: u32, group: Ipv4Addr, port: u16, hops: u32) -> io::Result<UdpSocket> {
    let socket = on_device(Domain::IPV4, device)?;
    socket.bind(&SocketAddr::from((group, port)).into())?;
    socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(index))?;
    out_v4(&socket, hops)?;
    into_tokio(socket)
}

fn for_group_v6(device: &str, index: u32, group: Ipv6Addr, port: u16, hops: u32) -> io::Result<UdpSocket> {
    let socket = on_device(Domain::IPV6, device)?;
    socket.bind(&SocketAddr::V6(SocketAddrV6::new(group, port, 0, index)).into())?;
    socket.join_multicast_v6(&group, index)?;
    out_v6(&socket, index, hops)?;
    into_tokio(socket)
}

fn to_search(device: &str, index: u32, any: std::net::IpAddr) -> io::Result<UdpSocket> {
    let socket = on_device(if any.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 }, device)?;
    socket.bind(&SocketAddr::new(any, SEARCH_PORT).into())?;
    if any.is_ipv4() {
        out_v4(&socket, SSDP_HOPS)?;
    } else {
        out_v6(&socket, index, SSDP_HOPS)?;
    }
    into_tokio(socket)
}

/// A socket that hears and speaks on one device, beside others that use the same port.
fn on_device(domain: Domain, device: &str) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    if domain == Domain::IPV6 {
        socket.set_only_v6(true)?;
    }
    socket.bind_device(Some(device.as_bytes()))?;
    Ok(socket)
}

/// What is sent does not come back to this machine, and not beyond the link.
fn out_v4(socket: &Socket, hops: u32) -> io::Result<()> {
    socket.set_multicast_loop_v4(false)?;
    socket.set_multicast_ttl_v4(hops)?;
    socket.set_ttl_v4(hops.max(64))
}

fn out_v6(socket: &Socket, index: u32, hops: u32) -> io::Result<()> {
    socket.set_multicast_loop_v6(false)?;
    socket.set_multicast_if_v6(index)?;
    socket.set_multicast_hops_v6(hops)?;
    socket.set_unicast_hops_v6(hops.max(64))
}

fn into_tokio(socket: Socket) -> io::Result<UdpSocket> {
    UdpSocket::from_std(socket.into())
}
