//! Lists of names and addresses in all their languages, expressions, and snapshots.

use lists::{AddressList, AddressReading, Asked, DomainSet, DomainSetBuilder, Format, GroupSet};
use model::Mode;
use regex_automata::{meta::Regex, util::syntax};
use std::net::IpAddr;

const FORMATS: [&str; 10] =
    ["auto", "plain", "hosts", "adblock", "dnsmasq", "rpz", "regex", "csv:2", "json:domain", "score"];
/// Names that are always asked for, beside those of the file.
const NAMES: [&str; 8] = [
    "ads.example",
    "x.ads.example",
    "www.example.com",
    "a-1.b2.c_3.net",
    "xn--p1ai",
    "co.uk",
    "",
    "1.2.3.4.example",
];

/// A file of names; the first byte chooses its format.
pub(crate) fn domains(data: &[u8]) {
    let (choice, bytes) = crate::choice(data);
    let format: Format = FORMATS[choice % FORMATS.len()].parse().unwrap();
    let own = ["dns.quad9.net".parse().unwrap()];
    let inspected = DomainSetBuilder::inspect_as(bytes, &format, &own);
    let mut builder = DomainSetBuilder::new(7).protect(own);
    let added = builder.add_as("list", Mode::Enforce, GroupSet::DEFAULT, bytes, &format);
    match (&inspected, &added) {
        (Ok(inspected), Ok(added)) => {
            let counts =
                |report: &lists::Report| (report.entries, report.rejected, report.lines, report.exceptions);
            assert_eq!(counts(inspected), counts(added), "what is judged is what is taken");
        }
        (Err(error), Ok(_)) => panic!("taken, though refused: {error}"),
        // A set has limits that a file alone has not.
        (Ok(_) | Err(_), Err(_)) => {}
    }
    let set = builder.finish();
    let lines = added.map_or(0, |report| report.lines);
    agree(&set, &String::from_utf8_lossy(bytes), lines);
    let upstream = set.decide(&Asked::about("dns.quad9.net"));
    // An expression that speaks of all names it does not match is not looked through for those of upstreams.
    let is_blocked = upstream.is_some_and(|found| {
        found.is_enforced_block() && !found.entry.to_ascii_lowercase().contains(";invert")
    });
    assert!(!is_blocked, "the resolver's own upstream is blocked: {upstream:?}");
}

/// The set says what it says after a round trip, and names a line that there is.
fn agree(set: &DomainSet, text: &str, lines: u32) {
    let written = set.write();
    let again = DomainSet::read(&written).expect("what was written can be read");
    assert_eq!(again.write(), written, "written again it is the same");
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')));
    let words: Vec<String> = words
        .filter(|word| word.len() < 254)
        .take(32)
        .map(|word| word.trim_matches('.').to_ascii_lowercase())
        .collect();
    for (place, name) in words.iter().map(String::as_str).chain(NAMES).enumerate() {
        let asked = Asked { qtype: [1, 28, 65, 16][place % 4], ..Asked::about(name) };
        let found = set.decide(&asked);
        assert_eq!(again.decide(&asked), found, "{name}");
        if let Some(found) = found {
            assert!(found.line <= lines && !found.entry.is_empty(), "{name}: {found:?}");
        }
        let address = IpAddr::from([192, 0, 2, u8::try_from(place).unwrap()]);
        assert_eq!(again.decide_address(address, &asked), set.decide_address(address, &asked));
    }
}

/// A file of addresses; the first byte chooses its format.
pub(crate) fn addresses(data: &[u8]) {
    let (choice, bytes) = crate::choice(data);
    let format: Format = ["auto", "plain", "score", "csv:1", "csv:2:3", "json:ip", "json:ip:score"]
        [choice % 7]
        .parse()
        .unwrap();
    let own: [ipnet::IpNet; 2] = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
    let reading = AddressReading { min_score: (choice >= 128).then_some(3), own: &own };
    let Ok((list, report)) = AddressList::read_as(bytes, &format, reading) else { return };
    assert!(list.len() as u64 <= report.entries.saturating_mul(64), "a range has at most as many prefixes");
    for net in list.nets() {
        assert!(own.iter().all(|own| !own.contains(&net) && !net.contains(own)), "{net} is ours");
        let (found, line) = list.find(net.addr()).expect("what is listed is found");
        assert!(found.contains(&net) || net.contains(&found), "{found} for {net}");
        assert!(line <= report.lines);
    }
}

/// A Pi-hole's expression: what is made of it is one, and the set says of each name what another engine says.
pub(crate) fn expression(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    // A list takes spaces and a mark of the byte order from the ends of a line.
    let text = text.trim_matches(' ');
    if text.contains(|c: char| c.is_control() || matches!(c, ';' | '\u{feff}'))
        || text.starts_with(['@', '#'])
    {
        return;
    }
    let Ok(translated) = lists::pihole_expression(text) else { return };
    let parsed = regex_syntax::ParserBuilder::new()
        .unicode(false)
        .utf8(false)
        .nest_limit(250)
        .build()
        .parse(&translated);
    let mut builder = DomainSetBuilder::new(7);
    let report = builder.add_as("list", Mode::Enforce, GroupSet::DEFAULT, text.as_bytes(), &Format::Regex);
    if !report.is_ok_and(|report| report.entries == 1) {
        return;
    }
    parsed.unwrap_or_else(|error| panic!("{text} became {translated}: {error}"));
    let set = builder.finish();
    let reference = Regex::builder()
        .syntax(syntax::Config::new().unicode(false).utf8(false).case_insensitive(true))
        .configure(Regex::config().utf8_empty(false).nfa_size_limit(Some(1 << 24)))
        .build(&translated)
        .unwrap();
    let letters: String =
        text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-')).take(60).collect();
    let letters = letters.to_ascii_lowercase();
    for name in
        NAMES.into_iter().chain([letters.as_str(), &format!("x.{letters}"), &format!("{letters}.example")])
    {
        let found = set.decide(&Asked::about(name)).is_some();
        assert_eq!(found, reference.is_match(name), "{text} as {translated}, on {name}");
    }
}

/// The bytes of a snapshot with a checksum that fits, or without.
pub(crate) fn snapshot(data: &[u8]) {
    let Ok(set) = DomainSet::read(data) else { return };
    for name in NAMES {
        let _ = set.decide(&Asked { groups: GroupSet::ALL, ..Asked::about(name) });
    }
    let _ = set.decide_address([192, 0, 2, 1].into(), &Asked::about("x"));
    let written = set.write();
    assert_eq!(DomainSet::read(&written).expect("what was read can be written and read").write(), written);
}
