//! Those who are measured: how each is configured, started, and what it needs.

use anyhow::{Context as _, Result};
use rustix::thread::{CpuSet, sched_setaffinity};
use std::{
    fmt::Write as _,
    fs,
    io::BufReader,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use crate::names::{BLOCKED, blocked};

/// One server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Secd,
    /// The same without a list.
    Bare,
    Dnsmasq,
    Unbound,
    Recursor,
}

/// A server that runs, and ends with this.
pub(crate) struct Running(Child);

impl Running {
    fn id(&self) -> u32 {
        self.0.id()
    }

    /// Seconds of processor that it has used.
    pub(crate) fn processor(&self) -> Result<f64> {
        let mut nanoseconds = 0.0;
        for task in fs::read_dir(format!("/proc/{}/task", self.id()))? {
            // A thread may end meanwhile; what it used is little.
            let stat = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
            nanoseconds += stat.split(' ').next().and_then(|word| word.parse::<f64>().ok()).unwrap_or(0.0);
        }
        Ok(nanoseconds / 1e9)
    }

    /// Megabytes that it holds now, or held at most.
    pub(crate) fn memory(&self, most: bool) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let label = if most { "VmHWM:" } else { "VmRSS:" };
        let line = status.lines().find_map(|line| line.strip_prefix(label)).unwrap_or_default();
        let kilobytes = line.split_whitespace().next().and_then(|word| word.parse::<f64>().ok());
        Ok(kilobytes.context("no memory in /proc")? / 1024.0)
    }

    /// What it is told, and what it says; of our own side.
    pub(crate) fn talk(&mut self) -> Result<(ChildStdin, BufReader<ChildStdout>)> {
        let ends = self.0.stdin.take().zip(self.0.stdout.take());
        ends.map(|(told, says)| (told, BufReader::new(says))).context("it cannot be talked to")
    }
}

/// This process, and what it starts, has this processor alone.
pub(crate) fn stay_on_processor(number: usize) {
    let mut one = CpuSet::new();
    one.set(number);
    // A machine with one processor measures all the same, worse.
    let _ = sched_setaffinity(None, &one);
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Side {
    pub(crate) const ALL: [Self; 5] = [Self::Secd, Self::Bare, Self::Dnsmasq, Self::Unbound, Self::Recursor];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Secd => "secd",
            Self::Bare => "secd-no-list",
            Self::Dnsmasq => "dnsmasq",
            Self::Unbound => "unbound",
            Self::Recursor => "pdns-recursor",
        }
    }

    /// Whether its program is installed.
    pub(crate) fn is_there(self) -> bool {
        match self {
            Self::Secd | Self::Bare => true,
            Self::Dnsmasq => program("dnsmasq").is_some(),
            Self::Unbound => program("unbound").is_some(),
            Self::Recursor => program("pdns_recursor").is_some(),
        }
    }

    /// Whether it is asked for names of this kind.
    pub(crate) fn takes(self, kind: &str) -> bool {
        self != Self::Bare || kind == "uncached"
    }

    /// Starts it on processor 0.
    pub(crate) fn start(self, folder: &Path, listen: SocketAddr, upstream: SocketAddr) -> Result<Running> {
        let mut words: Vec<String> = vec!["-c".into(), "0".into()];
        let (ip, port) = (listen.ip(), listen.port());
        match self {
            Self::Secd => {
                let list = folder.join("ads.txt");
                crate::names::write(&list, BLOCKED, |number| format!("||{}^", blocked(number)))?;
                return ours(listen, upstream, &["--list", &text(&list)]);
            }
            Self::Bare => return ours(listen, upstream, &[]),
            Self::Dnsmasq => {
                let mut config = format!(
                    "port={port}\nlisten-address={ip}\nbind-interfaces\nno-resolv\nno-hosts\ncache-size=50000\n\
                     server={}#{}\ndns-forward-max=2000\n",
                    upstream.ip(),
                    upstream.port()
                );
                all(&mut config, |number| format!("address=/{}/0.0.0.0", blocked(number)));
                let path = folder.join("dnsmasq.conf");
                fs::write(&path, config)?;
                words.extend([found("dnsmasq")?, "-k".into(), "-u".into(), "root".into()]);
                words.extend(["-C".into(), text(&path)]);
            }
            Self::Unbound => {
                let mut config = format!(
                    "server:\n interface: {ip}\n port: {port}\n do-daemonize: no\n username: \"\"\n chroot: \"\"\n \
                     pidfile: \"\"\n use-syslog: no\n verbosity: 0\n num-threads: 1\n module-config: \"iterator\"\n \
                     do-not-query-localhost: no\n msg-cache-size: 64m\n rrset-cache-size: 128m\n \
                     outgoing-range: 4096\n num-queries-per-thread: 2048\n so-rcvbuf: 4m\n \
                     local-zone: \"example.net.\" nodefault\n\
                     forward-zone:\n name: \".\"\n forward-addr: {}@{}\n\
                     remote-control:\n control-enable: no\nserver:\n",
                    upstream.ip(),
                    upstream.port()
                );
                all(&mut config, |number| format!(" local-zone: \"{}.\" always_null", blocked(number)));
                let path = folder.join("unbound.conf");
                fs::write(&path, config)?;
                words.extend([found("unbound")?, "-d".into(), "-c".into(), text(&path)]);
            }
            Self::Recursor => {
                let mut zone = "$TTL 10\n@ SOA ns. root. 1 3600 600 86400 60\n@ NS ns.\n".to_owned();
                all(&mut zone, |number| format!("{} A 0.0.0.0", blocked(number)));
                let path = folder.join("ads.rpz");
                fs::write(&path, zone)?;
                let lua = folder.join("rpz.lua");
                fs::write(&lua, format!("rpzFile(\"{}\", {{policyName=\"ads\"}})\n", path.display()))?;
                words.push(found("pdns_recursor")?);
                words.extend(
                    [
                        format!("--config-dir={}", folder.display()),
                        format!("--socket-dir={}", folder.display()),
                        format!("--local-address={ip}"),
                        format!("--local-port={port}"),
                        format!("--forward-zones-recurse=.={upstream}"),
                        format!("--lua-config-file={}", lua.display()),
                        "--threads=1".into(),
                        "--daemon=no".into(),
                        "--dont-query=".into(),
                        "--dnssec=off".into(),
                        "--loglevel=0".into(),
                        "--max-cache-entries=200000".into(),
                        "--packetcache-ttl=86400".into(),
                    ]
                    .map(|word: String| word),
                );
            }
        }
        spawn("taskset", &words)
    }
}

/// Our side on processor 0, with more options.
pub(crate) fn ours(listen: SocketAddr, upstream: SocketAddr, more: &[&str]) -> Result<Running> {
    let program = text(&std::env::current_exe()?);
    let (listen, upstream) = (listen.to_string(), upstream.to_string());
    let mut command = Command::new("taskset");
    command.args(["-c", "0", &program, "serve", &listen, &upstream]).args(more);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn();
    Ok(Running(child.context("start taskset")?))
}

/// The upstream of all, on processor 1.
pub(crate) fn upstream(listen: SocketAddr) -> Result<Running> {
    let program = text(&std::env::current_exe()?);
    spawn("taskset", &["-c".into(), "1".into(), program, "upstream".into(), listen.to_string()])
}

fn spawn(program: &str, words: &[String]) -> Result<Running> {
    let child = Command::new(program).args(words).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    Ok(Running(child.with_context(|| format!("start {program} {}", words.join(" ")))?))
}

fn all(config: &mut String, line: impl Fn(usize) -> String) {
    for number in 0..BLOCKED {
        let _ = writeln!(config, "{}", line(number));
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn found(name: &str) -> Result<String> {
    program(name).map(|path| text(&path)).with_context(|| format!("{name} is not installed"))
}

/// Where a program is.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|path| path.is_file())
}
