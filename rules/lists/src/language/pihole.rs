//! Pi-hole's expressions: extended POSIX syntax as the TRE library reads it, and options behind semicolons.
//!
//! | option | what it says |
//! |---|---|
//! | `;querytype=A,AAAA`, `;querytype=!A` | only for these types, for all others |
//! | `;invert` | the names that do not match |
//! | `;reply=NXDOMAIN` (also `NODATA`, `REFUSED`, `NONE`, `NULL`, addresses, a name) | how it is answered |
//!
//! The syntax becomes that of `regex-syntax` with the meaning it has in TRE: in brackets a backslash is a letter as any
//! other, a `)` that closes nothing stands for itself, `{,3}` begins at none. Back-references and approximate matches
//! need more than linear time and are refused.

use std::fmt::Write;

use super::{modifiers, name};
use crate::{
    answer::{Record, RecordData},
    asked::{Condition, Types, type_number},
    report::Refusal,
    rule::{Action, Expression, Pattern, Rule},
    set::DomainKind,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Types that Pi-hole tells apart; `OTHER` is every other one.
const KNOWN: [&str; 15] = [
    "A", "AAAA", "ANY", "SRV", "SOA", "PTR", "TXT", "NAPTR", "MX", "DS", "RRSIG", "DNSKEY", "NS", "SVCB",
    "HTTPS",
];

/// Whether a line is an expression and nothing else that a list may hold.
pub(crate) fn is_line(text: &str) -> bool {
    let expression = text.split_once(';').map_or(text, |(expression, _)| expression);
    let is_pattern = expression.starts_with(['^', '(', '['])
        || expression.starts_with(".*")
        || expression.contains(['\\', '[', '('])
        || expression.ends_with('$');
    // Groups alone say nothing that a misspelt name could not say as well.
    let has_operator =
        expression.contains(['^', '$', '\\', '[', '|', '*', '+', '?', '{']) || expression != text;
    is_pattern
        && has_operator
        && !text.contains([' ', '\t', '"', '<', '>', '#', '@', '/'])
        && !expression.contains("$$")
}

/// Reads an expression with its options; `@@` before it makes it an exception.
pub(crate) fn read(text: &str) -> Result<Rule, Refusal> {
    let (kind, written) = match text.strip_prefix("@@") {
        Some(rest) => (DomainKind::Allow, rest),
        None => (DomainKind::Block, text),
    };
    let mut parts = written.split(';');
    let expression = parts.next().unwrap_or_default();
    if expression.is_empty() {
        return Err("an empty expression matches every name".into());
    }
    let mut condition = Condition::default();
    let (mut invert, mut action) = (false, Action::Block);
    for option in parts {
        match option.split_once('=').map_or((option, None), |(key, value)| (key, Some(value))) {
            (key, Some(value)) if key.eq_ignore_ascii_case("querytype") => {
                if condition.types.is_some() {
                    return Err("`querytype` stands twice".into());
                }
                condition.types = Some(types(value)?);
            }
            (key, None) if key.eq_ignore_ascii_case("invert") => invert = true,
            (key, Some(value)) if key.eq_ignore_ascii_case("reply") => {
                if kind == DomainKind::Allow {
                    return Err("an exception has no answer of its own".into());
                }
                action = reply(action, value)?;
            }
            ("", None) => {}
            _ => {
                let known = "Pi-hole knows querytype=…, invert and reply=…";
                return Err(format!("the option `{option}` is not known: {known}").into());
            }
        }
    }
    let pattern =
        Pattern::Regex(Expression { regex: translate(expression)?.into(), written: written.into(), invert });
    let condition = if condition.is_always() { None } else { Some(Box::new(condition)) };
    Ok(Rule { action, condition, ..Rule::of(kind, pattern) })
}

fn types(value: &str) -> Result<Types, Refusal> {
    let (value, mut others) = match value.strip_prefix('!') {
        Some(rest) => (rest, true),
        None => (value, false),
    };
    let mut numbers = Vec::new();
    let mut all_others = false;
    for text in value.split(',') {
        let text = text.strip_prefix('!').unwrap_or(text);
        if text.eq_ignore_ascii_case("OTHER") {
            all_others = true;
            continue;
        }
        numbers.push(type_number(text).ok_or_else(|| format!("`querytype`: `{text}` is no type of record"))?);
    }
    if all_others {
        // Every type that is not known, and those that stand beside it.
        let known = KNOWN.iter().filter_map(|text| type_number(text));
        numbers = known.filter(|number| !numbers.contains(number)).collect();
        others = !others;
    }
    Ok(Types { others, numbers: numbers.into() })
}

fn reply(known: Action, value: &str) -> Result<Action, Refusal> {
    let records = |addresses: &[IpAddr]| {
        Action::Answer(addresses.iter().map(|&address| Record::from(RecordData::from(address))).collect())
    };
    match value.to_ascii_uppercase().as_str() {
        "NXDOMAIN" => Ok(Action::NxDomain),
        "NODATA" => Ok(Action::NoData),
        "REFUSED" => Ok(Action::Refused),
        "NONE" => Ok(Action::Drop),
        "NULL" => Ok(records(&[Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()])),
        "IP" => Err("`reply=IP` is the address of the Pi-hole: write the address itself".into()),
        _ => match (value.parse::<IpAddr>(), known) {
            // One address of each family: `;reply=192.0.2.1;reply=2001:db8::1`.
            (Ok(address), Action::Answer(mut records)) => {
                records.push(Record::from(RecordData::from(address)));
                Ok(Action::Answer(records))
            }
            (Ok(address), _) => Ok(records(&[address])),
            (Err(_), _) if value.contains('.') => {
                modifiers::rewrite(name::any(value).map_err(|why| format!("`reply={value}`: {why}"))?.as_str())
            }
            (Err(_), _) => Err(format!(
                "`reply={value}` is not known: write NXDOMAIN, NODATA, REFUSED, NONE, NULL, an address or a name"
            )
            .into()),
        },
    }
}

/// What a repetition would repeat.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    Atom,
    Repetition,
}

/// A Pi-hole's expression, without its options, in the syntax of adblock rules and `regex-syntax`, with the same meaning.
///
/// # Errors
/// What is wrong with it, or cannot be searched for in linear time.
pub fn translate(text: &str) -> Result<String, String> {
    if !text.is_ascii() {
        return Err("an expression over names is ASCII: write other scripts as xn--…".into());
    }
    let mut letters = text.chars().peekable();
    let (mut out, mut depth, mut before) = (String::with_capacity(text.len() + 8), 0_u32, Before::Nothing);
    while let Some(letter) = letters.next() {
        before = match letter {
            '\\' => {
                escape(&mut letters, &mut out)?;
                Before::Atom
            }
            '[' => {
                bracket(&mut letters, &mut out)?;
                Before::Atom
            }
            '(' if letters.peek() == Some(&'?') => {
                letters.next();
                match extension(&mut letters, &mut out)? {
                    true => {
                        depth += 1;
                        Before::Nothing
                    }
                    false => before,
                }
            }
            '(' => {
                depth += 1;
                out.push('(');
                Before::Nothing
            }
            ')' if depth > 0 => {
                depth -= 1;
                out.push(')');
                Before::Atom
            }
            '|' => {
                out.push('|');
                Before::Nothing
            }
            '.' | '^' | '$' => {
                out.push(letter);
                Before::Atom
            }
            '*' | '+' | '?' | '{' if before == Before::Nothing => {
                return Err(format!("there is nothing before `{letter}` to repeat: for any text write `.*`"));
            }
            '*' | '+' if before == Before::Repetition => {
                return Err(format!("`{letter}` stands behind another repetition"));
            }
            '*' | '+' | '?' => {
                out.push(letter);
                Before::Repetition
            }
            '{' => {
                bound(&mut letters, &mut out)?;
                Before::Repetition
            }
            other => {
                out.push_str(&regex_syntax::escape(other.encode_utf8(&mut [0; 4])));
                Before::Atom
            }
        };
    }
    if depth > 0 {
        return Err("a `(` is not closed".into());
    }
    Ok(out)
}

type Letters<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn escape(letters: &mut Letters<'_>, out: &mut String) -> Result<(), String> {
    match letters.next() {
        None => Err("it ends in a backslash".into()),
        Some(digit) if digit.is_ascii_digit() => Err(format!(
            "the back-reference `\\{digit}` needs more than linear time: write out what it stands for"
        )),
        Some(
            class @ ('w' | 'W' | 's' | 'S' | 'd' | 'D' | 'b' | 'B' | '<' | '>' | 't' | 'n' | 'r' | 'f' | 'a'),
        ) => {
            out.push('\\');
            out.push(class);
            Ok(())
        }
        Some('e') => {
            out.push_str(r"\x1b");
            Ok(())
        }
        Some('x') => {
            let braced = letters.next_if_eq(&'{').is_some();
            let mut digits = String::new();
            while let Some(digit) = letters.next_if(char::is_ascii_hexdigit) {
                digits.push(digit);
                if !braced && digits.len() == 2 {
                    break;
                }
            }
            if braced && letters.next() != Some('}') {
                return Err("`\\x{` is not closed".into());
            }
            match u8::from_str_radix(&digits, 16) {
                Ok(byte) if byte.is_ascii() => {
                    let _ = write!(out, r"\x{byte:02x}");
                    Ok(())
                }
                _ => Err("an expression over names is ASCII".into()),
            }
        }
        Some('Q') => {
            let rest: String = letters.collect();
            let (literal, after) = rest.split_once("\\E").unwrap_or((&rest, ""));
            out.push_str(&format!("(?:{})", regex_syntax::escape(literal)));
            if after.is_empty() { Ok(()) } else { Err("there is something behind `\\E`".into()) }
        }
        Some(other) => {
            out.push_str(&regex_syntax::escape(other.encode_utf8(&mut [0; 4])));
            Ok(())
        }
    }
}

/// A bracket expression, in which only `]`, `-`, `^` and `[:` mean something.
fn bracket(letters: &mut Letters<'_>, out: &mut String) -> Result<(), String> {
    const OPEN: &str = "a `[` is not closed";
    out.push('[');
    if letters.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    let mut first = true;
    loop {
        let letter = letters.next().ok_or(OPEN)?;
        match letter {
            ']' if !first => break,
            '[' if letters.peek() == Some(&':') => {
                letters.next();
                let mut class = String::new();
                while let Some(letter) = letters.next_if(char::is_ascii_alphabetic) {
                    class.push(letter.to_ascii_lowercase());
                }
                const CLASSES: [&str; 12] = [
                    "alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
                    "upper", "xdigit",
                ];
                if !CLASSES.contains(&class.as_str())
                    || letters.next() != Some(':')
                    || letters.next() != Some(']')
                {
                    return Err(format!("`[:{class}` is no class of letters"));
                }
                let _ = write!(out, "[:{class}:]");
            }
            '[' if matches!(letters.peek(), Some('.' | '=')) => {
                return Err("`[.` and `[=` are not supported: write the letters".into());
            }
            from => {
                let mut ahead = letters.clone();
                let range = ahead.next() == Some('-') && ahead.peek().is_some_and(|&to| to != ']');
                one(from, out);
                if range {
                    letters.next();
                    let to = letters.next().ok_or(OPEN)?;
                    if to < from {
                        return Err(format!("the range `{from}-{to}` is backwards"));
                    }
                    out.push('-');
                    one(to, out);
                }
            }
        }
        first = false;
    }
    out.push(']');
    Ok(())
}

fn one(letter: char, out: &mut String) {
    if !letter.is_ascii_alphanumeric() {
        out.push('\\');
    }
    if letter.is_ascii_control() || letter == ' ' {
        let _ = write!(out, "x{:02x}", u32::from(letter));
    } else if letter == '_' {
        out.pop();
        out.push('_');
    } else {
        out.push(letter);
    }
}

/// `{2}`, `{2,}`, `{,3}`, `{2,3}`.
fn bound(letters: &mut Letters<'_>, out: &mut String) -> Result<(), String> {
    let inside: String = letters.by_ref().take_while(|&letter| letter != '}').collect();
    let (least, most) = inside.split_once(',').map_or((&*inside, None), |(least, most)| (least, Some(most)));
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()) && text.len() < 5;
    if !number(least) || !most.is_none_or(number) || inside.is_empty() {
        return Err(format!(
            "`{{{inside}}}` is no number of repetitions; approximate matches are not supported"
        ));
    }
    let least = if least.is_empty() { "0" } else { least };
    let _ = match most {
        None => write!(out, "{{{least}}}"),
        Some(most) => write!(out, "{{{least},{most}}}"),
    };
    Ok(())
}

/// What stands behind `(?`: flags, a comment, a group. Whether a group is open then.
fn extension(letters: &mut Letters<'_>, out: &mut String) -> Result<bool, String> {
    let mut flags = String::new();
    loop {
        match letters.next().ok_or("a `(` is not closed")? {
            '#' => {
                return match letters.by_ref().any(|letter| letter == ')') {
                    true => Ok(false),
                    false => Err("a comment is not closed".into()),
                };
            }
            // Lines, associativity and greed make no difference to whether a name matches.
            'n' | 'r' | 'U' => {}
            flag @ ('i' | '-') => flags.push(flag),
            ':' => {
                let _ = write!(out, "(?{}:", flags.trim_end_matches('-'));
                return Ok(true);
            }
            ')' => {
                let flags = flags.trim_end_matches('-');
                if !flags.is_empty() {
                    let _ = write!(out, "(?{flags})");
                }
                return Ok(false);
            }
            _ => {
                return Err(
                    "look-around needs more than linear time, and Pi-hole does not know it either".into()
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_syntax_keeps_its_meaning() {
        for (text, wanted) in [
            (r"(^|\.)ads?[0-9]+\.", r"(^|\.)ads?[0-9]+\."),
            (r"[\w]", r"[\\w]"),
            (r"[]a]", r"[\]a]"),
            (r"[^]a-]", r"[^\]a\-]"),
            (r"[^.[:space:]]+", r"[^\.[:space:]]+"),
            (r"a{,3}b{2,}", r"a{0,3}b{2,}"),
            ("a)", r"a\)"),
            (r"\Qa.b", r"(?:a\.b)"),
            (r"\x41\x{2e}", r"\x41\x2e"),
            (r"(?i)a(?#note)b(?:c)", r"(?i)ab(?:c)"),
            (r"(?n:a)", r"(?:a)"),
            (r"a.+?", r"a.+?"),
            (r"ad_[_.-]", r"ad_[_\.\-]"),
        ] {
            assert_eq!(translate(text).as_deref(), Ok(wanted), "{text}");
            assert!(regex_syntax::Parser::new().parse(wanted).is_ok(), "{wanted}");
        }
        for (text, why) in [
            (r"(a)\1", "back-reference"),
            ("*.ads.example", "nothing before"),
            ("(ads", "not closed"),
            ("[ads", "not closed"),
            ("a**", "behind another"),
            ("a{~1}", "approximate"),
            ("[[=a=]]", "not supported"),
            ("[z-a]", "backwards"),
            ("(?=a)", "look-around"),
            (r"a\", "ends in a backslash"),
            ("bücher", "ASCII"),
        ] {
            let error = translate(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn lines_that_are_expressions() {
        for text in ["^ads", r"ads\.example", "(^|x)ads", "ads.example$", ".*ads", "a[0-9]", "^a;querytype=A"]
        {
            assert!(is_line(text), "{text}");
        }
        for text in
            ["ads.example", "||ads.example^", "0.0.0.0 ads", "*.ads.example", "this [is] prose", "a$b"]
        {
            assert!(!is_line(text), "{text}");
        }
    }
}
