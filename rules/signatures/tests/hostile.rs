//! Rules and bytes made to hurt: refused or bounded, and the rest goes on.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod support;

use std::sync::Arc;

use proptest::prelude::*;
use signatures::limits::{MAX_OPTIONS, MAX_RULE_BYTES};
use signatures::{Classification, Inspector, Limits, LinkType, RuleSet, Variables};
use support::{CLIENT, SERVER};

fn load(text: &str) -> (RuleSet, Vec<String>) {
    let (rules, refused) = RuleSet::load(text, "r", &Variables::usual(), &Classification::default());
    (rules, refused.iter().map(ToString::to_string).collect())
}

#[test]
fn oversized_rules_are_refused_with_their_limit_and_the_next_one_runs() {
    let long = format!("alert udp any any -> any any (content:\"{}\"; sid:1;)", "a".repeat(1024 * 1024));
    let many = format!("alert udp any any -> any any ({} sid:2;)", "nocase;".repeat(MAX_OPTIONS + 1));
    let deep = format!("alert udp {}any{} any -> any any (sid:3;)", "[".repeat(5000), "]".repeat(5000));
    let power = r#"alert udp any any -> any any (pcre:"/(((a{999}){999}){999})/"; sid:4;)"#;
    let nested = format!(
        "alert udp any any -> any any (pcre:\"/{}a{}/\"; sid:5;)",
        "(".repeat(3000),
        ")".repeat(3000)
    );
    let good = r#"alert udp any any -> any any (content:"a"; sid:6;)"#;
    let (rules, refused) = load(&[&long, &many, &deep, power, &nested, good].join("\n"));
    assert_eq!(rules.rules().map(|rule| rule.sid).collect::<Vec<_>>(), [6]);
    for (got, wanted) in refused.iter().zip([
        format!("r:1:1: sid 1: options: the rule is longer than {MAX_RULE_BYTES} bytes"),
        format!("sid 2: options: more than {MAX_OPTIONS} options"),
        "sid 3: header: groups and variables are nested deeper".to_owned(),
        "sid 4: pcre: the expression needs more than".to_owned(),
        "sid 5: pcre: the expression is not supported".to_owned(),
    ]) {
        assert!(got.contains(&wanted), "{got}, not {wanted}");
    }
    assert_eq!(refused.len(), 5);
}

#[test]
fn a_match_that_would_take_forever_is_given_up_and_counted() {
    let chain = r#"content:"a"; distance:0; "#.repeat(20);
    let text =
        format!("alert udp any any -> any any (content:\"a\"; {chain} content:\"b\"; distance:0; sid:1;)");
    let (rules, refused) = load(&text);
    assert_eq!(refused, Vec::<String>::new());
    let mut inspector = Inspector::new(Arc::new(rules), Limits::default());
    let frame = support::udp(CLIENT, SERVER, &[b'a'; 1400]);
    assert!(inspector.packet(support::at(0), LinkType::Ethernet, &frame).alerts.is_empty());
    assert_eq!(inspector.counters().matches_given_up, 1);
}

#[test]
fn alerts_of_one_packet_are_bounded_and_counted() {
    let text: String =
        (1..=100).map(|sid| format!("alert udp any any -> any any (content:\"a\"; sid:{sid};)\n")).collect();
    let mut inspector = Inspector::new(Arc::new(load(&text).0), Limits::default());
    let frame = support::udp(CLIENT, SERVER, b"a");
    assert_eq!(inspector.packet(support::at(0), LinkType::Ethernet, &frame).alerts.len(), 64);
    assert_eq!(inspector.counters().alerts_lost, 36);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any change of a rule's text is read or refused, never a panic; what is read can be run.
    #[test]
    fn any_text_is_read_or_refused(changes in proptest::collection::vec((any::<usize>(), "[ -~]{0,3}"), 1..6)) {
        let mut text = String::from(concat!(
            r#"alert tcp [$HOME_NET,!10.0.0.1] [80,!81:90] -> any any (msg:"m"; flow:established; content:"a|41 42|c"; "#,
            r#"offset:1; depth:9; content:!"x"; within:5; pcre:"/a[^b]{2,3}\x41(?:b|c)+$/Ri"; byte_test:2,>,5,0,relative; "#,
            r#"byte_jump:1,0,relative,post_offset -1; isdataat:!1,relative; threshold:type limit, track by_src, "#,
            r#"count 1, seconds 9; flowbits:set,a; sid:1;)"#,
        ));
        for (place, new) in changes {
            let at = place % text.len();
            let end = (at + new.len() / 2).min(text.len());
            text.replace_range(at..end, &new);
        }
        let (rules, refused) = load(&text);
        prop_assert!(rules.len() + refused.len() <= 1);
        let mut inspector = Inspector::new(Arc::new(rules), Limits::default());
        let mut talk = support::Conversation::open(CLIENT, SERVER, [1, 2]);
        talk.client(b"xaABcaddAbc\x01\x02\x03").server(b"aABcabbA");
        for (n, frame) in talk.frames.iter().enumerate() {
            inspector.packet(support::at(n), LinkType::Ethernet, frame);
        }
    }
}
