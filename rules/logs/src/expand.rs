//! Named parts in patterns: `<ip>` and what a filter defines itself, so that patterns stay readable.

use std::collections::BTreeMap;

/// An IPv4 or IPv6 address, with the zone of a link-local one cut off. It takes more than addresses: what it took is
/// parsed afterwards, and a small pattern keeps the search in one pass.
const IP: &str = r"(?<ip>[0-9A-Fa-f:.]+)(?:%[0-9A-Za-z_.-]+)?";

/// Puts the text of each `<name>` in. `(?<name>…)` stays what it is, and so does `\<`.
///
/// # Errors
/// The name of a part that is not defined, or that the result is too long.
pub(crate) fn expand(pattern: &str, parts: &BTreeMap<String, String>) -> Result<String, String> {
    let mut out = String::with_capacity(pattern.len() * 2);
    let mut rest = pattern;
    while let Some(at) = rest.find('<') {
        let (before, after) = (&rest[..at], &rest[at + 1..]);
        out.push_str(before);
        let length = after.bytes().take_while(|b| b.is_ascii_lowercase() || *b == b'_').count();
        let is_group = before.ends_with("(?") || before.ends_with("(?P") || before.ends_with('\\');
        if is_group || length == 0 || after.as_bytes().get(length) != Some(&b'>') {
            out.push('<');
            rest = after;
            continue;
        }
        match (&after[..length], parts.get(&after[..length])) {
            ("ip", _) => out.push_str(IP),
            (_, Some(part)) => out.push_str(&format!("(?:{part})")),
            (name, None) => return Err(format!("there is no part `<{name}>`")),
        }
        rest = &after[length + 1..];
        if out.len() > crate::limits::MAX_PATTERN {
            break;
        }
    }
    out.push_str(rest);
    if out.len() > crate::limits::MAX_PATTERN {
        return Err(format!("the pattern is longer than {} bytes", crate::limits::MAX_PATTERN));
    }
    Ok(out)
}

/// Puts the text of each `<name>` in that is defined; what else stands between `<` and `>` is text to look for.
///
/// # Errors
/// That the result is too long.
pub(crate) fn known(pattern: &str, parts: &BTreeMap<String, String>) -> Result<String, String> {
    let put_in = |text: String, (name, part): (&String, &String)| {
        if text.len() > crate::limits::MAX_PATTERN {
            text
        } else {
            text.replace(&format!("<{name}>"), &format!("(?:{part})"))
        }
    };
    let out = parts.iter().fold(pattern.to_owned(), put_in);
    if out.len() > crate::limits::MAX_PATTERN {
        return Err(format!("the pattern is longer than {} bytes", crate::limits::MAX_PATTERN));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_put_in_and_groups_stay() {
        let parts = BTreeMap::from([("tail".to_owned(), "a|b".to_owned())]);
        assert_eq!(
            expand("(?<user>x)<tail>(?P<y>z) < <A>", &parts).unwrap(),
            "(?<user>x)(?:a|b)(?P<y>z) < <A>"
        );
        assert_eq!(known("<tail> <script>", &parts).unwrap(), "(?:a|b) <script>");
        assert!(known(&"<tail>".repeat(3_000), &parts).unwrap_err().contains("longer"));
        assert!(expand("from <ip>$", &parts).unwrap().contains("(?<ip>"));
        assert!(expand("<host>", &parts).unwrap_err().contains("<host>"));
        assert!(expand(&"<ip>".repeat(1_000), &parts).unwrap_err().contains("longer"));
    }
}
