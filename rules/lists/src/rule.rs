//! An entry of a list as its line says it, whatever the language.

use ipnet::IpNet;
use model::Name;
use serde::{Deserialize, Serialize};

use crate::{answer::Record, asked::Condition, set::DomainKind};

/// What one entry says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Rule {
    pub(crate) kind: DomainKind,
    pub(crate) pattern: Pattern,
    /// It goes before those that are not.
    pub(crate) important: bool,
    /// It takes back the rule that reads the same.
    pub(crate) takes_back: bool,
    pub(crate) action: Action,
    /// Most entries have none.
    pub(crate) condition: Option<Box<Condition>>,
}

/// What an entry is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Pattern {
    /// A name, what is below it, or both.
    Name(Name, Shape),
    /// Names of which an expression says so.
    Regex(Expression),
    /// Answers with an address of a network.
    Address(IpNet),
}

/// An expression over names in the syntax of `regex-syntax`, and as the file writes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Expression {
    pub(crate) regex: Box<str>,
    pub(crate) written: Box<str>,
    /// It speaks about the names that do not match.
    pub(crate) invert: bool,
}

/// Which names an entry with a name is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Shape {
    /// The name alone.
    Exact,
    /// Everything below it.
    Below,
    /// Both.
    Whole,
}

/// What becomes of the answer; see [`crate::Effect`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    Block,
    NxDomain,
    NoData,
    Refused,
    Drop,
    TcpOnly,
    Answer(Vec<Record>),
}

impl Rule {
    /// A rule without any condition.
    pub(crate) fn plain(kind: DomainKind, name: Name, shape: Shape) -> Self {
        Self::of(kind, Pattern::Name(name, shape))
    }

    pub(crate) fn of(kind: DomainKind, pattern: Pattern) -> Self {
        Self { kind, pattern, important: false, takes_back: false, action: Action::Block, condition: None }
    }

    /// Whether the set keeps more of it than name and flags.
    pub(crate) fn has_extra(&self) -> bool {
        self.condition.is_some() || matches!(self.action, Action::Answer(_))
    }
}

/// What an entry says, without the name: as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Says {
    pub(crate) line: u32,
    pub(crate) list: u16,
    pub(crate) flags: u8,
}

/// What few entries have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Extra {
    pub(crate) condition: Condition,
    pub(crate) records: Vec<Record>,
}

pub(crate) const ALLOW: u8 = 1;
pub(crate) const EXACT: u8 = 2;
pub(crate) const BELOW: u8 = 4;
pub(crate) const IMPORTANT: u8 = 8;
pub(crate) const EXTRA: u8 = 16;
/// The last three bits: the action.
pub(crate) const ACTION: u32 = 5;
pub(crate) const BLOCK: u8 = 0;
pub(crate) const NXDOMAIN: u8 = 1;
pub(crate) const NODATA: u8 = 2;
pub(crate) const REFUSED: u8 = 3;
pub(crate) const DROP: u8 = 4;
pub(crate) const TCP_ONLY: u8 = 5;
pub(crate) const ANSWER: u8 = 6;

impl Shape {
    pub(crate) fn flags(self) -> u8 {
        match self {
            Self::Exact => EXACT,
            Self::Below => BELOW,
            Self::Whole => EXACT | BELOW,
        }
    }
}

impl Rule {
    pub(crate) fn flags(&self) -> u8 {
        let kind = match self.kind {
            DomainKind::Allow => ALLOW,
            DomainKind::Block => 0,
        };
        let shape = match self.pattern {
            Pattern::Name(_, shape) => shape.flags(),
            Pattern::Regex(_) | Pattern::Address(_) => EXACT,
        };
        let action = match self.action {
            Action::Block => BLOCK,
            Action::NxDomain => NXDOMAIN,
            Action::NoData => NODATA,
            Action::Refused => REFUSED,
            Action::Drop => DROP,
            Action::TcpOnly => TCP_ONLY,
            Action::Answer(_) => ANSWER,
        };
        kind | shape
            | if self.important { IMPORTANT } else { 0 }
            | if self.has_extra() { EXTRA } else { 0 }
            | action << ACTION
    }

    pub(crate) fn extra(&self) -> Option<Extra> {
        if !self.has_extra() {
            return None;
        }
        let records = match &self.action {
            Action::Answer(records) => records.clone(),
            Action::Block
            | Action::NxDomain
            | Action::NoData
            | Action::Refused
            | Action::Drop
            | Action::TcpOnly => Vec::new(),
        };
        Some(Extra { condition: self.condition.as_deref().cloned().unwrap_or_default(), records })
    }
}

impl Says {
    pub(crate) fn is(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(crate) fn action(self) -> u8 {
        self.flags >> ACTION
    }
}
