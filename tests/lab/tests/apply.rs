//! A new config cannot lock anyone out: what nobody confirms goes back.
#![expect(clippy::unwrap_used, reason = "a test fails where its helpers do")]

use lab::{DMZ, Lab, VISITOR, WAN, connect};
use std::fs;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);
const LIMIT: Duration = Duration::from_millis(800);

/// What a visitor from outside gets from the web server.
fn web(lab: &Lab) -> String {
    let target = format!("{}:80", DMZ.host4);
    connect(lab.network.host(WAN).unwrap(), Some(VISITOR), &target, LIMIT).unwrap()
}

/// The config of the lab, and one in which the outside reaches nothing.
fn configs(lab: &Lab) -> (String, String) {
    let open = fs::read_to_string(&lab.appliance.config).unwrap();
    let rule = "services = [\"ssh\", \"http\", \"https\", \"echo\", \"ping\"]";
    let closed = open.replace(rule, "services = [\"ssh\"]");
    assert_ne!(open, closed);
    (open, closed)
}

fn on_trial(lab: &Lab) -> bool {
    !lab.appliance.status().unwrap()["trial"].is_null()
}

#[test]
fn a_config_that_nobody_confirms_goes_back() {
    let Some(lab) = Lab::for_test("apply::goes_back") else { return };
    let (open, closed) = configs(&lab);
    let new = lab.directory().join("new.toml");
    fs::write(&new, &closed).unwrap();
    assert_eq!(web(&lab), "HTTP 200");
    let reply = lab.appliance.ask(&["apply", new.to_str().unwrap(), "--confirm", "5s"]).unwrap();
    assert_eq!(reply.code, 0, "{}", reply.text);
    assert_eq!(web(&lab), "no answer");
    assert_eq!(fs::read_to_string(&lab.appliance.config).unwrap(), open, "nobody confirmed yet");
    // Meanwhile nothing else changes the plan.
    for words in [&["reload"][..], &["mode", "observe"], &["apply", new.to_str().unwrap()]] {
        let refused = lab.appliance.ask(words).unwrap();
        assert_eq!(refused.code, 1, "{words:?}: {}", refused.text);
        assert!(refused.text.contains("secctl apply --confirmed"), "{words:?}: {}", refused.text);
    }
    lab.waiter
        .until("the former config", SOON, || Ok((web(&lab) == "HTTP 200" && !on_trial(&lab)).then_some(())))
        .unwrap();
    assert_eq!(fs::read_to_string(&lab.appliance.config).unwrap(), open);
    let late = lab.appliance.ask(&["apply", "--confirmed"]).unwrap();
    assert_eq!(late.code, 1, "{}", late.text);
    assert_eq!(lab.appliance.ask(&["reload"]).unwrap().code, 0);
    assert_eq!(web(&lab), "HTTP 200");
}

#[test]
fn a_confirmed_config_stays_and_is_on_disk() {
    let Some(mut lab) = Lab::for_test("apply::confirmed") else { return };
    let (_, closed) = configs(&lab);
    let new = lab.directory().join("new.toml");
    fs::write(&new, &closed).unwrap();
    let reply = lab.appliance.ask(&["apply", new.to_str().unwrap(), "--confirm", "60s"]).unwrap();
    assert_eq!(reply.code, 0, "{}", reply.text);
    assert!(on_trial(&lab));
    let reply = lab.appliance.ask(&["apply", "--confirmed"]).unwrap();
    assert_eq!(reply.code, 0, "{}", reply.text);
    assert!(!on_trial(&lab));
    assert_eq!(fs::read_to_string(&lab.appliance.config).unwrap(), closed);
    assert_eq!(web(&lab), "no answer");
    lab.appliance.kill().unwrap();
    lab.appliance.run(&lab.network.router, &lab.waiter).unwrap();
    assert_eq!(web(&lab), "no answer");
    assert_eq!(lab.appliance.status().unwrap()["troubles"].to_string(), "[]");
}

#[test]
fn a_trial_that_leaves_the_policy_as_it_is_is_confirmed_like_any_other() {
    let Some(lab) = Lab::for_test("apply::same_policy") else { return };
    let (open, _) = configs(&lab);
    let other = open.replace("[dns]\n", "[dns]\ncache_entries = 5000\n");
    assert_ne!(open, other);
    let new = lab.directory().join("new.toml");
    fs::write(&new, &other).unwrap();
    let reply = lab.appliance.ask(&["apply", new.to_str().unwrap(), "--confirm", "60s"]).unwrap();
    assert_eq!(reply.code, 0, "{}", reply.text);
    let reply = lab.appliance.ask(&["apply", "--confirmed"]).unwrap();
    assert_eq!(reply.code, 0, "{}", reply.text);
    assert_eq!(fs::read_to_string(&lab.appliance.config).unwrap(), other);
    assert_eq!(web(&lab), "HTTP 200");
}

#[test]
fn a_daemon_that_is_killed_on_trial_starts_with_the_confirmed_config() {
    let Some(mut lab) = Lab::for_test("apply::killed") else { return };
    let (open, closed) = configs(&lab);
    // Edited in place, as people do.
    fs::write(&lab.appliance.config, &closed).unwrap();
    let reply = lab.appliance.ask(&["apply", "--confirm", "60s"]).unwrap();
    assert_eq!(reply.code, 0, "{}", reply.text);
    assert_eq!(web(&lab), "no answer");
    lab.appliance.kill().unwrap();
    lab.appliance.run(&lab.network.router, &lab.waiter).unwrap();
    assert_eq!(web(&lab), "HTTP 200");
    let troubles = || lab.appliance.status().unwrap()["troubles"].to_string();
    assert!(troubles().contains("tried and not confirmed"), "{}", troubles());
    // A change of mode reads the config again, but not the one that was refused.
    assert_eq!(lab.appliance.ask(&["mode", "observe"]).unwrap().code, 0);
    assert_eq!(lab.appliance.ask(&["mode", "enforce"]).unwrap().code, 0);
    assert_eq!(web(&lab), "HTTP 200");
    assert!(troubles().contains("tried and not confirmed"), "{}", troubles());
    // The file is still what it was edited to; who says reload takes it.
    assert_eq!(lab.appliance.ask(&["reload"]).unwrap().code, 0);
    assert_eq!(web(&lab), "no answer");
    assert_eq!(troubles(), "[]");
    fs::write(&lab.appliance.config, open).unwrap();
    assert_eq!(lab.appliance.ask(&["apply"]).unwrap().code, 0);
    assert_eq!(web(&lab), "HTTP 200");
}

#[test]
fn a_trial_is_taken_back_by_command_and_a_bad_one_never_begins() {
    let Some(lab) = Lab::for_test("apply::reverted") else { return };
    let (open, closed) = configs(&lab);
    let new = lab.directory().join("new.toml");
    fs::write(&new, closed.replace("vlan = 410", "vlan = 5000")).unwrap();
    let words = ["apply", new.to_str().unwrap(), "--confirm", "60s"];
    let reply = lab.appliance.ask(&words).unwrap();
    assert_eq!(reply.code, 1, "{}", reply.text);
    assert!(reply.text.contains("5000") && reply.text.contains("new.toml"), "{}", reply.text);
    assert!(!on_trial(&lab));
    fs::write(&new, &closed).unwrap();
    for time in ["1s", "11m"] {
        let reply = lab.appliance.ask(&["apply", "--confirm", time]).unwrap();
        assert_eq!(reply.code, 1, "{}", reply.text);
        assert!(reply.text.contains("5 to 600 seconds"), "{}", reply.text);
    }
    assert_eq!(lab.appliance.ask(&words).unwrap().code, 0);
    assert_eq!(web(&lab), "no answer");
    assert_eq!(lab.appliance.ask(&["apply", "--revert"]).unwrap().code, 0);
    assert_eq!(web(&lab), "HTTP 200");
    assert_eq!(fs::read_to_string(&lab.appliance.config).unwrap(), open);
    assert_eq!(lab.appliance.status().unwrap()["troubles"].to_string(), "[]");
}

#[test]
fn a_trial_goes_back_though_the_daemon_was_killed_and_stays_dead() {
    let Some(mut lab) = Lab::for_test("apply::dead") else { return };
    let (open, closed) = configs(&lab);
    let new = lab.directory().join("new.toml");
    fs::write(&new, &closed).unwrap();
    assert_eq!(web(&lab), "HTTP 200");
    let reply = lab.appliance.ask(&["apply", new.to_str().unwrap(), "--confirm", "10s"]).unwrap();
    assert_eq!(reply.code, 0, "{}", reply.text);
    lab.appliance.kill().unwrap();
    assert_eq!(web(&lab), "no answer", "the trial holds without the daemon, too");
    // Nobody is there to do it: both the packet path and nftables go back by themselves, or this stays closed.
    lab.waiter.until("the kernel to go back", SOON, || Ok((web(&lab) == "HTTP 200").then_some(()))).unwrap();
    assert_eq!(fs::read_to_string(&lab.appliance.config).unwrap(), open);
    lab.appliance.run(&lab.network.router, &lab.waiter).unwrap();
    assert_eq!(web(&lab), "HTTP 200");
    assert!(!on_trial(&lab));
    assert_eq!(lab.appliance.status().unwrap()["troubles"].to_string(), "[]");
}
