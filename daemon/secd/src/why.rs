//! Why something is blocked, and the command that would allow it.

use ipnet::IpNet;
use lists::{AddressLists, Asked, Asker, DomainKind, DomainMatch, DomainSet, GroupSet, Overrides};
use model::{ClientName, Decision, DecisionKind, Mode, Name, OriginKind, Target, Timestamp};
use protocol::{By, ByKind, Why, WhyClient};
use std::net::IpAddr;

use crate::keeper::Protected;

/// Somebody for whom a name is looked up.
#[derive(Clone, Debug)]
pub struct Asking {
    /// As the person named them.
    pub named: ClientName,
    /// Their name in the config; empty for nobody it names.
    pub client: String,
    /// Their address, where one is known.
    pub address: Option<IpAddr>,
    /// Their groups that are in force.
    pub groups: GroupSet,
    /// The same in words.
    pub told: WhyClient,
}

/// What the answer is looked up in.
#[derive(Clone)]
pub struct Sources<'a> {
    /// Decisions that hold the subject, allows first, most specific first.
    pub decisions: Vec<&'a Decision>,
    /// What is protected.
    pub protected: &'a [Protected],
    /// Address lists.
    pub addresses: &'a AddressLists,
    /// Domain lists.
    pub domains: &'a DomainSet,
    /// Name and file of each configured list, by its number.
    pub lists: &'a [(String, String)],
    /// Names of the resolver's groups, by place.
    pub groups: &'a [String],
    /// Of these, those that only observe.
    pub observing: GroupSet,
    /// Mode of the whole.
    pub mode: Mode,
    /// Mode of the resolver.
    pub dns_mode: Mode,
    /// Wall clock.
    pub now: Timestamp,
}

/// One thing that holds against the subject.
struct Finding {
    by: By,
    reason: &'static str,
    enforced: bool,
    decision: Option<Decision>,
    allow_command: String,
}

impl Sources<'_> {
    /// Why an address or range is blocked, or that it is not. With `direction`, only what holds in one of these
    /// `abi::DIRECTION_*` counts.
    #[must_use]
    pub fn net(&self, net: IpNet, direction: Option<u8>) -> Why {
        let asked = direction.unwrap_or(abi::DIRECTION_IN | abi::DIRECTION_OUT);
        let target = Target::Net(net);
        if let Some(protected) = self.protected.iter().find(|protected| {
            let of_this = !(protected.is_upstream && asked == abi::DIRECTION_OUT);
            !protected.as_a_whole && of_this && protected.net.contains(&net)
        }) {
            let by = By { kind: ByKind::Protected, name: protected.why.clone(), line: None, file: None };
            return passes(&target, "protected", Some(by), None);
        }
        let bans = self.bans().filter(|ban| ban.direction.bits() & asked != 0);
        let mut findings: Vec<Finding> = bans.map(|ban| self.banned(&target, ban, asked)).collect();
        let origins = self.addresses.origin(net.addr()).into_iter();
        for origin in
            origins.filter(|origin| origin.net.contains(&net) && origin.direction.bits() & asked != 0)
        {
            let (name, file) = self.lists.get(usize::from(origin.list)).cloned().unwrap_or_default();
            let inbound = origin.direction.bits() & asked & abi::DIRECTION_IN != 0;
            findings.push(Finding {
                by: By { kind: ByKind::List, name, line: Some(origin.line), file: Some(file) },
                reason: if inbound { "listed_source" } else { "listed_destination" },
                enforced: self.mode.and(origin.mode) == Mode::Enforce,
                decision: None,
                allow_command: allow_command(&target),
            });
        }
        self.answer(&target, findings)
    }

    /// Why a name is blocked, or that it is not: for somebody, or for anybody of whatever group.
    #[must_use]
    pub fn name(&self, name: &Name, asking: Option<&Asking>) -> Why {
        let target = match asking {
            Some(asking) => Target::DomainFor { name: name.clone(), client: asking.named.clone() },
            None => Target::Domain(name.clone()),
        };
        let mut why = self.deciding(name, asking).about_name(name, &target, asking);
        why.client = asking.map(|asking| asking.told.clone());
        why
    }

    /// As the resolver decides: in its mode, with those orders alone that concern whoever asks, and with no allow that an
    /// order for them alone overrules.
    fn deciding(&self, name: &Name, asking: Option<&Asking>) -> Self {
        let asker = asking
            .map_or_else(Asker::default, |asking| Asker { client: &asking.client, address: asking.address });
        let mut decisions = self.decisions.clone();
        decisions.retain(|decision| match decision.target.domain() {
            Some((_, Some(client))) => client.is(asker.client, asker.address),
            Some((_, None)) | None => true,
        });
        let overrides = Overrides::new(decisions.iter().copied());
        if let Some((order, _)) = overrides.decide_for(name.as_str(), asker, self.now)
            && order.kind == DecisionKind::Ban
        {
            decisions.retain(|decision| decision.kind == DecisionKind::Ban);
            decisions.sort_by_key(|decision| decision.id != order.decision);
        }
        Self { decisions, mode: self.mode.and(self.dns_mode), ..self.clone() }
    }

    fn about_name(&self, name: &Name, target: &Target, asking: Option<&Asking>) -> Why {
        let mut findings: Vec<Finding> =
            self.bans().map(|ban| self.banned(target, ban, abi::DIRECTION_IN)).collect();
        let asked = Asked {
            groups: asking.map_or(GroupSet::ALL, |asking| asking.groups),
            address: asking.and_then(|asking| asking.address),
            client: asking.map_or("", |asking| &asking.client),
            ..Asked::about(name.as_str())
        };
        let mut groups = Vec::new();
        if let Some((found, mode)) = &self.listed(&asked) {
            // The set's lists are the config's domain lists behind `dns.allow`.
            let file =
                self.lists.iter().find(|(list, _)| **list == *found.info.name).map(|(_, file)| file.clone());
            let by = By {
                kind: ByKind::List,
                name: found.info.name.to_string(),
                line: (found.line > 0).then_some(found.line),
                file,
            };
            groups = found.groups.places().filter_map(|place| self.groups.get(place).cloned()).collect();
            match found.kind {
                DomainKind::Allow if findings.is_empty() || found.info.is_allow_list() => {
                    return Why { groups, ..passes(target, "allowed", Some(by), None) };
                }
                DomainKind::Allow => {}
                DomainKind::Block => findings.push(Finding {
                    by,
                    reason: "listed_name",
                    enforced: self.mode.and(*mode) == Mode::Enforce,
                    decision: None,
                    allow_command: allow_command(target),
                }),
            }
        }
        let why = self.answer(target, findings);
        let by_list = why.by.as_ref().is_some_and(|by| by.kind == ByKind::List);
        Why { groups: if by_list { groups } else { Vec::new() }, ..why }
    }

    /// What lists say, and whether it is carried out: groups that only observe change nothing for the others.
    fn listed<'a>(&'a self, asked: &Asked<'a>) -> Option<(DomainMatch<'a>, Mode)> {
        let enforcing = asked.groups.without(self.observing);
        let enforced = self.domains.decide(&Asked { groups: enforcing, ..*asked });
        match enforced {
            Some(found) if enforcing == asked.groups || found.info.mode == Mode::Enforce => {
                Some((found, found.info.mode))
            }
            Some(_) | None => self.domains.decide(asked).map(|found| (found, Mode::Observe)),
        }
    }

    fn bans(&self) -> impl Iterator<Item = &Decision> {
        self.decisions.iter().copied().filter(|decision| decision.kind == DecisionKind::Ban)
    }

    fn banned(&self, asked: &Target, ban: &Decision, directions: u8) -> Finding {
        let inbound = ban.direction.bits() & directions & abi::DIRECTION_IN != 0;
        Finding {
            by: by(ban),
            reason: match ban.target {
                Target::Domain(_) | Target::DomainFor { .. } => "banned_name",
                Target::Net(_) if inbound => "banned_source",
                Target::Net(_) => "banned_destination",
            },
            enforced: self.mode.and(ban.mode) == Mode::Enforce,
            decision: Some(ban.clone()),
            allow_command: if ban.target == *asked {
                format!("secctl unban {asked}")
            } else {
                allow_command(asked)
            },
        }
    }

    fn answer(&self, target: &Target, mut findings: Vec<Finding>) -> Why {
        let allow = self
            .decisions
            .iter()
            .find(|d| d.kind == DecisionKind::Allow && d.until.is_none_or(|until| until > self.now));
        if let Some(allow) = allow {
            let mut why = passes(target, "allowed", Some(by(allow)), Some(allow));
            why.also = findings.into_iter().map(|finding| finding.by).collect();
            return why;
        }
        findings.sort_by_key(|finding| !finding.enforced);
        let mut findings = findings.into_iter();
        let Some(first) = findings.next() else { return passes(target, "not_listed", None, None) };
        let decision = first.decision.as_ref();
        Why {
            target: target.to_string(),
            blocked: first.enforced,
            reason: first.reason.into(),
            by: Some(first.by),
            since: decision.map(|d| d.since),
            until: decision.and_then(|d| d.until),
            evidence: decision.map(|d| d.evidence.clone()).unwrap_or_default(),
            allow_command: Some(first.allow_command),
            observed: !first.enforced,
            client: None,
            groups: Vec::new(),
            answered: Vec::new(),
            also: findings.map(|finding| finding.by).collect(),
        }
    }
}

/// Who ordered a decision, as `why` names it.
#[must_use]
pub fn by(decision: &Decision) -> By {
    let place = decision.origin.at.as_deref().and_then(|at| at.rsplit_once(':'));
    By {
        kind: match decision.origin.kind {
            OriginKind::Person => ByKind::Person,
            OriginKind::Scenario => ByKind::Scenario,
            OriginKind::Signature => ByKind::Signature,
        },
        name: decision.origin.name.clone(),
        line: place.and_then(|(_, line)| line.parse().ok()),
        file: place.map(|(file, _)| file.to_owned()),
    }
}

fn passes(target: &Target, reason: &str, by: Option<By>, decision: Option<&Decision>) -> Why {
    Why {
        target: target.to_string(),
        blocked: false,
        reason: reason.into(),
        by,
        since: decision.map(|d| d.since),
        until: decision.and_then(|d| d.until),
        evidence: decision.map(|d| d.evidence.clone()).unwrap_or_default(),
        allow_command: None,
        observed: false,
        client: None,
        groups: Vec::new(),
        answered: Vec::new(),
        also: Vec::new(),
    }
}

/// The command that lets a target pass for a while.
fn allow_command(target: &Target) -> String {
    match target {
        Target::Net(_) | Target::Domain(_) => format!("secctl allow {target} --for 1h"),
        Target::DomainFor { name, client } => format!("secctl allow {name} --for 1h --client {client}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lists::{AddressList, AddressReading, DomainSetBuilder, ListedAs};
    use model::{Direction, Evidence, Origin};
    use std::sync::Arc;

    fn decision(kind: DecisionKind, target: &str) -> Decision {
        Decision {
            id: 7,
            kind,
            target: target.parse().unwrap(),
            direction: Direction::In,
            mode: Mode::Enforce,
            since: Timestamp(10),
            until: Some(Timestamp(1_000)),
            origin: Origin {
                kind: OriginKind::Scenario,
                name: "sshd-bruteforce".into(),
                at: Some("sshd.toml:12".into()),
            },
            evidence: vec![Evidence::new(Timestamp(9), "auth.log", "Failed password for root")],
        }
    }

    fn ask(decisions: &[Decision], mode: Mode, question: &str) -> Why {
        ask_with(decisions, (mode, Mode::Enforce, GroupSet::NONE), question)
    }

    fn ask_with(
        decisions: &[Decision],
        (mode, dns_mode, observing): (Mode, Mode, GroupSet),
        question: &str,
    ) -> Why {
        let (bad, _) = AddressList::read(b"203.0.113.0/24\n", AddressReading::default()).unwrap();
        let addresses = AddressLists::merge(vec![ListedAs {
            list: Arc::new(bad),
            id: 0,
            direction: Direction::In,
            mode: Mode::Enforce,
        }])
        .unwrap();
        let mut domains = DomainSetBuilder::new(1);
        domains.add("phishing", Mode::Enforce, b"# list\n||evil.example^\n@@||good.evil.example^\n").unwrap();
        let kids = GroupSet::one(1);
        domains.add_as("games", Mode::Enforce, kids, b"||games.example^\n", &lists::Format::Auto).unwrap();
        let domains = domains.finish();
        let lists =
            [("bad".to_owned(), "bad.txt".to_owned()), ("phishing".to_owned(), "phishing.txt".to_owned())];
        let protected = [Protected {
            net: "192.0.2.1/32".parse().unwrap(),
            why: "the router's own address".into(),
            as_a_whole: false,
            is_upstream: false,
        }];
        let sources = Sources {
            decisions: decisions.iter().collect(),
            protected: &protected,
            addresses: &addresses,
            domains: &domains,
            lists: &lists,
            groups: &["default".to_owned(), "kids".to_owned()],
            observing,
            mode,
            dns_mode,
            now: Timestamp(100),
        };
        match question.parse().unwrap() {
            Target::Net(net) => sources.net(net, None),
            Target::Domain(name) => sources.name(&name, None),
            Target::DomainFor { name, client } => {
                let kids = client.as_str() == "tablet";
                let asking = Asking {
                    client: client.to_string(),
                    address: None,
                    groups: if kids { GroupSet(0b11) } else { GroupSet::DEFAULT },
                    told: WhyClient {
                        name: Some(client.to_string()),
                        known_by: None,
                        groups: if kids {
                            vec!["default".into(), "kids".into()]
                        } else {
                            vec!["default".into()]
                        },
                        off: Vec::new(),
                    },
                    named: client,
                };
                sources.name(&name, Some(&asking))
            }
        }
    }

    #[test]
    fn a_ban_names_its_scenario_evidence_and_remedy() {
        let why = ask(&[decision(DecisionKind::Ban, "198.51.100.7")], Mode::Enforce, "198.51.100.7");
        assert!(why.blocked && !why.observed);
        assert_eq!((why.reason.as_str(), why.until), ("banned_source", Some(Timestamp(1_000))));
        assert_eq!(
            why.by.unwrap(),
            By {
                kind: ByKind::Scenario,
                name: "sshd-bruteforce".into(),
                line: Some(12),
                file: Some("sshd.toml".into())
            }
        );
        assert_eq!(why.evidence.len(), 1);
        assert_eq!(why.allow_command.as_deref(), Some("secctl unban 198.51.100.7"));
        let inside = ask(&[decision(DecisionKind::Ban, "198.51.100.0/24")], Mode::Enforce, "198.51.100.7");
        assert_eq!(inside.allow_command.as_deref(), Some("secctl allow 198.51.100.7 --for 1h"));
    }

    #[test]
    fn lists_name_their_line_and_an_allow_wins() {
        let why = ask(&[], Mode::Enforce, "203.0.113.9");
        let by = why.by.unwrap();
        assert_eq!((by.name.as_str(), by.line, by.file.as_deref()), ("bad", Some(1), Some("bad.txt")));
        let allowed = ask(&[decision(DecisionKind::Allow, "203.0.113.9")], Mode::Enforce, "203.0.113.9");
        assert_eq!((allowed.blocked, allowed.reason.as_str(), allowed.also.len()), (false, "allowed", 1));
        assert_eq!(ask(&[], Mode::Enforce, "192.0.2.1").reason, "protected");
        assert_eq!(ask(&[], Mode::Enforce, "8.8.8.8").reason, "not_listed");
    }

    #[test]
    fn a_flow_asks_for_one_direction() {
        let both = Decision { direction: Direction::Both, ..decision(DecisionKind::Ban, "198.51.100.7") };
        let inward = decision(DecisionKind::Ban, "198.51.100.8");
        let (addresses, domains) = (AddressLists::default(), DomainSetBuilder::new(1).finish());
        let ask = |ban: &Decision, direction| {
            let Target::Net(net) = ban.target else { panic!("a net") };
            let (mode, now) = (Mode::Enforce, Timestamp(100));
            let decisions = vec![ban];
            Sources {
                decisions,
                protected: &[],
                addresses: &addresses,
                domains: &domains,
                lists: &[],
                groups: &[],
                observing: GroupSet::NONE,
                mode,
                dns_mode: mode,
                now,
            }
            .net(net, Some(direction))
        };
        assert_eq!(ask(&both, abi::DIRECTION_OUT).reason, "banned_destination");
        assert_eq!(ask(&both, abi::DIRECTION_IN).reason, "banned_source");
        assert!(!ask(&inward, abi::DIRECTION_OUT).blocked, "replies to us and what we start pass");
    }

    #[test]
    fn names_are_explained_and_observing_blocks_nothing() {
        let why = ask(&[], Mode::Enforce, "x.evil.example");
        assert_eq!((why.blocked, why.reason.as_str(), why.by.unwrap().line), (true, "listed_name", Some(2)));
        assert_eq!(ask(&[], Mode::Enforce, "good.evil.example").reason, "allowed");
        let observed = ask(&[], Mode::Observe, "x.evil.example");
        assert_eq!((observed.blocked, observed.observed), (false, true));
        let ban = ask(&[decision(DecisionKind::Ban, "ads.example")], Mode::Enforce, "x.ads.example");
        assert_eq!((ban.blocked, ban.reason.as_str()), (true, "banned_name"));
    }

    #[test]
    fn what_the_resolver_or_a_group_only_observes_is_not_told_as_blocked() {
        let ban = [decision(DecisionKind::Ban, "ads.example")];
        let of = |dns_mode, observing, question: &str| {
            let orders = if question == "ads.example" { &ban[..] } else { &[] };
            let why = ask_with(orders, (Mode::Enforce, dns_mode, observing), question);
            (why.blocked, why.observed)
        };
        let (none, kids) = (GroupSet::NONE, GroupSet::one(1));
        for (question, stays) in
            [("ads.example", true), ("x.evil.example@tablet", true), ("x.games.example@tablet", false)]
        {
            assert_eq!(of(Mode::Enforce, none, question), (true, false), "{question}");
            assert_eq!(of(Mode::Observe, none, question), (false, true), "{question}");
            // The ban is for everybody and the other list for `default`: a group that observes changes neither.
            assert_eq!(of(Mode::Enforce, kids, question), (stays, !stays), "{question}");
        }
        let mode_of_packets = (Mode::Enforce, Mode::Observe, none);
        assert!(ask_with(&[], mode_of_packets, "203.0.113.9").blocked, "no matter of the resolver");
    }

    #[test]
    fn for_one_client_its_groups_and_orders_count() {
        let of = |decisions: &[Decision], question: &str| {
            let why = ask(decisions, Mode::Enforce, question);
            (why.blocked, why.reason, why.groups, why.allow_command)
        };
        let (blocked, reason, groups, command) = of(&[], "x.games.example@tablet");
        assert_eq!((blocked, reason.as_str(), groups), (true, "listed_name", vec!["kids".to_owned()]));
        assert_eq!(command.as_deref(), Some("secctl allow x.games.example --for 1h --client tablet"));
        assert_eq!(of(&[], "x.games.example@laptop").1, "not_listed");
        let allow = decision(DecisionKind::Allow, "games.example@tablet");
        assert_eq!(of(std::slice::from_ref(&allow), "x.games.example@tablet").1, "allowed");
        assert_eq!(of(&[allow], "x.evil.example@laptop").1, "listed_name");
        // What is ordered for one alone goes before what is ordered for everybody.
        let orders = [
            decision(DecisionKind::Allow, "news.example"),
            Decision { id: 8, ..decision(DecisionKind::Ban, "news.example@tablet") },
        ];
        assert_eq!(of(&orders, "news.example").1, "allowed");
        let (blocked, reason, _, command) = of(&orders, "news.example@tablet");
        assert_eq!((blocked, reason.as_str()), (true, "banned_name"));
        assert_eq!(command.as_deref(), Some("secctl unban news.example@tablet"));
    }
}
