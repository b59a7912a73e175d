//! Beside Docker and Tailscale, whose rules have the shapes their documentation shows: what containers publish is
//! reached where a rule allows it, and their tables stay as they are.

use crate::town::{A, Pair, SELF, Town, WAN, allow, connect, feed, listen, policy, refused, tcp};
use enforce::nft::{Wall, WallState};
use kernel_tests::Namespace;
use std::process::Command;

const DOCKER: &str = "*nat
:PREROUTING ACCEPT
:OUTPUT ACCEPT
:POSTROUTING ACCEPT
:DOCKER -
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
COMMIT
*filter
:INPUT ACCEPT
:FORWARD DROP
:OUTPUT ACCEPT
:DOCKER -
:DOCKER-USER -
:DOCKER-ISOLATION-STAGE-1 -
:ts-input -
:ts-forward -
-A INPUT -j ts-input
-A FORWARD -j ts-forward
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -i docker0 -o docker0 -j ACCEPT
-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER-USER -j RETURN
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A ts-input -s 100.101.102.103/32 -i lo -j ACCEPT
-A ts-input -s 100.64.0.0/10 ! -i tailscale0 -j DROP
-A ts-input -i tailscale0 -j ACCEPT
-A ts-forward -i tailscale0 -j MARK --set-xmark 0x40000/0xff0000
-A ts-forward -m mark --mark 0x40000/0xff0000 -j ACCEPT
-A ts-forward -s 100.64.0.0/10 -o tailscale0 -j DROP
-A ts-forward -o tailscale0 -j ACCEPT
COMMIT
";

/// Docker's own nftables backend writes tables of this shape.
const DOCKER_NFT: &str = "table ip docker-bridges {
    map filter-forward-in-jumps { type ifname : verdict; elements = { \"docker0\" : jump in-docker0 }; }
    map filter-forward-out-jumps { type ifname : verdict; elements = { \"docker0\" : jump out-docker0 }; }
    chain in-docker0 { ct state established,related accept; iifname docker0 accept; ip daddr 172.17.0.2 tcp dport 80 accept; drop; }
    chain out-docker0 { ct state established,related accept; oifname docker0 accept; accept; }
    chain filter-FORWARD { type filter hook forward priority filter; oifname vmap @filter-forward-in-jumps; iifname vmap @filter-forward-out-jumps; }
    chain nat-prerouting { type nat hook prerouting priority dstnat; fib daddr type local jump nat-prerouting-and-output; }
    chain nat-prerouting-and-output { iifname != \"docker0\" tcp dport 8080 dnat to 172.17.0.2:80; }
    chain nat-POSTROUTING { type nat hook postrouting priority srcnat; oifname != \"docker0\" ip saddr 172.17.0.0/16 masquerade; }
}
";

/// A container behind docker0, and a tailscale0 that goes nowhere.
fn container(town: &Town, name: &str) -> Namespace {
    let container = Namespace::new(name).unwrap();
    town.router.join("veth1", &container, "eth0").unwrap();
    town.batch(
        &town.router,
        "link add docker0 type bridge
         link set docker0 up
         link set veth1 master docker0
         address add 172.17.0.1/16 dev docker0
         link add tailscale0 type bridge
         link set tailscale0 up
         address add 100.101.102.103/32 dev tailscale0",
    );
    town.batch(&container, "address add 172.17.0.2/16 dev eth0\nroute add default via 172.17.0.1");
    container
}

/// What others have in nftables, without what was counted.
fn theirs(town: &Town) -> String {
    let listed = feed(&town.router, &["nft", "-s", "list", "ruleset"], "");
    let mut kept = String::new();
    let mut ours = false;
    for line in listed.lines() {
        if line.starts_with("table ") {
            ours = line.starts_with("table inet secd ");
        }
        if !ours {
            kept += line;
            kept.push('\n');
        }
    }
    kept
}

fn published_ports_are_asked_by_the_routers_own(town: &Town, container: &Namespace) {
    let (web, outside) = (listen(container, "172.17.0.2:80"), listen(&town.outside, "192.0.2.254:80"));
    let before = theirs(town);
    assert!(before.contains("172.17.0.2"), "{before}");
    Pair::open(&web, connect(&town.outside, "192.0.2.1:8080"));

    let mut wall = Wall::default();
    let allowed = vec![allow(WAN, SELF, "", &[tcp(8080)]), allow(A, SELF, "", &[tcp(8080)])];
    town.apply(&mut wall, &policy(allowed, vec![]));
    let lives = Pair::open(&web, connect(&town.outside, "192.0.2.1:8080"));
    Pair::open(&web, connect(&town.host, "10.1.0.1:8080"));
    // The container's own address and port are nobody's business, allowed or not.
    refused(connect(&town.outside, "172.17.0.2:80"));
    refused(connect(&town.other, "192.0.2.1:8080"));
    // Containers reach what Docker lets them.
    let out = Pair::open(&outside, connect(container, "192.0.2.254:80"));
    assert_eq!(out.seen.to_string(), "192.0.2.1");

    // A rule for the port behind the translation is not one for the port in front of it.
    town.apply(&mut wall, &policy(vec![allow(WAN, SELF, "", &[tcp(80)])], vec![]));
    refused(connect(&town.outside, "192.0.2.1:8080"));
    lives.talk();

    assert_eq!(theirs(town), before);
    assert_eq!(town.router.inside(|| Ok(wall.check()?)).unwrap(), WallState::Same);
    town.router.inside(|| Ok(wall.remove()?)).unwrap();
    assert_eq!(theirs(town), before);
    lives.talk();
    Pair::open(&web, connect(&town.outside, "192.0.2.1:8080"));
}

#[test]
fn docker_and_tailscale_by_iptables() {
    let Some(town) = Town::new("docker") else { return };
    let restore = "iptables-nft-restore";
    if !Command::new(restore).arg("--version").output().is_ok_and(|ended| ended.status.success()) {
        eprintln!("SKIP: docker_and_tailscale_by_iptables: no {restore}");
        return;
    }
    let container = container(&town, "container-ipt");
    feed(&town.router, &[restore], DOCKER);
    published_ports_are_asked_by_the_routers_own(&town, &container);
}

#[test]
fn docker_by_its_own_nftables() {
    let Some(town) = Town::new("dockernft") else { return };
    let container = container(&town, "container-nft");
    feed(&town.router, &["nft", "-f", "-"], DOCKER_NFT);
    published_ports_are_asked_by_the_routers_own(&town, &container);
}
