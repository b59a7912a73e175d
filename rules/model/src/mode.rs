//! How people start: look first, then enforce.

use serde::{Deserialize, Serialize};

/// Whether a verdict is carried out. Observe judges, counts and explains, and drops nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Judge, count and explain; drop nothing.
    Observe,
    /// Carry verdicts out.
    #[default]
    Enforce,
}

impl Mode {
    /// A part enforces only when the whole does.
    #[must_use]
    pub fn and(self, part: Self) -> Self {
        if self == Self::Enforce { part } else { Self::Observe }
    }
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Observe => "observe",
            Self::Enforce => "enforce",
        })
    }
}
