//! The keeper against a kernel that only remembers.

use super::*;
use model::{Direction, Origin};

#[derive(Debug, Default)]
struct Remembered {
    bans: BTreeMap<IpNet, BanValue>,
    allows: BTreeMap<IpNet, u64>,
    rounds: u32,
}

impl Kernel for Remembered {
    fn set_ban(&mut self, net: IpNet, value: BanValue) -> anyhow::Result<()> {
        self.bans.insert(net, value);
        Ok(())
    }
    fn clear_ban(&mut self, net: IpNet) -> anyhow::Result<()> {
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

const NOW: Now = Now { wall: Timestamp(1_000_000_000), boot: 5_000_000_000 };

fn later(seconds: i64) -> Now {
    Now {
        wall: Timestamp(NOW.wall.0 + seconds * 1_000_000),
        boot: NOW.boot + seconds.unsigned_abs() * 1_000_000_000,
    }
}

fn order(id: u64, kind: DecisionKind, target: &str, seconds: Option<i64>, by: OriginKind) -> Decision {
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
    Protected { net: net.parse().unwrap(), why: why.into(), as_a_whole }
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
    keeper.admit(ban.clone(), NOW).unwrap();
    let net = "198.51.100.7/32".parse().unwrap();
    assert_eq!(keeper.kernel.bans[&net].until, NOW.boot + 60_000_000_000);
    assert_eq!(keeper.expire(later(59)).unwrap(), []);
    assert_eq!(keeper.expire(later(60)).unwrap(), [ban]);
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
    keeper.admit(order(1, DecisionKind::Ban, "198.51.100.0/24", Some(100), OriginKind::Person), NOW).unwrap();
    let again = order(2, DecisionKind::Ban, "198.51.100.7", Some(50), OriginKind::Scenario);
    assert!(matches!(keeper.check(&again, NOW), Err(Refusal::Standing { what: "banned", .. })));
    let moments_longer = order(2, DecisionKind::Ban, "198.51.100.7", Some(150), OriginKind::Scenario);
    assert!(matches!(keeper.check(&moments_longer, NOW), Err(Refusal::Standing { .. })));
    let longer = order(2, DecisionKind::Ban, "198.51.100.7", Some(500), OriginKind::Scenario);
    keeper.check(&longer, NOW).unwrap();
    keeper.admit(order(3, DecisionKind::Allow, "198.51.100.7", Some(10), OriginKind::Person), NOW).unwrap();
    assert!(matches!(keeper.check(&longer, NOW), Err(Refusal::Standing { what: "allowed", .. })));
    assert_eq!(keeper.kernel.allows.len(), 1);
    assert_eq!(keeper.check(&longer, later(11)), Ok(()), "the allow is over");
    let about: Vec<_> = keeper.about([198, 51, 100, 7].into()).iter().map(|d| d.id).collect();
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
    keeper.restore(stored, &held, &[], NOW).unwrap();
    assert_eq!(keeper.kernel.bans.keys().map(ToString::to_string).collect::<Vec<_>>(), ["198.51.100.7/32"]);
    let name: Name = "x.ads.example".parse().unwrap();
    assert_eq!(keeper.about_name(&name).len(), 1);
    assert_eq!(keeper.lift(&"ads.example".parse().unwrap(), DecisionKind::Ban, NOW).unwrap().len(), 1);
    assert_eq!(keeper.about_name(&name).len(), 0);
}

#[test]
fn new_protection_names_the_bans_it_ends() {
    let mut keeper = keeper();
    keeper.admit(order(7, DecisionKind::Ban, "198.51.100.7", None, OriginKind::Person), NOW).unwrap();
    assert_eq!(keeper.protect(vec![protected("198.51.100.0/24", "new", false)]), [7]);
}
