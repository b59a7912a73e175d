//! What is to be done about a name for who asks: the config's allow-list first, then standing orders, then lists.

use lists::{Asked, DomainKind, DomainMatch, DomainSet, Effect, GroupSet, ListInfo, Override, Overrides};
use model::{DecisionKind, Mode, Timestamp};
use std::sync::Arc;

use crate::journal::Decider;

/// Who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// An entry of a list.
    List {
        /// The list.
        list: Arc<str>,
        /// Line of the entry in its file; 0 = not known.
        line: u32,
        /// Name of the entry: the question or a parent of it, or the expression as it is written.
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
        self.decider().fmt(f)
    }
}

impl By {
    /// The word in an event's `reason`.
    #[must_use]
    pub fn reason(&self, kind: DecisionKind) -> &'static str {
        self.decider().reason(kind)
    }

    fn decider(&self) -> Decider {
        match self {
            Self::List { list, line, .. } => Decider::List(Arc::clone(list), *line),
            Self::Decision { decision, .. } => Decider::Decision(*decision),
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
    /// It is not answered as it is, if the mode is to enforce.
    Blocked(By, Mode),
}

/// [`By`] without a copy of anything.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Said<'a> {
    /// An entry of a list: the list, line, name of the entry.
    List(&'a ListInfo, u32, &'a str),
    /// A standing order and the name it is about.
    Order(Override, &'a str),
}

impl std::fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::List(info, 0, _) => write!(f, "list {}", info.name),
            Self::List(info, line, _) => write!(f, "list {} line {line}", info.name),
            Self::Order(order, _) => write!(f, "decision {}", order.decision),
        }
    }
}

impl Said<'_> {
    /// As the journal keeps it.
    pub(crate) fn decider(&self) -> Decider {
        match self {
            Self::List(info, line, _) => Decider::List(Arc::clone(&info.name), *line),
            Self::Order(order, _) => Decider::Decision(order.decision),
        }
    }

    fn by(&self) -> By {
        match *self {
            Self::List(info, line, entry) => {
                By::List { list: Arc::clone(&info.name), line, entry: entry.to_owned() }
            }
            Self::Order(order, entry) => {
                By::Decision { decision: order.decision, entry: entry.to_owned(), until: order.until }
            }
        }
    }
}

/// [`Judgement`] without a copy of anything, and what becomes of the answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verdict<'a> {
    Clean,
    Allowed(Said<'a>),
    /// Who says so, whether it is carried out, how, and the groups it holds for.
    Blocked(Said<'a>, Mode, Effect<'a>, GroupSet),
}

impl Verdict<'_> {
    /// A copy for people.
    pub(crate) fn judgement(&self) -> Judgement {
        match self {
            Self::Clean => Judgement::Clean,
            Self::Allowed(said) => Judgement::Allowed(said.by()),
            Self::Blocked(said, mode, _, _) => Judgement::Blocked(said.by(), *mode),
        }
    }
}

/// Everything that is asked.
#[derive(Clone, Copy)]
pub(crate) struct Judge<'a> {
    pub(crate) lists: &'a DomainSet,
    pub(crate) overrides: &'a Overrides,
    /// Groups that carry out what they say.
    pub(crate) enforcing: GroupSet,
    pub(crate) date: Timestamp,
}

impl<'a> Judge<'a> {
    /// Judges a name. The config's allow-list beats standing orders; an allow among those beats every list; an enforced
    /// ban beats the exceptions of lists; what is only observed changes nothing that is enforced.
    pub(crate) fn name(&self, asked: &Asked<'a>) -> Verdict<'a> {
        let listed = self.listed(asked, |asked| self.lists.decide(asked));
        if let Some((found, _)) = listed
            && found.kind == DomainKind::Allow
            && found.info.is_allow_list()
        {
            return Verdict::Allowed(said(&found));
        }
        let Some((order, entry)) = self.overrides.decide_for(asked.name, asker(asked), self.date) else {
            return listed.map_or(Verdict::Clean, |(found, mode)| verdict(&found, mode));
        };
        let by_order = Said::Order(order, entry);
        let banned = |mode| Verdict::Blocked(by_order, mode, Effect::Block, asked.groups);
        match (order.kind, order.mode, listed) {
            (DecisionKind::Allow, _, _) => Verdict::Allowed(by_order),
            (DecisionKind::Ban, Mode::Enforce, _) => banned(Mode::Enforce),
            (DecisionKind::Ban, Mode::Observe, Some((found, Mode::Enforce))) => {
                verdict(&found, Mode::Enforce)
            }
            (DecisionKind::Ban, Mode::Observe, None | Some((_, Mode::Observe))) => banned(Mode::Observe),
        }
    }

    /// Judges an address of an answer.
    pub(crate) fn address(&self, address: std::net::IpAddr, asked: &Asked<'a>) -> Verdict<'a> {
        if !self.lists.knows_addresses() {
            return Verdict::Clean;
        }
        self.listed(asked, |asked| self.lists.decide_address(address, asked))
            .map_or(Verdict::Clean, |(found, mode)| verdict(&found, mode))
    }

    /// What lists say, and whether it is carried out: groups that only observe change nothing for the others.
    fn listed(
        &self,
        asked: &Asked<'a>,
        decide: impl Fn(&Asked<'a>) -> Option<DomainMatch<'a>>,
    ) -> Option<(DomainMatch<'a>, Mode)> {
        let enforcing = asked.groups.and(self.enforcing);
        if enforcing == asked.groups {
            return decide(asked).map(|found| (found, found.info.mode));
        }
        let enforced = decide(&Asked { groups: enforcing, ..*asked });
        match enforced {
            Some(found) if found.info.mode == Mode::Enforce => Some((found, Mode::Enforce)),
            Some(_) | None => decide(asked).map(|found| (found, Mode::Observe)),
        }
    }
}

/// Whoever asks, as orders name them.
fn asker<'a>(asked: &Asked<'a>) -> lists::Asker<'a> {
    lists::Asker { client: asked.client, address: asked.address }
}

fn said<'a>(found: &DomainMatch<'a>) -> Said<'a> {
    Said::List(found.info, found.line, found.entry)
}

/// An exception that only observes lets nothing pass that is enforced, such as an alias behind the name.
fn verdict<'a>(found: &DomainMatch<'a>, mode: Mode) -> Verdict<'a> {
    match (found.kind, mode) {
        (DomainKind::Allow, Mode::Enforce) => Verdict::Allowed(said(found)),
        (DomainKind::Allow, Mode::Observe) => Verdict::Clean,
        (DomainKind::Block, Mode::Enforce | Mode::Observe) => {
            Verdict::Blocked(said(found), mode, found.effect, found.groups)
        }
    }
}
