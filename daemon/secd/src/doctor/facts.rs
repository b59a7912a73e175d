//! What the machine says of itself: files of `/proc`, and the programs that every router has (`ip`, `ethtool`, `nft`,
//! `timedatectl`), each within a time limit. What cannot be found out is left open.

use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    time::Duration,
};
use tokio::process::Command;

/// How long one program may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Interfaces that are asked about one by one; a router has fewer.
const MAX_ASKED: usize = 64;

/// The machine, as it says of itself.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// `uname -r`.
    pub kernel: String,
    /// The kernel describes its types (BTF), which programs need.
    pub btf: bool,
    /// A BPF file system is mounted where the pins are.
    pub bpffs: bool,
    /// `nft --version`; none = not there.
    pub nft: Option<String>,
    /// Devices by name; none = `ip` cannot be run.
    pub devices: Option<BTreeMap<String, Device>>,
    /// The clock is kept right by NTP; none = not known.
    pub synchronized: Option<bool>,
    /// Ports on which programs of this machine wait, without those on loopback.
    pub listening: BTreeSet<Listening>,
}

/// A network device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// Largest packet, in bytes.
    pub mtu: u32,
    /// Has a carrier and is up.
    pub up: bool,
    /// The device it is on top of (VLAN).
    pub parent: Option<String>,
    /// Its VLAN tag.
    pub vlan: Option<u16>,
    /// Addresses, without link-local ones.
    pub addresses: Vec<IpAddr>,
    /// Its driver, as ethtool says.
    pub driver: Option<String>,
    /// Features by ethtool's name: on or off.
    pub features: BTreeMap<String, bool>,
}

/// A port on which a program waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listening {
    /// TCP or else UDP.
    pub tcp: bool,
    /// The address and port; unspecified = every address.
    pub at: SocketAddr,
}

impl Facts {
    /// Asks the machine. `bpffs`: where pins are kept. `asked`: the devices whose driver and features matter.
    pub async fn gather(bpffs: &Path, asked: &BTreeSet<String>) -> Self {
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
        let mut devices = said("ip", &["-j", "-d", "addr", "show"]).await.map(|text| devices(&text));
        for (name, device) in
            devices.iter_mut().flatten().filter(|(name, _)| asked.contains(*name)).take(MAX_ASKED)
        {
            let text = said("ethtool", &["-i", name]).await.unwrap_or_default();
            device.driver = driver(&text);
            device.features = features(&said("ethtool", &["-k", name]).await.unwrap_or_default());
        }
        let clock = said("timedatectl", &["show", "--property=NTPSynchronized", "--value"]).await;
        let mut listening = BTreeSet::new();
        for (file, tcp) in [
            ("/proc/net/tcp", true),
            ("/proc/net/tcp6", true),
            ("/proc/net/udp", false),
            ("/proc/net/udp6", false),
        ] {
            listening.extend(sockets(&read(file), tcp));
        }
        Self {
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
            bpffs: is_bpffs(&read("/proc/self/mounts"), bpffs),
            nft: said("nft", &["--version"]).await.map(|text| text.trim().to_owned()),
            devices,
            synchronized: clock.and_then(|text| match text.trim() {
                "yes" => Some(true),
                "no" => Some(false),
                _ => None,
            }),
            listening,
        }
    }
}

/// What a program printed; none where it is not there, failed or took too long.
async fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).kill_on_drop(true).output();
    let output = tokio::time::timeout(PATIENCE, output).await.ok()?.ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Devices of `ip -j -d addr show`.
fn devices(text: &str) -> BTreeMap<String, Device> {
    #[derive(Deserialize)]
    struct Said {
        #[serde(default)]
        ifname: String,
        link: Option<String>,
        #[serde(default)]
        mtu: u32,
        #[serde(default)]
        flags: Vec<String>,
        #[serde(default)]
        linkinfo: LinkInfo,
        #[serde(default)]
        addr_info: Vec<Addressed>,
    }
    #[derive(Default, Deserialize)]
    struct LinkInfo {
        #[serde(default)]
        info_kind: String,
        #[serde(default)]
        info_data: serde_json::Value,
    }
    #[derive(Deserialize)]
    struct Addressed {
        local: Option<IpAddr>,
        #[serde(default)]
        scope: String,
    }
    let said: Vec<Said> = serde_json::from_str(text).unwrap_or_default();
    said.into_iter()
        .map(|device| {
            let vlan = device.linkinfo.info_data["id"].as_u64().and_then(|id| u16::try_from(id).ok());
            let is_vlan = device.linkinfo.info_kind == "vlan";
            let up = device.flags.iter().any(|flag| flag == "LOWER_UP");
            let addresses = device.addr_info.iter().filter(|at| at.scope != "link" && at.scope != "host");
            let known = Device {
                mtu: device.mtu,
                up,
                parent: device.link.filter(|_| is_vlan),
                vlan: vlan.filter(|_| is_vlan),
                addresses: addresses.filter_map(|at| at.local).collect(),
                ..Device::default()
            };
            (device.ifname, known)
        })
        .collect()
}

/// The driver of `ethtool -i`.
fn driver(text: &str) -> Option<String> {
    text.lines().find_map(|line| line.strip_prefix("driver: ")).map(str::to_owned)
}

/// Features of `ethtool -k`: `rx-vlan-offload: on [fixed]`.
fn features(text: &str) -> BTreeMap<String, bool> {
    let lines = text.lines().filter_map(|line| line.trim().split_once(": "));
    lines.map(|(name, state)| (name.to_owned(), state.starts_with("on"))).collect()
}

/// Whether a BPF file system is mounted on the folder or one above it (proc_pid_mounts(5)).
fn is_bpffs(mounts: &str, folder: &Path) -> bool {
    let rows = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    rows.filter(|row| row.get(2) == Some(&"bpf"))
        .any(|row| row.get(1).is_some_and(|mounted| folder.starts_with(mounted)))
}

/// Waiting sockets of `/proc/net/{tcp,udp}[6]` (proc_pid_net(5)): state 0A of TCP, UDP without a peer.
fn sockets(table: &str, tcp: bool) -> Vec<Listening> {
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter_map(|row| {
        let waits = if tcp { row.get(3) == Some(&"0A") } else { row.get(2)?.ends_with(":0000") };
        let at = socket(row.get(1)?)?;
        (waits && !at.ip().is_loopback()).then_some(Listening { tcp, at })
    })
    .collect()
}

/// `0100007F:0035`: the address in words of native byte order, the port in hexadecimal digits.
fn socket(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| Some(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let ip: IpAddr = if address.len() == 8 {
        Ipv4Addr::from(word(0)?).into()
    } else {
        let mut bytes = [0; 16];
        for (place, chunk) in bytes.chunks_exact_mut(4).enumerate() {
            chunk.copy_from_slice(&word(8 * place)?);
        }
        Ipv6Addr::from(bytes).into()
    };
    Some(SocketAddr::new(ip.to_canonical(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_from_iproute2() {
        let text = r#"[{"ifname":"lo","flags":["LOOPBACK","UP","LOWER_UP"],"mtu":65536,
            "addr_info":[{"family":"inet","local":"127.0.0.1","scope":"host"}]},
            {"ifname":"eth1.400","link":"eth1","flags":["UP"],"mtu":1500,
             "linkinfo":{"info_kind":"vlan","info_data":{"protocol":"802.1Q","id":400,"flags":[]}},
             "addr_info":[{"local":"10.4.0.1","scope":"global"},{"local":"fe80::1","scope":"link"}]}]"#;
        let found = devices(text);
        let vlan = &found["eth1.400"];
        assert_eq!((vlan.parent.as_deref(), vlan.vlan, vlan.up), (Some("eth1"), Some(400), false));
        assert_eq!(vlan.addresses, ["10.4.0.1".parse::<IpAddr>().unwrap()]);
        assert!(found["lo"].up && found["lo"].addresses.is_empty());
        assert!(devices("rubbish").is_empty());
    }

    #[test]
    fn features_and_driver_are_read_from_ethtool() {
        let found = features("Features for eth1:\nrx-vlan-offload: on\nlarge-receive-offload: off [fixed]\n");
        assert_eq!(found.get("rx-vlan-offload"), Some(&true));
        assert_eq!(found.get("large-receive-offload"), Some(&false));
        assert_eq!(driver("driver: igc\nversion: 6.12\n").as_deref(), Some("igc"));
    }

    #[test]
    fn waiting_sockets_are_read_from_the_kernels_tables() {
        let tcp = "  sl  local_address rem_address   st\n   0: 0100007F:0035 00000000:0000 0A\n   1: 00000000:0016 00000000:0000 0A\n   2: 0100A8C0:0016 0200A8C0:C001 01\n";
        let found = sockets(tcp, true);
        assert_eq!(found, [Listening { tcp: true, at: "0.0.0.0:22".parse().unwrap() }]);
        let udp6 = "  sl  local_address remote_address st\n   0: 00000000000000000000000000000000:0035 00000000000000000000000000000000:0000 07\n   1: 00000000000000000000000001000000:0035 00000000000000000000000000000000:0000 07\n";
        assert_eq!(sockets(udp6, false), [Listening { tcp: false, at: "[::]:53".parse().unwrap() }]);
        assert_eq!(sockets("rubbish\n0: 1\n", true), []);
    }

    #[test]
    fn a_bpf_file_system_counts_where_the_pins_are() {
        let mounts = "proc /proc proc rw 0 0\nbpf /sys/fs/bpf bpf rw 0 0\n";
        assert!(is_bpffs(mounts, Path::new("/sys/fs/bpf/secd")));
        assert!(!is_bpffs(mounts, Path::new("/run/bpf")));
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_says_nothing() {
        assert_eq!(said("no-such-program-of-secd", &[]).await, None);
        assert_eq!(said("false", &[]).await, None);
    }
}
