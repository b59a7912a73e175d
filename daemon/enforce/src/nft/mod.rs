//! The second wall: the same policy in nftables, stateful, behind XDP. One own table, replaced in one transaction,
//! read back and compared with its own read-back, since nft prints rules differently over versions.

mod command;
mod early;
mod nat;
mod pairs;
mod readback;
mod render;
mod resolvers;
mod sides;
mod spans;
mod syntax;
mod transaction;

pub use command::{MAX_OUTPUT, NftError};
pub use early::early;
pub use render::{Options, render};
pub use transaction::{MAX_ELEMENTS, MAX_STATEMENTS, Ruleset, TABLE};

use policy::Policy;
use serde_json::Value;
use std::{path::PathBuf, time::Duration};

use render::render_as;
use transaction::TRIAL;

/// How long one run of nft may take; the largest ruleset takes a few seconds on an idle machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// What is told where a kernel lacks something.
const NO_HELPERS: &str =
    "this kernel has no conntrack helper for FTP or SIP: their further connections need rules of their own";
const NO_PROXY: &str =
    "this kernel has no SYN proxy for nftables: nothing answers a SYN flood for the servers";

/// The table `inet secd`, as it should be and as it was last read back.
#[derive(Debug)]
pub struct Wall {
    program: PathBuf,
    deadline: Duration,
    /// What holds without a time limit, as far as this process knows.
    confirmed: Option<Generation>,
    /// What is on trial in front of it.
    trial: Option<Generation>,
    /// What the kernel said after the last apply.
    applied: Option<Value>,
    notes: Vec<String>,
}

/// A policy and how it was put in force.
#[derive(Clone, Debug)]
struct Generation {
    policy: Policy,
    options: Options,
}

/// How the kernel's table compares with what was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WallState {
    /// As it was applied.
    Same,
    /// Someone changed it.
    Changed,
    /// It is not there.
    Missing,
    /// It is there, and this process has not applied anything yet.
    Unknown,
}

/// A counter of the second wall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WallCounter {
    /// Chain, `forward.iot.storage`.
    pub chain: String,
    /// `rule 3`, `forward 12`, `default`, `invalid`, `isolated`, `quarantine`, `resolvers`, `spoofed`; with ` observed` behind it where a denial
    /// was only observed, with ` limited` for what came too fast.
    pub comment: String,
    /// Packets since the last apply.
    pub packets: u64,
    /// Bytes since the last apply.
    pub bytes: u64,
}

impl Default for Wall {
    fn default() -> Self {
        Self::new("nft", DEADLINE)
    }
}

impl Wall {
    /// A wall that is built by `program` (found by `PATH` if it is a bare name), each run within `deadline`.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>, deadline: Duration) -> Self {
        let program = program.into();
        Self { program, deadline, confirmed: None, trial: None, applied: None, notes: Vec::new() }
    }

    /// Puts the policy in force in one transaction and remembers how the kernel prints it. Counters start at zero, and
    /// a trial is over.
    ///
    /// # Errors
    /// [`NftError`]; the table is as it was before, unless only the read-back failed.
    pub fn apply(&mut self, policy: &Policy) -> Result<(), NftError> {
        self.apply_with(policy, &Options::default())
    }

    /// The same with options: zones under a flood of TCP openings.
    ///
    /// # Errors
    /// [`NftError`]; the table is as it was before, unless only the read-back failed.
    pub fn apply_with(&mut self, policy: &Policy, options: &Options) -> Result<(), NftError> {
        let options = self.with_proven(options)?;
        let options = self.transact(&options, |options| Ok(render(policy, options)?.transaction()))?;
        self.confirmed = Some(Generation { policy: policy.clone(), options });
        self.trial = None;
        self.remember()
    }

    /// Makes the table as [`early`] wrote it down; where there is one already nothing changes. Returns whether it was
    /// made.
    ///
    /// # Errors
    /// [`NftError`]; there is no table then.
    pub fn raise_early(&mut self, transaction: Vec<u8>) -> Result<bool, NftError> {
        if self.list()?.is_some() {
            return Ok(false);
        }
        match self.run(transaction) {
            // The daemon was faster.
            Err(NftError::Refused { message }) if message.contains("File exists") => Ok(false),
            other => other.map(|()| true),
        }
    }

    /// Puts a policy on trial in front of the one that was applied before. After `time` (whole seconds, rounded up) the
    /// kernel goes back to that by itself, whether this process is there or not, unless [`Wall::confirm`] keeps it.
    ///
    /// # Errors
    /// [`NftError`]; the table is as it was before, unless only the read-back failed.
    pub fn apply_until(
        &mut self,
        policy: &Policy,
        options: &Options,
        time: Duration,
    ) -> Result<(), NftError> {
        let Some(former) = self.confirmed.clone() else { return Err(NftError::NothingBefore) };
        let seconds = u32::try_from(time.as_millis().div_ceil(1000)).unwrap_or(u32::MAX).max(1);
        let former = render(&former.policy, &former.options)?;
        let options = self.with_proven(options)?;
        let options = self.transact(&options, |options| {
            let trial = render_as(policy, options, TRIAL)?;
            Ok(former.transaction_with(&trial, seconds))
        })?;
        self.trial = Some(Generation { policy: policy.clone(), options });
        self.remember()
    }

    /// Whether a policy is on trial and its time is not over.
    ///
    /// # Errors
    /// [`NftError`] where it cannot be read.
    pub fn on_trial(&self) -> Result<bool, NftError> {
        Ok(self.list()?.is_some_and(|listed| !readback::trials(&listed, true).is_empty()))
    }

    /// Keeps the policy on trial.
    ///
    /// # Errors
    /// [`NftError::NoTrial`] where its time is over, else [`NftError`] with the table as it was before.
    pub fn confirm(&mut self) -> Result<(), NftError> {
        let Some(trial) = self.trial.clone() else { return Err(NftError::NoTrial) };
        if !self.on_trial()? {
            return Err(NftError::NoTrial);
        }
        self.apply_with(&trial.policy, &trial.options)
    }

    /// Goes back to the policy before the one on trial, also where another process had put it on trial. Nothing happens
    /// if none is.
    ///
    /// # Errors
    /// [`NftError`] with the table as it was before.
    pub fn revert(&mut self) -> Result<(), NftError> {
        self.trial = None;
        if let Some(listed) = self.list()? {
            let trials = readback::trials(&listed, false);
            if !trials.is_empty() {
                self.run(transaction::end_of_trial(&trials))?;
            }
        }
        Ok(())
    }

    /// What the last apply had to leave out, in words.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Compares the kernel's table with what was applied. A trial that goes back by itself is no change.
    ///
    /// # Errors
    /// [`NftError`] where it cannot be read.
    pub fn check(&self) -> Result<WallState, NftError> {
        Ok(match (self.list()?.map(readback::comparable), &self.applied) {
            (None, _) => WallState::Missing,
            (Some(_), None) => WallState::Unknown,
            (Some(now), Some(applied)) if now == *applied => WallState::Same,
            (Some(_), Some(_)) => WallState::Changed,
        })
    }

    /// Counters of every rule that has a comment, in the order of the table; empty where there is no table. While a
    /// policy is on trial, its own.
    ///
    /// # Errors
    /// [`NftError`] where it cannot be read.
    pub fn counters(&self) -> Result<Vec<WallCounter>, NftError> {
        Ok(self.list()?.map(|listed| readback::counters(&listed)).unwrap_or_default())
    }

    /// Takes the table away, if it is there.
    ///
    /// # Errors
    /// [`NftError`].
    pub fn remove(&mut self) -> Result<(), NftError> {
        self.run(transaction::removal())?;
        (self.confirmed, self.trial, self.applied) = (None, None, None);
        Ok(())
    }

    /// The options with what connections need that are there already.
    fn with_proven(&self, options: &Options) -> Result<Options, NftError> {
        let held = match &self.applied {
            Some(applied) => readback::proves(applied),
            None => self.list()?.is_some_and(|listed| readback::proves(&listed)),
        };
        Ok(Options { keeps_proven: options.keeps_proven || held, ..options.clone() })
    }

    /// Carries out what `render` makes of the options; where nft refuses that, without what this kernel may not have.
    /// Returns the options that held.
    fn transact(
        &mut self,
        options: &Options,
        render: impl Fn(&Options) -> Result<Vec<u8>, NftError>,
    ) -> Result<Options, NftError> {
        let whole = render(options)?;
        let refused = match self.run(whole.clone()) {
            Ok(()) => {
                self.notes.clear();
                return Ok(options.clone());
            }
            Err(error @ NftError::Refused { .. }) => error,
            Err(error) => return Err(error),
        };
        for (no_helpers, no_proxy) in [(true, false), (false, true), (true, true)] {
            let less = Options {
                flooded: if no_proxy { Vec::new() } else { options.flooded.clone() },
                keeps_proven: options.keeps_proven && !no_proxy,
                no_helpers: options.no_helpers || no_helpers,
            };
            let lesser = render(&less)?;
            if lesser != whole && self.run(lesser).is_ok() {
                let missing = [(no_helpers, NO_HELPERS), (no_proxy, NO_PROXY)];
                self.notes =
                    missing.iter().filter(|(is, _)| *is).map(|(_, note)| (*note).to_owned()).collect();
                return Ok(less);
            }
        }
        Err(refused)
    }

    fn remember(&mut self) -> Result<(), NftError> {
        self.applied = None;
        self.applied = self.list()?.map(readback::comparable);
        if self.applied.is_none() {
            return Err(NftError::Unreadable { message: format!("no table {TABLE} after it was added") });
        }
        Ok(())
    }

    fn run(&self, input: Vec<u8>) -> Result<(), NftError> {
        command::run(&self.program, &["-j", "-f", "-"], input, self.deadline).map(drop)
    }

    /// The table as nft prints it; none where there is none.
    fn list(&self) -> Result<Option<Value>, NftError> {
        let arguments = ["-j", "list", "table", "inet", TABLE];
        match command::run(&self.program, &arguments, Vec::new(), self.deadline) {
            Ok(output) => serde_json::from_slice(&output)
                .map(Some)
                .map_err(|error| NftError::Unreadable { message: error.to_string() }),
            Err(NftError::Refused { message }) if message.contains("No such file or directory") => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
