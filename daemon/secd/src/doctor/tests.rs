//! Routers with one thing wrong each.

use super::*;
use facts::Listening;
use std::collections::BTreeSet;

const CONFIG: &str = r#"
[zones.wan]
interface = "eth0"
wan = true
[zones.iot]
interface = "eth1"
vlan = 400
networks = ["10.4.0.0/24"]
"#;

fn policy(more: &str) -> Policy {
    config::parse("secd.toml", &format!("{CONFIG}{more}")).unwrap().policy
}

fn device(address: &str) -> Device {
    Device {
        mtu: 1500,
        up: true,
        addresses: vec![address.parse().unwrap()],
        driver: Some("igc".into()),
        features: BTreeMap::from([
            ("rx-vlan-offload".into(), false),
            ("large-receive-offload".into(), false),
        ]),
        ..Device::default()
    }
}

fn facts() -> Facts {
    let vlan = Device { parent: Some("eth1".into()), vlan: Some(400), ..device("10.4.0.1") };
    Facts {
        kernel: "6.12.9+deb".into(),
        btf: true,
        bpffs: true,
        nft: Some("nftables v1.0.6".into()),
        devices: Some(BTreeMap::from([
            ("eth0".into(), device("198.51.100.7")),
            ("eth1".into(), device("10.9.0.1")),
            ("eth1.400".into(), vlan),
        ])),
        synchronized: Some(true),
        listening: BTreeSet::new(),
    }
}

fn known(policy: &Policy) -> Known<'_> {
    Known {
        policy,
        mode: Mode::Enforce,
        attached: BTreeMap::from([("eth0", "driver"), ("eth1", "driver")]),
        troubles: Vec::new(),
        notes: Vec::new(),
        tables: vec![("flows", 10, 100, "raise [limits] flows")],
        lost: vec![("records", 0)],
        own: vec!["198.51.100.7".parse().unwrap(), "10.4.0.1".parse().unwrap()],
        dns: vec!["10.4.0.1:53".parse().unwrap()],
        now: Timestamp::from_seconds(1_790_000_000),
    }
}

/// Everything that is not good, with its level.
fn told(facts: &Facts, known: &Known<'_>) -> Vec<(Level, String)> {
    let findings = diagnose(facts, known);
    for finding in &findings {
        assert_eq!(finding.help.is_none(), finding.level == Level::Good, "{finding:?}");
    }
    let bad = findings.into_iter().filter(|finding| finding.level != Level::Good);
    bad.map(|finding| (finding.level, format!("{}: {}", finding.topic, finding.message))).collect()
}

#[test]
fn a_healthy_router_has_nothing_to_tell() {
    let policy = policy("");
    assert_eq!(told(&facts(), &known(&policy)), []);
}

#[test]
fn each_thing_that_is_wrong_is_told_with_what_to_do() {
    let policy = policy("");
    let told = |change: &dyn Fn(&mut Facts, &mut Known<'_>)| {
        let (mut facts, mut known) = (facts(), known(&policy));
        change(&mut facts, &mut known);
        told(&facts, &known)
    };
    fn of<'a>(facts: &'a mut Facts, name: &str) -> &'a mut Device {
        facts.devices.as_mut().unwrap().get_mut(name).unwrap()
    }
    type Change<'a> = &'a dyn Fn(&mut Facts, &mut Known<'_>);
    let cases: [(Level, &str, Change<'_>); 22] = [
        (Level::Wrong, "kernel: Linux 5.10.0 is older", &|facts, _| facts.kernel = "5.10.0".into()),
        (Level::Wrong, "kernel: it does not describe", &|facts, _| facts.btf = false),
        (Level::Wrong, "bpf: no BPF file system", &|facts, _| facts.bpffs = false),
        (Level::Wrong, "nftables: `nft` cannot", &|facts, _| facts.nft = None),
        (Level::Wrong, "clock: it says 1970", &|_, known| known.now = Timestamp(0)),
        (Level::Note, "clock: NTP does not", &|facts, _| facts.synchronized = Some(false)),
        (Level::Wrong, "interfaces: `ip` cannot", &|facts, _| facts.devices = None),
        (Level::Wrong, "interface eth1: it is not there, so iot", &|facts, _| {
            facts.devices.as_mut().unwrap().remove("eth1");
        }),
        (Level::Note, "interface eth1: packets are judged by the kernel", &|_, known| {
            known.attached.insert("eth1", "generic");
        }),
        (Level::Wrong, "interface eth0: no program", &|_, known| {
            known.attached.remove("eth0");
        }),
        (Level::Wrong, "interface eth1: the card takes VLAN tags", &|facts, _| {
            of(facts, "eth1").features.insert("rx-vlan-offload".into(), true);
        }),
        (Level::Wrong, "interface eth0: large receive", &|facts, _| {
            of(facts, "eth0").features.insert("large-receive-offload".into(), true);
        }),
        (Level::Wrong, "zone iot: its device eth1.400 is not there", &|facts, _| {
            facts.devices.as_mut().unwrap().remove("eth1.400");
        }),
        (Level::Wrong, "zone iot: eth1.400 carries the tag 401", &|facts, _| {
            of(facts, "eth1.400").vlan = Some(401);
        }),
        (Level::Wrong, "zone iot: eth1.400 has an MTU of 9000", &|facts, _| of(facts, "eth1.400").mtu = 9000),
        (Level::Note, "zone wan: its address 100.72.3.4 is one of a carrier", &|facts, _| {
            of(facts, "eth0").addresses = vec!["100.72.3.4".parse().unwrap()];
        }),
        (Level::Note, "zone wan: its address 192.168.1.5 is private", &|facts, _| {
            of(facts, "eth0").addresses = vec!["192.168.1.5".parse().unwrap()];
        }),
        (Level::Wrong, "zone wan: eth0 has no address", &|facts, _| of(facts, "eth0").addresses.clear()),
        (Level::Note, "zone wan: its MTU is 1492", &|facts, _| of(facts, "eth0").mtu = 1492),
        (Level::Note, "tables: flows: 90 of 100", &|_, known| known.tables[0].1 = 90),
        (Level::Wrong, "secd: a list is stale", &|_, known| known.troubles.push("a list is stale".into())),
        (Level::Note, "secd: no SYN proxy here", &|_, known| known.notes.push("no SYN proxy here".into())),
    ];
    for (level, says, change) in cases {
        let told = told(change);
        assert!(told.len() == 1 && told[0].0 == level && told[0].1.starts_with(says), "{says}: {told:?}");
    }
}

#[test]
fn what_the_outside_reaches_is_told_and_what_is_dangerous_is_wrong() {
    let wait = |tcp, at: &str| Listening { tcp, at: at.parse().unwrap() };
    let rule = "[[rules]]\nfrom = ['wan']\nto = ['self']\nservices = ['ssh', 'dns']\naction = 'allow'\n";
    let policy = policy(rule);
    let mut facts = facts();
    facts.listening = [
        wait(true, "0.0.0.0:22"),
        wait(true, "[::]:80"),
        wait(false, "0.0.0.0:53"),
        wait(false, "10.4.0.1:53"),
    ]
    .into();
    let told = told(&facts, &known(&policy));
    let seen = |level, text: &str| told.iter().any(|(at, says)| *at == level && says.contains(text));
    assert!(seen(Level::Note, "rule 0 (secd.toml:"), "{told:?}");
    assert!(seen(Level::Note, "waits on tcp/22 and can be reached from wan"), "{told:?}");
    assert!(seen(Level::Wrong, "waits on udp/53"), "{told:?}");
    assert!(!told.iter().any(|(_, says)| says.contains("tcp/80")), "{told:?}");
    assert_eq!(told.len(), 3, "{told:?}");
}

#[test]
fn everything_let_in_is_wrong() {
    let policy = policy("[[rules]]\nfrom = ['wan']\nto = ['iot']\naction = 'allow'\n");
    let told = told(&facts(), &known(&policy));
    assert!(told.len() == 1 && told[0].0 == Level::Wrong && told[0].1.contains("everything"), "{told:?}");
}
