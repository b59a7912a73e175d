//! The named limits, the guards and what is only warned of.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::fmt::Write;

const ZONES: &str = "[zones.wan]\ninterface = \"eth0\"\nwan = true\n\
                     [zones.iot]\ninterface = \"eth1\"\nnetworks = [\"10.4.0.0/24\"]\n";

/// The messages about a text.
fn messages(text: &str) -> Vec<String> {
    config::parse("f", text).err().unwrap_or_default().into_iter().map(|error| error.message).collect()
}

#[test]
fn as_many_zones_as_the_kernel_holds() {
    let zones = |count: usize| {
        let mut text = ZONES.to_owned();
        for place in 2..count {
            let _ = write!(
                text,
                "[zones.z{place}]\ninterface = \"eth1\"\nvlan = {place}\nnetworks = [\"10.5.{place}.0/24\"]\n"
            );
        }
        text
    };
    let most = (abi::MAX_ZONES - u32::from(abi::ZONE_FIRST)) as usize;
    let config = config::parse("f", &zones(most)).unwrap();
    assert_eq!(config.policy.zones.len(), most);
    assert_eq!(usize::from(config.policy.zones[most - 1].id), abi::MAX_ZONES as usize - 1);
    assert_eq!(messages(&zones(most + 1)), ["the file has 62 zones"]);
}

#[test]
fn as_many_rules_lists_and_networks() {
    let rule = "[[rules]]\nfrom = [\"iot\"]\nto = [\"wan\"]\nservices = [\"https\"]\naction = \"allow\"\n";
    let most = abi::MAX_RULES as usize;
    // The zones' defaults are lines as well.
    assert_eq!(messages(&format!("{ZONES}{}", rule.repeat(most - 8))), [""; 0]);
    assert_eq!(
        messages(&format!("{ZONES}{}", rule.repeat(most + 1))),
        [format!("the file has {} rules", most + 1)]
    );
    let lists = |count: usize| -> String {
        (0..count)
            .map(|place| format!("[[lists]]\nname = \"l{place}\"\npath = \"/l\"\nkind = \"domains\"\n"))
            .collect()
    };
    assert_eq!(messages(&lists(256)), [""; 0]);
    assert_eq!(messages(&lists(257)), ["the file has 257 lists"]);
    let networks = |count: usize| {
        let nets: Vec<_> = (0..count)
            .map(|n| format!("\"172.{}.{}.{}/28\"", 16 + n / 4096, n / 16 % 256, n % 16 * 16))
            .collect();
        format!("{ZONES}[zones.big]\ninterface = \"eth2\"\nnetworks = [{}]\n", nets.join(", "))
    };
    let most = abi::MAX_NETWORKS as usize / 2 - 128;
    assert_eq!(messages(&networks(most - 1)), [""; 0]);
    assert_eq!(messages(&networks(most)), [format!("the zones have {} networks", most + 1)]);
}

#[test]
fn own_networks_in_the_allow_list_are_warned_of() {
    let config = config::parse("f", &format!("allow = [\"10.0.0.0/8\", \"10.4.0.9\"]\n{ZONES}")).unwrap();
    assert_eq!(config.warnings.len(), 1);
    assert!(config.warnings[0].message.contains("covers the whole zone `iot`"), "{}", config.warnings[0]);
    assert_eq!((config.warnings[0].line, config.warnings[0].column), (1, 10));
}

#[test]
fn what_is_protected() {
    let text = format!(
        "allow = [\"192.0.2.0/24\"]\n{ZONES}[dns]\nlisten = [\"10.4.0.1\"]\nupstreams = [\"9.9.9.9\", \"9.9.9.9:5353\"]\n"
    );
    let config = config::parse("f", &text).unwrap();
    let text = |nets: &[ipnet::IpNet]| nets.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(text(&config.policy.protected), ["192.0.2.0/24"]);
    assert_eq!(text(&config.policy.upstreams), ["9.9.9.9/32"]);
    assert_eq!(config.signatures.variables["HOME_NET"], "[10.4.0.0/24]");
    assert_eq!(config.signatures.variables["EXTERNAL_NET"], "!$HOME_NET");
}

#[test]
fn the_defaults_of_zones_and_rules() {
    let text = format!("{ZONES}[[rules]]\nfrom = [\"iot\", \"self\"]\nto = [\"wan\"]\naction = \"reject\"\n");
    let config = config::parse("f", &text).unwrap();
    let [wan, iot] = &config.policy.zones[..] else { panic!("two zones") };
    assert_eq!((wan.denial, iot.denial), (model::Action::Drop, model::Action::Reject));
    assert_eq!((iot.device.as_str(), iot.vlan, iot.anti_spoof, iot.inspect), ("eth1", None, true, false));
    let rule = &config.policy.rules[0];
    assert_eq!(rule.from.zones, policy::ZoneSet::Of(vec![abi::ZONE_SELF, iot.id]));
    assert_eq!(rule.to.zones, policy::ZoneSet::Of(vec![wan.id]));
    assert!(rule.services.is_empty() && rule.comment.is_none());
    assert_eq!((rule.span.line, rule.span.column), (7, 1));
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_are_no_mistakes() {
    let text = format!("\u{feff}mode = \"observe\"\n{ZONES}").replace('\n', "\r\n");
    assert_eq!(config::parse("f", &text).unwrap().mode, model::Mode::Observe);
    let errors = config::parse("f", &text.replace("\"10.4.0.0/24\"]", "\"10.4.0.7/24\"")).unwrap_err();
    let places: Vec<_> = errors.iter().map(|error| (error.line, error.column)).collect();
    assert_eq!(places, [(7, 12)], "{errors:?}");
}

#[test]
fn as_many_groups_addresses_and_devices() {
    let groups = |count: usize| -> String {
        let names = (0..count).map(|place| format!("g{place} = [\"10.4.0.2\"]\n"));
        std::iter::once("[addresses]\n".to_owned()).chain(names).collect()
    };
    let most = abi::MAX_SETS as usize;
    assert_eq!(messages(&groups(most)), [""; 0]);
    assert_eq!(messages(&groups(most + 1)), [format!("`addresses` has {} groups", most + 1)]);
    let devices = |groups: usize, each: usize| -> String {
        let mut text = "[devices]\n".to_owned();
        for group in 0..groups {
            let macs: Vec<String> = (0..each)
                .map(|n| format!("\"02:00:{group:02x}:00:{:02x}:{:02x}\"", n / 256, n % 256))
                .collect();
            let _ = writeln!(text, "d{group} = [{}]", macs.join(", "));
        }
        text
    };
    let most = abi::MAX_DEVICE_GROUPS as usize - 1;
    assert_eq!(messages(&devices(most, 1)), [""; 0]);
    assert_eq!(messages(&devices(most + 1, 1)), [format!("`devices` has {} groups", most + 1)]);
    let most = abi::MAX_DEVICES as usize;
    assert_eq!(messages(&devices(8, most / 8)), [""; 0]);
    assert_eq!(
        messages(&devices(9, most / 8)),
        [format!("the groups of `devices` have {} devices", most / 8 * 9)]
    );
}

#[test]
fn groups_within_groups_do_not_multiply() {
    // Each group holds the one before twice: 2,000 addresses and up to 250 of its own, 1,000,000 in all with the 459th.
    let mut text = "[addresses]\ng0 = [".to_owned();
    for place in 0..2000 {
        let _ = write!(text, "\"10.{}.{}.1\", ", place / 250, place % 250);
    }
    text.push_str("]\n");
    for place in 1..600 {
        let _ = writeln!(text, "g{place} = [\"g{0}\", \"g{0}\", \"192.0.2.{1}\"]", place - 1, place % 250);
    }
    assert_eq!(messages(&text), ["with the group `g458` the groups hold more than 1000000 addresses"]);
}

#[test]
fn a_hundred_thousand_rules_are_refused() {
    let rule = "[[rules]]\nfrom=[\"iot\"]\nto=[\"x\"]\n";
    let errors = config::parse("f", &format!("{ZONES}{}", rule.repeat(100_000))).unwrap_err();
    // All lack an action, those within the limit name an unknown zone, and there are too many.
    assert_eq!(
        errors[200].message,
        format!("{} more mistakes are not shown", 100_000 + abi::MAX_RULES + 1 - 200)
    );
    let over = abi::MAX_RULES as usize * 3 + 6 + 1;
    assert!(errors.len() == 201 && (errors[0].line as usize) < over);
}

#[test]
fn a_list_of_five_million_entries_is_refused() {
    let text = format!("{ZONES}[addresses]\nhuge = [{}]\n", "\"10.4.0.2\",".repeat(5_000_000));
    let errors = config::parse("f", &text).unwrap_err();
    assert_eq!(errors.len(), 1);
    assert!(errors[0].help.contains("files of their own"), "{}", errors[0]);
}

#[test]
fn the_defaults_of_the_new_keys() {
    let text = format!(
        "{ZONES}[[rules]]\nfrom = [\"wan\"]\nto = [\"self\"]\naction = \"limit\"\nlimit = \"10/minute\"\n\
         [[forwards]]\nname = \"web\"\nservices = [\"https\"]\nto = \"10.4.0.2\"\n\
         [[lists]]\nname = \"drop\"\ncatalogue = \"spamhaus-drop-v4\"\n[geoip.systems]\ncatalogue = \"geoip-asn\"\n"
    );
    let config = config::parse("f", &text).unwrap();
    let [wan, iot] = &config.policy.zones[..] else { panic!("two zones") };
    assert_eq!((wan.bogons, wan.bogons_asked, wan.scan, wan.fail_open), (true, false, true, false));
    assert_eq!((iot.bogons, iot.scan, iot.fail_open, iot.loose || iot.strict), (false, false, true, false));
    assert!(wan.new_flows.is_none() && iot.routes.is_empty() && !iot.isolate && !iot.quarantine);
    assert_eq!(config.policy.rules[0].limit, Some(policy::Rate { interval: 6_000_000_000, burst: 10 }));
    let forward = &config.policy.forwards[0];
    assert_eq!((forward.from, forward.hairpin, forward.port), (wan.id, true, None));
    assert_eq!(config.policy.rule_name(config.policy.forward_id(0)).unwrap(), "forward `web`");
    assert_eq!(config.limits.flows, 131_072);
    let list = &config.lists[0];
    let subscription = list.subscription.as_ref().unwrap();
    assert!(subscription.url.starts_with("https://") && list.block && list.path.as_os_str().is_empty());
    assert_eq!(list.kind, config::ListKind::Addresses);
    assert!(config.geoip.is_none() && matches!(config.geoip_systems, Some(config::Geoip::Subscription(_))));
}

#[test]
fn as_many_dns_groups_as_there_are_bits() {
    let groups =
        |count: usize| -> String { (0..count).map(|place| format!("[dns.groups.g{place}]\n")).collect() };
    let config = config::parse("f", &groups(lists::MAX_GROUPS - 1)).unwrap();
    assert_eq!((config.dns.groups.len(), config.dns.groups[0].name.as_str()), (lists::MAX_GROUPS, "default"));
    let said = messages(&groups(lists::MAX_GROUPS));
    assert_eq!(said, ["`dns.groups` has more than 62 groups beside `default`"]);
    // `default` is there anyway.
    let with_default = format!("{}[dns.groups.default]\nsafe_search = true\n", groups(lists::MAX_GROUPS - 1));
    let config = config::parse("f", &with_default).unwrap();
    assert!(config.dns.groups.len() == lists::MAX_GROUPS && config.dns.groups[0].safe_search);
}

#[test]
fn groups_and_clients_stand_for_each_other() {
    let text = format!(
        "{ZONES}[dns]\nservices = [\"tiktok\"]\nblocking = \"nodata\"\n\
         [dns.groups.kids]\nblocking = \"192.0.2.1\"\n[dns.groups.office]\n\
         [dns.clients.tablet]\nwho = [\"aa:bb:cc:dd:ee:01\"]\ngroups = [\"kids\", \"default\"]\n\
         [[lists]]\nname = \"a\"\nkind = \"domains\"\npath = \"/a\"\ngroups = [\"office\"]\n\
         [[lists]]\nname = \"b\"\nkind = \"domains\"\npath = \"/b\"\n"
    );
    let config = config::parse("f", &text).unwrap();
    let groups = config.dns.list_groups();
    let shown: Vec<_> = groups.iter().map(|group| format!("{} {}", group.name, group.blocking)).collect();
    assert_eq!(shown, ["default nodata", "kids 192.0.2.1", "office nodata"]);
    assert_eq!((groups[0].services.len(), groups[1].services.len()), (1, 0));
    assert_eq!(config.lists.iter().map(|list| list.groups.0).collect::<Vec<_>>(), [0b100, 0b001]);
    let facts = |mac| lists::Facts { address: [10, 4, 0, 9].into(), mac, host: None, zone: "iot" };
    let found = |mac| config.dns.list_clients().find(&facts(mac));
    let tablet = found(Some([0xaa, 0xbb, 0xcc, 0xdd, 0xee, 1]));
    let of = |client: lists::Client| {
        (client.name.to_string(), client.groups.without(lists::GroupSet::EVERYBODY).0)
    };
    assert_eq!(of(tablet), ("tablet".into(), 0b011));
    assert_eq!(of(found(None)), (String::new(), 0b001));
}

#[test]
fn as_many_domains_as_two_configs_have_bits_for() {
    let dns = "[dns]\nlisten = [\"10.4.0.1\"]\nupstreams = [\"9.9.9.9\"]\n";
    let rules = |count: usize| {
        let mut text = format!("{ZONES}{dns}");
        for number in 0..count {
            // Each twice, once in other letters: that is the same domain.
            let _ = write!(
                text,
                "[[rules]]\nfrom = [\"iot\"]\nto = [\"domain:*.d{number}.example\", \"domain:*.D{number}.Example\"]\naction = \"allow\"\n"
            );
        }
        text
    };
    let most = abi::image::MAX_PATTERNS as usize / 2;
    let config = config::parse("f", &rules(most)).unwrap();
    assert_eq!(config.policy.sets.len(), most);
    assert_eq!(config.policy.sets[1].written(), "domain:*.d1.example");
    let told = messages(&rules(most + 2));
    assert_eq!(told, ["the rules name more than 32 different domains"]);
}

#[test]
fn zones_that_the_table_of_answers_cannot_tell_apart_are_refused() {
    let (one, other) = ("lsexqzd", "ztxtxde");
    assert_eq!(abi::resolver_zone(one), abi::resolver_zone(other));
    let zone = |name: &str, vlan: u8| {
        format!("[zones.{name}]\ninterface = \"eth2\"\nvlan = {vlan}\nnetworks = [\"10.7.{vlan}.0/24\"]\n")
    };
    let told = messages(&format!("{ZONES}{}{}", zone(one, 7), zone(other, 8)));
    assert_eq!(told, [format!("the packet path cannot tell the zones `{one}` and `{other}` apart")]);
}
