//! A router between two networks, on virtual wires.
#![expect(clippy::unwrap_used, reason = "helpers of tests: what fails ends the test")]
#![expect(clippy::missing_panics_doc, reason = "as above")]

use anyhow::Result;
use enforce::xdp::{Dataplane, Installed};
use policy::Plan;
use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use crate::{Folder, Namespace, end_grace};

/// How long a packet that should arrive may take.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// How long nothing may come where nothing should.
pub const SILENCE: Duration = Duration::from_millis(300);

/// WAN host 198.51.100.2 — router — LAN host 10.1.0.2.
#[derive(Debug)]
pub struct Wires {
    /// The host outside.
    pub wan: Namespace,
    /// The router.
    pub router: Namespace,
    /// The host inside.
    pub lan: Namespace,
}

impl Wires {
    /// Lays them, with this test's name in theirs.
    ///
    /// # Errors
    /// `ip` refuses.
    pub fn new(test: &str) -> Result<Self> {
        let wires = Self {
            wan: Namespace::new(&format!("secd-{test}-wan"))?,
            router: Namespace::new(&format!("secd-{test}-router"))?,
            lan: Namespace::new(&format!("secd-{test}-lan"))?,
        };
        let Self { wan, router, lan } = &wires;
        router.join("wan0", wan, "eth0")?;
        router.join("lan0", lan, "eth0")?;
        for (host, address, gateway, here) in
            [(wan, "198.51.100.2/24", "198.51.100.1", "wan0"), (lan, "10.1.0.2/24", "10.1.0.1", "lan0")]
        {
            host.run(&format!("ip address add {address} dev eth0"))?;
            router.run(&format!("ip address add {gateway}/24 dev {here}"))?;
            host.run(&format!("ip route add default via {gateway}"))?;
        }
        router.inside(|| Ok(std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")?))?;
        Ok(wires)
    }

    /// Opens the dataplane inside the router.
    pub fn open(&self, folder: &Folder) -> Dataplane {
        self.router.inside(|| Ok(Dataplane::open(folder.path())?.0)).unwrap()
    }

    /// Puts a plan in force inside the router. What has no state is denied from now on, not after the grace for
    /// connections that are older than the programs.
    pub fn install(&self, dataplane: &mut Dataplane, plan: &Plan) -> Installed {
        let installed = self.router.inside(|| Ok(dataplane.install(plan)?)).unwrap();
        end_grace(dataplane);
        installed
    }

    /// The same until it comes: the kernel lets an interface go a moment after its last link went.
    pub fn datagram_in_the_end(&self, from: &Namespace, to: &Namespace, address: &str) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if self.datagram(from, to, address) {
                return true;
            }
        }
        false
    }

    /// Sends a datagram from one host to another and back. `true` if the answer came.
    pub fn datagram(&self, from: &Namespace, to: &Namespace, address: &str) -> bool {
        let server = to.inside(|| Ok(UdpSocket::bind(address)?)).unwrap();
        let client = from.inside(|| Ok(UdpSocket::bind("0.0.0.0:0")?)).unwrap();
        client.connect(address).unwrap();
        client.send(b"ping").unwrap();
        let mut buffer = [0; 16];
        server.set_read_timeout(Some(SILENCE)).unwrap();
        let Ok((_, back)) = server.recv_from(&mut buffer) else { return false };
        server.send_to(b"pong", back).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.recv(&mut buffer).is_ok()
    }
}

/// A connection and the server's end of it.
pub fn connect(client: &Namespace, server: &Namespace, address: SocketAddr) -> (TcpStream, TcpStream) {
    let listener = server.inside(|| Ok(TcpListener::bind(address)?)).unwrap();
    let stream = client.inside(|| Ok(TcpStream::connect_timeout(&address, PATIENCE)?)).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    (stream, accepted)
}

/// Says something and waits for it at the other end.
pub fn hears(from: &mut TcpStream, to: &mut TcpStream, patience: Duration) -> bool {
    from.write_all(b"x").unwrap();
    to.set_read_timeout(Some(patience)).unwrap();
    match to.read(&mut [0; 1]) {
        Ok(read) => read == 1,
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
            false
        }
    }
}
