//! How long and how many bans of engines are.

use std::time::Duration;

use super::{dns::duration, net};
use crate::{checked::Bans, draft::BansDraft, error::Report};

/// Networks that many share; a config with more is refused.
const MOST_SHARED: usize = 4_096;
const MINUTE: Duration = Duration::from_secs(60);
const TEN_YEARS: Duration = Duration::from_secs(3640 * 86_400);

pub(super) fn check(draft: &BansDraft, report: &mut Report<'_>) -> Bans {
    if let Some(first_over) = draft.shared.get(MOST_SHARED) {
        report.add(
            first_over.at,
            format!("`shared` has {} entries", draft.shared.len()),
            format!("write at most {MOST_SHARED}; neighbouring networks can be written as one"),
        );
    }
    let shared = draft.shared.iter().take(MOST_SHARED);
    let shared = shared.filter_map(|text| net::network("shared", text, report)).collect();
    Bans {
        per_hour: draft.per_hour,
        per_scenario: draft.per_scenario,
        growth: draft.growth,
        longest: duration("longest", &draft.longest, (MINUTE, TEN_YEARS), report),
        remember: duration("remember", &draft.remember, (Duration::ZERO, TEN_YEARS), report),
        shared,
        shared_longest: duration("shared_longest", &draft.shared_longest, (MINUTE, TEN_YEARS), report),
        after_login: duration("after_login", &draft.after_login, (Duration::ZERO, TEN_YEARS), report),
    }
}
