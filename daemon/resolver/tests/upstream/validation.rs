//! Validation against real zones: signed by ldns, served by nsd, resolved by unbound without validation, and judged by
//! another unbound that validates.

use crate::fake::{Fake, always, ask, ask_with, bytes, empty, lasts, name, positive};
use hickory_proto::{
    op::{Edns, Message, Query, ResponseCode},
    rr::RecordType,
};
use resolver::upstream::{
    Clock, Forward, RootKeys, Server, Trouble, UpstreamSettings, Upstreams, Validation,
};
use std::{
    fmt::Write as _,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::{Child, Command, Stdio},
    str::FromStr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    net::UdpSocket,
    time::{Instant, timeout},
};

const DAY: i64 = 86_400;
const PROGRAMS: [&str; 5] = ["ldns-keygen", "ldns-key2ds", "ldns-signzone", "nsd", "unbound"];

/// How a zone is made.
struct Zone {
    name: &'static str,
    body: &'static str,
    keys: &'static str,
    /// Options for signing; none: not signed.
    sign: Option<&'static [&'static str]>,
    /// Days from now between which signatures are good.
    days: (i64, i64),
    /// What happens to the signed zone, line by line: other lines, or none.
    change: fn(&str) -> Option<String>,
    /// The zone above vouches for another key.
    other_key: bool,
}

const PLAIN: Zone = Zone {
    name: "",
    body: "www A 192.0.2.1\nalias CNAME www\nsub.deep A 192.0.2.2\n*.wild A 192.0.2.3\n",
    keys: "ECDSAP256SHA256",
    sign: Some(&[]),
    days: (-1, 30),
    change: same,
    other_key: false,
};

fn same(line: &str) -> Option<String> {
    Some(line.to_owned())
}

/// Zones from the leaves to the root.
fn zones() -> Vec<Zone> {
    vec![
        Zone {
            name: "signed.tld.",
            body: "www A 192.0.2.1\nwww A 192.0.2.7\nalias CNAME www\nsub.deep A 192.0.2.2\n*.wild A 192.0.2.3\n\
                   away CNAME www.unsigned.tld.\nnowhere CNAME nothing.hashed.tld.\nbad CNAME www.tampered.tld.\n\
                   wildcname CNAME a.wild.hashed.tld.\nold DNAME new\nwww.new A 192.0.2.4\n\
                   text TXT \"b\" \"c\"\ntext TXT \"a\"\nmail MX 10 WWW.signed.tld.\nmail MX 5 alias.signed.tld.\n",
            ..PLAIN
        },
        Zone { name: "unsigned.tld.", sign: None, ..PLAIN },
        Zone { name: "hashed.tld.", sign: Some(&["-n", "-t", "5", "-s", "abcd"]), ..PLAIN },
        Zone { name: "child.optout.tld.", sign: None, ..PLAIN },
        Zone {
            name: "optout.tld.",
            body: "www A 192.0.2.1\nchild NS ns.child.optout.tld.\nns.child A 127.0.0.1\n",
            sign: Some(&["-n", "-p", "-t", "1"]),
            ..PLAIN
        },
        Zone { name: "child.iterated.tld.", sign: None, ..PLAIN },
        Zone {
            name: "iterated.tld.",
            body: "www A 192.0.2.1\nchild NS ns.child.iterated.tld.\nns.child A 127.0.0.1\n",
            sign: Some(&["-n", "-t", "200", "-s", "abcd"]),
            ..PLAIN
        },
        Zone { name: "expired.tld.", days: (-30, -3), ..PLAIN },
        Zone { name: "early.tld.", days: (3, 30), ..PLAIN },
        Zone {
            name: "tampered.tld.",
            body: "www A 192.0.2.1\nother A 192.0.2.2\n",
            change: |line| Some(line.replace("\t192.0.2.1", "\t192.0.2.66")),
            ..PLAIN
        },
        Zone { name: "unkeyed.tld.", other_key: true, ..PLAIN },
        Zone {
            name: "stripped.tld.",
            change: |line| {
                (!(line.starts_with("www.") && line.contains("RRSIG\tA "))).then(|| line.to_owned())
            },
            ..PLAIN
        },
        Zone {
            name: "unproven.tld.",
            change: |line| (!line.contains("NSEC")).then(|| line.to_owned()),
            ..PLAIN
        },
        Zone { name: "ed.tld.", keys: "ED25519", ..PLAIN },
        Zone { name: "rsa.tld.", keys: "RSASHA256", ..PLAIN },
        Zone {
            name: "tld.",
            body: "*.star CNAME www.signed.tld.\n*.gone CNAME nothing.signed.tld.\n",
            ..PLAIN
        },
        Zone { name: ".", body: "", ..PLAIN },
    ]
}

/// Programs that run, killed at the end, and the folder they run in.
struct World {
    _folder: tempfile::TempDir,
    children: Vec<Child>,
    recursive: SocketAddr,
    judge: SocketAddr,
    root_keys: RootKeys,
}

impl Drop for World {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn is_there(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).exists()))
        || Path::new("/usr/sbin").join(program).exists()
}

fn program(name: &str) -> Command {
    let full = Path::new("/usr/sbin").join(name);
    if full.exists() { Command::new(full) } else { Command::new(name) }
}

fn run(folder: &Path, name: &str, arguments: &[&str]) -> String {
    let output = program(name).current_dir(folder).args(arguments).output().unwrap();
    assert!(output.status.success(), "{name} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn seconds() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// Signs a zone, and gives its file and the DS for the zone above.
fn make(folder: &Path, zone: &Zone, delegations: &str) -> (String, Option<String>) {
    let file = format!("zone-{}db", if zone.name == "." { "root." } else { zone.name });
    let text = format!(
        "$ORIGIN {0}\n$TTL 300\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\n{1}{delegations}",
        zone.name, zone.body
    );
    fs::write(folder.join(&file), text).unwrap();
    let Some(options) = zone.sign else { return (file, None) };
    let key = run(folder, "ldns-keygen", &["-a", zone.keys, "-b", "2048", "-k", zone.name]);
    let from = (seconds() + zone.days.0 * DAY).to_string();
    let until = (seconds() + zone.days.1 * DAY).to_string();
    let signed = format!("{file}.signed");
    let mut arguments = vec!["-i", &from, "-e", &until, "-f", &signed, "-o", zone.name];
    arguments.extend(options);
    arguments.extend([file.as_str(), key.as_str()]);
    run(folder, "ldns-signzone", &arguments);
    let lines = fs::read_to_string(folder.join(&signed)).unwrap();
    let changed: Vec<String> = lines.lines().filter_map(zone.change).collect();
    fs::write(folder.join(&signed), changed.join("\n") + "\n").unwrap();
    let vouched =
        if zone.other_key { run(folder, "ldns-keygen", &["-a", zone.keys, "-k", zone.name]) } else { key };
    let digest = run(folder, "ldns-key2ds", &["-n", "-2", &format!("{vouched}.key")]);
    if zone.name == "." {
        fs::copy(folder.join(format!("{vouched}.key")), folder.join("root.key")).unwrap();
    }
    (signed, Some(digest))
}

async fn free_port() -> u16 {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap().port()
}

fn start(folder: &Path, name: &str, configuration: &str, arguments: &[&str]) -> Child {
    let file = format!("{name}-{}.conf", arguments.len() + configuration.len());
    fs::write(folder.join(&file), configuration).unwrap();
    let log = fs::File::create(folder.join(format!("{file}.log"))).unwrap();
    program(name)
        .current_dir(folder)
        .args(arguments)
        .args(["-c", folder.join(&file).to_str().unwrap()])
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

impl World {
    /// None, with a line about it, where a program is missing.
    async fn start(test: &str) -> Option<Self> {
        if let Some(missing) = PROGRAMS.iter().find(|program| !is_there(program)) {
            println!("SKIP: {test}: there is no {missing} (cargo xtask setup installs it)");
            return None;
        }
        // Between finding a free port and using it, somebody else may take it.
        for _ in 0..3 {
            if let Some(world) = Self::try_start().await {
                return Some(world);
            }
        }
        panic!("the servers do not answer, see their logs above");
    }

    async fn try_start() -> Option<Self> {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path();
        let (authoritative, recursive, judge) = (free_port().await, free_port().await, free_port().await);
        let mut nsd = format!(
            "server:\n ip-address: 127.0.0.1@{authoritative}\n port: {authoritative}\n username: \"\"\n chroot: \"\"\n \
             zonesdir: \"{0}\"\n pidfile: \"\"\n database: \"\"\n zonelistfile: \"{0}/zone.list\"\n xfrdfile: \"\"\n \
             xfrdir: \"{0}\"\n server-count: 1\n do-ip6: no\nremote-control:\n control-enable: no\n",
            folder.display()
        );
        let mut stubs = String::new();
        let mut delegations: Vec<(String, String)> = Vec::new();
        for zone in zones() {
            let parent = name(zone.name).base_name();
            let here = |(above, line): &(String, String)| {
                (name(above) == name(zone.name) && zone.name != "." || zone.name == "." && above == ".")
                    .then(|| line.clone())
            };
            let below: String = delegations.iter().filter_map(here).collect();
            let (file, digest) = make(folder, &zone, &below);
            if zone.name != "." {
                // Those of three labels are in the bodies of the zones above.
                let mut line = String::new();
                if name(zone.name).num_labels() < 3 {
                    writeln!(line, "{0} NS ns.{0}\nns.{0} A 127.0.0.1", zone.name).unwrap();
                }
                if let Some(digest) = digest {
                    writeln!(line, "{digest}").unwrap();
                }
                delegations.push((parent.to_ascii(), line));
            }
            writeln!(nsd, "zone:\n name: \"{}\"\n zonefile: \"{file}\"", zone.name).unwrap();
            writeln!(stubs, "stub-zone:\n name: \"{}\"\n stub-addr: 127.0.0.1@{authoritative}", zone.name)
                .unwrap();
        }
        let server = |port: u16, modules: &str, more: &str| {
            format!(
                "server:\n interface: 127.0.0.1@{port}\n port: {port}\n username: \"\"\n chroot: \"\"\n directory: \"{0}\"\n \
                 pidfile: \"\"\n use-syslog: no\n do-daemonize: no\n do-ip6: no\n do-not-query-localhost: no\n \
                 num-threads: 1\n trust-anchor-signaling: no\n root-key-sentinel: no\n module-config: \"{modules}\"\n{more}\
                 remote-control:\n control-enable: no\n",
                folder.display()
            )
        };
        let resolving = server(recursive, "iterator", "") + &stubs;
        let judging = server(
            judge,
            "validator iterator",
            &format!(" trust-anchor-file: \"{}/root.key\"\n ede: yes\n", folder.display()),
        ) + &format!("forward-zone:\n name: \".\"\n forward-addr: 127.0.0.1@{recursive}\n");
        let children = vec![
            start(folder, "nsd", &nsd, &["-d"]),
            start(folder, "unbound", &resolving, &["-d"]),
            start(folder, "unbound", &judging, &["-d"]),
        ];
        let root_keys = RootKeys::from_str(&fs::read_to_string(folder.join("root.key")).unwrap()).unwrap();
        let here = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let world =
            Self { children, recursive: here(recursive), judge: here(judge), root_keys, _folder: temporary };
        world.answers().await.then_some(world)
    }

    /// Until the last of the three answers.
    async fn answers(&self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            let answer = exchange(self.judge, "www.signed.tld.", RecordType::A).await;
            if answer.is_some_and(|answer| !answer.answers.is_empty()) {
                return true;
            }
        }
        let logs: String = fs::read_dir(self._folder.path())
            .unwrap()
            .filter_map(|file| {
                let path = file.unwrap().path();
                (path.extension()? == "log")
                    .then(|| format!("{}:\n{}\n", path.display(), fs::read_to_string(&path).unwrap()))
            })
            .collect();
        println!("{logs}");
        false
    }

    fn settings(&self) -> UpstreamSettings {
        UpstreamSettings {
            servers: vec![Server::from(self.recursive)],
            dnssec: true,
            root_keys: self.root_keys.clone(),
            ..UpstreamSettings::default()
        }
    }
}

/// Asks a real server, with DO.
async fn exchange(server: SocketAddr, asked: &str, qtype: RecordType) -> Option<Message> {
    let mut query = Message::query();
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(name(asked), qtype));
    let mut edns = Edns::new();
    edns.set_max_payload(1232).set_dnssec_ok(true);
    query.set_edns(edns);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket.connect(server).await.unwrap();
    socket.send(&query.to_vec().unwrap()).await.unwrap();
    let mut buffer = vec![0; 4096];
    let length = timeout(Duration::from_millis(500), socket.recv(&mut buffer)).await.ok()?.ok()?;
    Message::from_vec(&buffer[..length]).ok()
}

fn clock() -> Clock {
    Arc::new(|| u64::try_from(seconds()).ok())
}

/// `secure`, `insecure`, or `bogus EDE anchor`.
fn told(result: &Result<resolver::upstream::Answered, Trouble>) -> String {
    match result {
        Ok(answered) => format!("{:?}", answered.validated).to_lowercase(),
        Err(Trouble::Bogus { ede, anchor, .. }) => format!("bogus {ede} {anchor}"),
        Err(other) => other.to_string(),
    }
}

const QUESTIONS: &[(&str, RecordType, &str)] = &[
    ("www.signed.tld.", RecordType::A, "secure"),
    ("WWW.Signed.tld.", RecordType::A, "secure"),
    ("www.signed.tld.", RecordType::AAAA, "secure"),
    ("nothing.signed.tld.", RecordType::A, "secure"),
    ("a.b.c.nothing.signed.tld.", RecordType::A, "secure"),
    ("deep.signed.tld.", RecordType::A, "secure"),
    ("sub.deep.signed.tld.", RecordType::A, "secure"),
    ("a.wild.signed.tld.", RecordType::A, "secure"),
    ("a.b.wild.signed.tld.", RecordType::A, "secure"),
    ("*.wild.signed.tld.", RecordType::A, "secure"),
    ("a.wild.signed.tld.", RecordType::TXT, "secure"),
    ("alias.signed.tld.", RecordType::A, "secure"),
    ("alias.signed.tld.", RecordType::AAAA, "secure"),
    ("alias.signed.tld.", RecordType::CNAME, "secure"),
    ("away.signed.tld.", RecordType::A, "insecure"),
    ("nowhere.signed.tld.", RecordType::A, "secure"),
    ("wildcname.signed.tld.", RecordType::A, "secure"),
    ("wildcname.signed.tld.", RecordType::AAAA, "secure"),
    ("a.star.tld.", RecordType::AAAA, "secure"),
    ("a.gone.tld.", RecordType::A, "secure"),
    ("www.old.signed.tld.", RecordType::A, "secure"),
    ("www.old.signed.tld.", RecordType::AAAA, "secure"),
    ("text.signed.tld.", RecordType::TXT, "secure"),
    ("mail.signed.tld.", RecordType::MX, "secure"),
    ("bad.signed.tld.", RecordType::A, "bogus 6 tampered.tld."),
    ("signed.tld.", RecordType::DS, "secure"),
    ("signed.tld.", RecordType::DNSKEY, "secure"),
    ("signed.tld.", RecordType::SOA, "secure"),
    ("signed.tld.", RecordType::NS, "secure"),
    ("tld.", RecordType::NS, "secure"),
    (".", RecordType::NS, "secure"),
    (".", RecordType::DNSKEY, "secure"),
    (".", RecordType::DS, "secure"),
    (".", RecordType::A, "secure"),
    ("nothing.", RecordType::A, "secure"),
    ("unsigned.tld.", RecordType::DS, "secure"),
    ("www.unsigned.tld.", RecordType::A, "insecure"),
    ("www.unsigned.tld.", RecordType::AAAA, "insecure"),
    ("nothing.unsigned.tld.", RecordType::A, "insecure"),
    ("www.unsigned.tld.", RecordType::DS, "insecure"),
    ("www.hashed.tld.", RecordType::A, "secure"),
    ("www.hashed.tld.", RecordType::AAAA, "secure"),
    ("nothing.hashed.tld.", RecordType::A, "secure"),
    ("a.b.c.nothing.hashed.tld.", RecordType::A, "secure"),
    ("deep.hashed.tld.", RecordType::A, "secure"),
    ("a.wild.hashed.tld.", RecordType::A, "secure"),
    ("a.b.wild.hashed.tld.", RecordType::A, "secure"),
    ("a.wild.hashed.tld.", RecordType::TXT, "secure"),
    ("alias.hashed.tld.", RecordType::AAAA, "secure"),
    ("www.optout.tld.", RecordType::A, "secure"),
    ("www.optout.tld.", RecordType::AAAA, "secure"),
    ("nothing.optout.tld.", RecordType::A, "insecure"),
    ("www.child.optout.tld.", RecordType::A, "insecure"),
    ("www.child.optout.tld.", RecordType::AAAA, "insecure"),
    ("www.iterated.tld.", RecordType::A, "secure"),
    ("nothing.iterated.tld.", RecordType::A, "insecure"),
    ("www.iterated.tld.", RecordType::AAAA, "insecure"),
    ("www.child.iterated.tld.", RecordType::A, "insecure"),
    ("www.expired.tld.", RecordType::A, "bogus 7 expired.tld."),
    ("nothing.expired.tld.", RecordType::A, "bogus 7 expired.tld."),
    ("www.early.tld.", RecordType::A, "bogus 8 early.tld."),
    ("www.tampered.tld.", RecordType::A, "bogus 6 tampered.tld."),
    ("other.tampered.tld.", RecordType::A, "secure"),
    ("www.unkeyed.tld.", RecordType::A, "bogus 9 unkeyed.tld."),
    ("www.stripped.tld.", RecordType::A, "bogus 10 stripped.tld."),
    ("www.stripped.tld.", RecordType::AAAA, "secure"),
    ("www.unproven.tld.", RecordType::A, "secure"),
    ("nothing.unproven.tld.", RecordType::A, "bogus 12 unproven.tld."),
    ("www.unproven.tld.", RecordType::AAAA, "bogus 12 unproven.tld."),
    ("a.wild.unproven.tld.", RecordType::A, "bogus 12 unproven.tld."),
    ("www.ed.tld.", RecordType::A, "secure"),
    ("nothing.ed.tld.", RecordType::A, "secure"),
    ("www.rsa.tld.", RecordType::A, "secure"),
    ("nothing.rsa.tld.", RecordType::A, "secure"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn judged_as_unbound_does_and_with_the_cause() {
    let Some(world) = World::start("judged_as_unbound_does_and_with_the_cause").await else { return };
    let upstreams = Upstreams::new(&world.settings(), clock());
    let mut wrong = Vec::new();
    for &(asked, qtype, expected) in QUESTIONS {
        let result = ask(&upstreams, asked, qtype).await;
        let judged = match exchange(world.judge, asked, qtype).await {
            Some(answer) if answer.metadata.response_code == ResponseCode::ServFail => "bogus",
            Some(answer) if answer.metadata.authentic_data => "secure",
            Some(_) => "insecure",
            None => "silent",
        };
        let found = told(&result);
        if found != expected || !found.starts_with(judged) {
            wrong.push(format!("{asked} {qtype}: {found}, not {expected}; unbound: {judged}; {result:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trust_is_what_the_settings_say() {
    let Some(world) = World::start("trust_is_what_the_settings_say").await else { return };
    let found = async |settings: &UpstreamSettings, clock: Clock, asked: &str, checking_disabled: bool| {
        told(&ask_with(&Upstreams::new(settings, clock), asked, RecordType::A, checking_disabled).await)
    };
    let settings = world.settings();
    let unset = || -> Clock { Arc::new(|| None) };
    // The clock is not set: dates are not enforced, all else is.
    assert_eq!(found(&settings, unset(), "www.expired.tld.", false).await, "secure");
    assert_eq!(found(&settings, unset(), "www.early.tld.", false).await, "secure");
    assert_eq!(found(&settings, unset(), "www.tampered.tld.", false).await, "bogus 6 tampered.tld.");
    // A negative trust anchor holds at and below its name.
    let excused = UpstreamSettings { negative_trust_anchors: vec![name("Expired.tld.")], ..settings.clone() };
    assert_eq!(found(&excused, clock(), "www.expired.tld.", false).await, "insecure");
    assert_eq!(found(&excused, clock(), "www.tampered.tld.", false).await, "bogus 6 tampered.tld.");
    let excused =
        UpstreamSettings { negative_trust_anchors: vec![name("tampered.tld.")], ..settings.clone() };
    assert_eq!(
        found(&excused, clock(), "bad.signed.tld.", false).await,
        "insecure",
        "at the end of an alias"
    );
    // Not wanted by the client, switched off, or forwarded.
    assert_eq!(found(&settings, clock(), "www.tampered.tld.", true).await, "unchecked");
    let off = UpstreamSettings { dnssec: false, ..settings.clone() };
    assert_eq!(found(&off, clock(), "www.tampered.tld.", false).await, "unchecked");
    let forward = |dnssec| UpstreamSettings {
        forwards: vec![Forward {
            names: vec![name("tampered.tld.")],
            to: vec![Server::from(world.recursive)],
            dnssec,
        }],
        ..settings.clone()
    };
    assert_eq!(found(&forward(false), clock(), "www.tampered.tld.", false).await, "unchecked");
    assert_eq!(found(&forward(true), clock(), "www.tampered.tld.", false).await, "bogus 6 tampered.tld.");
    // The server of a zone knows nothing of the DS above it.
    let below = relay(world.recursive, Relay::Below).await;
    let mut forwarded = forward(true);
    forwarded.forwards[0].to = vec![Server::from(below.address)];
    assert_eq!(found(&forwarded, clock(), "www.tampered.tld.", false).await, "bogus 6 tampered.tld.");
    assert_eq!(found(&forwarded, clock(), "other.tampered.tld.", false).await, "secure");
    // Another root: nothing below it is true.
    let other = UpstreamSettings { root_keys: RootKeys::default(), ..settings.clone() };
    assert_eq!(found(&other, clock(), "www.signed.tld.", false).await, "bogus 9 .");
    // The cause is told in words.
    let trouble =
        ask(&Upstreams::new(&settings, clock()), "www.expired.tld.", RecordType::A).await.unwrap_err();
    assert!(
        trouble.to_string().starts_with("the signature of expired.tld. DNSKEY expired on 20"),
        "{trouble}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_chain_is_walked_once() {
    let Some(world) = World::start("the_chain_is_walked_once").await else { return };
    let upstreams = Upstreams::new(&world.settings(), clock());
    let answered = ask(&upstreams, "www.signed.tld.", RecordType::A).await.unwrap();
    assert_eq!(answered.validated, Validation::Secure);
    assert!(answered.message.answers.iter().all(|record| record.ttl <= 300), "no longer than signed");
    let asked = || upstreams.status()[0].asked;
    assert_eq!(asked(), 6, "the name; keys of root, tld and signed.tld, and the DS of the latter two");
    ask(&upstreams, "sub.deep.signed.tld.", RecordType::A).await.unwrap();
    ask(&upstreams, "nothing.signed.tld.", RecordType::A).await.unwrap();
    assert_eq!(asked(), 8, "the names only");
    ask(&upstreams, "www.unsigned.tld.", RecordType::A).await.unwrap();
    ask(&upstreams, "nothing.unsigned.tld.", RecordType::A).await.unwrap();
    assert_eq!(asked(), 11, "that there is no DS");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_upstream_that_lies_does_not_speak_for_the_others() {
    let Some(world) = World::start("one_upstream_that_lies_does_not_speak_for_the_others").await else {
        return;
    };
    // Gives a false address for everything, and knows of no signatures.
    let liar = Fake::start(|query, _| {
        let answer = match query.queries[0].query_type {
            RecordType::A => positive(query, 66),
            _ => empty(query, ResponseCode::NoError),
        };
        vec![bytes(&answer)]
    })
    .await;
    let mut settings = world.settings();
    settings.servers.insert(0, Server::from(liar.address));
    let upstreams = Upstreams::new(&settings, clock());
    for (asked, expected) in [("alias.signed.tld.", &[1, 7][..]), ("alias.hashed.tld.", &[1])] {
        let answered = ask(&upstreams, asked, RecordType::A).await.unwrap();
        let mut found = lasts(&answered);
        found.sort_unstable();
        assert_eq!((answered.validated, found.as_slice()), (Validation::Secure, expected), "{asked}");
        assert_eq!(&*answered.upstream, world.recursive.to_string());
    }
    assert_eq!(upstreams.status()[0].wrong, 2, "told of the one that lies");
    settings.servers.truncate(1);
    let alone = ask(&Upstreams::new(&settings, clock()), "alias.signed.tld.", RecordType::A).await;
    assert_eq!(told(&alone), "bogus 9 .", "alone it is not believed");
    // Where nothing is signed, there is nothing to hold against it.
    let first = ask(&upstreams, "www.unsigned.tld.", RecordType::A).await.unwrap();
    assert_eq!((first.validated, lasts(&first)), (Validation::Insecure, vec![66]));
}

/// What one says who says what another says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Relay {
    All,
    /// With a signature over keys that is not good.
    Lies,
    /// Nothing but what the zone below a delegation knows of it.
    Below,
}

async fn relay(to: SocketAddr, how: Relay) -> Fake {
    Fake::start(move |query, _| {
        if how == Relay::Below && query.queries[0].query_type == RecordType::DS {
            return vec![bytes(&empty(query, ResponseCode::NoError))];
        }
        let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.send_to(&bytes(query), to).unwrap();
        let mut answer = vec![0; 4096];
        let length = socket.recv(&mut answer).unwrap();
        answer.truncate(length);
        if how == Relay::Lies && query.queries[0].query_type == RecordType::DNSKEY {
            // Of the signature: behind it is only the OPT record, of eleven bytes.
            answer[length - 12] ^= 1;
        }
        vec![answer]
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_upstream_that_breaks_the_chain_does_not_speak_for_the_others() {
    let test = "one_upstream_that_breaks_the_chain_does_not_speak_for_the_others";
    let Some(world) = World::start(test).await else { return };
    let liar = relay(world.recursive, Relay::Lies).await;
    let honest = relay(world.recursive, Relay::All).await;
    let servers = vec![Server::from(liar.address), Server::from(honest.address)];
    let upstreams = Upstreams::new(&UpstreamSettings { servers, ..world.settings() }, clock());
    assert_eq!(told(&ask(&upstreams, "www.signed.tld.", RecordType::A).await), "secure");
    // What the others call bogus too is remembered, and their links are not asked for again.
    assert_eq!(told(&ask(&upstreams, "www.expired.tld.", RecordType::A).await), "bogus 7 expired.tld.");
    let before = (liar.asked().0, honest.asked().0);
    assert_eq!(told(&ask(&upstreams, "alias.expired.tld.", RecordType::A).await), "bogus 7 expired.tld.");
    assert_eq!((liar.asked().0, honest.asked().0), (before.0 + 1, before.1 + 1), "the name only");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_called_secure_holds_nothing_else() {
    let Some(world) = World::start("what_is_called_secure_holds_nothing_else").await else { return };
    let upstreams = Upstreams::new(&world.settings(), clock());
    for (asked, qtype, proofs) in [
        ("www.signed.tld.", RecordType::A, 0),
        ("a.wild.signed.tld.", RecordType::A, 1),
        ("www.signed.tld.", RecordType::AAAA, 2),
    ] {
        let answered = ask(&upstreams, asked, qtype).await.unwrap();
        let authorities = &answered.message.authorities;
        let sets = authorities.iter().filter(|record| record.record_type() != RecordType::RRSIG).count();
        assert_eq!(sets, proofs, "{asked} {qtype}: {authorities:?}");
        assert_eq!(authorities.len(), proofs * 2, "each with its signature");
    }
}

#[tokio::test]
async fn what_is_wrong_with_an_answer_is_told_though_no_other_upstream_helps() {
    let unsigned = always(66).await;
    let no_help = Fake::start(|query, _| vec![bytes(&empty(query, ResponseCode::ServFail))]).await;
    // Nobody listens there: the system says so at once.
    let closed = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    for other in [no_help.address, closed] {
        let settings = UpstreamSettings {
            servers: vec![Server::from(unsigned.address), Server::from(other)],
            dnssec: true,
            ..UpstreamSettings::default()
        };
        let result = ask(&Upstreams::new(&settings, clock()), "www.example.", RecordType::A).await;
        assert_eq!(told(&result), "bogus 9 .", "{other}");
    }
}
