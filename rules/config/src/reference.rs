//! The commented reference file, printed from the draft types: every key, what it does, its default.

use serde::{Deserialize, Deserializer, de};
use serde_json::Value;
use std::fmt::{self, Write};

use crate::{
    draft::{
        ApiDraft, BansDraft, CrowdsecDraft, DnsClientDraft, DnsDraft, DnsForwardDraft, DnsGroupDraft, Draft,
        EventsDraft, Fail2banDraft, ForwardDraft, GeoipDraft, GeoipSystemsDraft, LapiDraft, LimitsDraft,
        ListDraft, LocalDraft, LogDraft, LokiDraft, PiholeApiDraft, QueryLogDraft, ReflectDraft, RuleDraft,
        RuleSourceDraft, ScheduleDraft, SignaturesDraft, StoreDraft, ZoneDraft,
    },
    shape::{Key, Shape, toml_key, toml_text},
};

/// Columns of the file.
const WIDTH: usize = 110;

/// A `secd.toml` with every key, its meaning and its default. Sections with names of the user's own hold an example.
#[must_use]
pub fn reference() -> String {
    let root = Key::root();
    let mut text = String::new();
    comment(&mut text, &root.doc);
    text.push_str("#\n# Lines that begin with `#` and no space behind it are settings without a default.\n");
    let Shape::Table(keys) = root.shape else { return text };
    let keys = ordered(keys, &fields::<Draft>());
    for key in keys.iter().filter(|key| !is_section(key)) {
        text.push('\n');
        setting(&mut text, key, false);
    }
    for key in keys.iter().filter(|key| is_section(key)) {
        section(&mut text, key, &key.name);
    }
    text
}

fn section(text: &mut String, key: &Key, path: &str) {
    text.push('\n');
    comment(text, &key.doc);
    match &key.shape {
        Shape::Table(keys) => {
            let _ = writeln!(text, "[{path}]");
            table(text, keys, path, false);
        }
        Shape::Array(item) => {
            let _ = writeln!(text, "[[{path}]]");
            if let Shape::Table(keys) = &item.shape {
                table(text, keys, path, true);
            }
        }
        Shape::Entries(entry) => match &entry.shape {
            Shape::Table(keys) => {
                let _ = writeln!(text, "[{path}.{}]", key.entry.as_deref().unwrap_or("wan"));
                table(text, keys, path, true);
            }
            Shape::Entries(_)
            | Shape::Array(_)
            | Shape::Word(_)
            | Shape::Text
            | Shape::Integer
            | Shape::Boolean => {
                let _ = writeln!(text, "[{path}]");
                for (name, value) in key.sample().as_object().into_iter().flatten() {
                    let _ = writeln!(text, "{} = {}", toml_key(name), toml_text(value));
                }
            }
        },
        Shape::Word(_) | Shape::Text | Shape::Integer | Shape::Boolean => {}
    }
}

fn table(text: &mut String, keys: &[Key], path: &str, is_example: bool) {
    let order = match path {
        "zones" => fields::<ZoneDraft>(),
        "schedules" => fields::<ScheduleDraft>(),
        "rules" => fields::<RuleDraft>(),
        "forwards" => fields::<ForwardDraft>(),
        "dns" => fields::<DnsDraft>(),
        "dns.forwards" => fields::<DnsForwardDraft>(),
        "dns.groups" => fields::<DnsGroupDraft>(),
        "dns.clients" => fields::<DnsClientDraft>(),
        "dns.local" => fields::<LocalDraft>(),
        "dns.log" => fields::<QueryLogDraft>(),
        "dns.reflect" => fields::<ReflectDraft>(),
        "lists" => fields::<ListDraft>(),
        "logs" => fields::<LogDraft>(),
        "fail2ban" => fields::<Fail2banDraft>(),
        "crowdsec" => fields::<CrowdsecDraft>(),
        "geoip" => fields::<GeoipDraft>(),
        "geoip.systems" => fields::<GeoipSystemsDraft>(),
        "signatures.sources" => fields::<RuleSourceDraft>(),
        "bans" => fields::<BansDraft>(),
        "limits" => fields::<LimitsDraft>(),
        "signatures" => fields::<SignaturesDraft>(),
        "loki" => fields::<LokiDraft>(),
        "store" => fields::<StoreDraft>(),
        "events" => fields::<EventsDraft>(),
        "api" => fields::<ApiDraft>(),
        "pihole_api" => fields::<PiholeApiDraft>(),
        "lapi" => fields::<LapiDraft>(),
        _ => Vec::new(),
    };
    let mut keys: Vec<&Key> = keys.iter().collect();
    keys.sort_by_key(|key| order.iter().position(|name| *name == key.name));
    for key in keys.iter().filter(|key| !is_section(key)) {
        setting(text, key, is_example);
    }
    for key in keys.iter().filter(|key| is_section(key)) {
        section(text, key, &format!("{path}.{}", key.name));
    }
}

fn is_section(key: &Key) -> bool {
    matches!(key.shape, Shape::Table(_) | Shape::Entries(_))
        || matches!(&key.shape, Shape::Array(item) if matches!(item.shape, Shape::Table(_)))
}

/// The built-in services as a page of Markdown.
#[must_use]
pub fn services_page() -> String {
    let mut text = String::from(
        "# Built-in services\n\nNames for `services` in `[[rules]]` and in services of your own.\n\n\
         | name | matches | what it is |\n|---|---|---|\n",
    );
    for service in policy::services::BUILT_IN {
        let _ = writeln!(text, "| `{}` | {} | {} |", service.name, service.matches.join(", "), service.doc);
    }
    text
}

/// One key. In an example the value is the example, in a section the default; what has neither is switched off.
fn setting(text: &mut String, key: &Key, is_example: bool) {
    let is_example = is_example && !key.plain;
    let mut doc = key.doc.clone();
    if let Shape::Word(words) = &key.shape {
        let _ = write!(doc, " One of {}.", words.join(", "));
    }
    if key.required {
        doc.push_str(" Required.");
    } else if !key.default.is_null() {
        let _ = write!(doc, " Default: {}.", toml_text(&key.default));
    }
    let is_set = key.required || key.shown || !key.default.is_null();
    let value = if (is_example || !is_set) && key.example.is_some() { key.sample() } else { &key.default };
    if !is_example
        && is_set
        && let Some(example) = &key.example
    {
        let _ = write!(doc, " Example: {}.", toml_text(example));
    }
    comment(text, &doc);
    let value = if *value == Value::Null { &Value::String(String::new()) } else { value };
    let _ = writeln!(text, "{}{} = {}", if is_set { "" } else { "#" }, key.name, toml_text(value));
}

fn comment(text: &mut String, doc: &str) {
    for paragraph in doc.split("\n\n") {
        let mut line = String::from("#");
        for word in paragraph.split_whitespace() {
            if line.len() > 1 && line.chars().count() + word.chars().count() + 1 > WIDTH {
                text.push_str(&line);
                text.push('\n');
                line.truncate(1);
            }
            line.push(' ');
            line.push_str(word);
        }
        text.push_str(&line);
        text.push('\n');
    }
}

fn ordered(mut keys: Vec<Key>, order: &[&str]) -> Vec<Key> {
    keys.sort_by_key(|key| order.iter().position(|name| *name == key.name));
    keys
}

/// The fields of a struct in the order of its source: serde tells them to a deserializer that asks for nothing else.
fn fields<'de, T: Deserialize<'de>>() -> Vec<&'static str> {
    struct Asker<'a>(&'a mut Vec<&'static str>);

    #[derive(Debug)]
    struct Enough;
    impl fmt::Display for Enough {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("only the names of the fields were asked for")
        }
    }
    impl std::error::Error for Enough {}
    impl de::Error for Enough {
        fn custom<M: fmt::Display>(_: M) -> Self {
            Self
        }
    }

    impl<'de> Deserializer<'de> for Asker<'_> {
        type Error = Enough;
        fn deserialize_any<V: de::Visitor<'de>>(self, _: V) -> Result<V::Value, Enough> {
            Err(Enough)
        }
        fn deserialize_struct<V: de::Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, Enough> {
            self.0.extend(fields);
            Err(Enough)
        }
        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
            newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    let mut names = Vec::new();
    let _ = T::deserialize(Asker(&mut names));
    names
}
