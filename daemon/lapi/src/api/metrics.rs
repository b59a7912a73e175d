//! `/v1/usage-metrics`: bouncers and machines say what they have done. The shape is checked; nothing is kept of it.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Api;
use crate::{ledger::Ledger, reply::Reply, request::Request};

#[derive(Deserialize)]
struct Metrics {
    #[serde(default)]
    remediation_components: Option<Vec<Component>>,
    #[serde(default)]
    log_processors: Option<Vec<Component>>,
}

#[derive(Deserialize)]
struct Component {
    #[serde(rename = "version")]
    _version: String,
    #[serde(rename = "utc_startup_timestamp")]
    _started: i64,
    #[serde(default, rename = "metrics")]
    _metrics: Option<Vec<Detailed>>,
}

#[derive(Deserialize)]
struct Detailed {
    #[serde(rename = "meta")]
    _meta: Meta,
    #[serde(rename = "items")]
    _items: Option<Vec<Item>>,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(rename = "utc_now_timestamp")]
    _now: i64,
    #[serde(rename = "window_size_seconds")]
    _window: i64,
}

#[derive(Deserialize)]
struct Item {
    #[serde(rename = "name")]
    _name: String,
    #[serde(rename = "value")]
    _value: f64,
    #[serde(default, rename = "unit")]
    _unit: Option<String>,
    #[serde(default, rename = "labels")]
    _labels: Option<IgnoredAny>,
}

impl<L: Ledger> Api<L> {
    /// `POST /v1/usage-metrics`, of a bouncer or of a machine.
    pub(super) fn usage_metrics(&self, request: &Request) -> Reply {
        let of_bouncer = self.bouncer(request).is_ok();
        if !of_bouncer && let Err(reply) = self.machine(request) {
            return if request.headers.contains_key("Authorization") { reply } else { Reply::forbidden() };
        }
        let metrics: Metrics = match serde_json::from_slice(&request.body) {
            Ok(metrics) => metrics,
            Err(error) if error.is_data() => return Reply::message(422, &error.to_string()),
            Err(error) => return Reply::message(400, &error.to_string()),
        };
        let count = |list: &Option<Vec<Component>>| list.as_ref().map_or(0, Vec::len);
        let (components, processors) =
            (count(&metrics.remediation_components), count(&metrics.log_processors));
        match (of_bouncer, components, processors) {
            (_, 2.., _) => Reply::message(400, "Payload has more than one remediation component"),
            (_, _, 2..) => Reply::message(400, "Payload has more than one log processor"),
            (true, 0, _) => Reply::message(400, "Missing remediation component data"),
            (false, _, 0) => Reply::message(400, "Missing log processor data"),
            (true, 1, _) | (false, _, 1) => Reply::empty(201),
        }
    }
}
