//! Files of parsers to nodes. Every key is known, or refused by its name, as CrowdSec reads them strictly too.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;
use yaml::{Limits, Value};

use super::data::Data;
use super::enrich::Method;
use super::grok::{Grok, Patterns};
use super::limits::{
    MAX_FILE, MAX_GROKS_COMPILED, MAX_LEVELS, MAX_NODE_DEPTH, MAX_NODES, MAX_REPEATED, MAX_VALUES,
};
use super::node::{Given, GrokNode, Keep, Node, Source, Static, Target, Whitelist, knows};
use super::stash::{Stashes, Strategy};
use crate::FilterError;
use crate::expr::Program;

const LIMITS: Limits =
    Limits { bytes: MAX_FILE, nodes: MAX_VALUES, repeated: MAX_REPEATED, depth: MAX_LEVELS };
/// Formats of parser files that are read: up to this number.
const NEWEST_FORMAT: f64 = 3.0;
const NODE_KEYS: [&str; 17] = [
    "format",
    "debug",
    "profiling",
    "name",
    "author",
    "description",
    "references",
    "stage",
    "onsuccess",
    "filter",
    "nodes",
    "pattern_syntax",
    "grok",
    "statics",
    "stash",
    "whitelist",
    "data",
];
const GROK_KEYS: [&str; 5] = ["apply_on", "name", "pattern", "expression", "statics"];
const STATIC_KEYS: [&str; 7] = ["target", "parsed", "meta", "enriched", "value", "expression", "method"];
const STASH_KEYS: [&str; 6] = ["name", "key", "value", "ttl", "size", "strategy"];
const WHITELIST_KEYS: [&str; 4] = ["reason", "ip", "cidr", "expression"];
const DATA_KEYS: [&str; 7] = ["source_url", "dest_file", "type", "cache", "strategy", "size", "ttl"];
/// Names behind `evt` that expressions may use.
const EVENT_FIELDS: [&str; 17] = [
    "Type",
    "ExpectMode",
    "Whitelisted",
    "WhitelistReason",
    "Stage",
    "Line",
    "Parsed",
    "Enriched",
    "Unmarshaled",
    "Overflow",
    "Time",
    "StrTime",
    "StrTimeFormat",
    "MarshaledTime",
    "Process",
    "Appsec",
    "Meta",
];

/// What a pipeline is made of.
#[derive(Clone, Debug, Default)]
pub struct Items<'t> {
    /// Files of grok patterns: name and text. They come on top of the stock patterns.
    pub patterns: Vec<(&'t str, &'t str)>,
    /// Files of parsers (or of postoverflows).
    pub parsers: Vec<Item<'t>>,
    /// Data files.
    pub data: Vec<DataFile<'t>>,
}

/// A file of parsers.
#[derive(Clone, Copy, Debug)]
pub struct Item<'t> {
    /// Its name, for messages; the last part of it orders the files of a stage.
    pub file: &'t str,
    /// The stage its nodes stand in (`s01-parse`).
    pub stage: &'t str,
    /// What stands in it.
    pub bytes: &'t [u8],
}

/// A data file.
#[derive(Clone, Copy, Debug)]
pub struct DataFile<'t> {
    /// Its name, as `dest_file` says it.
    pub name: &'t str,
    /// What stands in it.
    pub bytes: &'t [u8],
}

/// What was loaded.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) nodes: BTreeMap<Arc<str>, Vec<Node>>,
    pub(crate) groks: Vec<Grok>,
    pub(crate) stashes: Stashes,
    pub(crate) data: Data,
    /// Data files that are named and not there.
    pub(crate) missing: Vec<FilterError>,
}

/// Loads items. Files with mistakes are left out.
pub(crate) fn load(items: &Items<'_>, errors: &mut Vec<FilterError>) -> Loaded {
    let mut patterns = Patterns::stock();
    for (file, text) in &items.patterns {
        for (line, mistake) in patterns.add_file(text) {
            errors.push(error(file, line, mistake.message, "give the pattern a name of its own"));
        }
    }
    let mut loaded = Loaded::default();
    let (mut count, mut compiled) = (0, 0);
    let mut order: Vec<&Item<'_>> = items.parsers.iter().collect();
    order.sort_by_key(|item| (item.stage, item.file.rsplit('/').next(), item.file));
    for item in order {
        let documents = match yaml::documents(item.bytes, &LIMITS) {
            Ok(documents) => documents,
            Err(mistake) => {
                let help = "write it as the parsers of CrowdSec's hub are written";
                errors.push(error(item.file, mistake.line.unwrap_or(1), mistake.message, help));
                continue;
            }
        };
        let before = errors.len();
        let mut nodes = Vec::new();
        for document in &documents {
            let mut load = Load {
                file: item.file,
                errors,
                patterns: &mut patterns,
                groks: &mut loaded.groks,
                stashes: &mut loaded.stashes,
                count: &mut count,
                compiled: &mut compiled,
            };
            let named = ["name", "description", "author"].iter().any(|key| document.at(key).text().is_some());
            match &document.value {
                Value::Null => {}
                Value::Map(_) if !named => {}
                Value::Map(_) => nodes.extend(load.node(document, None, 0)),
                Value::Text(_) | Value::List(_) => load.wrong(document, "no mapping", "write `name: …`"),
            }
            data_of(document, item.file, items, &mut loaded, errors);
        }
        if errors.len() == before && !nodes.is_empty() {
            loaded.nodes.entry(item.stage.into()).or_default().extend(nodes);
        }
    }
    loaded
}

/// Loads the data files that a document names.
fn data_of(
    document: &yaml::Node,
    file: &str,
    items: &Items<'_>,
    loaded: &mut Loaded,
    errors: &mut Vec<FilterError>,
) {
    for entry in document.at("data").list() {
        let text = |key: &str| entry.at(key).text().unwrap_or("");
        let (name, kind) = (text("dest_file"), text("type"));
        if kind.is_empty() {
            continue;
        }
        match items.data.iter().find(|known| known.name == name) {
            Some(found) => errors.extend(loaded.data.add(name, kind, found.bytes).err()),
            None => {
                let message = format!("unsupported: data file `{name}` is not there");
                loaded.missing.push(error(file, entry.line, message, "put it into the folder of data files"));
            }
        }
    }
}

fn error(file: &str, line: usize, message: impl Into<String>, help: impl Into<String>) -> FilterError {
    FilterError {
        file: file.to_owned(),
        line: u32::try_from(line).unwrap_or(u32::MAX).max(1),
        column: None,
        message: message.into(),
        help: help.into(),
    }
}

struct Load<'l> {
    file: &'l str,
    errors: &'l mut Vec<FilterError>,
    patterns: &'l mut Patterns,
    groks: &'l mut Vec<Grok>,
    stashes: &'l mut Stashes,
    count: &'l mut usize,
    /// Bytes that groks take.
    compiled: &'l mut usize,
}

impl Load<'_> {
    /// A node; none if it has mistakes, which are told.
    fn node(&mut self, document: &yaml::Node, parent: Option<&str>, depth: usize) -> Option<Node> {
        *self.count += 1;
        if depth > MAX_NODE_DEPTH || *self.count > MAX_NODES {
            let message = format!("more than {MAX_NODES} nodes, or nodes more than {MAX_NODE_DEPTH} deep");
            self.wrong(document, message, "take nodes out");
            return None;
        }
        let before = self.errors.len();
        self.keys(document, &NODE_KEYS, "a node");
        self.format(document);
        let name: Arc<str> = match (document.at("name").text(), parent) {
            (Some(name), _) if !name.is_empty() => name.into(),
            (_, Some(parent)) => format!("child-{parent}").into(),
            (_, None) => Arc::default(),
        };
        let next_stage = match document.at("onsuccess").text() {
            Some("next_stage") => true,
            None | Some("" | "continue") => false,
            Some(other) => {
                let message = format!("`onsuccess: {other}` is not known");
                self.wrong(document.at("onsuccess"), message, "write `next_stage` or `continue`");
                false
            }
        };
        let filter = self.expression(document.at("filter"));
        for (name, pattern) in document.at("pattern_syntax").entries() {
            // A name that is taken keeps its meaning, as upstream.
            let _ = self.patterns.add(name, pattern.text().unwrap_or(""));
        }
        let grok = self.grok(document.at("grok"));
        let stashes = document.at("stash").list().iter().filter_map(|entry| self.stash(entry)).collect();
        let nodes: Vec<Node> = document
            .at("nodes")
            .list()
            .iter()
            .filter_map(|child| self.node(child, Some(&name), depth + 1))
            .collect();
        let statics = self.statics(document.at("statics"));
        let whitelist = self.whitelist(document.at("whitelist"));
        for entry in document.at("data").list() {
            self.keys(entry, &DATA_KEYS, "a data file");
        }
        if self.errors.len() > before {
            return None;
        }
        if grok.is_none() && nodes.is_empty() && statics.is_empty() && whitelist.is_none() {
            self.wrong(
                document,
                "the node does nothing",
                "give it a `grok`, `nodes`, `statics` or a `whitelist`",
            );
            return None;
        }
        Some(Node { name, filter, next_stage, whitelist, grok, stashes, nodes, statics })
    }

    fn format(&mut self, document: &yaml::Node) {
        let node = document.at("format");
        let Some(text) = node.text() else { return };
        match text.parse::<f64>() {
            Ok(number) if (1.0..=NEWEST_FORMAT).contains(&number) => {}
            Ok(_) | Err(_) => {
                let message = format!("the format `{text}` of parsers is not supported");
                self.wrong(node, message, format!("formats 1.0 to {NEWEST_FORMAT:.1} are"));
            }
        }
    }

    fn grok(&mut self, document: &yaml::Node) -> Option<GrokNode> {
        if document.is_nothing() {
            return None;
        }
        self.keys(document, &GROK_KEYS, "a grok");
        let statics = self.statics(document.at("statics"));
        let (name, pattern) = (self.filled(document, "name"), self.filled(document, "pattern"));
        let (apply_on, expression) = (self.filled(document, "apply_on"), self.filled(document, "expression"));
        let compiled = match (&name, &pattern) {
            (Some(name), _) => self.patterns.named(name.0),
            (None, Some(pattern)) => self.patterns.compile(pattern.0),
            (None, None) if apply_on.is_none() && expression.is_none() => return None,
            (None, None) => {
                self.wrong(document, "a grok without a pattern", "give it a `pattern` or the `name` of one");
                return None;
            }
        };
        let node = name.or(pattern).map_or(document, |(_, node)| node);
        let grok = match compiled {
            Ok(grok) => {
                *self.compiled += grok.size();
                if *self.compiled > MAX_GROKS_COMPILED {
                    let message =
                        format!("all groks take more than {MAX_GROKS_COMPILED} bytes when compiled");
                    self.wrong(node, message, "install fewer parsers");
                    return None;
                }
                self.groks.push(grok);
                self.groks.len() - 1
            }
            Err(mistake) => {
                let help =
                    "write a grok pattern of Go's regular expressions, and give the file of its patterns";
                self.wrong(node, format!("the grok does not compile: {mistake}"), help);
                return None;
            }
        };
        let source = match (apply_on, expression) {
            (Some(("Line.Raw", _)), _) => Source::Raw,
            (Some((field, _)), _) => Source::Parsed(field.into()),
            (None, Some((_, node))) => Source::Expression(self.expression(node)?),
            (None, None) => {
                self.wrong(document, "a grok of nothing", "say what it looks at: `apply_on` or `expression`");
                return None;
            }
        };
        Some(GrokNode { grok, source, statics })
    }

    fn statics(&mut self, document: &yaml::Node) -> Vec<Static> {
        document.list().iter().filter_map(|entry| self.one_static(entry)).collect()
    }

    fn one_static(&mut self, entry: &yaml::Node) -> Option<Static> {
        self.keys(entry, &STATIC_KEYS, "a static");
        let value = match (self.filled(entry, "value"), self.filled(entry, "expression")) {
            (Some((text, _)), _) => Given::Text(text.into()),
            (None, Some((_, node))) => Given::Expression(self.expression(node)?),
            (None, None) => {
                self.wrong(entry, "a static without a value", "give it a `value` or an `expression`");
                return None;
            }
        };
        let named = |key: &str| self.filled(entry, key).map(|(text, _)| Arc::<str>::from(text));
        let target = if let Some(method) = named("method") {
            match Method::named(&method) {
                Some(method) => Target::Method(method),
                None => {
                    let message = format!("the method `{method}` is not supported");
                    self.wrong(entry.at("method"), message, format!("there are {}", Method::NAMES));
                    return None;
                }
            }
        } else if let Some(name) = named("parsed") {
            Target::Parsed(name)
        } else if let Some(name) = named("meta") {
            Target::Meta(name)
        } else if let Some(name) = named("enriched") {
            Target::Enriched(name)
        } else if let Some(path) = named("target") {
            Target::Path(path)
        } else {
            self.wrong(
                entry,
                "a static that sets nothing",
                "say what: `meta`, `parsed`, `enriched`, `target` or `method`",
            );
            return None;
        };
        Some(Static { value, target })
    }

    fn stash(&mut self, entry: &yaml::Node) -> Option<Keep> {
        self.keys(entry, &STASH_KEYS, "a stash");
        for key in ["name", "key", "value", "ttl"] {
            if self.filled(entry, key).is_none() {
                self.wrong(
                    entry,
                    format!("a stash without `{key}`"),
                    "it needs `name`, `key`, `value` and `ttl`",
                );
                return None;
            }
        }
        let ttl = entry.at("ttl").text().unwrap_or("");
        let Some(age) = crate::go::duration(ttl) else {
            self.wrong(
                entry.at("ttl"),
                format!("`{ttl}` is no duration"),
                "write it as `90s`, `5m` or `1h30m`",
            );
            return None;
        };
        let strategy = match entry.at("strategy").text() {
            None | Some("" | "LRU") => Strategy::LeastRecent,
            Some("LFU") => Strategy::LeastFrequent,
            Some(other) => {
                let message = format!("the strategy `{other}` of a stash is not supported");
                self.wrong(entry.at("strategy"), message, "write `LRU` or `LFU`");
                return None;
            }
        };
        let size = match entry.at("size").number() {
            None | Some(0) if matches!(entry.at("size").text(), None | Some("0")) => 100,
            Some(size) if size > 0 => usize::try_from(size).unwrap_or(usize::MAX),
            Some(_) | None => {
                self.wrong(entry.at("size"), "the size of a stash is no number above 0", "write `size: 100`");
                return None;
            }
        };
        let stash: Arc<str> = entry.at("name").text().unwrap_or("").into();
        if !self.stashes.open(&stash, size, strategy) {
            self.wrong(entry, "too many stashes", "give several nodes the same one");
            return None;
        }
        let (key, value) = (self.expression(entry.at("key")), self.expression(entry.at("value")));
        Some(Keep { stash, key: key?, value: value?, age })
    }

    fn whitelist(&mut self, document: &yaml::Node) -> Option<Whitelist> {
        if document.is_nothing() {
            return None;
        }
        self.keys(document, &WHITELIST_KEYS, "a whitelist");
        let mut whitelist =
            Whitelist { reason: document.at("reason").text().unwrap_or("").into(), ..Whitelist::default() };
        for entry in document.at("ip").list() {
            match entry.text().unwrap_or("").parse() {
                Ok(address) => whitelist
                    .ranges
                    .push(IpNet::new_assert(address, if address.is_ipv4() { 32 } else { 128 })),
                Err(_) => self.wrong(entry, "no address", "write one as `192.0.2.1` or `2001:db8::1`"),
            }
        }
        for entry in document.at("cidr").list() {
            match entry.text().unwrap_or("").parse() {
                Ok(range) => whitelist.ranges.push(range),
                Err(_) => self.wrong(entry, "no range", "write one as `192.0.2.0/24`"),
            }
        }
        for entry in document.at("expression").list() {
            whitelist.expressions.extend(self.expression(entry));
        }
        let empty = whitelist.ranges.is_empty() && whitelist.expressions.is_empty();
        (!empty).then_some(whitelist)
    }

    /// An expression; none if there is none, or if it has a mistake, which is told.
    fn expression(&mut self, node: &yaml::Node) -> Option<Program> {
        let text = match &node.value {
            Value::Null => return None,
            Value::Text(text) if text.is_empty() => return None,
            Value::Text(text) => text,
            Value::List(_) | Value::Map(_) => {
                self.wrong(node, "no expression", "write it as a text");
                return None;
            }
        };
        let program = match Program::compile(text) {
            Ok(program) => program,
            Err(mistake) => {
                let (line, column) = mistake.place(text);
                let place = if line > 1 { format!("{line}:{column}") } else { column.to_string() };
                self.wrong(
                    node,
                    format!("the expression is wrong at {place}: {}", mistake.message),
                    mistake.help,
                );
                return None;
            }
        };
        if let Some(function) = program.functions().find(|function| !knows(function)) {
            let message = format!("the function `{function}` is not supported");
            self.wrong(node, message, "take it out");
            return None;
        }
        let unknown = program.paths().find_map(|path| match path {
            [root, ..] if &**root != "evt" => Some(root.to_string()),
            [_, field, ..] if !EVENT_FIELDS.contains(&&**field) => Some(format!("evt.{field}")),
            _ => None,
        });
        if let Some(unknown) = unknown {
            self.wrong(
                node,
                format!("there is no `{unknown}`"),
                format!("`evt` has {}", EVENT_FIELDS.join(", ")),
            );
            return None;
        }
        Some(program)
    }

    /// The text of a key that is there and not empty.
    fn filled<'n>(&self, node: &'n yaml::Node, key: &str) -> Option<(&'n str, &'n yaml::Node)> {
        let node = node.get(key)?;
        node.text().filter(|text| !text.is_empty()).map(|text| (text, node))
    }

    fn keys(&mut self, node: &yaml::Node, known: &[&str], what: &str) {
        let mut seen: Vec<&str> = Vec::new();
        for (key, value) in node.entries() {
            if !known.contains(&key.as_str()) {
                self.wrong(
                    value,
                    format!("`{key}` of {what} is not supported"),
                    format!("there are {}", known.join(", ")),
                );
            } else if seen.contains(&key.as_str()) {
                self.wrong(value, format!("`{key}` stands here twice"), "take one out");
            }
            seen.push(key);
        }
    }

    fn wrong(&mut self, node: &yaml::Node, message: impl Into<String>, help: impl Into<String>) {
        self.errors.push(error(self.file, node.line, message, help));
    }
}
