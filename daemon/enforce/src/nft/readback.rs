//! What nft prints of the table, read.

use serde_json::Value;

use super::{WallCounter, transaction::TRIAL};

/// Counters of every rule that has a comment. While a trial runs only its own count, under the names of its chains.
pub(super) fn counters(listed: &Value) -> Vec<WallCounter> {
    let on_trial = !trials(listed, true).is_empty();
    let counted = objects(listed).filter_map(|object| counter_of(&object["rule"]));
    let of_generation = |mut counter: WallCounter| {
        let chain = counter.chain.strip_prefix(TRIAL).map(str::to_owned);
        if chain.is_some() != on_trial {
            return None;
        }
        counter.chain = chain.unwrap_or(counter.chain);
        Some(counter)
    };
    counted.filter_map(of_generation).collect()
}

/// Whether a rule answers for servers.
pub(super) fn proves(listed: &Value) -> bool {
    let mut rules = objects(listed).filter_map(|object| object["rule"]["expr"].as_array());
    rules.any(|statements| statements.iter().any(|statement| statement.get("synproxy").is_some()))
}

/// The verdict maps that lead to a generation on trial: all of them, or those that still do.
pub(super) fn trials(listed: &Value, leading: bool) -> Vec<String> {
    let maps = objects(listed).filter_map(|object| object.get("map"));
    let ours = maps.filter(|map| map["name"].as_str().is_some_and(|name| name.starts_with(TRIAL)));
    let leads = |map: &&Value| map["elem"].as_array().is_some_and(|elements| !elements.is_empty());
    ours.filter(|map| !leading || leads(map))
        .filter_map(|map| Some(map["name"].as_str()?.to_owned()))
        .collect()
}

/// A read-back without what changes by itself: handles, counted packets, the order of set elements, elements that come
/// and go with time, nft's version.
pub(super) fn comparable(listed: Value) -> Value {
    match listed {
        Value::Array(items) => Value::Array(items.into_iter().map(comparable).collect()),
        Value::Object(fields) => {
            let timed = fields.get("flags").and_then(Value::as_array);
            let timed =
                timed.is_some_and(|flags| flags.iter().any(|flag| flag == "timeout" || flag == "dynamic"));
            let kept = fields
                .into_iter()
                .filter(|(key, _)| key != "handle" && key != "metainfo" && !(timed && key == "elem"));
            Value::Object(
                kept.map(|(key, value)| match key.as_str() {
                    "counter" => (key, Value::Null),
                    // Of an anonymous set, and of a named one.
                    "set" | "elem" => (key, sorted(comparable(value))),
                    _ => (key, comparable(value)),
                })
                .collect(),
            )
        }
        other => other,
    }
}

fn objects(listed: &Value) -> impl Iterator<Item = &Value> {
    listed["nftables"].as_array().map_or(&[][..], Vec::as_slice).iter()
}

fn counter_of(rule: &Value) -> Option<WallCounter> {
    let counter = rule["expr"].as_array()?.iter().find_map(|statement| statement.get("counter"))?;
    Some(WallCounter {
        chain: rule["chain"].as_str()?.to_owned(),
        comment: rule["comment"].as_str()?.to_owned(),
        packets: counter["packets"].as_u64()?,
        bytes: counter["bytes"].as_u64()?,
    })
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Array(mut items) => {
            items.sort_by_cached_key(ToString::to_string);
            Value::Array(items)
        }
        other => other,
    }
}
