//! The demo's steps, as a test.

use lab::{Lab, Own, Waiter, play};

#[test]
fn every_step_of_the_demo_holds() {
    if let Some(why) = lab::cannot_run() {
        eprintln!("SKIP: lab::demo: {why}");
        return;
    }
    let mut lab = Lab::start(Waiter::default(), true, Own::default()).unwrap();
    let steps = play(&mut lab, |step| {
        println!("{} {}: {}", if step.ok { "ok" } else { "FAILED" }, step.name, step.seen)
    });
    let failed: Vec<String> = steps
        .iter()
        .filter(|step| !step.ok)
        .map(|step| format!("{}: expected {}, saw {}", step.name, step.expected, step.seen))
        .collect();
    let log = std::fs::read_to_string(lab.directory().join("secd.log")).unwrap();
    let errors: Vec<&str> = log.lines().filter(|line| line.contains("ERROR")).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(errors.is_empty(), "secd said: {}", errors.join("\n"));
}
