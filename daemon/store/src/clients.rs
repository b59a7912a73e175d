//! Bouncers, which ask what is decided, and machines, which order. Keys and passwords are kept as hashes only.

use model::{Bouncer, LastSeen, OrderingMachine, ProgramName, Timestamp};
use sqlx::FromRow;

use crate::{Result, Store, StoreError};

/// Most bouncers, and most machines. More are refused with [`StoreError::TooManyClients`].
pub const MAX_CLIENTS: u64 = 256;

#[derive(FromRow)]
struct BouncerRow {
    name: String,
    key_hash: Vec<u8>,
    created: i64,
    pulled_seq: Option<i64>,
    pulled_at: Option<i64>,
    withheld: bool,
    seen: Option<i64>,
    address: String,
    agent: String,
}

#[derive(FromRow)]
struct MachineRow {
    name: String,
    salt: Vec<u8>,
    password: Vec<u8>,
    validated: bool,
    created: i64,
    seen: Option<i64>,
    address: String,
    agent: String,
}

impl BouncerRow {
    fn read(self) -> std::result::Result<Bouncer, String> {
        Ok(Bouncer {
            name: self.name.parse()?,
            key_hash: self.key_hash,
            created: Timestamp(self.created),
            pulled: self.pulled_seq.zip(self.pulled_at).map(|(seq, at)| (seq.cast_unsigned(), Timestamp(at))),
            withheld: self.withheld,
            last: LastSeen { at: self.seen.map(Timestamp), address: self.address, agent: self.agent },
        })
    }
}

impl MachineRow {
    fn read(self) -> std::result::Result<OrderingMachine, String> {
        Ok(OrderingMachine {
            name: self.name.parse()?,
            salt: self.salt,
            password: self.password,
            validated: self.validated,
            created: Timestamp(self.created),
            last: LastSeen { at: self.seen.map(Timestamp), address: self.address, agent: self.agent },
        })
    }
}

impl Store {
    /// All bouncers, by name.
    ///
    /// # Errors
    /// If the file cannot be read, or a row of it.
    pub async fn bouncers(&self) -> Result<Vec<Bouncer>> {
        let rows: Vec<BouncerRow> = sqlx::query_as("SELECT * FROM bouncers ORDER BY name")
            .fetch_all(&self.relaxed)
            .await
            .map_err(self.failed("read bouncers"))?;
        rows.into_iter().zip(1..).map(|(row, seq)| row.read().map_err(self.unreadable(seq))).collect()
    }

    /// Adds a bouncer, durably; false if there is one of this name or key.
    ///
    /// # Errors
    /// [`StoreError::TooManyClients`], or if the file cannot be written.
    pub async fn add_bouncer(&self, bouncer: &Bouncer) -> Result<bool> {
        self.has_room("SELECT count(*) FROM bouncers").await?;
        sqlx::query(
            "INSERT INTO bouncers (name, key_hash, created, withheld, address, agent)
             VALUES (?1, ?2, ?3, 0, '', '') ON CONFLICT DO NOTHING",
        )
        .bind(bouncer.name.as_str())
        .bind(&bouncer.key_hash)
        .bind(bouncer.created.0)
        .execute(&self.durable)
        .await
        .map(|done| done.rows_affected() == 1)
        .map_err(self.failed("add a bouncer"))
    }

    /// Removes a bouncer, durably; whether there was one.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub async fn remove_bouncer(&self, name: &ProgramName) -> Result<bool> {
        sqlx::query("DELETE FROM bouncers WHERE name = ?1")
            .bind(name.as_str())
            .execute(&self.durable)
            .await
            .map(|done| done.rows_affected() == 1)
            .map_err(self.failed("remove a bouncer"))
    }

    /// Keeps how far a bouncer has been told and its last sign. After a power cut it may be told some of it again.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub async fn keep_bouncer(&self, bouncer: &Bouncer) -> Result<()> {
        sqlx::query(
            "UPDATE bouncers SET pulled_seq = ?2, pulled_at = ?3, withheld = ?4, seen = ?5, address = ?6, agent = ?7
             WHERE name = ?1",
        )
        .bind(bouncer.name.as_str())
        .bind(bouncer.pulled.map(|(seq, _)| seq.cast_signed()))
        .bind(bouncer.pulled.map(|(_, at)| at.0))
        .bind(bouncer.withheld)
        .bind(bouncer.last.at.map(|at| at.0))
        .bind(&bouncer.last.address)
        .bind(&bouncer.last.agent)
        .execute(&self.relaxed)
        .await
        .map(|_| ())
        .map_err(self.failed("keep how far a bouncer was told"))
    }

    /// All machines, by name.
    ///
    /// # Errors
    /// If the file cannot be read, or a row of it.
    pub async fn machines(&self) -> Result<Vec<OrderingMachine>> {
        let rows: Vec<MachineRow> = sqlx::query_as("SELECT * FROM machines ORDER BY name")
            .fetch_all(&self.relaxed)
            .await
            .map_err(self.failed("read machines"))?;
        rows.into_iter().zip(1..).map(|(row, seq)| row.read().map_err(self.unreadable(seq))).collect()
    }

    /// Adds a machine, durably; false if there is one of this name.
    ///
    /// # Errors
    /// [`StoreError::TooManyClients`], or if the file cannot be written.
    pub async fn add_machine(&self, machine: &OrderingMachine) -> Result<bool> {
        self.has_room("SELECT count(*) FROM machines").await?;
        sqlx::query(
            "INSERT INTO machines (name, salt, password, validated, created, address, agent)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
        )
        .bind(machine.name.as_str())
        .bind(&machine.salt)
        .bind(&machine.password)
        .bind(machine.validated)
        .bind(machine.created.0)
        .bind(&machine.last.address)
        .bind(&machine.last.agent)
        .execute(&self.durable)
        .await
        .map(|done| done.rows_affected() == 1)
        .map_err(self.failed("add a machine"))
    }

    /// Keeps whether a machine may order, durably, and its last sign.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub async fn keep_machine(&self, machine: &OrderingMachine) -> Result<()> {
        sqlx::query("UPDATE machines SET validated = ?2, seen = ?3, address = ?4, agent = ?5 WHERE name = ?1")
            .bind(machine.name.as_str())
            .bind(machine.validated)
            .bind(machine.last.at.map(|at| at.0))
            .bind(&machine.last.address)
            .bind(&machine.last.agent)
            .execute(&self.durable)
            .await
            .map(|_| ())
            .map_err(self.failed("keep a machine"))
    }

    /// Removes a machine, durably; whether there was one.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub async fn remove_machine(&self, name: &ProgramName) -> Result<bool> {
        sqlx::query("DELETE FROM machines WHERE name = ?1")
            .bind(name.as_str())
            .execute(&self.durable)
            .await
            .map(|done| done.rows_affected() == 1)
            .map_err(self.failed("remove a machine"))
    }

    async fn has_room(&self, count: &'static str) -> Result<()> {
        let held: i64 =
            sqlx::query_scalar(count).fetch_one(&self.durable).await.map_err(self.failed("count clients"))?;
        if held.cast_unsigned() >= MAX_CLIENTS {
            return Err(StoreError::TooManyClients { limit: MAX_CLIENTS });
        }
        Ok(())
    }

    fn unreadable(&self, seq: i64) -> impl FnOnce(String) -> StoreError + '_ {
        move |detail| StoreError::Row { path: self.path.clone(), seq, detail }
    }
}
