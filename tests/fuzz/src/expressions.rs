//! Expressions of CrowdSec's files, and what they are run on.

use std::sync::Arc;

use logs::expr::{Problem, Program, Scope, Time, Value};

/// What stands behind the expression, as the line and as the event it holds.
struct Event<'t> {
    line: &'t str,
    read: Value,
}

impl Scope for Event<'_> {
    fn path(&self, path: &[Arc<str>]) -> Option<(Value, usize)> {
        match path {
            [evt, unmarshaled, ..] if &**evt == "evt" && &**unmarshaled == "Unmarshaled" => {
                Some((self.read.clone(), 2))
            }
            [evt, _, _, ..] if &**evt == "evt" => Some((Value::text(self.line), 3)),
            [evt, ..] if &**evt == "evt" => Some((Value::Nil, 1)),
            _ => None,
        }
    }

    fn call(&mut self, function: &str, _: &[Value]) -> Option<Result<Value, Problem>> {
        (function == "File").then(|| Ok(Value::texts(self.line.lines())))
    }

    fn store(&mut self, _: &[Arc<str>], _: &str, value: Value) -> Result<(), Problem> {
        self.read = value;
        Ok(())
    }

    fn now(&self) -> Time {
        Time::zero()
    }
}

/// An expression, then (behind a line `%%`) the text it is run on. It has a value or a problem; a mistake stands in the
/// text and comes with help.
pub(crate) fn expression(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let (text, line) = text.split_once("\n%%\n").unwrap_or((text, ""));
    match Program::compile(text) {
        Ok(program) => {
            let read = Program::compile("fromJSON(evt.Line.Raw)").expect("an expression");
            let mut event = Event { line, read: Value::Nil };
            event.read = read.run(&mut event).unwrap_or_default();
            let first = program.run(&mut event).map(|value| value.to_string());
            assert!(
                first.is_err() || !first.is_ok_and(|value| value.len() > 4 * 1024 * 1024),
                "a value without end"
            );
            drop(program.holds(&mut event));
        }
        Err(mistake) => {
            assert!(mistake.offset <= text.len(), "no such place: {mistake:?}");
            let (line, column) = mistake.place(text);
            assert!(line >= 1 && column >= 1);
            assert!(!mistake.message.is_empty() && !mistake.help.is_empty(), "{mistake:?}");
        }
    }
}
