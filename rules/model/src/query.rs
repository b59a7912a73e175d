//! What was asked of the resolver, as it is kept and looked back at.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{fmt, net::IpAddr, str::FromStr};

use crate::{EventAction, Timestamp};

/// A question as the log has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryRow {
    /// Its place in the log, greater for later ones: a cursor for [`QueryFilter::before`] and [`QueryFilter::after`].
    /// Below 2^53.
    pub id: u64,
    /// When it came.
    pub at: Timestamp,
    /// Who asked.
    pub client: QueryClient,
    /// The name, `.` for the root; null if its zone does not want it told.
    pub name: Option<String>,
    /// What was asked for.
    #[serde(rename = "type")]
    pub qtype: QueryType,
    /// The answer code.
    pub code: AnswerCode,
    /// What was done: `pass`, `sinkhole`, `observe`, `drop`.
    pub action: EventAction,
    /// Where the answer came from.
    pub from: AnswerFrom,
    /// The upstream that answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// Who decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<QueryDecider>,
    /// The alias, target or address behind the name that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// The answer was validated (DNSSEC).
    pub secure: bool,
    /// Microseconds until the answer was ready; 0 for what needed no upstream.
    pub micros: u32,
}

/// Who asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct QueryClient {
    /// Its address; null if its zone does not want it told. Of a client that has several, the last that asked.
    pub address: Option<IpAddr>,
    /// Its name in the config.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its zone.
    pub zone: String,
}

/// Who decided about an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum QueryDecider {
    /// A line of a list, of the config's own entries too.
    List {
        /// The list.
        list: String,
        /// The line; 0 = not known.
        line: u32,
        /// It allowed the name.
        allow: bool,
    },
    /// An order of a person.
    Decision {
        /// Its number.
        id: u64,
        /// It allowed the name.
        allow: bool,
    },
    /// A private address in the answer for a public name.
    Rebinding,
}

impl fmt::Display for QueryDecider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List { list, line: 0, .. } => write!(f, "list {list}"),
            Self::List { list, line, .. } => write!(f, "list {list} line {line}"),
            Self::Decision { id, .. } => write!(f, "decision {id}"),
            Self::Rebinding => f.write_str("rebinding protection"),
        }
    }
}

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AnswerFrom {
    /// The sinkhole: it was blocked.
    Sinkhole,
    /// A rewrite of a list or of a person.
    Rewrite,
    /// Names of this network.
    Local,
    /// Names that are answered here: special ones, ANY.
    Here,
    /// The cache.
    Cache,
    /// The cache, past its time.
    Stale,
    /// An upstream.
    Upstream,
    /// Nobody: no upstream answered, or not validly.
    Nobody,
    /// Nobody: too many questions waited.
    Overload,
}

impl AnswerFrom {
    /// All of them, each at the place that is its number in the log: new ones are added at the end.
    pub const ALL: [Self; 9] = [
        Self::Sinkhole,
        Self::Rewrite,
        Self::Local,
        Self::Here,
        Self::Cache,
        Self::Stale,
        Self::Upstream,
        Self::Nobody,
        Self::Overload,
    ];

    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Sinkhole => "sinkhole",
            Self::Rewrite => "rewrite",
            Self::Local => "local",
            Self::Here => "here",
            Self::Cache => "cache",
            Self::Stale => "stale",
            Self::Upstream => "upstream",
            Self::Nobody => "nobody",
            Self::Overload => "overload",
        }
    }
}

/// Which questions of the log are meant. What is left out does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueryFilter {
    /// Not earlier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Earlier than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Further back than the row with this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// After the row with this id. Rows come oldest first then, to follow what is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Who asked: the name of the config or the address; with `*` a pattern over both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The name or one above it; with `*` a pattern over the whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Only what was blocked.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub blocked: bool,
    /// Only what was answered from there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<AnswerFrom>,
    /// Only what this upstream answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// Only this type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub qtype: Option<QueryType>,
    /// Only this answer code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<AnswerCode>,
    /// Most rows, [`QueryFilter::ROWS`] if left out, at most [`QueryFilter::MOST_ROWS`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

impl QueryFilter {
    /// Rows of a page where no limit is named.
    pub const ROWS: u32 = 100;
    /// Most rows of a page.
    pub const MOST_ROWS: u32 = 10_000;
}

/// A page of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryPage {
    /// Latest first; oldest first with [`QueryFilter::after`].
    pub rows: Vec<QueryRow>,
    /// Where to go on: the next [`QueryFilter::before`] (or `after`); null if there is no more now.
    pub next: Option<u64>,
    /// From when on questions are kept; null if none is.
    pub kept_since: Option<Timestamp>,
}

/// What is to be summed up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueryStatsFilter {
    /// From when on; all that is known if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Until when; now if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Seconds of a piece of the history, which begin at multiples of it; no history if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<u32>,
    /// The history of each client as well.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub by_client: bool,
    /// Only this client, as in [`QueryFilter::client`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Most names and clients of each table, [`QueryStatsFilter::ROWS`] if left out, at most
    /// [`QueryStatsFilter::MOST_ROWS`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

impl QueryStatsFilter {
    /// Rows of a table where no limit is named.
    pub const ROWS: u32 = 10;
    /// Most rows of a table.
    pub const MOST_ROWS: u32 = 1_000;
    /// Most pieces of a history; a tenth of it with [`QueryStatsFilter::by_client`].
    pub const MOST_BUCKETS: i64 = 5_000;
    /// Most clients that have a history of their own; the others are in that of the whole only.
    pub const MOST_CLIENTS: usize = 100;
}

/// Sums over a time. What is neither blocked, cached nor forwarded was answered here or by nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryTotals {
    /// Questions.
    pub total: u64,
    /// Answered by the sinkhole.
    pub blocked: u64,
    /// Answered by the cache, also past its time.
    pub cached: u64,
    /// Answered by an upstream.
    pub forwarded: u64,
}

impl QueryTotals {
    /// Counts a question.
    pub const fn count(&mut self, from: AnswerFrom) {
        self.total += 1;
        match from {
            AnswerFrom::Sinkhole => self.blocked += 1,
            AnswerFrom::Cache | AnswerFrom::Stale => self.cached += 1,
            AnswerFrom::Upstream => self.forwarded += 1,
            AnswerFrom::Rewrite
            | AnswerFrom::Local
            | AnswerFrom::Here
            | AnswerFrom::Nobody
            | AnswerFrom::Overload => {}
        }
    }
}

impl std::ops::AddAssign for QueryTotals {
    fn add_assign(&mut self, more: Self) {
        self.total += more.total;
        self.blocked += more.blocked;
        self.cached += more.cached;
        self.forwarded += more.forwarded;
    }
}

/// The log, summed up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryStats {
    /// From when on; where it reaches further back than questions are kept, the beginning of an hour.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// Before this there are only the sums of hours: [`QueryStats::totals`], `history` and `clients` are of the whole
    /// time, and of names the ones that led each day; everything else begins here.
    pub exact_since: Timestamp,
    /// All questions.
    pub totals: QueryTotals,
    /// Different names.
    pub different_names: u64,
    /// Different clients.
    pub different_clients: u64,
    /// What was asked in each piece of the time, oldest first, without gaps.
    pub history: Vec<QueryBucket>,
    /// The same for each client, those that asked most first.
    pub client_history: Vec<ClientHistory>,
    /// Names asked most.
    pub names: Vec<NameCount>,
    /// Names asked most and not blocked, sorted by that.
    pub passed_names: Vec<NameCount>,
    /// Names blocked most.
    pub blocked_names: Vec<NameCount>,
    /// Clients that asked most.
    pub clients: Vec<ClientCount>,
    /// Clients that were blocked most.
    pub blocked_clients: Vec<ClientCount>,
    /// Upstreams by what they answered.
    pub upstreams: Vec<UpstreamCount>,
    /// Questions by where the answer came from.
    pub from: Vec<(AnswerFrom, u64)>,
    /// Questions by type, the most asked first.
    pub types: Vec<(QueryType, u64)>,
    /// Questions by answer code, the most given first.
    pub codes: Vec<(AnswerCode, u64)>,
}

/// A piece of the history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryBucket {
    /// When it begins.
    pub at: Timestamp,
    /// What was asked.
    #[serde(flatten)]
    pub totals: QueryTotals,
}

/// The history of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientHistory {
    /// The client.
    pub client: QueryClient,
    /// As many as [`QueryStats::history`] has.
    pub totals: Vec<QueryTotals>,
}

/// How often a name was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameCount {
    /// The name; `*.NAME` stands for names below it that were too many to be kept each.
    pub name: String,
    /// Questions.
    pub total: u64,
    /// Blocked ones.
    pub blocked: u64,
}

/// How much a client asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCount {
    /// The client.
    pub client: QueryClient,
    /// What it asked.
    #[serde(flatten)]
    pub totals: QueryTotals,
}

/// How much an upstream answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamCount {
    /// The upstream as the config has it.
    pub upstream: String,
    /// Questions.
    pub total: u64,
    /// Microseconds until the answer was ready, on average.
    pub micros: u32,
}

/// What is asked for of a name (RFC 1035 and the registry of IANA): `A`, `HTTPS`, `TYPE65399`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryType(pub u16);

/// Types that have a name here; the others are written `TYPE` and their number (RFC 3597).
const TYPES: [(u16, &str); 34] = [
    (1, "A"),
    (2, "NS"),
    (5, "CNAME"),
    (6, "SOA"),
    (10, "NULL"),
    (12, "PTR"),
    (13, "HINFO"),
    (15, "MX"),
    (16, "TXT"),
    (17, "RP"),
    (18, "AFSDB"),
    (24, "SIG"),
    (25, "KEY"),
    (28, "AAAA"),
    (29, "LOC"),
    (33, "SRV"),
    (35, "NAPTR"),
    (37, "CERT"),
    (39, "DNAME"),
    (43, "DS"),
    (44, "SSHFP"),
    (46, "RRSIG"),
    (47, "NSEC"),
    (48, "DNSKEY"),
    (50, "NSEC3"),
    (51, "NSEC3PARAM"),
    (52, "TLSA"),
    (53, "SMIMEA"),
    (61, "OPENPGPKEY"),
    (64, "SVCB"),
    (65, "HTTPS"),
    (255, "ANY"),
    (256, "URI"),
    (257, "CAA"),
];

impl fmt::Display for QueryType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match TYPES.iter().find(|(number, _)| *number == self.0) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "TYPE{}", self.0),
        }
    }
}

impl FromStr for QueryType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = TYPES.iter().find(|(_, name)| name.eq_ignore_ascii_case(text)).map(|(number, _)| *number);
        let numbered = || text.get(..4).filter(|word| word.eq_ignore_ascii_case("TYPE"));
        known
            .or_else(|| numbered().and_then(|_| text[4..].parse().ok()))
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no type; write for example A, AAAA, HTTPS or TYPE65"))
    }
}

/// The code of an answer (RFC 1035): `NOERROR`, `NXDOMAIN`, `RCODE9`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AnswerCode(pub u16);

/// Codes that have a name, by number.
const CODES: [&str; 6] = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"];

impl fmt::Display for AnswerCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match CODES.get(usize::from(self.0)) {
            Some(name) => f.write_str(name),
            None => write!(f, "RCODE{}", self.0),
        }
    }
}

impl FromStr for AnswerCode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = CODES.iter().position(|name| name.eq_ignore_ascii_case(text));
        let known = known.and_then(|place| u16::try_from(place).ok());
        let numbered = || text.get(..5).filter(|word| word.eq_ignore_ascii_case("RCODE"));
        known
            .or_else(|| numbered().and_then(|_| text[5..].parse().ok()))
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no answer code; write for example NOERROR or NXDOMAIN"))
    }
}

macro_rules! as_text {
    ($($name:ident),+) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }
    )+};
}

as_text!(QueryType, AnswerCode);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_codes_are_read_as_they_are_written() {
        for number in (0..=300).chain([65_399, u16::MAX]) {
            assert_eq!(QueryType(number).to_string().parse(), Ok(QueryType(number)));
            assert_eq!(AnswerCode(number).to_string().parse(), Ok(AnswerCode(number)));
        }
        assert_eq!([QueryType(65).to_string(), QueryType(66).to_string()], ["HTTPS", "TYPE66"]);
        assert_eq!("aaaa".parse(), Ok(QueryType(28)));
        assert!("TYPE".parse::<QueryType>().is_err() && "é".parse::<QueryType>().is_err());
        assert!("TYPE65536".parse::<QueryType>().is_err() && "RCODE".parse::<AnswerCode>().is_err());
    }

    #[test]
    fn places_are_numbers() {
        for (place, from) in AnswerFrom::ALL.into_iter().enumerate() {
            assert_eq!(from as usize, place);
            assert_eq!(serde_json::to_value(from).unwrap(), from.word());
        }
    }
}
