//! The place of one connection that is opened when it is needed, and opened anew when it is dead.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};
use tokio::sync::Mutex;

use super::attempt::AttemptError;

/// A connection that can be kept.
pub(crate) trait Held: Clone {
    /// It was not closed, as far as is known.
    fn is_open(&self) -> bool;
    /// Answers it has carried. The same counter for all clones, and for none else.
    fn answers(&self) -> &Arc<AtomicU64>;
}

/// Why a question over a connection brought nothing.
pub(crate) enum Lost {
    /// The connection is of no more use.
    Broken(AttemptError),
    /// It is, to others.
    Unanswered(AttemptError),
}

/// Holds a connection while it is open.
pub(crate) struct Slot<C>(Mutex<Option<C>>);

impl<C> Default for Slot<C> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<C: Held> Slot<C> {
    /// Asks over the connection, opened by `open` where there is none. If it turns out that an old one was closed
    /// meanwhile, which says nothing about the server, asks once more over a new one.
    pub(crate) async fn ask<T, F, G>(
        &self,
        open: impl Fn() -> F,
        exchange: impl Fn(C) -> G,
    ) -> Result<T, AttemptError>
    where
        F: Future<Output = Result<C, AttemptError>>,
        G: Future<Output = Result<T, Lost>>,
    {
        let mut old = true;
        loop {
            let connection = self.connection(&open).await?;
            let before = connection.answers().load(Relaxed);
            old &= before > 0;
            let mut silence = Silence { slot: self, connection: &connection, before, over: false };
            let result = exchange(connection.clone()).await;
            silence.over = true;
            drop(silence);
            match result {
                Ok(answer) => {
                    connection.answers().fetch_add(1, Relaxed);
                    return Ok(answer);
                }
                Err(Lost::Unanswered(error)) => return Err(error),
                Err(Lost::Broken(error)) => {
                    self.forget(&connection);
                    if !old {
                        return Err(error);
                    }
                    old = false;
                }
            }
        }
    }

    async fn connection<F: Future<Output = Result<C, AttemptError>>>(
        &self,
        open: impl Fn() -> F,
    ) -> Result<C, AttemptError> {
        let mut slot = self.0.lock().await;
        match &*slot {
            Some(connection) if connection.is_open() => Ok(connection.clone()),
            _ => Ok(slot.insert(open().await?).clone()),
        }
    }

    /// Lets go of a connection, if it is still the one held. Those who wait on it keep it.
    fn forget(&self, connection: &C) {
        if let Ok(mut slot) = self.0.try_lock()
            && slot.as_ref().is_some_and(|held| Arc::ptr_eq(held.answers(), connection.answers()))
        {
            *slot = None;
        }
    }
}

/// Somebody waits. If they give up before anything came, the connection may be dead though nobody said so: the next
/// question opens another.
struct Silence<'a, C: Held> {
    slot: &'a Slot<C>,
    connection: &'a C,
    before: u64,
    over: bool,
}

impl<C: Held> Drop for Silence<'_, C> {
    fn drop(&mut self) {
        if !self.over && self.connection.answers().load(Relaxed) == self.before {
            self.slot.forget(self.connection);
        }
    }
}
