//! Data files that items name (`data:`): lists of texts for `File`, of expressions for `RegexpInFile`, and maps of JSON
//! lines for `FileMap` and `LookupFile`.

use std::collections::BTreeMap;
use std::sync::Arc;

use aho_corasick::AhoCorasick;
use regex_automata::meta::Regex;

use super::limits::{
    MAX_DATA_COMPILED, MAX_DATA_COMPILED_ALL, MAX_DATA_EXPRESSIONS, MAX_DATA_FILE, MAX_DATA_LINES,
};
use crate::FilterError;
use crate::expr::{Problem, Value};
use crate::go::regex;

/// Functions that ask a data file.
pub(crate) const FUNCTIONS: [&str; 4] = ["File", "RegexpInFile", "FileMap", "LookupFile"];

/// The data files that are loaded. Each kind has names of its own.
#[derive(Debug, Default)]
pub struct Data {
    texts: BTreeMap<Arc<str>, Value>,
    expressions: BTreeMap<Arc<str>, Vec<Regex>>,
    maps: BTreeMap<Arc<str>, Map>,
}

/// A map: patterns to tags.
#[derive(Debug, Default)]
struct Map {
    rows: Vec<Arc<BTreeMap<Arc<str>, Arc<str>>>>,
    equal: BTreeMap<Arc<str>, usize>,
    contained: Option<(AhoCorasick, Vec<usize>)>,
    expressions: Vec<(Regex, usize)>,
}

impl Data {
    /// Loads a file, unless it is loaded already. `kind` is what an item says in `type`: `string`, `regexp` (or
    /// `regex`) or `map`; a file of no kind is not looked at.
    ///
    /// # Errors
    /// The kind is unknown, a line is wrong, or the file is larger than the limits.
    pub fn add(&mut self, file: &str, kind: &str, bytes: &[u8]) -> Result<(), FilterError> {
        let wrong = |line: usize, message: String, help: &str| FilterError {
            file: file.to_owned(),
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: None,
            message,
            help: help.to_owned(),
        };
        if bytes.len() > MAX_DATA_FILE {
            let message = format!("the data file has {} bytes, more than {MAX_DATA_FILE}", bytes.len());
            return Err(wrong(1, message, "split it into several files"));
        }
        let text = String::from_utf8_lossy(bytes);
        let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let lines: Vec<(usize, &str)> = lines.map(|(at, line)| (at + 1, line)).collect();
        if lines.len() > MAX_DATA_LINES {
            let message = format!("the data file has more than {MAX_DATA_LINES} lines");
            return Err(wrong(1, message, "split it into several files"));
        }
        match kind {
            "" => Ok(()),
            "string" => {
                let texts = || Value::texts(lines.iter().map(|(_, line)| *line));
                self.texts.entry(file.into()).or_insert_with(texts);
                Ok(())
            }
            "regex" | "regexp" if self.expressions.contains_key(file) => Ok(()),
            "regex" | "regexp" => {
                let expressions = expressions(&lines).map_err(|(line, message)| {
                    wrong(line, message, "write one regular expression of Go a line")
                })?;
                self.expressions.insert(file.into(), expressions);
                Ok(())
            }
            "map" if self.maps.contains_key(file) => Ok(()),
            "map" => {
                let help =
                    "write `{\"pattern\": …, \"tag\": …, \"type\": \"equals\", \"contains\" or \"regex\"}`";
                let map = Map::read(&lines).map_err(|(line, message)| wrong(line, message, help))?;
                self.maps.insert(file.into(), map);
                Ok(())
            }
            kind => {
                let message = format!("the type `{kind}` of a data file is not known");
                Err(wrong(1, message, "write `string`, `regexp` or `map`"))
            }
        }
    }

    /// Whether a file was loaded.
    #[must_use]
    pub fn has(&self, file: &str) -> bool {
        self.texts.contains_key(file) || self.expressions.contains_key(file) || self.maps.contains_key(file)
    }

    /// Calls one of [`FUNCTIONS`]; `None` = it is none of them. A file that is not loaded holds nothing.
    pub(crate) fn call(&self, function: &str, arguments: &[Value]) -> Option<Result<Value, Problem>> {
        let texts: Vec<Option<&str>> = arguments.iter().map(Value::as_text).collect();
        let value = match (function, &texts[..]) {
            ("File", [Some(file)]) => {
                self.texts.get(*file).cloned().unwrap_or_else(|| Value::list(Vec::new()))
            }
            ("RegexpInFile", [Some(text), Some(file)]) => Value::Bool(
                self.expressions.get(*file).is_some_and(|all| all.iter().any(|regex| regex.is_match(*text))),
            ),
            ("FileMap", [Some(file)]) => {
                let rows = self.maps.get(*file).map(|map| map.rows.iter().cloned().map(Value::Texts));
                rows.into_iter().flatten().collect()
            }
            ("LookupFile", [Some(text), Some(file)]) => {
                let tag = self.maps.get(*file).and_then(|map| map.tag(text));
                Value::Text(tag.unwrap_or_default())
            }
            (name, _) if FUNCTIONS.contains(&name) => {
                return Some(Err(Problem::new(format!("`{name}` takes the name of a data file, and texts"))));
            }
            _ => return None,
        };
        Some(Ok(value))
    }
}

impl Map {
    fn read(lines: &[(usize, &str)]) -> Result<Self, (usize, String)> {
        let mut map = Self::default();
        let (mut contained, mut places) = (Vec::new(), Vec::new());
        for (number, line) in lines {
            let wrong = |message: String| (*number, message);
            let row: BTreeMap<String, String> =
                serde_json::from_str(line).map_err(|error| wrong(format!("no map of texts: {error}")))?;
            let row: BTreeMap<Arc<str>, Arc<str>> =
                row.into_iter().map(|(name, text)| (name.into(), text.into())).collect();
            let of = |name: &str| row.get(name).filter(|text| !text.is_empty()).cloned();
            let (Some(pattern), Some(_), Some(kind)) = (of("pattern"), of("tag"), of("type")) else {
                return Err(wrong("`pattern`, `tag` and `type` must be there".to_owned()));
            };
            let place = map.rows.len();
            match &*kind {
                "equals" => _ = map.equal.insert(pattern, place),
                "contains" => {
                    contained.push(pattern);
                    places.push(place);
                }
                "regex" if map.expressions.len() >= MAX_DATA_EXPRESSIONS => {
                    return Err(wrong(format!("more than {MAX_DATA_EXPRESSIONS} expressions")));
                }
                "regex" => {
                    let regex =
                        regex::compile(&pattern, MAX_DATA_COMPILED).map_err(|error| wrong(error.message))?;
                    map.expressions.push((regex, place));
                }
                other => return Err(wrong(format!("the type `{other}` of an entry is not known"))),
            }
            map.rows.push(Arc::new(row));
        }
        if !contained.is_empty() {
            let texts = contained.iter().map(|text| text.as_bytes());
            let kind = aho_corasick::MatchKind::LeftmostFirst;
            let automaton = AhoCorasick::builder().match_kind(kind).build(texts);
            map.contained = Some((automaton.map_err(|error| (1, error.to_string()))?, places));
        }
        Ok(map)
    }

    /// The tag of what is equal, else of what stands first in the text, else of the first expression that matches.
    fn tag(&self, text: &str) -> Option<Arc<str>> {
        let contained = || {
            let (automaton, places) = self.contained.as_ref()?;
            places.get(automaton.find(text)?.pattern().as_usize()).copied()
        };
        let matching =
            || self.expressions.iter().find(|(regex, _)| regex.is_match(text)).map(|(_, place)| *place);
        let place = self.equal.get(text).copied().or_else(contained).or_else(matching)?;
        self.rows.get(place)?.get("tag").cloned()
    }
}

/// Compiles expressions, some together: one search then does for many.
fn expressions(lines: &[(usize, &str)]) -> Result<Vec<Regex>, (usize, String)> {
    const TOGETHER: usize = 64;
    if let Some((line, _)) = lines.get(MAX_DATA_EXPRESSIONS) {
        return Err((*line, format!("more than {MAX_DATA_EXPRESSIONS} expressions")));
    }
    let mut all: Vec<Regex> = Vec::new();
    for lines in lines.chunks(TOGETHER) {
        if all.iter().map(Regex::memory_usage).sum::<usize>() > MAX_DATA_COMPILED_ALL {
            return Err((
                lines[0].0,
                format!("all before take more than {MAX_DATA_COMPILED_ALL} bytes when compiled"),
            ));
        }
        let mut translated = Vec::new();
        for (number, line) in lines {
            let text = regex::translate(line, |_| false).map_err(|error| (*number, error.message))?;
            translated.push((*number, text));
        }
        let together: Vec<String> = translated.iter().map(|(_, text)| format!("(?:{text})")).collect();
        if let Ok(regex) = regex::build(&together.join("|"), MAX_DATA_COMPILED) {
            all.push(regex);
            continue;
        }
        for (number, text) in translated {
            all.push(regex::build(&text, MAX_DATA_COMPILED).map_err(|error| (number, error.message))?);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(data: &Data, function: &str, arguments: &[&str]) -> Value {
        let arguments: Vec<Value> = arguments.iter().copied().map(Value::text).collect();
        data.call(function, &arguments).unwrap().unwrap()
    }

    #[test]
    fn files_of_each_kind_answer_their_functions() {
        let mut data = Data::default();
        data.add("t", "string", b"# comment\none\n\ntwo\r\n").unwrap();
        data.add("r", "regexp", b"^a+$\n(?i)nikto\n").unwrap();
        let map = br#"{"pattern": "/x", "tag": "equal", "type": "equals"}
{"pattern": "x", "tag": "part", "type": "contains"}
{"pattern": "^y+$", "tag": "regex", "type": "regex"}"#;
        data.add("m", "map", map).unwrap();
        data.add("n", "", b"\xff").unwrap();
        assert_eq!(call(&data, "File", &["t"]), Value::texts(["one", "two"]));
        assert_eq!(call(&data, "File", &["none"]), Value::list(Vec::new()));
        for (text, expected) in [("aa", true), ("a NIKTO b", true), ("b", false)] {
            assert_eq!(call(&data, "RegexpInFile", &[text, "r"]), Value::Bool(expected), "{text}");
        }
        for (text, expected) in [("/x", "equal"), ("ax", "part"), ("yy", "regex"), ("z", "")] {
            assert_eq!(call(&data, "LookupFile", &[text, "m"]), Value::text(expected), "{text}");
        }
        assert!(data.has("t") && data.has("r") && data.has("m") && !data.has("n"));
        assert!(data.call("Upper", &[]).is_none());
        assert!(data.call("File", &[Value::Nil]).unwrap().is_err());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let mut data = Data::default();
        for (kind, text, line, told) in [
            ("regexp", "a\n(?=b)\n", 2, "looks neither"),
            ("regexp", "((a{1000}){1000}){1000}\n", 1, "bytes when compiled"),
            ("map", "{\"pattern\": \"x\"}\n", 1, "must be there"),
            ("map", "x\n", 1, "no map"),
            ("yaml", "x\n", 1, "`yaml`"),
        ] {
            let error = data.add("f", kind, text.as_bytes()).unwrap_err();
            assert_eq!(error.line, line, "{error}");
            assert!(error.message.contains(told), "{error}");
        }
        assert!(data.add("f", "string", &vec![b'\n'; MAX_DATA_FILE + 1]).is_err());
    }
}
