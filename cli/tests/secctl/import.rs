//! `secctl import`: what is written, and that nothing is where something does not fit.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};
use tempfile::TempDir;

const ROUTER: &str = "# My router.
[zones.wan]
interface = \"wan0\"
wan = true

[zones.home]
interface = \"lan0\"
networks = [\"10.0.0.0/24\"]

[dns]
listen = [\"10.0.0.1\"] # where it answers
";

/// A folder with a config, and `etc/pihole` as Pi-hole 6 has it.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("etc/pihole/migration_backup_v6")).unwrap();
    fs::create_dir_all(at("etc/dnsmasq.d")).unwrap();
    fs::write(at("secd.toml"), ROUTER).unwrap();
    fs::set_permissions(at("secd.toml"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::write(at("etc/pihole/migration_backup_v6/setupVars.conf"), "PIHOLE_DNS_1=192.0.2.1\n").unwrap();
    fs::write(at("etc/dnsmasq.d/99-own.conf"), "address=/home.example/10.0.0.3\n").unwrap();
    let settings = "[dns]\nupstreams = [\"9.9.9.9\"]\nrevServers = [\"true,10.0.0.0/24,10.0.0.1,home.example\"]\n[misc]\netc_dnsmasq_d = true\n";
    fs::write(at("etc/pihole/pihole.toml"), settings).unwrap();
    database(&at("etc/pihole/gravity.db"));
    folder
}

fn database(path: &Path) {
    let connection = rusqlite::Connection::open(path).unwrap();
    let sql = "
        CREATE TABLE \"group\" (id INTEGER, enabled INTEGER, name TEXT, description TEXT);
        CREATE TABLE adlist (id INTEGER, address TEXT, enabled INTEGER, comment TEXT, type INTEGER);
        CREATE TABLE domainlist (id INTEGER, type INTEGER, domain TEXT, enabled INTEGER, comment TEXT);
        CREATE TABLE client (id INTEGER, ip TEXT, comment TEXT);
        CREATE TABLE adlist_by_group (adlist_id INTEGER, group_id INTEGER);
        CREATE TABLE domainlist_by_group (domainlist_id INTEGER, group_id INTEGER);
        CREATE TABLE client_by_group (client_id INTEGER, group_id INTEGER);
        INSERT INTO \"group\" VALUES (0, 1, 'Default', NULL);
        INSERT INTO adlist VALUES (1, 'https://lists.example/ads.txt', 1, NULL, 0);
        INSERT INTO adlist_by_group VALUES (1, 0);
        INSERT INTO domainlist VALUES (1, 1, 'ads.example', 1, NULL);
        INSERT INTO domainlist_by_group VALUES (1, 0);
        INSERT INTO client VALUES (1, '10.0.0.9', 'tablet');
        INSERT INTO client_by_group VALUES (1, 0);";
    connection.execute_batch(sql).unwrap();
}

fn import(folder: &TempDir, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_secctl"));
    command.current_dir(folder.path()).args(["import", "pihole", "etc/pihole"]).args(words).output().unwrap()
}

/// Every file below a folder, by name.
fn files(folder: &TempDir) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![folder.path().to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => open.push(path),
                false => found.push(path.strip_prefix(folder.path()).unwrap().display().to_string()),
            }
        }
    }
    found.retain(|file| !file.starts_with("etc/"));
    found.sort();
    found
}

#[test]
fn a_folder_of_pi_hole_goes_into_a_config() {
    let folder = folder();
    let text = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let ran = import(&folder, &["--into", "secd.toml", "--dry-run"]);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(files(&folder), ["secd.toml"]);
    assert_eq!(text("secd.toml"), ROUTER);
    let told = String::from_utf8(ran.stdout).unwrap();
    assert!(told.contains("home.example to 10.0.0.1") && told.contains("it would ask itself"), "{told}");
    let ran = import(&folder, &["--into", "secd.toml"]);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(files(&folder), ["lists/pihole-own.txt", "secd.toml", "secd.toml.before-import"]);
    assert_eq!(text("secd.toml.before-import"), ROUTER);
    assert!(text("lists/pihole-own.txt").ends_with("\n|ads.example^$important\n"));
    let config = text("secd.toml");
    for part in [
        "# My router.\n",
        "listen = [\"10.0.0.1\"] # where it answers\nupstreams = [\"9.9.9.9\"]\n",
        "url = \"https://lists.example/ads.txt\"",
        "[dns.clients.tablet]",
        "\"home.example\" = [\"10.0.0.3\"]",
    ] {
        assert!(config.contains(part), "{part}: {config}");
    }
    let mode = fs::metadata(folder.path().join("secd.toml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    let check = Command::new(env!("CARGO_BIN_EXE_secctl"))
        .arg("check")
        .arg(folder.path().join("secd.toml"))
        .output()
        .unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    let again = import(&folder, &["--into", "secd.toml"]);
    assert!(again.status.success());
    assert_eq!(text("secd.toml"), config);
    assert_eq!(text("secd.toml.before-import"), ROUTER, "the copy is of what was there before");
}

#[test]
fn a_folder_may_be_called_a_backup() {
    let folder = folder();
    fs::rename(folder.path().join("etc"), folder.path().join("backup")).unwrap();
    fs::rename(folder.path().join("backup/pihole"), folder.path().join("backup/pihole-backup")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_secctl"));
    let ran = command
        .current_dir(folder.path())
        .args(["import", "pihole", "backup/pihole-backup"])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert!(
        told.contains("9.9.9.9") && told.contains("home.example") && !told.contains("192.0.2.1"),
        "{told}"
    );
}

#[test]
fn a_config_that_is_not_there_becomes_a_fragment() {
    let folder = folder();
    let ran = import(&folder, &["--into", "fragment.toml"]);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(files(&folder), ["fragment.toml", "lists/pihole-own.txt", "secd.toml"]);
    assert!(fs::read_to_string(folder.path().join("fragment.toml")).unwrap().contains("\n[dns]\n"));
}

#[test]
fn nothing_is_written_where_something_does_not_fit() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let refused = |code: i32, words: &str, left: &[&str]| {
        let ran = import(&folder, &["--into", "secd.toml"]);
        let told = String::from_utf8(ran.stderr).unwrap();
        assert_eq!(ran.status.code(), Some(code), "{told}");
        assert!(told.contains(words), "{told}");
        assert_eq!(files(&folder), left);
    };
    let taken = format!("{ROUTER}\n[dns.clients.other]\nwho = [\"10.0.0.9\"]\n");
    fs::write(at("secd.toml"), &taken).unwrap();
    refused(1, "`10.0.0.9` is the client `other` already", &["secd.toml"]);
    assert_eq!(fs::read_to_string(at("secd.toml")).unwrap(), taken);
    fs::write(at("secd.toml"), ROUTER.replace("wan0", "")).unwrap();
    refused(2, "has mistakes already", &["secd.toml"]);
    fs::create_dir(at("lists")).unwrap();
    fs::write(at("secd.toml"), ROUTER).unwrap();
    fs::write(at("lists/pihole-own.txt"), "||mine.example^\n").unwrap();
    refused(2, "no import wrote it", &["lists/pihole-own.txt", "secd.toml"]);
    fs::remove_file(at("lists/pihole-own.txt")).unwrap();
    fs::write(at("etc/pihole/gravity.db-wal"), "journal").unwrap();
    refused(2, "stop Pi-hole first", &["secd.toml"]);
    fs::remove_file(at("etc/pihole/gravity.db-wal")).unwrap();
    fs::remove_file(at("etc/pihole/gravity.db")).unwrap();
    refused(2, "gravity.db is missing", &["secd.toml"]);
    assert_eq!(fs::read_to_string(at("secd.toml")).unwrap(), ROUTER);
}

/// Lists without the config that names them, or a new list under an old config, would be half a migration.
#[test]
fn what_cannot_be_written_leaves_everything_as_it_was() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    assert!(import(&folder, &["--into", "secd.toml"]).status.success());
    let (list, config) = (fs::read(at("lists/pihole-own.txt")).unwrap(), fs::read(at("secd.toml")).unwrap());
    let connection = rusqlite::Connection::open(at("etc/pihole/gravity.db")).unwrap();
    let sql = "INSERT INTO domainlist VALUES (2, 1, 'more.example', 1, NULL);
        INSERT INTO domainlist_by_group VALUES (2, 0);
        INSERT INTO client VALUES (2, '10.0.0.10', 'phone'); INSERT INTO client_by_group VALUES (2, 0);";
    connection.execute_batch(sql).unwrap();
    drop(connection);
    for (in_the_way, was) in [("secd.toml.before-import", Some(ROUTER)), ("secd.toml.new", None)] {
        let _ = fs::remove_file(at(in_the_way));
        fs::create_dir_all(at(in_the_way).join("full")).unwrap();
        let ran = import(&folder, &["--into", "secd.toml"]);
        assert!(!ran.status.success());
        assert_eq!(fs::read(at("lists/pihole-own.txt")).unwrap(), list, "{in_the_way}");
        assert_eq!(fs::read(at("secd.toml")).unwrap(), config, "{in_the_way}");
        fs::remove_dir_all(at(in_the_way)).unwrap();
        if let Some(was) = was {
            fs::write(at(in_the_way), was).unwrap();
        }
        assert_eq!(files(&folder), ["lists/pihole-own.txt", "secd.toml", "secd.toml.before-import"]);
    }
    assert!(import(&folder, &["--into", "secd.toml"]).status.success());
    assert!(fs::read_to_string(at("lists/pihole-own.txt")).unwrap().contains("more.example"));
}
