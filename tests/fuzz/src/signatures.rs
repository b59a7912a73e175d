//! Signature rules, the packets they are held against, and captures.

use model::Timestamp;
use signatures::{Classification, Inspector, Limits, LinkType, RuleSet, Variables, inspect_capture};
use std::{
    io::{self, Read},
    sync::{Arc, LazyLock},
};

/// Rules of many kinds, for captures.
static RULES: LazyLock<Arc<RuleSet>> = LazyLock::new(|| {
    let text = r#"
alert tcp any any -> any any (content:"GET"; http.method; sid:1;)
alert udp any any -> any any (content:"|00 01|"; offset:2; depth:9; byte_test:2,>,5,0,relative; sid:2;)
alert dns any any -> any any (dns.query; content:"ads"; nocase; sid:3;)
alert tcp any any -> any any (flow:established,to_server; pcre:"/a[^b]{2,3}c+$/Ri"; sid:4;)
alert icmp any any -> any any (itype:8; sid:5;)
alert ip any any -> any any (content:"evil"; fast_pattern; threshold:type limit, track by_src, count 1, seconds 9; sid:6;)
"#;
    Arc::new(RuleSet::load(text, "fuzz.rules", &Variables::usual(), &Classification::default()).0)
});

/// Rules as text, then (behind an empty line and `%%`) a frame, which comes twice.
pub(crate) fn rules(data: &[u8]) {
    let mark = b"\n%%\n";
    let at = data.windows(mark.len()).position(|window| window == mark);
    let (file, frame) = at.map_or((data, &[][..]), |at| (&data[..at], &data[at + mark.len()..]));
    let text = String::from_utf8_lossy(file);
    let (rules, refused) =
        RuleSet::load(&text, "fuzz.rules", &Variables::usual(), &Classification::default());
    for refused in &refused {
        assert!(!refused.to_string().is_empty());
    }
    let sids: Vec<u32> = rules.rules().map(|rule| rule.sid).collect();
    let mut inspector = Inspector::new(Arc::new(rules), Limits::default());
    for second in 0..2 {
        let now = Timestamp::from_seconds(1_790_000_000 + second);
        for link in [LinkType::Ethernet, LinkType::RawIp] {
            for alert in inspector.packet(now, link, frame).alerts {
                assert!(sids.contains(&alert.rule.sid));
            }
        }
    }
}

/// Gives one byte at a time.
struct Dripping<'a>(&'a [u8]);

impl Read for Dripping<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(1);
        self.0.read(&mut buffer[..most])
    }
}

/// A capture says the same however its bytes come.
pub(crate) fn capture(data: &[u8]) {
    let read = |source: &mut (dyn Read + Send)| {
        let mut alerts = Vec::new();
        let limits = Limits::default();
        let report = inspect_capture(source, "fuzz.pcap", Arc::clone(&RULES), limits, &mut |alert| {
            alerts.push(format!("{alert:?}"));
        });
        (report.map_err(|error| error.to_string()), alerts)
    };
    let mut bytes = data;
    let whole = read(&mut bytes);
    assert_eq!(read(&mut Dripping(data)), whole);
}
