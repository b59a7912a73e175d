//! A SYN flood from sources that nobody has: found by itself, answered for the servers, over by itself.
#![expect(clippy::unwrap_used, reason = "a test fails where its helpers do")]

use lab::{DMZ, Lab, Own, SynFlood, VISITOR, WAN, Waiter, connect};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);
/// A flood is over after half a minute of calm.
const OVER_BY: Duration = Duration::from_secs(60);
const LIMIT: Duration = Duration::from_millis(1500);
/// Openings a second: enough for a flood, little for the machine of the test.
const RATE: u32 = 3000;

/// A connection that says something now and then.
struct Talk(TcpStream);

impl Talk {
    fn open(lab: &Lab) -> Self {
        let target: SocketAddr = format!("{}:7007", DMZ.host4).parse().unwrap();
        let open = || TcpStream::connect_timeout(&target, LIMIT);
        let stream = lab.network.host(WAN).unwrap().inside(open).unwrap().unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let mut talk = Self(stream);
        talk.go_on();
        talk
    }

    fn go_on(&mut self) {
        self.0.write_all(b"good day").unwrap();
        let mut heard = [0; 8];
        self.0.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"good day");
    }
}

fn troubles(lab: &Lab) -> String {
    lab.appliance.status().unwrap()["troubles"].to_string()
}

fn events(lab: &Lab) -> Vec<String> {
    let events = lab.appliance.events().unwrap();
    let of_flood = events.iter().filter(|event| event["reason"] == "syn_flood");
    of_flood.map(|event| event["message"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Connections that the router remembers.
fn remembered(lab: &Lab) -> u64 {
    let read = || fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count");
    lab.network.router.inside(read).unwrap().unwrap().trim().parse().unwrap()
}

#[test]
fn a_flood_is_answered_for_the_servers_until_it_is_over() {
    if let Some(why) = lab::cannot_run() {
        eprintln!("SKIP: lab::flood: {why}");
        return;
    }
    let lab = Lab::start(Waiter::default(), false, Own::default()).unwrap();
    let web = || {
        let target = format!("{}:80", DMZ.host4);
        connect(lab.network.host(WAN).unwrap(), Some(VISITOR), &target, LIMIT).unwrap()
    };
    assert_eq!(web(), "HTTP 200");
    let mut before = Talk::open(&lab);
    assert_eq!(troubles(&lab), "[]");

    let target = SocketAddrV4::new(DMZ.host4.parse().unwrap(), 80);
    let router = (&lab.network.router, WAN.interface);
    let flood = SynFlood::start(lab.network.host(WAN).unwrap(), router, target, RATE).unwrap();
    lab.waiter
        .until("the flood is found", SOON, || {
            Ok(troubles(&lab).contains("SYN flood from zone wan").then_some(()))
        })
        .unwrap();
    assert!(events(&lab)[0].contains("SYN flood from zone wan"), "{:?}", events(&lab));
    let nft = || {
        let output =
            lab.network.router.command("nft").args(["list", "chain", "inet", "secd", "flood"]).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    lab.waiter.until("nftables follows", SOON, || Ok(nft().contains("notrack").then_some(()))).unwrap();
    // Whoever is there goes on, whoever is real comes in, and nothing of the flood is remembered.
    let (sent, count) = (flood.sent(), remembered(&lab));
    before.go_on();
    let mut during = Talk::open(&lab);
    for _ in 0..5 {
        assert_eq!(web(), "HTTP 200");
    }
    lab.waiter
        .until("more of the flood", SOON, || Ok((flood.sent() > sent + u64::from(RATE)).then_some(())))
        .unwrap();
    assert!(remembered(&lab) < count + 100, "{} connections, {count} before", remembered(&lab));
    before.go_on();
    during.go_on();
    drop(flood);

    lab.waiter.until("it is over", OVER_BY, || Ok((troubles(&lab) == "[]").then_some(()))).unwrap();
    lab.waiter.until("nftables follows", SOON, || Ok((!nft().contains("notrack")).then_some(()))).unwrap();
    assert!(events(&lab)[1].contains("is over"), "{:?}", events(&lab));
    before.go_on();
    during.go_on();
    assert_eq!(web(), "HTTP 200");
    assert_eq!(events(&lab).len(), 2, "{:?}", events(&lab));
}
