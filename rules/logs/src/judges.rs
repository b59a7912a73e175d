//! One seam for the three dialects: a line of a source goes to whatever reads that source, and what comes out is the same.

use model::Timestamp;

use crate::crowdsec::Agent;
use crate::dialect::{Feed, FeedLine, Finds, Tally};
use crate::engine::{Engine, Outcome, SourceIndex};
use crate::fail2ban::Jailer;

/// Everything that reads lines: the native engine, Fail2ban's jails and CrowdSec's agent.
#[derive(Debug)]
pub struct Judges {
    engine: Engine,
    /// Sources of the engine; they come first.
    native: usize,
    jailer: Option<Jailer>,
    agent: Option<Agent>,
    /// Of each source which feeds of the dialects it is.
    fed: Vec<Fed>,
}

/// What a source is to the dialects.
#[derive(Debug, Default)]
struct Fed {
    jailer: Option<usize>,
    agent: Option<usize>,
    matched: u64,
}

impl Judges {
    /// Judges the first `native` sources by the engine, which knows them by the same numbers.
    #[must_use]
    pub fn new(engine: Engine, native: usize, jailer: Option<Jailer>, agent: Option<Agent>) -> Self {
        let fed = (0..native).map(|_| Fed::default()).collect();
        Self { engine, native, jailer, agent, fed }
    }

    /// Where the dialects want lines from.
    #[must_use]
    pub fn feeds(&self) -> Vec<Feed> {
        let jails = self.jailer.as_ref().map_or(&[][..], Jailer::feeds);
        let agent = self.agent.as_ref().map_or(&[][..], Agent::feeds);
        let new = agent.iter().filter(|feed| !jails.contains(feed));
        jails.iter().chain(new).cloned().collect()
    }

    /// Says which source a feed is. Numbers behind those of the engine are new ones.
    pub fn connect(&mut self, feed: &Feed, source: SourceIndex) {
        while self.fed.len() <= source.0 {
            self.fed.push(Fed::default());
        }
        let place = |feeds: &[Feed]| feeds.iter().position(|known| known == feed);
        self.fed[source.0].jailer = self.jailer.as_ref().and_then(|jailer| place(jailer.feeds()));
        self.fed[source.0].agent = self.agent.as_ref().and_then(|agent| place(agent.feeds()));
    }

    /// Takes over what the former ones knew of scenarios of the engine that are the same.
    pub fn adopt(&mut self, former: Self) {
        self.engine.adopt(former.engine);
    }

    /// The dialects, to go on elsewhere; what is left judges by the engine alone.
    pub fn take_dialects(&mut self) -> (Option<Jailer>, Option<Agent>) {
        (self.jailer.take(), self.agent.take())
    }

    /// Judges a line that has just been read.
    pub fn line(&mut self, line: &FeedLine<'_>) -> Finds {
        let mut finds = Finds::default();
        if line.source.0 < self.native {
            let outputs = self.engine.line_written(line.now, line.written, line.source, line.bytes);
            finds.matched = match outputs.outcome {
                Outcome::Event | Outcome::Poured | Outcome::Stale => true,
                Outcome::Miss
                | Outcome::Ignored
                | Outcome::Oversized
                | Outcome::Cut
                | Outcome::BadAddress
                | Outcome::Forwarded => false,
            };
            finds.overflows = outputs.overflows;
            finds.login = outputs.login;
        }
        let by_engine = finds.matched;
        let Some(fed) = self.fed.get_mut(line.source.0) else { return finds };
        if let (Some(feed), Some(jailer)) = (fed.jailer, &mut self.jailer) {
            jailer.line(feed, line, &mut finds);
        }
        if let (Some(feed), Some(agent)) = (fed.agent, &mut self.agent) {
            agent.line(feed, line, &mut finds);
        }
        // What the engine understood is counted there.
        fed.matched += u64::from(finds.matched && !by_engine);
        finds
    }

    /// Ends what ends by time alone. To be called about every second.
    pub fn tick(&mut self, now: Timestamp) -> Finds {
        let mut finds = Finds::default();
        if let Some(agent) = &mut self.agent {
            let source = SourceIndex(self.fed.iter().position(|fed| fed.agent.is_some()).unwrap_or(0));
            agent.tick(&FeedLine { now, source, name: "crowdsec", written: None, bytes: &[] }, &mut finds);
        }
        finds
    }

    /// Lines of a source that something understood.
    #[must_use]
    pub fn matched(&self, source: SourceIndex) -> u64 {
        let by_engine = if source.0 < self.native { self.engine.source_stats(source).1 } else { 0 };
        by_engine + self.fed.get(source.0).map_or(0, |fed| fed.matched)
    }

    /// What beside the engine reads a source, in words.
    #[must_use]
    pub fn readers(&self, source: SourceIndex) -> Vec<&'static str> {
        let fed = self.fed.get(source.0);
        let jailer = fed.is_some_and(|fed| fed.jailer.is_some()).then_some("fail2ban");
        let agent = fed.is_some_and(|fed| fed.agent.is_some()).then_some("crowdsec");
        jailer.into_iter().chain(agent).collect()
    }

    /// How jails and scenarios are doing.
    #[must_use]
    pub fn tallies(&self) -> Vec<Tally> {
        let jails = self.jailer.iter().flat_map(Jailer::tallies);
        jails.chain(self.agent.iter().flat_map(Agent::tallies)).collect()
    }
}
