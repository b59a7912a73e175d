//! Services that AdGuard Home blocks by name, as our names of them.

use std::collections::BTreeMap;

use super::week;
use crate::{limits::MAX_SERVICES, settings::Schedule, yaml::Node};

/// Services of AdGuard Home that have another name or are several here.
const ALSO: [(&str, &[&str]); 8] = [
    ("activision_blizzard", &["activision", "battle-net"]),
    ("amazon_streaming", &["prime-video"]),
    ("blizzard_entertainment", &["battle-net"]),
    ("copilot", &["microsoft-copilot"]),
    ("electronic_arts", &["ea"]),
    ("origin", &["ea"]),
    ("twitter", &["x"]),
    ("xboxlive", &["xbox"]),
];

/// What is blocked besides lists.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Blocks {
    pub(super) services: Vec<String>,
    /// None: always.
    pub(super) times: Option<Vec<Schedule>>,
    pub(super) safe_search: bool,
}

impl Blocks {
    pub(super) fn is_nothing(&self) -> bool {
        self.services.is_empty() && !self.safe_search
    }

    /// Whether both block the same at the same times: schedules are named after whoever has them.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let unnamed = |times: &Schedule| Schedule { name: String::new(), ..times.clone() };
        let times = |blocks: &Self| -> Option<Vec<Schedule>> {
            blocks.times.as_ref().map(|times| times.iter().map(unnamed).collect())
        };
        self.safe_search == other.safe_search
            && self.services == other.services
            && times(self) == times(other)
    }
}

/// The services that secd knows, by their names without `-` and `_`.
#[derive(Debug)]
pub(super) struct Known(BTreeMap<String, String>);

impl Known {
    pub(super) fn new() -> Self {
        Self(::lists::services().into_iter().map(|service| (bare(&service.name), service.name)).collect())
    }

    /// Our names of a service of AdGuard Home.
    fn ours(&self, id: &str) -> Vec<&str> {
        let also = ALSO.iter().find(|(theirs, _)| *theirs == id).map_or(&[][..], |(_, ours)| ours);
        let names = std::iter::once(bare(id)).chain(also.iter().map(|name| bare(name)));
        names.filter_map(|name| self.0.get(&name)).map(String::as_str).collect()
    }

    /// Those of `ids` that secd does not know.
    pub(super) fn unknown<'a>(&self, ids: impl Iterator<Item = &'a str>) -> Vec<String> {
        let unknown: std::collections::BTreeSet<&str> = ids.filter(|id| self.ours(id).is_empty()).collect();
        unknown.into_iter().map(str::to_owned).collect()
    }

    /// Services that are blocked; a list at first, with times since schema 21. `name` is whose they are.
    pub(super) fn blocked(&self, node: &Node, name: &str) -> Blocks {
        let ours = ids(node).into_iter().flat_map(|id| self.ours(id)).map(str::to_owned);
        let services: std::collections::BTreeSet<String> = ours.take(MAX_SERVICES).collect();
        let times = week::blocked(node.at("schedule"), name).filter(|_| !services.is_empty());
        Blocks { services: services.into_iter().collect(), times, safe_search: false }
    }
}

fn bare(text: &str) -> String {
    text.to_ascii_lowercase().replace(['-', '_'], "")
}

/// The ids of services that are blocked.
pub(super) fn ids(node: &Node) -> Vec<&str> {
    match node.at("ids").list() {
        [] => node.texts(),
        ids => ids.iter().filter_map(Node::text).collect(),
    }
}

/// Whether searches are safe; a flag at first, one for each site since schema 18.
pub(super) fn safe_search(node: &Node) -> bool {
    node.flag().or_else(|| node.at("enabled").flag()).unwrap_or(false)
}
