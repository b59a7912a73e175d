//! An entry of the journal, as `journalctl --output=json` writes it, and the place behind it.

use std::borrow::Cow;

use model::Timestamp;
use serde::Deserialize;

use crate::config::Position;

/// The fields that are asked for; `__CURSOR` and the times come by themselves.
pub(crate) const FIELDS: &str = "MESSAGE,SYSLOG_IDENTIFIER,_COMM,SYSLOG_PID,_PID,_HOSTNAME";

/// An entry.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Entry<'e> {
    #[serde(borrow, rename = "__CURSOR")]
    cursor: Option<Cow<'e, str>>,
    #[serde(borrow, rename = "__REALTIME_TIMESTAMP")]
    realtime: Option<Cow<'e, str>>,
    #[serde(default, borrow, rename = "MESSAGE")]
    message: Field<'e>,
    #[serde(default, borrow, rename = "SYSLOG_IDENTIFIER")]
    identifier: Field<'e>,
    #[serde(default, borrow, rename = "_COMM")]
    command: Field<'e>,
    #[serde(default, borrow, rename = "SYSLOG_PID")]
    syslog_pid: Field<'e>,
    #[serde(default, borrow, rename = "_PID")]
    pid: Field<'e>,
    #[serde(default, borrow, rename = "_HOSTNAME")]
    host: Field<'e>,
}

/// A field: text, bytes where it is no UTF-8 or holds control characters, several of either.
#[derive(Debug, Default, Deserialize)]
#[serde(untagged)]
enum Field<'e> {
    #[default]
    None,
    #[serde(borrow)]
    Text(Cow<'e, str>),
    Bytes(Vec<u8>),
    Many(Vec<Field<'e>>),
}

impl Field<'_> {
    /// The first value.
    fn bytes(&self) -> &[u8] {
        match self {
            Field::None => b"",
            Field::Text(text) => text.as_bytes(),
            Field::Bytes(bytes) => bytes,
            Field::Many(values) => match values.first() {
                Some(first @ (Field::Text(_) | Field::Bytes(_))) => first.bytes(),
                Some(Field::None | Field::Many(_)) | None => b"",
            },
        }
    }

    fn or<'f>(&'f self, other: &'f Self) -> &'f [u8] {
        let own = self.bytes();
        if own.is_empty() { other.bytes() } else { own }
    }
}

impl<'e> Entry<'e> {
    pub(crate) fn read(line: &'e [u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    /// When the journal took it.
    pub(crate) fn written(&self) -> Option<Timestamp> {
        self.realtime.as_ref()?.parse().ok().map(Timestamp)
    }

    /// The entry as a line of a file of syslog: `TIME HOST PROGRAM[PID]: MESSAGE`. Empty without a message.
    pub(crate) fn line(&self) -> Vec<u8> {
        let message = self.message.bytes();
        if message.is_empty() {
            return Vec::new();
        }
        let mut line = Vec::with_capacity(message.len() + 96);
        let time = self.written().map_or_else(|| "-".to_owned(), |at| at.to_string());
        line.extend_from_slice(time.as_bytes());
        line.push(b' ');
        let host = self.host.bytes();
        word(if host.is_empty() { b"localhost" } else { host }, &mut line);
        line.push(b' ');
        let program = self.identifier.or(&self.command);
        word(if program.is_empty() { b"unknown" } else { program }, &mut line);
        let pid = self.pid.or(&self.syslog_pid);
        if !pid.is_empty() {
            line.push(b'[');
            word(pid, &mut line);
            line.push(b']');
        }
        line.extend_from_slice(b": ");
        logs::syslog::escape(message, &mut line);
        line
    }

    /// The place behind it.
    pub(crate) fn position(&self) -> Option<Position> {
        let cursor = self.cursor.as_ref()?;
        let part = |key: &str| cursor.split(';').find_map(|part| part.strip_prefix(key)?.strip_prefix('='));
        let hex = |key: &str| u64::from_str_radix(part(key)?, 16).ok();
        let id = u128::from_str_radix(part("s")?, 16).ok()?;
        let (upper, lower) = ((id >> 64) as u64, id as u64);
        Some(Position { device: upper, inode: lower, offset: hex("i")?, head_length: 0, head: hex("t")? })
    }
}

/// What `journalctl` goes on behind. The id with the number says which entry; where that journal is gone, the time says
/// where to go on.
pub(crate) fn cursor(position: &Position) -> String {
    let Position { device, inode, offset, head, .. } = position;
    format!("s={device:016x}{inode:016x};i={offset:x};t={head:x}")
}

/// A word of the header: what would end it is written as `_`.
fn word(text: &[u8], line: &mut Vec<u8>) {
    let kept = |&byte: &u8| match byte {
        b'!'..=b'~' if !matches!(byte, b'[' | b']' | b':') => byte,
        0x80.. => byte,
        _ => b'_',
    };
    line.extend(text.iter().take(255).map(kept));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CURSOR: &str = "s=0639c7c2f2b94d1b8d5f3a9f6d6f8a01;i=1a2b;b=4f;m=5;t=64a9f0c2d1e40;x=77";

    #[test]
    fn an_entry_is_a_line_of_syslog_and_a_place() {
        let text = format!(
            r#"{{"__CURSOR":"{CURSOR}","__REALTIME_TIMESTAMP":"1795456800123456","__MONOTONIC_TIMESTAMP":"1",
            "_BOOT_ID":"4f","MESSAGE":"Failed password for root from 198.51.100.7 port 1 ssh2","_PID":"12",
            "SYSLOG_PID":"99","SYSLOG_IDENTIFIER":"sshd","_COMM":"sshd","_HOSTNAME":"gate"}}"#
        );
        let entry = Entry::read(text.as_bytes()).unwrap();
        let expected = "2026-11-23T18:00:00.123456Z gate sshd[12]: Failed password for root from 198.51.100.7 port 1 ssh2";
        assert_eq!(String::from_utf8(entry.line()).unwrap(), expected);
        assert_eq!(entry.written(), Some(Timestamp(1_795_456_800_123_456)));
        let position = entry.position().unwrap();
        assert_eq!(cursor(&position), "s=0639c7c2f2b94d1b8d5f3a9f6d6f8a01;i=1a2b;t=64a9f0c2d1e40");
    }

    #[test]
    fn bytes_several_values_and_forged_headers() {
        let line = |text: &str| String::from_utf8(Entry::read(text.as_bytes()).unwrap().line()).unwrap();
        assert_eq!(line(r#"{"MESSAGE":[97,10,27,98],"_COMM":"x"}"#), "- localhost x: a#012#033b");
        assert_eq!(line(r#"{"MESSAGE":["one","two"],"SYSLOG_IDENTIFIER":["p","q"]}"#), "- localhost p: one");
        assert_eq!(line(r#"{"MESSAGE":"m","SYSLOG_IDENTIFIER":"sshd[1]: x"}"#), "- localhost sshd_1___x: m");
        assert_eq!(line(r#"{"MESSAGE":null}"#), "");
        assert!(Entry::read(b"-- No entries --").is_none());
        let entry = Entry::read(br#"{"__CURSOR":"s=zz;i=1;t=2"}"#).unwrap();
        assert_eq!(entry.position(), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn bytes_of_any_kind(message in proptest::collection::vec(any::<u8>(), 1..50), junk in any::<Vec<u8>>()) {
            let _ = Entry::read(&junk).map(|entry| (entry.line(), entry.position()));
            let text = format!("{{\"MESSAGE\":{message:?}}}");
            let line = Entry::read(text.as_bytes()).unwrap().line();
            prop_assert!(!line.contains(&b'\n') && !line.contains(&0));
        }
    }
}
