//! The JSON schema of the draft types as a tree that the structural check and the reference printer walk.

use serde_json::{Map, Value};

/// A key, the value it takes and what is said about it.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) doc: String,
    pub(crate) shape: Shape,
    /// What holds where the key is left out; null where nothing does.
    pub(crate) default: Value,
    /// What a person might write.
    pub(crate) example: Option<Value>,
    /// The example is written in the reference file, not only shown in a comment.
    pub(crate) shown: bool,
    /// The example is only shown in a comment, even where others are written.
    pub(crate) plain: bool,
    pub(crate) required: bool,
    /// How the reference file calls the example of a table with names of the user's own.
    pub(crate) entry: Option<String>,
    pub(crate) minimum: Option<i64>,
    pub(crate) maximum: Option<i64>,
    pub(crate) min_length: Option<u64>,
    pub(crate) max_length: Option<u64>,
}

/// What a value looks like.
#[derive(Debug)]
pub(crate) enum Shape {
    /// A table with known keys.
    Table(Vec<Key>),
    /// A table with names of the user's own.
    Entries(Box<Key>),
    Array(Box<Key>),
    /// One of these words.
    Word(Vec<String>),
    Text,
    Integer,
    Boolean,
}

impl Shape {
    /// How a person calls it.
    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Self::Table(_) | Self::Entries(_) => "a table",
            Self::Array(_) => "a list",
            Self::Word(_) | Self::Text => "text in quotes",
            Self::Integer => "a whole number",
            Self::Boolean => "true or false",
        }
    }
}

impl Key {
    /// The whole file.
    pub(crate) fn root() -> Self {
        let schema = crate::schema();
        let definitions = schema.get("$defs").cloned().unwrap_or_default();
        read("", &schema, &definitions)
    }

    /// A value as a person would write it: the example, else the default.
    pub(crate) fn sample(&self) -> &Value {
        self.example.as_ref().unwrap_or(&self.default)
    }
}

/// Reads the subset of JSON schema that the draft types produce.
fn read(name: &str, outer: &Value, definitions: &Value) -> Key {
    let inner = resolve(outer, definitions);
    let field = |field: &str| outer.get(field).or_else(|| inner.get(field));
    let example = field("examples").and_then(|all| all.get(0));
    Key {
        name: name.to_owned(),
        doc: field("description").and_then(Value::as_str).unwrap_or_default().to_owned(),
        shape: shape(inner, definitions),
        default: outer.get("default").cloned().unwrap_or_default(),
        example: example.cloned(),
        shown: field("x-shown").and_then(Value::as_bool).unwrap_or(false),
        plain: field("x-plain").is_some(),
        required: field("x-required").is_some(),
        entry: field("x-entry").and_then(Value::as_str).map(str::to_owned),
        minimum: field("minimum").and_then(Value::as_i64),
        maximum: field("maximum").and_then(Value::as_i64),
        min_length: field("minLength").or_else(|| field("minItems")).and_then(Value::as_u64),
        max_length: field("maxLength").and_then(Value::as_u64),
    }
}

fn shape(schema: &Value, definitions: &Value) -> Shape {
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return Shape::Word(words.iter().filter_map(Value::as_str).map(str::to_owned).collect());
    }
    if let Some(words) = schema.get("oneOf").and_then(Value::as_array) {
        let words = words.iter().filter_map(|word| word.get("const").and_then(Value::as_str));
        return Shape::Word(words.map(str::to_owned).collect());
    }
    let kind = schema.get("type").map(|kind| kind.get(0).unwrap_or(kind));
    match kind.and_then(Value::as_str) {
        Some("object") => match schema.get("properties").and_then(Value::as_object) {
            Some(properties) => Shape::Table(keys(properties, definitions)),
            None => Shape::Entries(Box::new(read("", &schema["additionalProperties"], definitions))),
        },
        Some("array") => Shape::Array(Box::new(read("", &schema["items"], definitions))),
        Some("integer") => Shape::Integer,
        Some("boolean") => Shape::Boolean,
        _ => Shape::Text,
    }
}

fn keys(properties: &Map<String, Value>, definitions: &Value) -> Vec<Key> {
    properties.iter().map(|(name, schema)| read(name, schema, definitions)).collect()
}

/// Follows a reference and the non-null half of an optional value.
fn resolve<'a>(schema: &'a Value, definitions: &'a Value) -> &'a Value {
    let target = match schema.get("anyOf").and_then(Value::as_array) {
        Some(choices) => choices.iter().find(|choice| choice.get("$ref").is_some()).unwrap_or(schema),
        None => schema,
    };
    match target.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next()) {
        Some(name) => definitions.get(name).unwrap_or(target),
        None => target,
    }
}

/// A key as it is written in TOML.
pub(crate) fn toml_key(name: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !name.is_empty() && name.bytes().all(is_bare) {
        name.to_owned()
    } else {
        Value::from(name).to_string()
    }
}

/// A JSON value as it is written in TOML.
pub(crate) fn toml_text(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            format!("[{}]", items.iter().map(toml_text).collect::<Vec<_>>().join(", "))
        }
        Value::Object(entries) => {
            let entries =
                entries.iter().map(|(name, value)| format!("{} = {}", toml_key(name), toml_text(value)));
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}
