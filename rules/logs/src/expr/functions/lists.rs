//! Functions on lists and maps.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::super::limits::{MAX_DEPTH, MAX_LIST, MAX_TEXT};
use super::super::run::item;
use super::{Function, Problem, Value, argument, list, pure, text, whole, wrong};

pub(super) const FUNCTIONS: &[Function] = &[
    pure("len", 1, 1, length),
    pure("first", 1, 1, |arguments| Ok(list(arguments, 0)?.first().cloned().unwrap_or_default())),
    pure("last", 1, 1, |arguments| Ok(list(arguments, 0)?.last().cloned().unwrap_or_default())),
    pure("get", 2, 2, |arguments| {
        Ok(item(argument(arguments, 0), argument(arguments, 1)).unwrap_or_default())
    }),
    pure("Get", 2, 2, |arguments| {
        let (values, place) = (list(arguments, 0)?, whole(arguments, 1)?);
        let place = usize::try_from(place).map_err(|_| wrong(arguments, 1, "a positive number"))?;
        Ok(values.get(place).cloned().unwrap_or_else(|| Value::text("")))
    }),
    pure("take", 2, 2, |arguments| {
        let (values, count) = (list(arguments, 0)?, whole(arguments, 1)?);
        let count = usize::try_from(count).map_err(|_| wrong(arguments, 1, "a positive number"))?;
        Ok(values.iter().take(count).cloned().collect())
    }),
    pure("reverse", 1, 1, |arguments| Ok(list(arguments, 0)?.iter().rev().cloned().collect())),
    pure("sort", 1, 2, |arguments| {
        let mut keyed: Vec<(Value, Value)> =
            list(arguments, 0)?.iter().map(|value| (value.clone(), Value::Nil)).collect();
        sort_by(&mut keyed, descending(arguments.get(1))?)?;
        Ok(keyed.into_iter().map(|(value, _)| value).collect())
    }),
    pure("uniq", 1, 1, |arguments| distinct(list(arguments, 0)?)),
    pure("Distinct", 1, 1, |arguments| match argument(arguments, 0) {
        Value::List(values) => distinct(values),
        _ => Ok(Value::Nil),
    }),
    pure("flatten", 1, 1, |arguments| flatten(list(arguments, 0)?)),
    pure("Flatten", 1, usize::MAX, flatten),
    pure("FlattenDistinct", 1, usize::MAX, |arguments| match flatten(arguments)? {
        Value::List(values) => distinct(&values),
        other => Ok(other),
    }),
    pure("concat", 1, usize::MAX, |arguments| {
        let mut all = Vec::new();
        for place in 0..arguments.len() {
            all.extend(list(arguments, place)?.iter().cloned());
            if all.len() > MAX_LIST {
                return Err(Problem::fixed("a list gets too long"));
            }
        }
        Ok(Value::list(all))
    }),
    pure("keys", 1, 1, |arguments| {
        Ok(pairs(arguments)?.into_iter().map(|(key, _)| Value::Text(key)).collect())
    }),
    pure("values", 1, 1, |arguments| Ok(pairs(arguments)?.into_iter().map(|(_, value)| value).collect())),
    pure("toPairs", 1, 1, |arguments| {
        let pairs = pairs(arguments)?.into_iter();
        Ok(pairs.map(|(key, value)| Value::list(vec![Value::Text(key), value])).collect())
    }),
    pure("fromPairs", 1, 1, |arguments| {
        let mut map = BTreeMap::new();
        for pair in list(arguments, 0)?.iter() {
            let pair = match pair {
                Value::List(pair) if pair.len() == 2 => pair,
                _ => return Err(wrong(arguments, 0, "a list of pairs")),
            };
            map.insert(Arc::from(pair[0].to_string()), pair[1].clone());
        }
        Ok(Value::Map(Arc::new(map)))
    }),
    pure("KeyExists", 2, 2, |arguments| {
        let key = text(arguments, 0)?;
        match argument(arguments, 1) {
            Value::Map(map) => Ok(Value::Bool(map.contains_key(key))),
            Value::Texts(map) => Ok(Value::Bool(map.contains_key(key))),
            Value::Object(object) => Ok(Value::Bool(object.contains(key))),
            _ => Err(wrong(arguments, 1, "a map")),
        }
    }),
];

/// Of a text the number of characters.
fn length(arguments: &[Value]) -> Result<Value, Problem> {
    let length = match argument(arguments, 0) {
        Value::Text(text) => Some(text.chars().count()),
        Value::List(values) => Some(values.len()),
        Value::Map(map) => Some(map.len()),
        Value::Texts(map) => Some(map.len()),
        Value::Object(object) => object.length(),
        Value::Nil
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Float(_)
        | Value::Time(_)
        | Value::Duration(_) => None,
    };
    let length = length.ok_or_else(|| wrong(arguments, 0, "anything with a length"))?;
    Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX)))
}

fn pairs(arguments: &[Value]) -> Result<Vec<(Arc<str>, Value)>, Problem> {
    match argument(arguments, 0) {
        Value::Map(map) => Ok(map.iter().map(|(key, value)| (key.clone(), value.clone())).collect()),
        Value::Texts(map) => {
            Ok(map.iter().map(|(key, value)| (key.clone(), Value::Text(value.clone()))).collect())
        }
        _ => Err(wrong(arguments, 0, "a map")),
    }
}

/// Each value once, where it stands first.
fn distinct(values: &[Value]) -> Result<Value, Problem> {
    let (mut seen, mut kept, mut size) = (HashSet::new(), Vec::new(), 0);
    for value in values {
        let written = value.to_string();
        size += written.len();
        if size > 4 * MAX_TEXT {
            return Err(Problem::fixed("a list holds too much to tell its elements apart"));
        }
        if seen.insert((value.kind(), written)) {
            kept.push(value.clone());
        }
    }
    Ok(Value::list(kept))
}

fn flatten(values: &[Value]) -> Result<Value, Problem> {
    let mut out = Vec::new();
    flatten_into(values, &mut out, MAX_DEPTH)?;
    Ok(Value::list(out))
}

fn flatten_into(values: &[Value], out: &mut Vec<Value>, depth: usize) -> Result<(), Problem> {
    for value in values {
        match value {
            Value::List(inner) if depth > 0 => flatten_into(inner, out, depth - 1)?,
            other => out.push(other.clone()),
        }
        if out.len() > MAX_LIST || depth == 0 {
            return Err(Problem::fixed("a list gets too long or too deep"));
        }
    }
    Ok(())
}

/// Whether the order that was asked for is `"desc"`.
pub(in super::super) fn descending(order: Option<&Value>) -> Result<bool, Problem> {
    match order.map(|order| order.as_text().unwrap_or("")) {
        None | Some("asc") => Ok(false),
        Some("desc") => Ok(true),
        Some(_) => Err(Problem::fixed("an order is \"asc\" or \"desc\"")),
    }
}

/// Sorts by the first of each pair; what is equal stays in its order.
pub(in super::super) fn sort_by(keyed: &mut [(Value, Value)], descending: bool) -> Result<(), Problem> {
    let comparable = keyed.windows(2).all(|pair| pair[0].0.order(&pair[1].0).is_some());
    if !comparable {
        return Err(Problem::fixed("values of different kinds cannot be sorted"));
    }
    keyed.sort_by(|left, right| {
        let order = left.0.order(&right.0).unwrap_or(Ordering::Equal);
        if descending { order.reverse() } else { order }
    });
    Ok(())
}
