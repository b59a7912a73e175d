//! The lab as a whole, and the steps that are played in it.

use crate::appliance::Appliance;
use crate::bring::Own;
use crate::config::{self, ECHO_PORT, Settings};
use crate::lists::Lists;
use crate::namespace;
use crate::network::{self, DMZ, Network, SERVICES, WAN};
use crate::probe::Echo;
use crate::programs::Programs;
use crate::receiver::Receiver;
use crate::steps;
use crate::wait::Waiter;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Everything that runs, in the order in which it has to go away.
#[derive(Debug)]
pub struct Lab {
    /// secd and secctl.
    pub appliance: Appliance,
    /// The Loki receiver.
    pub receiver: Receiver,
    /// Echo servers in the DMZ and outside.
    pub echoes: Vec<Echo>,
    /// The real programs.
    pub programs: Programs,
    /// Namespaces and links.
    pub network: Network,
    /// What the config says.
    pub settings: Settings,
    /// What people brought.
    pub own: Own,
    /// To wait with.
    pub waiter: Waiter,
    /// What a time over its goal means. Told only, unless set otherwise.
    pub goals: Goals,
    directory: TempDir,
}

/// What it means when a measured time is over its goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goals {
    /// The step does not hold: for the demo of what is shipped.
    Binding,
    /// It is told: for tests, on machines that are busy with other things.
    Told,
}

/// What a step expected and what was seen.
#[derive(Clone, Debug)]
pub struct Step {
    /// What it is about.
    pub name: String,
    /// What should be.
    pub expected: String,
    /// What was.
    pub seen: String,
    /// Whether that is the same.
    pub ok: bool,
    /// How long it was played.
    pub took: Duration,
}

impl Step {
    /// `{name, expected, seen, ok}`.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({ "name": self.name, "expected": self.expected, "seen": self.seen, "ok": self.ok })
    }
}

impl Lab {
    /// A lab without lists for the test of this name; none where labs cannot run, which is told as `SKIP`.
    ///
    /// # Panics
    /// It does not start: the test fails.
    #[must_use]
    pub fn for_test(name: &str) -> Option<Self> {
        if let Some(why) = crate::cannot_run() {
            eprintln!("SKIP: lab::{name}: {why}");
            return None;
        }
        match Self::start(Waiter::default(), false, Own::default()) {
            Ok(lab) => Some(lab),
            Err(error) => panic!("{error:#}"),
        }
    }

    /// Changes the config and has it put in force.
    ///
    /// # Panics
    /// It cannot be written or is refused: the test fails.
    pub fn reload_with(&self, change: impl FnOnce(String) -> String) {
        let config = &self.appliance.config;
        let written = fs::read_to_string(config).and_then(|text| fs::write(config, change(text)));
        let reply = written.map_err(anyhow::Error::from).and_then(|()| self.appliance.ask(&["reload"]));
        match reply {
            Ok(reply) => assert_eq!(reply.code, 0, "{}", reply.text),
            Err(error) => panic!("{error:#}"),
        }
    }

    /// Starts everything, with the lists or without them (which is quicker).
    ///
    /// # Errors
    /// What does not start, with its own last words.
    pub fn start(waiter: Waiter, with_lists: bool, own: Own) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix(&namespace::own_prefix())
            .tempdir()
            .context("no temporary folder")?;
        let path = directory.path();
        let network = Network::build(network::next_number())?;
        let programs = Programs::start(&network, path, &waiter)?;
        let echoes = vec![
            Echo::start(network.host(DMZ)?, socket(DMZ.host4, ECHO_PORT)?)?,
            Echo::start(network.host(WAN)?, socket(WAN.host4, ECHO_PORT)?)?,
        ];
        let receiver =
            Receiver::start(network.host(SERVICES)?, socket(SERVICES.host4, 3100)?, path, &waiter)?;
        let rules = path.join("lab.rules");
        std::fs::write(&rules, config::log4shell_rule())?;
        let own_log = path.join("yours.log");
        std::fs::write(&own_log, "")?;
        let settings = Settings {
            lists: with_lists.then(|| Lists::prepare(&workspace(), path)).transpose()?,
            auth_log: programs.auth_log.clone(),
            access_log: programs.access_log.clone(),
            loki: receiver.url(),
            signatures: [Some(rules), own.rules.clone()].into_iter().flatten().collect(),
            more: own.config(&own_log),
        };
        settings.write(&path.join("secd.toml"))?;
        let appliance = Appliance::start(&network.router, path, &waiter)?;
        Ok(Self {
            appliance,
            receiver,
            echoes,
            programs,
            network,
            settings,
            own,
            waiter,
            goals: Goals::Told,
            directory,
        })
    }

    /// The folder with configs, state and logs of this lab.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Keeps the folder when the lab goes away, to be looked at.
    pub fn keep_directory(&mut self) {
        self.directory.disable_cleanup(true);
    }
}

/// Plays all steps; `tell` sees each as it is done.
pub fn play(lab: &mut Lab, mut tell: impl FnMut(&Step)) -> Vec<Step> {
    let mut played = Vec::new();
    for plan in steps::all(&lab.own) {
        if lab.waiter.stopped() {
            break;
        }
        let begun = Instant::now();
        let (seen, ok) = match (plan.act)(lab) {
            Ok(seen) => (seen.text, seen.ok),
            Err(error) => (format!("{error:#}"), false),
        };
        let step =
            Step { name: plan.name.into(), expected: plan.expected.into(), seen, ok, took: begun.elapsed() };
        tell(&step);
        played.push(step);
    }
    played
}

/// `address:port`.
pub(crate) fn socket(address: &str, port: u16) -> Result<SocketAddr> {
    Ok(SocketAddr::new(address.parse()?, port))
}

/// The workspace: `$SECD_WORKSPACE`, or where this crate was built.
fn workspace() -> PathBuf {
    std::env::var_os("SECD_WORKSPACE")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."), PathBuf::from)
}
