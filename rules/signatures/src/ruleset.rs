//! A set of rules that runs: text in, rules and a list of what was refused out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::classification::Classification;
use crate::keywords::{self, Draft, Names, payload::PayloadMatch};
use crate::limits::{MAX_REFUSALS, MAX_RULES};
use crate::prefilter::{self, Prefilter};
use crate::ranges::{AddressSet, PortSet};
use crate::rule::{Buffer, FlowDirection, Rule};
use crate::syntax::{
    self, Action, HeaderProtocol, Problem, RawRule, Variables,
    header::{addresses, ports},
};

/// A rule that does not run, and why. The others do.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, thiserror::Error)]
#[error("{file}:{line}:{column}: {}{keyword}: {why}", self.sid.map_or_else(String::new, |sid| format!("sid {sid}: ")))]
pub struct Refused {
    /// Its signature id, if it could be read.
    pub sid: Option<u32>,
    /// The keyword that is wrong or not supported, or `header` or `options`.
    pub keyword: String,
    /// The file.
    pub file: String,
    /// Line in the file at which the rule starts, from 1.
    pub line: u32,
    /// Byte of the rule, from 1.
    pub column: u32,
    /// What is wrong, and what to write where there is something.
    pub why: String,
}

/// A set of rules that runs. Immutable: a change builds a new one.
#[derive(Debug)]
pub struct RuleSet {
    /// In the order in which they are judged.
    rules: Vec<Arc<Rule>>,
    prefilter: Prefilter,
    refused: usize,
}

/// Reads rules from one or more files into one [`RuleSet`].
#[derive(Debug)]
pub struct Loader<'v> {
    variables: &'v Variables,
    classification: &'v Classification,
    names: Names,
    address_words: BTreeMap<String, Arc<AddressSet>>,
    port_words: BTreeMap<String, Arc<PortSet>>,
    sids: BTreeSet<(u32, u32)>,
    rules: Vec<Rule>,
    refused: Vec<Refused>,
    refused_count: usize,
}

impl RuleSet {
    /// Reads the rules of one file's text. Rules that are wrong, not supported or there twice are refused, each with
    /// its place; the others run.
    #[must_use]
    pub fn load(
        text: &str,
        file: &str,
        variables: &Variables,
        classification: &Classification,
    ) -> (Self, Vec<Refused>) {
        let mut loader = Loader::new(variables, classification);
        loader.file(text, file);
        loader.finish()
    }

    /// No rules.
    #[must_use]
    pub fn empty() -> Self {
        Loader::new(&Variables::default(), &Classification::default()).finish().0
    }

    /// The rules that run, in the order in which they are judged.
    pub fn rules(&self) -> impl ExactSizeIterator<Item = &Arc<Rule>> {
        self.rules.iter()
    }

    /// Number of rules that run.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether no rule runs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Number of rules that were refused.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.refused
    }

    /// Bytes that the prefilter's automata take.
    #[must_use]
    pub fn prefilter_bytes(&self) -> usize {
        self.prefilter.memory()
    }

    pub(crate) fn rule(&self, index: u32) -> Option<&Arc<Rule>> {
        self.rules.get(index as usize)
    }

    pub(crate) fn prefilter(&self) -> &Prefilter {
        &self.prefilter
    }
}

impl<'v> Loader<'v> {
    /// Nothing read yet.
    #[must_use]
    pub fn new(variables: &'v Variables, classification: &'v Classification) -> Self {
        Self {
            variables,
            classification,
            names: Names::default(),
            address_words: BTreeMap::new(),
            port_words: BTreeMap::new(),
            sids: BTreeSet::new(),
            rules: Vec::new(),
            refused: Vec::new(),
            refused_count: 0,
        }
    }

    /// Adds the rules of one file.
    pub fn file(&mut self, text: &str, file: &str) {
        let name: Arc<str> = file.into();
        for (line, text) in syntax::logical_lines(text) {
            let (sid, problem) = if self.rules.len() >= MAX_RULES {
                let why = format!("more than {MAX_RULES} rules");
                (syntax::sid_of_text(&text), Problem::new("options", 1, why))
            } else {
                match RawRule::parse(line, &text) {
                    Err(problem) => (syntax::sid_of_text(&text), problem),
                    Ok(raw) => match self.rule(&raw, &name) {
                        Ok(rule) => {
                            self.rules.push(rule);
                            continue;
                        }
                        Err(problem) => (raw.sid(), problem),
                    },
                }
            };
            self.refused_count += 1;
            if self.refused.len() < MAX_REFUSALS {
                let Problem { keyword, column, why } = problem;
                self.refused.push(Refused { sid, keyword, file: file.to_owned(), line, column, why });
            }
        }
    }

    /// Sorts the rules and builds the prefilter.
    #[must_use]
    pub fn finish(mut self) -> (RuleSet, Vec<Refused>) {
        // Pass, drop, reject, alert; setters of flow bits before their readers; then by severity.
        self.rules.sort_by_key(|rule| (rule.action, flowbit_order(rule), rule.priority));
        let rules: Vec<Arc<Rule>> = self.rules.into_iter().map(Arc::new).collect();
        let (rules, prefilter) = match Prefilter::new(&rules) {
            Ok(prefilter) => (rules, prefilter),
            Err(error) => {
                // Only the numbers of states and patterns can be too large; no rule runs then, and it is said.
                self.refused_count += rules.len();
                self.refused.push(Refused {
                    sid: None,
                    keyword: "options".into(),
                    file: String::new(),
                    line: 0,
                    column: 1,
                    why: format!("the rules together are too large for the prefilter: {error}"),
                });
                (Vec::new(), Prefilter::empty())
            }
        };
        (RuleSet { rules, prefilter, refused: self.refused_count }, self.refused)
    }

    fn rule(&mut self, raw: &RawRule<'_>, file: &Arc<str>) -> Result<Rule, Problem> {
        let header = |why: String| Problem::new("header", 1, why);
        let [action, protocol, source, source_port, arrow, destination, destination_port] = raw.header;
        let action = Action::parse(action).map_err(header)?;
        let protocol = HeaderProtocol::parse(protocol)
            .map_err(|why| Problem::new(&format!("protocol {protocol}"), 1, why))?;
        let both_ways = match arrow {
            "->" => false,
            "<>" => true,
            other => return Err(header(format!("`{other}` is neither `->` nor `<>`"))),
        };
        let sources = [(source, source_port), (destination, destination_port)]
            .map(|(address, port)| Ok::<_, String>((self.address_set(address)?, self.port_set(port)?)));
        let [source, destination] = sources;
        let (source, source_ports) = source.map_err(header)?;
        let (destination, destination_ports) = destination.map_err(header)?;

        let mut draft = Draft::new(protocol, &mut self.names);
        match protocol {
            HeaderProtocol::TcpPacket => draft.needs_packet = true,
            HeaderProtocol::TcpStream => draft.needs_stream = true,
            HeaderProtocol::Ip
            | HeaderProtocol::Tcp
            | HeaderProtocol::Udp
            | HeaderProtocol::Icmp
            | HeaderProtocol::IcmpV6
            | HeaderProtocol::Dns => {}
        }
        for option in &raw.options {
            let problem = |why: String| Problem::new(option.name, option.column, why);
            let read =
                keywords::find(option.name).ok_or_else(|| problem("the keyword is not supported".into()))?;
            read(&mut draft, option).map_err(problem)?;
        }
        let at_end = |keyword: &str, why: &str| Problem::new(keyword, 1, why);
        let sid = draft.meta.sid.ok_or_else(|| at_end("sid", "a rule needs a `sid:NUMBER;`"))?;
        let gid = draft.meta.gid.unwrap_or(1);
        if self.sids.contains(&(gid, sid)) {
            return Err(at_end("sid", "a rule with this sid is there already"));
        }
        draft.parts.retain(|part| !part.matches.is_empty());
        if draft.needs_packet && draft.needs_stream && draft.flow.reassembled == Some(true) {
            return Err(at_end("flow", "only_stream and a test of single packets cannot hold together"));
        }
        let (on_packets, on_stream, anchored) = modes(&draft);
        let meta = draft.meta;
        let class = meta.class;
        let known = class.as_deref().and_then(|class| self.classification.get(class));
        let once_per_direction = draft.parts.is_empty()
            && draft.packet.is_empty()
            && draft.flowbits.iter().all(|option| option.operation.only_sets())
            && draft.flow.is_empty()
            && source_ports.is_any()
            && destination_ports.is_any();
        let fast = draft.fast.and_then(|place| valid_fast(&draft.parts, place));
        let fast = fast.or_else(|| prefilter::choose(&draft.parts));
        self.sids.insert((gid, sid));
        Ok(Rule {
            action,
            gid,
            sid,
            rev: meta.rev.unwrap_or(0),
            msg: meta.msg,
            category: known.map_or_else(String::new, |(description, _)| description.to_owned()),
            priority: meta.priority.or(known.map(|(_, priority)| priority)).unwrap_or(3),
            class,
            metadata: meta.metadata,
            references: meta.references,
            target: meta.target,
            file: Arc::clone(file),
            line: raw.line,
            protocol,
            source,
            source_ports,
            destination,
            destination_ports,
            both_ways,
            silent: meta.silent,
            flow: draft.flow,
            packet: draft.packet,
            flowbits: draft.flowbits,
            parts: draft.parts,
            threshold: draft.threshold,
            on_packets,
            on_stream,
            anchored,
            once_per_direction,
            fast,
        })
    }

    fn address_set(&mut self, word: &str) -> Result<Arc<AddressSet>, String> {
        if let Some(known) = self.address_words.get(word) {
            return Ok(Arc::clone(known));
        }
        let set = Arc::new(addresses(word, self.variables)?);
        self.address_words.insert(word.to_owned(), Arc::clone(&set));
        Ok(set)
    }

    fn port_set(&mut self, word: &str) -> Result<Arc<PortSet>, String> {
        if let Some(known) = self.port_words.get(word) {
            return Ok(Arc::clone(known));
        }
        let set = Arc::new(ports(word, self.variables)?);
        self.port_words.insert(word.to_owned(), Arc::clone(&set));
        Ok(set)
    }
}

/// Whether a rule looks at packets, at streams, and only at a stream's beginning. TCP contents go to the stream;
/// those with places from the beginning go to single packets as well, and tests of single packets keep the whole rule
/// there.
fn modes(draft: &Draft<'_>) -> (bool, bool, bool) {
    let payload = draft.parts.iter().filter(|part| part.buffer == Buffer::Payload);
    let mut has_payload = false;
    let mut anchored = false;
    for part in payload {
        has_payload |= !part.matches.is_empty();
        anchored |= part.matches.iter().any(PayloadMatch::is_anchored);
    }
    let tcp = match draft.protocol {
        HeaderProtocol::Ip | HeaderProtocol::Tcp | HeaderProtocol::TcpPacket | HeaderProtocol::TcpStream => {
            true
        }
        HeaderProtocol::Udp | HeaderProtocol::Icmp | HeaderProtocol::IcmpV6 | HeaderProtocol::Dns => false,
    };
    if !tcp || !has_payload {
        return (true, false, anchored);
    }
    match (draft.needs_packet, draft.needs_stream) {
        (true, false) => (true, false, anchored),
        (false, true) => (false, true, anchored),
        (true, true) => (true, true, anchored),
        (false, false) => (anchored, true, anchored),
    }
}

/// A `fast_pattern` that the prefilter can use: a content that must be there, in a buffer that is searched.
fn valid_fast(parts: &[crate::rule::Part], (part, at): (usize, usize)) -> Option<(usize, usize)> {
    let chosen = parts.get(part)?;
    let usable = match chosen.matches.get(at)? {
        PayloadMatch::Content(content) => !content.negated,
        PayloadMatch::Pcre(_)
        | PayloadMatch::IsDataAt(_)
        | PayloadMatch::ByteTest(_)
        | PayloadMatch::ByteJump(_)
        | PayloadMatch::ByteExtract(_)
        | PayloadMatch::Size(_) => false,
    };
    let searched = chosen.buffer == Buffer::Payload || chosen.buffer == Buffer::DnsQuery;
    (usable && searched).then_some((part, at))
}

/// 0: only sets flow bits; 1: reads and sets; 2: only reads; 3: has none.
fn flowbit_order(rule: &Rule) -> u8 {
    let (mut reads, mut sets) = (false, false);
    for option in &rule.flowbits {
        sets |= option.operation.only_sets();
        reads |= !option.operation.only_sets();
    }
    match (reads, sets) {
        (false, true) => 0,
        (true, true) => 1,
        (true, false) => 2,
        (false, false) => 3,
    }
}

impl Rule {
    /// Whether the header and `flow:` direction fit a packet from `source` to `destination`.
    pub(crate) fn header_fits(
        &self,
        (source, source_port): (u128, u16),
        (destination, destination_port): (u128, u16),
        direction: Option<FlowDirection>,
    ) -> bool {
        if let (Some(wanted), Some(direction)) = (self.flow.direction, direction)
            && wanted != direction
        {
            return false;
        }
        let fits = |from: u128, from_port: u16, to: u128, to_port: u16| {
            self.source_ports.contains(from_port)
                && self.destination_ports.contains(to_port)
                && self.source.contains(from)
                && self.destination.contains(to)
        };
        fits(source, source_port, destination, destination_port)
            || (self.both_ways && fits(destination, destination_port, source, source_port))
    }
}
