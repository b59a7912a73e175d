//! The programs on real (virtual) wires: a router between two networks, and what a restart leaves standing.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use abi::{Action, BanValue, DIRECTION_IN, Reason};
use enforce::xdp::{Attached, Dataplane, detach_all};
use ipnet::IpNet;
use kernel_tests::{
    Folder, can_run,
    plans::{LAN, WAN, router as plan},
    wires::{PATIENCE, SILENCE, Wires, connect, hears},
};
use policy::Port;
use std::{
    io::{Read as _, Write as _},
    net::UdpSocket,
    time::Instant,
};

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn ban(dataplane: &Dataplane, address: &str) {
    let mut orders = dataplane.orders().unwrap();
    let value = BanValue { until: u64::MAX, decision: 7, directions: DIRECTION_IN, ..BanValue::default() };
    orders.set_ban(net(address), value).unwrap();
    orders.bump_epoch().unwrap();
}

#[test]
fn a_ban_stops_what_the_address_started_and_spares_our_own() {
    let test = "a_ban_stops_what_the_address_started_and_spares_our_own";
    if !can_run(test) {
        return;
    }
    let folder = Folder::new("ban");
    let wires = Wires::new("ban").unwrap();
    let mut dataplane = wires.open(&folder);
    let installed = wires.install(&mut dataplane, &plan(80));
    assert_eq!(installed.attached.len(), 2);
    for interface in &installed.attached {
        assert_eq!(interface.how, Attached::Driver, "{}", interface.name);
    }
    let Wires { wan, router, lan } = &wires;
    let (mut inwards, mut inwards_there) = connect(wan, lan, "10.1.0.2:80".parse().unwrap());
    let (mut local, mut local_there) = connect(wan, router, "198.51.100.1:80".parse().unwrap());
    let (mut outwards, mut outwards_there) = connect(lan, wan, "198.51.100.2:8080".parse().unwrap());
    let (mut own, mut own_there) = connect(router, wan, "198.51.100.2:8081".parse().unwrap());
    for (from, to) in [(&mut inwards, &mut inwards_there), (&mut local, &mut local_there)] {
        assert!(hears(from, to, PATIENCE) && hears(to, from, PATIENCE));
    }

    ban(&dataplane, "198.51.100.2/32");
    assert!(!hears(&mut inwards, &mut inwards_there, SILENCE), "forwarded");
    assert!(!hears(&mut local, &mut local_there, SILENCE), "to the router");
    for (from, to) in [(&mut outwards, &mut outwards_there), (&mut own, &mut own_there)] {
        assert!(hears(from, to, PATIENCE) && hears(to, from, PATIENCE), "what we started goes on");
    }
    let counters = dataplane.counters().unwrap();
    assert!(counters.packet(WAN, Reason::BannedSource, Action::Drop).unwrap().packets >= 2);
    assert!(counters.packets().unwrap().iter().any(|count| count.reason == Reason::BannedSource));
    let mut ring = dataplane.packet_ring().unwrap();
    let told = std::iter::from_fn(|| ring.next_record()).any(|record| {
        record.reason == Reason::BannedSource as u8
            && record.rule == 7
            && record.source == abi::mapped([198, 51, 100, 2])
    });
    assert!(told, "the ring tells of it");

    dataplane.orders().unwrap().clear_ban(net("198.51.100.2/32")).unwrap();
    assert!(dataplane.orders().unwrap().bans().unwrap().is_empty());
    inwards_there.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(inwards_there.read(&mut [0; 1]).unwrap(), 1, "TCP sends again what was dropped");
}

#[test]
fn a_restart_changes_no_verdict_and_adopts_everything() {
    let test = "a_restart_changes_no_verdict_and_adopts_everything";
    if !can_run(test) {
        return;
    }
    let folder = Folder::new("adopt");
    let wires = Wires::new("adopt").unwrap();
    let Wires { wan, router, lan } = &wires;
    let mut dataplane = wires.open(&folder);
    wires.install(&mut dataplane, &plan(80));
    let (mut known, mut known_there) = connect(lan, wan, "198.51.100.2:8080".parse().unwrap());
    ban(&dataplane, "198.51.100.77/32");
    let before = dataplane.active().unwrap();
    drop(dataplane);

    assert!(hears(&mut known, &mut known_there, PATIENCE) && hears(&mut known_there, &mut known, PATIENCE));
    assert!(!wires.datagram(wan, lan, "10.1.0.2:81"), "rules hold while nobody is there");
    assert!(wires.datagram(wan, lan, "10.1.0.2:80"));

    let (mut dataplane, adopted) = router.inside(|| Ok(Dataplane::open(folder.path())?)).unwrap();
    assert!(adopted.maps);
    assert_eq!((adopted.generation, adopted.epoch, adopted.bans), (before.generation, before.epoch, 1));
    assert_eq!(adopted.interfaces, ["lan0", "wan0"]);
    let port = 8080_u16.to_be_bytes();
    let flows = dataplane.flows().unwrap().list(100).unwrap();
    assert!(flows.iter().any(|flow| flow.key.destination_port == port && flow.key.zone == LAN), "{flows:?}");
    assert!(hears(&mut known, &mut known_there, PATIENCE) && hears(&mut known_there, &mut known, PATIENCE));

    let again = wires.install(&mut dataplane, &plan(80));
    assert!(!again.plan.changed, "the kernel holds this very image");
    assert_eq!(again.attached.len(), 2);
    let third = wires.install(&mut dataplane, &plan(80));
    assert!(!third.plan.changed, "the same plan again changes nothing");
    assert_eq!(third.plan.generation, again.plan.generation);
    assert!(hears(&mut known, &mut known_there, PATIENCE), "an established flow survives a plan");

    let cut = flows.iter().find(|flow| flow.key.destination_port == port).unwrap();
    assert_eq!(dataplane.flows().unwrap().cut_flow(cut.key, 99).unwrap(), 2, "both ways");
    assert!(!hears(&mut known, &mut known_there, SILENCE), "a cut flow is dead");
    assert!(!hears(&mut known_there, &mut known, SILENCE), "both ways");

    drop(dataplane);
    assert!(detach_all(folder.path()).unwrap() > 4);
    assert!(wires.datagram_in_the_end(wan, lan, "10.1.0.2:82"), "detached: everything passes");
}

#[test]
fn a_plan_switches_at_once_and_lets_go_what_it_does_not_name() {
    let test = "a_plan_switches_at_once_and_lets_go_what_it_does_not_name";
    if !can_run(test) {
        return;
    }
    let folder = Folder::new("switch");
    let wires = Wires::new("switch").unwrap();
    let Wires { wan, lan, .. } = &wires;
    let mut dataplane = wires.open(&folder);
    wires.install(&mut dataplane, &plan(80));
    let (mut known, mut known_there) = connect(lan, wan, "198.51.100.2:8080".parse().unwrap());
    for round in 0..6_u16 {
        let (open, shut) = if round % 2 == 0 { (81, 80) } else { (80, 81) };
        let applied = wires.install(&mut dataplane, &plan(open)).plan;
        assert!(applied.changed);
        assert!(wires.datagram(wan, lan, &format!("10.1.0.2:{open}")), "round {round}");
        assert!(!wires.datagram(wan, lan, &format!("10.1.0.2:{shut}")), "round {round}");
        assert!(
            hears(&mut known, &mut known_there, PATIENCE) && hears(&mut known_there, &mut known, PATIENCE)
        );
    }
    let before = dataplane.active().unwrap();
    let mut too_large = plan(90);
    too_large.rows = vec![too_large.rows[0].clone(); 20_000];
    assert!(wires.router.inside(|| Ok(dataplane.install(&too_large)?)).is_err());
    assert_eq!(dataplane.active().unwrap(), before, "a plan over a limit changes nothing");
    assert!(wires.datagram(wan, lan, "10.1.0.2:80"));

    let mut only_lan = plan(80);
    only_lan.ports.retain(|port| port.zone == LAN);
    only_lan.ports.push(Port { interface: "absent0".into(), vlan: 0, zone: WAN });
    let installed = wires.install(&mut dataplane, &only_lan);
    assert_eq!(installed.detached, ["wan0"]);
    assert_eq!(installed.plan.missing, ["absent0"]);
    assert!(wires.datagram_in_the_end(wan, lan, "10.1.0.2:85"), "nobody looks at the WAN any more");
}

#[test]
fn first_bytes_are_copied_for_inspection_both_ways() {
    let test = "first_bytes_are_copied_for_inspection_both_ways";
    if !can_run(test) {
        return;
    }
    let folder = Folder::new("inspect");
    let wires = Wires::new("inspect").unwrap();
    let mut dataplane = wires.open(&folder);
    wires.install(&mut dataplane, &plan(80));
    let mut ring = dataplane.inspect_ring().unwrap();
    let (mut client, mut server) = connect(&wires.wan, &wires.lan, "10.1.0.2:80".parse().unwrap());
    client.write_all(b"GET /request").unwrap();
    server.read_exact(&mut [0; 12]).unwrap();
    server.write_all(b"HTTP/1.1 200 answer").unwrap();
    client.read_exact(&mut [0; 19]).unwrap();
    let records: Vec<_> = std::iter::from_fn(|| ring.next_record()).collect();
    let holds = |reply: u8, text: &[u8]| {
        records.iter().any(|record| {
            let frame = &record.frame[..usize::from(record.captured)];
            record.reply == reply
                && (record.zone_from, record.zone_to) == (WAN, LAN)
                && record.captured == record.length
                && frame.windows(text.len()).any(|window| window == text)
        })
    };
    assert!(holds(0, b"GET /request") && holds(1, b"200 answer"), "{} records", records.len());
    let request = records.iter().find(|record| record.reply == 0).unwrap().flow;
    let answer = records.iter().find(|record| record.reply == 1).unwrap().flow;
    assert_eq!((answer.source, answer.destination, answer.zone), (request.destination, request.source, LAN));

    assert_eq!(dataplane.flows().unwrap().bypass_flow(answer).unwrap(), 2);
    assert!(hears(&mut client, &mut server, PATIENCE) && hears(&mut server, &mut client, PATIENCE));
    assert!(ring.next_record().is_none(), "nothing more is copied");
}

#[test]
fn an_interface_that_cannot_be_held_stops_no_other_and_one_that_is_gone_is_not_held() {
    let test = "an_interface_that_cannot_be_held_stops_no_other_and_one_that_is_gone_is_not_held";
    if !can_run(test) {
        return;
    }
    let (folder, foreign_folder) = (Folder::new("held"), Folder::new("foreign"));
    let wires = Wires::new("held").unwrap();
    let Wires { wan, lan, router } = &wires;
    // Another appliance's programs are as foreign as anybody's.
    let mut foreign = wires.open(&foreign_folder);
    let mut only_wan = plan(80);
    only_wan.ports.retain(|port| port.zone == WAN);
    wires.install(&mut foreign, &only_wan);

    let mut dataplane = wires.open(&folder);
    let names = |installed: &enforce::xdp::Installed| -> Vec<String> {
        installed.attached.iter().map(|held| held.name.clone()).collect()
    };
    let installed = wires.install(&mut dataplane, &plan(80));
    assert!(installed.plan.changed);
    assert_eq!(names(&installed), ["lan0"]);
    let [(interface, error)] = &installed.failed[..] else { panic!("{:?}", installed.failed) };
    assert_eq!(interface, "wan0");
    assert!(error.starts_with("cannot attach XDP to wan0 (generic): "), "{error}");

    router.inside(|| Ok(foreign.detach("wan0")?)).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut installed = wires.install(&mut dataplane, &plan(80));
    while !installed.failed.is_empty() && Instant::now() < deadline {
        installed = wires.install(&mut dataplane, &plan(80));
    }
    assert_eq!((names(&installed), &installed.failed[..]), (vec!["lan0".into(), "wan0".into()], &[][..]));
    assert!(!wires.datagram(wan, lan, "10.1.0.2:81"), "the plan is judged there now");

    router.run("ip link delete wan0").unwrap();
    assert_eq!(names(&wires.install(&mut dataplane, &plan(80))), ["lan0"], "its pin is still there");
    let mut only_lan = plan(80);
    only_lan.ports.retain(|port| port.zone == LAN);
    assert_eq!(wires.install(&mut dataplane, &only_lan).detached, ["wan0"], "its pin is removed");
    assert!(wires.install(&mut dataplane, &only_lan).detached.is_empty());
}

#[test]
fn a_ban_holds_against_a_connection_that_the_router_answers() {
    let test = "a_ban_holds_against_a_connection_that_the_router_answers";
    if !can_run(test) {
        return;
    }
    let folder = Folder::new("taught");
    let wires = Wires::new("taught").unwrap();
    let Wires { wan, router, .. } = &wires;
    // The connection is older than the programs, and the ban is there before they see its first packet.
    let (mut theirs, mut theirs_there) = connect(wan, router, "198.51.100.1:80".parse().unwrap());
    let mut dataplane = wires.open(&folder);
    ban(&dataplane, "198.51.100.2/32");
    wires.install(&mut dataplane, &plan(80));
    assert!(hears(&mut theirs_there, &mut theirs, PATIENCE), "what leaves teaches the tuple");
    assert!(!hears(&mut theirs, &mut theirs_there, SILENCE), "and is no way around the ban");
    let (mut own, mut own_there) = connect(router, wan, "198.51.100.2:8081".parse().unwrap());
    assert!(hears(&mut own, &mut own_there, PATIENCE) && hears(&mut own_there, &mut own, PATIENCE));

    // A dropped packet is told once.
    let counters = dataplane.counters().unwrap();
    let dropped = || counters.packet(WAN, Reason::BannedSource, Action::Drop).unwrap().packets;
    let socket = wan.inside(|| Ok(UdpSocket::bind("0.0.0.0:0")?)).unwrap();
    let (before, deadline) = (dropped(), Instant::now() + PATIENCE);
    for _ in 0..50 {
        socket.send_to(b"x", "198.51.100.1:9999").unwrap();
    }
    while dropped() < before + 50 && Instant::now() < deadline {}
    let mut ring = dataplane.packet_ring().unwrap();
    let told = std::iter::from_fn(|| ring.next_record())
        .filter(|record| record.destination_port == 9999_u16.to_be_bytes())
        .count();
    assert_eq!(told, 50);
}
