//! What the command writes for shells and readers, and the program itself.

use std::process::{Command, Output};

fn secctl(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_secctl")).args(words).env_remove("COLUMNS").output().unwrap()
}

#[test]
fn the_program_has_the_documented_exit_codes() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("no.sock");
    assert_eq!(secctl(&["--help"]).status.code(), Some(0));
    assert_eq!(secctl(&["status", "--socket", missing.to_str().unwrap()]).status.code(), Some(3));
    for wrong in [vec![], vec!["frobnicate"], vec!["ban", "192.0.2"], vec!["why"]] {
        let ran = secctl(&wrong);
        assert_eq!(ran.status.code(), Some(2), "{wrong:?}");
        assert!(!ran.stderr.is_empty() && ran.stdout.is_empty(), "{wrong:?}");
    }
}

#[test]
fn completions_name_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = secctl(&["completions", shell]);
        let script = String::from_utf8(ran.stdout).unwrap();
        for command in secctl::command().get_subcommands() {
            assert!(script.contains(command.get_name()), "{shell}: {}", command.get_name());
        }
    }
    let script = secctl(&["completions", "bash"]).stdout;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secctl.bash");
    std::fs::write(&file, script).unwrap();
    let read = format!("source {} && complete -p secctl", file.display());
    let ran = Command::new("bash").args(["--norc", "-c", &read]).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn there_is_a_manual_page_for_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man/man1");
    assert!(secctl(&["man", pages.to_str().unwrap()]).status.success());
    assert!(std::fs::read_to_string(pages.join("secctl.1")).unwrap().contains(".TH secctl 1"));
    for command in secctl::command().get_subcommands() {
        let page = std::fs::read_to_string(pages.join(format!("secctl-{}.1", command.get_name()))).unwrap();
        assert!(page.contains(".SH SYNOPSIS"), "{page}");
    }
    let ran = secctl(&["man", "/proc/no/such"]);
    assert_eq!(ran.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("cannot write manual pages to /proc/no/such"));
}

#[test]
fn check_reads_the_filters_of_the_users_own() {
    let folder = tempfile::tempdir().unwrap();
    let filters = folder.path().join("filters");
    std::fs::create_dir(&filters).unwrap();
    let filter = filters.join("app.toml");
    let config = folder.path().join("secd.toml");
    let wan = "[zones.wan]\ninterface = 'wan0'\nwan = true\n";
    let log = "[[logs]]\nname = 'app'\npath = '/var/log/app.log'\nfilter = 'app'\n";
    std::fs::write(&config, format!("filters_dir = '{}'\n{wan}{log}", filters.display())).unwrap();
    let check = || secctl(&["check", config.to_str().unwrap()]);
    let unknown = String::from_utf8(check().stdout).unwrap();
    assert!(unknown.contains("secd.toml:8:"), "{unknown}");
    std::fs::write(&filter, "[[filter]]\nname = 3\n").unwrap();
    let wrong = check();
    let shown = String::from_utf8(wrong.stdout).unwrap();
    assert_eq!(wrong.status.code(), Some(1));
    assert!(shown.contains(&format!("{}:", filter.display())) && shown.contains("[[filter]]"), "{shown}");
    assert!(!shown.contains("there is no filter"), "its file is there: {shown}");
}
