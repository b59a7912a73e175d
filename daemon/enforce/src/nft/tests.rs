//! The rendered ruleset against a file, and against the kernel in a network namespace of its own.

use super::*;
use abi::{ZONE_FIRST, ZONE_MULTICAST, ZONE_SELF, ZoneId};
use ipnet::IpNet;
use model::{Action, Mode, Protocol, Span};
use policy::{
    AddressSet, DeviceGroup, Forward, Mac, OtherResolvers, Rate, Rule, Service, ServiceMatch, SetKind, Side,
    Zone, ZoneSet,
};
use std::{
    fs,
    io::Write as _,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    process::{Command, Stdio},
};

const WAN: ZoneId = ZONE_FIRST;
const MANAGEMENT: ZoneId = ZONE_FIRST + 1;
const IOT: ZoneId = ZONE_FIRST + 2;

fn zone(id: ZoneId, name: &str, device: &str, networks: &[&str]) -> Zone {
    let wan = networks.is_empty();
    Zone {
        id,
        name: name.into(),
        interface: device.split('.').next().unwrap_or(device).into(),
        vlan: device.split_once('.').and_then(|(_, vlan)| vlan.parse().ok()),
        device: device.into(),
        networks: networks.iter().filter_map(|net| net.parse().ok()).collect(),
        wan,
        anti_spoof: true,
        inspect: false,
        masquerade: wan,
        mode: Mode::Enforce,
        denial: if wan { Action::Drop } else { Action::Reject },
        span: Span::default(),
        ..Zone::default()
    }
}

fn rule(from: &[ZoneId], to: &[ZoneId], matches: &[ServiceMatch], action: Action) -> Rule {
    let services = match matches {
        [] => vec![],
        matches => vec![Service { name: "some".into(), matches: matches.to_vec() }],
    };
    let set = |zones: &[ZoneId]| if zones.is_empty() { ZoneSet::Any } else { ZoneSet::Of(zones.to_vec()) };
    Rule {
        id: 0,
        from: set(from).into(),
        to: set(to).into(),
        services,
        action,
        log: false,
        mode: Mode::Enforce,
        comment: None,
        span: Span::default(),
        ..Rule::default()
    }
}

/// Every kind of match, every kind of verdict, every chain.
fn small() -> Policy {
    let one = |protocol, port| ServiceMatch::new(protocol, port, port);
    let mut rules = vec![
        rule(
            &[MANAGEMENT],
            &[IOT, ZONE_SELF],
            &[one(Protocol::TCP, 22), one(Protocol::TCP, 443)],
            Action::Pass,
        ),
        rule(
            &[IOT],
            &[ZONE_SELF],
            &[
                one(Protocol::UDP, 53),
                one(Protocol::TCP, 53),
                ServiceMatch::new(Protocol::ICMP, 0x0800, 0x08ff),
                ServiceMatch::new(Protocol::ICMPV6, 0x8000, 0x80ff),
                one(Protocol::ICMP, 0x0304),
            ],
            Action::Pass,
        ),
        rule(&[IOT], &[WAN], &[ServiceMatch::new(Protocol::TCP, 8000, 8100)], Action::Drop),
        rule(
            &[IOT],
            &[WAN],
            &[one(Protocol::UDP, 123), ServiceMatch::new(Protocol(50), 0, 65_535)],
            Action::Pass,
        ),
        rule(&[], &[ZONE_MULTICAST], &[one(Protocol::UDP, 1900)], Action::Reject),
        rule(&[MANAGEMENT], &[WAN], &[], Action::Pass),
        rule(&[ZONE_SELF], &[IOT], &[one(Protocol::TCP, 23)], Action::Reject),
    ];
    rules[2].mode = Mode::Observe;
    for (id, rule) in rules.iter_mut().enumerate() {
        rule.id = id as u16;
    }
    Policy {
        mode: Mode::Enforce,
        zones: vec![
            zone(WAN, "wan", "eth0", &[]),
            zone(MANAGEMENT, "management", "eth1.100", &["10.1.0.0/24", "fd00:1::/64"]),
            zone(IOT, "iot", "eth1.400", &["10.4.0.0/24", "fd00:4::/64"]),
        ],
        rules,
        ..Policy::default()
    }
}

/// One zone whose questions are led here, one that asks nobody else.
fn asking() -> Policy {
    let mut policy = small();
    policy.zones[1].resolvers = OtherResolvers::Drop;
    let v4 = Some("10.4.0.1:53".parse().unwrap());
    policy.zones[2].resolvers = OtherResolvers::Redirect { v4, v6: Some("[::]:5353".parse().unwrap()) };
    policy
}

#[test]
fn rules_that_name_domains_are_as_wide_as_the_packet_path_may_say() {
    let mut policy = small();
    policy.sets = vec![AddressSet { name: "*.docker.io".into(), kind: SetKind::Names(0), nets: [].into() }];
    let to = |zones: &[ZoneId]| Side { zones: ZoneSet::Of(zones.to_vec()), sets: vec![0], devices: vec![] };
    let https = [ServiceMatch::new(Protocol::TCP, 443, 443)];
    policy.rules = vec![
        Rule { to: to(&[]), ..rule(&[IOT], &[], &https, Action::Drop) },
        Rule { id: 1, to: to(&[]), ..rule(&[IOT], &[], &https, Action::Pass) },
        Rule { id: 2, to: to(&[]), goes_on: true, ..rule(&[IOT], &[], &[], Action::Pass) },
    ];
    let text = lines(&policy);
    let of = |chain: &str, rule: &str| {
        let (chain, rule) = (format!("\"chain\":\"{chain}\""), format!("\"comment\":\"rule {rule}\""));
        text.lines().filter(|line| line.contains(&chain) && line.contains(&rule)).count()
    };
    assert_eq!(
        (of("forward.iot.wan", "0"), of("forward.iot.wan", "1"), of("forward.iot.wan", "2")),
        (0, 1, 0)
    );
    assert_eq!(of("forward.iot.management", "1"), 0, "no domain leads inside");
    let passes = text.lines().find(|line| line.contains("\"comment\":\"rule 1\"")).unwrap();
    assert!(passes.contains("443") && !passes.contains("daddr"), "{passes}");
}

/// Everything else the language has.
fn wide() -> Policy {
    let one = |protocol, port| ServiceMatch::new(protocol, port, port);
    let nets = |nets: &[&str]| nets.iter().map(|net| net.parse().unwrap()).collect::<Vec<IpNet>>().into();
    let named =
        |name: &str, services: &[ServiceMatch]| Service { name: name.into(), matches: services.to_vec() };
    let mut policy = small();
    let set = |name: &str, kind, list: &[&str]| AddressSet { name: name.into(), kind, nets: nets(list) };
    policy.sets = vec![
        set("nas", SetKind::Group, &["10.1.0.2/32", "fd00:1::2/128"]),
        set(
            "DE",
            SetKind::Country,
            &["198.51.100.0/25", "198.51.100.128/25", "203.0.113.7/32", "2001:db8::/32"],
        ),
        set("empty", SetKind::List, &[]),
        set("iptv", SetKind::Group, &["239.1.0.0/16"]),
    ];
    let macs = [Mac([2, 0, 0, 0, 0, 0x11]), Mac([2, 0, 0, 0, 0, 0x12])];
    policy.devices =
        vec![DeviceGroup { name: "tvs".into(), macs: macs.to_vec(), addresses: nets(&["10.4.0.9/32"]) }];
    policy.zones[0].clamp_mss = true;
    policy.zones[1].loose = true;
    policy.zones[2].isolate = true;
    policy.zones[2].quarantine = true;
    policy.forwards = vec![
        Forward {
            name: "web".into(),
            from: WAN,
            services: vec![one(Protocol::TCP, 443), ServiceMatch::new(Protocol::TCP, 9000, 9002)],
            to: "10.1.0.5".parse().unwrap(),
            port: None,
            hairpin: true,
            sources: vec![1],
            comment: None,
            span: Span::default(),
        },
        Forward {
            name: "range".into(),
            from: WAN,
            services: vec![ServiceMatch::new(Protocol::UDP, 100, 102)],
            to: "10.1.0.5".parse().unwrap(),
            port: Some(7000),
            hairpin: false,
            sources: vec![],
            comment: None,
            span: Span::default(),
        },
    ];
    let rates = Rate { interval: 6_000_000_000, burst: 20 };
    let new = vec![
        Rule { log: true, goes_on: true, ..rule(&[], &[WAN], &[], Action::Pass) },
        Rule {
            from: Side { zones: ZoneSet::Of(vec![IOT]), sets: vec![1], devices: vec![0] },
            to: Side { zones: ZoneSet::Of(vec![]), sets: vec![0], devices: vec![] },
            ..rule(
                &[],
                &[],
                &[one(Protocol::TCP, 445), one(Protocol::ICMP, 0x0800), one(Protocol::ICMPV6, 0x8000)],
                Action::Pass,
            )
        },
        Rule {
            to: Side { zones: ZoneSet::Of(vec![]), sets: vec![2, 3], devices: vec![0] },
            ..rule(&[MANAGEMENT], &[], &[], Action::Drop)
        },
        Rule { limit: Some(rates), ..rule(&[WAN], &[ZONE_SELF], &[one(Protocol::UDP, 51820)], Action::Pass) },
        Rule {
            services: vec![
                named("ftp", &[one(Protocol::TCP, 21)]),
                named("sip", &[ServiceMatch::new(Protocol::UDP, 5060, 5061)]),
            ],
            ..rule(&[MANAGEMENT], &[WAN], &[], Action::Pass)
        },
        Rule {
            to: Side { zones: ZoneSet::Of(vec![]), sets: vec![2], devices: vec![] },
            ..rule(&[], &[], &[], Action::Drop)
        },
    ];
    policy.rules.splice(0..0, new);
    for (id, rule) in policy.rules.iter_mut().enumerate() {
        rule.id = id as u16;
    }
    policy
}

/// One object a line, so that a change shows as the lines it changes.
fn lines(policy: &Policy) -> String {
    lines_with(policy, &Options::default())
}

fn lines_with(policy: &Policy, options: &Options) -> String {
    String::from_utf8(render(policy, options).unwrap().transaction()).unwrap()
}

#[test]
fn policies_render_as_written_down() {
    let flood = Options { flooded: vec![WAN], ..Options::default() };
    as_written_down("wall-small.jsonl", &lines(&small()));
    as_written_down("wall-wide.jsonl", &lines(&wide()));
    as_written_down("wall-resolvers.jsonl", &lines(&asking()));
    as_written_down("wall-flood.jsonl", &lines_with(&wide(), &flood));
}

#[test]
fn the_same_policy_renders_the_same_every_time() {
    let options = Options { flooded: vec![WAN, IOT], ..Options::default() };
    let first = lines_with(&wide(), &options);
    assert!(first.contains("synproxy"));
    // Sets without an order are ordered anew in each.
    for _ in 0..16 {
        assert_eq!(lines_with(&wide(), &options), first);
    }
}

fn as_written_down(file: &str, rendered: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases/policy").join(file);
    if std::env::var_os("SECD_BLESS").is_some() {
        fs::write(&path, rendered).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap();
    for (number, (rendered, expected)) in rendered.lines().zip(expected.lines()).enumerate() {
        assert_eq!(rendered, expected, "line {} of {}", number + 1, path.display());
    }
    assert_eq!(rendered.lines().count(), expected.lines().count());
}

#[test]
fn what_nft_could_not_take_in_time_is_refused_with_numbers() {
    let refused = |policy: &Policy| render(policy, &Options::default()).unwrap_err().to_string();
    // Every second address, so that none merge.
    let many = |count: u32| {
        (0..count).map(|number| IpNet::from(IpAddr::from(Ipv4Addr::from(2 * number)))).collect::<Vec<_>>()
    };
    let mut policy = wide();
    policy.sets[1].nets = many(MAX_ELEMENTS as u32 / 2).into();
    let message = refused(&policy);
    assert!(message.contains("networks in rules, and nft takes 131072"), "{message}");
    let mut policy = small();
    let one = rule(&[], &[], &[ServiceMatch::new(Protocol::TCP, 1, 1)], Action::Drop);
    policy.rules = (0..7000).map(|id| Rule { id, ..one.clone() }).collect();
    let message = refused(&policy);
    assert!(message.contains("lines of nftables") && message.contains("nft takes 65536"), "{message}");
    // Nothing was run for it.
    let error = Wall::new("secd-no-such-program", DEADLINE)
        .apply_with(&policy, &Options { keeps_proven: true, ..Options::default() });
    assert!(matches!(error, Err(NftError::Missing { .. } | NftError::TooMany { .. })), "{error:?}");
}

#[test]
fn observe_renders_no_denial() {
    let denials = |policy: &Policy| {
        let text = lines(policy);
        let rules = text.lines().filter(|line| !line.contains(r#""chain":"refuse""#));
        rules
            .filter(|line| {
                line.contains(r#""drop":null"#) || line.contains(r#"{"goto":{"target":"refuse"}}"#)
            })
            .count()
    };
    let mut policy = small();
    assert!(denials(&policy) > 5);
    policy.mode = Mode::Observe;
    assert_eq!(denials(&policy), 0);
    let asking = Policy { mode: Mode::Observe, ..asking() };
    let text = lines(&asking);
    assert!(
        denials(&asking) == 0 && !text.contains("redirect") && !text.contains("10.4.0.1"),
        "nor is anything led here"
    );
    // A zone that observes drops nothing of what starts there.
    policy.mode = Mode::Enforce;
    policy.zones[2].mode = Mode::Observe;
    let text = lines(&policy);
    let of_iot = text
        .lines()
        .filter(|line| line.contains(r#""chain":"forward.iot."#) || line.contains(r#""chain":"input.iot."#));
    assert_eq!(of_iot.filter(|line| line.contains("drop") || line.contains("refuse")).count(), 0);
}

#[test]
fn names_that_nftables_cannot_hold_become_numbers() {
    let mut policy = small();
    policy.zones[2].name = "Gäste \"; flush ruleset".into();
    let text = lines(&policy);
    assert!(text.contains("forward.zone.5.wan") && !text.contains("flush"), "{text}");
}

#[test]
fn a_missing_nft_says_what_to_install() {
    let error = Wall::new("secd-no-such-program", DEADLINE).check().unwrap_err();
    assert!(matches!(error, NftError::Missing { .. }), "{error}");
    assert!(error.to_string().contains("apt-get install nftables"), "{error}");
}

#[test]
fn an_nft_that_hangs_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let program = script(folder.path(), "exec tail -f /dev/null");
    let error = Wall::new(program, Duration::from_millis(50)).check().unwrap_err();
    assert!(matches!(error, NftError::Late { .. }), "{error}");
}

#[test]
fn what_nft_refuses_is_told_in_its_words() {
    let folder = tempfile::tempdir().unwrap();
    let program = script(folder.path(), "cat >/dev/null; echo 'Operation not permitted' >&2; exit 1");
    let error = Wall::new(program, DEADLINE).apply(&small()).unwrap_err();
    assert_eq!(error.to_string(), "nft refused: Operation not permitted");
    let program = script(folder.path(), "echo '{'");
    assert!(matches!(Wall::new(program, DEADLINE).check(), Err(NftError::Unreadable { .. })));
}

fn script(folder: &Path, body: &str) -> PathBuf {
    let path = folder.join("nft");
    // Written by a process of its own: what another test starts meanwhile would inherit the open file, and one that is
    // open for writing cannot be run.
    let text = format!("#!/bin/sh\n{body}\n");
    let written = Command::new("install")
        .args(["-m", "755", "/dev/stdin"])
        .arg(&path)
        .stdin(Stdio::piped())
        .spawn()
        .and_then(|mut install| {
            install.stdin.take().map(|mut stdin| stdin.write_all(text.as_bytes())).transpose()?;
            install.wait()
        });
    assert!(written.as_ref().is_ok_and(|status| status.success()), "{written:?}");
    path
}

/// A network namespace that goes with the test, and an `nft` that runs inside.
struct Namespace {
    name: String,
    folder: tempfile::TempDir,
}

impl Namespace {
    fn new(test: &str) -> Option<Self> {
        let skip = |why: &str| eprintln!("SKIP: {test}: {why}");
        for (program, argument) in [("nft", "--version"), ("ip", "-V"), ("nsenter", "--version")] {
            if !Command::new(program).arg(argument).output().is_ok_and(|output| output.status.success()) {
                skip(&format!("no {program}"));
                return None;
            }
        }
        let name = format!("secd-wall-{}-{test}", std::process::id());
        if !ip(&["netns", "add", &name]) {
            skip("cannot make a network namespace (not root)");
            return None;
        }
        let namespace = Self { name, folder: tempfile::tempdir().ok()? };
        if namespace.run("nft list ruleset").is_none() {
            skip("no nf_tables in this kernel");
            return None;
        }
        Some(namespace)
    }

    fn wall(&self) -> Wall {
        let body = format!("exec nsenter --net=/run/netns/{} nft \"$@\"", self.name);
        Wall::new(script(self.folder.path(), &body), DEADLINE)
    }

    /// Runs a shell line inside; none if it failed.
    fn run(&self, line: &str) -> Option<String> {
        let net = format!("--net=/run/netns/{}", self.name);
        let output = Command::new("nsenter").args([&net, "sh", "-c", line]).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        ip(&["netns", "delete", &self.name]);
    }
}

fn ip(arguments: &[&str]) -> bool {
    Command::new("ip").args(arguments).output().is_ok_and(|output| output.status.success())
}

#[test]
fn the_kernel_takes_it_and_tells_changes() {
    let Some(namespace) = Namespace::new("the_kernel_takes_it_and_tells_changes") else { return };
    let mut wall = namespace.wall();
    assert_eq!(wall.check().unwrap(), WallState::Missing);
    assert_eq!(wall.counters().unwrap(), []);
    wall.remove().unwrap();
    namespace.run("nft add table inet other; nft add chain inet other kept").unwrap();

    wall.apply(&small()).unwrap();
    assert_eq!(wall.check().unwrap(), WallState::Same);
    assert_eq!(namespace.wall().check().unwrap(), WallState::Unknown);
    let counters = wall.counters().unwrap();
    let denied =
        |counter: &&WallCounter| counter.chain == "forward.iot.wan" && counter.comment == "rule 2 observed";
    assert_eq!(counters.iter().filter(denied).count(), 1, "{counters:?}");

    // The same again is the same; another policy is put in place whole; a stranger's change is seen.
    wall.apply(&small()).unwrap();
    assert_eq!(wall.check().unwrap(), WallState::Same);
    namespace.run("nft add rule inet secd input counter accept").unwrap();
    assert_eq!(wall.check().unwrap(), WallState::Changed);
    let mut other = small();
    other.rules.truncate(2);
    wall.apply(&other).unwrap();
    assert_eq!(wall.check().unwrap(), WallState::Same);
    assert!(!namespace.run("nft list table inet secd").unwrap().contains("rule 2"));

    // What is refused changes nothing.
    let mut broken = small();
    broken.zones[1].device = "a-name-that-is-longer-than-any-interface".into();
    assert!(matches!(wall.apply(&broken), Err(NftError::Refused { .. })));
    assert_eq!(wall.check().unwrap(), WallState::Same);

    // All of the language, and the same on trial; twice, since names and meters must not meet themselves.
    for flooded in [vec![], vec![WAN], vec![WAN, MANAGEMENT, IOT]] {
        let options = Options { flooded, ..Options::default() };
        wall.apply_with(&wide(), &options).unwrap();
        assert_eq!(wall.check().unwrap(), WallState::Same);
        for policy in [small(), wide(), asking()] {
            wall.apply_until(&policy, &options, Duration::from_secs(600)).unwrap();
            assert_eq!((wall.check().unwrap(), wall.on_trial().unwrap()), (WallState::Same, true));
        }
        wall.revert().unwrap();
        assert_eq!((wall.check().unwrap(), wall.on_trial().unwrap()), (WallState::Same, false));
        assert!(matches!(wall.confirm(), Err(NftError::NoTrial)));
    }
    assert!(wall.notes().is_empty(), "{:?}", wall.notes());

    wall.remove().unwrap();
    assert_eq!(wall.check().unwrap(), WallState::Missing);
    assert!(matches!(
        wall.apply_until(&small(), &Options::default(), Duration::from_secs(9)),
        Err(NftError::NothingBefore)
    ));
    assert!(namespace.run("nft list ruleset").unwrap().contains("chain kept"));
}
