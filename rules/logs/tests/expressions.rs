//! Runs `tests/cases/logs/expr.toml` (how a case reads stands there), compiles every expression of CrowdSec's hub, and
//! holds the language to its bounds whatever it is given.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use logs::expr::{Problem, Program, Scope, Time, Value, limits};
use proptest::prelude::*;
use saphyr_parser::{Event, Parser};
use serde::Deserialize;

#[derive(Deserialize)]
struct Cases {
    event: Given,
    #[serde(flatten)]
    groups: BTreeMap<String, Group>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    parsed: BTreeMap<String, String>,
    meta: BTreeMap<String, String>,
    unmarshaled: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    values: String,
    problems: String,
    #[serde(default)]
    mistakes: String,
}

type Map = BTreeMap<Arc<str>, Value>;

/// The event of the cases.
#[derive(Clone)]
struct Seen {
    parsed: BTreeMap<Arc<str>, Arc<str>>,
    meta: BTreeMap<Arc<str>, Arc<str>>,
    unmarshaled: Map,
    /// Whether paths are followed by this scope or by the language.
    whole: bool,
}

fn map(pairs: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    Value::Map(Arc::new(pairs.into_iter().map(|(key, value)| (Arc::from(key), value)).collect()))
}

fn shared(texts: &BTreeMap<String, String>) -> BTreeMap<Arc<str>, Arc<str>> {
    texts.iter().map(|(key, text)| (Arc::from(key.as_str()), Arc::from(text.as_str()))).collect()
}

fn time(text: &str) -> Time {
    Time::utc(text.parse().unwrap())
}

impl Seen {
    fn new(given: &Given) -> Self {
        let read = format!("fromJSON({:?})", given.unmarshaled);
        let mut nothing = Self::nothing();
        let Value::Map(unmarshaled) = Program::compile(&read).unwrap().run(&mut nothing).unwrap() else {
            panic!("no map")
        };
        Self {
            parsed: shared(&given.parsed),
            meta: shared(&given.meta),
            unmarshaled: (*unmarshaled).clone(),
            whole: false,
        }
    }

    fn nothing() -> Self {
        Self { parsed: BTreeMap::new(), meta: BTreeMap::new(), unmarshaled: Map::new(), whole: false }
    }

    fn texts(texts: &BTreeMap<Arc<str>, Arc<str>>) -> Value {
        Value::Texts(Arc::new(texts.clone()))
    }

    fn root(&self, name: &str) -> Option<Value> {
        match name {
            "evt" => Some(map([
                ("Parsed", Self::texts(&self.parsed)),
                ("Meta", Self::texts(&self.meta)),
                ("Unmarshaled", Value::Map(Arc::new(self.unmarshaled.clone()))),
                ("Time", Value::Time(self.now())),
            ])),
            "queue" => {
                let entry = |at: &str| {
                    let meta = BTreeMap::from([(Arc::from("log_type"), Arc::from("ssh_failed-auth"))]);
                    map([("Meta", Self::texts(&meta)), ("Time", Value::Time(time(at)))])
                };
                let entries = ["2026-11-23T02:40:00Z", "2026-11-23T02:20:00Z"].map(entry);
                Some(map([("Queue", Value::list(entries.to_vec()))]))
            }
            _ => None,
        }
    }
}

impl Scope for Seen {
    fn path(&self, path: &[Arc<str>]) -> Option<(Value, usize)> {
        let mut value = self.root(path.first()?)?;
        if !self.whole {
            return Some((value, 1));
        }
        let mut used = 1;
        while let Some(found) = path.get(used).and_then(|name| value.field(name).ok()) {
            value = found;
            used += 1;
        }
        Some((value, used))
    }

    fn call(&mut self, function: &str, arguments: &[Value]) -> Option<Result<Value, Problem>> {
        match (function, arguments) {
            ("File", [Value::Text(name)]) if &**name == "list.txt" => {
                Some(Ok(Value::texts(["", "198.51.100.0/24", "192.0.2.0/24"])))
            }
            _ => None,
        }
    }

    fn call_method(
        &mut self,
        path: &[Arc<str>],
        method: &str,
        arguments: &[Value],
    ) -> Option<Result<Value, Problem>> {
        match (path, method, arguments) {
            ([evt], "SetMeta", [Value::Text(key), Value::Text(value)]) if &**evt == "evt" => {
                self.meta.insert(key.clone(), value.clone());
                Some(Ok(Value::Bool(true)))
            }
            ([evt], "GetMeta", [Value::Text(key)]) if &**evt == "evt" => {
                Some(Ok(self.meta.get(key).map_or_else(|| Value::text(""), |text| Value::Text(text.clone()))))
            }
            _ => None,
        }
    }

    fn store(&mut self, path: &[Arc<str>], key: &str, value: Value) -> Result<(), Problem> {
        let names: Vec<&str> = path.iter().map(AsRef::as_ref).collect();
        if names != ["evt", "Unmarshaled"] {
            return Err(Problem::new(format!("nothing can be stored in `{}`", path.join("."))));
        }
        self.unmarshaled.insert(Arc::from(key), value);
        Ok(())
    }

    fn now(&self) -> Time {
        time("2026-11-23T02:45:00Z")
    }
}

fn cases() -> Cases {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases/logs/expr.toml");
    toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// What stands in front of `=>` and behind.
fn lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter(|line| !line.is_empty()).map(|line| {
        let (given, expected) = line.split_once("=> ").unwrap();
        (given.trim_end(), expected)
    })
}

#[test]
fn values() {
    let cases = cases();
    let seen = Seen::new(&cases.event);
    let mut wrong = Vec::new();
    for (group, (given, expected)) in
        cases.groups.iter().flat_map(|(name, group)| lines(&group.values).map(move |line| (name, line)))
    {
        for whole in [false, true] {
            let run = |text: &str| {
                let program = Program::compile(text).map_err(|mistake| mistake.to_string())?;
                program.run(&mut Seen { whole, ..seen.clone() }).map_err(|problem| problem.to_string())
            };
            let expected = run(expected).unwrap();
            match run(given) {
                Ok(value) if value == expected && value.kind() == expected.kind() => {}
                other => wrong.push(format!("{group}: {given}: {other:?} instead of {expected:?}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn problems() {
    let cases = cases();
    let seen = Seen::new(&cases.event);
    for (given, expected) in cases.groups.values().flat_map(|group| lines(&group.problems)) {
        let program = Program::compile(given).unwrap_or_else(|mistake| panic!("{given}: {mistake}"));
        let problem = program.run(&mut seen.clone()).expect_err(given).to_string();
        assert!(problem.contains(expected), "{given}: {problem}");
    }
}

#[test]
fn mistakes() {
    for (given, expected) in cases().groups.values().flat_map(|group| lines(&group.mistakes)) {
        let mistake = Program::compile(given).expect_err(given);
        let (line, column) = mistake.place(given);
        let found = format!("{line}:{column} {}", mistake.message);
        let (place, part) = expected.split_once(' ').unwrap();
        assert!(found.starts_with(&format!("{place} ")) && found.contains(part), "{given}: {found}");
        assert!(!mistake.help.is_empty(), "{given}: no help");
    }
}

#[test]
fn what_a_program_talks_about() {
    let program = Program::compile(
        "evt.Meta.a == Lower(evt.Parsed.b) && any(File('x'), {IsAnomalous(#)}) && queue.Queue[0].x",
    )
    .unwrap();
    assert_eq!(program.functions().collect::<Vec<_>>(), ["File", "IsAnomalous"]);
    let paths: Vec<String> = program.paths().map(|path| path.join(".")).collect();
    assert_eq!(paths, ["evt.Meta.a", "evt.Parsed.b", "queue.Queue"]);
    assert!(logs::expr::knows("Lower") && !logs::expr::knows("File"));
}

#[test]
fn size_and_depth_are_bounded() {
    for (text, part) in [
        ("(".repeat(60_000), "inside each other"),
        ("[".repeat(60_000), "inside each other"),
        ("-".repeat(60_000), "inside each other"),
        ("a?b:".repeat(10_000), "inside each other"),
        ("if true {".repeat(7_000), "inside each other"),
        (format!("1{}", "+1".repeat(30_000)), "on top of each other"),
        (format!("a(){}", ".b()".repeat(10_000)), "on top of each other"),
        ("x".repeat(limits::MAX_EXPRESSION + 1), "bytes"),
        ((0..100).map(|n| format!("let v{n} = 1; ")).collect::<String>() + "1", "inside each other"),
    ] {
        let mistake = Program::compile(&text).expect_err(part);
        assert!(mistake.message.contains(part), "{mistake}");
    }
    // Long without being deep is fine.
    let long = (0..1_000).map(|n| format!("evt.Parsed.a == '{n}'")).collect::<Vec<_>>().join(" || ");
    assert!(!Program::compile(&long).unwrap().holds(&mut Seen { whole: true, ..Seen::nothing() }).unwrap());
    // As deep as it may be, it runs.
    let towers = [
        format!("{}true{}", "any([1], {".repeat(38), "})".repeat(38)),
        format!("1{}", "+evt.Parsed.a[0]".repeat(limits::MAX_HEIGHT - 8)),
        format!("{}1{}", "[".repeat(70), "]".repeat(70)),
        format!("{}1{}", "if true {".repeat(36), "} else {2}".repeat(36)),
    ];
    for text in towers {
        let program = Program::compile(&text).unwrap_or_else(|mistake| panic!("{mistake}"));
        drop(program.run(&mut Seen::nothing()));
    }
    // A value that holds itself many times over is neither written nor compared without end.
    let wide = "let a = [1, 1, 1, 1, 1, 1, 1, 1]; let b = [a, a, a, a, a, a, a, a]; let c = [b, b, b, b, b, b, b, b];
        let d = [c, c, c, c, c, c, c, c]; let e = [d, d, d, d, d, d, d, d]; let f = [e, e, e, e, e, e, e, e];
        let g = [f, f, f, f, f, f, f, f]; let h = [g, g, g, g, g, g, g, g]; ";
    for end in
        ["string(h)", "toJSON(h)", "flatten(h)", "h == [g, g, g, g, g, g, g, g]", "Sprintf('%v%v', h, h)"]
    {
        let program = Program::compile(&format!("{wide}{end}")).unwrap();
        drop(program.run(&mut Seen::nothing()));
    }
}

fn corpora() -> Option<PathBuf> {
    let corpora = std::env::var_os("SECD_CORPORA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora"),
        PathBuf::from,
    );
    corpora.join("crowdsec-hub").is_dir().then(|| corpora.join("crowdsec-hub"))
}

fn files(folder: &Path, ends: &[&str], found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, ends, found);
        } else if ends.iter().any(|end| path.to_string_lossy().ends_with(end)) {
            found.push(path);
        }
    }
}

/// The texts under keys that hold expressions.
fn expressions(yaml: &str) -> Vec<String> {
    const KEYS: [&str; 7] = ["filter", "expression", "groupby", "distinct", "cancel_on", "condition", "key"];
    let (mut found, mut stack, mut key): (Vec<String>, Vec<Option<String>>, Option<String>) =
        (Vec::new(), Vec::new(), None);
    // In a map a scalar is a key, then a value.
    let mut maps: Vec<bool> = Vec::new();
    for event in Parser::new_from_str(yaml) {
        match event.unwrap().0 {
            Event::MappingStart(..) => {
                stack.push(key.take());
                maps.push(true);
            }
            Event::SequenceStart(..) => {
                stack.push(key.clone());
                maps.push(false);
            }
            Event::MappingEnd | Event::SequenceEnd => {
                stack.pop();
                maps.pop();
                key = if maps.last() == Some(&false) { stack.last().cloned().flatten() } else { None };
            }
            Event::Scalar(text, ..) => match (maps.last(), &key) {
                (Some(true), None) => key = Some(text.into_owned()),
                (inside, Some(name)) => {
                    if KEYS.contains(&name.as_str()) && !text.is_empty() {
                        found.push(text.into_owned());
                    }
                    if inside == Some(&true) {
                        key = None;
                    }
                }
                _ => {}
            },
            _ => {}
        }
    }
    found
}

#[test]
fn every_expression_of_the_hub_compiles() {
    let Some(hub) = corpora() else {
        eprintln!("SKIP: every_expression_of_the_hub_compiles: no corpora");
        return;
    };
    let (mut count, mut wrong, mut asked) = (0, Vec::new(), BTreeMap::new());
    let mut compile = |path: &Path, text: &str| {
        count += 1;
        match Program::compile(text) {
            Ok(program) => {
                for name in program.functions() {
                    *asked.entry(name.to_owned()).or_insert(0) += 1;
                }
            }
            Err(mistake) => wrong.push(format!("{}: {text}: {mistake}", path.display())),
        }
    };
    let mut found = Vec::new();
    for folder in ["parsers", "scenarios", "postoverflows"] {
        files(&hub.join(folder), &[".yaml", ".yml"], &mut found);
    }
    for path in &found {
        expressions(&std::fs::read_to_string(path).unwrap()).iter().for_each(|text| compile(path, text));
    }
    let mut asserts = Vec::new();
    files(&hub.join("tests"), &[".assert"], &mut asserts);
    for path in &asserts {
        let text = String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
        text.lines().filter(|line| !line.is_empty()).for_each(|line| compile(path, line));
    }
    assert!(wrong.is_empty(), "{} of {count} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 30_000, "only {count} expressions were found");
    let asked: Vec<String> = asked.into_keys().collect();
    assert_eq!(asked, ["File", "GetFromStash", "LookupFile", "RegexpInFile"], "functions left to the scope");
}

/// Text that looks like expressions more often than chance does.
fn expression() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("evt.Parsed.program".to_owned()),
        Just("evt.Unmarshaled.app".to_owned()),
        Just("any(".to_owned()),
        Just("map([1, 2], {".to_owned()),
        Just("})".to_owned()),
        Just("let a = ".to_owned()),
        Just("Sprintf('%v %d', ".to_owned()),
        Just("XMLGetNodeValue('<a>', ".to_owned()),
        Just("date('2006', ".to_owned()),
        "[-+*/%!=<>&|?:.,;#(){}\\[\\] ]{1,3}",
        "[a-c0-9_]{1,3}",
        "'[ -~é]{0,5}'",
        prop::sample::select(vec![
            " in ",
            " not ",
            " matches ",
            " and ",
            " ?? ",
            "..",
            "if ",
            " else ",
            "nil",
            "true"
        ])
        .prop_map(str::to_owned),
        prop::sample::select(FUNCTIONS.to_vec()).prop_map(|name| format!("{name}(")),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

const FUNCTIONS: [&str; 24] = [
    "Upper",
    "Split",
    "SplitN",
    "Replace",
    "Join",
    "Trim",
    "JsonExtract",
    "ToJsonString",
    "IpToRange",
    "duration",
    "repeat",
    "sort",
    "len",
    "int",
    "get",
    "Distance",
    "PathUnescape",
    "QueryEscape",
    "ParseUri",
    "Match",
    "median",
    "bitshl",
    "toJSON",
    "fromJSON",
];

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<f64>().prop_map(Value::Float),
        any::<i64>().prop_map(Value::Duration),
        ".{0,8}".prop_map(Value::from),
        "[0-9./:%+-]{0,12}".prop_map(Value::from),
        Just(Value::Time(Time::zero())),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| prop::collection::vec(inner, 0..3).prop_map(Value::from))
}

/// A scope of three values.
struct Letters(Vec<Value>);

impl Scope for Letters {
    fn path(&self, path: &[Arc<str>]) -> Option<(Value, usize)> {
        let place = ["a", "b", "c"].iter().position(|name| *name == &*path[0])?;
        Some((self.0[place].clone(), 1))
    }

    fn now(&self) -> Time {
        Time::zero()
    }
}

/// Every function and operator on values that are whatever they are.
static CALLS: LazyLock<Vec<Program>> = LazyLock::new(|| {
    let arguments = ["a", "a, b", "a, b, c", "a, b, c, a"];
    let calls = ALL.iter().flat_map(|name| arguments.map(|arguments| format!("{name}({arguments})")));
    // What has too many arguments does not compile.
    let mut programs: Vec<Program> = calls.filter_map(|call| Program::compile(&call).ok()).collect();
    let operations = [
        "a + b",
        "a - b",
        "a * b",
        "a / b",
        "a % b",
        "a ** b",
        "a..b",
        "a < b",
        "a == b",
        "a in b",
        "a[b]",
        "a[b:c]",
        "a contains b",
        "a matches b",
        "-a",
        "not a",
        "a ?? b",
        "a.Format(b)",
        "a.AddDate(b, b, c)",
        "a.Truncate(b)",
        "a.Round(b)",
        "a.Add(b)",
        "a.Unix()",
        "a.UnixNano()",
        "a.String()",
    ];
    programs.extend(operations.map(|text| Program::compile(text).unwrap()));
    programs
});

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_panic(text in prop_oneof![expression(), any::<String>()]) {
        match Program::compile(&text) {
            Ok(program) => drop(program.run(&mut Seen { whole: true, ..Seen::nothing() })),
            Err(mistake) => {
                prop_assert!(mistake.offset <= text.len());
                prop_assert!(!mistake.message.is_empty() && !mistake.help.is_empty());
            }
        }
    }

    #[test]
    fn no_value_makes_a_function_panic(values in prop::collection::vec(any_value(), 3)) {
        // A result or a problem.
        let mut given = Letters(values);
        for program in &*CALLS {
            drop(program.run(&mut given));
        }
    }

    /// What is read from JSON is written as it was.
    #[test]
    fn json_comes_back(text in "[ -~é]{0,20}", number in any::<i32>(), float in -1e9..1e9f64) {
        let json = serde_json::json!({"a": [text, null, true], "b": {"c": number, "d": float}}).to_string();
        let mut seen = Seen::nothing();
        seen.parsed.insert(Arc::from("json"), Arc::from(json));
        let program = Program::compile("fromJSON(evt.Parsed.json) == fromJSON(ToJsonString(fromJSON(evt.Parsed.json)))").unwrap();
        prop_assert!(program.holds(&mut seen).unwrap());
    }
}

const ALL: [&str; 94] = [
    "Upper",
    "Lower",
    "TrimSpace",
    "Trim",
    "TrimLeft",
    "TrimRight",
    "TrimPrefix",
    "TrimSuffix",
    "Split",
    "SplitN",
    "SplitAfter",
    "SplitAfterN",
    "Fields",
    "Join",
    "Replace",
    "ReplaceAll",
    "Index",
    "IndexAny",
    "Match",
    "ToString",
    "basename",
    "LogInfo",
    "B64Decode",
    "B64Encode",
    "Get",
    "Distinct",
    "Flatten",
    "FlattenDistinct",
    "KeyExists",
    "Atof",
    "FloatApproxEqual",
    "Distance",
    "JsonExtract",
    "JsonExtractLib",
    "JsonExtractUnescape",
    "JsonExtractSlice",
    "JsonExtractObject",
    "ToJsonString",
    "XMLGetNodeValue",
    "XMLGetAttributeValue",
    "IpInRange",
    "IsIP",
    "IsIPV4",
    "IsIPV6",
    "IpToRange",
    "PathUnescape",
    "QueryUnescape",
    "PathEscape",
    "QueryEscape",
    "ParseUri",
    "ParseQuery",
    "ExtractQueryParam",
    "TimeNow",
    "ParseUnix",
    "AverageInterval",
    "MedianInterval",
    "Sprintf",
    "upper",
    "trim",
    "split",
    "splitAfter",
    "replace",
    "repeat",
    "lastIndexOf",
    "hasPrefix",
    "hasSuffix",
    "string",
    "fromBase64",
    "len",
    "first",
    "last",
    "get",
    "take",
    "reverse",
    "sort",
    "uniq",
    "flatten",
    "concat",
    "keys",
    "values",
    "toPairs",
    "fromPairs",
    "int",
    "float",
    "type",
    "abs",
    "round",
    "max",
    "mean",
    "median",
    "bitshl",
    "bitushr",
    "date",
    "fromJSON",
];
