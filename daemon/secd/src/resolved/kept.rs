//! What was answered, on disk: for the time after the machine's restart.

use model::Timestamp;
use resolver::limits::CLOCK_SET_FROM;
use serde::{Deserialize, Serialize};
use std::{
    fs,
    io::{self, Read as _},
    net::IpAddr,
    path::Path,
    time::Duration,
};

use super::GRACE;
use crate::trial::durable;

/// Bytes of a file that is read. One of as many entries as there can be has half of that.
pub(super) const MAX_FILE: u64 = 32 * 1024 * 1024;
/// What the file is and in which format.
const FORMAT: &str = "secd resolved 1";

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptAnswer {
    /// The zone it was answered to.
    pub zone: String,
    /// The address.
    pub address: IpAddr,
    /// Seconds for which flows may still be opened there.
    pub seconds: u64,
    /// Names it was answered for.
    pub names: Vec<String>,
    /// Bits of the patterns of all of them.
    pub patterns: u64,
}

/// What is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptAnswers {
    /// Entries.
    pub answers: Vec<KeptAnswer>,
    /// Patterns of names by their bits.
    pub patterns: Vec<Option<String>>,
}

/// The whole of it, with absolute times: the machine may be off for a while.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    format: String,
    patterns: Vec<Option<String>>,
    answers: Vec<Line>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    zone: String,
    address: IpAddr,
    until: Timestamp,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    patterns: u64,
}

/// Reads what was kept; what is over by now is left out. No file is nothing kept. While the machine's clock has not been
/// set, nobody knows what is over: then nothing lasts longer than [`GRACE`].
///
/// # Errors
/// The file cannot be read, is too large or is not what was written.
pub fn read(file: &Path, now: Timestamp) -> io::Result<KeptAnswers> {
    let mut text = Vec::new();
    match fs::File::open(file) {
        Ok(opened) => opened.take(MAX_FILE + 1).read_to_end(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(KeptAnswers::default()),
        Err(error) => return Err(error),
    };
    if text.len() as u64 > MAX_FILE {
        return Err(io::Error::other(format!("it has more than {MAX_FILE} bytes")));
    }
    let kept: Kept = serde_json::from_slice(&text).map_err(io::Error::other)?;
    if kept.format != FORMAT {
        return Err(io::Error::other(format!("it is not `{FORMAT}`")));
    }
    let is_set = now.since(Timestamp::from_seconds(0)).as_secs() >= CLOCK_SET_FROM;
    let most = if is_set { u64::MAX } else { GRACE.as_secs() };
    let answer = |line: Line| KeptAnswer {
        zone: line.zone,
        address: line.address,
        seconds: line.until.since(now).as_secs().min(most),
        names: line.names,
        patterns: line.patterns,
    };
    let answers = kept.answers.into_iter().take(abi::MAX_RESOLVED as usize).map(answer);
    Ok(KeptAnswers {
        answers: answers.filter(|answer| answer.seconds > 0).collect(),
        patterns: kept.patterns,
    })
}

/// Keeps it, durably: the file is the former one or this one whole.
///
/// # Errors
/// The file cannot be written.
pub fn write(file: &Path, kept: KeptAnswers, now: Timestamp) -> io::Result<()> {
    let line = |answer: KeptAnswer| Line {
        zone: answer.zone,
        address: answer.address,
        until: now.plus(Duration::from_secs(answer.seconds)),
        names: answer.names,
        patterns: answer.patterns,
    };
    let answers = kept.answers.into_iter().map(line).collect();
    let kept = Kept { format: FORMAT.to_owned(), patterns: kept.patterns, answers };
    durable(file, serde_json::to_vec(&kept).map_err(io::Error::other)?, None)
}
