//! What Python's `re` makes of regexes. The expectations were got from Python 3.11.

use super::*;

fn groups(regex: &str, text: &str) -> Option<Vec<Option<String>>> {
    let pattern = Pattern::new(regex, false).unwrap_or_else(|mistake| panic!("{regex}: {mistake}"));
    let mut scratch = Scratch::default();
    scratch.begin();
    pattern.search(Text::new(text), &mut scratch).then(|| {
        (0..=pattern.parsed.groups)
            .map(|group| scratch.group(group).map(|(start, end)| text[start..end].to_owned()))
            .collect()
    })
}

fn whole(regex: &str, text: &str) -> Option<String> {
    groups(regex, text).map(|groups| groups[0].clone().unwrap())
}

#[test]
fn what_means_something_else_elsewhere() {
    for (regex, text, found) in [
        (r"\<a\>", "x<a>", Some("<a>")),
        (r"a{,2}b", "aaab", Some("aab")),
        (r"a{,}b", "aaab", Some("aaab")),
        (r"a{}b", "a{}b", Some("a{}b")),
        (r"a{x}", "a{x}", Some("a{x}")),
        (r"a{1,x}", "a{1,x}", Some("a{1,x}")),
        (r"[[a]+", "x[a[", Some("[a[")),
        (r"[a&&b]+", "x&&ab", Some("&&ab")),
        (r"[]x]+", "x]", Some("x]")),
        (r"[^]x]+", "x]yz", Some("yz")),
        (r"[a\]b-]+", "-]ab", Some("-]ab")),
        (r"[\d-x]+", "1-x", Some("1-x")),
        (r"a$", "a\n", Some("a")),
        (r"a$", "a\nb", None),
        (r"a\Z", "a\n", None),
        (r"^b", "a\nb", None),
        (r"(?m)^b$", "a\nb\nc", Some("b")),
        (r"a.c", "a\nc", None),
        (r"(?s)a.c", "a\nc", Some("a\nc")),
        (
            r"(?x) a  b # c
            c",
            "abc",
            Some("abc"),
        ),
        (r"A(?i:b)c", "ABc", Some("ABc")),
        (r"A(?i:b)c", "ABC", None),
        (r"a(?#comment)b", "ab", Some("ab")),
        (r"\x41\u0042\101\0", "ABA\0", Some("ABA\0")),
        (r"\w+", "--straße½x--", Some("straße½x")),
        (r"(?a)\w+", "straße", Some("stra")),
        (r"\d+", "x٣4", Some("٣4")),
        (r"\s", "a\u{1c}b", Some("\u{1c}")),
        (r"(?i)straSSe", "STRASSE", Some("STRASSE")),
        (r"\bä", "xä ä", Some("ä")),
        (r"(?=\b|\W|$)a", "ba a", Some("a")),
        (r"a|ab", "ab", Some("a")),
        (r"(?:a|ab)(?:c|bcd)", "abcd", Some("abcd")),
    ] {
        assert_eq!(whole(regex, text).as_deref(), found, "{regex} in {text:?}");
    }
}

#[test]
fn what_automata_cannot() {
    for (regex, text, found) in [
        (r"(?P<a>x+)-(?P=a)$", "xx-xx", Some("xx-xx")),
        (r"(a)(?P<q>['x])\2\1", "a''a", Some("a''a")),
        (r"(?i)(a)\1", "aA", Some("aA")),
        (r"(\w)\1", "abccd", Some("cc")),
        (r"foo(?!bar)\w+", "foobar foobaz", Some("foobaz")),
        (r"(?<=a)b", "b ab", Some("b")),
        (r"(?<!a)b", "ab b", Some("b")),
        (r"(?<=ä)b", "äb", Some("b")),
        (r"(?:(?! from ).)*", "a b from c", Some("a b")),
        (r"^(?:(a)|b)(?(1)c|d)$", "ac", Some("ac")),
        (r"^(?:(a)|b)(?(1)c|d)$", "bd", Some("bd")),
        (r"^(?:(a)|b)(?(1)c|d)$", "bc", None),
        (r"^(?P<x>a)?b(?(x)c)$", "b", Some("b")),
        (r"^(?P<x>a)?b(?(x)c)$", "ab", None),
        (r"(?>a+)ab", "aaab", None),
        (r"a++ab", "aaab", None),
        (r"(?=(a+))a*b\1", "baaabac", Some("aba")),
        (r"(?:a|ab)(?=c)c", "abc", Some("abc")),
        (r"(a|b)*?(?=c)", "abc", Some("ab")),
        (r"x*(?!y)", "xxy", Some("x")),
        (r".+?(?=z)", "abz", Some("ab")),
        (r"(?:a?){3}(?=$)", "aa", Some("aa")),
        (r"(?:)*(?=a)a", "a", Some("a")),
        (r"(?:a*)*(?!a)b", "aaab", Some("aaab")),
        (r"[^x]{2,3}(?!.)", "abcd", Some("bcd")),
        (r"(?<=\bab)c(?!d)", "abcd abc", Some("c")),
        (r"^(?=.*b)a", "ab", Some("a")),
    ] {
        assert!(!Pattern::new(regex, false).unwrap().is_linear(), "{regex}");
        assert_eq!(whole(regex, text).as_deref(), found, "{regex} in {text:?}");
    }
    let found = groups(r"(?P<a>x)|(?P<b>y)(?!z)", "y").unwrap();
    assert_eq!(found, [Some("y".to_owned()), None, Some("y".into())]);
}

#[test]
fn the_same_sign_twice_needs_no_backtracking() {
    let regex = r"(\d+)(?P<sign>[-/.])(\d+)(?P=sign)(\d+)";
    assert!(Pattern::new(regex, false).unwrap().is_linear());
    let found = |text: &str| {
        groups(regex, text).map(|groups| groups.into_iter().map(Option::unwrap).collect::<Vec<_>>())
    };
    assert_eq!(found("1-2/3/4").unwrap(), ["2/3/4", "2", "/", "3", "4"]);
    assert_eq!(found("1.2.3").unwrap(), ["1.2.3", "1", ".", "2", "3"]);
    assert_eq!(found("1-2/3"), None);
    for regex in [r"(?:([-/])x)*y\1", r"([-/])|\1", r"([a-c])x\1", r"([-/])x\1|y\1"] {
        assert!(!Pattern::new(regex, false).unwrap().is_linear(), "{regex}");
    }
}

#[test]
fn both_ways_agree() {
    // Regexes that automata can do, with an empty look-around that forces the other way.
    for regex in [
        r"^a*(b|c)+?d{2,3}$",
        r"(?:x(\d+)|y(\w*))+",
        r"\b(\w+)\W+(\w+)\b",
        r"((a)|(b)|)*c",
        r"(?i)[^a-c]+?([k-z]|é)",
        r"(.*?),(.*),(.*?)$",
        r"(?:a{0,2}b?){1,3}",
        r"\S+@(?:\w+\.)+(\w{2,3})",
    ] {
        let forced = format!("{regex}(?!\\Zx)");
        for text in [
            "",
            "a",
            "aaabcdd",
            "aaabcddd\n",
            "x12y_ab x3",
            "foo, bar, baz",
            "É kK aé",
            "abab ababab",
            "me@ex.am.ple",
            "ddd,,",
            "cccc",
            "aabbaabb",
            "ab1\u{1f600} z",
        ] {
            let slow: Option<Vec<_>> = groups(&forced, text);
            assert_eq!(groups(regex, text), slow, "{regex} in {text:?}");
        }
    }
}

#[test]
fn wrong_ones_say_where() {
    for (regex, part) in [
        ("a(b", "without its `)`"),
        ("a)b", "a `)` too many"),
        ("[a", "without its `]`"),
        ("*a", "nothing to repeat"),
        ("a**", "a repeat of a repeat"),
        (r"\q", "`\\q` means nothing"),
        ("(?P<a>x)(?P<a>y)", "twice"),
        ("(?P=a)", "no group `a`"),
        (r"\2(a)", "no group 2"),
        ("(?P<1a>x)", "not a name"),
        ("a{3,2}", "counts down"),
        ("a{1,9999}", "beyond"),
        ("(?<=a+)b", "no fixed width"),
        ("[b-a]", "backwards"),
        ("(?z)", "no known way"),
        ("a\\", "at the end"),
    ] {
        let said = Pattern::new(regex, false).map(|_| ()).unwrap_err().to_string();
        assert!(said.contains(part), "{regex}: {said}");
    }
    assert!(Pattern::new(&"(".repeat(10_000), false).is_err());
    assert!(Pattern::new("(?:x{1000}){1000}", false).unwrap_err().to_string().contains("too large"));
    assert!(Pattern::new(&"a".repeat(100_000), false).is_err());
}

#[test]
fn hostile_ones_end() {
    // Exponential without memory; with it, linear.
    let text = "a".repeat(5_000) + "!";
    for regex in [r"^(?:a+)+$(?!x)", r"^(?:a|aa)+(?<!b)$", r"^(?:(a)|a)*(?(1)b|c)$"] {
        let pattern = Pattern::new(regex, false).unwrap();
        let mut scratch = Scratch::default();
        scratch.begin();
        assert!(!pattern.search(Text::new(&text), &mut scratch), "{regex}");
    }
    // The same text once more: there the limit ends it.
    let pattern = Pattern::new(r"^(?=(a+))(?:a|\1)*(a+)*b\1!$", false).unwrap();
    let mut scratch = Scratch::default();
    scratch.begin();
    assert!(!pattern.search(Text::new(&("a".repeat(100) + "b!")), &mut scratch));
    assert!(scratch.gave_up());
}
