//! The lab's own ground: namespaces, links and real programs, without secd.

use lab::{ATTACKER, CAMERAS, CAMERAS_VLAN, DMZ, Echo, Network, Probe, Programs, WAN, Waiter};

#[test]
fn hosts_reach_each_other_through_the_router_and_all_is_gone_after() {
    if let Some(why) = lab::cannot_run() {
        eprintln!("SKIP: lab::world: {why}");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let waiter = Waiter::default();
    let network = Network::build(9000).unwrap();
    let programs = Programs::start(&network, directory.path(), &waiter).unwrap();
    // Without secd nothing is forbidden: the key opens storage from where it must not be used later.
    assert_eq!(programs.ssh_to_storage(&network, lab::IOT).unwrap(), "in");
    programs.ssh_with_wrong_password(&network, &waiter, (ATTACKER, "root"), || Ok(false)).unwrap();
    waiter
        .until("a failed login in the log", std::time::Duration::from_secs(10), || {
            let lines = programs.lines_about(lab::ATTACKER);
            Ok(lines.iter().any(|written| written.line.contains("Failed password")).then_some(()))
        })
        .unwrap();
    let log = std::fs::read_to_string(&programs.auth_log).unwrap();
    assert!(log.contains("Failed password for root from 203.0.113.66"), "{log}");
    let path = network.router.path();
    assert!(path.exists());
    drop(programs);
    drop(network);
    assert!(!path.exists());
}

#[test]
fn the_probe_and_the_tagged_frames_measure_what_happens() {
    if let Some(why) = lab::cannot_run() {
        eprintln!("SKIP: lab::probe: {why}");
        return;
    }
    let waiter = Waiter::default();
    let soon = std::time::Duration::from_secs(10);
    let network = Network::build(9001).unwrap();
    let target = "198.51.100.10:7007".parse().unwrap();
    let _echo = Echo::start(network.host(DMZ).unwrap(), target).unwrap();
    let probe = Probe::start(network.host(WAN).unwrap(), ATTACKER.parse().unwrap(), target).unwrap();
    waiter.until("answers", soon, || Ok((probe.answered() > 20).then_some(()))).unwrap();
    assert_eq!(probe.cut_at(), None);
    let nft = |rules: &str| assert!(network.router.command("nft").arg(rules).status().unwrap().success());
    nft("add table ip t; add chain ip t f { type filter hook forward priority 0; }");
    let before = std::time::Instant::now();
    nft("add rule ip t f ip saddr 203.0.113.66 counter drop");
    let cut = waiter.until("the cut", soon, || Ok(probe.cut_at())).unwrap();
    assert!(cut > before, "cut before anything was dropped");

    lab::send_tagged(
        network.host(CAMERAS).unwrap(),
        CAMERAS_VLAN,
        [10, 41, 0, 9].into(),
        [10, 41, 0, 1].into(),
        53,
        30,
    )
    .unwrap();
    waiter
        .until("the frames at the router", soon, || {
            let output = network.router.command("cat").arg("/proc/net/dev").output()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let row = text.lines().find(|line| line.contains("trunk0:")).unwrap_or_default();
            let packets: u64 = row.split_whitespace().nth(2).unwrap_or("0").parse()?;
            Ok((packets >= 30).then_some(()))
        })
        .unwrap();
}
