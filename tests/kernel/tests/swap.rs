//! Plans that change under traffic, that are on trial, and daemons that are killed in between: no packet of a flow
//! that may live is lost, and none that must not pass does.
//!
//! `SECD_LONG=1` swaps lists of a million networks and kills a hundred times.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use abi::{Action, DIRECTION_IN, ListValue, Lost};
use enforce::xdp::{Dataplane, Error, boot_now};
use ipnet::IpNet;
use kernel_tests::{
    Folder, Namespace, can_run, end_grace,
    plans::{default_row, router, row, value},
    wires::{PATIENCE, Wires},
};
use policy::Plan;
use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, UdpSocket},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Instant,
};

/// Flows that live through it all.
const LIVE: u16 = 1000;

fn is_long() -> bool {
    std::env::var_os("SECD_LONG").is_some()
}

/// A server that answers whatever comes in at a port, and hosts outside that ask it, each by a flow of its own.
struct Asking {
    server: UdpSocket,
    clients: Vec<UdpSocket>,
    asked: u64,
}

impl Asking {
    fn new(from: &Namespace, to: &Namespace, address: &str, flows: u16) -> Self {
        let server = to.inside(|| Ok(UdpSocket::bind(address)?)).unwrap();
        server.set_read_timeout(Some(PATIENCE)).unwrap();
        let clients = from
            .inside(|| {
                (0..flows)
                    .map(|_| {
                        let client = UdpSocket::bind("0.0.0.0:0")?;
                        client.connect(address)?;
                        client.set_read_timeout(Some(PATIENCE))?;
                        Ok(client)
                    })
                    .collect::<anyhow::Result<Vec<_>>>()
            })
            .unwrap();
        Self { server, clients, asked: 0 }
    }

    /// Asks by each flow once and waits for each answer. Nothing may be lost.
    fn round(&mut self, flows: usize) {
        for client in self.clients.iter().take(flows) {
            let number = self.asked.to_be_bytes();
            client.send(&number).unwrap();
            let mut buffer = [0; 8];
            let (_, back) = self.server.recv_from(&mut buffer).expect("a question of a live flow is lost");
            assert_eq!(buffer, number);
            self.server.send_to(&buffer, back).unwrap();
            client.recv(&mut buffer).expect("an answer of a live flow is lost");
            assert_eq!(buffer, number);
            self.asked += 1;
        }
    }
}

/// A host outside that goes on sending to where nothing may arrive.
struct Knocking {
    server: UdpSocket,
    client: UdpSocket,
}

impl Knocking {
    fn new(from: &Namespace, to: &Namespace, address: &str) -> Self {
        let server = to.inside(|| Ok(UdpSocket::bind(address)?)).unwrap();
        server.set_nonblocking(true).unwrap();
        let client = from.inside(|| Ok(UdpSocket::bind("0.0.0.0:0")?)).unwrap();
        client.connect(address).unwrap();
        Self { server, client }
    }

    /// What is sent here is there when the call returns: the wire is a function call.
    fn knock(&self) {
        self.client.send(b"x").unwrap();
        let came = self.server.recv(&mut [0; 8]);
        assert!(came.is_err(), "what no plan lets in came in");
    }
}

#[test]
fn a_large_list_is_replaced_under_traffic_and_no_packet_is_lost() {
    let test = "a_large_list_is_replaced_under_traffic_and_no_packet_is_lost";
    if !can_run(test) {
        return;
    }
    let (networks, swaps) = if is_long() { (1_000_000, 50) } else { (20_000, 50) };
    let folder = Folder::new("swap");
    let wires = Wires::new("swap").unwrap();
    let Wires { wan, lan, .. } = &wires;
    let mut dataplane = wires.open(&folder);
    let plans = [1, 2].map(|seed| mixed(seed, networks));
    wires.install(&mut dataplane, &plans[0]);
    let mut asking = Asking::new(wan, lan, "10.1.0.2:80", LIVE);
    let knocking = Knocking::new(wan, lan, "10.1.0.2:81");
    asking.round(usize::from(LIVE));
    let (is_over, swapped) = (AtomicBool::new(false), AtomicU64::new(0));
    let (mut longest, mut bytes, mut at_swap) = (0, 0, 0);
    let counters = dataplane.counters().unwrap();
    let lost = || {
        let lost = counters.lost().unwrap();
        lost.iter().find_map(|(what, count)| (*what == Lost::Flow).then_some(*count)).unwrap()
    };
    let before = lost();
    std::thread::scope(|scope| {
        let traffic = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                asking.round(usize::from(LIVE));
                knocking.knock();
            }
            asking.asked
        });
        wires
            .router
            .inside(|| {
                for swap in 1..=swaps {
                    let begun = Instant::now();
                    let applied = dataplane.apply(&plans[swap % 2])?;
                    assert!(applied.changed);
                    longest = longest.max(begun.elapsed().as_millis());
                    (bytes, at_swap) = (applied.bytes, applied.bytes_at_swap);
                    swapped.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            })
            .unwrap();
        is_over.store(true, Ordering::Relaxed);
        let asked = traffic.join().unwrap();
        println!(
            "{swaps} swaps of {networks} networks, {asked} questions and answers of {LIVE} flows: none lost; \
             longest swap {longest} ms; {bytes} bytes of kernel memory, {at_swap} at the swap"
        );
        assert!(asked >= 2 * u64::from(LIVE));
    });
    assert_eq!(lost(), before, "no entry of the flow table was lost");
    assert_eq!(swapped.load(Ordering::Relaxed), swaps as u64);
    assert!(at_swap >= 2 * bytes - bytes / 4 && at_swap <= 3 * bytes, "old and new together");
}

/// The router's plan with a list of scattered networks, most of them single addresses, in what is neither the test's
/// own nor anybody's loopback.
fn mixed(seed: u32, count: u32) -> Plan {
    let value = ListValue { list: 1, directions: DIRECTION_IN, observe: 0 };
    let mut state = u64::from(seed);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    };
    let mut listed = BTreeMap::<IpNet, ListValue>::new();
    while listed.len() < count as usize {
        let address = Ipv4Addr::from(0x8000_0000 + next() % 0x4000_0000);
        let bits = [32, 32, 32, 32, 24, 27, 22, 29][next() as usize % 8];
        listed.insert(IpNet::new(address.into(), bits).unwrap().trunc(), value);
    }
    Plan { listed: listed.into_iter().collect(), ..router(80) }
}

/// The program of this package that applies plans until it is killed, in the router's namespace.
fn applier(
    wires: &Wires,
    folder: &Folder,
    arguments: &[&str],
) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = Command::new("nsenter")
        .arg(format!("--net=/run/netns/{}", wires.router.name()))
        .arg(env!("CARGO_BIN_EXE_applier"))
        .arg(folder.path())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

#[test]
fn a_daemon_that_is_killed_at_any_moment_leaves_no_wrong_verdict() {
    let test = "a_daemon_that_is_killed_at_any_moment_leaves_no_wrong_verdict";
    if !can_run(test) {
        return;
    }
    let kills = if is_long() { 100 } else { 8 };
    let folder = Folder::new("killed");
    let wires = Wires::new("killed").unwrap();
    let Wires { wan, lan, .. } = &wires;
    let mut dataplane = wires.open(&folder);
    wires.install(&mut dataplane, &router(80));
    let memory = dataplane.memory().unwrap();
    drop(dataplane);
    let mut asking = Asking::new(wan, lan, "10.1.0.2:80", 50);
    let knocking = Knocking::new(wan, lan, "10.1.0.2:81");
    asking.round(50);
    let mut generations = Vec::new();
    for kill in 0..kills {
        let (mut child, mut output) = applier(&wires, &folder, &["swap"]);
        let mut line = String::new();
        for _ in 0..=kill % 4 {
            line.clear();
            output.read_line(&mut line).unwrap();
            assert!(!line.is_empty(), "the applier ended by itself");
        }
        // Another moment each time, measured in packets.
        for _ in 0..kill % 23 {
            asking.round(7);
            knocking.knock();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        asking.round(50);
        knocking.knock();
        generations.push(line.trim().parse::<u32>().unwrap());
    }
    println!(
        "{kills} kills under {} questions and answers: none lost; generations {generations:?}",
        asking.asked
    );
    // Whatever was half done is made good by the next plan.
    let (mut dataplane, adopted) = wires.router.inside(|| Ok(Dataplane::open(folder.path())?)).unwrap();
    assert!(adopted.maps && adopted.generation > 0);
    assert_eq!(adopted.interfaces, ["lan0", "wan0"]);
    wires.install(&mut dataplane, &router(80));
    assert_eq!(dataplane.memory().unwrap(), memory, "nothing is left over");
    asking.round(50);
    knocking.knock();
}

#[test]
fn a_plan_on_trial_goes_by_itself_when_the_daemon_is_dead() {
    let test = "a_plan_on_trial_goes_by_itself_when_the_daemon_is_dead";
    if !can_run(test) {
        return;
    }
    let folder = Folder::new("trial");
    let wires = Wires::new("trial").unwrap();
    let Wires { wan, lan, .. } = &wires;
    let mut dataplane = wires.open(&folder);
    wires.install(&mut dataplane, &router(80));
    let before = dataplane.active().unwrap();
    drop(dataplane);
    assert!(wires.datagram(wan, lan, "10.1.0.2:80") && !wires.datagram(wan, lan, "10.1.0.2:81"));

    let (mut child, mut output) = applier(&wires, &folder, &["trial", "81", "3"]);
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let deadline: u64 = line.trim().parse().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    // A flow that only the plan on trial lets live.
    let mut asking = Asking::new(wan, lan, "10.1.0.2:81", 1);
    asking.round(1);
    assert!(boot_now() < deadline, "this machine is too slow for a trial of 3 s");
    while boot_now() < deadline {
        asking.clients[0].send(b"still on").unwrap();
        asking.server.set_nonblocking(true).unwrap();
        while asking.server.recv(&mut [0; 8]).is_ok() {}
    }
    let knocking = Knocking { server: asking.server, client: asking.clients.remove(0) };
    knocking.knock();
    assert!(wires.datagram(wan, lan, "10.1.0.2:80"), "the plan before it holds again");
    drop(knocking);

    let (mut dataplane, adopted) = wires.router.inside(|| Ok(Dataplane::open(folder.path())?)).unwrap();
    assert_eq!(adopted.trial, None);
    assert_eq!(adopted.generation & 1, before.generation & 1, "it was never moved");
    assert!(!dataplane.confirm().unwrap(), "nothing is left to confirm");
    let again = wires.install(&mut dataplane, &router(80));
    assert!(!again.plan.changed, "the kernel holds this very plan");
    assert!(!wires.datagram(wan, lan, "10.1.0.2:81"));
}

#[test]
fn a_trial_is_confirmed_or_taken_back_and_refuses_others_meanwhile() {
    let test = "a_trial_is_confirmed_or_taken_back_and_refuses_others_meanwhile";
    if !can_run(test) {
        return;
    }
    const LATER: u64 = 3_600_000_000_000;
    let folder = Folder::new("confirm");
    let wires = Wires::new("confirm").unwrap();
    let Wires { wan, lan, router: inside } = &wires;
    let mut dataplane = wires.open(&folder);
    wires.install(&mut dataplane, &router(80));
    let memory = dataplane.memory().unwrap();
    let opens = |port: u16| wires.datagram(wan, lan, &format!("10.1.0.2:{port}"));
    let try_out = |dataplane: &mut Dataplane, port| {
        inside.inside(|| Ok(dataplane.install_until(&router(port), boot_now() + LATER)?)).unwrap();
        end_grace(dataplane);
    };

    try_out(&mut dataplane, 81);
    assert!(opens(81) && !opens(80));
    assert!(dataplane.memory().unwrap() > memory, "both are kept");
    let error = inside.inside(|| Ok(dataplane.apply(&router(82)).unwrap_err())).unwrap();
    assert!(matches!(error, Error::OnTrial { seconds: 3500..=3600 }), "{error}");
    let same = inside.inside(|| Ok(dataplane.install(&router(81))?)).unwrap();
    assert!(!same.plan.changed && dataplane.trial().is_some(), "the reconciler may go on");
    assert!(dataplane.revert().unwrap() && !dataplane.revert().unwrap());
    assert!(opens(80) && !opens(81));
    assert_eq!(dataplane.memory().unwrap(), memory);

    try_out(&mut dataplane, 81);
    assert!(dataplane.confirm().unwrap() && !dataplane.confirm().unwrap());
    assert_eq!(dataplane.trial(), None);
    assert!(opens(81) && !opens(80));
    let next = wires.install(&mut dataplane, &router(80));
    assert!(next.plan.changed && opens(80) && !opens(81));

    // Nobody confirms, and the daemon lives: it is told.
    inside.inside(|| Ok(dataplane.install_until(&router(81), boot_now())?)).unwrap();
    end_grace(&dataplane);
    assert!(matches!(dataplane.confirm(), Err(Error::TrialOver)));
    assert!(opens(80) && !opens(81));
}

#[test]
fn a_plan_that_lies_ready_judges_nothing_and_can_be_given_up() {
    let test = "a_plan_that_lies_ready_judges_nothing_and_can_be_given_up";
    if !can_run(test) {
        return;
    }
    let folder = Folder::new("staged");
    let wires = Wires::new("staged").unwrap();
    let Wires { wan, lan, router: inside } = &wires;
    let mut dataplane = wires.open(&folder);
    wires.install(&mut dataplane, &router(80));
    let (before, memory) = (dataplane.active().unwrap(), dataplane.memory().unwrap());
    let opens = |port: u16| wires.datagram(wan, lan, &format!("10.1.0.2:{port}"));

    let staged = inside.inside(|| Ok(dataplane.stage(&router(81))?)).unwrap();
    assert_eq!(dataplane.active().unwrap(), before);
    assert!(dataplane.memory().unwrap() > memory, "it lies there");
    assert!(opens(80) && !opens(81));
    dataplane.unstage(staged).unwrap();
    assert_eq!((dataplane.active().unwrap(), dataplane.memory().unwrap()), (before, memory));

    let staged = inside.inside(|| Ok(dataplane.stage(&router(81))?)).unwrap();
    let installed = inside.inside(|| Ok(dataplane.install_staged(&router(81), staged)?)).unwrap();
    assert!(installed.plan.changed && dataplane.active().unwrap().generation == before.generation + 1);
    end_grace(&dataplane);
    assert!(opens(81) && !opens(80));
    // The plan in force needs no place; giving it up takes nothing away.
    let same = inside.inside(|| Ok(dataplane.stage(&router(81))?)).unwrap();
    dataplane.unstage(same).unwrap();
    assert!(opens(81) && !opens(80));
}

#[test]
fn a_plan_that_does_not_fit_changes_nothing_and_says_how_much_it_was() {
    let test = "a_plan_that_does_not_fit_changes_nothing_and_says_how_much_it_was";
    if !can_run(test) {
        return;
    }
    let folder = Folder::new("refused");
    let (mut dataplane, _) = Dataplane::open(folder.path()).unwrap();
    let mut plan = Plan { rows: vec![default_row(Action::Drop)], ..Plan::default() };
    dataplane.apply(&plan).unwrap();
    let (before, memory) = (dataplane.active().unwrap(), dataplane.memory().unwrap());
    let rule = |n: u32| row(&[3], &[4], &[(6, 1, 1)], value(Action::Drop, (n % 16_384) as u16));
    plan.rows = (0..100_000).map(rule).collect();
    let error = dataplane.apply(&plan).unwrap_err().to_string();
    assert!(
        error.contains("100000 rows") && error.contains("16384") && error.contains("nothing was changed"),
        "{error}"
    );
    assert_eq!((dataplane.active().unwrap(), dataplane.memory().unwrap()), (before, memory));
}
