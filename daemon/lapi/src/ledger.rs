//! What the API needs of the appliance.

use ipnet::IpNet;
use model::{Bouncer, Decision, OrderingMachine, ProgramName, Severity, Target, Timestamp};
use std::{future::Future, net::IpAddr, time::Duration};

/// The decisions of an appliance, those who are told of them and those who order. Decisions that are returned for
/// enforcing are bans that are carried out and concern what an address starts.
pub trait Ledger: Send + Sync + 'static {
    /// Wall clock.
    fn now(&self) -> Timestamp;

    /// Tells an event.
    fn tell(&self, severity: Severity, message: String);

    /// Whether anything is carried out, or the appliance only observes.
    fn enforces(&self) -> bool;

    /// What stands for all of this. From memory.
    fn standing(&self, net: IpNet) -> Standing;

    /// Bans of this and of what lies inside it. From memory.
    fn within(&self, net: IpNet) -> Vec<Decision>;

    /// Whether a client may be served. From memory.
    fn verdict(&self, client: IpAddr) -> Verdict;

    /// Whether what this peer says of its clients is believed.
    fn is_proxy(&self, peer: IpAddr) -> bool;

    /// How long a ban lasts that a machine asks for without saying so.
    fn usual_ban(&self) -> Duration;

    /// The last number of the sequence. Read before the pages: what changes meanwhile has a higher one.
    fn mark(&self) -> impl Future<Output = Result<u64, Refusal>> + Send;

    /// The last number before anything had ended at `since` or later; none if nothing has.
    fn mark_before_ends(&self, since: Timestamp)
    -> impl Future<Output = Result<Option<u64>, Refusal>> + Send;

    /// A page of bans in force with numbers above `after`, by number; empty = there are no more. Of several for one
    /// target only the one that lasts longest, unless `all` are asked for.
    fn begun(&self, after: u64, all: bool) -> impl Future<Output = Result<Vec<Decision>, Refusal>> + Send;

    /// A page of bans that have ended and for whose target none stands any more, by the number of their end and their own,
    /// both above `after`; empty = there are no more.
    fn ended(&self, after: (u64, u64)) -> impl Future<Output = Result<Vec<Change>, Refusal>> + Send;

    /// What allows are about that have begun or ended since a number.
    fn allows_changed(&self, after: u64) -> impl Future<Output = Result<Vec<IpNet>, Refusal>> + Send;

    /// Every ban there is or was, newest first, at most so many.
    fn history(&self, most: u32) -> impl Future<Output = Result<Vec<Change>, Refusal>> + Send;

    /// Puts a ban in force for a machine, and returns its number when it is stored.
    fn ban(&self, decision: Decision) -> impl Future<Output = Result<u64, Refusal>> + Send;

    /// Ends the bans of exactly a target; how many there were.
    fn lift(&self, target: Target, who: &str) -> impl Future<Output = Result<usize, Refusal>> + Send;

    /// Adds a bouncer; false if there is one of its name or key.
    fn add_bouncer(&self, bouncer: &Bouncer) -> impl Future<Output = Result<bool, Refusal>> + Send;

    /// Keeps how far a bouncer was told, and its last sign, as well as can be.
    fn keep_bouncer(&self, bouncer: Bouncer) -> impl Future<Output = ()> + Send;

    /// Removes a bouncer.
    fn remove_bouncer(&self, name: &ProgramName) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// Adds a machine; false if there is one of its name.
    fn add_machine(&self, machine: &OrderingMachine) -> impl Future<Output = Result<bool, Refusal>> + Send;

    /// Keeps a machine as it is now.
    fn keep_machine(&self, machine: OrderingMachine) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// Removes a machine.
    fn remove_machine(&self, name: &ProgramName) -> impl Future<Output = Result<(), Refusal>> + Send;
}

/// What stands for an address or range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// An allow holds for all of it, or it is protected: no ban does.
    pub allowed: bool,
    /// Bans that hold for all of it.
    pub bans: Vec<Decision>,
}

/// A decision and, if it is over, the number of its end and when that was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The decision.
    pub decision: Decision,
    /// Its end.
    pub ended: Option<(u64, Timestamp)>,
}

/// What forward auth says of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// It is not to be served.
    pub blocked: bool,
    /// Why, or why not.
    pub reason: String,
}

/// Why something is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// What is wrong.
    pub message: String,
}
