//! CrowdSec's API as real programs ask it: Debian's bouncers, clients in Python and JavaScript, nginx and Traefik.
#![expect(clippy::unwrap_used, reason = "a test fails where its helpers do")]

use lab::{DMZ, HOME, Lab, MANAGEMENT, Own, Process, VISITOR, Waiter};
use serde_json::Value;
use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

const SOON: Duration = Duration::from_secs(30);
const PORT: u16 = 8080;
const ADDRESS: &str = "192.0.2.7";
const RANGE: &str = "45.0.2.0/24";
const SIX: &str = "2001:db8:bad::7";

/// The environment that `cargo xtask setup` makes.
fn clients() -> Option<PathBuf> {
    let var = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = || var("XDG_CACHE_HOME").or_else(|| Some(var("HOME")?.join(".cache")));
    let folder = var("SECD_CROWDSEC_CLIENTS").or_else(|| Some(cache()?.join("secd/crowdsec-clients")))?;
    let whole = fs::read(sources().join("crowdsec.txt")).unwrap();
    let held = fs::read(folder.join("requirements.txt")).ok()?;
    (held == whole).then_some(folder)
}

fn sources() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("clients")
}

fn bare(router: &str) -> &str {
    router.split('/').next().unwrap()
}

fn url() -> String {
    format!("http://{}:{PORT}/", bare(MANAGEMENT.router4))
}

/// A lab whose router has the API, for the management zone and the proxy in the DMZ; [`HOME`]'s host stands for a proxy
/// of a provider in front of that.
fn start(test: &str) -> Option<(Lab, PathBuf)> {
    let skip = |why: &str| eprintln!("SKIP: lab::crowdsec::{test}: {why}");
    if let Some(why) = lab::cannot_run() {
        skip(&why);
        return None;
    }
    let Some(clients) = clients() else {
        skip("the clients of CrowdSec's API are not there: run cargo xtask setup");
        return None;
    };
    let lab = Lab::start(Waiter::default(), false, Own::default()).unwrap();
    let (management, dmz) = (bare(MANAGEMENT.router4), bare(DMZ.router4));
    let more = format!(
        "\n[[rules]]\nfrom = [\"management\", \"dmz\"]\nto = [\"self\"]\nservices = [\"tcp/{PORT}\"]\naction = \"allow\"\n\n\
         [lapi]\nlisten = [\"{management}:{PORT}\", \"{dmz}:{PORT}\"]\nzones = [\"management\", \"dmz\"]\n\
         trusted_proxies = [\"{}\", \"{}\"]\n",
        DMZ.host4, HOME.host4,
    );
    let config = &lab.appliance.config;
    fs::write(config, fs::read_to_string(config).unwrap() + &more).unwrap();
    said(&lab, &["reload"]);
    Some((lab, clients))
}

/// What secctl says to an order that works.
fn said(lab: &Lab, words: &[&str]) -> Value {
    let reply = lab.appliance.ask(words).unwrap();
    assert_eq!(reply.code, 0, "{words:?}: {}", reply.text);
    reply.json
}

fn key(lab: &Lab, name: &str) -> String {
    said(lab, &["bouncers", "add", name])["secret"].as_str().unwrap().to_owned()
}

fn last_words(process: &Process) -> String {
    fs::read_to_string(process.log()).unwrap_or_default()
}

#[test]
fn firewall_bouncer() {
    let Some((mut lab, _)) = start("firewall_bouncer") else { return };
    let host = lab.network.host(MANAGEMENT).unwrap();
    let key = key(&lab, "wall");
    said(&lab, &["ban", ADDRESS, "--for", "1h"]);
    let folder = lab.directory().join("wall");
    fs::create_dir(&folder).unwrap();
    let config = folder.join("bouncer.yaml");
    fs::write(
        &config,
        format!(
            "mode: nftables\npid_dir: {0}\nupdate_frequency: 1s\ndaemonize: false\nlog_mode: stdout\nlog_dir: {0}\nlog_level: info\n\
             api_url: {1}\napi_key: {key}\ndisable_ipv6: false\ndeny_action: DROP\ndeny_log: false\n\
             supported_decisions_types: [ban]\nblacklists_ipv4: crowdsec-blacklists\nblacklists_ipv6: crowdsec6-blacklists\n\
             nftables:\n  ipv4: {{enabled: true, set-only: false, table: crowdsec, chain: crowdsec-chain}}\n\
             \x20 ipv6: {{enabled: true, set-only: false, table: crowdsec6, chain: crowdsec6-chain}}\nprometheus:\n  enabled: false\n",
            folder.display(),
            url(),
        ),
    )
    .unwrap();
    let mut command = host.command("crowdsec-firewall-bouncer");
    let mut bouncer = Process::start("firewall-bouncer", command.arg("-c").arg(&config), &folder).unwrap();
    let held = |set: [&str; 2]| {
        let mut command = host.command("nft");
        let family = if set[0] == "crowdsec" { "ip" } else { "ip6" };
        let output = command.args(["list", "set", family, set[0], set[1]]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let (four, six) = (["crowdsec", "crowdsec-blacklists"], ["crowdsec6", "crowdsec6-blacklists"]);
    let mut until = |what: &str, set: [&str; 2], text: &str, there: bool| {
        let seen = lab.waiter.until(what, SOON, || {
            bouncer.still_runs()?;
            Ok((held(set).contains(text) == there).then_some(()))
        });
        seen.unwrap_or_else(|error| panic!("{error}: {}\n{}", held(set), last_words(&bouncer)));
    };
    until("the first ban", four, ADDRESS, true);
    said(&lab, &["ban", RANGE, "--for", "1h"]);
    said(&lab, &["ban", SIX, "--for", "1h"]);
    // Version 0.0.25 with nftables holds the first address of a range only: its sets know no intervals.
    let first = bare(RANGE);
    until("a range", four, first, true);
    until("a ban of IPv6", six, SIX, true);
    said(&lab, &["unban", RANGE]);
    until("the end of a range", four, first, false);
    assert!(held(four).contains(ADDRESS));
    // What changes over a crash of secd is told after it.
    said(&lab, &["unban", ADDRESS]);
    lab.appliance.kill().unwrap();
    lab.appliance.run(&lab.network.router, &lab.waiter).unwrap();
    let mut until = |what: &str, set: [&str; 2], text: &str, there: bool| {
        let seen = lab.waiter.until(what, SOON, || {
            bouncer.still_runs()?;
            Ok((held(set).contains(text) == there).then_some(()))
        });
        seen.unwrap_or_else(|error| panic!("{error}: {}\n{}", held(set), last_words(&bouncer)));
    };
    until("the end of a ban", four, ADDRESS, false);
    assert!(held(six).contains(SIX));
    let shown = said(&lab, &["bouncers"]);
    let wall = &shown["programs"][0];
    assert_eq!(
        (&wall["name"], &wall["last"]["address"]),
        (&"wall".into(), &MANAGEMENT.host4.into()),
        "{shown}"
    );
    assert!(wall["last"]["agent"].as_str().unwrap().starts_with("crowdsec-firewall-bouncer/"), "{shown}");
    assert!(wall["pulled"].is_string(), "{shown}");
    // Only who has a key, and who is in these zones.
    said(&lab, &["bouncers", "delete", "wall"]);
    let ask = |zone: lab::Zone, headers: &[&str]| {
        let mut command = lab.network.host(zone).unwrap().command("curl");
        let headers = headers.iter().flat_map(|header| ["-H", header]);
        command.args(["-s", "--max-time", "5", "-w", "%{http_code}"]).args(headers);
        let output = command.arg(format!("{}v1/decisions/stream", url())).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(ask(MANAGEMENT, &[&format!("X-Api-Key: {key}")]), "{\"message\":\"access forbidden\"}403");
    assert_eq!(ask(HOME, &[&format!("X-Api-Key: {key}")]), "000");
}

#[test]
fn custom_bouncer() {
    let Some((lab, _)) = start("custom_bouncer") else { return };
    let host = lab.network.host(MANAGEMENT).unwrap();
    let key = key(&lab, "own");
    said(&lab, &["ban", ADDRESS, "--for", "1h"]);
    let folder = lab.directory().join("own");
    fs::create_dir(&folder).unwrap();
    let (program, calls, config) =
        (folder.join("program"), folder.join("calls"), folder.join("bouncer.yaml"));
    fs::write(&program, format!("#!/bin/sh\necho \"$1 $2 $4\" >> {}\n", calls.display())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(
        &config,
        format!(
            "bin_path: {}\nfeed_via_stdin: false\npiddir: {1}\nupdate_frequency: 1s\ncache_retention_duration: 1s\n\
             daemonize: false\nlog_mode: stdout\nlog_dir: {1}\nlog_level: info\napi_url: {2}\napi_key: {key}\n\
             prometheus:\n  enabled: false\n",
            program.display(),
            folder.display(),
            url(),
        ),
    )
    .unwrap();
    let mut command = host.command("crowdsec-custom-bouncer");
    let mut bouncer = Process::start("custom-bouncer", command.arg("-c").arg(&config), &folder).unwrap();
    let mut until = |line: &str| {
        let seen = lab.waiter.until(line, SOON, || {
            bouncer.still_runs()?;
            let calls = fs::read_to_string(&calls).unwrap_or_default();
            Ok(calls.lines().any(|call| call.starts_with(line)).then_some(()))
        });
        seen.unwrap_or_else(|error| {
            panic!("{error}: {:?}\n{}", fs::read_to_string(&calls), last_words(&bouncer))
        });
    };
    until(&format!("add {ADDRESS} manual 'ban' from"));
    said(&lab, &["ban", RANGE, "--for", "1h"]);
    until(&format!("add {RANGE} "));
    said(&lab, &["unban", ADDRESS]);
    until(&format!("del {ADDRESS} "));
}

#[test]
fn python() {
    let Some((lab, clients)) = start("python") else { return };
    let key = key(&lab, "python");
    said(&lab, &["ban", RANGE, "--for", "1h"]);
    let mut command = lab.network.host(MANAGEMENT).unwrap().command(clients.join("bin/python"));
    command.arg(sources().join("crowdsec_bouncer.py")).args([&url(), &key, "45.0.2.9"]);
    let mut client =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut orders, mut answers) =
        (client.stdin.take().unwrap(), BufReader::new(client.stdout.take().unwrap()).lines());
    let mut ask = || -> Value {
        orders.write_all(b"\n").unwrap();
        let line = answers.next().unwrap_or_else(|| {
            let mut error = String::new();
            client.stderr.as_mut().unwrap().read_to_string(&mut error).unwrap();
            panic!("{error}")
        });
        serde_json::from_str(&line.unwrap()).unwrap()
    };
    let told = ask();
    assert_eq!(
        (&told["asked"][0]["type"], &told["asked"][0]["value"]),
        (&"ban".into(), &RANGE.into()),
        "{told}"
    );
    assert_eq!(
        (&told["asked"][0]["scope"], &told["asked"][0]["origin"]),
        (&"Range".into(), &"cscli".into()),
        "{told}"
    );
    assert_eq!((&told["followed"], &told["all"]), (&"ban".into(), &serde_json::json!([RANGE])), "{told}");
    said(&lab, &["ban", SIX, "--for", "1h"]);
    // It writes addresses of IPv6 as ranges of one.
    let six = format!("{SIX}/128");
    assert_eq!(ask()["all"], serde_json::json!([six, RANGE]));
    // An allow beats the ban for who asks and for who follows, and gives it back at its end.
    said(&lab, &["allow", RANGE, "--for", "1h"]);
    let told = ask();
    assert_eq!((&told["asked"], &told["all"]), (&Value::Null, &serde_json::json!([six])), "{told}");
    said(&lab, &["unban", RANGE]);
    assert_eq!(ask()["all"], serde_json::json!([six]));
    drop(orders);
    assert!(client.wait().unwrap().success());
}

#[test]
fn node() {
    let Some((lab, clients)) = start("node") else { return };
    let module = clients.join("node_modules");
    if !module.is_dir() {
        eprintln!("SKIP: lab::crowdsec::node: the package crowdsec-client of npm is not there");
        return;
    }
    let key = key(&lab, "node");
    let password = said(&lab, &["machines", "add", "node"])["secret"].as_str().unwrap().to_owned();
    for target in [ADDRESS, RANGE] {
        said(&lab, &["ban", target, "--for", "1h"]);
    }
    // A module is looked for beside the file.
    let script = clients.join("crowdsec_node.mjs");
    fs::copy(sources().join("crowdsec_node.mjs"), &script).unwrap();
    let mut command = lab.network.host(MANAGEMENT).unwrap().command("node");
    let output = command.arg(&script).args([url().as_str(), &key, "node", &password]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let answers: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let answer = |step: &str| &answers.iter().find(|told| told["step"] == step).unwrap()["answer"];
    assert!(answer("followed")[ADDRESS].as_str().unwrap().starts_with("manual 'ban' from"), "{text}");
    assert_eq!(*answer("alerts"), serde_json::json!([ADDRESS, RANGE]), "{text}");
    assert_eq!((&answer("deleted")["nbDeleted"], answer("gone")), (&"1".into(), &ADDRESS.into()), "{text}");
    assert_eq!(answer("asked")[0]["value"], RANGE, "{text}");
    let why = said(&lab, &["why", ADDRESS]);
    assert_eq!(why["blocked"], false, "{why}");
}

/// What a proxy in the DMZ answers a visitor whom a provider's proxy names.
fn through(lab: &Lab, port: u16, client: &str, path: &str) -> (String, String) {
    let mut command = lab.network.host(HOME).unwrap().command("curl");
    command.args(["-s", "-i", "--max-time", "5", "-H", &format!("X-Forwarded-For: {client}")]);
    let output = command.arg(format!("http://{}:{port}{path}", DMZ.host4)).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (text.split(' ').nth(1).unwrap_or_default().to_owned(), text)
}

/// A visitor is served until it is banned, and again after that, whoever it says it is.
fn guards(lab: &Lab, port: u16, proxy: &mut Process) {
    let waited = lab.waiter.until("the proxy", SOON, || {
        proxy.still_runs()?;
        Ok((through(lab, port, VISITOR, "/").0 == "200").then_some(()))
    });
    waited.unwrap_or_else(|error| {
        panic!("{error}: {:?} {}", through(lab, port, VISITOR, "/"), last_words(proxy))
    });
    said(lab, &["ban", ADDRESS, "--for", "1h"]);
    let (status, text) = through(lab, port, ADDRESS, "/");
    assert_eq!(status, "403", "{text}{}", last_words(proxy));
    assert_eq!(through(lab, port, VISITOR, "/").0, "200");
    assert_eq!(through(lab, port, &format!("{VISITOR}, {ADDRESS}"), "/").0, "403", "what it says itself");
    assert_eq!(through(lab, port, &format!("{ADDRESS}, {VISITOR}"), "/").0, "200", "what it says of others");
    said(lab, &["unban", ADDRESS]);
    assert_eq!(through(lab, port, ADDRESS, "/").0, "200");
    // The proxies cannot be banned.
    let refused = lab.appliance.ask(&["ban", DMZ.host4, "--for", "1h"]).unwrap();
    assert!(refused.code == 1 && refused.text.contains("reverse proxy"), "{}", refused.text);
}

fn folder(lab: &Lab, name: &str) -> PathBuf {
    let folder = lab.directory().join(name);
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("index.html"), "served\n").unwrap();
    folder
}

#[test]
fn nginx() {
    let Some((lab, _)) = start("nginx") else { return };
    let folder = folder(&lab, "guarded");
    let (config, shown) = (folder.join("nginx.conf"), folder.display());
    fs::write(
        &config,
        format!(
            "daemon off; master_process off; user root; pid {shown}/pid; error_log stderr;\nevents {{ }}\n\
             http {{\n  access_log off; client_body_temp_path {shown}/b; proxy_temp_path {shown}/p; fastcgi_temp_path {shown}/f;\n\
             \x20 uwsgi_temp_path {shown}/u; scgi_temp_path {shown}/s;\n\
             \x20 server {{\n    listen {}:8090;\n    location / {{ auth_request /authz; root {shown}; }}\n\
             \x20   location = /authz {{ internal; proxy_pass http://{}:{PORT}/v1/authz; proxy_pass_request_body off;\n\
             \x20     proxy_set_header Content-Length \"\"; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }}\n  }}\n}}\n",
            DMZ.host4,
            bare(DMZ.router4),
        ),
    )
    .unwrap();
    let mut command = lab.network.host(DMZ).unwrap().command("/usr/sbin/nginx");
    command.arg("-p").arg(&folder).arg("-c").arg(&config);
    let mut proxy = Process::start("nginx-guarded", &mut command, &folder).unwrap();
    guards(&lab, 8090, &mut proxy);
}

#[test]
fn traefik() {
    let Some((lab, clients)) = start("traefik") else { return };
    let folder = folder(&lab, "traefik");
    let (fixed, dynamic) = (folder.join("traefik.yaml"), folder.join("dynamic.yaml"));
    fs::write(
        &fixed,
        format!(
            "global: {{checkNewVersion: false, sendAnonymousUsage: false}}\nentryPoints:\n  web:\n    address: \"{}:8091\"\n\
             \x20   forwardedHeaders: {{trustedIPs: [\"{}/32\"]}}\nproviders:\n  file: {{filename: {}}}\nlog: {{level: INFO}}\n",
            DMZ.host4,
            HOME.host4,
            dynamic.display(),
        ),
    )
    .unwrap();
    fs::write(
        &dynamic,
        format!(
            "http:\n  routers:\n    all: {{rule: \"PathPrefix(`/`)\", service: site, middlewares: [secd]}}\n\
             \x20 middlewares:\n    secd: {{forwardAuth: {{address: \"http://{}:{PORT}/v1/authz\", trustForwardHeader: true}}}}\n\
             \x20 services:\n    site: {{loadBalancer: {{servers: [{{url: \"http://{}:80\"}}]}}}}\n",
            bare(DMZ.router4),
            DMZ.host4,
        ),
    )
    .unwrap();
    let mut command = lab.network.host(DMZ).unwrap().command(clients.join("bin/traefik"));
    command.arg(format!("--configFile={}", fixed.display()));
    let mut proxy = Process::start("traefik", &mut command, &folder).unwrap();
    guards(&lab, 8091, &mut proxy);
    // Traefik hands the answer on: the visitor learns why.
    said(&lab, &["ban", RANGE, "--for", "1h"]);
    let (_, text) = through(&lab, 8091, "45.0.2.9", "/");
    assert!(text.contains("banned_source"), "{text}");
}

/// Asks over one connection, as a proxy does; how long each answer took.
fn ask_often(address: &str, count: usize) -> Vec<Duration> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut buffer = [0; 4096];
    let mut took = Vec::with_capacity(count);
    for number in 0..count {
        let client = if number % 2 == 0 { "45.0.2.9" } else { VISITOR };
        let begun = Instant::now();
        write!(stream, "GET /v1/authz HTTP/1.1\r\nHost: secd\r\nX-Forwarded-For: {client}\r\n\r\n").unwrap();
        let length = stream.read(&mut buffer).unwrap();
        took.push(begun.elapsed());
        let status = if number % 2 == 0 { "HTTP/1.1 403" } else { "HTTP/1.1 200" };
        let text = String::from_utf8_lossy(&buffer[..length]);
        assert!(text.starts_with(status), "{text}");
    }
    took.sort_unstable();
    took
}

#[test]
fn forward_auth_takes_no_time_and_reads_no_database() {
    let Some((lab, _)) = start("forward_auth") else { return };
    said(&lab, &["ban", RANGE, "--for", "1h"]);
    // The database is locked: who waited for it would not answer.
    let database = find_database(&lab.appliance.state);
    let held = lock(&database);
    let address = format!("{}:{PORT}", bare(DMZ.router4));
    let took = lab.network.host(DMZ).unwrap().inside(|| ask_often(&address, 2000)).unwrap();
    drop(held);
    println!(
        "forward auth over one connection, {} answers: p50 {:?}, p99 {:?}, longest {:?}",
        took.len(),
        took[took.len() / 2],
        took[took.len() * 99 / 100],
        took[took.len() - 1]
    );
}

fn find_database(state: &Path) -> PathBuf {
    let is_database = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "db");
    fs::read_dir(state).unwrap().map(|entry| entry.unwrap().path()).find(is_database).unwrap()
}

/// Python's own SQLite holds the lock of the only writer, until it is dropped.
struct Locked(std::process::Child);

fn lock(database: &Path) -> Locked {
    let code = "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1], isolation_level=None)\nc.execute('BEGIN EXCLUSIVE')\nprint('held', flush=True)\nsys.stdin.read()";
    let mut child = std::process::Command::new("/usr/bin/python3")
        .args(["-c", code])
        .arg(database)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "held\n");
    Locked(child)
}

impl Drop for Locked {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().ok();
    }
}
