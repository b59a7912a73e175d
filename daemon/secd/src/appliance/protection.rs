//! Who is not to be banned at the moment: names of the config, sessions, and everybody beyond the budget.

use config::Config;
use feeds::{Resolve, SystemResolver};
use std::{
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

use super::Appliance;
use crate::{allowed_names::AllowedNames, machine::Machine, sessions};

/// What names were last known to be, in the state folder.
pub(super) const NAMES_FILE: &str = "allowed-names.json";
/// How long an answer is waited for.
const ANSWER_BY: Duration = Duration::from_secs(10);

impl Appliance {
    /// The machine as it is now, with what names of `allow` are known to be.
    pub(super) fn machine(&self, config: &Config) -> Machine {
        Machine::with(self.allowed_names().of(&config.allow_names))
    }

    /// Looks names of `allow` up, as this machine looks names up. Called every minute; what changed is put in force with
    /// the next look at the machine.
    pub(super) async fn look_at_allowed_names(&self) {
        let current = self.current.load_full();
        let names = &current.loaded.config.allow_names;
        let mut unanswered = Vec::new();
        for name in names {
            let host = format!("{name}.");
            match tokio::time::timeout(ANSWER_BY, SystemResolver.resolve(&host)).await {
                Ok(Ok(addresses)) => self.allowed_names().answered(name, addresses),
                Ok(Err(_)) | Err(_) => unanswered.push(name.to_string()),
            }
        }
        let kept = self.allowed_names().keep(names);
        let unanswered = (!unanswered.is_empty()).then(|| {
            let names = unanswered.join(", ");
            format!("{names} in `allow` cannot be looked up; the addresses known last stay protected")
        });
        let trouble =
            kept.err().map(|error| format!("addresses of names in `allow` cannot be kept: {error}"));
        self.trouble("names in `allow`", trouble.or(unanswered));
    }

    /// Looks at who is logged in here. Called every few seconds, and before an order of a person.
    pub(super) fn look_at_sessions(&self) {
        let open = sessions::open();
        self.decisions.keeper().set_sessions(open);
    }

    /// Tells when engines ban more than they may, and when they do not any more.
    pub(super) fn look_at_budget(&self) {
        let now = self.decisions.now();
        let over = self.decisions.keeper().over_budget(now);
        self.trouble("the budget of bans", over);
    }

    fn allowed_names(&self) -> MutexGuard<'_, AllowedNames> {
        self.allowed_names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
