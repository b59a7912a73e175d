//! Names by leases: a real DHCP server gives them, the resolver and policy know them, and nobody takes another's.
#![expect(clippy::unwrap_used, reason = "a test fails where its helpers do")]

use lab::{HOME, IOT, Lab, Own, Process, Waiter};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);
/// A name of the lab's upstreams, blocked for the group.
const BLOCKED: &str = "www.lab.example";

struct World {
    lab: Lab,
    _server: Process,
    leases: PathBuf,
}

impl World {
    /// dnsmasq on the router serves the zone of things; the resolver reads its leases.
    fn start() -> Self {
        let lab = Lab::start(Waiter::default(), false, Own::default()).unwrap();
        let leases = lab.directory().join("dnsmasq.leases");
        let mut command = lab.network.router.command("dnsmasq");
        command.args(["--no-daemon", "--conf-file=/dev/null", "--port=0", "--user=root", "--pid-file="]);
        command.args(["--bind-interfaces", "--dhcp-authoritative", "--no-ping"]);
        command.arg(format!("--interface={}", IOT.interface));
        command.args(["--dhcp-range=10.40.0.100,10.40.0.150,255.255.255.0,1h"]);
        command.arg(format!("--dhcp-leasefile={}", leases.display()));
        let server = Process::start("dnsmasq", &mut command, lab.directory()).unwrap();
        let config = &lab.appliance.config;
        let text = fs::read_to_string(config).unwrap()
            + &format!(
                "\n[dns.local]\nleases = [\"dnsmasq:{}\"]\n\n[dns.records]\n\"nas.home.arpa\" = [\"10.30.0.9\"]\n\n\
                 [dns.groups.kids]\ndeny = [\"{BLOCKED}\"]\nblocking = \"nxdomain\"\n\n\
                 [dns.clients.tablet]\nwho = [\"host:kids-tablet\"]\ngroups = [\"default\", \"kids\"]\n",
                leases.display()
            );
        fs::write(config, text).unwrap();
        let reply = lab.appliance.ask(&["reload"]).unwrap();
        assert_eq!(reply.code, 0, "{}", reply.text);
        Self { lab, _server: server, leases }
    }

    /// A device in the zone of things asks for a lease and calls itself something; its address.
    fn device(&self, link: &str, mac: &str, name: &str) -> String {
        let host = self.lab.network.host(IOT).unwrap();
        host.ip(&["link", "add", link, "link", "eth0", "address", mac, "type", "macvlan", "mode", "bridge"])
            .unwrap();
        host.ip(&["link", "set", link, "up"]).unwrap();
        let output = host
            .command("udhcpc")
            .args(["-f", "-n", "-q", "-t", "10", "-T", "1", "-i", link, "-s", "/bin/true", "-x"])
            .arg(format!("hostname:{name}"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        let file = fs::read_to_string(&self.leases).unwrap();
        let line = file.lines().find(|line| line.contains(mac)).unwrap_or_else(|| panic!("{file}\n{said}"));
        let address = line.split(' ').nth(2).unwrap().to_owned();
        host.ip(&["address", "add", &format!("{address}/24"), "dev", link]).unwrap();
        address
    }

    /// What `kdig` is answered in the zone of things from this address, or at home.
    fn asked(&self, source: Option<&str>, words: &[&str]) -> String {
        let (zone, source) = source.map_or((HOME, HOME.host4), |source| (IOT, source));
        let server = format!("@{}", zone.router4.split('/').next().unwrap());
        let mut command = self.lab.network.host(zone).unwrap().command("kdig");
        command.args([&server, "-b", source, "+timeout=2", "+retry=0"]).args(words);
        String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned()
    }

    fn short(&self, words: &[&str]) -> String {
        self.asked(None, &[&["+short"], words].concat()).trim().to_owned()
    }

    fn is_blocked(&self, source: &str) -> bool {
        let text = self.asked(Some(source), &[BLOCKED, "A"]);
        assert!(text.contains("status: "), "{text}");
        text.contains("status: NXDOMAIN")
    }

    fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        self.lab.waiter.until(what, SOON, || Ok(holds().then_some(()))).unwrap();
    }

    fn command(&self, words: &[&str]) -> Value {
        let reply = self.lab.appliance.ask(words).unwrap();
        assert_eq!(reply.code, 0, "{}", reply.text);
        reply.json
    }

    fn told(&self, text: &str) -> bool {
        self.lab.appliance.events().unwrap().iter().any(|event| event.to_string().contains(text))
    }
}

#[test]
fn a_lease_names_a_device_for_the_resolver_and_for_policy_and_nobody_takes_the_name() {
    if let Some(why) = lab::cannot_run() {
        eprintln!("SKIP: lab::leases: {why}");
        return;
    }
    let programs = ["/usr/sbin/dnsmasq", "/usr/sbin/udhcpc"];
    if let Some(missing) = programs.iter().find(|program| !Path::new(program).exists()) {
        eprintln!("SKIP: lab::leases: {missing} is not installed: run cargo xtask setup");
        return;
    }
    let mut world = World::start();
    let tablet = world.device("tablet", "02:00:00:00:40:01", "Kids-Tablet");
    world.until("the name", || world.short(&["kids-tablet.home.arpa", "A"]) == tablet);
    assert_eq!(world.short(&["kids-tablet", "A"]), tablet);
    assert_eq!(world.short(&["-x", &tablet]), "kids-tablet.home.arpa.");
    world.until("its group", || world.is_blocked(&tablet));
    assert!(!world.is_blocked(IOT.host4), "another device of the zone");
    let clients = world.command(&["dns", "clients"]);
    assert_eq!(clients["clients"][0]["hosts"], serde_json::json!(["kids-tablet"]), "{clients}");
    let why = world.command(&["why", BLOCKED, "--client", &tablet]);
    assert_eq!(why["client"]["known_by"], "host:kids-tablet", "{why}");
    let named = || {
        let devices = world.command(&["device"]);
        devices["devices"].as_array().unwrap().iter().any(|row| row["host"] == "kids-tablet")
    };
    world.until("the device's row", named);

    // Another device calls itself the same, and the server lets it; one takes a name that a person wrote.
    let thief = world.device("thief", "02:00:00:00:40:66", "kids-tablet");
    world.until("the claim", || {
        world.told(&format!("{thief} asks for the name kids-tablet and does not get it: {tablet} has it"))
    });
    assert_eq!(world.short(&["kids-tablet.home.arpa", "A"]), tablet);
    assert!(world.is_blocked(&tablet) && !world.is_blocked(&thief));
    let liar = world.device("liar", "02:00:00:00:40:67", "nas");
    world.until("the other claim", || {
        world.told(&format!("{liar} asks for the name nas and does not get it"))
    });
    assert_eq!(world.short(&["nas.home.arpa", "A"]), "10.30.0.9");

    // Over a restart, though the server has forgotten whose the name was.
    let file = fs::read_to_string(&world.leases).unwrap();
    let first = file.lines().find(|line| line.contains(&tablet)).unwrap();
    assert!(first.contains(&format!("{tablet} * ")), "{file}");
    world.lab.appliance.kill().unwrap();
    world.lab.appliance.run(&world.lab.network.router, &world.lab.waiter).unwrap();
    world.until("the name after a restart", || world.short(&["kids-tablet.home.arpa", "A"]) == tablet);

    // A file that is gone is told of, and what it said holds.
    let aside = world.leases.with_extension("aside");
    fs::rename(&world.leases, &aside).unwrap();
    let troubles = || world.command(&["status"])["troubles"].to_string();
    world.until("the trouble", || troubles().contains("dnsmasq.leases cannot be read"));
    assert_eq!(world.short(&["kids-tablet.home.arpa", "A"]), tablet);
    fs::rename(&aside, &world.leases).unwrap();
    world.until("the end of trouble", || !troubles().contains("dnsmasq.leases"));
}
