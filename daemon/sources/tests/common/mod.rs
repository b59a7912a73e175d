//! Sources under test, with deadlines in place of sleeping.
#![allow(dead_code, reason = "not every test needs all of it")]

use std::collections::HashMap;
use std::process::Command;
use std::time::Duration;

use sources::{Handle, Line, Notice, Position, SourceConfig, SourceKind, Sources, Status};
use tokio::sync::mpsc::{self, Receiver};
use tokio::time::timeout;

pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) struct Bench {
    pub(crate) handle: Handle,
    pub lines: Receiver<Line>,
    pub notices: Receiver<Notice>,
}

pub(crate) fn source(name: &str, kind: SourceKind) -> SourceConfig {
    SourceConfig { name: name.into(), kind }
}

impl Bench {
    pub(crate) fn start(configs: Vec<SourceConfig>, room: usize, known: HashMap<String, Position>) -> Self {
        let (sender, lines) = mpsc::channel(room);
        let (notice, notices) = mpsc::channel(64);
        let handle = Sources::start(configs, known, sender, notice).unwrap();
        Self { handle, lines, notices }
    }

    pub(crate) async fn line(&mut self) -> Line {
        match timeout(DEADLINE, self.lines.recv()).await {
            Ok(line) => line.expect("closed"),
            Err(_) => panic!("no line came: {:?}", self.handle.status()),
        }
    }

    /// The next line's text.
    pub(crate) async fn text(&mut self) -> String {
        String::from_utf8(self.line().await.bytes).unwrap()
    }

    /// Waits for a notice that holds this.
    pub(crate) async fn notice(&mut self, part: &str) -> String {
        loop {
            let notice = timeout(DEADLINE, self.notices.recv()).await;
            let notice =
                notice.unwrap_or_else(|_| panic!("no notice of {part:?}: {:?}", self.handle.status()));
            let message = notice.unwrap().message;
            if message.contains(part) {
                return message;
            }
        }
    }

    /// Waits until the status of the first source is so.
    pub(crate) async fn until(&self, what: impl Fn(&Status) -> bool) {
        let wait = async {
            while !what(&self.handle.status()[0]) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(DEADLINE, wait).await.unwrap_or_else(|_| panic!("stayed {:?}", self.handle.status()));
    }
}

/// The program, unless it is not installed: then the test says so.
pub(crate) fn program(test: &str, path: &str) -> Option<Command> {
    let found = if path.contains('/') {
        std::path::Path::new(path).exists()
    } else {
        std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
            .any(|folder| folder.join(path).exists())
    };
    if !found {
        println!("SKIP: {test}: {path} is not installed");
    }
    found.then(|| Command::new(path))
}
