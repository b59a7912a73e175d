//! The keeper against a kernel that only remembers.

use super::*;
use model::{Direction, Mode, Origin};
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub(super) struct Remembered {
    refuse: bool,
    pub(super) bans: BTreeMap<IpNet, BanValue>,
    pub(super) allows: BTreeMap<IpNet, u64>,
    rounds: u32,
}

impl Kernel for Remembered {
    fn set_ban(&mut self, net: IpNet, value: BanValue) -> anyhow::Result<()> {
        anyhow::ensure!(!self.refuse, "the table is full");
        self.bans.insert(net, value);
        Ok(())
    }
    fn clear_ban(&mut self, net: IpNet) -> anyhow::Result<()> {
        anyhow::ensure!(!self.refuse, "not now");
        self.bans.remove(&net);
        Ok(())
    }
    fn set_allow(&mut self, net: IpNet, until: u64) -> anyhow::Result<()> {
        self.allows.insert(net, until);
        Ok(())
    }
    fn clear_allow(&mut self, net: IpNet) -> anyhow::Result<()> {
        self.allows.remove(&net);
        Ok(())
    }
    fn judge_flows_again(&mut self) -> anyhow::Result<()> {
        self.rounds += 1;
        Ok(())
    }
}

pub(super) const NOW: Now = Now { wall: Timestamp(1_000_000_000), boot: 5_000_000_000 };

fn later(seconds: i64) -> Now {
    Now {
        wall: Timestamp(NOW.wall.0 + seconds * 1_000_000),
        boot: NOW.boot + seconds.unsigned_abs() * 1_000_000_000,
    }
}

pub(super) fn order(
    id: u64,
    kind: DecisionKind,
    target: &str,
    seconds: Option<i64>,
    by: OriginKind,
) -> Decision {
    Decision {
        id,
        kind,
        target: target.parse().unwrap(),
        direction: Direction::In,
        mode: Mode::Enforce,
        since: NOW.wall,
        until: seconds.map(|s| later(s).wall),
        origin: Origin { kind: by, name: "test".into(), at: None },
        evidence: Vec::new(),
    }
}

fn protected(net: &str, why: &str, as_a_whole: bool) -> Protected {
    Protected { net: net.parse().unwrap(), why: why.into(), as_a_whole, is_upstream: false }
}

fn keeper() -> Keeper<Remembered> {
    let mut keeper = Keeper::new(Remembered::default());
    keeper.protect(vec![
        protected("192.0.2.1/32", "the router's own address", false),
        protected("203.0.113.0/24", "on the allow-list (secd.toml:3)", false),
        protected("10.4.0.0/24", "the network of zone iot", true),
    ]);
    keeper
}

#[test]
fn a_ban_is_written_and_ends_by_itself() {
    let mut keeper = keeper();
    let ban = order(1, DecisionKind::Ban, "198.51.100.7", Some(60), OriginKind::Scenario);
    keeper.check(&ban, NOW).unwrap();
    keeper.admit(ban.clone(), NOW);
    let net = "198.51.100.7/32".parse().unwrap();
    assert_eq!(keeper.kernel.bans[&net].until, NOW.boot + 60_000_000_000);
    assert_eq!(keeper.expire(later(59)), []);
    assert_eq!(keeper.expire(later(60)), [ban]);
    assert!(keeper.kernel.bans.is_empty() && keeper.is_empty());
    assert_eq!(keeper.kernel.rounds, 2);
}

#[test]
fn what_is_protected_is_refused_with_its_reason() {
    let keeper = keeper();
    let refusal = |target: &str| {
        keeper
            .check(&order(1, DecisionKind::Ban, target, None, OriginKind::Person), NOW)
            .map_err(|r| r.to_string())
    };
    assert_eq!(
        refusal("192.0.2.1").unwrap_err(),
        "192.0.2.1 is refused: 192.0.2.1/32 is the router's own address"
    );
    assert_eq!(
        refusal("203.0.113.9").unwrap_err(),
        "203.0.113.9 is refused: 203.0.113.0/24 is on the allow-list (secd.toml:3)"
    );
    assert!(refusal("192.0.0.0/16").unwrap_err().contains("own address"), "a range around it");
    assert!(refusal("::ffff:192.0.2.1").unwrap_err().contains("own address"), "the mapped form");
    assert_eq!(refusal("0.0.0.0/0").unwrap_err(), "0.0.0.0/0 is refused: wider than /8; ban smaller ranges");
    assert_eq!(refusal("::/0").unwrap_err(), "::/0 is refused: wider than /16; ban smaller ranges");
    assert_eq!(refusal("198.51.100.0/24"), Ok(()));
    assert!(refusal("10.4.0.0/16").unwrap_err().contains("10.4.0.0/24 is the network of zone iot"));
    assert_eq!(refusal("10.4.0.9"), Ok(()), "one device of a zone");
}

#[test]
fn one_attacker_gives_one_ban_and_an_allow_stops_scenarios() {
    let mut keeper = keeper();
    keeper.admit(order(1, DecisionKind::Ban, "198.51.100.0/24", Some(100), OriginKind::Person), NOW);
    let again = order(2, DecisionKind::Ban, "198.51.100.7", Some(50), OriginKind::Scenario);
    assert!(matches!(keeper.check(&again, NOW), Err(Refusal::Standing { what: "banned", .. })));
    let moments_longer = order(2, DecisionKind::Ban, "198.51.100.7", Some(150), OriginKind::Scenario);
    assert!(matches!(keeper.check(&moments_longer, NOW), Err(Refusal::Standing { .. })));
    let longer = order(2, DecisionKind::Ban, "198.51.100.7", Some(500), OriginKind::Scenario);
    keeper.check(&longer, NOW).unwrap();
    keeper.admit(order(3, DecisionKind::Allow, "198.51.100.7", Some(10), OriginKind::Person), NOW);
    assert!(matches!(keeper.check(&longer, NOW), Err(Refusal::Standing { what: "allowed", .. })));
    assert_eq!(keeper.kernel.allows.len(), 1);
    assert_eq!(keeper.check(&longer, later(11)), Ok(()), "the allow is over");
    let about: Vec<_> = keeper.about("198.51.100.7/32".parse().unwrap()).iter().map(|d| d.id).collect();
    assert_eq!(about, [3, 1]);
}

#[test]
fn a_restart_adopts_and_repairs() {
    let mut keeper = keeper();
    keeper.kernel.bans.insert("10.9.9.9/32".parse().unwrap(), BanValue::default());
    let held: Vec<IpNet> = keeper.kernel.bans.keys().copied().collect();
    let stored = vec![
        order(1, DecisionKind::Ban, "198.51.100.7", Some(60), OriginKind::Scenario),
        order(2, DecisionKind::Ban, "ads.example", None, OriginKind::Person),
    ];
    keeper.restore(stored, held, [], NOW);
    assert_eq!(keeper.kernel.bans.keys().map(ToString::to_string).collect::<Vec<_>>(), ["198.51.100.7/32"]);
    let name: Name = "x.ads.example".parse().unwrap();
    assert_eq!(keeper.about_name(&name).len(), 1);
    assert_eq!(keeper.lift(&"ads.example".parse().unwrap(), DecisionKind::Ban, NOW).len(), 1);
    assert_eq!(keeper.about_name(&name).len(), 0);
}

#[test]
fn new_protection_names_the_bans_it_ends() {
    let mut keeper = keeper();
    keeper.admit(order(7, DecisionKind::Ban, "198.51.100.7", None, OriginKind::Person), NOW);
    assert_eq!(keeper.protect(vec![protected("198.51.100.0/24", "new", false)]), [7]);
}

#[test]
fn what_the_kernel_refuses_is_tried_again_until_it_holds() {
    let mut keeper = keeper();
    keeper.kernel.refuse = true;
    keeper.admit(order(1, DecisionKind::Ban, "198.51.100.7", Some(60), OriginKind::Scenario), NOW);
    assert!(keeper.behind().unwrap().contains("198.51.100.7/32: the table is full"));
    assert_eq!(keeper.expire(later(1)), [], "the decision stands");
    keeper.kernel.refuse = false;
    keeper.expire(later(2));
    assert_eq!((keeper.behind(), keeper.kernel.bans.len()), (None, 1));
    keeper.kernel.refuse = true;
    assert_eq!(keeper.lift(&"198.51.100.7".parse().unwrap(), DecisionKind::Ban, later(3)).len(), 1);
    assert_eq!(keeper.kernel.bans.len(), 1, "it still holds in the kernel");
    keeper.kernel.refuse = false;
    keeper.expire(later(4));
    assert_eq!((keeper.behind(), keeper.kernel.bans.len()), (None, 0));
}

#[test]
fn engines_leave_room_for_people() {
    let mut keeper = keeper();
    for id in 1..=(MAX_DECISIONS - RESERVED_FOR_PEOPLE) as u64 {
        let [_, b, c, d, ..] = (id as u32).to_be_bytes();
        let target = format!("198.{b}.{c}.{d}");
        keeper.bans.insert(order(id, DecisionKind::Ban, &target, None, OriginKind::Scenario));
    }
    let one_more = order(0, DecisionKind::Ban, "203.1.2.3", None, OriginKind::Scenario);
    assert!(matches!(keeper.check(&one_more, NOW), Err(Refusal::Full { .. })));
    assert_eq!(
        keeper.check(&order(0, DecisionKind::Allow, "203.1.2.3", None, OriginKind::Person), NOW),
        Ok(())
    );
}

#[test]
fn a_range_is_touched_by_what_covers_it_and_what_lies_inside() {
    let mut keeper = keeper();
    for (id, kind, target) in [
        (1, DecisionKind::Ban, "198.51.0.0/16"),
        (2, DecisionKind::Ban, "198.51.100.7"),
        (3, DecisionKind::Allow, "198.51.100.9"),
        (4, DecisionKind::Ban, "198.51.101.7"),
        (5, DecisionKind::Ban, "198.51.100.0/24"),
    ] {
        keeper.admit(order(id, kind, target, None, OriginKind::Person), NOW);
    }
    let ids = |target: &str| {
        let mut ids: Vec<_> = keeper.touching(target.parse().unwrap()).iter().map(|d| d.id).collect();
        ids.sort_unstable();
        ids
    };
    assert_eq!(ids("198.51.100.0/24"), [1, 2, 3, 5]);
    assert_eq!(ids("198.51.100.7/32"), [1, 2, 5]);
    assert_eq!(ids("203.0.113.0/24"), [0_u64; 0]);
}

fn judged(keeper: &mut Keeper<Remembered>, target: &str, now: Now) -> Result<Decision, Refusal> {
    let mut ban = order(0, DecisionKind::Ban, target, None, OriginKind::Scenario);
    (ban.since, ban.until) = (now.wall, Some(now.wall.plus(Duration::from_secs(3600))));
    keeper.judge(ban, true, now)
}

fn seconds(decision: &Decision) -> u64 {
    decision.until.unwrap().since(decision.since).as_secs()
}

#[test]
fn who_comes_back_is_banned_for_longer_unless_a_person_lifted_it() {
    let mut keeper = keeper();
    let mut now = NOW;
    let mut again = |keeper: &mut Keeper<Remembered>, id| {
        let ban = judged(keeper, "198.51.100.7", now).unwrap();
        let lasting = seconds(&ban);
        keeper.admit(Decision { id, ..ban }, now);
        now = Now {
            wall: now.wall.plus(Duration::from_secs(lasting)),
            boot: now.boot + lasting * 1_000_000_000,
        };
        (lasting / 3600, now)
    };
    assert_eq!([again(&mut keeper, 1).0, again(&mut keeper, 2).0, again(&mut keeper, 3).0], [1, 2, 4]);
    let (_, end) = again(&mut keeper, 4);
    keeper.lift(&"198.51.100.7".parse().unwrap(), DecisionKind::Ban, end);
    assert_eq!(again(&mut keeper, 5).0, 1);
}

#[test]
fn what_another_program_s_files_say_lasts_as_they_say() {
    let mut keeper = keeper();
    for (id, start) in [(1, 0), (2, 4000)] {
        let now =
            Now { wall: NOW.wall.plus(Duration::from_secs(start)), boot: NOW.boot + start * 1_000_000_000 };
        let mut ban = order(0, DecisionKind::Ban, "198.51.100.7", None, OriginKind::Scenario);
        (ban.since, ban.until) = (now.wall, Some(now.wall.plus(Duration::from_secs(3600))));
        let ban = keeper.judge(ban, false, now).unwrap();
        assert_eq!(seconds(&ban), 3600, "the ban {id}");
        keeper.admit(Decision { id, ..ban }, now);
    }
    let for_ever = |target| order(0, DecisionKind::Ban, target, None, OriginKind::Scenario);
    assert_eq!(keeper.judge(for_ever("198.51.100.8"), false, NOW).unwrap().until, None);
    let shared = keeper.judge(for_ever("100.64.0.9"), false, NOW).unwrap();
    assert_eq!(shared.until, Some(NOW.wall.plus(Duration::from_secs(900))));
}

#[test]
fn where_many_share_an_address_bans_are_short() {
    let mut keeper = keeper();
    keeper.set_bans(Bans { shared: vec!["198.51.100.0/24".parse().unwrap()], ..Bans::default() });
    for target in ["100.64.0.9", "100.127.255.0/24", "198.51.100.9", "198.51.0.0/16"] {
        assert_eq!(seconds(&judged(&mut keeper, target, NOW).unwrap()), 900, "{target}");
    }
    assert_eq!(seconds(&judged(&mut keeper, "100.128.0.9", NOW).unwrap()), 3600);
}

#[test]
fn beyond_the_budget_bans_observe_and_people_are_not_counted() {
    let mut keeper = keeper();
    keeper.set_bans(Bans { per_scenario: 2, ..Bans::default() });
    for host in 1..=5 {
        let person = order(host, DecisionKind::Ban, &format!("198.51.100.{host}"), None, OriginKind::Person);
        keeper.check(&person, NOW).unwrap();
        keeper.admit(person, NOW);
    }
    let modes: Vec<Mode> = (1..=3)
        .map(|host| {
            let ban = judged(&mut keeper, &format!("203.0.112.{host}"), NOW).unwrap();
            keeper.admit(Decision { id: 100 + host, ..ban.clone() }, NOW);
            ban.mode
        })
        .collect();
    assert_eq!(modes, [Mode::Enforce, Mode::Enforce, Mode::Observe]);
    assert!(keeper.over_budget(NOW).unwrap().contains("test has used up its 2 bans"));
    assert!(
        matches!(judged(&mut keeper, "203.0.112.3", NOW), Err(Refusal::Standing { .. })),
        "observed once"
    );
    let hour = later(3700);
    assert_eq!(keeper.over_budget(hour), None);
    assert_eq!(judged(&mut keeper, "203.0.112.9", hour).unwrap().mode, Mode::Enforce);
}

#[test]
fn who_is_in_is_not_banned() {
    let mut keeper = keeper();
    keeper.logged_in("198.51.100.7".parse().unwrap(), NOW);
    let Err(Refusal::Welcome { who, .. }) = judged(&mut keeper, "198.51.100.0/24", NOW) else { panic!() };
    assert_eq!(who.to_string(), "198.51.100.7");
    assert!(judged(&mut keeper, "198.51.100.8", NOW).is_ok());
    assert!(judged(&mut keeper, "198.51.100.7", later(3600)).is_ok(), "an hour later");
    let person = order(1, DecisionKind::Ban, "198.51.100.7", None, OriginKind::Person);
    assert!(keeper.check(&person, NOW).is_ok(), "a person may");
    keeper.set_sessions(["198.51.100.7".parse().unwrap()]);
    assert!(
        matches!(keeper.check(&person, NOW), Err(Refusal::Welcome { .. })),
        "but not the session they sit in"
    );
}

#[test]
fn all_of_ipv4_cannot_be_banned_in_the_notation_of_ipv6() {
    let mut keeper = keeper();
    let config = config::parse("secd.toml", "[zones.wan]\ninterface = 'wan0'\nwan = true\n").unwrap();
    keeper.protect(crate::machine::Machine::default().protected(&config));
    for net in ["::ffff:0:0/96", "::fffe:0:0/95", "::ffff:198.51.100.0/120", "0::/64"] {
        let mut ban = order(1, DecisionKind::Ban, "2001:db8::1", None, OriginKind::Scenario);
        ban.target = Target::Net(net.parse().unwrap());
        assert!(matches!(keeper.check(&ban, NOW), Err(Refusal::Protected { .. })), "{net}");
    }
}
