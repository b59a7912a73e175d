//! CrowdSec's local API and forward auth: when it listens, whom it lets in, and its bouncers and machines as the person
//! at the command sees them.

mod ledger;

use ::lapi::{Api, Refusal};
use anyhow::Result;
use config::Lapi;
use httpd::Server;
use model::{Bouncer, OrderingMachine, Severity};
use protocol::{ErrorReply, Program, ProgramAction, ProgramOrder, ProgramOrdered, Programs};
use std::sync::{Arc, Weak};

use self::ledger::Behind;
use super::{Appliance, doors};
use crate::decisions::Failure;

/// The API and its listeners.
pub(super) struct Doors {
    api: Arc<Api<Behind>>,
    secd: Weak<Appliance>,
    running: tokio::sync::Mutex<Option<(Lapi, Server<Api<Behind>>)>>,
}

impl Doors {
    pub(super) async fn new(secd: &Arc<Appliance>) -> Self {
        let (bouncers, machines) = match tokio::try_join!(secd.store.bouncers(), secd.store.machines()) {
            Ok(known) => known,
            Err(error) => {
                secd.system(Severity::Error, format!("bouncers and machines are not known: {error}"));
                (Vec::new(), Vec::new())
            }
        };
        let secd = Arc::downgrade(secd);
        let api = Arc::new(Api::new(Arc::new(Behind(Weak::clone(&secd))), bouncers, machines));
        Self { api, secd, running: tokio::sync::Mutex::default() }
    }

    /// Listens as the config says, which may be not at all.
    async fn update(&self, wanted: Option<&Lapi>) -> Result<()> {
        let mut running = self.running.lock().await;
        let same = |held: &Lapi| {
            wanted.is_some_and(|wanted| held.listen == wanted.listen && held.zones == wanted.zones)
        };
        if let Some((_, server)) = running.as_mut().filter(|(held, _)| same(held)) {
            server.retry().await;
        } else {
            if let Some((_, server)) = running.take() {
                server.stop().await;
            }
            let Some(wanted) = wanted else { return Ok(()) };
            let admits = doors::admits(Weak::clone(&self.secd), wanted.zones.clone());
            let server = Server::start(&wanted.listen, Arc::clone(&self.api), admits).await;
            *running = Some((wanted.clone(), server));
        }
        let Some((_, server)) = running.as_ref() else { return Ok(()) };
        doors::all_open(server)
    }
}

impl Appliance {
    /// Brings the API to what the config says; what is wrong is told.
    pub(super) async fn update_lapi(&self, wanted: Option<&Lapi>) {
        let Some(doors) = self.lapi.get() else { return };
        let trouble = doors.update(wanted).await.err().map(|error| format!("CrowdSec's API: {error:#}"));
        self.trouble(TROUBLE, trouble);
    }

    /// Tries again what could not be done before.
    pub(super) async fn retry_lapi(&self) {
        if self.in_trouble(TROUBLE) {
            let current = self.current.load_full();
            self.update_lapi(current.loaded.config.lapi.as_ref()).await;
        }
    }

    /// Programs that are told of decisions.
    pub fn bouncers(&self) -> Programs {
        let bouncers = self.lapi.get().map(|doors| doors.api.bouncers()).unwrap_or_default();
        Programs { programs: bouncers.into_iter().map(bouncer_row).collect() }
    }

    /// Programs that order bans.
    pub fn machines(&self) -> Programs {
        let machines = self.lapi.get().map(|doors| doors.api.machines()).unwrap_or_default();
        Programs { programs: machines.into_iter().map(machine_row).collect() }
    }

    /// Adds or removes a bouncer.
    ///
    /// # Errors
    /// 400 the order makes no sense, 404 there is none, 409 there is one, 503 it cannot be stored.
    pub async fn order_bouncer(&self, order: ProgramOrder) -> Result<ProgramOrdered, Failure> {
        let api = self.lapi_api()?;
        let ProgramOrder { name, action, secret, user } = order;
        let secret = match action {
            ProgramAction::Add => Some(api.add_bouncer(name.clone(), secret).await.map_err(failure)?),
            ProgramAction::Delete => api.remove_bouncer(&name).await.map(|()| None).map_err(failure)?,
            ProgramAction::Validate => {
                let message = "bouncers are not validated: whoever has the key is one";
                return Err((400, ErrorReply::new(message, None)));
            }
        };
        self.system(Severity::Notice, format!("bouncer {name} {}, by {user}", past(action)));
        Ok(ProgramOrdered { name, secret, notes: self.not_listening() })
    }

    /// Adds, validates or removes a machine.
    ///
    /// # Errors
    /// As [`Self::order_bouncer`].
    pub async fn order_machine(&self, order: ProgramOrder) -> Result<ProgramOrdered, Failure> {
        let api = self.lapi_api()?;
        let ProgramOrder { name, action, secret, user } = order;
        let secret = match action {
            ProgramAction::Add => Some(api.add_machine(name.clone(), secret).await.map_err(failure)?),
            ProgramAction::Delete => api.remove_machine(&name).await.map(|()| None).map_err(failure)?,
            ProgramAction::Validate => api.validate_machine(&name).await.map(|()| None).map_err(failure)?,
        };
        self.system(Severity::Notice, format!("machine {name} {}, by {user}", past(action)));
        Ok(ProgramOrdered { name, secret, notes: self.not_listening() })
    }

    fn lapi_api(&self) -> Result<&Arc<Api<Behind>>, Failure> {
        let starting = || (503, ErrorReply::new("secd starts", Some("try again in a moment")));
        self.lapi.get().map(|doors| &doors.api).ok_or_else(starting)
    }

    fn not_listening(&self) -> Vec<String> {
        let listens = self.current.load().loaded.config.lapi.is_some();
        let note = "nothing listens for it yet: set `listen` in `[lapi]` of secd.toml";
        if listens { Vec::new() } else { vec![note.to_owned()] }
    }
}

const TROUBLE: &str = "CrowdSec's API";

fn past(action: ProgramAction) -> &'static str {
    match action {
        ProgramAction::Add => "added",
        ProgramAction::Validate => "let in",
        ProgramAction::Delete => "deleted",
    }
}

fn failure(refusal: Refusal) -> Failure {
    let help =
        (refusal.status >= 500).then_some("nothing was changed; try again when the store can be written");
    (refusal.status, ErrorReply::new(refusal.message, help))
}

fn bouncer_row(bouncer: Bouncer) -> Program {
    Program {
        name: bouncer.name,
        created: bouncer.created,
        last: bouncer.last,
        pulled: bouncer.pulled.map(|(_, at)| at),
        validated: true,
    }
}

fn machine_row(machine: OrderingMachine) -> Program {
    Program {
        name: machine.name,
        created: machine.created,
        last: machine.last,
        pulled: None,
        validated: machine.validated,
    }
}
