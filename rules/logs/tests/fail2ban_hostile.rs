//! Filters and lines that are wrong, huge or made to hurt: errors say where, limits hold, nothing panics.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;

use logs::fail2ban::{Filter, Judged, Matcher, Options, Texts, limits};
use model::Timestamp;
use proptest::prelude::*;

const NOW: Timestamp = Timestamp::from_seconds(1_124_013_600);

fn read(files: &[(&str, &str)]) -> Result<Filter, String> {
    let mut texts = Texts::new();
    for (path, text) in files {
        texts.add(path, text.as_bytes().to_vec());
    }
    Filter::read(&texts, "filter.d/a", &BTreeMap::new())
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

fn matcher(definition: &str) -> Matcher {
    let filter = read(&[("filter.d/a.conf", &format!("[Definition]\n{definition}\n"))]).unwrap();
    Matcher::new(Arc::new(filter), Options::default())
}

fn who(judged: &Judged) -> Vec<String> {
    judged.failures.iter().map(|failure| failure.who.clone().unwrap()).collect()
}

#[test]
fn wrong_files_say_where_and_what() {
    for (text, parts) in [
        ("", vec!["no [Definition]"]),
        ("failregex = x", vec!["a.conf:1:", "before any [section]"]),
        ("[Definition]\nfailregex", vec!["a.conf:2:", "neither a section"]),
        (
            "[Definition]\na = 1\na = 2\n[Definition]\n",
            vec!["a.conf:3:", "second `a`", "a.conf:4:", "second [Definition]"],
        ),
        ("[Definition]\nfailregex = %(b)s <HOST>\n", vec!["a.conf:2:", "asks for `b`"]),
        ("[Definition]\nfailregex = 100% <HOST>\n", vec!["a.conf:2:", "neither `%%` nor"]),
        ("[Definition]\nfailregex = %(b)s\nb = %(c)s\nc = %(b)s\n", vec!["a.conf:2:", "puts itself in"]),
        ("[Definition]\nfailregex = <b>\nb = <c>\nc = <b>\n", vec!["a.conf:2:", "puts itself in"]),
        (
            "[Definition]\nfailregex = <b><HOST>\nb = <c><c>\nc = <d><d><d><d>\nd = xxxxxxxxxx<e>\ne=<f>\n",
            vec![],
        ),
        (
            "[Definition]\nfailregex = ^x (<HOST>\n            ^y$\n",
            vec!["a.conf:2:", "without its `)`", "says of nobody"],
        ),
        (
            "[Definition]\nfailregex = ^<HOST>\nmaxlines = 0\ndatepattern = %%Q\n",
            vec!["maxlines", "datepattern", "no field"],
        ),
        ("[Definition]\nfailregex = ^<HOST> (?P<ip4>x)\n", vec!["twice"]),
        ("[Definition]\nfailregex = ^<HOST>(?:x{900}){900}\n", vec!["too large"]),
        ("[Definition]\nfailregex = ^<F-BAD-NAME>x</F-BAD-NAME> <HOST>\n", vec!["not a name"]),
    ] {
        let said = read(&[("filter.d/a.conf", text)]).map(|_| ()).err().unwrap_or_default();
        assert_eq!(said.is_empty(), parts.is_empty(), "{text}: {said}");
        for part in parts {
            assert!(said.contains(part), "{text}: `{part}` is not in {said}");
        }
    }
    // Each of ten values has the next one ten times, and the last is empty.
    let mut many = "[Definition]\nfailregex = %(x0)s\nx10 =\n".to_owned();
    for n in 0..10 {
        many.push_str(&format!("x{n} = {}\n", format!("%(x{})s", n + 1).repeat(10)));
    }
    let said = read(&[("filter.d/a.conf", &many)]).map(|_| ()).unwrap_err();
    assert!(said.contains("more than 5000 values"), "{said}");
    let mut texts = Texts::new();
    texts.add("filter.d/a.conf", b"[Definition]\nfailregex = \xff <HOST>\n".to_vec());
    let errors = Filter::read(&texts, "filter.d/a", &BTreeMap::new()).unwrap_err();
    assert_eq!((errors[0].line, errors[0].message.as_str()), (2, "not UTF-8 text"));
    assert!(
        Filter::read(&texts, "filter.d/b", &BTreeMap::new()).unwrap_err()[0].message.contains("no such file")
    );
    texts.add("filter.d/a.conf", vec![b'x'; limits::MAX_FILE + 1]);
    assert!(
        Filter::read(&texts, "filter.d/a", &BTreeMap::new()).unwrap_err()[0].message.contains("longer than")
    );
}

#[test]
fn includes_go_round_and_come_from_local_files() {
    let filter = read(&[
        ("filter.d/a.conf", "[INCLUDES]\nbefore = b.conf\nafter = a.conf\n[Definition]\nfailregex = %(x)s%(y)s<HOST>\ny = a\n"),
        ("filter.d/b.conf", "[INCLUDES]\nbefore = a.conf\n           ../c.conf\n           none.conf\n[DEFAULT]\nx = b\n"),
        ("c.conf", "[DEFAULT]\nx = c\n"),
        ("filter.d/b.local", "[DEFAULT]\nx = local\n"),
        ("filter.d/a.local", "[Definition]\ny = %(known/y)s!\n"),
    ])
    .unwrap();
    assert_eq!(filter.fail_regexes().collect::<Vec<_>>(), ["locala!<HOST>"]);
    let mut texts = Texts::new();
    for n in 0..100 {
        let text = format!("[INCLUDES]\nbefore = {}.conf\n[Definition]\n", n + 1);
        texts.add(&format!("{n}.conf"), text.into_bytes());
    }
    assert!(Filter::read(&texts, "0", &BTreeMap::new()).unwrap_err()[0].message.contains("nest deeper"));
}

#[test]
fn lines_of_every_kind() {
    let mut matcher = matcher("failregex = ^\\S+ no <HOST>$\ndatepattern = {^LN-BEG}");
    let mut judge = |line: &[u8]| matcher.line(NOW, line);
    assert_eq!(who(&judge(b"Aug 14 11:59:59 x no 192.0.2.1\r\n")), [] as [&str; 0]);
    assert_eq!(who(&judge(b"Aug 14 11:59:59x no 192.0.2.1")), [] as [&str; 0]);
    assert_eq!(who(&judge(b"x no 192.0.2.1\r\n")), ["192.0.2.1"]);
    assert_eq!(who(&judge("ä\u{1f600} no ::ffff:192.0.2.1".as_bytes())), ["192.0.2.1"]);
    assert_eq!(who(&judge(b"\xff\xfe no 2001:DB8::1")), ["2001:db8::1"]);
    assert_eq!(who(&judge(b"\x1b[31m no host.example")), ["host.example"]);
    assert_eq!(who(&judge(b"a\0b no [2001:db8::2]")), ["2001:db8::2"]);
    // A line feed inside, as the journal may have it, does not make two lines of one.
    assert_eq!(who(&matcher.entry(NOW, NOW, b"x no 192.0.2.1\ny")), [] as [&str; 0]);
    let long = [&vec![b'x'; limits::MAX_LINE][..], b" no 192.0.2.1"].concat();
    let judged = matcher.line(NOW, &long);
    assert!(judged.too_long && judged.failures.is_empty());
}

#[test]
fn only_addresses_where_names_are_refused() {
    let mut matcher = matcher("failregex = ^no <HOST>$\nusedns = no");
    assert_eq!(matcher.line(NOW, b"no host.example").failures.len(), 0);
    assert_eq!(who(&matcher.line(NOW, b"no 192.0.2.1")), ["192.0.2.1"]);
}

#[test]
fn subnets_ids_and_alternatives() {
    let mut matcher = matcher(
        "failregex = ^net <SUBNET>$\n            ^id <F-ID>\\S+</F-ID> from <ADDR>$\n            \
         ^user=<F-USER>\\w*</F-USER> other=<F-ALT_USER>\\w*</F-ALT_USER> <IP4>$\nignoreregex = 192\\.0\\.2\\.9$",
    );
    assert_eq!(who(&matcher.line(NOW, b"net 192.0.2.77/24")), ["192.0.2.0/24"]);
    let judged = matcher.line(NOW, b"id session7 from 192.0.2.1");
    assert_eq!(who(&judged), ["session7"]);
    assert!(judged.failures[0].part && judged.failures[0].address.is_some());
    let judged = matcher.line(NOW, b"user= other=bob 192.0.2.1");
    assert_eq!(judged.failures[0].fields["user"], "bob");
    let judged = matcher.line(NOW, b"user=a other=b 192.0.2.9");
    assert_eq!((judged.failures.len(), judged.ignored), (0, Some(0)));
}

#[test]
fn connections_are_bounded() {
    let mut matcher = matcher(
        "failregex = ^<F-MLFID>\\d+</F-MLFID> <F-NOFAIL>from</F-NOFAIL> <HOST>$\n            ^<F-MLFID>\\d+</F-MLFID> wrong$",
    );
    for n in 0..3 * limits::MAX_CONNECTIONS {
        assert_eq!(matcher.line(NOW, format!("{n} from 192.0.2.1").as_bytes()).failures.len(), 0);
    }
    assert_eq!(matcher.connections(), limits::MAX_CONNECTIONS);
    // The last is known, the first has been forgotten, and after a while so have all.
    let last = 3 * limits::MAX_CONNECTIONS - 1;
    assert_eq!(who(&matcher.line(NOW, format!("{last} wrong").as_bytes())), ["192.0.2.1"]);
    assert_eq!(matcher.line(NOW, b"0 wrong").failures.len(), 0);
    let later = Timestamp::from_seconds(NOW.seconds() + limits::CONNECTION_SECONDS + 1);
    assert_eq!(matcher.line(later, format!("{} wrong", last - 1).as_bytes()).failures.len(), 0);
}

#[test]
fn several_lines_and_what_they_skip() {
    let mut matcher = matcher("maxlines = 4\nfailregex = ^begin (\\d+)$<SKIPLINES>^end \\1 <HOST>$");
    let mut judge = |line: &str| who(&matcher.line(NOW, line.as_bytes()));
    assert_eq!(judge("begin 1"), [] as [&str; 0]);
    assert_eq!(judge("begin 2"), [] as [&str; 0]);
    assert_eq!(judge("end 1 192.0.2.1"), ["192.0.2.1"]);
    // What was skipped is still there.
    assert_eq!(judge("end 2 192.0.2.2"), ["192.0.2.2"]);
    assert_eq!(judge("end 2 192.0.2.2"), [] as [&str; 0]);
    for n in 3..9 {
        assert_eq!(judge(&format!("begin {n}")), [] as [&str; 0]);
    }
    assert_eq!(judge("end 3 192.0.2.3"), [] as [&str; 0]);
}

#[test]
fn searches_that_go_on_for_ever_end() {
    let mut matcher =
        matcher("failregex = ^(?=(a+))(?:a|\\1)*(a+)*b\\1! <HOST>$\n            ^(?:a+)+ <HOST>$");
    let line = format!("{}b! 192.0.2.1", "a".repeat(200));
    let judged = matcher.line(NOW, line.as_bytes());
    assert!(judged.gave_up && judged.failures.is_empty());
    assert_eq!(who(&matcher.line(NOW, b"aaaa 192.0.2.1")), ["192.0.2.1"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn no_file_and_no_line_makes_it_panic(
        text in "(\\[(Definition|Init|INCLUDES|DEFAULT|x\\?y=z)\\]\n|(failregex|datepattern|maxlines|before|prefregex|x) ?[=:] ?|[ -~ä]{0,12}|%\\(x\\)s|<x>|<HOST>|<F-USER>|</F-USER>|\n ?|\\(\\?[!=<:P]|\\)|\\{1,2\\}){0,24}",
        line in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        if let Ok(filter) = read(&[("filter.d/a.conf", &text)]) {
            let mut matcher = Matcher::new(Arc::new(filter), Options { all: true, ..Options::default() });
            matcher.line(NOW, &line);
            matcher.entry(NOW, NOW, &line);
        }
    }

    #[test]
    fn no_regex_makes_it_panic(
        regex in "(\\(|\\)|\\(\\?[=!<:>P(#i]{1,2}|[a-c]|\\[|\\]|\\\\[dDwWsSbBAZ1-9xu]|[*+?{}|^$.,-]|[0-9]|>|=|ä){0,16}",
        text in "[a-c0-9ä\n ]{0,24}",
    ) {
        use logs::fail2ban::{Pattern, Scratch, Text};
        if let Ok(pattern) = Pattern::new(&regex, false) {
            let mut scratch = Scratch::default();
            scratch.begin();
            pattern.search(Text::new(&text), &mut scratch);
        }
    }
}
