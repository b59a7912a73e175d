//! The second wall: the same policy in nftables, stateful, behind XDP. One own table, replaced in one transaction,
//! read back and compared with its own read-back, since nft prints rules differently over versions.

mod command;
mod render;

pub use command::{MAX_OUTPUT, NftError};
pub use render::{TABLE, render, render_removal};

use nftables::schema::Nftables;
use policy::Policy;
use serde_json::Value;
use std::{path::PathBuf, time::Duration};

/// How long one run of nft may take.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// The table `inet secd`, as it should be and as it was last read back.
#[derive(Debug)]
pub struct Wall {
    program: PathBuf,
    deadline: Duration,
    /// What the kernel said after the last apply.
    applied: Option<Value>,
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
    /// `rule 3`, `default`, `invalid`; with ` observed` behind it where a denial was only observed.
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
        Self { program: program.into(), deadline, applied: None }
    }

    /// Puts the policy in force in one transaction and remembers how the kernel prints it. Counters start at zero.
    ///
    /// # Errors
    /// [`NftError`]; the table is as it was before, unless only the read-back failed.
    pub fn apply(&mut self, policy: &Policy) -> Result<(), NftError> {
        self.transact(&render(policy))?;
        self.applied = None;
        self.applied = self.list()?.map(comparable);
        if self.applied.is_none() {
            return Err(NftError::Unreadable { message: format!("no table {TABLE} after it was added") });
        }
        Ok(())
    }

    /// Compares the kernel's table with what was applied.
    ///
    /// # Errors
    /// [`NftError`] where it cannot be read.
    pub fn check(&self) -> Result<WallState, NftError> {
        Ok(match (self.list()?.map(comparable), &self.applied) {
            (None, _) => WallState::Missing,
            (Some(_), None) => WallState::Unknown,
            (Some(now), Some(applied)) if now == *applied => WallState::Same,
            (Some(_), Some(_)) => WallState::Changed,
        })
    }

    /// Counters of every rule that has a comment, in the order of the table; empty where there is no table.
    ///
    /// # Errors
    /// [`NftError`] where it cannot be read.
    pub fn counters(&self) -> Result<Vec<WallCounter>, NftError> {
        let Some(listed) = self.list()? else { return Ok(Vec::new()) };
        let objects = listed["nftables"].as_array().map_or(&[][..], Vec::as_slice);
        Ok(objects.iter().filter_map(|object| counter_of(&object["rule"])).collect())
    }

    /// Takes the table away, if it is there.
    ///
    /// # Errors
    /// [`NftError`].
    pub fn remove(&mut self) -> Result<(), NftError> {
        self.transact(&render_removal())?;
        self.applied = None;
        Ok(())
    }

    fn transact(&self, ruleset: &Nftables<'_>) -> Result<(), NftError> {
        let input = serde_json::to_vec(ruleset)
            .map_err(|error| NftError::Unreadable { message: error.to_string() })?;
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

fn counter_of(rule: &Value) -> Option<WallCounter> {
    let counter = rule["expr"].as_array()?.iter().find_map(|statement| statement.get("counter"))?;
    Some(WallCounter {
        chain: rule["chain"].as_str()?.to_owned(),
        comment: rule["comment"].as_str()?.to_owned(),
        packets: counter["packets"].as_u64()?,
        bytes: counter["bytes"].as_u64()?,
    })
}

/// A read-back without what changes by itself: handles, counted packets, the order of set elements, nft's version.
fn comparable(listed: Value) -> Value {
    match listed {
        Value::Array(items) => Value::Array(items.into_iter().map(comparable).collect()),
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(key, _)| key != "handle" && key != "metainfo");
            Value::Object(
                kept.map(|(key, value)| match key.as_str() {
                    "counter" => (key, Value::Null),
                    "set" => (key, sorted(comparable(value))),
                    _ => (key, comparable(value)),
                })
                .collect(),
            )
        }
        other => other,
    }
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Array(mut items) => {
            items.sort_by_cached_key(ToString::to_string);
            Value::Array(items)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests;
