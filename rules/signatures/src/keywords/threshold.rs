//! `threshold` and `detection_filter`: how often a rule may or must match before it speaks.

use super::{Draft, Read, value};
use crate::syntax::RawOption;

/// How alerts are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ThresholdKind {
    /// The first `count` of every window.
    Limit,
    /// Every `count`th in a window.
    Threshold,
    /// Once in a window, when `count` is reached.
    Both,
    /// All above `count` in a window.
    DetectionFilter,
}

/// What is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Track {
    Source,
    Destination,
    Both,
    Rule,
    Flow,
}

/// A rule's threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Threshold {
    pub kind: ThresholdKind,
    pub track: Track,
    pub count: u32,
    pub seconds: u32,
}

pub(crate) const KEYWORDS: &[(&str, Read)] =
    &[("threshold", threshold), ("detection_filter", detection_filter)];

fn threshold(draft: &mut Draft<'_>, option: &RawOption<'_>) -> Result<(), String> {
    read(draft, option, None)
}

fn detection_filter(draft: &mut Draft<'_>, option: &RawOption<'_>) -> Result<(), String> {
    read(draft, option, Some(ThresholdKind::DetectionFilter))
}

fn read(draft: &mut Draft<'_>, option: &RawOption<'_>, kind: Option<ThresholdKind>) -> Result<(), String> {
    let (mut kind, mut track, mut count, mut seconds) = (kind, None, None, None);
    for field in value(option)?.split(',') {
        let field = field.trim();
        let (key, word) =
            field.split_once(char::is_whitespace).ok_or_else(|| format!("`{field}` has no value"))?;
        let word = word.trim();
        let number =
            || word.parse::<u32>().ok().filter(|n| *n > 0).ok_or(format!("`{word}` is no number above 0"));
        match key {
            "type" if kind != Some(ThresholdKind::DetectionFilter) => {
                kind = Some(match word {
                    "limit" => ThresholdKind::Limit,
                    "threshold" => ThresholdKind::Threshold,
                    "both" => ThresholdKind::Both,
                    _ => {
                        return Err(format!(
                            "the type `{word}` is not supported; write limit, threshold or both"
                        ));
                    }
                });
            }
            "track" => {
                track = Some(match word {
                    "by_src" => Track::Source,
                    "by_dst" => Track::Destination,
                    "by_both" => Track::Both,
                    "by_rule" => Track::Rule,
                    "by_flow" => Track::Flow,
                    _ => return Err(format!("`{word}` is not by_src, by_dst, by_both, by_rule or by_flow")),
                });
            }
            "count" => count = Some(number()?),
            "seconds" => seconds = Some(number()?),
            _ => return Err(format!("the field `{key}` is not supported")),
        }
    }
    let (Some(kind), Some(track), Some(count), Some(seconds)) = (kind, track, count, seconds) else {
        return Err("write `type TYPE, track BY, count N, seconds S` (detection_filter without type)".into());
    };
    if draft.threshold.replace(Threshold { kind, track, count, seconds }).is_some() {
        return Err("a rule has one threshold or detection_filter".into());
    }
    Ok(())
}
