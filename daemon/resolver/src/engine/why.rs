//! Why a name is answered as it is: what `secctl why NAME` and `secctl dns test NAME` print.

use lists::{Blocking, Effect};
use model::{Mode, Name};
use std::net::IpAddr;

use super::{
    Engine, Judgement,
    asker::Asker,
    run::{Behind, Run},
};
use crate::{cache::Found, wire::question::Question};

/// Why a name is answered as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// What is said about the name, or about the alias that decides.
    pub judgement: Judgement,
    /// The alias or address, where it is one that decides (known from the cache only).
    pub alias: Option<String>,
    /// It is not answered as it is: blocked, and everything enforces.
    pub blocked: bool,
    /// How, in words of the config.
    pub effect: Option<String>,
    /// The name is answered here and never asked of an upstream.
    pub special: bool,
    /// The private address for which the answer of a public name is not given (known from the cache only).
    pub rebinding: Option<IpAddr>,
}

/// A, AAAA and HTTPS: what a browser asks for.
const LOOKED_AT: [u16; 3] = [1, 28, 65];

impl Engine {
    /// Why a name is answered as it is, now, to somebody whom the config does not name.
    #[must_use]
    pub fn lookup_why(&self, name: &Name) -> Why {
        self.why(name, &LOOKED_AT, None)
    }

    /// Why a name is answered as it is, now, to a client that asks for one of these types.
    #[must_use]
    pub fn why(&self, name: &Name, qtypes: &[u16], client: Option<IpAddr>) -> Why {
        let view = self.view();
        let asker = client
            .and_then(|client| Asker::find(client, &view.active.settings, &self.sources.devices))
            .unwrap_or_else(Asker::nobody);
        let now = self.now();
        let mut why = Why {
            judgement: Judgement::Clean,
            alias: None,
            blocked: false,
            effect: None,
            special: false,
            rebinding: None,
        };
        for &qtype in qtypes {
            let Some(question) = Question::about(name.as_str(), qtype, false, false) else { continue };
            let run = view.run(self, &asker, &question, now, now);
            why.special = run.is_ours();
            let verdict = run.judge(question.text());
            why.take(&run, &verdict);
            if why.judgement == Judgement::Clean
                && let Found::Fresh(answer) | Found::Stale(answer) =
                    self.cache.load().get(&question, now.steady)
            {
                if let Some((behind, verdict)) = run.behind(&answer) {
                    why.alias = match behind {
                        Behind::Itself => None,
                        Behind::Alias(alias) => Some(alias.to_owned()),
                        Behind::Address(address) => Some(address.to_string()),
                    };
                    why.take(&run, &verdict);
                }
                why.rebinding = run.rebinding(&answer);
            }
            if why.judgement != Judgement::Clean || why.rebinding.is_some() {
                break;
            }
        }
        why.blocked &= !why.special;
        why
    }
}

impl Why {
    fn take(&mut self, run: &Run<'_>, verdict: &super::judge::Verdict<'_>) {
        self.judgement = verdict.judgement();
        if let super::judge::Verdict::Blocked(_, mode, effect, groups) = verdict {
            self.blocked = run.is_enforced(*mode);
            debug_assert!(matches!(mode, Mode::Enforce | Mode::Observe));
            self.effect = Some(match effect {
                Effect::Block | Effect::Allow => run.blocking(*groups).to_string(),
                Effect::NxDomain => Blocking::NxDomain.to_string(),
                Effect::NoData => Blocking::NoData.to_string(),
                Effect::Refused => Blocking::Refused.to_string(),
                Effect::Drop => "drop".into(),
                Effect::TcpOnly => "tcp-only".into(),
                Effect::Answer(_) => "answer".into(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Local, Query, Settings, Sources, UpstreamForward};
    use lists::DomainSetBuilder;
    use std::sync::Arc;

    #[test]
    fn what_is_ours_is_what_is_answered_here() {
        let mut settings = Settings::default();
        settings.upstreams.forwards.push(UpstreamForward {
            names: vec!["lab.lan.example.".parse().unwrap(), "localhost.".parse().unwrap()],
            to: Vec::new(),
            dnssec: false,
        });
        let mut builder = DomainSetBuilder::new(1);
        builder.add("ads", Mode::Enforce, b"||lan.example^\n||localhost^").unwrap();
        let sources = Sources::default();
        sources.lists.store(Arc::new(builder.finish()));
        sources.local.store(Arc::new(Local::new(["lan.example"])));
        let engine = Engine::new(settings, sources, |_: &Query<'_>| {});
        let why = |name: &str| {
            let why = engine.lookup_why(&name.parse().unwrap());
            (why.special, why.blocked)
        };
        assert_eq!(why("pc.lan.example"), (true, false));
        assert_eq!(why("pc.lab.lan.example"), (false, true), "asked of others, and so judged");
        assert_eq!(why("x.localhost"), (true, false), "whoever else is asked");
    }
}
