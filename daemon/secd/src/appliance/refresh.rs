//! Lists that are fetched: when they are due, on demand, and what a person lets through.

use ::feeds::Happening;
use model::Severity;
use protocol::{ErrorReply, ListOrder, ListOrdered};
use std::sync::Arc;

use super::{Appliance, Current, plan::own_networks};
use crate::{clock, decisions::Failure, subscriptions::rules_name};

impl Appliance {
    /// Fetches what is due, and puts in force what is new. Returns whether anything new could not be put in force yet.
    pub(super) async fn refresh_due(&self) -> bool {
        let current = self.current.load_full();
        let own = own_networks(&current.loaded.config, &current.machine);
        let happened = self.fetched.refresh_due(&own, clock::now().wall).await;
        self.tell_and_take(&happened).await
    }

    /// Fetches one list or all, now.
    ///
    /// # Errors
    /// 404 there is none of this name that is fetched.
    pub async fn refresh(&self, order: ListOrder) -> Result<ListOrdered, Failure> {
        let current = self.current.load_full();
        let own = own_networks(&current.loaded.config, &current.machine);
        let names: Vec<String> = match &order.name {
            Some(name) => vec![self.fetched_name(name)?],
            None => self.fetched.states().into_iter().map(|state| state.name).collect(),
        };
        let happened = self.fetched.refresh_these(names, &own, clock::now().wall).await;
        Ok(self.ordered(&happened).await)
    }

    /// Lets a held file through.
    ///
    /// # Errors
    /// 404 there is none of this name, 409 nothing is held or it cannot be used.
    pub async fn accept(&self, order: ListOrder) -> Result<ListOrdered, Failure> {
        let Some(name) = &order.name else {
            return Err((400, ErrorReply::new("say which list", Some("`secctl lists` shows what is held"))));
        };
        let current = self.current.load_full();
        let own = own_networks(&current.loaded.config, &current.machine);
        let name = self.fetched_name(name)?;
        let accepted = self.fetched.accept(&name, &own, clock::now().wall).await;
        let happening = accepted.map_err(|error| (409, ErrorReply::new(error.to_string(), None)))?;
        self.system(Severity::Notice, format!("{name}: the held file is accepted, by {}", order.user));
        Ok(self.ordered(&[happening]).await)
    }

    async fn ordered(&self, happened: &[Happening]) -> ListOrdered {
        let waits = self.tell_and_take(happened).await;
        let mut failed =
            happened.iter().any(|h| matches!(h, Happening::Failed { .. } | Happening::Held { .. }));
        let mut outcomes: Vec<String> = happened.iter().map(ToString::to_string).collect();
        if self.in_trouble("what rules name") || self.in_trouble("the packet path") {
            failed = true;
            outcomes.push("not all that is new could be put in force; see `secctl status`".into());
        }
        if waits {
            outcomes.push("a config is on trial: what is new comes into force when that is settled".into());
        }
        ListOrdered { outcomes, failed }
    }

    /// The name among subscriptions of a list or set of rules.
    fn fetched_name(&self, name: &str) -> Result<String, Failure> {
        let states = self.fetched.states();
        let known = |name: &String| states.iter().any(|state| state.name == *name);
        [name.to_owned(), rules_name(name)].into_iter().find(known).ok_or_else(|| {
            let names: Vec<_> = states.iter().map(|state| state.name.as_str()).collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let message = format!("nothing is fetched that is called `{name}`; what is fetched: {names}");
            (404, ErrorReply::new(message, Some("lists with a `path` are read again by `secctl reload`")))
        })
    }

    /// Compiles the signatures again.
    async fn reload_rules(&self) {
        let _walls = self.change.lock().await;
        let current = self.current.load_full();
        let mut loaded = current.loaded.clone();
        let sources = self.rule_sources(&loaded);
        tokio::task::block_in_place(|| loaded.read_rules(&sources));
        if !loaded.unread_rules.is_empty() {
            let why = loaded.unread_rules.join("; ");
            self.trouble(
                "signatures",
                Some(format!("rule files cannot be read, the former signatures stay in force: {why}")),
            );
            return;
        }
        self.trouble("signatures", None);
        self.inspection.update(&loaded).await;
        self.current.store(Arc::new(Current { loaded, ..(*current).clone() }));
    }

    async fn tell_and_take(&self, happened: &[Happening]) -> bool {
        let now = clock::now().wall;
        for event in happened.iter().filter_map(|happening| happening.event(now)) {
            self.sender.send(event);
        }
        let new = happened.iter().filter(|happening| happening.is_change());
        let (mut lists, mut rules) = (false, false);
        for happening in new {
            if happening.name().starts_with(&rules_name("")) {
                rules = true;
            } else {
                lists = true;
            }
        }
        if rules {
            self.reload_rules().await;
        }
        lists && !self.reconcile(true).await
    }
}
