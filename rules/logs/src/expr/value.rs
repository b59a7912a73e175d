//! What expressions compute with, and how values compare and are written, as in Go.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::Arc;

use super::Problem;
use super::limits::{MAX_DEPTH, MAX_STEPS, MAX_TEXT};
use super::time::Time;
use crate::go::{self, number::put};

/// A value. Cheap to clone: nothing larger than a pointer and a length is copied.
#[derive(Clone, Debug, Default)]
pub enum Value {
    /// `nil`: nothing, also what is missing in a map of anything.
    #[default]
    Nil,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number; overflow wraps, as in Go.
    Int(i64),
    /// Any other number; every number of a JSON text.
    Float(f64),
    /// Text.
    Text(Arc<str>),
    /// A list.
    List(Arc<[Value]>),
    /// A map of anything; what is missing reads as [`Value::Nil`].
    Map(Arc<BTreeMap<Arc<str>, Value>>),
    /// A map of texts (Go's `map[string]string`); what is missing reads as an empty text.
    Texts(Arc<BTreeMap<Arc<str>, Arc<str>>>),
    /// A point in time.
    Time(Time),
    /// Nanoseconds.
    Duration(i64),
    /// A thing with fields and methods of its own.
    Object(Arc<dyn Object>),
}

/// Things with fields and methods that the language does not know itself: the event, an alert, an entry of a queue.
pub trait Object: Debug + Send + Sync {
    /// What it is, for messages and `type()`.
    fn kind(&self) -> &'static str {
        "object"
    }

    /// The value of a field; `None` = it has no such field.
    fn field(&self, name: &str) -> Option<Value>;

    /// Calls a method; `None` = it has no such method.
    fn call(&self, name: &str, arguments: &[Value]) -> Option<Result<Value, Problem>> {
        let _ = (name, arguments);
        None
    }

    /// Whether `name in it` holds.
    fn contains(&self, name: &str) -> bool {
        self.field(name).is_some()
    }

    /// What `len(it)` is; `None` = it has no length.
    fn length(&self) -> Option<usize> {
        None
    }

    /// How `%v` writes it; `None` = by its kind.
    fn text(&self) -> Option<String> {
        None
    }
}

impl Value {
    /// A text.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::Text(Arc::from(text))
    }

    /// A list.
    #[must_use]
    pub fn list(values: Vec<Self>) -> Self {
        Self::List(Arc::from(values))
    }

    /// A list of texts.
    pub fn texts<'t>(texts: impl IntoIterator<Item = &'t str>) -> Self {
        Self::List(texts.into_iter().map(Self::text).collect())
    }

    /// What kind of value it is, in the words of `type()`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Text(_) => "string",
            Self::List(_) => "array",
            Self::Map(_) | Self::Texts(_) => "map",
            Self::Time(_) => "time.Time",
            Self::Duration(_) => "time.Duration",
            Self::Object(object) => object.kind(),
        }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is one.
    #[must_use]
    pub fn as_number(&self) -> Option<f64> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "as Go's float64(int)")]
            Self::Int(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            _ => None,
        }
    }

    /// The value of a field or of a key of a map.
    ///
    /// # Errors
    /// If it has no fields, or not this one.
    pub fn field(&self, name: &str) -> Result<Self, Problem> {
        match self {
            Self::Map(map) => Ok(map.get(name).cloned().unwrap_or_default()),
            Self::Texts(map) => {
                Ok(map.get(name).map_or_else(|| Self::text(""), |text| Self::Text(text.clone())))
            }
            Self::Object(object) => object
                .field(name)
                .ok_or_else(|| Problem::new(format!("there is no `{name}` in {}", object.kind()))),
            other => Err(Problem::new(format!("there is no `{name}` in {}", other.kind()))),
        }
    }

    /// Whether two values are the same to `==`: numbers by value whatever their kind, lists and maps by what they hold,
    /// times by the instant. Values of different kinds differ; nothing equals a NaN.
    #[must_use]
    pub fn equals(&self, other: &Self) -> bool {
        self.equals_within(other, MAX_DEPTH, &mut { MAX_STEPS })
    }

    fn equals_within(&self, other: &Self, depth: usize, steps: &mut u32) -> bool {
        *steps = steps.saturating_sub(1);
        let Some(depth) = depth.checked_sub(1).filter(|_| *steps > 0) else { return false };
        match (self, other) {
            (Self::Nil, Self::Nil) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(a), Self::Int(b)) | (Self::Duration(a), Self::Duration(b)) => a == b,
            #[expect(clippy::float_cmp, reason = "the language compares exactly")]
            (Self::Int(_) | Self::Float(_), Self::Int(_) | Self::Float(_)) => {
                self.as_number().unwrap_or(f64::NAN) == other.as_number().unwrap_or(f64::NAN)
            }
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::List(a), Self::List(b)) => {
                a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| a.equals_within(b, depth, steps))
            }
            (Self::Map(a), Self::Map(b)) => {
                a.len() == b.len()
                    && a.iter().zip(b.iter()).all(|(a, b)| a.0 == b.0 && a.1.equals_within(b.1, depth, steps))
            }
            (Self::Texts(a), Self::Texts(b)) => a == b,
            (Self::Map(map), Self::Texts(texts)) | (Self::Texts(texts), Self::Map(map)) => {
                map.len() == texts.len()
                    && map.iter().zip(texts.iter()).all(|(a, b)| a.0 == b.0 && a.1.as_text() == Some(b.1))
            }
            (Self::Time(a), Self::Time(b)) => a.instant == b.instant,
            (Self::Object(a), Self::Object(b)) => {
                Arc::ptr_eq(a, b)
                    || matches!((a.field(NUMBER), b.field(NUMBER)), (Some(Self::Int(a)), Some(Self::Int(b))) if a == b)
            }
            (Self::Object(a), number @ Self::Int(_)) | (number @ Self::Int(_), Self::Object(a)) => {
                a.field(NUMBER).is_some_and(|own| own.equals_within(number, depth, steps))
            }
            _ => false,
        }
    }

    /// Which comes first, for `<` and `sort`; `None` for what has no order together.
    #[must_use]
    pub fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) | (Self::Duration(a), Self::Duration(b)) => Some(a.cmp(b)),
            (Self::Int(_) | Self::Float(_), Self::Int(_) | Self::Float(_)) => {
                self.as_number()?.partial_cmp(&other.as_number()?)
            }
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            (Self::Time(a), Self::Time(b)) => Some(a.instant.cmp(&b.instant)),
            (Self::Object(a), number @ Self::Int(_)) => a.field(NUMBER)?.order(number),
            (number @ Self::Int(_), Self::Object(a)) => number.order(&a.field(NUMBER)?),
            _ => None,
        }
    }

    /// Appends the value as Go's `%v` writes it: `[a b]`, `map[a:1]`, `<nil>`, `1.5e+06`. What is longer than
    /// [`MAX_TEXT`] or deeper than [`MAX_DEPTH`] ends with `…`.
    pub fn write_to(&self, out: &mut String) {
        self.write_within(out, MAX_DEPTH);
    }

    fn write_within(&self, out: &mut String, depth: usize) {
        let Some(depth) = depth.checked_sub(1).filter(|_| out.len() <= MAX_TEXT) else {
            if !out.ends_with('…') {
                out.push('…');
            }
            return;
        };
        match self {
            Self::Nil => out.push_str("<nil>"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Int(value) => put(out, format_args!("{value}")),
            Self::Float(value) => go::number::write_shortest(*value, out),
            Self::Text(text) => out.push_str(text),
            Self::List(values) => {
                out.push('[');
                for (place, value) in values.iter().enumerate() {
                    out.push_str(if place > 0 { " " } else { "" });
                    value.write_within(out, depth);
                    if out.len() > MAX_TEXT {
                        break;
                    }
                }
                out.push(']');
            }
            Self::Map(map) => {
                out.push_str("map[");
                for (place, (key, value)) in map.iter().enumerate() {
                    out.push_str(if place > 0 { " " } else { "" });
                    out.push_str(key);
                    out.push(':');
                    value.write_within(out, depth);
                    if out.len() > MAX_TEXT {
                        break;
                    }
                }
                out.push(']');
            }
            Self::Texts(map) => {
                out.push_str("map[");
                for (place, (key, value)) in map.iter().enumerate() {
                    let space = if place > 0 { " " } else { "" };
                    put(out, format_args!("{space}{key}:{value}"));
                }
                out.push(']');
            }
            Self::Time(time) => out.push_str(&time.text()),
            Self::Duration(nanoseconds) => go::write_duration(*nanoseconds, out),
            Self::Object(object) => match object.text() {
                Some(text) => out.push_str(&text),
                None => out.push_str(object.kind()),
            },
        }
    }
}

/// A field of objects that stand for a whole number (a weekday, a month) and compare like it.
pub(super) const NUMBER: &str = "#number";

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.equals(other)
    }
}

/// As Go's `%v`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        self.write_to(&mut out);
        f.write_str(&out)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Arc::from(text))
    }
}

impl From<Arc<str>> for Value {
    fn from(text: Arc<str>) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<Time> for Value {
    fn from(value: Time) -> Self {
        Self::Time(value)
    }
}

impl From<Vec<Value>> for Value {
    fn from(values: Vec<Value>) -> Self {
        Self::list(values)
    }
}

impl FromIterator<Value> for Value {
    fn from_iter<I: IntoIterator<Item = Value>>(values: I) -> Self {
        Self::List(values.into_iter().collect())
    }
}
