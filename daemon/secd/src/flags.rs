//! The command line of `secd`. Everything else stands in the config.

use clap::Parser;
use std::path::PathBuf;

/// Network security appliance daemon: VLAN firewall in XDP, DNS sinkhole, bans from logs, signatures.
#[derive(Clone, Debug, Parser)]
#[command(version, about)]
pub struct Flags {
    /// Config file.
    #[arg(long, default_value = "/etc/secd/secd.toml")]
    pub config: PathBuf,
    /// Folder of the database, the event file and snapshots.
    #[arg(long, default_value = "/var/lib/secd")]
    pub state_dir: PathBuf,
    /// Control socket.
    #[arg(long, default_value = "/run/secd/secd.sock")]
    pub socket: PathBuf,
    /// Folder on a bpf filesystem where programs and maps are pinned.
    #[arg(long, default_value = "/sys/fs/bpf/secd")]
    pub bpffs: PathBuf,
    /// Take what a stopped secd left in the kernel away (programs, maps, nftables table) and end: nothing is enforced,
    /// and no address is translated, until secd starts again. While secd runs: `secctl detach --yes`.
    #[arg(long)]
    pub detach: bool,
    /// Before the network comes up: make the nftables table that holds until secd has put its policy in force, as it was
    /// written down when a policy last was, and end. Zones with `fail = "closed"` take in nothing but what their link and
    /// the router need. Where the table is there already nothing changes.
    #[arg(long, conflicts_with = "detach")]
    pub early: bool,
}
