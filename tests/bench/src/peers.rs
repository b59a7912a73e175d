//! The others: each drops packets from listed sources in a network namespace of its own.

use anyhow::{Context as _, Result, bail};
use aya::{
    maps::{Map, MapData, PerCpuArray, PerCpuHashMap, PerCpuValues},
    programs::XdpMode,
};
use ipnet::Ipv4Net;
use kernel_tests::Namespace;
use std::{
    fmt::Write as _,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use crate::harness::Programs;

/// Addresses that xdp-filter takes at most.
pub(crate) const XDP_FILTER_LIMIT: usize = 10_000;
/// Where xdp-filter pins its maps.
const XDP_FILTER_PINS: &str = "/sys/fs/bpf/xdp-filter";
/// `XDP_DROP`.
const DROP: u32 = 1;

/// Someone who drops packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// An XDP program that drops everything: the floor.
    Bare,
    /// The kernel's longest-prefix table in an XDP program.
    LpmTrie,
    /// An nftables set of networks.
    NftInterval,
    /// An nftables set of addresses.
    NftHash,
    /// An ipset of addresses.
    Ipset,
    /// xdp-filter with as many addresses as it takes.
    XdpFilter,
}

impl Peer {
    /// Its name in the results.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bare => "xdp-drop",
            Self::LpmTrie => "lpm-trie-1M",
            Self::NftInterval => "nft-interval-100k",
            Self::NftHash => "nft-hash-100k",
            Self::Ipset => "ipset-100k",
            Self::XdpFilter => "xdp-filter-10k",
        }
    }

    /// A short name for namespaces.
    pub(crate) const fn short(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::LpmTrie => "lpm",
            Self::NftInterval => "interval",
            Self::NftHash => "hash",
            Self::Ipset => "ipset",
            Self::XdpFilter => "filter",
        }
    }

    /// Has it drop packets from these networks that come in at `interface`.
    pub(crate) fn start(
        self,
        namespace: &Namespace,
        interface: &str,
        nets: &[Ipv4Net],
        programs: &mut Programs,
    ) -> Result<()> {
        match self {
            Self::Bare => attach(namespace, interface, programs, "bare_counted"),
            Self::LpmTrie => {
                programs.fill_trie("TRIE_LARGE", nets)?;
                attach(namespace, interface, programs, "lpm_large")
            }
            Self::NftInterval => start_nft(namespace, nets, true),
            Self::NftHash => start_nft(namespace, nets, false),
            Self::Ipset => start_ipset(namespace, nets),
            Self::XdpFilter => start_xdp_filter(namespace, interface, nets),
        }
    }

    /// Packets it dropped so far.
    pub(crate) fn dropped(self, namespace: &Namespace, programs: &Programs) -> Result<u64> {
        match self {
            Self::Bare | Self::LpmTrie => programs.dropped(),
            Self::NftInterval | Self::NftHash => {
                let text = namespace.run("nft list chain inet bench incoming")?;
                number_after(&text, "packets ")
            }
            Self::Ipset => {
                let text = namespace.run("iptables -t raw -L PREROUTING -v -x -n")?;
                let line =
                    text.lines().find(|line| line.contains("match-set")).context("the rule is gone")?;
                line.split_whitespace().next().and_then(|word| word.parse().ok()).context("no count")
            }
            Self::XdpFilter => {
                let stats: PerCpuArray<MapData, [u64; 2]> = PerCpuArray::try_from(pinned("xdp_stats_map")?)?;
                Ok(stats.get(&DROP, 0)?.iter().map(|[packets, _]| packets).sum())
            }
        }
    }

    /// Takes away what outlives the namespace.
    pub(crate) fn stop(self, namespace: &Namespace, interface: &str) {
        if self == Self::XdpFilter {
            let _ = namespace.run(&format!("xdp-filter unload {interface}"));
        }
    }
}

fn attach(namespace: &Namespace, interface: &str, programs: &mut Programs, name: &str) -> Result<()> {
    namespace.inside(|| {
        programs.xdp(name)?.attach(interface, XdpMode::Driver).context("attach to the driver")?;
        Ok(())
    })
}

/// A set before connection tracking, as blocklists are best placed.
fn start_nft(namespace: &Namespace, nets: &[Ipv4Net], intervals: bool) -> Result<()> {
    let mut text = String::from("table inet bench {\n set listed {\n  type ipv4_addr\n");
    if intervals {
        text += "  flags interval\n";
    }
    text += "  elements = { ";
    for net in nets {
        if net.prefix_len() == 32 {
            write!(text, "{}, ", net.network())?;
        } else {
            write!(text, "{net}, ")?;
        }
    }
    text += "}\n }\n chain incoming {\n  type filter hook prerouting priority raw; policy accept;\n";
    text += "  ip saddr @listed counter drop\n }\n}\n";
    let file = Script::new("nft", &text)?;
    namespace.run(&format!("nft -f {}", file.0.display()))?;
    Ok(())
}

fn start_ipset(namespace: &Namespace, nets: &[Ipv4Net]) -> Result<()> {
    let mut text =
        format!("create listed hash:ip family inet hashsize 65536 maxelem {}\n", nets.len().max(1));
    for net in nets {
        writeln!(text, "add listed {}", net.network())?;
    }
    let file = Script::new("ipset", &text)?;
    namespace.run(&format!("ipset restore -file {}", file.0.display()))?;
    namespace.run("iptables -t raw -A PREROUTING -m set --match-set listed src -j DROP")?;
    Ok(())
}

/// Its own command takes one address at a time, so the first is given to it and the others are entered beside it.
fn start_xdp_filter(namespace: &Namespace, interface: &str, nets: &[Ipv4Net]) -> Result<()> {
    if Path::new(XDP_FILTER_PINS).exists() {
        bail!("xdp-filter is in use on this machine ({XDP_FILTER_PINS} exists)");
    }
    namespace.run(&format!("xdp-filter load -m native -p allow -f ipv4 {interface}"))?;
    let key = |net: &Ipv4Net| net.network().octets();
    let Some(first) = nets.first() else { bail!("no addresses") };
    namespace.run(&format!("xdp-filter ip {} -m src", Ipv4Addr::from(key(first))))?;
    let mut table: PerCpuHashMap<MapData, [u8; 4], u64> = PerCpuHashMap::try_from(pinned("filter_ipv4")?)?;
    let value =
        table.get(&key(first), 0).context("read what xdp-filter wrote")?.first().copied().unwrap_or(0);
    let processors = aya::util::nr_cpus().map_err(|(_, error)| error)?;
    for net in nets.iter().take(XDP_FILTER_LIMIT).skip(1) {
        table.insert(key(net), PerCpuValues::try_from(vec![value; processors])?, 0)?;
    }
    Ok(())
}

fn pinned(name: &str) -> Result<Map> {
    let path = Path::new(XDP_FILTER_PINS).join(name);
    let data = MapData::from_pin(&path).with_context(|| format!("open {}", path.display()))?;
    Ok(Map::from_map_data(data)?)
}

fn number_after(text: &str, word: &str) -> Result<u64> {
    let rest = text.split_once(word).with_context(|| format!("no `{word}` in what was printed"))?.1;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().with_context(|| format!("no number after `{word}`"))
}

/// A file that goes when it was read.
struct Script(PathBuf);

impl Script {
    fn new(name: &str, text: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("secd-bench-{}-{name}", std::process::id()));
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_from_what_is_printed() {
        assert_eq!(
            number_after("ip saddr @listed counter packets 123 bytes 5 drop", "packets ").unwrap(),
            123
        );
        assert!(number_after("nothing", "packets ").is_err());
    }
}
