//! The real programs of the lab: OpenSSH, nginx and nsd as they come from Debian, with configs of their own.

use crate::network::{DMZ, HOME, MANAGEMENT, Network, STORAGE, UPSTREAMS, WAN, Zone};
use crate::process::{self, Process};
use crate::wait::Waiter;
use anyhow::{Context, Result, bail};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Programs that have to be installed.
pub(crate) const NEEDED: &[&str] = &[
    "ip",
    "nft",
    "ethtool",
    "sshd",
    "ssh",
    "ssh-keygen",
    "nginx",
    "nsd",
    "kdig",
    "curl",
    "nsenter",
    "setpriv",
];
/// How long a server may take to listen.
const START: Duration = Duration::from_secs(10);
/// How long a login may take.
const ATTEMPT: Duration = Duration::from_secs(15);

/// When a line of the authentication log was written.
#[derive(Clone, Debug)]
pub struct Written {
    /// The line.
    pub line: String,
    /// When the write began.
    pub at: Instant,
}

/// The servers, ended when dropped.
#[derive(Debug)]
pub struct Programs {
    /// `auth.log` of the host in the DMZ, as rsyslog would write it.
    pub auth_log: PathBuf,
    /// nginx's access log.
    pub access_log: PathBuf,
    written: Arc<Mutex<Vec<Written>>>,
    key: PathBuf,
    askpass: PathBuf,
    servers: Vec<Process>,
    relay: Option<JoinHandle<()>>,
}

impl Programs {
    /// Starts all of them and waits until they listen.
    ///
    /// # Errors
    /// A program is missing or does not start; its own words are in the error.
    pub fn start(network: &Network, directory: &Path, waiter: &Waiter) -> Result<Self> {
        let files = directory.join("programs");
        fs::create_dir_all(&files)?;
        let key = files.join("id");
        ssh_key(&key)?;
        fs::copy(key.with_extension("pub"), files.join("authorized_keys"))?;
        let askpass = files.join("askpass");
        fs::write(&askpass, "#!/bin/sh\necho wrong-password\n")?;
        fs::set_permissions(&askpass, fs::Permissions::from_mode(0o700))?;
        let mut programs = Self {
            auth_log: files.join("auth.log"),
            access_log: files.join("access.log"),
            written: Arc::default(),
            key,
            askpass,
            servers: Vec::new(),
            relay: None,
        };
        File::create(&programs.auth_log)?;
        File::create(&programs.access_log)?;
        programs.start_sshd(network, DMZ, &files)?;
        programs.start_sshd(network, STORAGE, &files)?;
        programs.start_nginx(network, DMZ, &files)?;
        programs.start_nginx(network, WAN, &files)?;
        programs.start_nsd(network, &files)?;
        for (zone, address) in [
            (DMZ, "198.51.100.10:22"),
            (STORAGE, "10.30.0.9:22"),
            (DMZ, "198.51.100.10:80"),
            (WAN, "203.0.113.1:80"),
            (WAN, "203.0.113.53:53"),
        ] {
            programs.wait_for(network, zone, address, waiter)?;
        }
        Ok(programs)
    }

    /// Tries one password login with a password that is wrong, as an attacker does; leaves off where `enough` says so,
    /// since a client that is banned amid its login waits for an answer that never comes.
    ///
    /// # Errors
    /// ssh cannot be run, or got in.
    pub fn ssh_with_wrong_password(
        &self,
        network: &Network,
        waiter: &Waiter,
        (from, user): (&str, &str),
        mut enough: impl FnMut() -> Result<bool>,
    ) -> Result<()> {
        let mut command = network.host(WAN)?.command("ssh");
        command
            .args(ssh_options(&[
                "NumberOfPasswordPrompts=1",
                "PreferredAuthentications=password",
                "ConnectTimeout=2",
            ]))
            .args(["-b", from, &format!("{user}@{}", DMZ.host4), "true"])
            .env("SSH_ASKPASS", &self.askpass)
            .env("SSH_ASKPASS_REQUIRE", "force")
            .env("DISPLAY", "none");
        let mut attempt = Process::start("attacker", &mut command, self.folder())?;
        let status = waiter.until("the end of a login", ATTEMPT, || {
            let ended = attempt.child().try_wait()?;
            Ok(if ended.is_none() && !enough()? { None } else { Some(ended) })
        })?;
        if status.is_some_and(|status| status.success()) {
            bail!("a wrong password was taken");
        }
        Ok(())
    }

    fn folder(&self) -> &Path {
        self.auth_log.parent().unwrap_or(&self.auth_log)
    }

    /// Logs in by key from the management host to storage and runs `echo`; what it printed or why it failed.
    ///
    /// # Errors
    /// ssh cannot be run.
    pub fn ssh_to_storage(&self, network: &Network, from: Zone) -> Result<String> {
        let mut command = network.host(from)?.command("ssh");
        command
            .arg("-i")
            .arg(&self.key)
            .args(ssh_options(&["BatchMode=yes", "ConnectTimeout=3"]))
            .args([&format!("root@{}", STORAGE.host4), "echo", "in"])
            .stdin(Stdio::null());
        let output = command.output().context("cannot run ssh")?;
        let text = if output.status.success() { output.stdout } else { output.stderr };
        Ok(String::from_utf8_lossy(&text).lines().last().unwrap_or_default().trim().to_owned())
    }

    /// Lines of the authentication log that name this source, oldest first.
    #[must_use]
    pub fn lines_about(&self, source: &str) -> Vec<Written> {
        let written = self.written.lock().map(|lines| lines.clone()).unwrap_or_default();
        written
            .into_iter()
            .filter(|written| written.line.split([' ', '=']).any(|word| word == source))
            .collect()
    }

    fn start_sshd(&mut self, network: &Network, zone: Zone, files: &Path) -> Result<()> {
        let host_key = files.join(format!("host-{}", zone.name));
        ssh_key(&host_key)?;
        // OpenSSH's own fixed folder for the process without rights.
        fs::create_dir_all("/run/sshd")?;
        let config = files.join(format!("sshd-{}.conf", zone.name));
        fs::write(
            &config,
            format!(
                "Port 22\nListenAddress {}\nListenAddress {}\nHostKey {}\nPidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin yes\n\
                 AuthorizedKeysFile {}\nMaxStartups 100\nUseDNS no\nLogLevel INFO\nSubsystem sftp internal-sftp\n",
                zone.host4,
                zone.host6,
                host_key.display(),
                files.join("authorized_keys").display(),
            ),
        )?;
        let name = format!("sshd-{}", zone.name);
        let mut command = network.host(zone)?.command("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f"]).arg(&config);
        if zone != DMZ {
            self.servers.push(Process::start(&name, &mut command, files)?);
            return Ok(());
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut server = Process::start_as_is(&name, &mut command, self.auth_log.clone())?;
        let errors = server.child().stderr.take().context("sshd has no error stream")?;
        let (log, written, process) = (self.auth_log.clone(), Arc::clone(&self.written), server.id());
        self.relay = Some(std::thread::spawn(move || relay(errors, &log, process, &written)));
        self.servers.push(server);
        Ok(())
    }

    fn start_nginx(&mut self, network: &Network, zone: Zone, files: &Path) -> Result<()> {
        let folder = files.join(format!("nginx-{}", zone.name));
        fs::create_dir_all(folder.join("files"))?;
        let config = folder.join("nginx.conf");
        let folder_name = folder.display();
        let log = if zone == DMZ { self.access_log.clone() } else { folder.join("access.log") };
        fs::write(
            &config,
            format!(
                "daemon off; master_process off; user root; pid {folder_name}/pid; error_log stderr;\n\
                 events {{ }}\n\
                 http {{\n  access_log {} combined; keepalive_requests 100000;\n\
                 \x20 client_body_temp_path {folder_name}/b; proxy_temp_path {folder_name}/p; fastcgi_temp_path {folder_name}/f;\n\
                 \x20 uwsgi_temp_path {folder_name}/u; scgi_temp_path {folder_name}/s;\n\
                 \x20 server {{ listen {}:80; listen [{}]:80; location / {{ return 200 \"{}\\n\"; }} location /private {{ return 401; }} location /files/ {{ root {folder_name}; }} }}\n}}\n",
                log.display(),
                zone.host4,
                zone.host6,
                zone.name,
            ),
        )?;
        let mut command = network.host(zone)?.command("/usr/sbin/nginx");
        command.arg("-p").arg(&folder).arg("-c").arg(&config);
        self.servers.push(Process::start(&format!("nginx-{}", zone.name), &mut command, files)?);
        Ok(())
    }

    fn start_nsd(&mut self, network: &Network, files: &Path) -> Result<()> {
        let zones = files.join("zones");
        fs::create_dir_all(&zones)?;
        fs::write(
            zones.join("lab.example"),
            format!(
                "$ORIGIN lab.example.\n$TTL 300\n@ SOA ns hostmaster 1 3600 600 86400 300\n@ NS ns\nns A {}\nwww A {}\nwww AAAA {}\nalias CNAME www\n",
                UPSTREAMS[0], WAN.host4, WAN.host6
            ),
        )?;
        let config = files.join("nsd.conf");
        let folder = files.display();
        fs::write(
            &config,
            format!(
                "server:\n  ip-address: {}\n  ip-address: {}\n  username: \"\"\n  zonesdir: \"{}\"\n  pidfile: \"{folder}/nsd.pid\"\n\
                 \x20 xfrdfile: \"{folder}/xfrd.state\"\n  xfrdir: \"{folder}\"\n  zonelistfile: \"{folder}/zone.list\"\n  server-count: 1\n  hide-version: yes\n\
                 remote-control:\n  control-enable: no\nzone:\n  name: \"lab.example\"\n  zonefile: \"lab.example\"\n",
                UPSTREAMS[0],
                UPSTREAMS[1],
                zones.display(),
            ),
        )?;
        let mut command = network.host(WAN)?.command("/usr/sbin/nsd");
        command.args(["-d", "-c"]).arg(&config);
        self.servers.push(Process::start("nsd", &mut command, files)?);
        Ok(())
    }

    fn wait_for(&mut self, network: &Network, zone: Zone, address: &str, waiter: &Waiter) -> Result<()> {
        let address: SocketAddr = address.parse()?;
        let servers = &mut self.servers;
        waiter.until(&format!("a server on {address}"), START, || {
            for server in servers.iter_mut() {
                server.still_runs()?;
            }
            let open = network
                .host(zone)?
                .inside(|| TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok())?;
            Ok(open.then_some(()))
        })
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        self.servers.clear();
        if let Some(relay) = self.relay.take() {
            let _ = relay.join();
        }
    }
}

/// The host that people use in the lab to open web pages.
pub(crate) const BROWSER: Zone = HOME;
/// The host from which administration is done.
pub(crate) const ADMIN: Zone = MANAGEMENT;

/// Does what rsyslog does on a host: puts time, host and program before each line of sshd and appends it.
fn relay(errors: impl std::io::Read, log: &Path, process: u32, written: &Mutex<Vec<Written>>) {
    let Ok(mut file) = OpenOptions::new().append(true).open(log) else { return };
    for line in BufReader::new(errors).lines().map_while(Result::ok) {
        let line = format!("{} dmz sshd[{process}]: {}\n", rfc3339_now(), line.trim_end());
        // Before the write: the ban may be in force before this thread runs again.
        let at = Instant::now();
        if file.write_all(line.as_bytes()).is_ok()
            && let Ok(mut written) = written.lock()
        {
            written.push(Written { line, at });
        }
    }
}

/// The time in Debian 12's rsyslog form, `2026-11-23T02:45:00.123456+00:00`.
fn rfc3339_now() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, seconds) = (now.as_secs() / 86_400, now.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:06}+00:00",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        now.subsec_micros()
    )
}

/// Year, month and day of a day since 1970, by counting.
fn civil(mut days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= if leap(year) { 366 } else { 365 } {
        days -= if leap(year) { 366 } else { 365 };
        year += 1;
    }
    let february = if leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

fn ssh_key(path: &Path) -> Result<()> {
    process::run(
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f"]).arg(path),
    )
}

fn ssh_options<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let mut options = vec!["-F", "none"];
    for option in
        ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"].iter().chain(more)
    {
        options.extend(["-o", option]);
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_over_leap_years() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(20_780), (2026, 11, 23));
    }
}
