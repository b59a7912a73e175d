//! The expression language of CrowdSec's files: [expr-lang](https://expr-lang.org/docs/language-definition) and the
//! helper functions CrowdSec adds to it.
//!
//! A [`Program`] is compiled once and run often. What it talks about (the event, a bucket, an alert) comes from a
//! [`Scope`], so that the language knows none of these, no clock and no file. Whatever the text, a run is bounded by
//! [`limits`].
//!
//! ```
//! use logs::expr::{Program, Scope, Time, Value};
//! use std::sync::Arc;
//!
//! struct Event;
//! impl Scope for Event {
//!     fn path(&self, path: &[Arc<str>]) -> Option<(Value, usize)> {
//!         let names: Vec<&str> = path.iter().map(AsRef::as_ref).collect();
//!         match names.as_slice() {
//!             ["evt", "Meta", "http_status", ..] => Some((Value::text("404"), 3)),
//!             _ => None,
//!         }
//!     }
//!     fn now(&self) -> Time {
//!         Time::zero()
//!     }
//! }
//!
//! let program = Program::compile("evt.Meta.http_status in ['404', '403']").unwrap();
//! assert!(program.holds(&mut Event).unwrap());
//! ```

mod check;
mod functions;
mod lexer;
pub mod limits;
mod pattern;
mod run;
mod syntax;
mod time;
mod value;

use std::borrow::Cow;
use std::sync::Arc;

pub use time::Time;
pub use value::{Object, Value};

use check::Node;

/// What an expression sees.
pub trait Scope {
    /// Follows a path such as `["evt", "Parsed", "program"]` as far as this scope knows it: the value, and how many
    /// names of the path it stands for (at least one; the language follows the rest). `None` = no such root.
    ///
    /// What a missing key is, is decided here: [`Value::text("")`](Value::text) in a map of texts, [`Value::Nil`]
    /// elsewhere.
    fn path(&self, path: &[Arc<str>]) -> Option<(Value, usize)>;

    /// Calls a function that needs more than its arguments (`File`, `GetFromStash`, …); `None` = not mine.
    fn call(&mut self, function: &str, arguments: &[Value]) -> Option<Result<Value, Problem>> {
        let _ = (function, arguments);
        None
    }

    /// Calls a method of what stands at a path, such as `evt.SetMeta("a", "b")`; `None` = not mine, and the language
    /// asks the value that is there.
    fn call_method(
        &mut self,
        path: &[Arc<str>],
        method: &str,
        arguments: &[Value],
    ) -> Option<Result<Value, Problem>> {
        let _ = (path, method, arguments);
        None
    }

    /// Stores what `UnmarshalJSON` and `ParseKV` have read under a key of the map at a path, such as `evt.Unmarshaled`.
    ///
    /// # Errors
    /// If nothing may be stored there.
    fn store(&mut self, path: &[Arc<str>], key: &str, value: Value) -> Result<(), Problem> {
        let _ = (key, value);
        Err(Problem::new(format!("nothing can be stored in `{}`", path.join("."))))
    }

    /// What time it is, for `now()` and `TimeNow()`.
    fn now(&self) -> Time;
}

/// An expression, compiled.
#[derive(Clone, Debug)]
pub struct Program {
    text: Arc<str>,
    node: Arc<Node>,
    variables: usize,
    facts: Arc<Facts>,
}

/// What a program talks about.
#[derive(Debug, Default)]
struct Facts {
    functions: Vec<Arc<str>>,
    paths: Vec<Box<[Arc<str>]>>,
}

impl Program {
    /// Reads and checks an expression.
    ///
    /// # Errors
    /// What is wrong with it, where, and what to write.
    pub fn compile(text: &str) -> Result<Self, Mistake> {
        let compiled = check::check(&syntax::parse(text)?)?;
        Ok(Self {
            text: Arc::from(text),
            node: Arc::new(compiled.node),
            variables: compiled.variables,
            facts: Arc::new(Facts { functions: compiled.functions, paths: compiled.paths }),
        })
    }

    /// The value of the expression.
    ///
    /// # Errors
    /// If something is asked of a value that it cannot do (a field of nil, `"a" - 1`), or a run costs too much.
    pub fn run(&self, scope: &mut dyn Scope) -> Result<Value, Problem> {
        run::run(&self.node, self.variables, scope)
    }

    /// Whether the expression is true.
    ///
    /// # Errors
    /// As [`Program::run`], and if the value is neither true nor false.
    pub fn holds(&self, scope: &mut dyn Scope) -> Result<bool, Problem> {
        match self.run(scope)? {
            Value::Bool(holds) => Ok(holds),
            other => Err(Problem::new(format!("the expression is {}, neither true nor false", other.kind()))),
        }
    }

    /// The text it was compiled from.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The functions that the [`Scope`] is asked for, each once, so that what it does not know can be refused when it is
    /// loaded.
    pub fn functions(&self) -> impl Iterator<Item = &str> {
        self.facts.functions.iter().map(AsRef::as_ref)
    }

    /// The paths that the [`Scope`] is asked for, each once; the first name is the root.
    pub fn paths(&self) -> impl Iterator<Item = &[Arc<str>]> {
        self.facts.paths.iter().map(AsRef::as_ref)
    }
}

/// Whether the language has a function of this name itself, that is, without asking the [`Scope`].
#[must_use]
pub fn knows(function: &str) -> bool {
    functions::find(function).is_some()
}

/// What is wrong with the text of an expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}; {help}")]
pub struct Mistake {
    /// Where, in bytes from the start of the expression.
    pub offset: usize,
    /// What is wrong.
    pub message: String,
    /// What to write.
    pub help: String,
}

impl Mistake {
    fn new(offset: usize, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { offset, message: message.into(), help: help.into() }
    }

    /// Line and column (in characters), both from 1, in the text of the expression.
    #[must_use]
    pub fn place(&self, text: &str) -> (usize, usize) {
        let before = text.get(..self.offset).unwrap_or(text);
        let line = before.rsplit('\n').next().unwrap_or("");
        (before.matches('\n').count() + 1, line.chars().count() + 1)
    }
}

/// Why a run has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Problem(Cow<'static, str>);

impl Problem {
    /// A problem with its description.
    #[must_use]
    pub fn new(message: String) -> Self {
        Self(Cow::Owned(message))
    }

    /// A problem that is always described alike; costs no allocation.
    #[must_use]
    pub const fn fixed(message: &'static str) -> Self {
        Self(Cow::Borrowed(message))
    }
}
