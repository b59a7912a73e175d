//! What systemd sees of the daemon: the protocol of sd_notify(3), spoken to a socket of the test's own.
#![expect(clippy::unwrap_used, reason = "a test fails where its helpers do")]

use lab::{Lab, Own, Waiter};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

/// The next messages up to one that holds `wanted`; fails if none comes for long.
fn until(socket: &UnixDatagram, wanted: &str) -> Vec<String> {
    let mut heard = Vec::new();
    let mut buffer = [0; 4096];
    while !heard.iter().any(|message: &String| message.lines().any(|line| line == wanted)) {
        let length =
            socket.recv(&mut buffer).unwrap_or_else(|error| panic!("no {wanted} ({error}): {heard:?}"));
        heard.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
    }
    heard
}

#[test]
fn systemd_is_told_of_readiness_life_reload_and_stop() {
    if let Some(why) = lab::cannot_run() {
        eprintln!("SKIP: lab::service: {why}");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut lab = Lab::start(Waiter::default(), false, Own::default()).unwrap();
    lab.appliance.stop().unwrap();
    lab.appliance.environment =
        vec![("NOTIFY_SOCKET", path.display().to_string()), ("WATCHDOG_USEC", "3000000".into())];
    lab.appliance.run(&lab.network.router, &lab.waiter).unwrap();
    until(&socket, "READY=1");
    until(&socket, "WATCHDOG=1");
    lab.appliance.hang_up().unwrap();
    let reload = until(&socket, "RELOADING=1");
    assert!(reload.last().unwrap().contains("MONOTONIC_USEC="), "{reload:?}");
    until(&socket, "READY=1");
    lab.appliance.stop().unwrap();
    until(&socket, "STOPPING=1");
}
