//! `<tags>`: those of a filter's own options, which are put in first, and those that stand for regexes (`<HOST>`,
//! `<F-USER>…</F-USER>`). Also the options behind a filter's name: `sshd[mode=aggressive]`.
//!
//! Source: jail.conf(5), and the behaviour of Fail2ban 1.1.

use std::collections::BTreeMap;

use super::limits::{MAX_INSERTIONS, MAX_SUBSTITUTIONS, MAX_VALUE};

/// A filter's name and its options, of `name[option=value, other="a, b"]`.
///
/// # Errors
/// What is wrong with the text.
pub fn name_and_options(text: &str) -> Result<(String, BTreeMap<String, String>), String> {
    let text = text.trim();
    let Some((name, rest)) = text.split_once('[') else { return Ok((text.to_owned(), BTreeMap::new())) };
    let inside = rest.strip_suffix(']').ok_or("the options have no `]` at their end")?;
    if name.is_empty() {
        return Err("there is no name in front of the options".into());
    }
    let mut options = BTreeMap::new();
    let mut rest = inside.trim_start();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=').ok_or("an option without `=`")?;
        let key = key.trim();
        let right = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
        if key.is_empty() || !key.chars().all(right) {
            return Err(format!("`{key}` is not a name for an option"));
        }
        let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''));
        let (value, after) = match quote.and_then(|quote| after[1..].split_once(quote)) {
            Some((value, after)) => (value, after),
            None => after.split_at(after.find([',', ']']).unwrap_or(after.len())),
        };
        options.insert(key.to_owned(), value.trim().to_owned());
        let after = after.trim_start();
        rest = match after.strip_prefix(',') {
            Some(after) => after.trim_start(),
            None if after.is_empty() => after,
            None => {
                let next = after.strip_prefix(']').and_then(|after| after.trim_start().strip_prefix('['));
                next.ok_or(format!("something behind the value of `{key}`"))?.trim_start()
            }
        };
    }
    Ok((name.trim().to_owned(), options))
}

/// Puts options in for their tags: `<mdre-<mode>>` becomes what `mdre-aggressive` says. Tags that `look_up` does not know
/// stay as they are.
pub(super) fn substitute(
    name: &str,
    value: String,
    look_up: &mut dyn FnMut(&str) -> Option<String>,
) -> Result<String, String> {
    let mut value = value;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut all = 0;
    // A round for each depth of tags in tags.
    loop {
        let mut changed = false;
        let mut from = 0;
        while let Some((start, end)) = next_tag(&value, from) {
            let tag = &value[start + 1..end - 1];
            let Some(text) = look_up(tag) else {
                from = end;
                continue;
            };
            all += 1;
            if all > MAX_INSERTIONS {
                return Err(format!("more than {MAX_INSERTIONS} tags are put in"));
            }
            let count = counts.entry(tag.to_owned()).or_default();
            *count += 1;
            if tag == name || *count > MAX_SUBSTITUTIONS {
                return Err(format!("`<{tag}>` puts itself in"));
            }
            value = value.replace(&format!("<{tag}>"), &text);
            if value.len() > MAX_VALUE {
                return Err(format!("longer than {MAX_VALUE} bytes with `<{name}>` put in"));
            }
            changed = true;
            from = start;
        }
        if !changed {
            return Ok(value);
        }
    }
}

/// The next `<tag>` without spaces or brackets in it, from a byte on.
fn next_tag(value: &str, from: usize) -> Option<(usize, usize)> {
    let mut open: Option<usize> = None;
    for (at, byte) in value.bytes().enumerate().skip(from) {
        match byte {
            b'<' => open = Some(at),
            b'>' if open.is_some_and(|open| at > open + 1) => return open.map(|open| (open, at + 1)),
            b' ' | b'>' => open = None,
            _ => {}
        }
    }
    None
}

/// An IPv4 address, also as the end of an IPv6 address.
const IP4: &str = r"(?:::f{4,6}:)?(?P<ip4>\d{1,3}(?:\.\d{1,3}){3})";
/// An IPv6 address.
const IP6: &str = r"(?P<ip6>(?:[0-9a-fA-F]{1,4}::?|:){1,7}(?:[0-9a-fA-F]{1,4}|:))";
/// A host name.
const DNS: &str = r"(?P<dns>[\w\-.^_]*\w)";
/// Length of a prefix.
const CIDR: &str = r"(?P<cidr>\d+)";

/// Puts regexes in for tags. Without `names`, `<HOST>` is an address only.
pub(super) fn expand(regex: &str, names: bool) -> String {
    let mut done = String::new();
    let mut opened: Vec<String> = Vec::new();
    let mut skipped = 0;
    let mut rest = regex;
    while let Some(at) = rest.find('<') {
        done.push_str(&rest[..at]);
        rest = &rest[at..];
        let Some((tag, length)) = tag_at(rest) else {
            done.push('<');
            rest = &rest[1..];
            continue;
        };
        rest = &rest[length..];
        let address = || format!(r"\[?(?:{IP4}|{IP6})\]?");
        match tag {
            "HOST" if names => done.push_str(&format!("(?:{}|{DNS})", address())),
            "HOST" | "ADDR" | "F-ADDR/" => done.push_str(&address()),
            "IP4" | "F-IP4/" => done.push_str(IP4),
            "IP6" | "F-IP6/" => done.push_str(IP6),
            "DNS" | "F-DNS/" => done.push_str(DNS),
            "CIDR" | "F-CIDR/" => done.push_str(CIDR),
            "SUBNET" | "F-SUBNET/" => done.push_str(&format!(r"\[?(?:{IP4}|{IP6})(?:/{CIDR})?\]?")),
            "F-ID/" => done.push_str(r"(?P<fid>\S+)"),
            "F-PORT/" => done.push_str(r"(?P<fport>\w+)"),
            "SKIPLINES" => {
                done.push_str(&format!(r"\n(?P<skiplines{skipped}>(?:(?:.*\n)*?))"));
                skipped += 1;
            }
            tag => {
                let close = tag.starts_with('/');
                let name = tag.trim_start_matches('/').strip_prefix("F-").filter(|name| {
                    !name.is_empty()
                        && name
                            .bytes()
                            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'))
                });
                match name {
                    Some(name) if close && opened.iter().any(|open| open == name) => done.push(')'),
                    Some(name) if !close => {
                        opened.push(name.to_owned());
                        done.push_str(&format!("(?P<{}>", field(&name.to_lowercase())));
                    }
                    _ => done.push_str(&format!("<{tag}>")),
                }
            }
        }
    }
    done.push_str(rest);
    local_flags(&done)
}

/// `</?[\w-]+/?>` at the beginning: what is inside, and its length with the brackets.
fn tag_at(text: &str) -> Option<(&str, usize)> {
    let end = text.find('>')?;
    let inside = &text[1..end];
    let word = inside.strip_prefix('/').unwrap_or(inside);
    let word = word.strip_suffix('/').unwrap_or(word);
    let right = !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
    right.then_some((inside, end + 1))
}

/// The field that a tag's name means.
pub(super) fn field(name: &str) -> &str {
    match name {
        "id" => "fid",
        "port" => "fport",
        name => name,
    }
}

/// `((?i)x)` and `(?:(?i)x)` as `(?i:x)`.
fn local_flags(regex: &str) -> String {
    let mut done = String::new();
    let mut rest = regex;
    while let Some(at) = rest.find('(') {
        let escaped = rest[..at].ends_with('\\') || (at == 0 && done.ends_with('\\'));
        let after = &rest[at + 1..];
        let after = after.strip_prefix("?:").unwrap_or(after);
        let flags = after
            .strip_prefix("(?")
            .and_then(|flags| flags.split_once(')'))
            .filter(|(flags, _)| !flags.is_empty() && flags.bytes().all(|byte| byte.is_ascii_lowercase()));
        done.push_str(&rest[..at]);
        match flags {
            Some((flags, after)) if !escaped => {
                done.push_str(&format!("(?{flags}:"));
                rest = after;
            }
            _ => {
                done.push('(');
                rest = &rest[at + 1..];
            }
        }
    }
    done.push_str(rest);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_a_filter() {
        let (name, options) = name_and_options(r#"sshd[mode=aggressive, x="a, [b]", y='c'][z=1]"#).unwrap();
        assert_eq!(name, "sshd");
        let pairs: Vec<_> = options.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("mode", "aggressive"), ("x", "a, [b]"), ("y", "c"), ("z", "1")]);
        for wrong in ["sshd[mode]", "sshd[mode=x", "[mode=x]", "sshd[a=\"b\"c]"] {
            assert!(name_and_options(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn tags_in_tags_and_tags_without_end() {
        let mut look_up = |tag: &str| match tag {
            "mode" => Some("hard".to_owned()),
            "re-hard" => Some("<what>!".to_owned()),
            "what" => Some("x".to_owned()),
            "a" => Some("<b>".to_owned()),
            "b" => Some("<a>".to_owned()),
            "big" => Some("<mode>".repeat(100_000)),
            _ => None,
        };
        let put = |value: &str, look_up: &mut dyn FnMut(&str) -> Option<String>| {
            substitute("failregex", value.to_owned(), look_up)
        };
        assert_eq!(put("<re-<mode>> <HOST> < b>", &mut look_up).unwrap(), "x! <HOST> < b>");
        assert!(put("<a>", &mut look_up).unwrap_err().contains("itself"));
        assert!(put("<big>", &mut look_up).unwrap_err().contains("longer"));
    }

    #[test]
    fn tags_as_regexes() {
        assert_eq!(
            expand("<F-USER>.*</F-USER> <F-ID>x</F-ID> </F-NO> <a> \\<?", true),
            "(?P<user>.*) (?P<fid>x) </F-NO> <a> \\<?"
        );
        assert!(expand("<HOST>", true).contains("?P<dns>"));
        assert!(!expand("<HOST>", false).contains("?P<dns>"));
        assert_eq!(expand("((?i)LOGIN|x) (?:(?i)y) \\((?i)", true), "(?i:LOGIN|x) (?i:y) \\((?i)");
    }
}
