//! What this machine is: its distribution, its user, its kernel, and where things are kept on it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// The distribution, as `/etc/os-release` names it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Distribution {
    /// `ID`, `debian`.
    pub(crate) id: String,
    /// `VERSION_ID`, `12`.
    pub(crate) version: String,
    /// `PRETTY_NAME`.
    pub(crate) name: String,
}

impl Distribution {
    /// Reads `/etc/os-release`.
    pub(crate) fn of_this_machine() -> Self {
        Self::parse(&fs::read_to_string("/etc/os-release").unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        let value = |key: &str| {
            text.lines()
                .filter_map(|line| line.split_once('='))
                .find(|(name, _)| *name == key)
                .map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim_matches(['"', '\'']).to_owned())
        };
        Self { id: value("ID"), version: value("VERSION_ID"), name: value("PRETTY_NAME") }
    }

    /// Whether the set-up knows how to install packages here.
    pub(crate) fn is_known(&self) -> bool {
        self.id == "debian" && self.version == "12"
    }
}

/// The folder that holds the workspace's `Cargo.toml`.
pub(crate) fn workspace_root() -> PathBuf {
    let manifest = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest.parent().map_or(manifest.clone(), Path::to_path_buf)
}

/// Whether this process may do everything.
pub(crate) fn is_root() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        status
            .lines()
            .find_map(|line| line.strip_prefix("Uid:"))
            .and_then(|ids| ids.split_whitespace().nth(1).map(|id| id == "0"))
            .unwrap_or(false)
    })
}

/// Whether the kernel describes its own types, which loading the packet programs needs.
pub(crate) fn has_btf() -> bool {
    Path::new("/sys/kernel/btf/vmlinux").exists()
}

/// Whether the BPF file system is mounted where pinned maps are kept.
pub(crate) fn has_bpffs() -> bool {
    fs::read_to_string("/proc/mounts")
        .is_ok_and(|mounts| mounts.lines().any(|line| line.split(' ').nth(1) == Some("/sys/fs/bpf")))
}

/// The folder for built tools: `$XDG_CACHE_HOME/secd/tools`, or `~/.cache/secd/tools`.
pub(crate) fn tools_directory() -> PathBuf {
    let cache =
        env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()).map(PathBuf::from).unwrap_or_else(
            || PathBuf::from(env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(".cache"),
        );
    cache.join("secd/tools")
}

/// The GeoIP database of the tests, whether it is there or not.
pub(crate) fn geoip() -> PathBuf {
    env::var_os("SECD_GEOIP").filter(|value| !value.is_empty()).map_or_else(
        || tools_directory().with_file_name("geoip").join("geo-whois-asn-country.mmdb"),
        PathBuf::from,
    )
}

/// Programs that speak one of secd's APIs and that the lab plays, in an environment of Python's of their own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clients {
    /// Names another folder.
    variable: &'static str,
    folder: &'static str,
    /// The list of what is in it, in the project.
    list: &'static str,
    /// Packages of npm beside it, with their exact versions; where there is no npm, their tests skip.
    pub(crate) node: &'static [&'static str],
}

/// Those of Pi-hole's API.
pub(crate) const PIHOLE_CLIENTS: Clients = Clients {
    variable: "SECD_PIHOLE_CLIENTS",
    folder: "pihole-clients",
    list: "tests/lab/clients/requirements.txt",
    node: &[],
};

/// Those of CrowdSec's, and Traefik.
pub(crate) const CROWDSEC_CLIENTS: Clients = Clients {
    variable: "SECD_CROWDSEC_CLIENTS",
    folder: "crowdsec-clients",
    list: "tests/lab/clients/crowdsec.txt",
    node: &["crowdsec-client@1.2.0", "axios@1.19.0", "debug@4.4.3"],
};

impl Clients {
    /// What they are, for people.
    pub(crate) const fn name(&self) -> &'static str {
        self.folder
    }

    /// Where they are, whether they are there or not.
    pub(crate) fn folder(&self) -> PathBuf {
        env::var_os(self.variable)
            .filter(|value| !value.is_empty())
            .map_or_else(|| tools_directory().with_file_name(self.folder), PathBuf::from)
    }

    /// The list of what is wanted.
    pub(crate) fn wanted(&self, root: &Path) -> PathBuf {
        root.join(self.list)
    }

    /// Whether the environment is there and holds what the project wants: the set-up leaves the list in it when it is
    /// whole.
    pub(crate) fn are_there(&self, root: &Path) -> bool {
        let wanted = fs::read(self.wanted(root)).ok();
        wanted.is_some() && wanted == fs::read(self.folder().join("requirements.txt")).ok()
    }

    /// Whether what comes from npm is there too.
    pub(crate) fn has_node(&self) -> bool {
        self.node.is_empty() || self.folder().join("node_modules").is_dir()
    }
}

/// The program `name` in the tools folder, where it is installed.
pub(crate) fn tool(name: &str) -> Option<PathBuf> {
    Some(tools_directory().join("bin").join(name)).filter(|path| path.is_file())
}

/// `PATH` with the tools folder first.
pub(crate) fn path_with_tools() -> std::ffi::OsString {
    let mut folders = vec![tools_directory().join("bin")];
    folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    env::join_paths(folders).unwrap_or_default()
}

/// Other people's data to test against: `$SECD_CORPORA`, else beside the workspace.
pub(crate) fn corpora(root: &Path) -> Option<PathBuf> {
    env::var_os("SECD_CORPORA")
        .map(PathBuf::from)
        .or_else(|| Some(root.join("../shared/corpora")))
        .filter(|path| path.is_dir())
}

/// What the compiler is told for the BPF target, as cargo wants it: as `daemon/enforce/build.rs` tells it.
pub(crate) fn bpf_flags() -> String {
    let arch = std::env::consts::ARCH;
    format!("--cfg=bpf_target_arch=\"{arch}\"\u{1f}-Cdebuginfo=2\u{1f}-Clink-arg=--btf\u{1f}-Ctarget-cpu=v3")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distributions_are_read_with_and_without_quotes() {
        let debian = Distribution::parse(
            "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID=\"12\"\n",
        );
        assert!(debian.is_known());
        assert_eq!(debian.name, "Debian GNU/Linux 12 (bookworm)");
        assert!(!Distribution::parse("ID=fedora\nVERSION_ID=42\n").is_known());
        assert!(!Distribution::parse("").is_known());
    }
}
