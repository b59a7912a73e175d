//! Lines written to a real file become bans, with the built-in filters, over a restart as well.
#![allow(clippy::unwrap_used, reason = "a test ends where its own world cannot be built")]

mod common;

use common::{Run, Tables, start, until};
use folders::Dialects;
use logs::Library;
use secd::logs::Pipeline;
use std::{fs::OpenOptions, io::Write as _, path::Path, sync::Arc};

fn configured(folder: &Path) -> config::Config {
    let text = format!(
        "[zones.wan]\ninterface = 'wan0'\nwan = true\n[[logs]]\nname = 'sshd'\npath = '{}'\nfilter = 'sshd'\n",
        folder.join("auth.log").display()
    );
    config::parse("secd.toml", &text).unwrap()
}

async fn pipeline(run: &Run, config: &config::Config) -> Pipeline {
    let library = Library::builtin();
    let dialects = Arc::new(Dialects::read(config));
    let (decisions, tell) = (Arc::clone(&run.decisions), Arc::clone(&run.tell));
    Pipeline::start(config, (&library, &dialects), &run.store, decisions, tell).await.unwrap()
}

/// A failed login as OpenSSH writes it, now.
fn failed(from: &str) -> String {
    let now = jiff_now();
    format!("{now} gate sshd[4242]: Failed password for root from {from} port 51234 ssh2\n")
}

fn jiff_now() -> String {
    model::Timestamp(secd::clock::now().wall.0).to_string()
}

fn write(folder: &Path, lines: &[String]) {
    let mut file = OpenOptions::new().create(true).append(true).open(folder.join("auth.log")).unwrap();
    for line in lines {
        file.write_all(line.as_bytes()).unwrap();
    }
}

#[tokio::test]
async fn failed_logins_become_a_ban_and_a_restart_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let config = configured(folder.path());
    write(folder.path(), &vec![failed("203.0.113.99"); 20]);
    let run = start(folder.path(), Tables::default()).await;
    let logs = pipeline(&run, &config).await;
    write(folder.path(), &vec![failed("198.51.100.7"); 20]);
    until("the ban", async || !run.tables.banned().is_empty()).await;
    assert_eq!(run.tables.banned(), ["198.51.100.7/32"], "what was there before the first start is not read");
    until("all lines are judged", async || logs.states().await[0].matched == 20).await;
    logs.stop().await;
    logs.save(&run.store).await.unwrap();
    let kept = run.store.offsets().await.unwrap();
    assert_eq!(kept[0].offset, std::fs::metadata(folder.path().join("auth.log")).unwrap().len());

    write(folder.path(), &vec![failed("2001:db8:1:2::3"); 20]);
    let again = pipeline(&run, &config).await;
    until("the second ban", async || run.tables.banned().len() == 2).await;
    assert!(
        run.tables.banned().iter().any(|net| net.starts_with("2001:db8:1:2::/64")),
        "{:?}",
        run.tables.banned()
    );
    assert_eq!(again.states().await[0].source.lines, 20, "written while nobody read, and nothing twice");
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jail_counts_on_over_a_reload_that_leaves_it_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let put = |file: &str, text: &str| {
        let file = path.join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    };
    let jail = format!(
        "[door]\nenabled = true\nfilter = door\nmaxretry = 3\nlogpath = {}\n",
        path.join("auth.log").display()
    );
    put("f/jail.conf", &jail);
    put("f/filter.d/door.conf", "[Definition]\nfailregex = Failed password for \\S+ from <HOST> port\n");
    let text = format!(
        "[zones.wan]\ninterface = 'wan0'\nwan = true\n[fail2ban]\nfolder = '{}'\n",
        path.join("f").display()
    );
    let config = config::parse("secd.toml", &text).unwrap();
    write(path, &[]);
    let run = start(path, Tables::default()).await;
    let logs = pipeline(&run, &config).await;
    assert_eq!(logs.problems(), None);
    write(path, &vec![failed("198.51.100.7"); 2]);
    until("two failures", async || logs.tallies()[0].failures == Some(2)).await;

    // Another jail that is wrong, and the same one as before.
    put("f/jail.d/more.conf", "[wrong]\nenabled = true\nfilter = none\nlogpath = /x\n");
    let dialects = Arc::new(Dialects::read(&config));
    logs.update(&config, &Library::builtin(), &dialects).await.unwrap();
    assert!(logs.problems().unwrap().contains("more.conf"), "{:?}", logs.problems());
    assert!(run.tables.banned().is_empty());
    write(path, &[failed("198.51.100.7")]);
    until("the ban", async || !run.tables.banned().is_empty()).await;
    assert_eq!(run.tables.banned(), ["198.51.100.7/32"]);

    // Nothing has changed: nothing is forgotten.
    write(path, &vec![failed("198.51.100.8"); 2]);
    until("two more", async || logs.tallies()[0].failures == Some(5)).await;
    logs.update(&config, &Library::builtin(), &dialects).await.unwrap();
    write(path, &[failed("198.51.100.8")]);
    until("the second ban", async || run.tables.banned().len() == 2).await;
    logs.stop().await;
}
