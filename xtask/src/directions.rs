//! The rings of the house, checked over `cargo metadata`: nothing points up, and what is pure stays pure.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::path::Path;
use std::process::Command;

/// Our crates, and which of our crates each may use (normal and build dependencies). Tests of a crate may use more.
const MAY_USE: &[(&str, &[&str])] = &[
    ("abi", &[]),
    ("datapath", &["abi"]),
    ("edge", &["abi", "datapath"]),
    ("model", &["abi"]),
    ("policy", &["abi", "model", "datapath"]),
    ("lists", &["abi", "model"]),
    ("leases", &["abi", "model"]),
    ("discovery", &[]),
    ("logs", &["abi", "model", "yaml"]),
    ("yaml", &[]),
    ("signatures", &["abi", "model"]),
    ("config", &["abi", "model", "policy", "lists", "logs", "signatures", "discovery"]),
    ("import", &["abi", "model", "lists", "yaml"]),
    ("protocol", &["abi", "model"]),
    ("enforce", RULES),
    ("resolver", RULES),
    ("reflector", RULES),
    ("inspect", RULES),
    ("httpd", &["abi", "model"]),
    ("folders", RULES),
    ("pihole", WEB),
    ("lapi", WEB),
    ("store", RULES),
    ("querylog", RULES),
    ("sources", WEB),
    ("feeds", RULES),
    ("shippers", RULES),
    (
        "secd",
        &[
            "abi",
            "datapath",
            "model",
            "policy",
            "lists",
            "logs",
            "signatures",
            "discovery",
            "config",
            "leases",
            "protocol",
            "enforce",
            "resolver",
            "reflector",
            "inspect",
            "httpd",
            "pihole",
            "lapi",
            "store",
            "querylog",
            "sources",
            "feeds",
            "shippers",
            "folders",
        ],
    ),
    (
        "secctl",
        &[
            "abi",
            "datapath",
            "model",
            "policy",
            "lists",
            "logs",
            "signatures",
            "discovery",
            "config",
            "import",
            "protocol",
            "folders",
        ],
    ),
    ("xtask", &[]),
    ("directions", &[]),
    (
        "fuzz",
        &[
            "abi",
            "datapath",
            "model",
            "policy",
            "lists",
            "logs",
            "signatures",
            "config",
            "import",
            "resolver",
            "feeds",
            "httpd",
            "lapi",
        ],
    ),
    ("loki-receiver", &[]),
    ("lab", &["abi", "model"]),
    ("kernel-tests", &["abi", "datapath", "model", "policy", "enforce"]),
    ("bench-dns", &["abi", "lists", "model", "resolver"]),
    ("bench-programs", &["abi", "datapath"]),
    ("bench", &["abi", "bench-programs", "datapath", "enforce", "kernel-tests", "model", "policy"]),
];
/// The pure crates, which take bytes and `now`, and others beside them.
macro_rules! rules {
    ($($beside:literal),*) => {
        &[
            "abi",
            "datapath",
            "model",
            "policy",
            "lists",
            "leases",
            "logs",
            "signatures",
            "discovery",
            "config",
            "import",
            "yaml",
            $($beside),*
        ]
    };
}
const RULES: &[&str] = rules!();
/// What is served to other programs has the server that is shared.
const WEB: &[&str] = rules!("httpd");
/// Other people's crates that do what the pure crates must not: sockets, clocks of their own, runtimes, the kernel.
const IMPURE: &[&str] = &[
    "tokio",
    "aya",
    "mio",
    "socket2",
    "hyper",
    "axum",
    "reqwest",
    "sqlx",
    "async-std",
    "rtnetlink",
    "nix",
    "notify",
    "hickory-server",
    "hickory-resolver",
    "nftables",
    "pnet_datalink",
];

/// The one optional way from a pure crate to an impure one: `abi`'s feature `user` gives its types aya's `Pod`. No
/// pure crate may turn it on.
const BRIDGE: (&str, &str, &str) = ("abi", "aya", "user");

/// Checks the workspace; returns how many dependencies were looked at.
pub(crate) fn check(root: &Path) -> Result<usize> {
    let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version", "1"])
        .current_dir(root)
        .output()
        .context("cannot run cargo metadata")?;
    if !output.status.success() {
        bail!(
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or("failed")
        );
    }
    let graph =
        Graph::read(&serde_json::from_slice(&output.stdout).context("cargo metadata printed no JSON")?);
    let wrong = graph.wrong();
    if !wrong.is_empty() {
        bail!("{}", wrong.join("; "));
    }
    Ok(graph.uses.values().map(BTreeSet::len).sum())
}

/// Packages by name: which are ours, and what each uses outside its tests.
#[derive(Default)]
struct Graph {
    ours: BTreeSet<String>,
    uses: BTreeMap<String, BTreeSet<String>>,
    /// Pure crates that turn the bridge on.
    bridging: Vec<String>,
}

impl Graph {
    fn read(metadata: &Value) -> Self {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let names: BTreeMap<String, String> = list(&metadata["packages"])
            .iter()
            .map(|package| (text(&package["id"]), text(&package["name"])))
            .collect();
        let name = |id: &Value| names.get(id.as_str().unwrap_or_default()).cloned().unwrap_or_default();
        let ours = list(&metadata["workspace_members"]).iter().map(name).collect();
        let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in list(&metadata["resolve"]["nodes"]) {
            let used = list(&node["deps"])
                .iter()
                .filter(|dependency| list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"] != "dev"))
                .map(|dependency| name(&dependency["pkg"]))
                .collect();
            uses.insert(name(&node["id"]), used);
        }
        let turns_on = |dependency: &Value| {
            dependency["name"] == BRIDGE.0
                && list(&dependency["features"]).iter().any(|feature| feature == BRIDGE.2)
        };
        let bridging = list(&metadata["packages"])
            .iter()
            .filter(|package| list(&package["dependencies"]).iter().any(turns_on))
            .map(|package| text(&package["name"]))
            .filter(|name| RULES.contains(&name.as_str()))
            .collect();
        Self { ours, uses, bridging }
    }

    fn wrong(&self) -> Vec<String> {
        let mut wrong: Vec<String> = self
            .bridging
            .iter()
            .map(|package| format!("{package} is pure and turns on {}'s feature {}", BRIDGE.0, BRIDGE.2))
            .collect();
        for package in &self.ours {
            let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| name == package) else {
                wrong.push(format!("crate {package} has no place in xtask/src/directions.rs"));
                continue;
            };
            for used in self.uses.get(package).into_iter().flatten().filter(|used| self.ours.contains(*used))
            {
                if !allowed.contains(&used.as_str()) {
                    wrong.push(format!("{package} must not use {used}"));
                }
            }
            if RULES.contains(&package.as_str()) {
                let reached = self.reached_from(package);
                wrong.extend(
                    IMPURE
                        .iter()
                        .filter(|name| reached.contains(**name))
                        .map(|name| format!("{package} is pure and reaches {name}")),
                );
            }
        }
        wrong
    }

    fn reached_from<'a>(&'a self, package: &'a str) -> BTreeSet<&'a str> {
        let mut reached = BTreeSet::new();
        let mut open = vec![package];
        while let Some(name) = open.pop() {
            for used in self.uses.get(name).into_iter().flatten() {
                if (name, used.as_str()) != (BRIDGE.0, BRIDGE.1) && reached.insert(used.as_str()) {
                    open.push(used);
                }
            }
        }
        reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &[&str])]) -> Graph {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        Graph {
            ours: edges
                .iter()
                .map(|(name, _)| (*name).to_owned())
                .filter(|name| MAY_USE.iter().any(|(known, _)| known == name))
                .collect(),
            uses: edges.iter().map(|(name, used)| ((*name).to_owned(), set(used))).collect(),
            bridging: Vec::new(),
        }
    }

    #[test]
    fn an_edge_that_points_up_is_named() {
        assert_eq!(graph(&[("abi", &["model"]), ("model", &[])]).wrong(), ["abi must not use model"]);
        assert_eq!(graph(&[("secctl", &["store"]), ("store", &[])]).wrong(), ["secctl must not use store"]);
        assert!(
            graph(&[("secd", &["store"]), ("store", &["model"]), ("model", &["abi"]), ("abi", &[])])
                .wrong()
                .is_empty()
        );
    }

    #[test]
    fn a_pure_crate_that_reaches_a_runtime_by_another_is_named() {
        let wrong = graph(&[("lists", &["handy"]), ("handy", &["tokio"]), ("tokio", &[])]).wrong();
        assert_eq!(wrong, ["lists is pure and reaches tokio"]);
    }

    #[test]
    fn the_workspace_keeps_its_directions() {
        assert!(check(&crate::machine::workspace_root()).unwrap() > 0);
    }
}
