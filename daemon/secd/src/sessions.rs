//! Who is logged in on this machine from elsewhere now: nobody bans the session they sit in.
//!
//! Two places know: systemd-logind writes a file for each session, sshd and login write utmp. Only who has logged in
//! stands there, not who tries to.

use nix::libc::utmpx;
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Read,
    mem::offset_of,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
};

/// Files of sessions that are looked at.
const MAX_FILES: usize = 256;
/// Bytes that are read of one of them, and of all of utmp.
const MAX_FILE: u64 = 8 * 1024;
const MAX_UTMP: u64 = 1024 * 1024;
/// `ut_type` of a session.
const USER_PROCESS: i16 = 7;

/// Addresses that sessions come from. What cannot be read has none.
#[must_use]
pub fn open() -> BTreeSet<IpAddr> {
    let mut all = logind(Path::new("/run/systemd/sessions"));
    all.extend(utmp(&read(Path::new("/run/utmp"), MAX_UTMP), |pid| {
        Path::new(&format!("/proc/{pid}")).exists()
    }));
    all
}

/// Files like `12` with `REMOTE_HOST=10.1.0.5`; others there are sockets.
fn logind(folder: &Path) -> BTreeSet<IpAddr> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten().take(MAX_FILES);
    let texts = files
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .map(|entry| read(&entry.path(), MAX_FILE));
    texts.filter_map(|text| session(&String::from_utf8_lossy(&text))).collect()
}

fn session(text: &str) -> Option<IpAddr> {
    let of = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    if of("STATE") == Some("closing") {
        return None;
    }
    of("REMOTE_HOST")?.parse().ok()
}

/// Records of utmp(5) whose process lives.
fn utmp(bytes: &[u8], lives: impl Fn(i32) -> bool) -> BTreeSet<IpAddr> {
    bytes.chunks_exact(size_of::<utmpx>()).filter_map(|record| entry(record, &lives)).collect()
}

fn entry(record: &[u8], lives: impl Fn(i32) -> bool) -> Option<IpAddr> {
    let at = |offset: usize, length: usize| record.get(offset..offset + length);
    let kind = i16::from_ne_bytes(at(offset_of!(utmpx, ut_type), 2)?.try_into().ok()?);
    let pid = i32::from_ne_bytes(at(offset_of!(utmpx, ut_pid), 4)?.try_into().ok()?);
    let address: [u8; 16] = at(offset_of!(utmpx, ut_addr_v6), 16)?.try_into().ok()?;
    if kind != USER_PROCESS || !lives(pid) {
        return None;
    }
    match address {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] => None,
        [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] => Some(Ipv4Addr::new(a, b, c, d).into()),
        v6 => Some(Ipv6Addr::from(v6).to_canonical()),
    }
}

fn read(file: &Path, most: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(file) {
        file.take(most).read_to_end(&mut bytes).ok();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: i16, pid: i32, address: &[u8]) -> Vec<u8> {
        let mut record = vec![0; size_of::<utmpx>()];
        let mut put =
            |offset: usize, bytes: &[u8]| record[offset..offset + bytes.len()].copy_from_slice(bytes);
        put(offset_of!(utmpx, ut_type), &kind.to_ne_bytes());
        put(offset_of!(utmpx, ut_pid), &pid.to_ne_bytes());
        put(offset_of!(utmpx, ut_addr_v6), address);
        record
    }

    #[test]
    fn sessions_of_utmp_count_while_their_process_lives() {
        let v6: Ipv6Addr = "2001:db8::5".parse().unwrap();
        let mut bytes = record(USER_PROCESS, 10, &[10, 1, 0, 5]);
        bytes.extend(record(USER_PROCESS, 11, &v6.octets()));
        bytes.extend(record(USER_PROCESS, 99, &[10, 1, 0, 6]));
        bytes.extend(record(8, 10, &[10, 1, 0, 7]));
        bytes.extend(record(USER_PROCESS, 10, &[]));
        bytes.extend([7, 0, 0]);
        let found: Vec<String> = utmp(&bytes, |pid| pid < 50).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.1.0.5", "2001:db8::5"]);
    }

    #[test]
    fn sessions_of_logind() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("3", "# a session\nUID=0\nSTATE=active\nREMOTE=1\nREMOTE_HOST=10.1.0.5\n");
        write("4", "STATE=closing\nREMOTE_HOST=10.1.0.6\n");
        write("5", "STATE=active\nREMOTE_HOST=laptop.example\n");
        write("6", "STATE=online\nSEAT=seat0\n");
        fs::create_dir(folder.path().join("7")).unwrap();
        let found: Vec<String> = logind(folder.path()).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.1.0.5"]);
        assert!(logind(Path::new("/nowhere")).is_empty());
    }
}
