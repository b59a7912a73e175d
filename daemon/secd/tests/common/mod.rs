//! A kernel that only remembers, and the daemon's parts around it.
#![expect(unreachable_pub, dead_code, reason = "each test binary uses its share of what all of them see")]
#![expect(clippy::unwrap_used, reason = "a test ends where its own world cannot be built")]

use abi::BanValue;
use ipnet::IpNet;
use model::Event;
use secd::{
    decisions::{Decisions, Held, Tell},
    keeper::{Keeper, Kernel, Protected},
};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
};
use store::Store;
use tokio::sync::mpsc;

/// Tables in memory, shared with the test.
#[derive(Clone, Default)]
pub struct Tables {
    /// Bans by prefix.
    pub bans: Arc<Mutex<BTreeMap<IpNet, BanValue>>>,
    /// Allows by prefix.
    pub allows: Arc<Mutex<BTreeMap<IpNet, u64>>>,
}

impl Tables {
    /// The banned prefixes.
    pub fn banned(&self) -> Vec<String> {
        self.bans.lock().unwrap().keys().map(ToString::to_string).collect()
    }
}

impl Kernel for Tables {
    fn set_ban(&mut self, net: IpNet, value: BanValue) -> anyhow::Result<()> {
        self.bans.lock().unwrap().insert(net, value);
        Ok(())
    }
    fn clear_ban(&mut self, net: IpNet) -> anyhow::Result<()> {
        self.bans.lock().unwrap().remove(&net);
        Ok(())
    }
    fn set_allow(&mut self, net: IpNet, until: u64) -> anyhow::Result<()> {
        self.allows.lock().unwrap().insert(net, until);
        Ok(())
    }
    fn clear_allow(&mut self, net: IpNet) -> anyhow::Result<()> {
        self.allows.lock().unwrap().remove(&net);
        Ok(())
    }
    fn judge_flows_again(&mut self) -> anyhow::Result<()> {
        Ok(())
    }
}

/// What one run of the daemon's decisions consists of.
pub struct Run {
    pub tables: Tables,
    pub store: Store,
    pub decisions: Arc<Decisions<Tables>>,
    pub tell: Tell,
    pub events: mpsc::Receiver<Event>,
}

/// A keeper over these tables; 192.0.2.1 is protected.
pub fn keeper(tables: &Tables) -> Keeper<Tables> {
    let mut keeper = Keeper::new(tables.clone());
    keeper.protect(vec![Protected {
        net: "192.0.2.1/32".parse().unwrap(),
        why: "the router's own address".into(),
        as_a_whole: false,
        is_upstream: false,
    }]);
    keeper
}

/// Starts over the store in `folder`, with a kernel that holds `tables` already.
pub async fn start(folder: &Path, tables: Tables) -> Run {
    let store = Store::open(&folder.join("secd.db")).await.unwrap();
    let (sender, events) = mpsc::channel(1024);
    let tell: Tell = Arc::new(move |event| sender.try_send(event).unwrap());
    let keeper = keeper(&tables);
    let held = Held {
        bans: tables.bans.lock().unwrap().iter().map(|(net, ban)| (*net, *ban)).collect(),
        allows: tables.allows.lock().unwrap().keys().copied().collect(),
    };
    let decisions = Decisions::start(keeper, held, store.clone(), Arc::clone(&tell)).await.unwrap();
    Run { tables, store, decisions, tell, events }
}

/// Waits until `condition` holds; fails after a generous deadline.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "never came: {what}");
        tokio::task::yield_now().await;
    }
}
