//! The functions that need nothing but their arguments (and the time): those of expr-lang (small letters) and those of
//! CrowdSec (capitals). What they do is described at <https://expr-lang.org/docs/language-definition> and
//! <https://docs.crowdsec.net/docs/expr/intro>.

mod addresses;
mod format;
mod json;
mod lists;
mod numbers;
mod store;
mod texts;
mod times;
mod uris;
mod xml;

use std::sync::Arc;

pub(super) use lists::{descending, sort_by};
pub(super) use store::Read;

use super::{Problem, Time, Value};

/// A function.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) name: &'static str,
    /// Fewest and most arguments.
    pub(super) least: usize,
    pub(super) most: usize,
    pub(super) work: Work,
}

/// What a function does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Work {
    /// Depends on its arguments only.
    Pure(fn(&[Value]) -> Result<Value, Problem>),
    /// Depends on the time, too.
    Now(fn(&[Value], Time) -> Result<Value, Problem>),
}

impl Function {
    /// Whether its value is always the same for the same arguments.
    pub(super) fn is_pure(&self) -> bool {
        matches!(self.work, Work::Pure(_))
    }
}

/// The function of this name.
pub(super) fn find(name: &str) -> Option<&'static Function> {
    let tables = [
        texts::FUNCTIONS,
        lists::FUNCTIONS,
        numbers::FUNCTIONS,
        json::FUNCTIONS,
        xml::FUNCTIONS,
        addresses::FUNCTIONS,
        uris::FUNCTIONS,
        times::FUNCTIONS,
        format::FUNCTIONS,
    ];
    tables.into_iter().flatten().find(|function| function.name == name)
}

const fn pure(
    name: &'static str,
    least: usize,
    most: usize,
    work: fn(&[Value]) -> Result<Value, Problem>,
) -> Function {
    Function { name, least, most, work: Work::Pure(work) }
}

fn argument(arguments: &[Value], place: usize) -> &Value {
    arguments.get(place).unwrap_or(&Value::Nil)
}

fn wrong(arguments: &[Value], place: usize, wanted: &str) -> Problem {
    Problem::new(format!("argument {} is {}, not {wanted}", place + 1, argument(arguments, place).kind()))
}

fn text(arguments: &[Value], place: usize) -> Result<&Arc<str>, Problem> {
    match argument(arguments, place) {
        Value::Text(text) => Ok(text),
        _ => Err(wrong(arguments, place, "a text")),
    }
}

fn list(arguments: &[Value], place: usize) -> Result<&Arc<[Value]>, Problem> {
    match argument(arguments, place) {
        Value::List(list) => Ok(list),
        _ => Err(wrong(arguments, place, "a list")),
    }
}

fn whole(arguments: &[Value], place: usize) -> Result<i64, Problem> {
    super::run::whole(argument(arguments, place)).map_err(|_| wrong(arguments, place, "a number"))
}

fn float(arguments: &[Value], place: usize) -> Result<f64, Problem> {
    argument(arguments, place).as_number().ok_or_else(|| wrong(arguments, place, "a number"))
}
