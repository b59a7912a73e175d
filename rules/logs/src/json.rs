//! The wanted values of a JSON line, in one pass and without building the document.

use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

use crate::fields::Fields;

/// Which keys are wanted, as a tree.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    slot: Option<usize>,
    children: Vec<(String, Tree)>,
}

impl Tree {
    /// Wants the value at `path` in `slot`.
    pub(crate) fn want(&mut self, path: &[String], slot: usize) {
        let Some((first, rest)) = path.split_first() else {
            self.slot = Some(slot);
            return;
        };
        let at = self.children.iter().position(|(key, _)| key == first).unwrap_or_else(|| {
            self.children.push((first.clone(), Self::default()));
            self.children.len() - 1
        });
        self.children[at].1.want(rest, slot);
    }

    /// Reads a whole line. False if it is not one JSON object, or if a wanted key stands in it twice: whoever can
    /// smuggle a key in must not choose its value.
    pub(crate) fn read(&self, line: &[u8], fields: &mut Fields) -> bool {
        let mut reader = serde_json::Deserializer::from_slice(line);
        let visit = Visit { tree: self, fields };
        visit.deserialize(&mut reader).is_ok() && reader.end().is_ok() && line.first() == Some(&b'{')
    }
}

struct Visit<'t, 'f> {
    tree: &'t Tree,
    fields: &'f mut Fields,
}

impl Visit<'_, '_> {
    fn store<E: Error>(&mut self, value: &[u8]) -> Result<(), E> {
        match self.tree.slot {
            Some(slot) if !self.fields.copy(slot, value) => Err(E::custom("a key stands there twice")),
            Some(_) | None => Ok(()),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Visit<'_, '_> {
    type Value = ();
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Visit<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(at) = map.next_key_seed(Key(&self.tree.children))? {
            match at {
                Some(at) => {
                    map.next_value_seed(Visit {
                        tree: &self.tree.children[at].1,
                        fields: &mut *self.fields,
                    })?;
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_str<E: Error>(mut self, value: &str) -> Result<(), E> {
        self.store(value.as_bytes())
    }

    fn visit_i64<E: Error>(mut self, value: i64) -> Result<(), E> {
        self.store(value.to_string().as_bytes())
    }

    fn visit_u64<E: Error>(mut self, value: u64) -> Result<(), E> {
        self.store(value.to_string().as_bytes())
    }

    fn visit_f64<E: Error>(mut self, value: f64) -> Result<(), E> {
        self.store(value.to_string().as_bytes())
    }

    fn visit_bool<E: Error>(mut self, value: bool) -> Result<(), E> {
        self.store(if value { b"true" } else { b"false" })
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Place of a key among the wanted ones.
struct Key<'t>(&'t [(String, Tree)]);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<usize>;
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|(wanted, _)| wanted == key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<Vec<Option<String>>> {
        let mut tree = Tree::default();
        tree.want(&["a".into()], 0);
        tree.want(&["b".into(), "c".into()], 1);
        let mut fields = Fields::default();
        fields.clear(2);
        tree.read(line.as_bytes(), &mut fields).then(|| {
            (0..2)
                .map(|slot| fields.get(b"", slot).map(|v| String::from_utf8_lossy(v).into_owned()))
                .collect()
        })
    }

    #[test]
    fn wanted_values_only() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            read(r#"{"x":[1,{"a":2}],"a":"q\"\u0041","b":{"c":401,"d":{}}}"#),
            Some(vec![some("q\"A"), some("401")])
        );
        assert_eq!(read(r#"{"a":null,"b":[]}"#), Some(vec![None, None]));
        for wrong in
            [r#"{"a":"1","a":"2"}"#, r#"{"a":"1"} x"#, r#"{"a":"1""#, "[]", "1", "", "{\"a\":\"\u{1}\"}"]
        {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        // Depth costs no stack.
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert_eq!(read(&format!(r#"{{"x":{deep},"a":1}}"#)), Some(vec![some("1"), None]));
        assert_eq!(read(&format!(r#"{{"a":{deep}}}"#)), Some(vec![None, None]));
    }
}
