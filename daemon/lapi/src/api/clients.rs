//! Bouncers and machines as the person at the command adds, shows and removes them.

use data_encoding::BASE64;
use model::{Bouncer, LastSeen, OrderingMachine, ProgramName, Severity};

use super::Api;
use crate::{
    ledger::{Ledger, Refusal},
    limits::MAX_PASSWORD,
    machines,
    registry::key_hash,
};

impl<L: Ledger> Api<L> {
    /// Bouncers by name.
    pub fn bouncers(&self) -> Vec<Bouncer> {
        self.registry().bouncers().cloned().collect()
    }

    /// Machines by name.
    pub fn machines(&self) -> Vec<OrderingMachine> {
        self.registry().machines().cloned().collect()
    }

    /// Adds a bouncer and returns its key, which is kept nowhere; `key`: one that it has already.
    ///
    /// # Errors
    /// 400 the key is too short or long, 409 there is one of this name or key, 503 it cannot be stored.
    pub async fn add_bouncer(&self, name: ProgramName, key: Option<String>) -> Result<String, Refusal> {
        let key = key.unwrap_or_else(secret);
        if !(16..=MAX_PASSWORD).contains(&key.len()) || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            let message = format!("a key has 16 to {MAX_PASSWORD} letters, digits and signs");
            return Err(Refusal { status: 400, message });
        }
        let bouncer = Bouncer {
            name: name.clone(),
            key_hash: key_hash(&key),
            created: self.now(),
            pulled: None,
            withheld: false,
            last: LastSeen::default(),
        };
        if !self.ledger.add_bouncer(&bouncer).await? {
            let message = format!("there is a bouncer {name} already, or one with this key");
            return Err(Refusal { status: 409, message });
        }
        self.registry().put_bouncer(bouncer);
        Ok(key)
    }

    /// Removes a bouncer: its key is good no more.
    ///
    /// # Errors
    /// 404 there is none, 503 it cannot be removed.
    pub async fn remove_bouncer(&self, name: &ProgramName) -> Result<(), Refusal> {
        if self.registry().bouncer(name).is_none() {
            return Err(Refusal { status: 404, message: format!("there is no bouncer {name}") });
        }
        self.ledger.remove_bouncer(name).await?;
        self.registry().remove_bouncer(name);
        Ok(())
    }

    /// Adds a machine that may order and returns its password, which is kept nowhere.
    ///
    /// # Errors
    /// 400 the password is too long, 409 there is one of this name, 503 it cannot be stored.
    pub async fn add_machine(&self, name: ProgramName, password: Option<String>) -> Result<String, Refusal> {
        let password = password.unwrap_or_else(secret);
        if password.is_empty() || password.len() > MAX_PASSWORD {
            let message = format!("a password has 1 to {MAX_PASSWORD} bytes");
            return Err(Refusal { status: 400, message });
        }
        if !self.put_machine(&name, &password, true, LastSeen::default()).await? {
            return Err(Refusal { status: 409, message: format!("there is a machine {name} already") });
        }
        Ok(password)
    }

    /// Lets a machine order that registered itself.
    ///
    /// # Errors
    /// 404 there is none, 503 it cannot be stored.
    pub async fn validate_machine(&self, name: &ProgramName) -> Result<(), Refusal> {
        let known = self.registry().machine(name).cloned();
        let Some(mut machine) = known else {
            return Err(Refusal { status: 404, message: format!("there is no machine {name}") });
        };
        machine.validated = true;
        self.ledger.keep_machine(machine.clone()).await?;
        self.registry().put_machine(machine);
        Ok(())
    }

    /// Removes a machine: its tokens are good no more. What it ordered stays.
    ///
    /// # Errors
    /// 404 there is none, 503 it cannot be removed.
    pub async fn remove_machine(&self, name: &ProgramName) -> Result<(), Refusal> {
        if self.registry().machine(name).is_none() {
            return Err(Refusal { status: 404, message: format!("there is no machine {name}") });
        }
        self.ledger.remove_machine(name).await?;
        self.registry().remove_machine(name);
        Ok(())
    }

    /// Adds a machine; false if there is one of its name.
    pub(super) async fn put_machine(
        &self,
        name: &ProgramName,
        password: &str,
        validated: bool,
        last: LastSeen,
    ) -> Result<bool, Refusal> {
        let salt: [u8; 16] = rand::random();
        let machine = OrderingMachine {
            name: name.clone(),
            salt: salt.to_vec(),
            password: self
                .slowly(password.to_owned(), move |password| machines::hash(&password, &salt))
                .await?,
            validated,
            created: self.now(),
            last,
        };
        if !self.ledger.add_machine(&machine).await? {
            return Ok(false);
        }
        if !validated {
            let message = format!(
                "the machine {name} at {} asks to order bans: `secctl machines validate {name}` lets it",
                machine.last.address
            );
            self.ledger.tell(Severity::Notice, message);
        }
        self.registry().put_machine(machine);
        Ok(true)
    }

    /// Works on a password, one at a time and not on a thread that others wait for.
    pub(super) async fn slowly<T: Send + 'static>(
        &self,
        password: String,
        work: impl FnOnce(String) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let _turn = self.logins.lock().await;
        let ended = |_| Refusal { status: 500, message: "it ended early".into() };
        tokio::task::spawn_blocking(move || work(password)).await.map_err(ended)
    }
}

/// 32 random bytes as text.
fn secret() -> String {
    let bytes: [u8; 32] = rand::random();
    BASE64.encode(&bytes).trim_end_matches('=').to_owned()
}
