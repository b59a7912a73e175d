//! mDNS and SSDP between zones: real programs announce and look (python3-zeroconf), a small client searches by SSDP.
#![expect(clippy::unwrap_used, reason = "a test fails where its helpers do")]

use lab::{GUEST, IOT, Lab, MANAGEMENT, Own, Process, Waiter, Zone};
use std::fs;
use std::path::Path;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(40);
/// Debian's, which has the module.
const PYTHON: &str = "/usr/bin/python3";

/// Announces services of this host until it is ended: `TYPE INSTANCE PORT` each.
const ANNOUNCE: &str = r#"
import socket, sys, threading, zeroconf
version = zeroconf.IPVersion.V6Only if ":" in sys.argv[1] else zeroconf.IPVersion.V4Only
zc = zeroconf.Zeroconf(interfaces=[sys.argv[1]], ip_version=version)
for number, kind in enumerate(sys.argv[3:]):
    zc.register_service(zeroconf.ServiceInfo(
        kind + ".local.", "%s.%s.local." % (sys.argv[2], kind), port=631 + number,
        parsed_addresses=sys.argv[1].split(","), server=sys.argv[2].lower() + ".local.", properties={"rp": "ipp/print"}))
print("announced", flush=True)
threading.Event().wait()
"#;

/// Looks for a service for so long; prints what was found and resolved.
const LOOK: &str = r#"
import sys, threading, zeroconf
found = threading.Event()
class Listener(zeroconf.ServiceListener):
    def add_service(self, zc, kind, name):
        info = zc.get_service_info(kind, name, timeout=3000)
        if info:
            print(name, info.server, ",".join(info.parsed_addresses()), info.port, flush=True)
            found.set()
    def update_service(self, zc, kind, name): pass
    def remove_service(self, zc, kind, name): pass
version = zeroconf.IPVersion.V6Only if ":" in sys.argv[1] else zeroconf.IPVersion.V4Only
zc = zeroconf.Zeroconf(interfaces=[sys.argv[1]], ip_version=version)
zeroconf.ServiceBrowser(zc, sys.argv[2] + ".local.", Listener())
found.wait(float(sys.argv[3]))
"#;

/// Answers searches by SSDP as a device does, and prints from where they come.
const DEVICE: &str = r#"
import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("", 1900))
s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton("239.255.255.250") + socket.inet_aton(sys.argv[1]))
print("listens", flush=True)
while True:
    data, source = s.recvfrom(2048)
    if data.startswith(b"M-SEARCH"):
        print("searched by", source[0], flush=True)
        reply = "HTTP/1.1 200 OK\r\nST: upnp:rootdevice\r\nUSN: uuid:1::upnp:rootdevice\r\nLOCATION: http://%s:8008/d.xml\r\n\r\n" % sys.argv[1]
        s.sendto(reply.encode(), source)
"#;

/// Searches by SSDP and prints the first answer.
const SEARCH: &str = r#"
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(sys.argv[1]))
s.settimeout(float(sys.argv[2]))
s.sendto(b'M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: "ssdp:discover"\r\nMX: 1\r\nST: upnp:rootdevice\r\n\r\n', ("239.255.255.250", 1900))
try:
    print(s.recv(2048).decode())
except TimeoutError:
    print("nothing")
"#;

fn start() -> Option<Lab> {
    let missing = match lab::cannot_run() {
        Some(why) => Some(why),
        None if !Path::new("/usr/lib/python3/dist-packages/zeroconf").exists() => {
            Some("python3-zeroconf is not installed: run cargo xtask setup".into())
        }
        None => None,
    };
    if let Some(why) = missing {
        eprintln!("SKIP: lab::discovery: {why}");
        return None;
    }
    Some(Lab::start(Waiter::default(), false, Own::default()).unwrap())
}

fn reflect(lab: &Lab, more: &str) {
    let config = &lab.appliance.config;
    // A rule of a careful person that would swallow mDNS.
    let careful = "\n[[rules]]\nfrom = [\"iot\"]\nto = [\"any\"]\nservices = []\naction = \"drop\"\n";
    fs::write(config, fs::read_to_string(config).unwrap() + careful + more).unwrap();
    let reply = lab.appliance.ask(&["reload"]).unwrap();
    assert_eq!(reply.code, 0, "{}", reply.text);
    assert_eq!(lab.appliance.status().unwrap()["troubles"], serde_json::json!([]));
}

/// Runs a script in the host of a zone until it has said `ready`.
fn script(lab: &Lab, zone: Zone, name: &str, text: &str, arguments: &[&str], ready: &str) -> Process {
    let host = lab.network.host(zone).unwrap();
    let mut command = host.command(PYTHON);
    command.args(["-c", text]).args(arguments);
    let process = Process::start(name, &mut command, lab.directory()).unwrap();
    let log = process.log().to_path_buf();
    let said = || fs::read_to_string(&log).unwrap_or_default();
    let waited = lab.waiter.until(name, SOON, || Ok(said().contains(ready).then_some(())));
    assert!(waited.is_ok(), "{}", said());
    process
}

fn run(lab: &Lab, zone: Zone, text: &str, arguments: &[&str]) -> String {
    let mut command = lab.network.host(zone).unwrap().command(PYTHON);
    let output = command.args(["-c", text]).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    said.trim().to_owned()
}

fn dropped(lab: &Lab, what: &str) -> u64 {
    let metrics = lab.appliance.metrics().unwrap();
    let line = metrics
        .lines()
        .find(|line| line.starts_with(&format!("secd_reflector_packets_total{{what=\"{what}\"}}")));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

#[test]
fn a_printer_is_found_from_the_zones_that_are_named_and_nothing_else_is() {
    let Some(lab) = start() else { return };
    reflect(&lab, "\n[[dns.reflect]]\nzones = [\"management\", \"iot\"]\nservices = [\"printers\"]\n");
    let kinds = ["_ipp._tcp", "_ssh._tcp"];
    let announce = |name: &str, address: &str| {
        script(&lab, IOT, name, ANNOUNCE, &[&[address, name], &kinds[..]].concat(), "announced")
    };
    let printer = announce("Office", IOT.host4);
    let found = run(&lab, MANAGEMENT, LOOK, &[MANAGEMENT.host4, "_ipp._tcp", "20"]);
    assert_eq!(found, format!("Office._ipp._tcp.local. office.local. {} 631", IOT.host4));
    // It is there, and another type of it is not told; nor is the printer to guests.
    assert_eq!(
        run(&lab, IOT, LOOK, &[IOT.host4, "_ssh._tcp", "20"]).split(' ').next(),
        Some("Office._ssh._tcp.local.")
    );
    assert_eq!(run(&lab, MANAGEMENT, LOOK, &[MANAGEMENT.host4, "_ssh._tcp", "4"]), "");
    assert_eq!(run(&lab, GUEST, LOOK, &[GUEST.host4, "_ipp._tcp", "4"]), "");
    drop(printer);

    let _printer = announce("Cellar", IOT.host6);
    let found = run(&lab, MANAGEMENT, LOOK, &[MANAGEMENT.host6, "_ipp._tcp", "20"]);
    assert_eq!(found, format!("Cellar._ipp._tcp.local. cellar.local. {} 631", IOT.host6));
    assert!(
        dropped(&lab, "sent") > 0 && dropped(&lab, "not_chosen") > 0,
        "{}",
        lab.appliance.metrics().unwrap()
    );

    // Without it, no more.
    let config = &lab.appliance.config;
    let text = fs::read_to_string(config).unwrap();
    fs::write(config, &text[..text.find("[[dns.reflect]]").unwrap()]).unwrap();
    assert_eq!(lab.appliance.ask(&["reload"]).unwrap().code, 0);
    assert_eq!(run(&lab, MANAGEMENT, LOOK, &[MANAGEMENT.host6, "_ipp._tcp", "4"]), "");
}

#[test]
fn a_search_by_ssdp_reaches_the_other_zone_and_the_answer_comes_back_to_who_asked() {
    let Some(lab) = start() else { return };
    let zones = "\n[[dns.reflect]]\nzones = [\"management\", \"iot\"]\nservices = [\"cast\"]\n";
    reflect(&lab, &format!("{zones}ssdp = true\n"));
    let device = script(&lab, IOT, "device", DEVICE, &[IOT.host4], "listens");
    let answer = run(&lab, MANAGEMENT, SEARCH, &[MANAGEMENT.host4, "15"]);
    assert!(answer.contains(&format!("LOCATION: http://{}:8008/d.xml", IOT.host4)), "{answer}");
    assert_eq!(run(&lab, GUEST, SEARCH, &[GUEST.host4, "3"]), "nothing");
    let said = fs::read_to_string(device.log()).unwrap();
    let router = IOT.router4.split('/').next().unwrap();
    assert_eq!(
        said.lines().filter(|line| line.starts_with("searched")).collect::<Vec<_>>(),
        [format!("searched by {router}")]
    );
}
