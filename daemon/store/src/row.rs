//! Rows to decisions and back. Enums are stored as the words they have in JSON.

use model::{Decision, Evidence, Origin, Timestamp};
use serde::{Serialize, de::DeserializeOwned};
use sqlx::{FromRow, sqlite::SqliteRow};
use std::path::Path;

use crate::{Ended, EndedHow, MAX_EVIDENCE_BYTES, MAX_NAME, Result, StoreError, Stored};

/// A row of `decisions`.
#[derive(Debug, FromRow)]
pub(crate) struct Row {
    seq: i64,
    kind: String,
    target: String,
    direction: String,
    mode: String,
    since: i64,
    until: Option<i64>,
    origin_kind: String,
    origin_name: String,
    origin_at: Option<String>,
    evidence: String,
    ended_seq: Option<i64>,
    ended_at: Option<i64>,
    ended_how: Option<String>,
    ended_by: Option<String>,
}

impl Row {
    /// Reads a row.
    pub(crate) fn read(path: &Path, row: &SqliteRow) -> Result<Stored> {
        let row =
            Self::from_row(row).map_err(|error| StoreError::from_sqlx(path, "read a decision", error))?;
        let seq = row.seq;
        row.into_stored().map_err(|detail| StoreError::Row { path: path.to_owned(), seq, detail })
    }

    fn into_stored(self) -> std::result::Result<Stored, String> {
        let ended = match (self.ended_seq, self.ended_at, self.ended_how) {
            (Some(seq), Some(at), Some(how)) => Some(Ended {
                seq: seq.cast_unsigned(),
                at: Timestamp(at),
                how: from_word::<EndedHow>(&how)?,
                by: self.ended_by.unwrap_or_default(),
            }),
            (None, _, _) => None,
            (Some(_), _, _) => return Err("ended, but not when or how".into()),
        };
        Ok(Stored {
            decision: Decision {
                id: self.seq.cast_unsigned(),
                kind: from_word(&self.kind)?,
                target: self.target.parse().map_err(|error: model::TargetError| error.to_string())?,
                direction: from_word(&self.direction)?,
                mode: from_word(&self.mode)?,
                since: Timestamp(self.since),
                until: self.until.map(Timestamp),
                origin: Origin {
                    kind: from_word(&self.origin_kind)?,
                    name: self.origin_name,
                    at: self.origin_at,
                },
                evidence: serde_json::from_str(&self.evidence).map_err(|error| error.to_string())?,
            },
            ended,
        })
    }
}

/// The word an enum has in JSON.
pub(crate) fn word<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(error) => error.to_string(),
    }
}

/// The enum of a word.
pub(crate) fn from_word<T: DeserializeOwned>(word: &str) -> std::result::Result<T, String> {
    serde_json::from_value(word.into()).map_err(|error| error.to_string())
}

/// The newest evidence that fits, as JSON.
pub(crate) fn evidence_text(evidence: &[Evidence]) -> String {
    let newest = &evidence[evidence.len().saturating_sub(Evidence::MAX_PIECES)..];
    (0..=newest.len())
        .filter_map(|skipped| serde_json::to_string(&newest[skipped..]).ok())
        .find(|text| text.len() <= MAX_EVIDENCE_BYTES)
        .unwrap_or_else(|| "[]".into())
}

/// Refuses texts that are longer than is kept.
pub(crate) fn check_length(what: &'static str, text: &str) -> Result<()> {
    if text.len() > MAX_NAME { Err(StoreError::TooLong { what, limit: MAX_NAME }) } else { Ok(()) }
}
