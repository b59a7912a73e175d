//! Time that passes, clocks that are set, machines that are off: against a model that only knows how much is left.

use super::{
    steps::{LONGEST_OFF, Mark, moved},
    tests::{NOW, Remembered, order},
    *,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

const SECOND: u64 = 1_000_000_000;
const DAY: i64 = 86_400;

#[derive(Clone, Debug)]
enum Step {
    /// A ban or allow of one of a few addresses for so long; none = until it is lifted.
    Order { host: u8, kind: DecisionKind, seconds: Option<u32> },
    /// So much time passes.
    Pass { seconds: u32 },
    /// The clock is set by so much.
    Set { seconds: i64 },
    /// The machine is off for so long, and then the clock is wrong by so much.
    Off { seconds: u32, wrong_by: i64 },
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![Just(DecisionKind::Ban), Just(DecisionKind::Allow)];
    let years = 10 * 365 * DAY;
    let set = prop_oneof![Just(years), Just(-years), -years..-2, 2..years];
    let wrong = prop_oneof![3 => Just(0), 1 => Just(years), 1 => Just(-years)];
    prop_oneof![
        4 => (any::<u8>(), kind, prop::option::weighted(0.9, 1..100_000_u32))
            .prop_map(|(host, kind, seconds)| Step::Order { host: host % 8, kind, seconds }),
        3 => (1..50_000_u32).prop_map(|seconds| Step::Pass { seconds }),
        2 => set.prop_map(|seconds| Step::Set { seconds }),
        1 => (1..50_000_u32, wrong).prop_map(|(seconds, wrong_by)| Step::Off { seconds, wrong_by }),
    ]
}

/// What is left of each decision, in seconds.
type Left = BTreeMap<(IpNet, bool), Option<i64>>;

struct World {
    now: Now,
    boot: u32,
    mark: Mark,
    keeper: Keeper<Remembered>,
    left: Left,
}

impl World {
    fn pass(&mut self, seconds: i64) {
        self.left = std::mem::take(&mut self.left)
            .into_iter()
            .map(|(key, left)| (key, left.map(|left| left - seconds)))
            .filter(|(_, left)| left.is_none_or(|left| left > 0))
            .collect();
    }

    /// As the shell does at each look at the clock.
    fn look(&mut self) {
        let step = self.mark.step(self.now, &self.boot.to_string());
        self.mark = Mark::new(self.now, &self.boot.to_string());
        self.keeper.move_ends(step);
        self.keeper.expire(self.now);
    }

    /// As the shell does at its start.
    fn restart(&mut self) {
        let step = self.mark.step(self.now, &self.boot.to_string());
        self.mark = Mark::new(self.now, &self.boot.to_string());
        let in_force = moved(self.now.wall, -step);
        let live = |d: &&&Decision| d.until.is_none_or(|until| until > in_force);
        let mut stored: Vec<Decision> =
            self.keeper.decisions().iter().filter(live).map(|d| Decision::clone(d)).collect();
        for decision in &mut stored {
            decision.until = decision.until.map(|until| moved(until, step));
        }
        self.keeper = Keeper::new(Remembered::default());
        self.keeper.restore(stored, [], [], self.now);
    }

    fn take(&mut self, id: u64, step: &Step) {
        match *step {
            Step::Order { host, kind, seconds } => {
                let target = format!("198.51.100.{host}");
                let mut decision = order(id, kind, &target, None, OriginKind::Person);
                decision.until = seconds.map(|s| moved(self.now.wall, i64::from(s) * 1_000_000));
                self.keeper.admit(decision, self.now);
                let net = format!("{target}/32").parse().unwrap();
                self.left.insert((net, kind == DecisionKind::Ban), seconds.map(i64::from));
            }
            Step::Pass { seconds } => {
                self.now.wall = moved(self.now.wall, i64::from(seconds) * 1_000_000);
                self.now.boot += u64::from(seconds) * SECOND;
                self.pass(seconds.into());
                self.look();
            }
            Step::Set { seconds } => {
                self.now.wall = moved(self.now.wall, seconds * 1_000_000);
                self.look();
            }
            Step::Off { seconds, wrong_by } => {
                let passed = i64::from(seconds) + wrong_by;
                self.now.wall = moved(self.now.wall, passed * 1_000_000);
                self.now.boot = SECOND;
                self.boot += 1;
                let believed = (0..=i64::try_from(LONGEST_OFF.as_secs()).unwrap()).contains(&passed);
                self.pass(if believed { passed } else { 0 });
                self.restart();
            }
        }
    }

    /// What the keeper and its kernel say is left.
    fn says(&self) -> Left {
        let boot = |until: u64| {
            let left = until.saturating_sub(self.now.boot) / SECOND;
            (until != u64::MAX).then(|| i64::try_from(left).unwrap())
        };
        let kernel = &self.keeper.kernel;
        let bans = kernel.bans.iter().map(|(net, ban)| ((*net, true), boot(ban.until)));
        let allows = kernel.allows.iter().map(|(net, until)| ((*net, false), boot(*until)));
        bans.chain(allows).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn every_decision_lasts_as_long_as_it_was_ordered_for(steps in prop::collection::vec(step(), 1..40)) {
        let mut world = World {
            now: NOW,
            boot: 0,
            mark: Mark::new(NOW, "0"),
            keeper: Keeper::new(Remembered::default()),
            left: Left::new(),
        };
        for (id, step) in (1..).zip(&steps) {
            world.take(id, step);
            prop_assert_eq!(&world.says(), &world.left, "after {:?} of {:?}", step, steps);
            for decision in world.keeper.decisions() {
                let Target::Net(net) = decision.target else { continue };
                let left = decision.until.map(|until| (until.0 - world.now.wall.0) / 1_000_000);
                prop_assert_eq!(left, world.left[&(net, decision.kind == DecisionKind::Ban)]);
            }
        }
    }
}
