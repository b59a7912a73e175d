//! What is no backup, half of one, or made to hurt: an error that names the file and says what to do, in bounded time
//! and memory.

#![expect(clippy::unwrap_used, reason = "test code")]

mod support;

use flate2::{Compression, write::GzEncoder};
use import::{Files, Gravity, Import, ImportError, adguard, limits, pihole};
use proptest::prelude::*;
use std::io::{Cursor, Write};
use support::{checked, database};

const SETTINGS: &str = "[dns]\nupstreams = [\"9.9.9.9\"]\nhosts = [\"10.0.0.2 nas.example\"]\n";

/// A zip archive of files.
fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        archive.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// A gzipped tar archive of files.
fn tar_gz(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive =
        tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, *bytes).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}

fn archive() -> Vec<u8> {
    let database = database("INSERT INTO adlist (address) VALUES ('https://lists.example/ads.txt')");
    zip(&[
        ("etc/pihole/pihole.toml", SETTINGS.as_bytes()),
        ("etc/pihole/gravity.db", &database),
        ("etc/pihole/pihole-FTL.db", b"not looked at"),
        ("etc/hosts", b"127.0.0.1 localhost\n10.0.0.3 printer.example\n"),
    ])
}

fn archive_of_5() -> Vec<u8> {
    tar_gz(&[
        ("setupVars.conf", b"PIHOLE_DNS_1=9.9.9.9\n"),
        (
            "adlist.json",
            br#"[{"id":1,"address":"https://lists.example/ads.txt","enabled":1,"comment":null}]"#,
        ),
        ("adlist_by_group.json", br#"[{"adlist_id":1,"group_id":0},{"adlist_id":1,"group_id":1}]"#),
        ("blacklist.exact.json", br#"[{"id":7,"domain":"ads.example","enabled":1,"comment":"x"}]"#),
        ("whitelist.regex.json", br#"[{"id":8,"domain":"^good","enabled":true}]"#),
        (
            "domainlist_by_group.json",
            br#"[{"domainlist_id":7,"group_id":0},{"domainlist_id":8,"group_id":1}]"#,
        ),
        ("group.json", br#"[{"id":0,"enabled":1,"name":"Default"},{"id":1,"enabled":1,"name":"kids"}]"#),
        ("client.json", br#"[{"id":1,"ip":"10.0.0.9","comment":"tablet"}]"#),
        ("client_by_group.json", br#"[{"client_id":1,"group_id":1}]"#),
        ("custom.list", b"10.0.0.2 nas.example\n"),
        ("dnsmasq.d/05-pihole-custom-cname.conf", b"cname=www.example,nas.example\n"),
    ])
}

fn read(bytes: &[u8]) -> Result<Import, ImportError> {
    pihole(&Files::unpack("backup", bytes)?, None)
}

#[test]
fn archives_of_both_kinds_are_read() {
    let config = checked(&read(&archive()).unwrap(), "/etc/secd/lists");
    for part in ["https://lists.example/ads.txt", "\"nas.example\" = [\"10.0.0.2\"]", "\"printer.example\""] {
        assert!(config.contains(part), "{part}: {config}");
    }
    assert!(!config.contains("localhost"), "{config}");
    let import = read(&archive_of_5()).unwrap();
    let config = checked(&import, "/etc/secd/lists");
    for part in [
        "groups = [\"default\", \"kids\"]",
        "[dns.clients.tablet]\nwho = [\"10.0.0.9\"]\ngroups = [\"kids\"]",
        "\"www.example\" = [\"CNAME nas.example\"]",
    ] {
        assert!(config.contains(part), "{part}: {config}");
    }
    let own: String = import.settings.own_lists().iter().map(|list| list.text.as_str()).collect();
    assert!(own.contains("|ads.example^$important\n") && own.contains("@@/^good/$important\n"), "{own}");
}

#[test]
fn no_beginning_of_an_archive_is_taken_for_one() {
    for archive in [archive(), archive_of_5()] {
        for length in (0..archive.len()).step_by(1 + archive.len() / 400) {
            let error = read(&archive[..length]).unwrap_err();
            assert!(error.file.starts_with("backup") && !error.help.is_empty(), "{length}: {error}");
        }
    }
}

#[test]
fn an_archive_without_a_part_is_half_a_backup() {
    let error = read(&zip(&[("etc/pihole/pihole.toml", SETTINGS.as_bytes())])).unwrap_err();
    assert!(error.message.contains("gravity.db is missing"), "{error}");
    let error = read(&zip(&[("etc/pihole/gravity.db", &database(""))])).unwrap_err();
    assert!(error.message.contains("pihole.toml"), "{error}");
    let error = read(&zip(&[("README", b"hello")])).unwrap_err();
    assert!(error.message.contains("nothing of Pi-hole"), "{error}");
}

#[test]
fn bombs_are_refused_by_their_size() {
    // 17 MB of text, a few kilobytes as an archive.
    let long = vec![b'#'; limits::MAX_TEXT_BYTES + 1];
    let bomb = zip(&[("etc/pihole/pihole.toml", &long)]);
    assert!(bomb.len() < 100_000);
    let error = read(&bomb).unwrap_err();
    assert!(error.message.contains("more than"), "{error}");
    let error = read(&tar_gz(&[("setupVars.conf", &long)])).unwrap_err();
    assert!(error.message.contains("more than"), "{error}");
    // Parts that are not looked at count as well.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let mut header = tar::Header::new_ustar();
    header.set_path("pihole-FTL.db").unwrap();
    header.set_size(limits::MAX_UNPACKED_BYTES + 1);
    header.set_mode(0o644);
    header.set_cksum();
    encoder.write_all(header.as_bytes()).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..=limits::MAX_UNPACKED_BYTES >> 20 {
        encoder.write_all(&zeros).unwrap();
    }
    let error = read(&encoder.finish().unwrap()).unwrap_err();
    assert!(error.message.contains("unpacked it has more than"), "{error}");
    let many: Vec<(String, &[u8])> = (0..=limits::MAX_MEMBERS).map(|n| (n.to_string(), &b""[..])).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect();
    for archive in [zip(&many), tar_gz(&many)] {
        let error = read(&archive).unwrap_err();
        assert!(error.message.contains("files"), "{error}");
    }
}

#[test]
fn a_file_that_stands_twice_is_told() {
    let error = read(&tar_gz(&[("setupVars.conf", b""), ("old/setupVars.conf", b"")])).unwrap_err();
    assert!(error.message.contains("twice"), "{error}");
}

#[test]
fn what_is_no_archive_is_told() {
    for bytes in [&b""[..], b"hello", b"Rar!\x1a\x07", b"SQLite format 3\0", b"PK\x03\x04", b"\x1f\x8b"] {
        let error = read(bytes).unwrap_err();
        assert!(!error.message.is_empty() && !error.help.is_empty(), "{error}");
    }
}

#[test]
fn a_database_that_is_none_or_damaged_is_told() {
    let gravity = |bytes: &[u8]| Gravity::read("gravity.db", bytes, bytes.len());
    for bytes in [&b""[..], b"hello", b"SQLite format 3\0", &[0; 4096]] {
        assert!(gravity(bytes).unwrap_err().message.contains("no SQLite database"));
    }
    let whole = database("INSERT INTO adlist (address) VALUES ('https://lists.example/ads.txt')");
    assert!(gravity(&whole).is_ok());
    // As Pi-hole's own engine leaves it where it keeps a journal.
    let mut journaled = whole.clone();
    journaled[18..20].copy_from_slice(&[2, 2]);
    assert!(gravity(&journaled).is_ok());
    for pages in 1..whole.len() / 4096 {
        let error = gravity(&whole[..pages * 4096]).unwrap_err();
        assert!(!error.help.is_empty(), "{error}");
    }
    let error = Gravity::read("gravity.db", &whole[..], limits::MAX_DATABASE_BYTES + 1).unwrap_err();
    assert!(error.message.contains("more than"), "{error}");
}

#[test]
fn a_table_with_too_many_rows_is_refused() {
    let sql = format!(
        "DROP TRIGGER new_client; WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {})
         INSERT INTO client (ip) SELECT i FROM n",
        limits::MAX_ROWS
    );
    let bytes = database(&sql);
    let error = Gravity::read("gravity.db", bytes.as_slice(), bytes.len()).unwrap_err();
    assert!(error.message.contains("rows"), "{error}");
}

/// Cells may share their pages in a database that was made to: what is read is more than the file.
#[test]
fn a_table_with_too_many_bytes_is_refused() {
    let sql = format!(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {})
         INSERT INTO client (ip, comment) SELECT i, printf('%.*c', 1000000, 'x') FROM n",
        limits::MAX_TABLE_BYTES / 1_000_000
    );
    let bytes = database(&sql);
    let error = Gravity::read("gravity.db", bytes.as_slice(), bytes.len()).unwrap_err();
    assert!(error.message.contains("`client` have more than"), "{error}");
}

/// Far more of everything than a config may have: what is over is told, and none of it takes time by its square.
#[test]
fn much_of_everything_is_cut_and_told() {
    const MUCH: usize = 15_000;
    let many = |line: &dyn Fn(usize) -> String| (0..MUCH).map(line).collect::<String>();
    let address = |n: usize| format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255);
    let text = format!(
        "dns:\n  upstream_dns:\n{}{}  bootstrap_dns:\n{}filtering:\n  rewrites:\n{}filters:\n{}user_rules:\n{}clients:\n  persistent:\n{}",
        many(&|n| format!("  - {}\n", address(n))),
        many(&|n| format!("  - '[/n{n}.example/]{}'\n", address(n))),
        many(&|n| format!("  - {}\n", address(n))),
        many(&|n| format!(
            "  - {{domain: a.example, answer: {}}}\n  - {{domain: n{n}.example, answer: A}}\n",
            address(n)
        )),
        many(&|n| format!("- {{url: 'https://lists.example/{n}.txt', name: same}}\n")),
        many(&|n| format!("- '||n{n}.example^$client=same|n{n}'\n")),
        many(&|n| format!(
            "  - {{name: same, ids: [{}], use_global_blocked_services: false, blocked_services: {{ids: [x{n}, youtube]}}}}\n",
            address(n)
        )),
    );
    let import = adguard("AdGuardHome.yaml", text.as_bytes()).unwrap();
    let count =
        |kind: &str| import.report.taken.iter().find(|taken| taken.kind == kind).map(|taken| taken.count);
    assert_eq!(count("upstreams"), Some(limits::MAX_SERVERS));
    assert_eq!(count("bootstrap servers"), Some(limits::MAX_SERVERS));
    assert_eq!(count("conditional forwards"), Some(limits::MAX_FORWARDS));
    assert_eq!(count("block lists"), Some(limits::MAX_LISTS));
    assert_eq!(count("clients"), Some(limits::MAX_CLIENTS));
    assert_eq!(import.report.left.len(), limits::MAX_TOLD + 1);
    checked(&import, "/etc/secd/lists");
    let mut files = Files::new("backup");
    let lines: String = many(&|n| format!("{} n{n}\n", address(n)));
    files.add("hosts".into(), lines.into_bytes());
    files.add("pihole.toml".into(), b"[dns]\ndomain = \"lan\"\nexpandHosts = true\n".to_vec());
    let lines =
        many(&|n| format!("server=/n{n}.example/{}\nserver={}\nunknown={n}\n", address(n), address(n)));
    files.add("dnsmasq.d/99-own.conf".into(), lines.into_bytes());
    let sql = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MUCH})
         INSERT INTO client (ip, comment) SELECT 'host' || i, 'same' FROM n;
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MUCH})
         INSERT INTO domainlist (type, domain) SELECT 1, 'n' || i || '.example' FROM n"
    );
    let bytes = database(&sql);
    let gravity = Gravity::read("gravity.db", bytes.as_slice(), bytes.len()).unwrap();
    let import = pihole(&files, Some(gravity)).unwrap();
    assert_eq!(import.report.translated.len(), limits::MAX_TOLD + 1);
    let own: usize = import.settings.own_lists().iter().map(|list| list.text.lines().count()).sum();
    assert_eq!(own, MUCH + 1);
    checked(&import, "/etc/secd/lists");
}

/// Each set of groups needs a file of its own; there are 128 of seven groups.
#[test]
fn rules_for_more_sets_of_groups_than_files_are_told() {
    let bytes = database(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 7)
         INSERT INTO \"group\" (id, name) SELECT i, 'g' || i FROM n;
         WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 127)
         INSERT INTO domainlist (id, type, domain) SELECT i + 1, 1, 'n' || i || '.example' FROM n;
         INSERT INTO domainlist_by_group (domainlist_id, group_id)
            SELECT domainlist.id, \"group\".id FROM domainlist, \"group\"
            WHERE \"group\".id > 0 AND ((domainlist.id - 1) >> (\"group\".id - 1)) & 1",
    );
    let gravity = Gravity::read("gravity.db", bytes.as_slice(), bytes.len()).unwrap();
    let mut files = Files::new("backup");
    files.add("pihole.toml".into(), Vec::new());
    let import = pihole(&files, Some(gravity)).unwrap();
    let own = import.settings.own_lists();
    assert_eq!(own.len(), limits::MAX_OWN_FILES);
    assert!(own.iter().any(|list| list.text.contains("n0.example")), "the rules for everybody are there");
    let told = import.report.left.iter().filter(|left| left.why.contains("different sets of groups")).count();
    assert_eq!(told, 128 - limits::MAX_OWN_FILES);
    let taken = import.report.taken.iter().find(|taken| taken.kind == "denied names").unwrap().count;
    assert_eq!(taken, limits::MAX_OWN_FILES);
    checked(&import, "/etc/secd/lists");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_archive_with_changed_bytes_is_read_or_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        of_5: bool,
    ) {
        let mut bytes = if of_5 { archive_of_5() } else { archive() };
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Err(error) = read(&bytes) {
            prop_assert!(!error.help.is_empty());
        }
    }

    #[test]
    fn a_database_with_changed_bytes_is_read_or_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..16),
    ) {
        let mut bytes = database("INSERT INTO client (ip) VALUES ('10.0.0.9'), ('10.0.0.10')");
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Err(error) = Gravity::read("gravity.db", bytes.as_slice(), bytes.len()) {
            prop_assert!(!error.help.is_empty());
        }
    }

    #[test]
    fn any_yaml_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let text = [b"dns: {}\n".as_slice(), bytes.as_slice()].concat();
        if let Err(error) = adguard("AdGuardHome.yaml", &text) {
            prop_assert!(!error.help.is_empty());
        }
    }

    #[test]
    fn what_people_call_things_never_breaks_the_config(
        name in "\\PC{0,40}|[\u{0}-\u{7f}]{0,40}",
        comment in "\\PC{0,60}|[\u{0}-\u{1f}\"'#\\\\\\]\\[]{0,60}",
        rule in "[!-~]{0,30}",
    ) {
        let quoted = |text: &str| text.replace('\'', "''");
        let sql = format!(
            "INSERT OR IGNORE INTO \"group\" (id, name, description) VALUES (1, '{0}', '{1}');
             INSERT INTO adlist (address, comment) VALUES ('https://lists.example/ads.txt', '{1}');
             INSERT INTO client (ip, comment) VALUES ('10.0.0.9', '{0}'), ('{2}', '{1}');
             INSERT INTO domainlist (type, domain, comment) VALUES (0, '{2}', '{1}'), (1, '{2}', '{1}'),
                (2, '{2}', '{0}'), (3, '{2}', '{1}');
             UPDATE domainlist_by_group SET group_id = (SELECT max(id) FROM \"group\")",
            quoted(&name).replace('\0', ""), quoted(&comment).replace('\0', ""), quoted(&rule)
        );
        let bytes = database(&sql);
        let gravity = Gravity::read("gravity.db", bytes.as_slice(), bytes.len()).unwrap();
        let mut files = Files::new("backup");
        files.add("pihole.toml".into(), SETTINGS.into());
        checked(&pihole(&files, Some(gravity)).unwrap(), "/etc/secd/lists");
    }
}
