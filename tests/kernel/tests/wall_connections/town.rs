//! A router with an outside, a zone behind a bridge and another zone, and hosts in all of them, in network namespaces.

use abi::{ZONE_FIRST, ZONE_SELF, ZoneId};
use enforce::nft::{Options, Wall};
use kernel_tests::Namespace;
use model::{Action, Mode, Protocol};
use policy::{Forward, Policy, Rule, Service, ServiceMatch, Zone, ZoneSet};
use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    time::Duration,
};

pub(crate) const WAN: ZoneId = ZONE_FIRST;
pub(crate) const A: ZoneId = ZONE_FIRST + 1;
pub(crate) const B: ZoneId = ZONE_FIRST + 2;
pub(crate) const SELF: ZoneId = ZONE_SELF;
/// Longest wait for something that should come at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Town {
    pub(crate) router: Namespace,
    /// 192.0.2.254, 192.0.2.253, 2001:db8:ff::fe.
    pub(crate) outside: Namespace,
    /// 10.1.0.5 and fd00:1::5, 10.1.0.6 and fd00:1::6: zone a, behind one bridge.
    pub(crate) host: Namespace,
    pub(crate) neighbour: Namespace,
    /// 10.2.0.5: zone b.
    pub(crate) other: Namespace,
}

impl Town {
    /// Builds it, or says on stderr why `test` is skipped.
    pub(crate) fn new(test: &str) -> Option<Self> {
        for program in ["ip", "nft", "nsenter"] {
            if Command::new(program).arg("--version").output().is_err() {
                eprintln!("SKIP: {test}: no {program}");
                return None;
            }
        }
        let space = |part: &str| Namespace::new(&format!("{test:.14}-{part}"));
        let (Ok(router), Ok(outside), Ok(host), Ok(neighbour), Ok(other)) =
            (space("r"), space("w"), space("a"), space("n"), space("b"))
        else {
            eprintln!("SKIP: {test}: not root");
            return None;
        };
        let town = Self { router, outside, host, neighbour, other };
        for (key, value) in [
            ("ipv4/ip_forward", "1"),
            ("ipv6/conf/all/forwarding", "1"),
            ("ipv4/conf/all/rp_filter", "0"),
            ("ipv4/conf/default/rp_filter", "0"),
            ("ipv4/conf/all/send_redirects", "0"),
            ("ipv4/conf/default/send_redirects", "0"),
        ] {
            let write = || Ok(std::fs::write(format!("/proc/sys/net/{key}"), value)?);
            town.router.inside(write).unwrap();
        }
        town.router.join("wan0", &town.outside, "eth0").unwrap();
        town.router.join("a1", &town.host, "eth0").unwrap();
        town.router.join("a2", &town.neighbour, "eth0").unwrap();
        town.router.join("b0", &town.other, "eth0").unwrap();
        town.batch(
            &town.router,
            "link add a0 type bridge
             link set a0 up
             link set a1 master a0
             link set a2 master a0
             address add 192.0.2.1/24 dev wan0
             address add 2001:db8:ff::1/64 dev wan0 nodad
             address add 10.1.0.1/24 dev a0
             address add fd00:1::1/64 dev a0 nodad
             address add 10.2.0.1/24 dev b0",
        );
        // The outside knows a way to the inner networks: what keeps it out is the wall alone.
        town.batch(
            &town.outside,
            "address add 192.0.2.254/24 dev eth0
             address add 192.0.2.253/24 dev eth0
             address add 2001:db8:ff::fe/64 dev eth0 nodad
             route add 10.0.0.0/8 via 192.0.2.1
             route add 172.17.0.0/16 via 192.0.2.1
             route add fd00:1::/64 via 2001:db8:ff::1",
        );
        for (host, number) in [(&town.host, 5), (&town.neighbour, 6)] {
            let lines = format!(
                "address add 10.1.0.{number}/24 dev eth0
                 address add fd00:1::{number}/64 dev eth0 nodad
                 route add default via 10.1.0.1
                 route add default via fd00:1::1"
            );
            town.batch(host, &lines);
        }
        town.batch(&town.other, "address add 10.2.0.5/24 dev eth0\nroute add default via 10.2.0.1");
        Some(town)
    }

    /// Runs lines of `ip` inside.
    pub(crate) fn batch(&self, place: &Namespace, lines: &str) {
        feed(place, &["ip", "-batch", "-"], lines);
    }

    pub(crate) fn apply(&self, wall: &mut Wall, policy: &Policy) {
        self.apply_with(wall, policy, &Options::default());
    }

    pub(crate) fn apply_with(&self, wall: &mut Wall, policy: &Policy, options: &Options) {
        self.router.inside(|| Ok(wall.apply_with(policy, options)?)).unwrap();
    }

    /// Packets that the rules with this comment have counted.
    pub(crate) fn counted(&self, wall: &Wall, comment: &str) -> u64 {
        let counters = self.router.inside(|| Ok(wall.counters()?)).unwrap();
        counters.iter().filter(|counter| counter.comment == comment).map(|counter| counter.packets).sum()
    }
}

/// Runs a program inside with this on its standard input; returns what it printed.
pub(crate) fn feed(place: &Namespace, command: &[&str], input: &str) -> String {
    let work = || {
        let mut child = Command::new(command[0])
            .args(&command[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        child.stdin.take().unwrap().write_all(input.as_bytes())?;
        let ended = child.wait_with_output()?;
        assert!(ended.status.success(), "{command:?}: {}\n{input}", String::from_utf8_lossy(&ended.stderr));
        Ok(String::from_utf8_lossy(&ended.stdout).into_owned())
    };
    place.inside(work).unwrap()
}

/// Three zones: the outside with masquerade, a, b. Everything that is not allowed is refused at once, so that a test
/// need not wait for nothing to come.
pub(crate) fn policy(rules: Vec<Rule>, forwards: Vec<Forward>) -> Policy {
    let zone = |id, name: &str, device: &str, networks: &[&str]| Zone {
        id,
        name: name.into(),
        interface: device.into(),
        device: device.into(),
        networks: networks.iter().map(|net| net.parse().unwrap()).collect(),
        wan: id == WAN,
        masquerade: id == WAN,
        anti_spoof: true,
        mode: Mode::Enforce,
        denial: Action::Reject,
        ..Zone::default()
    };
    let mut policy = Policy {
        mode: Mode::Enforce,
        zones: vec![
            zone(WAN, "wan", "wan0", &[]),
            zone(A, "a", "a0", &["10.1.0.0/24", "fd00:1::/64"]),
            zone(B, "b", "b0", &["10.2.0.0/24"]),
        ],
        rules,
        forwards,
        ..Policy::default()
    };
    for (id, rule) in policy.rules.iter_mut().enumerate() {
        rule.id = id as u16;
    }
    policy
}

pub(crate) fn allow(from: ZoneId, to: ZoneId, name: &str, matches: &[ServiceMatch]) -> Rule {
    let services = match matches {
        [] => vec![],
        matches => vec![Service { name: name.into(), matches: matches.to_vec() }],
    };
    Rule {
        from: ZoneSet::Of(vec![from]).into(),
        to: ZoneSet::Of(vec![to]).into(),
        services,
        ..Rule::default()
    }
}

pub(crate) fn tcp(port: u16) -> ServiceMatch {
    ServiceMatch::new(Protocol::TCP, port, port)
}

pub(crate) fn forward(services: &[ServiceMatch], to: &str, port: Option<u16>) -> Forward {
    Forward {
        name: "web".into(),
        from: WAN,
        services: services.to_vec(),
        to: to.parse().unwrap(),
        port,
        hairpin: true,
        sources: vec![],
        comment: None,
        span: model::Span::default(),
    }
}

pub(crate) fn listen(place: &Namespace, address: &str) -> TcpListener {
    place.inside(|| Ok(TcpListener::bind(address)?)).unwrap()
}

pub(crate) fn connect(place: &Namespace, address: &str) -> io::Result<TcpStream> {
    connect_within(place, address, PATIENCE)
}

pub(crate) fn connect_within(place: &Namespace, address: &str, time: Duration) -> io::Result<TcpStream> {
    let address: SocketAddr = address.parse().unwrap();
    place.inside(|| Ok(TcpStream::connect_timeout(&address, time))).unwrap()
}

/// Connects from an address of the place.
pub(crate) fn connect_from(place: &Namespace, from: &str, address: &str) -> io::Result<TcpStream> {
    let (from, address): (IpAddr, SocketAddr) = (from.parse().unwrap(), address.parse().unwrap());
    place
        .inside(|| {
            let socket =
                socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
            socket.bind(&SocketAddr::new(from, 0).into())?;
            Ok(socket.connect_timeout(&address.into(), PATIENCE).map(|()| socket.into()))
        })
        .unwrap()
}

/// A connection from both its ends.
pub(crate) struct Pair {
    pub(crate) near: TcpStream,
    pub(crate) far: TcpStream,
    /// Who the far end thinks it talks to.
    pub(crate) seen: IpAddr,
}

impl Pair {
    pub(crate) fn open(listener: &TcpListener, near: io::Result<TcpStream>) -> Self {
        let pair = Self::silent(listener, near);
        pair.talk();
        pair
    }

    /// Nothing has been said yet.
    pub(crate) fn silent(listener: &TcpListener, near: io::Result<TcpStream>) -> Self {
        let near = near.unwrap();
        let (far, seen) = listener.accept().unwrap();
        for end in [&near, &far] {
            end.set_read_timeout(Some(PATIENCE)).unwrap();
        }
        Self { near, far, seen: seen.ip() }
    }

    /// Something said by either end is heard by the other.
    pub(crate) fn talk(&self) {
        // A reference to a stream can do both.
        for (mut from, mut to) in [(&self.near, &self.far), (&self.far, &self.near)] {
            from.write_all(b"good day").unwrap();
            let mut heard = [0; 8];
            to.read_exact(&mut heard).unwrap();
            assert_eq!(&heard, b"good day");
        }
    }
}

/// The connection was refused by the wall, not lost: it says so at once.
pub(crate) fn refused(attempt: io::Result<TcpStream>) {
    let error = attempt.map(|stream| stream.peer_addr()).unwrap_err();
    let kinds =
        [io::ErrorKind::ConnectionRefused, io::ErrorKind::HostUnreachable, io::ErrorKind::PermissionDenied];
    assert!(kinds.contains(&error.kind()), "{error}");
}

/// Asks until it is so.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + 3 * PATIENCE;
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "waited in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}
