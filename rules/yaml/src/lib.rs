//! Other programs' YAML files as trees, with the line of each value. Aliases are followed, and what they repeat counts:
//! a few lines that stand for millions are refused.

use saphyr_parser::{Event, Parser, ScalarStyle};
use std::{collections::BTreeMap, fmt};

/// Bounds of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the file.
    pub bytes: usize,
    /// Values, those that aliases repeat counted each time.
    pub nodes: usize,
    /// Bytes of the texts that anchors keep and aliases repeat.
    pub repeated: usize,
    /// Levels.
    pub depth: usize,
}

/// A value and the line where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The line, from 1.
    pub line: usize,
    /// The value.
    pub value: Value,
}

/// A value. Numbers and flags stay the texts they are: the reader of a key knows what it wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `~`, `null` or nothing.
    Null,
    /// A scalar.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file; a key may stand in it twice.
    Map(Vec<(String, Node)>),
}

/// Nothing, for what is not there.
pub static NOTHING: Node = Node { line: 0, value: Value::Null };

/// Why a file could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Mistake {
    /// The line, from 1, where there is one.
    pub line: Option<usize>,
    /// What kind of mistake it is.
    pub kind: Kind,
    /// What is wrong.
    pub message: String,
}

/// Kinds of mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// More bytes than [`Limits::bytes`].
    TooLong,
    /// Not UTF-8.
    NoText,
    /// No YAML.
    Syntax,
    /// A second document where one was expected.
    Documents,
    /// A key that is no text.
    Key,
    /// An alias of something that is not there yet.
    Alias,
    /// More values, levels or repeated bytes than the limits.
    TooMuch,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// Reads a file of one document.
///
/// # Errors
/// It is no YAML, has several documents, or more than the limits.
pub fn read(bytes: &[u8], limits: &Limits) -> Result<Node, Mistake> {
    let documents = Tree::new(limits, 1).build(bytes)?;
    Ok(documents.into_iter().next().unwrap_or_else(|| NOTHING.clone()))
}

/// Reads a file of any number of documents.
///
/// # Errors
/// It is no YAML, or has more than the limits; these hold for all documents together.
pub fn documents(bytes: &[u8], limits: &Limits) -> Result<Vec<Node>, Mistake> {
    Tree::new(limits, usize::MAX).build(bytes)
}

impl Node {
    /// The value at a path of keys with dots between; nothing where there is none.
    #[must_use]
    pub fn at(&self, path: &str) -> &Self {
        path.split('.').try_fold(self, |node, name| node.get(name)).unwrap_or(&NOTHING)
    }

    /// The value of a key of a mapping.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    /// The entries of a mapping; none if it is something else.
    #[must_use]
    pub fn entries(&self) -> &[(String, Self)] {
        match &self.value {
            Value::Map(entries) => entries,
            Value::Null | Value::Text(_) | Value::List(_) => &[],
        }
    }

    /// A scalar.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// A flag, in any spelling of YAML 1.1.
    #[must_use]
    pub fn flag(&self) -> Option<bool> {
        match self.text()?.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Some(true),
            "false" | "no" | "off" => Some(false),
            _ => None,
        }
    }

    /// A whole number.
    #[must_use]
    pub fn number(&self) -> Option<i64> {
        self.text()?.parse().ok()
    }

    /// The values of a sequence; none if it is something else.
    #[must_use]
    pub fn list(&self) -> &[Self] {
        match &self.value {
            Value::List(nodes) => nodes,
            Value::Null | Value::Text(_) | Value::Map(_) => &[],
        }
    }

    /// The texts of a list; one text alone is a list of one.
    #[must_use]
    pub fn texts(&self) -> Vec<&str> {
        match &self.value {
            Value::Text(text) if !text.is_empty() => vec![text],
            Value::List(nodes) => nodes.iter().filter_map(Self::text).collect(),
            Value::Text(_) | Value::Null | Value::Map(_) => Vec::new(),
        }
    }

    /// Whether nothing is there.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
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
    limits: &'a Limits,
    /// How many documents there may be.
    most: usize,
    nodes: usize,
    /// Bytes of texts that anchors keep and aliases repeat.
    repeated: usize,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    documents: Vec<Node>,
}

impl<'a> Tree<'a> {
    fn new(limits: &'a Limits, most: usize) -> Self {
        Self {
            limits,
            most,
            nodes: 0,
            repeated: 0,
            open: Vec::new(),
            anchors: BTreeMap::new(),
            documents: Vec::new(),
        }
    }

    fn build(mut self, bytes: &[u8]) -> Result<Vec<Node>, Mistake> {
        if bytes.len() > self.limits.bytes {
            let message = format!("has {} bytes, more than {}", bytes.len(), self.limits.bytes);
            return Err(Mistake { line: None, kind: Kind::TooLong, message });
        }
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let text = str::from_utf8(bytes).map_err(|error| {
            let line = bytes[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count() + 1;
            mistake(line, Kind::NoText, "not UTF-8 text")
        })?;
        let mut documents = 0;
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|error| {
                mistake(error.marker().line(), Kind::Syntax, format!("no YAML: {}", error.info()))
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
                        return Err(mistake(line, Kind::Alias, "an alias into itself"));
                    };
                    self.nodes += node.size();
                    self.repeated += node.bytes();
                    if self.is_too_much() || self.open.len() + node.depth() > self.limits.depth {
                        return Err(self.too_much(line));
                    }
                    let node = node.clone();
                    self.put(node, 0)?;
                }
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > self.most {
                        return Err(mistake(line, Kind::Documents, "a second document begins here"));
                    }
                }
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            }
        }
        Ok(self.documents)
    }

    fn too_much(&self, line: usize) -> Mistake {
        let Limits { nodes, depth, repeated, .. } = self.limits;
        let message = format!(
            "has more than {nodes} values, {depth} levels or {repeated} bytes, those that aliases repeat counted"
        );
        mistake(line, Kind::TooMuch, message)
    }

    fn is_too_much(&self) -> bool {
        self.nodes > self.limits.nodes || self.repeated > self.limits.repeated
    }

    fn open(&mut self, line: usize, value: Value, anchor: usize) -> Result<(), Mistake> {
        if self.open.len() >= self.limits.depth {
            return Err(self.too_much(line));
        }
        self.open.push(Open { node: Node { line, value }, key: None, anchor });
        Ok(())
    }

    fn put(&mut self, node: Node, anchor: usize) -> Result<(), Mistake> {
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
            self.documents.push(node);
            return Ok(());
        };
        match &mut open.node.value {
            Value::List(nodes) => nodes.push(node),
            Value::Map(entries) => match open.key.take() {
                Some(key) => entries.push((key, node)),
                None => match node.value {
                    Value::Text(key) => open.key = Some(key),
                    Value::Null | Value::List(_) | Value::Map(_) => {
                        return Err(mistake(node.line, Kind::Key, "a key that is no text"));
                    }
                },
            },
            Value::Null | Value::Text(_) => {}
        }
        Ok(())
    }
}

fn mistake(line: usize, kind: Kind, message: impl Into<String>) -> Mistake {
    Mistake { line: Some(line), kind, message: message.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { bytes: 16 << 20, nodes: 2_000_000, repeated: 16 << 20, depth: 64 };

    #[test]
    fn trees_have_lines_and_follow_aliases() {
        let tree = read(b"a: &x\n  b: [1, 'no', ~]\nc: *x\n", &LIMITS).unwrap();
        assert_eq!(tree.at("c.b").texts(), ["1", "no"]);
        assert_eq!(tree.at("a.b").line, 2);
        assert!(tree.at("a.b.c").is_nothing() && tree.at("d").is_nothing());
        assert_eq!(tree.at("a.b").list()[1].flag(), Some(false));
    }

    #[test]
    fn several_documents_are_read_where_they_may_stand() {
        let text = b"a: 1\n---\nb: 2\n---\n";
        let found = documents(text, &LIMITS).unwrap();
        assert_eq!(found.iter().map(|node| node.entries().len()).collect::<Vec<_>>(), [1, 1, 0]);
        assert_eq!(found[1].at("b").line, 3);
        assert_eq!(read(text, &LIMITS).unwrap_err().kind, Kind::Documents);
        assert!(documents(b"", &LIMITS).unwrap().is_empty());
    }

    #[test]
    fn what_is_too_much_is_refused() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let before = format!("*a{}, ", level - 1).repeat(10);
            bomb += &format!("a{level}: &a{level} [{before}]\n");
        }
        assert_eq!(read(bomb.as_bytes(), &LIMITS).unwrap_err().kind, Kind::TooMuch);
        let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), "*a, ".repeat(1 << 8));
        let error = read(long.as_bytes(), &LIMITS).unwrap_err();
        assert!(error.message.contains("bytes, those that aliases repeat"), "{error}");
        let deep = "[".repeat(10_000);
        assert!(read(deep.as_bytes(), &LIMITS).is_err());
        let short = Limits { bytes: 3, ..LIMITS };
        assert_eq!(read(b"a: 1", &short).unwrap_err().kind, Kind::TooLong);
        let error = read(b"a: b\nc: \xff\n", &LIMITS).unwrap_err();
        assert_eq!((error.line, error.kind), (Some(2), Kind::NoText));
        assert!(read(b"a: *b\n", &LIMITS).is_err());
    }
}
