//! Labels as protobuf pushes carry them: `{job="nginx", host="a\"b"}`, values quoted as Go quotes text.

use std::collections::BTreeMap;

/// Reads labels; none if they are no such thing.
pub(super) fn parse(text: &str) -> Option<BTreeMap<String, String>> {
    let mut rest = text.trim().strip_prefix('{')?.trim_start();
    let mut labels = BTreeMap::new();
    while !rest.starts_with('}') {
        let (name, after) = rest.split_once('=')?;
        let name = name.trim();
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':' | '.' | '-');
        if name.is_empty() || !name.chars().all(is_name) {
            return None;
        }
        let (value, after) = quoted(after.trim_start())?;
        labels.insert(name.to_owned(), value);
        rest = after.trim_start();
        rest = match rest.strip_prefix(',') {
            Some(next) => next.trim_start(),
            None if rest.starts_with('}') => rest,
            None => return None,
        };
    }
    (rest == "}").then_some(labels)
}

/// A quoted text in front, and what stands behind it.
fn quoted(text: &str) -> Option<(String, &str)> {
    if let Some(raw) = text.strip_prefix('`') {
        let (value, rest) = raw.split_once('`')?;
        return Some((value.to_owned(), rest));
    }
    let mut value = Vec::new();
    let mut chars = text.strip_prefix('"')?.chars();
    loop {
        match chars.next()? {
            '"' => return Some((String::from_utf8_lossy(&value).into_owned(), chars.as_str())),
            '\\' => escaped(&mut chars, &mut value)?,
            other => value.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

fn escaped(chars: &mut std::str::Chars<'_>, value: &mut Vec<u8>) -> Option<()> {
    let simple = match chars.next()? {
        'n' => b'\n',
        't' => b'\t',
        'r' => b'\r',
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'v' => 11,
        'x' => u8::try_from(number(chars, 2)?).ok()?,
        'u' => return encoded(number(chars, 4)?, value),
        'U' => return encoded(number(chars, 8)?, value),
        same @ ('\\' | '"' | '\'') => u8::try_from(same).ok()?,
        _ => return None,
    };
    value.push(simple);
    Some(())
}

fn number(chars: &mut std::str::Chars<'_>, digits: usize) -> Option<u32> {
    let (text, rest) = chars.as_str().split_at_checked(digits)?;
    *chars = rest.chars();
    text.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u32::from_str_radix(text, 16).ok())?
}

fn encoded(code: u32, value: &mut Vec<u8>) -> Option<()> {
    value.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn labels_as_go_writes_them() {
        let read = |text: &str| {
            let labels: Vec<String> =
                parse(text)?.iter().map(|(name, value)| format!("{name}:{value}")).collect();
            Some(labels.join(" "))
        };
        for (text, expected) in [
            (r#"{}"#, Some("")),
            (r#"{job="nginx"}"#, Some("job:nginx")),
            (r#" { b = "2" , a="1",} "#, Some("a:1 b:2")),
            (r#"{a="x\"y\\\u00e4\x41}"}"#, Some("a:x\"y\\äA}")),
            ("{a=`raw\\`}", Some("a:raw\\")),
            (r#"{a="1"} x"#, None),
            (r#"{a="1" b="2"}"#, None),
            (r#"{="1"}"#, None),
            (r#"{a="1}"#, None),
            (r#"{a="\q"}"#, None),
            (r#"{a="\ud800"}"#, None),
            ("", None),
        ] {
            assert_eq!(read(text).as_deref(), expected, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn what_is_quoted_comes_back(value in "[a-zä\"\\\\\n{}=,`]{0,20}") {
            let text = format!("{{a={value:?}}}");
            prop_assert_eq!(parse(&text).map(|labels| labels["a"].clone()), Some(value));
        }

        #[test]
        fn text_of_any_kind(text in "[{}a=\",\\\\x`ä ]{0,30}") {
            let _ = parse(&text);
        }
    }
}
