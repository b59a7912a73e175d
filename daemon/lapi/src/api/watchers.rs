//! `/v1/watchers`: machines register and log in; `/v1/heartbeat`: they are there.

use model::{ProgramName, Severity};
use serde::Deserialize;
use serde_json::json;

use super::Api;
use crate::{
    go,
    ledger::Ledger,
    limits::{MAX_PASSWORD, MAX_PENDING},
    machines,
    reply::Reply,
    request::Request,
};

#[derive(Deserialize)]
struct Credentials {
    machine_id: String,
    password: String,
}

/// What gin-jwt says.
const WRONG: &str = "incorrect Username or Password";

impl<L: Ledger> Api<L> {
    /// `POST /v1/watchers`: a machine registers itself. It may order nothing until a person has let it.
    pub(super) async fn register(&self, request: &Request) -> Reply {
        let (name, password) = match credentials(request) {
            Ok(credentials) => credentials,
            Err(message) => return Reply::message(400, &message),
        };
        let known = self.registry().machine(&name).is_some();
        if known {
            return Reply::message(403, &format!("user '{name}': user already exist"));
        }
        let pending = self.registry().machines().filter(|machine| !machine.validated).count();
        if pending >= MAX_PENDING {
            return Reply::message(403, &format!("{MAX_PENDING} machines wait to be let in already"));
        }
        match self.put_machine(&name, &password, false, self.sign(request)).await {
            Ok(true) => Reply::empty(201),
            Ok(false) => Reply::message(403, &format!("user '{name}': user already exist")),
            Err(refusal) => refusal.into(),
        }
    }

    /// `POST /v1/watchers/login`: a password for a token.
    pub(super) async fn log_in(&self, request: &Request) -> Reply {
        let (name, password) = match credentials(request) {
            Ok(credentials) => credentials,
            Err(message) => return Reply::unauthorized(&message),
        };
        let (from, now) = (request.from, self.now());
        let may = self.tries().may(from, now);
        if !may {
            return Reply::unauthorized("too many wrong passwords, try again later");
        }
        let known = self.registry().machine(&name).cloned();
        // A machine that is not known takes as long as one that is.
        let (salt, hash) = known
            .as_ref()
            .map_or((vec![0; 16], vec![0; 32]), |known| (known.salt.clone(), known.password.clone()));
        let right =
            self.slowly(password, move |password| machines::is_password(&password, &salt, &hash)).await;
        let machine = match (right, known) {
            (Err(refusal), _) => return refusal.into(),
            (Ok(true), Some(machine)) => machine,
            (Ok(_), _) => {
                self.tries().wrong(from, now);
                let message = format!("a login of the machine {name} with a wrong password from {from}");
                self.ledger.tell(Severity::Warning, message);
                return Reply::unauthorized(WRONG);
            }
        };
        if !machine.validated {
            return Reply::unauthorized(&format!("machine {name} not validated"));
        }
        let sign = self.sign(request);
        let news = self.registry().sign_of_machine(&name, sign).cloned();
        if let Some(machine) = news
            && let Err(refusal) = self.ledger.keep_machine(machine).await
        {
            return refusal.into();
        }
        self.token(&name)
    }

    /// `GET /v1/refresh_token`: a token for one that is good still.
    pub(super) fn refresh(&self, request: &Request) -> Reply {
        match self.machine(request) {
            Ok(name) => self.token(&name),
            Err(reply) => reply,
        }
    }

    /// `GET /v1/heartbeat`.
    pub(super) fn heartbeat(&self, request: &Request) -> Reply {
        let name = match self.machine(request) {
            Ok(name) => name,
            Err(reply) => return reply,
        };
        let sign = self.sign(request);
        let news = self.registry().sign_of_machine(&name, sign).cloned();
        if let Some(machine) = news {
            let ledger = std::sync::Arc::clone(&self.ledger);
            tokio::spawn(async move { ledger.keep_machine(machine).await.ok() });
        }
        Reply::empty(200)
    }

    fn token(&self, name: &ProgramName) -> Reply {
        let (token, until) = self.tokens.make(name.as_str(), self.now());
        Reply::json(200, &json!({ "code": 200, "expire": go::rfc3339(until), "token": token }))
    }
}

fn credentials(request: &Request) -> Result<(ProgramName, String), String> {
    let Credentials { machine_id, password } =
        serde_json::from_slice(&request.body).map_err(|error| format!("missing: {error}"))?;
    if password.is_empty() || password.len() > MAX_PASSWORD {
        return Err(format!("a password has 1 to {MAX_PASSWORD} bytes"));
    }
    Ok((machine_id.parse()?, password))
}
