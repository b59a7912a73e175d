//! What is to be done about a name: special names first, then the config's allow-list, standing orders, lists.

use lists::{DomainKind, DomainSet, Overrides};
use model::{DecisionKind, Mode, Timestamp};
use std::sync::Arc;

/// Who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// An entry of a list.
    List {
        /// The list.
        list: Arc<str>,
        /// Line of the entry in its file; 0 = not known.
        line: u32,
        /// Name of the entry: the question or a parent of it.
        entry: String,
    },
    /// A standing order.
    Decision {
        /// Its id.
        decision: u64,
        /// The name it is about.
        entry: String,
        /// Until when; none = until it is lifted.
        until: Option<Timestamp>,
    },
}

impl std::fmt::Display for By {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::List { list, line: 0, .. } => write!(f, "list {list}"),
            Self::List { list, line, .. } => write!(f, "list {list} line {line}"),
            Self::Decision { decision, .. } => write!(f, "decision {decision}"),
        }
    }
}

impl By {
    /// The word in an event's `reason`.
    #[must_use]
    pub const fn reason(&self, kind: DecisionKind) -> &'static str {
        match (self, kind) {
            (Self::List { .. }, DecisionKind::Ban) => "listed",
            (Self::Decision { .. }, DecisionKind::Ban) => "banned",
            (Self::List { .. } | Self::Decision { .. }, DecisionKind::Allow) => "allowed",
        }
    }
}

/// What is to be done about a name, and who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Nobody knows it.
    Clean,
    /// It passes whatever else is said.
    Allowed(By),
    /// The sinkhole answers, if the mode is to enforce.
    Blocked(By, Mode),
}

/// Names that are answered here and never asked of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Special {
    /// This machine (RFC 6761 §6.3).
    Loopback,
    /// Does not exist: `invalid` (RFC 6761 §6.4), `onion` (RFC 7686), `local` (RFC 6762, multicast only), and the
    /// name by which a network says that its resolver is to be used (use-application-dns.net).
    Nothing,
    /// Exists and has nothing: `resolver.arpa` (RFC 9462). Otherwise the upstream's answer would lead clients past
    /// this resolver.
    Empty,
}

/// Whether the name is special.
pub(crate) fn special(text: &str) -> Option<Special> {
    let within =
        |parent: &str| text.strip_suffix(parent).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    if within("localhost") {
        Some(Special::Loopback)
    } else if within("invalid") || within("onion") || within("local") || within("use-application-dns.net") {
        Some(Special::Nothing)
    } else if within("resolver.arpa") {
        Some(Special::Empty)
    } else {
        None
    }
}

/// Judges a name. The config's allow-list beats standing orders; an allow among those beats every list; an enforced
/// ban beats the exceptions of lists; what is only observed changes nothing that is enforced.
pub(crate) fn judge(text: &str, set: &DomainSet, overrides: &Overrides, now: Timestamp) -> Judgement {
    let listed = set.decide(&lists::Asked::about(text));
    let by_list = |found: &lists::DomainMatch<'_>| By::List {
        list: Arc::clone(&found.info.name),
        line: found.line,
        entry: found.entry.to_owned(),
    };
    if let Some(found) = listed.filter(|found| found.kind == DomainKind::Allow && found.info.is_allow_list()) {
        return Judgement::Allowed(by_list(&found));
    }
    let ordered = overrides.decide(text, now);
    let by_order = ordered.map(|(order, entry)| By::Decision {
        decision: order.decision,
        entry: entry.to_owned(),
        until: order.until,
    });
    let order_is = |kind, mode| ordered.is_some_and(|(order, _)| order.kind == kind && order.mode == mode);
    match (by_order, listed) {
        (Some(by), _) if ordered.is_some_and(|(order, _)| order.kind == DecisionKind::Allow) => {
            Judgement::Allowed(by)
        }
        (Some(by), _) if order_is(DecisionKind::Ban, Mode::Enforce) => Judgement::Blocked(by, Mode::Enforce),
        (Some(by), None) => Judgement::Blocked(by, Mode::Observe),
        (Some(by), Some(found)) if found.info.mode == Mode::Observe => Judgement::Blocked(by, Mode::Observe),
        (_, Some(found)) => match found.kind {
            DomainKind::Allow => Judgement::Allowed(by_list(&found)),
            DomainKind::Block => Judgement::Blocked(by_list(&found), found.info.mode),
        },
        (None, None) => Judgement::Clean,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lists::DomainSetBuilder;
    use model::{Decision, Direction, Name, Origin, OriginKind};

    fn order(id: u64, kind: DecisionKind, mode: Mode, name: &str) -> Decision {
        Decision {
            id,
            kind,
            target: name.parse().unwrap(),
            direction: Direction::Both,
            mode,
            since: Timestamp(0),
            until: Some(Timestamp(100)),
            origin: Origin { kind: OriginKind::Person, name: "root".into(), at: None },
            evidence: Vec::new(),
        }
    }

    #[test]
    fn who_beats_whom() {
        let allowed: Name = "always.fine.example".parse().unwrap();
        let mut builder = DomainSetBuilder::new(3);
        builder.add("watched", Mode::Observe, b"||seen.example^").unwrap();
        builder.add("ads", Mode::Enforce, b"||ads.example^\n@@||fine.example^").unwrap();
        builder.add_allowed("dns.allow", [(&allowed, 0)]).unwrap();
        let set = builder.finish();
        let overrides = Overrides::new(&[
            order(1, DecisionKind::Ban, Mode::Enforce, "always.fine.example"),
            order(2, DecisionKind::Ban, Mode::Enforce, "fine.example"),
            order(3, DecisionKind::Allow, Mode::Enforce, "good.ads.example"),
            order(4, DecisionKind::Ban, Mode::Observe, "ads.example"),
            order(5, DecisionKind::Ban, Mode::Observe, "seen.example"),
        ]);
        let said = |name: &str, now| match judge(name, &set, &overrides, Timestamp(now)) {
            Judgement::Clean => "clean".into(),
            Judgement::Allowed(by) => format!("allowed by {by}"),
            Judgement::Blocked(by, mode) => format!("blocked by {by}, {mode}"),
        };
        assert_eq!(said("x.always.fine.example", 0), "allowed by list dns.allow");
        assert_eq!(said("fine.example", 0), "blocked by decision 2, enforce");
        assert_eq!(said("fine.example", 100), "allowed by list ads line 2");
        assert_eq!(said("x.good.ads.example", 0), "allowed by decision 3");
        assert_eq!(said("x.good.ads.example", 100), "blocked by list ads line 1, enforce");
        assert_eq!(said("ads.example", 0), "blocked by list ads line 1, enforce");
        assert_eq!(said("seen.example", 0), "blocked by decision 5, observe");
        assert_eq!(said("seen.example", 100), "blocked by list watched line 1, observe");
        assert_eq!(said("example", 0), "clean");
    }

    #[test]
    fn special_names() {
        assert_eq!(special("localhost"), Some(Special::Loopback));
        assert_eq!(special("a.localhost"), Some(Special::Loopback));
        assert_eq!(special("use-application-dns.net"), Some(Special::Nothing));
        assert_eq!(special("printer.local"), Some(Special::Nothing));
        assert_eq!(special("_dns.resolver.arpa"), Some(Special::Empty));
        assert_eq!(special("notlocalhost"), None);
        assert_eq!(special(""), None);
    }
}
