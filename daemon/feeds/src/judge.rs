//! Whether a fetched file is what its subscription says: the kind decides the parser.

use foldhash::fast::FixedState;
use ipnet::IpNet;
use lists::{AddressList, AddressReading, Dangers, Delta, DomainSetBuilder, ListError, Report};
use signatures::{Classification, RuleSet, Variables};
use std::hash::BuildHasher;

use crate::{
    geoip::{GeoIp, GeoIpError},
    subscription::Kind,
};

/// Rejects that are kept for people to read.
const KEPT_REJECTS: usize = 10;

/// Why a file is refused as a whole. The last good one stays in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JudgeError {
    /// No list of its kind.
    #[error(transparent)]
    List(#[from] ListError),
    /// No rule set.
    #[error("no rule of it can be used: {0}")]
    Rules(String),
    /// No GeoIP database.
    #[error(transparent)]
    GeoIp(#[from] GeoIpError),
}

/// What is in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Judged {
    pub(crate) entries: u64,
    pub(crate) rejected: u64,
    pub(crate) rejects: Vec<String>,
    pub(crate) dangers: Dangers,
    pub(crate) delta: Delta,
}

impl Judged {
    /// Whether the guard lets it replace the last good one, of which entries and dangers are known.
    pub(crate) fn guard(&self, former: Option<(u64, Dangers)>) -> Result<(), ListError> {
        let report = Report { entries: self.entries, dangers: self.dangers, ..Report::default() };
        lists::guard_report(former, &report)
    }

    fn of_list(report: Report, delta: Delta) -> Self {
        Self {
            entries: report.entries,
            rejected: report.rejected,
            rejects: report.rejects.iter().take(KEPT_REJECTS).map(ToString::to_string).collect(),
            dangers: report.dangers,
            delta,
        }
    }
}

/// Judges a file. `former` is the last good one, read in the same way.
pub(crate) fn judge(
    kind: &Kind,
    bytes: &[u8],
    former: Option<&[u8]>,
    own: &[IpNet],
    seed: u64,
) -> Result<Judged, JudgeError> {
    match kind {
        Kind::Domains { format, own } => {
            let former = former.map(|bytes| (bytes, format));
            let (report, delta) = DomainSetBuilder::compare(bytes, format, former, own, seed)?;
            Ok(Judged::of_list(report, delta))
        }
        Kind::Addresses { format, min_score } => {
            let reading = AddressReading { min_score: *min_score, own };
            let (list, report) = AddressList::read_as(bytes, format, reading)?;
            let former = former.and_then(|bytes| AddressList::read_as(bytes, format, reading).ok());
            let delta = list.delta(&former.map(|(list, _)| list).unwrap_or_default()).counts();
            Ok(Judged::of_list(report, delta))
        }
        Kind::Rules => rules(bytes, former, seed),
        Kind::GeoIp => {
            let database = GeoIp::open(bytes.to_vec())?;
            Ok(Judged { entries: database.nodes(), ..Judged::default() })
        }
    }
}

fn rules(bytes: &[u8], former: Option<&[u8]>, seed: u64) -> Result<Judged, JudgeError> {
    let text = str::from_utf8(bytes).map_err(|_| JudgeError::Rules("the file is not UTF-8 text".into()))?;
    if text.trim_start().starts_with('<') {
        return Err(ListError::Html.into());
    }
    let (set, refused) = RuleSet::load(text, "rules", &Variables::usual(), &Classification::default());
    if set.is_empty() {
        let why = refused.first().map_or_else(|| "there is none".to_owned(), ToString::to_string);
        return Err(JudgeError::Rules(why));
    }
    let now = fingerprints(text, seed);
    let before = former.and_then(|bytes| str::from_utf8(bytes).ok()).map(|text| fingerprints(text, seed));
    Ok(Judged {
        entries: set.len() as u64,
        rejected: set.refused() as u64,
        rejects: refused.iter().take(KEPT_REJECTS).map(ToString::to_string).collect(),
        dangers: Dangers::default(),
        delta: Delta::between(&before.unwrap_or_default(), &now),
    })
}

/// A number for each line that is no comment, sorted.
fn fingerprints(text: &str, seed: u64) -> Vec<u64> {
    let hasher = FixedState::with_seed(seed);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut seen: Vec<u64> = lines.map(|line| hasher.hash_one(line)).collect();
    seen.sort_unstable();
    seen.dedup();
    seen
}
