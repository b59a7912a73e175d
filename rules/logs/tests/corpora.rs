//! Lines that other programs collected. How many of them the built-in filters understand is a figure with a floor; that
//! they name nobody else is a rule.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::net::IpAddr;
use std::path::PathBuf;

use logs::Library;

fn read(test: &str, file: &str) -> Option<String> {
    let corpora = std::env::var_os("SECD_CORPORA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora"),
        PathBuf::from,
    );
    let text =
        std::fs::read(corpora.join(file)).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    if text.is_none() {
        eprintln!("SKIP: {test}: no corpora ({file})");
    }
    text
}

#[test]
fn sshguard_attacks_on_ssh() {
    let Some(text) = read("sshguard_attacks_on_ssh", "sshguard/attacks-first-150.txt") else { return };
    let library = Library::builtin();
    let filter = library.filter("sshd").unwrap();
    let section: Vec<&str> = text.lines().skip(1).take_while(|line| !line.starts_with("# }}}")).collect();
    let lines: Vec<&str> =
        section.into_iter().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let (mut attacks, mut found) = (0, 0);
    for case in lines.chunks_exact(3) {
        let Some(address) = case[1].split(' ').nth(1) else { continue };
        let address: IpAddr = address.parse().unwrap();
        attacks += 1;
        match filter.parse(case[0].as_bytes()) {
            Some(event) => {
                assert_eq!(event.ip, address, "{}", case[0]);
                found += 1;
            }
            None => println!("not understood: {}", case[0]),
        }
    }
    println!("sshguard, ssh: {found} of {attacks} attacks");
    assert!(attacks >= 45 && found * 100 >= attacks * SSHGUARD_FLOOR, "{found} of {attacks}");
}

/// Per cent of sshguard's attacks on ssh.
const SSHGUARD_FLOOR: usize = 95;

/// What `# failJSON:` says of the line below it: the address, if it must match and names one.
fn expected(comment: &str) -> Option<Option<IpAddr>> {
    let json: serde_json::Value = serde_json::from_str(comment.strip_prefix("# failJSON:")?).ok()?;
    if json["match"] != true {
        return Some(None);
    }
    json["host"].as_str()?.parse().ok().map(Some)
}

fn fail2ban(test: &str, filter: &str, file: &str, floor: usize) {
    let Some(text) = read(test, &format!("fail2ban/logs/{file}")) else { return };
    let library = Library::builtin();
    let filter = library.filter(filter).unwrap();
    let (mut wanted, mut found, mut more) = (0, 0, 0);
    for pair in text.lines().collect::<Vec<_>>().windows(2) {
        let Some(address) = expected(pair[0]) else { continue };
        let event = filter.parse(pair[1].as_bytes());
        match (address, event) {
            (Some(address), Some(event)) => {
                assert_eq!(event.ip, address, "{}", pair[1]);
                (wanted, found) = (wanted + 1, found + 1);
            }
            (Some(_), None) => {
                wanted += 1;
                println!("not understood: {}", pair[1]);
            }
            (None, Some(event)) => {
                more += 1;
                println!("also an event ({}): {}", event.event, pair[1]);
            }
            (None, None) => {}
        }
    }
    println!("fail2ban, {file}: {found} of {wanted}, and {more} that it does not count");
    assert!(wanted > 0 && found >= floor, "{found} of {wanted}, the floor is {floor}");
}

#[test]
fn fail2ban_sshd() {
    fail2ban("fail2ban_sshd", "sshd", "sshd", 80);
}

#[test]
fn fail2ban_nginx_auth() {
    fail2ban("fail2ban_nginx_auth", "nginx", "nginx-http-auth", 6);
}

#[test]
fn fail2ban_nginx_limit() {
    fail2ban("fail2ban_nginx_limit", "nginx", "nginx-limit-req", 6);
}

#[test]
fn fail2ban_nginx_bad_request() {
    fail2ban("fail2ban_nginx_bad_request", "nginx", "nginx-bad-request", 8);
}

#[test]
fn fail2ban_nginx_botsearch() {
    fail2ban("fail2ban_nginx_botsearch", "nginx", "nginx-botsearch", 8);
}

/// Sections of sshguard's list are named in a comment and end with `# }}}`.
fn sshguard(test: &str, filter: &str, section: &str, floor: usize) {
    let Some(text) = read(test, "sshguard/attacks-first-150.txt") else { return };
    let library = Library::builtin();
    let filter = library.filter(filter).unwrap();
    let start = format!("# {section} {{{{{{");
    let lines = text.lines().skip_while(|line| *line != start).skip(1);
    let lines: Vec<&str> = lines
        .take_while(|line| !line.starts_with("# }}}"))
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    let (mut attacks, mut found) = (0, 0);
    for case in lines.chunks_exact(3) {
        let Some(address) = case[1].split(' ').nth(1) else { continue };
        let address: IpAddr = address.parse().unwrap();
        attacks += 1;
        match filter.parse(case[0].as_bytes()) {
            Some(event) => {
                assert_eq!(event.ip, address, "{}", case[0]);
                found += 1;
            }
            None => println!("not understood: {}", case[0]),
        }
    }
    println!("sshguard, {section}: {found} of {attacks} attacks");
    assert!(attacks > 0 && found >= floor, "{found} of {attacks}, the floor is {floor}");
}

#[test]
fn sshguard_attacks_on_dovecot() {
    sshguard("sshguard_attacks_on_dovecot", "dovecot", "dovecot", 5);
}

#[test]
fn sshguard_attacks_on_postfix() {
    sshguard("sshguard_attacks_on_postfix", "postfix", "postfix", 12);
}

#[test]
fn fail2ban_dovecot() {
    fail2ban("fail2ban_dovecot", "dovecot", "dovecot", 5);
}

#[test]
fn fail2ban_postfix() {
    fail2ban("fail2ban_postfix", "postfix", "postfix", 12);
}

/// Logs of the programs themselves: how many of their lines are events.
fn hub(filter: &str, folder: &str, floor: usize) {
    let Some(text) = read("hub_logs", &format!("crowdsec-hub/tests/{folder}/{folder}.log")) else { return };
    let library = Library::builtin();
    let filter = library.filter(filter).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty());
    let (found, missed): (Vec<&str>, Vec<&str>) =
        lines.partition(|line| filter.parse(line.as_bytes()).is_some());
    missed.iter().for_each(|line| println!("no event: {line}"));
    println!("{folder}: {} of {} lines", found.len(), found.len() + missed.len());
    assert!(found.len() >= floor, "{folder}: {}, the floor is {floor}", found.len());
}

#[test]
fn hub_logs() {
    for (filter, folder, floor) in [
        ("haproxy", "haproxy-logs", 4),
        ("jellyfin", "jellyfin-logs", 2),
        ("jellyfin", "jellyfin-bf", 6),
        ("jellyfin", "jellyfin-syslog-logs", 1),
        ("jellyfin", "jellyfin-syslog-bf", 6),
        ("overseerr", "overseerr-logs", 5),
        ("overseerr", "overseerr-bf", 12),
        ("servarr", "radarr-logs", 6),
        ("servarr", "radarr-bf", 6),
        ("servarr", "radarr-nonsyslog-logs", 2),
        ("servarr", "sonarr-logs", 6),
        ("servarr", "sonarr-bf", 6),
        ("servarr", "sonarr-nonsyslog-logs", 2),
        ("vaultwarden", "vaultwarden-logs", 32),
        ("vaultwarden", "vaultwarden-bf", 28),
        ("traefik", "traefik_clf", 7),
        ("traefik", "traefik_json", 5),
        ("postgresql", "pgsql-user-enum", 6),
        ("dovecot", "dovecot-slow-bf-user-enum", 4),
        ("postfix", "postfix-sasl-bf", 3),
        ("postfix", "postfix-spam", 6),
    ] {
        hub(filter, folder, floor);
    }
}
