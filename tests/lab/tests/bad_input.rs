//! What people and attackers get wrong: a clear word, the last good state stays, nothing crashes.
#![expect(clippy::unwrap_used, reason = "a test fails where its helpers do")]

use lab::{ATTACKER, DMZ, IOT, Lab, Own, STORAGE, VISITOR, WAN, Waiter, connect};
use std::fs;
use std::io::Write;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

/// A lab with a list of three names, in `directory`.
fn small_lab(test: &str, directory: &std::path::Path) -> Option<Lab> {
    if let Some(why) = lab::cannot_run() {
        eprintln!("SKIP: lab::bad_input::{test}: {why}");
        return None;
    }
    let list = directory.join("names.txt");
    fs::write(&list, "one.example\ntwo.example\nthree.example\n").unwrap();
    Some(Lab::start(Waiter::default(), false, Own { list: Some(list), ..Own::default() }).unwrap())
}

fn generation(lab: &Lab) -> u64 {
    lab.appliance.status().unwrap()["generation"].as_u64().unwrap()
}

#[test]
fn a_config_that_vanishes_or_is_wrong_leaves_the_last_good_one_in_force() {
    let directory = tempfile::tempdir().unwrap();
    let Some(mut lab) = small_lab("config", directory.path()) else { return };
    let good = fs::read_to_string(&lab.appliance.config).unwrap();
    let before = generation(&lab);

    // SIGHUP has nobody to answer: what is wrong becomes a trouble and an event, and the daemon goes on.
    fs::write(&lab.appliance.config, good.replace("vlan = 410", "vlan = 5000")).unwrap();
    lab.appliance.hang_up().unwrap();
    let about_config = |value: &serde_json::Value| value.to_string().contains("the old one stays");
    lab.waiter
        .until("a trouble about the config", SOON, || {
            Ok(about_config(&lab.appliance.status()?["troubles"]).then_some(()))
        })
        .unwrap();
    lab.waiter
        .until("an event about the config", SOON, || {
            Ok(lab.appliance.events()?.iter().any(about_config).then_some(()))
        })
        .unwrap();
    assert_eq!(generation(&lab), before);

    // Someone who asks is told what and where.
    let reply = lab.appliance.ask(&["reload"]).unwrap();
    assert_eq!(reply.code, 1, "{}", reply.text);
    assert!(reply.text.contains("5000"), "{}", reply.text);
    fs::remove_file(&lab.appliance.config).unwrap();
    let reply = lab.appliance.ask(&["reload"]).unwrap();
    assert_eq!(reply.code, 1, "{}", reply.text);
    assert!(reply.text.contains("secd.toml"), "{}", reply.text);
    assert_eq!(generation(&lab), before);

    fs::write(&lab.appliance.config, good).unwrap();
    let reply = lab.appliance.ask(&["reload"]).unwrap();
    assert_eq!(reply.code, 0, "{}", reply.text);
    assert!(!about_config(&lab.appliance.status().unwrap()["troubles"]));
}

#[test]
fn a_ban_of_what_must_stay_reachable_is_refused_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let Some(lab) = small_lab("protected", directory.path()) else { return };
    for target in ["10.1.0.1", "203.0.113.2", "203.0.113.53", "0.0.0.0/0"] {
        let reply = lab.appliance.ask(&["ban", target]).unwrap();
        assert_eq!(reply.code, 1, "{target}: {}", reply.text);
        assert!(reply.text.len() > 20, "{target}: no reason in: {}", reply.text);
    }
    let decisions = lab.appliance.ask(&["decisions"]).unwrap();
    assert_eq!(decisions.json["decisions"].as_array().unwrap().len(), 0, "{}", decisions.text);
    // A good one is acknowledged when it is stored, and still there after a crash.
    let reply = lab.appliance.ask(&["ban", VISITOR]).unwrap();
    assert_eq!(reply.code, 0, "{}", reply.text);
    let mut lab = lab;
    lab.appliance.kill().unwrap();
    lab.appliance.run(&lab.network.router, &lab.waiter).unwrap();
    let decisions = lab.appliance.ask(&["decisions"]).unwrap();
    assert!(decisions.text.contains(VISITOR), "{}", decisions.text);
}

#[test]
fn a_list_that_is_a_web_page_keeps_the_old_one() {
    let directory = tempfile::tempdir().unwrap();
    let Some(lab) = small_lab("list", directory.path()) else { return };
    let list = || lab.appliance.ask(&["lists"]).unwrap().json["lists"][0].clone();
    assert_eq!(list()["entries"], 3, "{}", list());
    let page =
        format!("<!DOCTYPE html>\n<html><body>{}</body></html>\n", "<p>404 not found</p>\n".repeat(50));
    fs::write(directory.path().join("names.txt"), page).unwrap();
    lab.appliance.ask(&["reload"]).unwrap();
    lab.waiter
        .until("the list to be refused", SOON, || Ok(list()["error"].is_string().then_some(())))
        .unwrap();
    assert_eq!(list()["entries"], 3, "{}", list());
    let why = lab.appliance.ask(&["why", "two.example"]).unwrap();
    assert_eq!(why.json["blocked"], true, "{}", why.text);
}

#[test]
fn a_rule_file_that_vanishes_keeps_the_former_signatures() {
    let directory = tempfile::tempdir().unwrap();
    let Some(lab) = small_lab("signatures", directory.path()) else { return };
    let text = fs::read_to_string(&lab.appliance.config).unwrap();
    let section = text.split("[signatures]").nth(1).unwrap();
    let rules = section.split('"').nth(1).unwrap();
    let loaded = || lab.appliance.status().unwrap()["signatures"]["rules"].as_u64().unwrap();
    let (before, kept) = (loaded(), fs::read(rules).unwrap());
    assert!(before > 0);
    fs::remove_file(rules).unwrap();
    assert_eq!(lab.appliance.ask(&["reload"]).unwrap().code, 0);
    let troubles = lab.appliance.status().unwrap()["troubles"].to_string();
    assert!(
        troubles.contains("the former signatures stay in force") && troubles.contains(rules),
        "{troubles}"
    );
    assert_eq!(loaded(), before);
    fs::write(rules, kept).unwrap();
    assert_eq!(lab.appliance.ask(&["reload"]).unwrap().code, 0);
    assert_eq!(lab.appliance.status().unwrap()["troubles"].to_string(), "[]");
}

#[test]
fn a_log_with_binary_and_endless_lines_still_bans_who_attacks() {
    let directory = tempfile::tempdir().unwrap();
    let Some(lab) = small_lab("log", directory.path()) else { return };
    let mut log = fs::OpenOptions::new().append(true).open(&lab.programs.auth_log).unwrap();
    log.write_all(&vec![b'x'; 1024 * 1024]).unwrap();
    log.write_all(b"\n\x00\xff\xfe\x80 invalid \xc3\x28\n\n").unwrap();
    log.write_all("Failed password for root from 999.1.1.1 port 1 ssh2\n".repeat(20).as_bytes()).unwrap();
    log.flush().unwrap();
    let banned = || lab.appliance.ask(&["decisions"]).map(|reply| reply.text.contains(ATTACKER));
    for _ in 0..12 {
        lab.programs.ssh_with_wrong_password(&lab.network, &lab.waiter, (ATTACKER, "root"), banned).unwrap();
        if banned().unwrap() {
            break;
        }
    }
    lab.waiter.until("the ban", SOON, || Ok(banned()?.then_some(()))).unwrap();
}

#[test]
fn what_a_stopped_secd_left_is_enforced_until_it_is_detached() {
    let directory = tempfile::tempdir().unwrap();
    let Some(mut lab) = small_lab("detach", directory.path()) else { return };
    let web = format!("{}:80", DMZ.host4);
    let storage = format!("{}:22", STORAGE.host4);
    let limit = Duration::from_millis(800);
    let from_visitor =
        |lab: &Lab| connect(lab.network.host(WAN).unwrap(), Some(VISITOR), &web, limit).unwrap();
    let from_iot = |lab: &Lab| connect(lab.network.host(IOT).unwrap(), None, &storage, limit).unwrap();
    let held = |result: String| assert!(["refused", "no answer"].contains(&result.as_str()), "{result}");
    let ban = lab.appliance.ask(&["ban", VISITOR]).unwrap();
    assert_eq!(ban.code, 0, "{}", ban.text);

    // A running daemon would put it back; who asks is told what to do.
    let refused = lab.appliance.detach(&lab.network.router).unwrap();
    assert_eq!(refused.code, 1, "{}", refused.text);
    assert!(refused.text.contains("secctl detach --yes"), "{}", refused.text);
    lab.appliance.stop().unwrap();
    assert_eq!(from_visitor(&lab), "no answer");
    held(from_iot(&lab));
    assert!(links(&lab).contains("xdp"));
    assert!(tables(&lab).contains("inet secd"), "{}", tables(&lab));

    let done = lab.appliance.detach(&lab.network.router).unwrap();
    assert_eq!(done.code, 0, "{}", done.text);
    assert!(done.text.contains("removed the nftables table inet secd"), "{}", done.text);
    // The kernel lets a link go a moment after its pin.
    lab.waiter
        .until("the links to be gone", SOON, || Ok((!links(&lab).contains("xdp")).then_some(())))
        .unwrap();
    assert!(!tables(&lab).contains("secd"), "{}", tables(&lab));
    assert_eq!(from_visitor(&lab), "HTTP 200");
    assert_eq!(from_iot(&lab), "connected, other protocol");
    let again = lab.appliance.detach(&lab.network.router).unwrap();
    assert_eq!(again.code, 0, "{}", again.text);
    assert!(again.text.contains("nothing was pinned"), "{}", again.text);

    // Starting secd puts all of it back.
    lab.appliance.run(&lab.network.router, &lab.waiter).unwrap();
    assert_eq!(from_visitor(&lab), "no answer");
    held(from_iot(&lab));
}

/// The router's interfaces, with the programs on them.
fn links(lab: &Lab) -> String {
    printed(lab, "ip", &["-details", "link", "show"])
}

/// The router's nftables tables.
fn tables(lab: &Lab) -> String {
    printed(lab, "nft", &["list", "tables"])
}

fn printed(lab: &Lab, program: &str, arguments: &[&str]) -> String {
    let output = lab.network.router.command(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_start_with_a_bad_config_takes_the_last_good_one() {
    let directory = tempfile::tempdir().unwrap();
    let Some(mut lab) = small_lab("start", directory.path()) else { return };
    let good = fs::read_to_string(&lab.appliance.config).unwrap();
    lab.appliance.kill().unwrap();
    fs::write(&lab.appliance.config, good.replace("vlan = 410", "vlan = 5000")).unwrap();
    lab.appliance.run(&lab.network.router, &lab.waiter).unwrap();
    let status = lab.appliance.status().unwrap();
    let troubles = status["troubles"].to_string();
    assert!(troubles.contains("stands in for it") && troubles.contains("5000"), "{troubles}");
    let why = lab.appliance.ask(&["why", "two.example"]).unwrap();
    assert_eq!(why.json["blocked"], true, "{}", why.text);
    fs::write(&lab.appliance.config, good).unwrap();
    assert_eq!(lab.appliance.ask(&["reload"]).unwrap().code, 0);
    assert_eq!(lab.appliance.status().unwrap()["troubles"].to_string(), "[]");
}

#[test]
fn the_daemon_holds_no_capability_that_it_does_not_need() {
    let directory = tempfile::tempdir().unwrap();
    let Some(mut lab) = small_lab("capabilities", directory.path()) else { return };
    let id = lab.appliance.process().unwrap().id();
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let field =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    // NET_ADMIN, BPF, PERFMON, NET_BIND_SERVICE and DAC_READ_SEARCH, by the numbers of linux/capability.h.
    let kept = [12, 39, 38, 10, 2].iter().fold(0_u64, |bits, number| bits | 1 << number);
    for set in ["CapEff:", "CapPrm:", "CapBnd:"] {
        assert_eq!(field(set), format!("{kept:016x}"), "{set}");
    }
    assert_eq!(field("CapInh:"), "0000000000000000");
}
