//! What nft is given: the whole table, in one transaction, as lines of JSON; and a second generation of it on trial.
//!
//! On trial both generations stand in the table. Each base chain first asks a verdict map, whose elements lead to the new
//! generation and have a timeout; when the kernel takes them away, packets walk the old rules again, and nobody has to
//! be there for it.

use nftables::{
    schema::{CTHelper, Chain, NfCmd, NfListObject, NfObject, Rule, Set, Table},
    stmt::Statement,
    types::{NfChainPolicy, NfChainType, NfFamily, NfHook},
};
use serde::Serialize;
use serde_json::json;

use super::syntax::owned;

/// The only table secd touches.
pub const TABLE: &str = "secd";
/// What the names of a generation on trial begin with. Zones cannot: their names stand behind the name of a hook.
pub(super) const TRIAL: &str = "trial.";
/// Nftables rules of one generation; nft takes about 0.1 ms of CPU for each.
pub const MAX_STATEMENTS: usize = 65_536;
/// Networks in address sets of one generation, as they are once merged. nft takes about 10 µs of CPU for each, and as
/// much again to print it at each check.
pub const MAX_ELEMENTS: usize = 131_072;

/// One generation of the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    pub(super) helpers: Vec<CTHelper<'static>>,
    pub(super) sets: Vec<Set<'static>>,
    pub(super) bases: Vec<Base>,
    pub(super) chains: Vec<String>,
    pub(super) rules: Vec<Rule<'static>>,
    /// Networks in `sets`.
    pub(super) elements: usize,
}

/// Where packets come into the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Base {
    pub(super) name: &'static str,
    pub(super) kind: NfChainType,
    pub(super) hook: NfHook,
    pub(super) priority: i32,
}

impl Ruleset {
    /// The transaction that replaces the table by this, whether it is there or not.
    #[must_use]
    pub fn transaction(&self) -> Vec<u8> {
        let mut batch = Batch::default();
        batch.empty_table();
        batch.objects(self, &[]);
        batch.chains(self, &self.bases);
        batch.rules(self);
        batch.finished()
    }

    /// The transaction that makes the table as this, where there is none.
    pub(super) fn creation(&self) -> Vec<u8> {
        let mut batch = Batch::default();
        batch.push(&NfObject::CmdObject(NfCmd::Create(NfListObject::Table(table()))));
        batch.objects(self, &[]);
        batch.chains(self, &self.bases);
        batch.rules(self);
        batch.finished()
    }

    /// The transaction that replaces the table by this with another generation on trial in front of it, for so many
    /// seconds. `trial` was rendered with the prefix [`TRIAL`].
    pub(super) fn transaction_with(&self, trial: &Self, seconds: u32) -> Vec<u8> {
        let mut batch = Batch::default();
        batch.empty_table();
        batch.objects(self, &[]);
        batch.objects(trial, &self.helpers);
        let own = |base: &&Base| !self.bases.iter().any(|known| known.name == base.name);
        let bases: Vec<Base> = self.bases.iter().chain(trial.bases.iter().filter(own)).copied().collect();
        batch.chains(self, &bases);
        batch.chains(trial, &[]);
        for base in &bases {
            let target = format!("{TRIAL}{}", base.name);
            if !trial.bases.iter().any(|known| known.name == base.name) {
                batch.chain(&target);
            }
            let leads = |family: &str| {
                let value = json!({ "elem": { "val": family, "timeout": seconds } });
                json!([value, { "goto": { "target": target } }])
            };
            // The crate's set types do not know this key.
            batch.push(&json!({ "add": { "map": {
                "family": "inet", "table": TABLE, "name": target, "type": "nf_proto", "map": "verdict",
                "flags": ["timeout"], "elem": [leads("ipv4"), leads("ipv6")],
            } } }));
            batch.push(&json!({ "add": { "rule": {
                "family": "inet", "table": TABLE, "chain": base.name,
                "expr": [{ "vmap": { "key": { "meta": { "key": "nfproto" } }, "data": format!("@{target}") } }],
            } } }));
        }
        batch.rules(self);
        batch.rules(trial);
        batch.finished()
    }
}

/// The transaction that removes the table, whether it is there or not.
#[must_use]
pub(super) fn removal() -> Vec<u8> {
    let mut batch = Batch::default();
    batch.add(NfListObject::Table(table()));
    batch.push(&NfCmd::Delete(NfListObject::Table(table())));
    batch.finished()
}

/// The transaction that ends a trial: these base chains lead to their own rules at once.
pub(super) fn end_of_trial(maps: &[String]) -> Vec<u8> {
    let mut batch = Batch::default();
    for name in maps {
        batch.push(&json!({ "flush": { "map": { "family": "inet", "table": TABLE, "name": name } } }));
    }
    batch.finished()
}

/// A rule of the table.
pub(super) fn rule(
    chain: String,
    statements: Vec<Statement<'static>>,
    comment: Option<&str>,
) -> Rule<'static> {
    Rule {
        family: NfFamily::INet,
        table: TABLE.into(),
        chain: chain.into(),
        expr: statements.into(),
        comment: comment.map(owned),
        ..Rule::default()
    }
}

fn table() -> Table<'static> {
    Table { family: NfFamily::INet, name: TABLE.into(), handle: None }
}

/// Commands, one a line.
#[derive(Default)]
struct Batch {
    text: Vec<u8>,
}

impl Batch {
    /// Adding before deleting makes the deletion succeed where there was no table.
    fn empty_table(&mut self) {
        self.add(NfListObject::Table(table()));
        self.push(&NfCmd::Delete(NfListObject::Table(table())));
        self.add(NfListObject::Table(table()));
    }

    fn objects(&mut self, ruleset: &Ruleset, known: &[CTHelper<'static>]) {
        for helper in ruleset.helpers.iter().filter(|helper| !known.contains(helper)) {
            self.add(NfListObject::CTHelper(helper.clone()));
        }
        for set in &ruleset.sets {
            self.add(NfListObject::Set(Box::new(set.clone())));
        }
    }

    fn chains(&mut self, ruleset: &Ruleset, bases: &[Base]) {
        for base in bases {
            self.add(NfListObject::Chain(Chain {
                family: NfFamily::INet,
                table: TABLE.into(),
                name: base.name.into(),
                _type: Some(base.kind),
                hook: Some(base.hook),
                prio: Some(base.priority),
                policy: Some(NfChainPolicy::Accept),
                ..Chain::default()
            }));
        }
        for name in &ruleset.chains {
            self.chain(name);
        }
    }

    fn chain(&mut self, name: &str) {
        let chain =
            Chain { family: NfFamily::INet, table: TABLE.into(), name: owned(name), ..Chain::default() };
        self.add(NfListObject::Chain(chain));
    }

    fn rules(&mut self, ruleset: &Ruleset) {
        for rule in &ruleset.rules {
            let odd =
                |statement: &Statement<'_>| matches!(statement, Statement::Notrack | Statement::SynProxy(_));
            if rule.expr.iter().any(odd) {
                self.odd_rule(rule);
            } else {
                self.add(NfListObject::Rule(rule.clone()));
            }
        }
    }

    /// A rule with what the crate writes otherwise than nft reads it (`notrack` as a word), or every time in another
    /// order (the flags of a SYN proxy).
    fn odd_rule(&mut self, rule: &Rule<'static>) {
        let written = |statement: &Statement<'static>| {
            let mut written = match statement {
                Statement::Notrack => json!({ "notrack": null }),
                other => json!(other),
            };
            if let Some(flags) = written.pointer_mut("/synproxy/flags").and_then(|flags| flags.as_array_mut())
            {
                flags.sort_by_cached_key(ToString::to_string);
            }
            written
        };
        let statements: Vec<_> = rule.expr.iter().map(written).collect();
        let fields = json!({ "family": "inet", "table": TABLE, "chain": rule.chain, "expr": statements });
        self.push(&json!({ "add": { "rule": fields } }));
    }

    fn add(&mut self, object: NfListObject<'static>) {
        self.push(&NfObject::CmdObject(NfCmd::Add(object)));
    }

    fn push(&mut self, command: &impl Serialize) {
        self.text.extend_from_slice(if self.text.is_empty() { b"{\"nftables\":[\n" } else { b",\n" });
        let written = serde_json::to_writer(&mut self.text, command);
        debug_assert!(written.is_ok(), "strings and numbers can always be written");
    }

    fn finished(mut self) -> Vec<u8> {
        self.text.extend_from_slice(b"\n]}\n");
        self.text
    }
}
