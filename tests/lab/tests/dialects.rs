//! Fail2ban's jails and CrowdSec's scenarios, unmodified, on the log of a real sshd that is attacked.
#![expect(clippy::unwrap_used, reason = "a test fails where its helpers do")]

use lab::{ATTACKER, DMZ, Lab, VISITOR, WAN, connect};
use serde_json::Value;
use std::{
    env, fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

const SOON: Duration = Duration::from_secs(30);
const LIMIT: Duration = Duration::from_millis(800);
/// Logins that are tried at most.
const MOST_LOGINS: usize = 12;
/// How often the decisions are looked at while a login goes on.
const LOOK: Duration = Duration::from_millis(500);

const FILTER: &str = "[INCLUDES]\nbefore = words.conf\n[Definition]\n\
    failregex = ^\\s*\\S+ sshd\\[\\d+\\]: Failed %(way)s for (?:invalid user )?<F-USER>\\S*</F-USER> from <ADDR> port \\d+ ssh2$\n";
const WORDS: &str = "[DEFAULT]\nway = (?:password|publickey)\n";

const RAW: &str = "name: lab/raw\nfilter: evt.Line.Labels.type == 'syslog'\nonsuccess: next_stage\n\
    grok:\n  pattern: '^%{TIMESTAMP_ISO8601:time} %{DATA:host} %{DATA:program}\\[%{INT:pid}\\]: %{GREEDYDATA:message}'\n  apply_on: Line.Raw\n\
    statics:\n  - target: evt.StrTime\n    expression: evt.Parsed.time\n";
const PARSED: &str = "name: lab/ssh\nfilter: evt.Parsed.program == 'sshd'\nonsuccess: next_stage\n\
    grok:\n  pattern: '^Failed password for (?:invalid user )?%{DATA:user} from %{IP:address} port %{INT:port} ssh2$'\n  apply_on: message\n\
    statics:\n  - meta: log_type\n    value: door\n  - meta: source_ip\n    expression: evt.Parsed.address\n  - meta: user\n    expression: evt.Parsed.user\n";
const ENRICHED: &str = "name: lab/dates\nfilter: evt.StrTime != ''\n\
    statics:\n  - method: ParseDate\n    expression: evt.StrTime\n\
    \x20 - target: evt.MarshaledTime\n    expression: evt.Enriched.MarshaledTime\n";
const SCENARIO: &str = "type: leaky\nname: lab/door-rattling\ndescription: tries the door again and again\n\
    filter: evt.Meta.log_type == 'door'\ngroupby: evt.Meta.source_ip\nleakspeed: 1m\ncapacity: 2\nblackhole: 1m\n\
    labels:\n  remediation: true\n";
const PROFILES: &str = "name: short\nfilters:\n - Alert.Remediation == true && Alert.GetScope() == 'Ip'\n\
    decisions:\n - type: ban\n   duration: 13m\non_success: break\n";

fn write(folder: &Path, file: &str, text: &str) {
    let path = folder.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn corpora(part: &str, test: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora");
    let folder = env::var_os("SECD_CORPORA").map_or(beside, PathBuf::from).join(part);
    if !folder.is_dir() {
        eprintln!("SKIP: lab::dialects::{test}: the corpora are not there");
    }
    folder.is_dir().then_some(folder)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// Has the router judge sshd's log by this alone.
fn judge_by(lab: &Lab, more: &str) {
    let own = format!("[[logs]]\nname = \"sshd\"\npath = \"{}\"\nfilter = \"sshd\"\n", log(lab));
    lab.reload_with(|text| {
        assert!(text.contains(&own), "{text}");
        format!("{}\n{more}", text.replace(&own, ""))
    });
}

fn log(lab: &Lab) -> String {
    lab.programs.auth_log.display().to_string()
}

fn status(lab: &Lab) -> Value {
    lab.appliance.ask(&["status"]).unwrap().json
}

fn overflows(lab: &Lab, scenario: &str) -> u64 {
    let status = status(lab);
    let all = status["scenarios"].as_array().unwrap();
    let one = all.iter().find(|one| one["name"] == scenario);
    one.unwrap_or_else(|| panic!("{scenario} does not run: {}", status["troubles"]))["overflows"]
        .as_u64()
        .unwrap()
}

/// Attacks until the scenario has had enough; returns the decision about the attacker.
fn attack(lab: &Lab, scenario: &str) -> Value {
    let before = overflows(lab, scenario);
    for attempt in 0..MOST_LOGINS {
        let mut looked = Instant::now();
        let user = ["root", "admin", "ubuntu", "pi"][attempt % 4];
        let tried = lab.programs.ssh_with_wrong_password(&lab.network, &lab.waiter, (ATTACKER, user), || {
            let look = looked.elapsed() > LOOK;
            if look {
                looked = Instant::now();
            }
            Ok(look && overflows(lab, scenario) > before)
        });
        tried.unwrap();
        if overflows(lab, scenario) > before {
            let shown = || lab.appliance.ask(&["decisions"]).unwrap().json;
            let found = lab.waiter.until("the decision", SOON, || {
                let shown = shown();
                let all = shown["decisions"].as_array().unwrap().clone();
                Ok(all.into_iter().find(|one| one.to_string().contains(ATTACKER)))
            });
            return found.unwrap_or_else(|error| panic!("{error}: {}", shown()));
        }
    }
    panic!("nothing after {MOST_LOGINS} failed logins: {}", status(lab));
}

fn web(lab: &Lab, from: &str) -> String {
    connect(lab.network.host(WAN).unwrap(), Some(from), &format!("{}:80", DMZ.host4), LIMIT).unwrap()
}

fn is_cut(lab: &Lab) {
    lab.waiter
        .until("dropped packets", SOON, || Ok((web(lab, ATTACKER) == "no answer").then_some(())))
        .unwrap();
    assert_eq!(web(lab, VISITOR), "HTTP 200");
}

#[test]
fn a_jail_bans_and_one_that_observes_only_tells() {
    let Some(lab) = Lab::for_test("dialects::jail") else { return };
    let folder = lab.directory().join("fail2ban");
    write(&folder, "filter.d/door.conf", FILTER);
    write(&folder, "filter.d/words.conf", WORDS);
    write(&folder, "filter.d/broken.conf", "[Definition]\nfailregex = ^no (<HOST>$\n");
    let jail = format!(
        "[DEFAULT]\nfindtime = 10m\nbantime = 17m\n[door]\nenabled = true\nfilter = door\nmaxretry = 3\nlogpath = {0}\n\
         [broken]\nenabled = true\nlogpath = {0}\nfilter = broken\n",
        log(&lab)
    );
    write(&folder, "jail.conf", &jail);
    let config = |mode: &str| format!("[fail2ban]\nfolder = \"{}\"\nmode = \"{mode}\"\n", folder.display());
    judge_by(&lab, &config("observe"));
    let status = status(&lab);
    let troubles = status["troubles"].to_string();
    assert!(troubles.contains("broken.conf:2") && troubles.contains("jail `broken`"), "{status}");
    let sources = status["logs"].as_array().unwrap();
    assert!(sources.iter().any(|one| one["name"] == log(&lab) && one["filter"] == "fail2ban"), "{status}");

    let decision = attack(&lab, "fail2ban:door");
    assert!(decision.to_string().contains("observe"), "{decision}");
    assert_eq!(web(&lab, ATTACKER), "HTTP 200");

    let reply = lab.appliance.ask(&["unban", ATTACKER]).unwrap();
    assert_eq!(reply.code, 0, "{}", reply.text);
    lab.reload_with(|text| text.replace(&config("observe"), &config("enforce")));
    let decision = attack(&lab, "fail2ban:door");
    is_cut(&lab);
    let text = decision.to_string();
    assert!(text.contains("fail2ban:door") && text.contains("jail.conf:5"), "{text}");
    assert!(lab.appliance.ask(&["why", ATTACKER]).unwrap().text.contains("fail2ban:door"));
}

#[test]
fn the_stock_files_of_fail2ban_ban() {
    let Some(stock) = corpora("fail2ban", "stock") else { return };
    let Some(lab) = Lab::for_test("dialects::stock") else { return };
    let folder = lab.directory().join("fail2ban");
    copy(&stock, &folder);
    let local = format!("[sshd]\nbackend = auto\nlogpath = {}\nmaxretry = 3\n", log(&lab));
    write(&folder, "jail.local", &local);
    judge_by(&lab, &format!("[fail2ban]\nfolder = \"{}\"\njails = [\"sshd\"]\n", folder.display()));
    let decision = attack(&lab, "fail2ban:sshd").to_string();
    assert!(decision.contains("fail2ban:sshd"), "{decision}");
    is_cut(&lab);
}

#[test]
fn parsers_and_a_scenario_of_crowdsec_ban() {
    let Some(lab) = Lab::for_test("dialects::crowdsec") else { return };
    let folder = lab.directory().join("crowdsec");
    write(&folder, "parsers/s00-raw/raw.yaml", RAW);
    write(&folder, "parsers/s01-parse/ssh.yaml", PARSED);
    write(&folder, "parsers/s02-enrich/dates.yaml", ENRICHED);
    write(&folder, "scenarios/door.yaml", SCENARIO);
    write(
        &folder,
        "scenarios/odd.yaml",
        &SCENARIO.replace("lab/door-rattling", "lab/odd").replace("leaky", "sticky"),
    );
    write(&folder, "profiles.yaml", PROFILES);
    write(&folder, "acquis.yaml", &format!("filenames:\n  - {}\nlabels:\n  type: syslog\n", log(&lab)));
    write(&folder, "acquis.d/kafka.yaml", "source: kafka\nlabels:\n  type: x\n");
    judge_by(&lab, &format!("[crowdsec]\nfolder = \"{}\"\n", folder.display()));
    let troubles = status(&lab)["troubles"].to_string();
    for part in ["scenarios/odd.yaml:1", "acquis.d/kafka.yaml:1", "unsupported: `source: kafka`"] {
        assert!(troubles.contains(part), "{part}: {troubles}");
    }
    let decision = attack(&lab, "lab/door-rattling").to_string();
    assert!(decision.contains("lab/door-rattling") && decision.contains("scenarios/door.yaml"), "{decision}");
    is_cut(&lab);
}

#[test]
fn the_hub_of_crowdsec_bans() {
    let Some(hub) = corpora("crowdsec-hub", "hub") else { return };
    let Some(lab) = Lab::for_test("dialects::hub") else { return };
    let folder = lab.directory().join("crowdsec");
    copy(&hub.join("patterns"), &folder.join("patterns"));
    for file in [
        "parsers/s00-raw/crowdsecurity/syslog-logs.yaml",
        "parsers/s01-parse/crowdsecurity/sshd-logs.yaml",
        "parsers/s02-enrich/crowdsecurity/dateparse-enrich.yaml",
        "scenarios/crowdsecurity/ssh-bf.yaml",
    ] {
        write(&folder, file, &fs::read_to_string(hub.join(file)).unwrap());
    }
    write(&folder, "acquis.yaml", &format!("filename: {}\nlabels:\n  type: syslog\n", log(&lab)));
    judge_by(&lab, &format!("[crowdsec]\nfolder = \"{}\"\n", folder.display()));
    let decision = attack(&lab, "crowdsecurity/ssh-bf").to_string();
    assert!(decision.contains("crowdsecurity/ssh-bf"), "{decision}");
    is_cut(&lab);
}
