//! What tests of this crate share: a database as Pi-hole has it, and the check of what comes out.

#![allow(clippy::unwrap_used, reason = "test code")]

use import::Import;
use rusqlite::Connection;

/// Tables of gravity.db that matter, in the words of its documentation.
const SCHEMA: &str = "
    CREATE TABLE 'group' (id INTEGER PRIMARY KEY AUTOINCREMENT, enabled BOOLEAN NOT NULL DEFAULT 1,
        name TEXT UNIQUE NOT NULL, description TEXT);
    CREATE TABLE domainlist (id INTEGER PRIMARY KEY AUTOINCREMENT, type INTEGER NOT NULL DEFAULT 0,
        domain TEXT NOT NULL, enabled BOOLEAN NOT NULL DEFAULT 1, comment TEXT, UNIQUE (domain, type));
    CREATE TABLE adlist (id INTEGER PRIMARY KEY AUTOINCREMENT, address TEXT UNIQUE NOT NULL,
        enabled BOOLEAN NOT NULL DEFAULT 1, comment TEXT, type INTEGER NOT NULL DEFAULT 0);
    CREATE TABLE client (id INTEGER PRIMARY KEY AUTOINCREMENT, ip TEXT NOT NULL UNIQUE, comment TEXT);
    CREATE TABLE adlist_by_group (adlist_id INTEGER NOT NULL, group_id INTEGER NOT NULL,
        PRIMARY KEY (adlist_id, group_id)) WITHOUT ROWID;
    CREATE TABLE domainlist_by_group (domainlist_id INTEGER NOT NULL, group_id INTEGER NOT NULL,
        PRIMARY KEY (domainlist_id, group_id));
    CREATE TABLE client_by_group (client_id INTEGER NOT NULL, group_id INTEGER NOT NULL,
        PRIMARY KEY (client_id, group_id));
    CREATE TABLE gravity (domain TEXT NOT NULL, adlist_id INTEGER NOT NULL);
    CREATE TABLE info (property TEXT PRIMARY KEY, value TEXT NOT NULL);
    INSERT INTO info VALUES ('version', '20');
    INSERT INTO 'group' (id, enabled, name) VALUES (0, 1, 'Default');
    CREATE TRIGGER new_entry AFTER INSERT ON domainlist BEGIN
        INSERT INTO domainlist_by_group VALUES (NEW.id, 0); END;
    CREATE TRIGGER new_client AFTER INSERT ON client BEGIN
        INSERT INTO client_by_group VALUES (NEW.id, 0); END;
    CREATE TRIGGER new_list AFTER INSERT ON adlist BEGIN
        INSERT INTO adlist_by_group VALUES (NEW.id, 0); END;";

/// The bytes of a database to which `sql` was said.
pub(crate) fn database(sql: &str) -> Vec<u8> {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(SCHEMA).unwrap();
    connection.execute_batch(sql).unwrap();
    // As in the file: without free pages.
    connection.execute_batch("VACUUM").unwrap();
    connection.serialize(rusqlite::MAIN_DB).unwrap().to_vec()
}

/// A config that the settings are put into.
const ROUTER: &str = r#"# My router.
mode = "observe" # for now

[zones.wan]
interface = "wan0"
wan = true

[zones.home] # people
interface = "lan0"
networks = ["10.0.0.0/24"]

[dns]
listen = ["10.0.0.1"]
upstreams = ["9.9.9.9"] # Quad9

[[lists]]
name = "mine"
kind = "domains"
path = "/etc/secd/mine.txt"
"#;

/// The settings put into a router's config, which passes the check; a second time changes nothing.
pub(crate) fn checked(import: &Import, folder: &str) -> String {
    let mut import = import.clone();
    import.leave_own_servers(&["10.0.0.1:53".parse().unwrap()]);
    let (merged, _) = import.merge(ROUTER, folder).unwrap();
    if let Err(errors) = config::parse("secd.toml", &merged) {
        panic!("{errors:#?}\n{merged}");
    }
    let (again, replaced) = import.merge(&merged, folder).unwrap();
    assert_eq!(
        (again.as_str(), replaced.as_slice()),
        (merged.as_str(), &[][..]),
        "a second import changes nothing"
    );
    assert!(merged.starts_with("# My router.\nmode = \"observe\" # for now\n"), "{merged}");
    merged
}
