//! Connections that must live, and what must not get through, over the wire with the second wall alone: a router whose
//! packet path is detached is still closed, and its forwards, hairpins, helpers and neighbours (Docker, Tailscale) work.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod early;
mod ftp;
mod neighbours;
mod town;
mod trial;

use enforce::nft::{Options, Wall};
use ipnet::IpNet;
use model::Protocol;
use policy::{AddressSet, Forward, Rate, Rule, ServiceMatch, SetKind};
use std::net::{IpAddr, UdpSocket};
use town::{
    A, B, Pair, SELF, Town, WAN, allow, connect, connect_from, feed, forward, listen, policy, refused, tcp,
    wait_until,
};

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn without_a_packet_path_the_router_is_closed() {
    let Some(town) = Town::new("closed") else { return };
    let (inner, own, other) = (
        listen(&town.host, "[::]:8443"),
        listen(&town.router, "[::]:2222"),
        listen(&town.other, "[::]:8443"),
    );
    let mut wall = Wall::default();
    town.apply(&mut wall, &policy(vec![allow(A, WAN, "", &[]), allow(A, B, "", &[])], vec![]));
    for closed in [
        "10.1.0.5:8443",
        "[fd00:1::5]:8443",
        "192.0.2.1:2222",
        "10.1.0.1:2222",
        "[2001:db8:ff::1]:2222",
        "10.2.0.5:8443",
    ] {
        refused(connect(&town.outside, closed));
    }
    refused(connect(&town.other, "10.1.0.5:8443"));
    refused(connect(&town.other, "10.2.0.1:2222"));
    Pair::open(&other, connect(&town.host, "10.2.0.5:8443"));
    // Within a zone the router does not stand between; what it carries there passes unless hosts are kept apart.
    Pair::open(&inner, connect(&town.neighbour, "10.1.0.5:8443"));
    drop(own);
    // Who says he is inside, and comes in from outside, is not believed.
    town.batch(&town.outside, "address add 10.1.0.77/32 dev eth0");
    let forged = town.outside.inside(|| Ok(UdpSocket::bind("10.1.0.77:0")?)).unwrap();
    forged.send_to(b"x", "10.2.0.5:8443").unwrap();
    wait_until("the forged packet is dropped", || town.counted(&wall, "spoofed") > 0);
    // To an interface of no zone the packet path thinks it goes outside, and so does the wall.
    town.batch(
        &town.router,
        "link add spare type bridge\nlink set spare up\nroute add 10.77.0.0/16 dev spare",
    );
    refused(connect(&town.outside, "10.77.0.5:80"));
    refused(connect(&town.other, "10.77.0.5:80"));
}

#[test]
fn forwards_and_hairpins_lead_inside() {
    let Some(town) = Town::new("forward") else { return };
    let inner = listen(&town.host, "10.1.0.5:8443");
    let range = listen(&town.host, "10.1.0.5:7002");
    let outside = listen(&town.outside, "[::]:80");
    let narrow = Forward { sources: vec![0], hairpin: false, ..forward(&[tcp(22)], "10.1.0.5", Some(8443)) };
    let several = forward(&[ServiceMatch::new(Protocol::TCP, 9000, 9002)], "10.1.0.5", Some(7000));
    let forwards = vec![forward(&[tcp(443)], "10.1.0.5", Some(8443)), narrow, several];
    let mut policy = policy(vec![allow(A, WAN, "", &[])], forwards);
    let nets: Vec<IpNet> = vec!["192.0.2.253/32".parse().unwrap()];
    policy.sets = vec![AddressSet { name: "friends".into(), kind: SetKind::Group, nets: nets.into() }];
    let mut wall = Wall::default();
    town.apply(&mut wall, &policy);

    let from_outside = Pair::open(&inner, connect(&town.outside, "192.0.2.1:443"));
    assert_eq!(from_outside.seen, address("192.0.2.254"));
    // Nobody else sees the port, and it is not open by the router's inner addresses.
    refused(connect(&town.outside, "192.0.2.1:8443"));
    refused(connect(&town.outside, "10.1.0.5:8443"));
    refused(connect(&town.neighbour, "10.1.0.1:443"));
    refused(connect(&town.outside, "192.0.2.1:22"));
    Pair::open(&inner, connect_from(&town.outside, "192.0.2.253", "192.0.2.1:22"));
    refused(connect(&town.other, "192.0.2.1:22"));
    Pair::open(&range, connect(&town.outside, "192.0.2.1:9002"));
    // Hairpin from another zone, and from the host's own, whose answer would else go past the router.
    let other_zone = Pair::open(&inner, connect(&town.other, "192.0.2.1:443"));
    assert_eq!(other_zone.seen, address("10.2.0.5"));
    let own_zone = Pair::open(&inner, connect(&town.neighbour, "192.0.2.1:443"));
    assert_eq!(own_zone.seen, address("10.1.0.1"));
    // Out with the router's address, and without in IPv6.
    let out = Pair::open(&outside, connect(&town.host, "192.0.2.254:80"));
    assert_eq!(out.seen, "::ffff:192.0.2.1".parse::<IpAddr>().unwrap());
    assert_eq!(Pair::open(&outside, connect(&town.host, "[2001:db8:ff::fe]:80")).seen, address("fd00:1::5"));
    assert!(town.counted(&wall, &format!("forward {}", policy.forward_id(0))) >= 3);

    // The same again, then another policy: connections live on.
    town.apply(&mut wall, &policy);
    from_outside.talk();
    let closed = self::policy_without_anything();
    town.apply(&mut wall, &closed);
    for pair in [&from_outside, &own_zone, &out] {
        pair.talk();
    }
    refused(connect(&town.outside, "192.0.2.1:443"));
}

fn policy_without_anything() -> policy::Policy {
    policy(vec![], vec![])
}

#[test]
fn connections_older_than_the_wall_live() {
    let Some(town) = Town::new("older") else { return };
    let (outside, inner) = (listen(&town.outside, "[::]:80"), listen(&town.host, "10.1.0.5:8443"));
    // The router had another firewall before.
    let former = "table ip former {
        chain p { type nat hook prerouting priority -100; iifname wan0 tcp dport 443 dnat to 10.1.0.5:8443; }
        chain o { type nat hook postrouting priority 100; oifname wan0 masquerade; }
    }\n";
    feed(&town.router, &["nft", "-f", "-"], former);
    let out = Pair::open(&outside, connect(&town.host, "192.0.2.254:80"));
    let forwarded = Pair::open(&inner, connect(&town.outside, "192.0.2.1:443"));
    let mut wall = Wall::default();
    town.apply(&mut wall, &policy_without_anything());
    feed(&town.router, &["nft", "delete", "table", "ip", "former"], "");
    for pair in [&out, &forwarded] {
        pair.talk();
    }
    refused(connect(&town.outside, "192.0.2.1:443"));
}

#[test]
fn a_limit_counts_new_flows_of_a_source_and_nothing_else() {
    let Some(town) = Town::new("limit") else { return };
    let udp = ServiceMatch::new(Protocol::UDP, 5000, 5000);
    let slow =
        Rule { limit: Some(Rate { interval: 3_600_000_000_000, burst: 3 }), ..allow(A, B, "", &[udp]) };
    let mut wall = Wall::default();
    town.apply(&mut wall, &policy(vec![slow], vec![]));
    let receiver = town.other.inside(|| Ok(UdpSocket::bind("10.2.0.5:5000")?)).unwrap();
    receiver.set_read_timeout(Some(town::PATIENCE)).unwrap();
    // Twelve flows of one source, each of two packets.
    let sockets: Vec<UdpSocket> =
        (0..12).map(|_| town.host.inside(|| Ok(UdpSocket::bind("10.1.0.5:0")?)).unwrap()).collect();
    for socket in sockets.iter().chain(&sockets) {
        // Later ones are told that they are refused; that is what is counted.
        let _ = socket.send_to(b"x", "10.2.0.5:5000");
    }
    // One more than the packet path's own rate, which has the say.
    for _ in 0..8 {
        receiver.recv(&mut [0; 8]).unwrap();
    }
    wait_until("the others are dropped", || town.counted(&wall, "rule 0 limited") == 16);
    let neighbour = town.neighbour.inside(|| Ok(UdpSocket::bind("10.1.0.6:0")?)).unwrap();
    neighbour.send_to(b"x", "10.2.0.5:5000").unwrap();
    assert_eq!(receiver.recv_from(&mut [0; 8]).unwrap().1.ip(), address("10.1.0.6"));
}

#[test]
fn segments_are_clamped_to_what_the_outside_carries() {
    let Some(town) = Town::new("clamp") else { return };
    let outside = listen(&town.outside, "0.0.0.0:80");
    let mut policy = policy(vec![allow(A, WAN, "", &[])], vec![]);
    town.batch(&town.router, "link set wan0 mtu 1400");
    let mut segment = |clamp: bool| {
        policy.zones[0].clamp_mss = clamp;
        town.apply(&mut Wall::default(), &policy);
        let pair = Pair::open(&outside, connect(&town.host, "192.0.2.254:80"));
        [pair.near, pair.far].map(|end| socket2::SockRef::from(&end).tcp_mss().unwrap())
    };
    assert!(segment(false)[1] > 1360);
    let [near, far] = segment(true);
    assert!(near <= 1360 && far <= 1360, "{near} {far}");
}

#[test]
fn asymmetric_paths_live_where_a_zone_is_loose() {
    let Some(town) = Town::new("loose") else { return };
    // The two hosts have a way past the router: in each direction once.
    town.host.join("direct", &town.other, "direct").unwrap();
    town.batch(&town.host, "address add 10.9.0.1/30 dev direct");
    town.batch(&town.other, "address add 10.9.0.2/30 dev direct");
    for place in [&town.host, &town.other] {
        for key in ["all", "eth0", "direct"] {
            let write = || Ok(std::fs::write(format!("/proc/sys/net/ipv4/conf/{key}/rp_filter"), "0")?);
            place.inside(write).unwrap();
        }
    }
    let server = listen(&town.other, "10.2.0.5:8443");
    let mut policy = policy(vec![allow(A, B, "", &[tcp(8443)])], vec![]);
    let mut wall = Wall::default();
    let ways = [
        // The router sees only what the client says.
        (&town.other, "route add 10.1.0.5/32 via 10.9.0.1", "route del 10.1.0.5/32"),
        // The router sees only the answers.
        (&town.host, "route add 10.2.0.5/32 via 10.9.0.2", "route del 10.2.0.5/32"),
    ];
    for (place, add, remove) in ways {
        town.batch(place, add);
        for loose in [A, B] {
            policy.zones.iter_mut().for_each(|zone| zone.loose = zone.id == loose);
            town.apply(&mut wall, &policy);
            let pair = Pair::open(&server, connect(&town.host, "10.2.0.5:8443"));
            pair.talk();
            // What no rule opens stays closed, half seen or not.
            refused(connect(&town.other, "10.1.0.1:2222"));
            // It also outlives a change.
            town.apply(&mut wall, &policy);
            pair.talk();
        }
        town.batch(place, remove);
    }
    // In a zone that is not loose, such a connection belongs to nothing.
    policy.zones.iter_mut().for_each(|zone| zone.loose = false);
    town.apply(&mut wall, &policy);
    town.batch(&town.other, "route add 10.1.0.5/32 via 10.9.0.1");
    let begun = town.host.inside(|| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        let to: std::net::SocketAddr = "10.2.0.5:8443".parse()?;
        let _ = socket.connect(&to.into());
        Ok(socket)
    });
    wait_until("the acknowledgement is dropped", || town.counted(&wall, "invalid") > 0);
    drop(begun);
}

#[test]
fn under_a_flood_only_proven_sources_are_remembered() {
    let Some(town) = Town::new("flood") else { return };
    let (inner, own) = (listen(&town.host, "10.1.0.5:8443"), listen(&town.router, "192.0.2.1:2222"));
    let routed = listen(&town.host, "10.1.0.5:8080");
    let forwards = vec![forward(&[tcp(443)], "10.1.0.5", Some(8443))];
    let rules =
        vec![allow(WAN, SELF, "", &[tcp(2222)]), allow(WAN, A, "", &[tcp(8080)]), allow(A, WAN, "", &[])];
    let policy = policy(rules, forwards);
    let mut wall = Wall::default();
    town.apply(&mut wall, &policy);
    let before = Pair::open(&inner, connect(&town.outside, "192.0.2.1:443"));

    let flooded = Options { flooded: vec![WAN], ..Options::default() };
    town.apply_with(&mut wall, &policy, &flooded);
    before.talk();
    let proven = vec![
        Pair::open(&own, connect(&town.outside, "192.0.2.1:2222")),
        Pair::open(&routed, connect(&town.outside, "10.1.0.5:8080")),
        Pair::open(&inner, connect(&town.outside, "192.0.2.1:443")),
    ];
    for pair in &proven {
        assert_eq!(pair.seen, address("192.0.2.254"));
    }
    refused(connect(&town.outside, "192.0.2.1:23"));
    // Sources that never answer leave nothing behind.
    let remembered = || -> u64 {
        let read = || Ok(std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count")?);
        town.router.inside(read).unwrap().trim().parse().unwrap()
    };
    let (count, statistics) = (remembered(), "/proc/thread-self/net/stat/synproxy");
    town.batch(
        &town.outside,
        "address add 198.18.0.1/16 dev eth0\nneigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev eth0",
    );
    let received = || -> u64 {
        let read = || Ok(std::fs::read_to_string(statistics)?);
        let text = town.router.inside(read).unwrap();
        let columns = text.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1));
        columns.map(|hex| u64::from_str_radix(hex, 16).unwrap()).sum()
    };
    let answered = received();
    // The router has no way back to them.
    let attempts: Vec<_> = (1..=200)
        .map(|number| {
            town.outside
                .inside(|| {
                    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
                    socket.set_nonblocking(true)?;
                    let from: std::net::SocketAddr = "198.18.0.1:0".parse()?;
                    socket.bind(&from.into())?;
                    let to: std::net::SocketAddr = "192.0.2.1:2222".parse()?;
                    let _ = socket.connect(&to.into());
                    Ok((socket, number))
                })
                .unwrap()
        })
        .collect();
    wait_until("the openings come to the proxy", || received() >= answered + 200);
    assert!(remembered() <= count + 5, "{} connections, {count} before", remembered());
    drop(attempts);
    // And back to normal.
    town.apply(&mut wall, &policy);
    for pair in &proven {
        pair.talk();
    }
    before.talk();
    Pair::open(&inner, connect(&town.outside, "192.0.2.1:443"));
}

#[test]
fn under_a_flood_every_zone_is_led_inside_and_out() {
    let Some(town) = Town::new("flood_hairpin") else { return };
    let inner = listen(&town.host, "10.1.0.5:8443");
    let outside = listen(&town.outside, "192.0.2.254:80");
    let rules = vec![allow(A, WAN, "", &[])];
    let policy = policy(rules, vec![forward(&[tcp(443)], "10.1.0.5", Some(8443))]);
    let mut wall = Wall::default();
    // Who comes from which zone, and whom the server sees: its own neighbours by the router's address.
    let ways = [(&town.outside, "192.0.2.254"), (&town.other, "10.2.0.5"), (&town.neighbour, "10.1.0.1")];
    for flooded in [vec![WAN], vec![A], vec![B], vec![A, B], vec![WAN, A, B]] {
        town.apply_with(&mut wall, &policy, &Options { flooded: flooded.clone(), ..Options::default() });
        for (from, seen) in ways {
            let pair = Pair::open(&inner, connect(from, "192.0.2.1:443"));
            assert_eq!(pair.seen, address(seen), "{flooded:?}");
        }
        refused(connect(&town.other, "192.0.2.1:8443"));
        refused(connect(&town.other, "10.2.0.1:443"));
        // And out, with the router's address.
        let out = Pair::open(&outside, connect(&town.host, "192.0.2.254:80"));
        assert_eq!(out.seen, address("192.0.2.1"), "{flooded:?}");
    }
}
