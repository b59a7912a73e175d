//! A policy on trial goes back by itself, also when whoever put it there is gone.

use crate::town::{Pair, SELF, Town, WAN, allow, connect, listen, policy, refused, tcp, wait_until};
use enforce::nft::{NftError, Options, Wall, WallState};
use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

/// Seconds of a trial that is waited for.
const SHORT: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_secs(600);
/// Tells the child that it is one.
const CHILD: &str = "SECD_WALL_CHILD";

fn closed() -> policy::Policy {
    policy(vec![allow(WAN, SELF, "", &[tcp(2022)])], vec![])
}

fn open() -> policy::Policy {
    policy(
        vec![allow(WAN, SELF, "", &[tcp(2222)])],
        vec![crate::town::forward(&[tcp(443)], "10.1.0.5", Some(8443))],
    )
}

#[test]
fn a_trial_that_nobody_confirms_ends() {
    let Some(town) = Town::new("trial") else { return };
    let (old, new) = (listen(&town.router, "192.0.2.1:2022"), listen(&town.router, "192.0.2.1:2222"));
    let inner = listen(&town.host, "10.1.0.5:8443");
    let mut wall = Wall::default();
    town.apply(&mut wall, &closed());
    Pair::open(&old, connect(&town.outside, "192.0.2.1:2022"));
    refused(connect(&town.outside, "192.0.2.1:2222"));

    let trial = |wall: &mut Wall, time| {
        town.router.inside(|| Ok(wall.apply_until(&open(), &Options::default(), time)?)).unwrap();
        refused(connect(&town.outside, "192.0.2.1:2022"));
        Pair::open(&new, connect(&town.outside, "192.0.2.1:2222"))
    };
    // Taken back by hand.
    let lives = trial(&mut wall, LONG);
    Pair::open(&inner, connect(&town.outside, "192.0.2.1:443"));
    assert_eq!(town.counted(&wall, "rule 0"), 1);
    town.router.inside(|| Ok(wall.revert()?)).unwrap();
    refused(connect(&town.outside, "192.0.2.1:2222"));
    refused(connect(&town.outside, "192.0.2.1:443"));
    Pair::open(&old, connect(&town.outside, "192.0.2.1:2022"));
    lives.talk();
    // Kept.
    trial(&mut wall, LONG);
    town.router.inside(|| Ok(wall.confirm()?)).unwrap();
    assert!(!town.router.inside(|| Ok(wall.on_trial()?)).unwrap());
    Pair::open(&new, connect(&town.outside, "192.0.2.1:2222"));
    town.apply(&mut wall, &closed());
    // Left to itself.
    let lives = trial(&mut wall, SHORT);
    wait_until("the kernel goes back", || connect(&town.outside, "192.0.2.1:2222").is_err());
    wait_until("it says so", || !town.router.inside(|| Ok(wall.on_trial()?)).unwrap());
    Pair::open(&old, connect(&town.outside, "192.0.2.1:2022"));
    refused(connect(&town.outside, "192.0.2.1:443"));
    assert_eq!(town.router.inside(|| Ok(wall.check()?)).unwrap(), WallState::Same);
    let late = town.router.inside(|| Ok(wall.confirm())).unwrap();
    assert!(matches!(late, Err(NftError::NoTrial)), "{late:?}");
    lives.talk();
}

#[test]
fn a_trial_ends_when_its_process_was_killed() {
    let Some(town) = Town::new("killed") else { return };
    let (old, new) = (listen(&town.router, "192.0.2.1:2022"), listen(&town.router, "192.0.2.1:2222"));
    let mut child = Command::new("nsenter")
        .arg(format!("--net=/run/netns/{}", town.router.name()))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "trial::applies_and_waits", "--ignored", "--nocapture"])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let said = lines.map_while(Result::ok).find(|line| line.contains("on trial"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(said.is_some(), "the child could not apply");
    // The new policy may still hold, or be gone already; in the end the former one is back, with nobody's help.
    wait_until("the kernel goes back", || connect(&town.outside, "192.0.2.1:2222").is_err());
    Pair::open(&old, connect(&town.outside, "192.0.2.1:2022"));
    drop(new);
}

/// The process that is killed.
#[test]
#[ignore = "started by a_trial_ends_when_its_process_was_killed"]
fn applies_and_waits() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let mut wall = Wall::default();
    wall.apply(&closed()).unwrap();
    wall.apply_until(&open(), &Options::default(), SHORT).unwrap();
    assert!(wall.on_trial().unwrap());
    println!("on trial");
    loop {
        std::thread::park();
    }
}
