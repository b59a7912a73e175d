//! What the packet path learns from what leaves: replies through NAT, ICMP errors, fragments; and devices without
//! Ethernet.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use abi::{Action, Reason, STATE_ASSURED, ZONE_IS_WAN, ZONE_SELF, ZoneFlags};
use enforce::xdp::{Attached, Counters, Dataplane, Options};
use kernel_tests::{
    Folder, Namespace, can_run, end_grace,
    plans::{LAN, WAN, default_row, router, row, value},
    wires::{PATIENCE, SILENCE, Wires, connect, hears},
};
use policy::{Plan, Port};
use std::{
    fs::File,
    io::{ErrorKind, Read as _, Write as _},
    net::UdpSocket,
};

fn passed(counters: &Counters, zone: u8, reason: Reason) -> u64 {
    counters.packet(zone, reason, Action::Pass).unwrap().packets
}

/// The router translates what goes out, as a home router does.
fn masquerade(wires: &Wires) {
    let run = |command: &str| wires.router.run(&format!("nft {command}")).unwrap();
    run("add table ip test");
    run("add chain ip test post { type nat hook postrouting priority srcnat ; }");
    run("add rule ip test post oifname wan0 masquerade");
}

#[test]
fn answers_to_translated_flows_are_known_by_what_left() {
    let test = "answers_to_translated_flows_are_known_by_what_left";
    if !can_run(test) {
        return;
    }
    let folder = Folder::new("nat");
    let wires = Wires::new("nat").unwrap();
    let Wires { wan, lan, .. } = &wires;
    masquerade(&wires);
    let mut dataplane = wires.open(&folder);
    wires.install(&mut dataplane, &router(80));
    let counters = dataplane.counters().unwrap();
    let (mut client, mut server) = connect(lan, wan, "198.51.100.2:8080".parse().unwrap());
    assert_eq!(server.peer_addr().unwrap().ip().to_string(), "198.51.100.1", "it is translated");
    for _ in 0..20 {
        assert!(hears(&mut client, &mut server, PATIENCE) && hears(&mut server, &mut client, PATIENCE));
    }
    assert!(wires.datagram(lan, wan, "198.51.100.2:5353"));
    assert!(passed(&counters, WAN, Reason::Established) >= 21, "answers hit the flow table");
    assert_eq!(passed(&counters, WAN, Reason::NoState), 0);
    let flows = dataplane.flows().unwrap().list(100).unwrap();
    let port = 8080_u16.to_be_bytes();
    let outer = abi::mapped([198, 51, 100, 1]);
    let answers = flows.iter().find(|flow| flow.key.source_port == port && flow.key.destination == outer);
    assert_eq!(answers.unwrap().value.state, STATE_ASSURED);
    // Cut by the tuple that the inside knows: what comes in is stopped where it leaves.
    let starter =
        flows.iter().find(|flow| flow.key.destination_port == port && flow.key.zone == LAN).unwrap();
    assert!(dataplane.flows().unwrap().cut_flow(starter.key, 5).unwrap() >= 1);
    assert!(!hears(&mut server, &mut client, SILENCE) && !hears(&mut client, &mut server, SILENCE));
}

#[test]
fn errors_about_flows_of_ours_come_through_translated_or_not() {
    let test = "errors_about_flows_of_ours_come_through_translated_or_not";
    if !can_run(test) {
        return;
    }
    let folder = Folder::new("errors");
    let wires = Wires::new("errors").unwrap();
    let Wires { wan, lan, .. } = &wires;
    let mut dataplane = wires.open(&folder);
    wires.install(&mut dataplane, &router(80));
    let refused = |from: &Namespace, to: &str| {
        let socket = from.inside(|| Ok(UdpSocket::bind("0.0.0.0:0")?)).unwrap();
        socket.connect(to).unwrap();
        socket.set_read_timeout(Some(SILENCE)).unwrap();
        socket.send(b"x").unwrap();
        socket.recv(&mut [0; 8]).unwrap_err().kind() == ErrorKind::ConnectionRefused
    };
    assert!(refused(lan, "198.51.100.2:7"), "port unreachable, from outside");
    assert!(refused(wan, "10.1.0.2:80"), "port unreachable, from inside");
    assert!(!refused(wan, "10.1.0.2:81"), "dropped without a word");
    masquerade(&wires);
    assert!(refused(lan, "198.51.100.2:9"), "port unreachable, translated");
    let counters = dataplane.counters().unwrap();
    assert!(passed(&counters, WAN, Reason::IcmpError) >= 2);

    // A narrow place on the way: path MTU discovery (RFC 1191).
    wires.router.run("ip link set wan0 mtu 1300").unwrap();
    wan.run("ip link set eth0 mtu 1300").unwrap();
    let (mut client, mut server) = connect(lan, wan, "198.51.100.2:8080".parse().unwrap());
    client.write_all(&[7; 100_000]).unwrap();
    let mut bytes = vec![0; 100_000];
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    server.read_exact(&mut bytes).unwrap();
    server.write_all(&bytes).unwrap();
    client.read_exact(&mut bytes).unwrap();
}

#[test]
fn fragments_follow_their_first() {
    let test = "fragments_follow_their_first";
    if !can_run(test) {
        return;
    }
    let folder = Folder::new("fragments");
    let wires = Wires::new("fragments").unwrap();
    let Wires { wan, lan, .. } = &wires;
    let mut dataplane = wires.open(&folder);
    wires.install(&mut dataplane, &router(80));
    let arrives = |port: u16| {
        let address = format!("10.1.0.2:{port}");
        let server = lan.inside(|| Ok(UdpSocket::bind(&address)?)).unwrap();
        let client = wan.inside(|| Ok(UdpSocket::bind("0.0.0.0:0")?)).unwrap();
        client.send_to(&[1; 9000], &address).unwrap();
        server.set_read_timeout(Some(SILENCE)).unwrap();
        let mut buffer = [0; 10_000];
        let Ok((length, back)) = server.recv_from(&mut buffer) else { return false };
        server.send_to(&buffer[..length], back).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.recv(&mut buffer).unwrap() == 9000
    };
    assert!(arrives(80), "both ways");
    assert!(!arrives(81), "what has no first is put together by nobody");
    assert!(passed(&dataplane.counters().unwrap(), WAN, Reason::Fragment) > 0);
}

/// IPv4 and UDP, its header checksum right and the other left out (RFC 768).
fn datagram(from: [u8; 4], to: [u8; 4], port: u16) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 32, 0, 1, 0x40, 0, 64, 17, 0, 0];
    packet.extend(from);
    packet.extend(to);
    let sum: u32 = packet.chunks(2).map(|two| u32::from(two[0]) << 8 | u32::from(two[1])).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    packet[10..12].copy_from_slice(&(!(folded as u16)).to_be_bytes());
    packet.extend(4000_u16.to_be_bytes());
    packet.extend(port.to_be_bytes());
    packet.extend([0, 12, 0, 0, b't', b'e', b'x', b't']);
    packet
}

#[test]
fn a_device_without_ethernet_is_judged_alike() {
    judges_alike("a_device_without_ethernet_is_judged_alike", "tun", true);
}

/// Before Linux 6.6 (Debian 12 has 6.1) there is no TCX.
#[test]
fn a_device_without_ethernet_is_judged_alike_by_filters_of_clsact() {
    judges_alike("a_device_without_ethernet_is_judged_alike_by_filters_of_clsact", "clsact", false);
}

fn judges_alike(test: &str, short: &str, tcx: bool) {
    if !can_run(test) {
        return;
    }
    let options = Options { tcx, ..Options::default() };
    let folder = Folder::new(short);
    let router = Namespace::new(&format!("secd-{short}")).unwrap();
    let mut tun: File = match router.tun("tun0") {
        Ok(tun) => tun,
        Err(error) => return eprintln!("SKIP: {test}: no tun device: {error}"),
    };
    router.run("ip address add 192.0.2.1/24 dev tun0").unwrap();
    router.run("ip link set tun0 up").unwrap();
    let plan = Plan {
        ports: vec![Port { interface: "tun0".into(), vlan: 0, zone: WAN }],
        zones: [(WAN, ZoneFlags { flags: ZONE_IS_WAN })].into(),
        networks: [("0.0.0.0/0".parse().unwrap(), WAN), ("192.0.2.1/32".parse().unwrap(), ZONE_SELF)].into(),
        rows: vec![
            row(&[WAN], &[ZONE_SELF], &[(17, 80, 80)], value(Action::Pass, 0)),
            default_row(Action::Drop),
        ],
        ..Plan::default()
    };
    let (mut dataplane, installed) = router
        .inside(|| {
            let (mut dataplane, _) = Dataplane::open_with(folder.path(), &options)?;
            let installed = dataplane.install(&plan)?;
            Ok((dataplane, installed))
        })
        .unwrap();
    assert_eq!(installed.failed, []);
    assert_eq!(installed.attached.len(), 1);
    assert_eq!((installed.attached[0].how, &installed.attached[0].warning), (Attached::Tc, &None));
    end_grace(&dataplane);
    let bind = |port| {
        let socket = router.inside(|| Ok(UdpSocket::bind(("192.0.2.1", port))?)).unwrap();
        socket.set_read_timeout(Some(SILENCE)).unwrap();
        socket
    };
    let (open, shut) = (bind(80), bind(81));
    let mut send = |port| tun.write_all(&datagram([192, 0, 2, 2], [192, 0, 2, 1], port)).unwrap();
    send(81);
    send(80);
    send(80);
    let mut buffer = [0; 16];
    let (_, back) = open.recv_from(&mut buffer).unwrap();
    open.recv_from(&mut buffer).unwrap();
    assert!(shut.recv(&mut buffer).is_err());
    open.send_to(b"back", back).unwrap();
    let counters = dataplane.counters().unwrap();
    assert_eq!(counters.packet(WAN, Reason::DefaultDenied, Action::Drop).unwrap().packets, 1);
    assert_eq!(
        (passed(&counters, WAN, Reason::RuleAllowed), passed(&counters, WAN, Reason::Established)),
        (1, 1)
    );
    let known = dataplane.flows().unwrap().list(10).unwrap();
    assert_eq!((known.len(), known[0].value.packets), (1, 2));
    assert_eq!(known[0].value.state, STATE_ASSURED, "the answer that left was seen");

    // The next daemon takes it over, and lets it go.
    drop(dataplane);
    (dataplane, _) = router.inside(|| Ok(Dataplane::open_with(folder.path(), &options)?)).unwrap();
    let again = router.inside(|| Ok(dataplane.install(&plan)?)).unwrap();
    assert_eq!((&again.attached, again.failed.as_slice()), (&installed.attached, [].as_slice()));
    send(80);
    open.recv_from(&mut buffer).unwrap();
    assert_eq!(
        dataplane.flows().unwrap().list(10).unwrap()[0].value.packets,
        3,
        "judged once, by one program"
    );
    assert_eq!(router.inside(|| Ok(dataplane.attached()?)).unwrap(), installed.attached);
    let filters =
        |way: &str| router.run(&format!("tc filter show dev tun0 {way}")).unwrap().matches(" id ").count();
    let held = usize::from(!tcx);
    assert_eq!((filters("ingress"), filters("egress")), (held, held));
    router.inside(|| Ok(dataplane.detach("tun0")?)).unwrap();
    assert!(router.inside(|| Ok(dataplane.attached()?)).unwrap().is_empty());
    assert_eq!((filters("ingress"), filters("egress")), (0, 0));
}
