//! A YAML file as a tree, with the line of each value. Aliases are followed, and what they repeat counts: a few lines
//! that stand for millions are refused.

use saphyr_parser::{Event, Parser, ScalarStyle};
use std::collections::BTreeMap;

use crate::{
    ImportError,
    limits::{MAX_DEPTH, MAX_NODES, MAX_REPEATED_BYTES, MAX_TEXT_BYTES},
};

/// A value and the line where it begins.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) line: usize,
    pub(crate) value: Value,
}

/// A value.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// Nothing, for what is not there.
pub(crate) static NOTHING: Node = Node { line: 0, value: Value::Null };

impl Node {
    /// Reads a file.
    ///
    /// # Errors
    /// It is no YAML, has several documents, or more than the limits.
    pub(crate) fn read(file: &str, bytes: &[u8]) -> Result<Self, ImportError> {
        if bytes.len() > MAX_TEXT_BYTES {
            return Err(ImportError::new(
                file,
                format!("has {} bytes, more than {MAX_TEXT_BYTES}", bytes.len()),
                "put long rules into lists of their own and subscribe to them",
            ));
        }
        let text = crate::error::text(file, bytes)?;
        Tree { file, nodes: 0, repeated: 0, open: Vec::new(), anchors: BTreeMap::new(), root: None }
            .build(text)
    }

    /// The value at a path; nothing where there is none.
    pub(crate) fn at(&self, path: &str) -> &Self {
        let mut node = self;
        for name in path.split('.') {
            let Value::Map(entries) = &node.value else { return &NOTHING };
            let Some((_, found)) = entries.iter().find(|(key, _)| key == name) else { return &NOTHING };
            node = found;
        }
        node
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    pub(crate) fn flag(&self) -> Option<bool> {
        match self.text()?.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Some(true),
            "false" | "no" | "off" => Some(false),
            _ => None,
        }
    }

    pub(crate) fn number(&self) -> Option<i64> {
        self.text()?.parse().ok()
    }

    pub(crate) fn list(&self) -> &[Self] {
        match &self.value {
            Value::List(nodes) => nodes,
            Value::Null | Value::Text(_) | Value::Map(_) => &[],
        }
    }

    /// The texts of a list; one text alone is a list of one.
    pub(crate) fn texts(&self) -> Vec<&str> {
        match &self.value {
            Value::Text(text) if !text.is_empty() => vec![text],
            Value::List(nodes) => nodes.iter().filter_map(Self::text).collect(),
            Value::Text(_) | Value::Null | Value::Map(_) => Vec::new(),
        }
    }

    pub(crate) fn is_nothing(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    fn size(&self) -> usize {
        1 + match &self.value {
            Value::Null | Value::Text(_) => 0,
            Value::List(nodes) => nodes.iter().map(Self::size).sum(),
            Value::Map(entries) => entries.iter().map(|(_, node)| 1 + node.size()).sum(),
        }
    }

    /// Bytes of its texts.
    fn bytes(&self) -> usize {
        match &self.value {
            Value::Null => 0,
            Value::Text(text) => text.len(),
            Value::List(nodes) => nodes.iter().map(Self::bytes).sum(),
            Value::Map(entries) => entries.iter().map(|(key, node)| key.len() + node.bytes()).sum(),
        }
    }

    fn depth(&self) -> usize {
        1 + match &self.value {
            Value::Null | Value::Text(_) => 0,
            Value::List(nodes) => nodes.iter().map(Self::depth).max().unwrap_or(0),
            Value::Map(entries) => entries.iter().map(|(_, node)| node.depth()).max().unwrap_or(0),
        }
    }
}

/// A list or map that is being read.
struct Open {
    node: Node,
    /// The key of the next value of a map.
    key: Option<String>,
    anchor: usize,
}

struct Tree<'a> {
    file: &'a str,
    nodes: usize,
    /// Bytes of texts that anchors keep and aliases repeat.
    repeated: usize,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    root: Option<Node>,
}

impl Tree<'_> {
    fn build(mut self, text: &str) -> Result<Node, ImportError> {
        let mut documents = 0;
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|error| {
                let what = format!("no YAML: {}", error.info());
                let help = "give AdGuardHome.yaml as AdGuard Home wrote it";
                ImportError::at(self.file, error.marker().line(), what, help)
            })?;
            let line = span.start.line();
            match event {
                Event::Scalar(text, style, anchor, _) => {
                    let plain = style == ScalarStyle::Plain;
                    let is_null = plain && matches!(text.as_ref(), "" | "~" | "null" | "Null" | "NULL");
                    let value = if is_null { Value::Null } else { Value::Text(text.into_owned()) };
                    self.put(Node { line, value }, anchor)?;
                }
                Event::SequenceStart(anchor, _) => self.open(line, Value::List(Vec::new()), anchor)?,
                Event::MappingStart(anchor, _) => self.open(line, Value::Map(Vec::new()), anchor)?,
                Event::SequenceEnd | Event::MappingEnd => {
                    if let Some(open) = self.open.pop() {
                        self.put(open.node, open.anchor)?;
                    }
                }
                Event::Alias(anchor) => {
                    let Some(node) = self.anchors.get(&anchor) else {
                        let help = "take the alias out";
                        return Err(ImportError::at(self.file, line, "an alias into itself", help));
                    };
                    self.nodes += node.size();
                    self.repeated += node.bytes();
                    if self.is_too_much() || self.open.len() + node.depth() > MAX_DEPTH {
                        return Err(self.too_much(line));
                    }
                    let node = node.clone();
                    self.put(node, 0)?;
                }
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        let help = "give AdGuardHome.yaml as AdGuard Home wrote it";
                        return Err(ImportError::at(self.file, line, "a second document begins here", help));
                    }
                }
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            }
        }
        Ok(self.root.unwrap_or_else(|| NOTHING.clone()))
    }

    fn too_much(&self, line: usize) -> ImportError {
        let what = format!(
            "has more than {MAX_NODES} values, {MAX_DEPTH} levels or {MAX_REPEATED_BYTES} bytes, those that aliases \
             repeat counted"
        );
        ImportError::at(
            self.file,
            line,
            what,
            "take aliases out, and put long rules into a list of their own",
        )
    }

    fn is_too_much(&self) -> bool {
        self.nodes > MAX_NODES || self.repeated > MAX_REPEATED_BYTES
    }

    fn open(&mut self, line: usize, value: Value, anchor: usize) -> Result<(), ImportError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(self.too_much(line));
        }
        self.open.push(Open { node: Node { line, value }, key: None, anchor });
        Ok(())
    }

    fn put(&mut self, node: Node, anchor: usize) -> Result<(), ImportError> {
        self.nodes += 1;
        if anchor > 0 {
            self.nodes += node.size();
            self.repeated += node.bytes();
        }
        if self.is_too_much() {
            return Err(self.too_much(node.line));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.node.value {
            Value::List(nodes) => nodes.push(node),
            Value::Map(entries) => match open.key.take() {
                Some(key) => entries.push((key, node)),
                None => match node.value {
                    Value::Text(key) => open.key = Some(key),
                    Value::Null | Value::List(_) | Value::Map(_) => {
                        let help = "give AdGuardHome.yaml as AdGuard Home wrote it";
                        return Err(ImportError::at(self.file, node.line, "a key that is no text", help));
                    }
                },
            },
            Value::Null | Value::Text(_) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_have_lines_and_follow_aliases() {
        let tree = Node::read("f", b"a: &x\n  b: [1, 'no', ~]\nc: *x\n").unwrap();
        assert_eq!(tree.at("c.b").texts(), ["1", "no"]);
        assert_eq!(tree.at("a.b").line, 2);
        assert!(tree.at("a.b.c").is_nothing() && tree.at("d").is_nothing());
        assert_eq!(tree.at("a.b").list()[1].flag(), Some(false));
    }

    #[test]
    fn what_is_too_much_is_refused() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let before = format!("*a{}, ", level - 1).repeat(10);
            bomb += &format!("a{level}: &a{level} [{before}]\n");
        }
        let error = Node::read("f", bomb.as_bytes()).unwrap_err();
        assert!(error.message.contains("aliases"), "{error}");
        let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), "*a, ".repeat(1 << 8));
        let error = Node::read("f", long.as_bytes()).unwrap_err();
        assert!(error.message.contains("bytes, those that aliases repeat"), "{error}");
        let deep = "[".repeat(10_000);
        assert!(Node::read("f", deep.as_bytes()).is_err());
        let error = Node::read("f", b"a: 1\n---\nb: 2\n").unwrap_err();
        assert!(error.message.contains("second document"), "{error}");
        assert_eq!(Node::read("f", b"a: b\nc: \xff\n").unwrap_err().line, Some(2));
        assert!(Node::read("f", b"a: *b\n").is_err());
    }
}
