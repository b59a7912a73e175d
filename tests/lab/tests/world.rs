//! The lab's own ground: namespaces, links and real programs, without secd.

use lab::{Network, Programs, Waiter};

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
    programs.ssh_with_wrong_password(&network, lab::ATTACKER, "root").unwrap();
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
