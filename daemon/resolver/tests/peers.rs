//! Real programs at both ends: Debian's `dig` and `kdig` ask, `nsd` is the upstream.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

mod common;

use common::{Bench, PATIENCE, ads, dead, query, settings};
use std::{
    net::{Ipv4Addr, SocketAddr},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tokio::{net::UdpSocket, time::timeout};

/// Whether a program is installed; says on stderr that the test is skipped where it is not.
fn installed(test: &str, program: &str) -> bool {
    let there = Command::new(program).arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !there {
        eprintln!("SKIP: {test}: {program} is not installed");
    }
    there
}

/// What a program prints.
async fn output(program: &str, server: SocketAddr, words: &[&str]) -> String {
    let run = tokio::process::Command::new(program)
        .args([&format!("@{}", server.ip()), "-p", &server.port().to_string()])
        .args(words)
        .output();
    let output = timeout(PATIENCE, run).await.expect("it ends").unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A child that is stopped at the end of the test.
struct Stopped(Child);

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const ZONE: &str = "\
$ORIGIN real.example.
$TTL 300
@ SOA ns root 1 3600 600 86400 60
@ NS ns
ns A 127.0.0.1
www A 192.0.2.80
www AAAA 2001:db8::80
shop CNAME x.tracker.example.
odd TYPE65280 \\# 4 DEADBEEF
";

/// nsd with one zone; ready when this returns.
async fn nsd(folder: &std::path::Path) -> (Stopped, SocketAddr) {
    let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap().port();
    let path = folder.display();
    let big: String = (0..100).map(|host| format!("big A 198.51.100.{host}\n")).collect();
    std::fs::write(folder.join("zone"), format!("{ZONE}{big}")).unwrap();
    let config = format!(
        "server:\n ip-address: 127.0.0.1@{port}\n username: \"\"\n zonesdir: \"{path}\"\n database: \"\"\n \
         pidfile: \"{path}/pid\"\n xfrdfile: \"{path}/xfrd\"\n xfrdir: \"{path}\"\n zonelistfile: \"{path}/zones\"\n \
         server-count: 1\n rrl-ratelimit: 0\nremote-control:\n control-enable: no\n\
         zone:\n name: real.example\n zonefile: zone\n"
    );
    std::fs::write(folder.join("nsd.conf"), config).unwrap();
    let child = Command::new("nsd")
        .args(["-d", "-c", &format!("{path}/nsd.conf")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let child = Stopped(child);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let probe = query("www.real.example", "A", None).to_vec().unwrap();
    let ready = timeout(PATIENCE, async {
        loop {
            let socket = common::send_udp(address, &probe).await;
            if let Ok(Ok(_)) = timeout(Duration::from_millis(50), socket.recv(&mut [0; 512])).await {
                break;
            }
        }
    });
    ready.await.expect("nsd answers");
    (child, address)
}

#[tokio::test]
async fn dig_and_kdig_see_why() {
    let test = "dig_and_kdig_see_why";
    let bench = Bench::start(settings(vec![dead().await]), ads("# one\n||ads.example^")).await;
    if installed(test, "dig") {
        let printed = output("dig", bench.address, &["x.ads.example", "A", "+tries=1"]).await;
        assert!(printed.contains("EDE: 15 (Blocked): (blocked by list ads line 2)"), "{printed}");
        assert!(printed.contains("status: NOERROR") && printed.contains("0.0.0.0"), "{printed}");
        let printed = output("dig", bench.address, &["x.ads.example", "AAAA", "+tcp", "+short"]).await;
        assert_eq!(printed.trim(), "::");
        let printed = output("dig", bench.address, &["version.bind", "TXT", "CH", "+tries=1"]).await;
        assert!(printed.contains("status: REFUSED"), "{printed}");
        let printed = output("dig", bench.address, &["www.example", "+edns=1", "+noednsnegotiation"]).await;
        assert!(printed.contains("status: BADVERS"), "{printed}");
        let printed = output("dig", bench.address, &["www.example", "+opcode=notify", "+tries=1"]).await;
        assert!(printed.contains("status: NOTIMP"), "{printed}");
        let printed = output("dig", bench.address, &["www.example", "A", "+tries=1"]).await;
        assert!(printed.contains("status: SERVFAIL") && printed.contains("EDE: 22"), "{printed}");
    }
    if installed(test, "kdig") {
        let printed = output("kdig", bench.address, &["x.ads.example", "A", "+edns"]).await;
        assert!(printed.contains("blocked by list ads line 2") && printed.contains("0.0.0.0"), "{printed}");
        let printed =
            output("kdig", bench.address, &["+tcp", "+keepopen", "a.ads.example", "b.ads.example"]).await;
        assert_eq!(printed.matches("0.0.0.0").count(), 2, "{printed}");
    }
}

#[tokio::test]
async fn nsd_is_asked() {
    let test = "nsd_is_asked";
    if !installed(test, "nsd") || !installed(test, "dig") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (_nsd, upstream) = nsd(folder.path()).await;
    let bench = Bench::start(settings(vec![upstream]), ads("||tracker.example^")).await;
    let dig = async |words: &[&str]| output("dig", bench.address, words).await;
    assert_eq!(dig(&["www.real.example", "A", "+short"]).await.trim(), "192.0.2.80");
    assert_eq!(dig(&["www.real.example", "AAAA", "+short", "+tcp"]).await.trim(), "2001:db8::80");
    assert!(dig(&["none.real.example", "A"]).await.contains("status: NXDOMAIN"));
    let printed = dig(&["www.real.example", "MX"]).await;
    assert!(printed.contains("status: NOERROR") && printed.contains("ANSWER: 0, AUTHORITY: 1"), "{printed}");
    assert!(
        dig(&["odd.real.example", "TYPE65280"]).await.to_uppercase().contains("DEADBEEF"),
        "unknown types pass"
    );
    // 100 addresses: nsd truncates, TCP brings them, and we truncate for dig, which comes back over TCP.
    assert_eq!(
        dig(&["big.real.example", "A", "+short"]).await.lines().filter(|l| l.starts_with("198.51")).count(),
        100
    );
    assert!(dig(&["big.real.example", "A", "+ignore"]).await.contains(" tc "), "truncated over UDP");
    let printed = dig(&["shop.real.example", "A"]).await;
    assert!(printed.contains("(alias x.tracker.example)") && printed.contains("0.0.0.0"), "{printed}");
    assert!(bench.handle.stats().from_cache >= 1);
}
