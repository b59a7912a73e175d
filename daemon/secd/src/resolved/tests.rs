//! The table over one in memory, and the file.

use super::*;
use model::Timestamp;
use proptest::{collection::vec, prelude::*};
use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex},
};

const HOUR: u64 = 3600 * 1_000_000_000;

/// A table that remembers, and counts what was written.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<(BTreeMap<ResolvedKey, ResolvedValue>, usize)>>);

impl Memory {
    fn until(&self, zone: &str, address: &str) -> Option<u64> {
        let key = ResolvedKey { address: to_kernel(address.parse().unwrap()), zone: resolver_zone(zone) };
        self.0.lock().unwrap().0.get(&key).map(|value| value.until)
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap().0.len()
    }

    fn writes(&self) -> usize {
        self.0.lock().unwrap().1
    }
}

impl Table for Memory {
    fn set(&mut self, key: ResolvedKey, value: ResolvedValue) -> Result<()> {
        let mut memory = self.0.lock().unwrap();
        memory.1 += 1;
        anyhow::ensure!(memory.0.len() < MAX_RESOLVED as usize || memory.0.contains_key(&key), "full");
        memory.0.insert(key, value);
        Ok(())
    }

    fn remove(&mut self, key: &ResolvedKey) -> Result<()> {
        self.0.lock().unwrap().0.remove(key);
        Ok(())
    }
}

fn answers(zones: &[&str]) -> (Answers<Memory>, Memory) {
    let memory = Memory::default();
    let mut answers = Answers::new(memory.clone());
    answers.configure(zones.iter().copied(), false);
    (answers, memory)
}

fn learn(answers: &mut Answers<Memory>, zone: &str, name: &str, address: &str, ttl: u32, now: u64) {
    let addresses = [address.parse().unwrap()];
    asks(answers, (zone, DEVICE), name, &addresses, ttl, now);
}

/// Who asks where it does not matter.
const DEVICE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 4, 0, 9));

fn asks(
    answers: &mut Answers<Memory>,
    (zone, client): (&str, IpAddr),
    name: &str,
    addresses: &[IpAddr],
    ttl: u32,
    now: u64,
) {
    answers.answered(&Learned { zone, client, name, is_remembered: true, addresses, ttl }, now);
}

/// Addresses outside, one after the other.
fn outside(numbers: std::ops::Range<u32>) -> Vec<IpAddr> {
    let address = |number| IpAddr::from((0x2001_0db8_u128 << 96 | u128::from(number)).to_be_bytes());
    numbers.map(address).collect()
}

#[test]
fn an_answer_lasts_for_its_time_and_a_day_and_is_written_once_an_hour() {
    let (mut answers, memory) = answers(&["iot"]);
    learn(&mut answers, "iot", "cdn.example", "203.0.113.9", 300, 10 * HOUR);
    let until = memory.until("iot", "203.0.113.9").unwrap();
    assert!(until >= 34 * HOUR + 300 * 1_000_000_000, "a day after its time");
    assert!(until <= 36 * HOUR, "and not much longer");
    assert_eq!(memory.until("home", "203.0.113.9"), None, "to this zone alone");
    for minute in 1..60 {
        learn(&mut answers, "iot", "cdn.example", "203.0.113.9", 300, 10 * HOUR + minute * HOUR / 60);
        let lasting = memory.until("iot", "203.0.113.9").unwrap();
        assert!(lasting >= 34 * HOUR + minute * HOUR / 60 + 300 * 1_000_000_000, "minute {minute}");
    }
    assert_eq!(memory.writes(), 1);
    learn(&mut answers, "iot", "cdn.example", "203.0.113.9", 300, 11 * HOUR + HOUR / 10);
    assert_eq!(memory.writes(), 2);
    // No time to live is too long.
    learn(&mut answers, "iot", "cdn.example", "203.0.113.10", u32::MAX, 10 * HOUR);
    assert!(memory.until("iot", "203.0.113.10").unwrap() <= (10 + 7 * 24 + 25) * HOUR);
}

#[test]
fn zones_that_do_not_depend_on_it_and_addresses_that_are_nobody_s_are_left_out() {
    let (mut answers, memory) = answers(&["iot"]);
    learn(&mut answers, "home", "cdn.example", "203.0.113.9", 300, HOUR);
    for nobody in ["0.0.0.0", "::", "127.0.0.1", "::1", "224.0.0.1", "ff02::1", "::ffff:0.0.0.0"] {
        learn(&mut answers, "iot", "blocked.example", nobody, 300, HOUR);
    }
    assert_eq!(memory.len(), 0);
    learn(&mut answers, "iot", "cdn.example", "::ffff:203.0.113.9", 300, HOUR);
    assert!(memory.until("iot", "203.0.113.9").is_some(), "a mapped address is the IPv4 one");
}

#[test]
fn of_a_full_zone_the_oldest_goes_and_no_other_zone_loses_anything() {
    let (mut answers, memory) = answers(&["iot", "guest"]);
    learn(&mut answers, "guest", "old.example", "198.51.100.1", 0, 0);
    let share = MAX_RESOLVED / 2;
    for number in 0..share + 100 {
        let at = HOUR + u64::from(number);
        asks(&mut answers, ("iot", DEVICE), "x.example", &outside(number..number + 1), 60, at);
    }
    assert_eq!(answers.fill()[0].entries + answers.fill()[1].entries, u64::from(share) + 1);
    assert_eq!(answers.fill().iter().map(|fill| fill.pushed_out).sum::<u64>(), 100);
    assert_eq!(memory.len(), share as usize + 1);
    assert!(memory.until("guest", "198.51.100.1").is_some());
    assert_eq!(memory.until("iot", "2001:db8::63"), None, "the first hundred");
    assert!(memory.until("iot", "2001:db8::64").is_some());
    assert_eq!(answers.refused(), (0, None));
}

#[test]
fn one_device_asking_for_the_world_does_not_shut_out_another_that_asks_normally() {
    let (mut answers, memory) = answers(&["iot"]);
    let (greedy, other): (IpAddr, IpAddr) = ("10.4.0.66".parse().unwrap(), "fd00:4::7".parse().unwrap());
    let (own, shared) = (outside(1_000_000..1_000_200), outside(2_000_000..2_000_010));
    // It is there first even for what both ask for, and its answers live for a week.
    asks(&mut answers, ("iot", greedy), "cdn.example", &shared, u32::MAX, 0);
    for address in own.iter().chain(&shared) {
        asks(&mut answers, ("iot", other), "normal.example", &[*address], 30, 1);
    }
    let flood: Vec<IpAddr> = outside(0..MAX_RESOLVED * 2);
    let in_table = |address: &IpAddr| memory.until("iot", &address.to_string()).is_some();
    for (turn, addresses) in flood.chunks(MAX_LEARNED).enumerate() {
        asks(&mut answers, ("iot", greedy), "world.example", addresses, u32::MAX, 2 + turn as u64);
        assert!(addresses.iter().all(in_table));
    }
    assert_eq!(memory.len(), MAX_RESOLVED as usize, "as full as it gets");
    assert!(own.iter().chain(&shared).all(in_table), "what the other asked for before");
    // What it asks for from now on counts too, and stays.
    let new = outside(3_000_000..3_000_050);
    for address in &new {
        asks(&mut answers, ("iot", other), "new.example", &[*address], 0, HOUR);
    }
    for (turn, addresses) in flood.chunks(MAX_LEARNED).enumerate() {
        asks(&mut answers, ("iot", greedy), "world.example", addresses, u32::MAX, HOUR + turn as u64);
    }
    assert!(own.iter().chain(&shared).chain(&new).all(in_table));
    assert_eq!((answers.fill()[0].entries, answers.refused()), (u64::from(MAX_RESOLVED), (0, None)));
    // What one device asks for counts after a restart of the daemon, though it left the table full.
    let left: Vec<_> = memory.0.lock().unwrap().0.iter().map(|(key, value)| (*key, *value)).collect();
    let (mut after, memory) = self::answers(&["iot"]);
    after.restore(KeptAnswers::default(), left, 2 * HOUR);
    assert_eq!(memory.len(), MAX_RESOLVED as usize);
    asks(&mut after, ("iot", other), "late.example", &outside(4_000_000..4_000_001), 0, 2 * HOUR);
    for (turn, addresses) in flood.chunks(MAX_LEARNED).enumerate() {
        asks(&mut after, ("iot", greedy), "world.example", addresses, u32::MAX, 2 * HOUR + turn as u64);
    }
    assert!(memory.until("iot", "2001:db8::3d:900").is_some());
}

#[test]
fn of_a_long_answer_the_first_addresses_are_learned_and_the_others_counted() {
    let (mut answers, memory) = answers(&["iot"]);
    let addresses = outside(0..4000);
    asks(&mut answers, ("iot", DEVICE), "world.example", &addresses, 60, 0);
    assert_eq!((memory.len(), memory.writes()), (MAX_LEARNED, MAX_LEARNED));
    assert!(memory.until("iot", "2001:db8::3f").is_some());
    assert_eq!(answers.fill()[0].pushed_out, 4000 - MAX_LEARNED as u64);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn claims_and_entries_never_part(steps in vec((0..6_u32, 0..40_u32, 0..4_u64, 0..8_u8), 1..200)) {
        let (mut answers, memory) = answers(&["iot"]);
        let mut now = 0;
        for (client, address, hours, what) in steps {
            now += hours * HOUR;
            let client = IpAddr::from([10, 4, 0, client as u8]);
            match what {
                0 => { answers.expire(now); }
                1 => answers.make_room(resolver_zone("iot"), 10),
                _ => asks(&mut answers, ("iot", client), "x.example", &outside(address..address + 1), 60, now),
            }
            let zone = &answers.zones[&resolver_zone("iot")];
            prop_assert_eq!(zone.entries.len(), memory.len());
            prop_assert_eq!(zone.entries.len(), zone.ends.len());
            let mut claims: Vec<(IpAddr, u64, IpAddr)> = zone.entries.iter()
                .flat_map(|(address, entry)| entry.askers.iter().map(|(asker, at)| (*asker, *at, *address)))
                .collect();
            claims.sort_unstable();
            prop_assert_eq!(zone.claims.all(), claims);
            let counts = 1..=claims::MAX_CLAIMS;
            let all_have = zone.entries.values().all(|entry| counts.contains(&entry.askers.len()));
            prop_assert!(all_have);
        }
    }
}

#[test]
fn what_is_over_is_taken_out() {
    let (mut answers, memory) = answers(&["iot"]);
    learn(&mut answers, "iot", "a.example", "203.0.113.1", 60, 0);
    learn(&mut answers, "iot", "b.example", "203.0.113.2", 60, 20 * HOUR);
    assert!(!answers.expire(30 * HOUR));
    assert_eq!((memory.until("iot", "203.0.113.1"), memory.len()), (None, 1));
    assert_eq!(answers.of_address("203.0.113.2".parse().unwrap(), 30 * HOUR).len(), 1);
    assert_eq!(answers.of_address("203.0.113.2".parse().unwrap(), 60 * HOUR), [], "told only while it lasts");
}

#[test]
fn names_are_remembered_the_latest_first_where_they_may_be() {
    let (mut answers, _) = answers(&["iot"]);
    for name in ["a.example", "b.example", "c.example", "b.example"] {
        learn(&mut answers, "iot", name, "203.0.113.1", 60, 0);
    }
    let known = answers.of_address("203.0.113.1".parse().unwrap(), HOUR);
    assert_eq!(known[0].names, ["c.example", "b.example"]);
    assert_eq!(answers.of_name("b.example", HOUR).len(), 1);
    assert_eq!(answers.of_name("a.example", HOUR), []);
    let addresses = ["203.0.113.7".parse().unwrap()];
    let secret = Learned {
        zone: "iot",
        client: DEVICE,
        name: "x.example",
        is_remembered: false,
        addresses: &addresses,
        ttl: 60,
    };
    answers.answered(&secret, 0);
    assert_eq!(answers.of_address(addresses[0], HOUR)[0].names, [] as [&str; 0]);
}

#[test]
fn a_zone_that_goes_takes_its_answers_along_unless_it_may_come_back() {
    let (mut answers, memory) = answers(&["iot", "guest"]);
    learn(&mut answers, "iot", "a.example", "203.0.113.1", 60, 0);
    answers.configure(["guest"], true);
    assert_eq!(memory.len(), 1, "on trial");
    answers.configure(["guest"], false);
    assert_eq!(memory.len(), 0);
    learn(&mut answers, "iot", "a.example", "203.0.113.1", 60, 0);
    assert_eq!(memory.len(), 0);
}

/// What a daemon keeps, page by page.
fn kept(answers: &Answers<Memory>, now: u64) -> Vec<KeptAnswer> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = answers.page(after);
        let Some((last, _)) = page.last() else { return all };
        after = Some(*last);
        all.extend(page.into_iter().map(|(_, known)| KeptAnswer {
            zone: known.zone,
            address: known.address,
            seconds: (known.until - now) / 1_000_000_000,
            names: known.names,
            patterns: known.patterns,
        }));
    }
}

#[test]
fn it_outlives_the_machine_by_its_file_and_the_daemon_by_the_kernel() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("resolved.json");
    let wall = Timestamp::from_seconds(1_790_000_000);
    assert_eq!(read(&file, wall).unwrap(), KeptAnswers::default(), "the first start");
    let (mut before, _) = answers(&["iot", "guest"]);
    for number in 0..1500_u32 {
        let address = format!("2001:db8::{number:x}");
        learn(&mut before, if number % 2 == 0 { "iot" } else { "guest" }, "a.example", &address, 60, HOUR);
    }
    let all = kept(&before, HOUR);
    assert_eq!(all.len(), 1500, "every page once");
    write(&file, KeptAnswers { answers: all, patterns: before.patterns().to_keep() }, wall).unwrap();

    // The machine was off for an hour, its boot clock begins anew, and a zone is gone.
    let back = read(&file, wall.plus(Duration::from_secs(3600))).unwrap();
    assert_eq!(back.answers.len(), 1500);
    let (mut after, memory) = answers(&["iot"]);
    let left_behind = |zone: &str, address: &str, until| {
        let key = ResolvedKey { address: to_kernel(address.parse().unwrap()), zone: resolver_zone(zone) };
        (key, ResolvedValue { until, patterns: 0 })
    };
    let in_kernel = vec![
        left_behind("iot", "2001:db8::0", 500 * HOUR),
        left_behind("iot", "203.0.113.1", 90 * HOUR),
        left_behind("iot", "203.0.113.2", HOUR / 2),
        left_behind("gone", "203.0.113.3", 90 * HOUR),
    ];
    after.restore(back, in_kernel, HOUR);
    assert_eq!(memory.len(), 751);
    let left = memory.until("iot", "2001:db8::2").unwrap();
    assert!((24 * HOUR..25 * HOUR + HOUR / 30).contains(&left), "an hour less: {left}");
    assert_eq!(memory.until("iot", "203.0.113.1"), Some(90 * HOUR), "which the file did not know");
    assert!(memory.until("iot", "2001:db8::0").unwrap() <= (1 + 7 * 24 + 25) * HOUR, "no longer than any");
    assert_eq!(after.of_name("a.example", HOUR).len(), PAGE, "with its names");
    assert_eq!(read(&file, wall.plus(Duration::from_secs(30 * 3600))).unwrap().answers, [], "all over");
    // A machine without a battery believes that it is 1970, and what was over long ago would last for years.
    for behind in [0, 1_600_000_000] {
        let back = read(&file, Timestamp::from_seconds(behind)).unwrap();
        assert_eq!(back.answers.len(), 1500);
        assert!(back.answers.iter().all(|answer| answer.seconds == GRACE.as_secs()), "{behind}");
    }
}

#[test]
fn a_damaged_file_is_an_error_and_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("resolved.json");
    let wall = Timestamp::from_seconds(1_790_000_000);
    let answer = KeptAnswer {
        zone: "iot".into(),
        address: "203.0.113.1".parse().unwrap(),
        seconds: 60,
        names: vec!["a.example".into()],
        patterns: 0,
    };
    write(&file, KeptAnswers { answers: vec![answer], patterns: vec![] }, wall).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let half = &text[..text.len() / 2];
    for damaged in
        [half, "", "[]", "\0\0", &text.replace("resolved 1", "resolved 2"), &text.replace("203.", "999.")]
    {
        std::fs::write(&file, damaged).unwrap();
        assert!(read(&file, wall).is_err(), "{damaged}");
    }
    let long = std::fs::File::create(&file).unwrap();
    long.set_len(kept::MAX_FILE + 1).unwrap();
    assert!(read(&file, wall).unwrap_err().to_string().contains("more than"));
}

#[test]
fn addresses_belong_to_the_patterns_of_the_names_they_were_answered_for() {
    let (mut answers, memory) = answers(&["iot"]);
    let bits = |address: &str| {
        let key = ResolvedKey { address: to_kernel(address.parse().unwrap()), zone: resolver_zone("iot") };
        memory.0.lock().unwrap().0.get(&key).map(|value| value.patterns)
    };
    learn(&mut answers, "iot", "registry.docker.io", "203.0.113.1", 60, 0);
    assert_eq!(bits("203.0.113.1"), Some(0));
    // A new pattern finds what was answered before; another name adds its own at once.
    let changed = answers.assign(&["*.docker.io", "acme.example"], &[]).unwrap();
    assert_eq!(
        answers.match_again(changed, None).and_then(|last| answers.match_again(changed, Some(last))),
        None
    );
    assert_eq!(bits("203.0.113.1"), Some(0b01));
    learn(&mut answers, "iot", "acme.example", "203.0.113.1", 60, 1);
    assert_eq!(bits("203.0.113.1"), Some(0b11));
    learn(&mut answers, "iot", "other.example", "203.0.113.1", 60, 2);
    learn(&mut answers, "iot", "third.example", "203.0.113.1", 60, 3);
    assert_eq!(bits("203.0.113.1"), Some(0b11), "names that are not remembered any more count");
    learn(&mut answers, "iot", "evil.example", "203.0.113.2", 60, 3);
    assert_eq!(bits("203.0.113.2"), Some(0));
    // After a restart, by the file and the kernel.
    let left = vec![(
        ResolvedKey { address: to_kernel("203.0.113.3".parse().unwrap()), zone: resolver_zone("iot") },
        ResolvedValue { until: 90 * HOUR, patterns: 0b110 },
    )];
    let kept = KeptAnswers { answers: kept(&answers, 4), patterns: answers.patterns().to_keep() };
    let (mut after, memory_after) = self::answers(&["iot"]);
    after.restore(kept, left, 4);
    let value = |address: &str| {
        memory_after.0.lock().unwrap().0
            [&ResolvedKey { address: to_kernel(address.parse().unwrap()), zone: resolver_zone("iot") }]
    };
    assert_eq!((value("203.0.113.1").patterns, value("203.0.113.3").patterns), (0b11, 0b10));
    // A bit that comes to mean something else forgets what it meant.
    let changed = after.assign(&["evil.example"], &[]).unwrap();
    after.match_again(changed, None);
    assert_eq!(
        (value("203.0.113.1").patterns & changed, value("203.0.113.2").patterns & changed),
        (0, changed)
    );
}

#[test]
fn a_zone_that_comes_takes_its_share_and_what_the_kernel_refuses_is_tried_again() {
    let (mut answers, memory) = answers(&["iot"]);
    for number in 0..MAX_RESOLVED {
        asks(&mut answers, ("iot", DEVICE), "x.example", &outside(number..number + 1), 60, u64::from(number));
    }
    assert_eq!(memory.len(), MAX_RESOLVED as usize);
    // The kernel says no where its table is full for another reason.
    let other = ResolvedKey { address: [9; 16], zone: 9 };
    answers.expire(0);
    learn(&mut answers, "iot", "x.example", "203.0.113.1", 60, HOUR);
    memory.0.lock().unwrap().0.insert(other, ResolvedValue::default());
    assert_eq!(memory.len(), MAX_RESOLVED as usize + 1);
    answers.configure(["iot", "guest"], false);
    assert_eq!(memory.len(), MAX_RESOLVED as usize / 2 + 1);
    learn(&mut answers, "guest", "x.example", "203.0.113.1", 60, HOUR);
    assert!(memory.until("guest", "203.0.113.1").is_some());

    let full: BTreeMap<_, _> = (0..MAX_RESOLVED)
        .map(|zone| (ResolvedKey { address: [9; 16], zone }, ResolvedValue::default()))
        .collect();
    let held = std::mem::replace(&mut memory.0.lock().unwrap().0, full);
    learn(&mut answers, "guest", "x.example", "203.0.113.2", 60, HOUR);
    assert_eq!((answers.refused().0, memory.until("guest", "203.0.113.2")), (1, None));
    memory.0.lock().unwrap().0 = held;
    learn(&mut answers, "guest", "x.example", "203.0.113.2", 60, HOUR);
    assert!(memory.until("guest", "203.0.113.2").is_some());
}
