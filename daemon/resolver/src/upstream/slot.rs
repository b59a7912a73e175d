//! The place of one connection that is opened when it is needed.

use hickory_proto::op::Message;
use std::{io, sync::Arc};
use tokio::sync::Mutex;

use super::{
    attempt::AttemptError,
    health::Health,
    question::{Letters, Outgoing, Said},
    stream::Connection,
};

/// Holds a connection while it is open.
#[derive(Default)]
pub(crate) struct Slot(Mutex<Option<Connection>>);

impl Slot {
    /// Asks over the connection, opened by `open` where there is none. If it turns out that an old one was closed
    /// meanwhile, asks once more over a new one.
    pub(crate) async fn ask<F: Future<Output = Result<Connection, AttemptError>>>(
        &self,
        outgoing: &Outgoing,
        padded: bool,
        health: &Arc<Health>,
        open: impl Fn() -> F,
    ) -> Result<Message, AttemptError> {
        let mut old = true;
        loop {
            let connection = self.connection(&open).await?;
            let before = connection.answers();
            old &= before > 0;
            let mut silence = Silence { slot: self, connection: &connection, before, over: false };
            let result = connection.exchange(|id| outgoing.to_bytes(id, padded)).await;
            silence.over = true;
            drop(silence);
            match result {
                Ok((id, answer)) => {
                    return match outgoing.read(id, Letters::Any, &answer) {
                        Ok(Said::Answer(message)) => Ok(message),
                        // Truncated without need, or not the answer.
                        Ok(Said::Truncated) | Err(_) => {
                            health.wrong();
                            Err(AttemptError::Unreadable)
                        }
                    };
                }
                Err(error) if old && error.kind() != io::ErrorKind::WouldBlock => {
                    old = false;
                    self.forget(&connection);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn connection<F: Future<Output = Result<Connection, AttemptError>>>(
        &self,
        open: impl Fn() -> F,
    ) -> Result<Connection, AttemptError> {
        let mut slot = self.0.lock().await;
        match &*slot {
            Some(connection) if connection.is_open() => Ok(connection.clone()),
            _ => Ok(slot.insert(open().await?).clone()),
        }
    }

    /// Lets go of a connection, if it is still the one held. Those who wait on it keep it.
    fn forget(&self, connection: &Connection) {
        if let Ok(mut slot) = self.0.try_lock()
            && slot.as_ref().is_some_and(|held| held.is_same(connection))
        {
            *slot = None;
        }
    }
}

/// Somebody waits. If they give up before anything came, the connection may be dead though nobody said so: the next
/// question opens another.
struct Silence<'a> {
    slot: &'a Slot,
    connection: &'a Connection,
    before: u64,
    over: bool,
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        if !self.over && self.connection.answers() == self.before {
            self.slot.forget(self.connection);
        }
    }
}
