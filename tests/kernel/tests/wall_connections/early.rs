//! Before the daemon is up: what a zone that fails closed, and one that fails open, lets through.

use crate::town::{Pair, SELF, Town, WAN, allow, connect, feed, listen, policy, refused, tcp, wait_until};
use enforce::nft::{NftError, Wall, WallState, early};
use model::{Action, Mode};
use std::{io::ErrorKind, net::UdpSocket};

fn counted(town: &Town) -> u64 {
    town.counted(&Wall::default(), "not up yet")
}

#[test]
fn a_zone_that_fails_closed_is_closed_before_the_daemon_is_up() {
    let Some(town) = Town::new("early") else { return };
    let (inner, own) = (listen(&town.host, "[::]:8443"), listen(&town.router, "[::]:2222"));
    let outside = listen(&town.outside, "[::]:80");
    let mut policy = policy(vec![allow(WAN, SELF, "", &[tcp(2222)])], vec![]);
    // Inner zones fail open, but for one.
    policy.zones[1].fail_open = true;
    let raise = |text: Vec<u8>| town.router.inside(|| Ok(Wall::default().raise_early(text))).unwrap();
    assert!(raise(early(&policy).unwrap()).unwrap());

    // Nothing comes in from outside, be it for the router or for a host, whatever the rules will say.
    let lost = |place, to: &str| {
        let before = counted(&town);
        let attempt = std::thread::scope(|scope| {
            let attempt =
                scope.spawn(|| crate::town::connect_within(place, to, std::time::Duration::from_millis(300)));
            wait_until("it is dropped", || counted(&town) > before);
            attempt.join().unwrap()
        });
        assert_eq!(attempt.unwrap_err().kind(), ErrorKind::TimedOut, "{to}");
    };
    for to in ["192.0.2.1:2222", "[2001:db8:ff::1]:2222", "10.1.0.5:8443", "[fd00:1::5]:8443"] {
        lost(&town.outside, to);
    }
    lost(&town.other, "10.2.0.1:2222");
    lost(&town.other, "10.1.0.5:8443");
    // The open zone goes out, translated, and to the router.
    let out = Pair::open(&outside, connect(&town.host, "192.0.2.254:80"));
    assert_eq!(out.seen, "::ffff:192.0.2.1".parse::<std::net::IpAddr>().unwrap());
    Pair::open(&outside, connect(&town.host, "[2001:db8:ff::fe]:80"));
    Pair::open(&own, connect(&town.host, "10.1.0.1:2222"));
    // The router asks outside and is answered, which takes neighbour discovery as well.
    Pair::open(&outside, connect(&town.router, "192.0.2.254:80"));
    Pair::open(&outside, connect(&town.router, "[2001:db8:ff::fe]:80"));
    feed(&town.router, &["ip", "-6", "neigh", "flush", "dev", "wan0"], "");
    Pair::open(&outside, connect(&town.router, "[2001:db8:ff::fe]:80"));
    // An offer of DHCP comes in: its port is reached, and says that nobody listens.
    let server = town.outside.inside(|| Ok(UdpSocket::bind("192.0.2.254:67")?)).unwrap();
    let client = town.router.inside(|| Ok(UdpSocket::bind("192.0.2.1:68")?)).unwrap();
    client.set_read_timeout(Some(crate::town::PATIENCE)).unwrap();
    server.send_to(b"offer", "192.0.2.1:68").unwrap();
    assert_eq!(client.recv(&mut [0; 16]).unwrap(), 5);

    // The daemon comes up: its policy takes the table's place in one step, and what lived lives.
    let mut wall = Wall::default();
    town.apply(&mut wall, &policy);
    out.talk();
    Pair::open(&own, connect(&town.outside, "192.0.2.1:2222"));
    refused(connect(&town.outside, "10.1.0.5:8443"));
    // From then on it is left alone.
    let closed = policy.zones.iter().map(|zone| policy::Zone { fail_open: false, ..zone.clone() }).collect();
    let text = early(&policy::Policy { zones: closed, ..policy.clone() }).unwrap();
    assert!(!raise(text).unwrap());
    assert_eq!(town.router.inside(|| Ok(wall.check()?)).unwrap(), WallState::Same);
    drop(inner);
}

#[test]
fn a_router_that_only_observes_is_never_closed() {
    let Some(town) = Town::new("early_observe") else { return };
    let own = listen(&town.router, "192.0.2.1:2222");
    let mut policy = policy(vec![], vec![]);
    policy.zones.iter_mut().for_each(|zone| zone.denial = Action::Drop);
    policy.mode = Mode::Observe;
    let text = early(&policy).unwrap();
    let raised = town.router.inside(|| Ok(Wall::default().raise_early(text)?)).unwrap();
    assert!(raised);
    Pair::open(&own, connect(&town.outside, "192.0.2.1:2222"));
    // What nft does not take leaves no half of a table.
    town.router.inside(|| Ok(Wall::default().remove()?)).unwrap();
    let refused = town.router.inside(|| Ok(Wall::default().raise_early(b"{}".to_vec()))).unwrap();
    assert!(matches!(refused, Err(NftError::Refused { .. })), "{refused:?}");
}
