//! `tests/cases/policy/*.toml`: flows and what becomes of them, in the language of the config, through everything
//! between its text and the verdict of the packet path.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use datapath::{Input, Verdict, decide};
use ipnet::IpNet;
use model::{Action, Flow, Mode, Protocol, Reason, Timestamp};
use policy::{Explanation, HostTables, Policy, SetKind, TimeZones, Zone, address_set, opening_frame};
use serde::Deserialize;
use std::{collections::BTreeMap, fs, net::IpAddr, path::PathBuf, sync::Arc};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// A config in the workspace …
    file: Option<String>,
    /// … or its text.
    config: Option<String>,
    own: Vec<IpAddr>,
    /// Whether denials are only observed.
    observed: bool,
    /// What countries, systems, lists and device groups hold, as rules name them.
    #[serde(default)]
    addresses: BTreeMap<String, Vec<IpNet>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    title: String,
    observed: Option<bool>,
    /// When, where there are schedules; the router's time zone is UTC.
    now: Option<Timestamp>,
    flows: Vec<Expected>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    flow: String,
    to: String,
    verdict: String,
    reason: String,
    rule: String,
    /// A part of one of the sentences that explain it.
    says: Option<String>,
}

fn workspace() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn flows_become_what_the_cases_say() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(workspace().join("tests/cases/policy")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let file: File = toml::from_str(&fs::read_to_string(&path).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (name, text) = match (&file.file, &file.config) {
            (Some(name), None) => (name.clone(), fs::read_to_string(workspace().join(name)).unwrap()),
            (None, Some(text)) => ("secd.toml".to_owned(), text.clone()),
            _ => panic!("{}: one of `file` and `config`", path.display()),
        };
        let mut policy = config::parse(&name, &text)
            .unwrap_or_else(|errors| panic!("{}: {errors:#?}", path.display()))
            .policy;
        fill(&mut policy, &file.addresses);
        for case in &file.cases {
            let policy = match case.now {
                Some(now) => policy.active_at(now, &TimeZones::new(jiff::tz::TimeZone::UTC)),
                None => policy.clone(),
            };
            for expected in &case.flows {
                count += 1;
                let observed = case.observed.unwrap_or(file.observed);
                let checked = check(&policy, &file, &name, &text, expected, observed);
                if let Err(difference) = checked {
                    wrong.push(format!(
                        "{}: {}: {}: {difference}",
                        path.display(),
                        case.title,
                        expected.flow
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count >= 120, "only {count} flows were found");
}

/// As the daemon does from the database, the lists and the neighbour table.
fn fill(policy: &mut Policy, addresses: &BTreeMap<String, Vec<IpNet>>) {
    let mut unused: Vec<&String> = addresses.keys().collect();
    let mut of = |name: &str| {
        unused.retain(|other| *other != name);
        addresses.get(name).map(|nets| address_set(nets.clone()))
    };
    for set in policy.sets.iter_mut().filter(|set| set.kind != SetKind::Group) {
        set.nets = of(&set.written()).unwrap_or_default();
    }
    for group in &mut policy.devices {
        group.addresses = of(&group.name).unwrap_or_default();
    }
    assert!(unused.is_empty(), "no rule names {unused:?}");
}

fn check(
    policy: &Policy,
    File { own, .. }: &File,
    file: &str,
    text: &str,
    expected: &Expected,
    observed: bool,
) -> Result<(), String> {
    let flow: Flow = expected.flow.parse().map_err(|error| format!("{error}"))?;
    let said = policy.explain(own, &flow).map_err(|error| error.to_string())?;
    let json = serde_json::to_value(&said).unwrap();
    let got = ["verdict", "reason", "zone_out"].map(|key| json[key].as_str().unwrap_or_default().to_owned());
    if got != [expected.verdict.clone(), expected.reason.clone(), expected.to.clone()] {
        return Err(format!("{got:?}\n    {}", said.steps.join("\n    ")));
    }
    let is_denied = said.action != Action::Pass;
    if said.observed != (observed && is_denied) {
        return Err(format!("observed: {}", said.observed));
    }
    match (&said.rule, expected.rule.as_str()) {
        (None, "") => {}
        (Some(rule), "") => return Err(format!("rule at line {}", rule.line)),
        (None, _) => return Err("no rule".to_owned()),
        (Some(rule), part) => {
            let block = text.lines().skip(rule.line as usize - 1).take_while(|line| !line.is_empty());
            let block = block.collect::<Vec<_>>().join("\n");
            if rule.file != file
                || !(block.starts_with("[[rules]]") || block.starts_with("[[forwards]]"))
                || !block.contains(part)
            {
                return Err(format!("{}:{} is\n{block}", rule.file, rule.line));
            }
        }
    }
    if let Some(part) = &expected.says
        && !said.steps.iter().any(|step| step.contains(part))
    {
        return Err(format!("says\n    {}", said.steps.join("\n    ")));
    }
    answered(policy, own, &flow, &said)
}

/// The answer to a flow that passes between two zones is known; without the flow it is left to conntrack, not dropped.
fn answered(policy: &Policy, own: &[IpAddr], flow: &Flow, said: &Explanation) -> Result<(), String> {
    let zone = |name: &str| policy.zones.iter().find(|zone| zone.name == name);
    let (Some(from), Some(to)) = (zone(&said.zone_in), zone(&said.zone_out)) else { return Ok(()) };
    let apart = matches!(said.reason, Reason::Spoofed | Reason::Isolated | Reason::NewDevice);
    if !matches!(flow.proto, Protocol::TCP | Protocol::UDP) || apart {
        return Ok(());
    }
    // As enforced, whatever the mode of the file is.
    let mut policy = policy.clone();
    policy.mode = Mode::Enforce;
    let plan = policy.lower(own, Arc::new([])).map_err(|error| error.to_string())?;
    let tables = HostTables::new(Arc::new(plan)).map_err(|error| error.to_string())?;
    let reply = Flow {
        zone: None,
        mac: None,
        src: flow.dst,
        dst: flow.src,
        proto: flow.proto,
        sport: flow.dport,
        dport: 49_152,
    };
    let mut answer = opening_frame(&reply, to);
    if flow.proto == Protocol::TCP {
        let flags = answer.len() - 7;
        answer[flags] = 0x12;
        let alone = judged(&tables, to, &answer);
        if (alone.action, alone.reason) != (Action::Pass, Reason::HalfSeen) {
            return Err(format!("an answer without a flow: {:?} {:?}", alone.action, alone.reason));
        }
    }
    let opening = judged(&tables, from, &opening_frame(flow, from));
    // A frame always has a sender; the rules alone do not know it.
    if flow.mac.is_none() && opening.reason == Reason::NewDevice {
        return Ok(());
    }
    if (opening.action, opening.reason) != (said.action, said.reason) {
        return Err(format!("the packet path says {:?} {:?}", opening.action, opening.reason));
    }
    let answer = judged(&tables, to, &answer);
    let passes = said.action == Action::Pass || opening.observed;
    let is_known = answer.reason == Reason::Established && answer.reply;
    if passes != is_known {
        return Err(format!("the flow passes: {passes}; its answer is known: {is_known}"));
    }
    Ok(())
}

fn judged(tables: &HostTables, zone: &Zone, frame: &[u8]) -> Verdict {
    let input = Input {
        ifindex: tables.interface(&zone.interface).unwrap(),
        now: 1_000_000_000,
        length: frame.len() as u32,
        ..Input::default()
    };
    let mut verdict = Verdict::EMPTY;
    decide(&frame, &input, tables, &mut verdict);
    verdict
}
