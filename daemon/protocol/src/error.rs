//! Failures, as both sides see them.

use model::Span;
use serde::{Deserialize, Serialize};

/// The body of every reply whose HTTP status is not 2xx: `{"error":{"message":…,"help":…}}`.
///
/// Statuses in use: 400 the request makes no sense, 404 no such thing, 409 refused because of what is in force (a
/// protected address), 413 too long, 422 the config file is bad, 426 other API version, 503 not ready or not stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReply {
    /// What went wrong.
    pub error: ErrorBody,
}

/// What went wrong and what to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong, a sentence without a full stop.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// Errors in the config file, for `reload`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
}

impl ErrorReply {
    /// An error with what to do about it.
    #[must_use]
    pub fn new(message: impl Into<String>, help: Option<&str>) -> Self {
        Self {
            error: ErrorBody { message: message.into(), help: help.map(str::to_owned), problems: Vec::new() },
        }
    }

    /// An error in a config file, all of it.
    #[must_use]
    pub fn with_problems(mut self, problems: Vec<Problem>) -> Self {
        self.error.problems = problems;
        self
    }
}

/// One error in a file that a person wrote, as `secctl check -o json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The file as it was named.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What to write.
    pub help: Option<String>,
}

impl Problem {
    /// A problem at `span`.
    #[must_use]
    pub fn at(span: &Span, message: impl Into<String>, help: Option<String>) -> Self {
        Self { file: span.file.clone(), line: span.line, column: span.column, message: message.into(), help }
    }
}
