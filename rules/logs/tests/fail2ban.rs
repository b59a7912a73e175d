//! Fail2ban's own filters and sample lines: every filter loads as it is, and every line is judged as its authors want it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use logs::fail2ban::{Filter, Jails, Texts, samples};

fn corpora() -> PathBuf {
    std::env::var_os("SECD_CORPORA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora"),
        PathBuf::from,
    )
}

/// Files of a folder by name.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(folder) else { return BTreeMap::new() };
    let files = entries.flatten().filter(|entry| entry.path().is_file());
    files
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect()
}

fn filters(test: &str, folder: &Path) -> Option<Texts> {
    let mut texts = Texts::new();
    let found = files(folder);
    if found.is_empty() {
        eprintln!("SKIP: {test}: no {}", folder.display());
        return None;
    }
    for (name, bytes) in found {
        texts.add(&format!("filter.d/{name}"), bytes);
    }
    Some(texts)
}

/// Loads every filter; how many.
fn load(texts: &Texts) -> usize {
    let names: Vec<String> =
        texts.within("filter.d/", ".conf").map(|path| path.trim_end_matches(".conf").to_owned()).collect();
    let (mut slow, mut all, mut loaded) = (0, 0, 0);
    for name in names.iter().filter(|name| !name.ends_with("common")) {
        let filter =
            Filter::read(texts, name, &BTreeMap::new()).unwrap_or_else(|errors| panic!("{errors:#?}"));
        let (backtracking, regexes) = filter.backtracking();
        (slow, all, loaded) = (slow + backtracking, all + regexes, loaded + 1);
    }
    println!("{loaded} filters, {all} regexes, {slow} of them need backtracking");
    loaded
}

/// Judges every sample of every filter; how many lines.
fn judge(texts: &Texts, logs: &BTreeMap<String, Vec<u8>>) -> usize {
    let (mut passed, mut failed, mut wanted) = (0, Vec::new(), 0);
    for (name, bytes) in logs {
        wanted += String::from_utf8_lossy(bytes).matches("failJSON:").count();
        if texts.has(&format!("filter.d/{name}.conf")) {
            let report = samples::run(texts, "filter.d/", name, logs);
            passed += report.passed;
            failed.extend(report.failed.into_iter().map(|failed| format!("{failed:?}")));
            failed.extend(report.unsupported.into_iter().map(|unsupported| format!("{unsupported:?}")));
        }
    }
    println!("{passed} of {wanted} lines");
    assert!(failed.is_empty(), "{} of {wanted}:\n{}", failed.len(), failed.join("\n"));
    passed
}

#[test]
fn every_filter_loads_and_every_line_is_judged_as_its_authors_want() {
    let test = "every_filter_loads_and_every_line_is_judged_as_its_authors_want";
    let folder = corpora().join("fail2ban");
    let Some(texts) = filters(test, &folder.join("filter.d")) else { return };
    assert!(load(&texts) >= 19);
    assert_eq!(judge(&texts, &files(&folder.join("logs"))), 590);
}

/// Fail2ban 1.0 as Debian has it, with the samples of its own tests: installed, or unpacked (`dpkg -x`) where
/// `SECD_FAIL2BAN` says.
#[test]
fn debians_filters_and_samples() {
    let root = std::env::var_os("SECD_FAIL2BAN").map_or_else(|| PathBuf::from("/"), PathBuf::from);
    let tests = root.join("usr/lib/python3/dist-packages/fail2ban/tests");
    let Some(mut texts) = filters("debians_filters_and_samples", &root.join("etc/fail2ban/filter.d")) else {
        return;
    };
    // Where the source tree of Fail2ban has it, seen from its tests.
    let common = std::fs::read(root.join("etc/fail2ban/filter.d/common.conf")).unwrap();
    for up in 3..8 {
        texts.add(&format!("{}config/filter.d/common.conf", "../".repeat(up)), common.clone());
    }
    for (name, bytes) in files(&tests.join("config/filter.d")) {
        if name.starts_with("zzz-") {
            texts.add(&format!("filter.d/{name}"), bytes);
        }
    }
    assert!(load(&texts) >= 80);
    assert!(judge(&texts, &files(&tests.join("files/logs"))) >= 1_000);
}

#[test]
fn the_stock_jails_are_read() {
    let Some(mut texts) = filters("the_stock_jails_are_read", &corpora().join("fail2ban/filter.d")) else {
        return;
    };
    for (name, bytes) in files(&corpora().join("fail2ban")) {
        texts.add(&name, bytes);
    }
    texts.add(
        "jail.local",
        b"[sshd]\nenabled = true\nmode = aggressive\n[nginx-http-auth]\nenabled = true\n[recidive]\nenabled = true\n"
            .to_vec(),
    );
    let jails = Jails::read(&texts, "");
    assert_eq!(jails.problems, []);
    let names: Vec<&str> = jails.jails.iter().map(|jail| jail.name.as_str()).collect();
    assert_eq!(names, ["nginx-http-auth", "recidive", "sshd"]);
    assert!(jails.disabled.len() > 50, "{}", jails.disabled.len());
    let sshd = &jails.jails[2];
    assert_eq!(sshd.definition.options["mode"], "aggressive");
    assert_eq!((sshd.max_retry, sshd.find_time.as_secs()), (5, 600));
    assert_eq!(sshd.log_paths, [("/var/log/auth.log".to_owned(), false)]);
    assert!(sshd.compile().unwrap().fail_regexes().count() > 25);
}
