//! Questions under way. Who asks what is being asked already waits for the same answer.

use foldhash::fast::RandomState;
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::limits::{MAX_FLIGHTS, MAX_LINKS, MAX_WAITERS};
use super::{Answered, Trouble};

/// What makes two questions the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) name: Name,
    pub(super) qtype: RecordType,
    pub(super) class: DNSClass,
    pub(super) dnssec_ok: bool,
    pub(super) checking_disabled: bool,
    pub(super) raw: bool,
    /// Who is not asked, where there are others: an answer of theirs was not believed.
    pub(super) doubted: Option<Arc<str>>,
}

pub(super) type Outcome = Result<Arc<Answered>, Trouble>;
type Flight = Shared<BoxFuture<'static, Outcome>>;

/// The questions under way. A flight moves while somebody waits for it, and is gone when it landed, or nobody does.
#[derive(Clone, Default)]
pub(super) struct Flights(Arc<Mutex<Board>>);

#[derive(Default)]
struct Board {
    /// With their numbers.
    flights: HashMap<Key, (u64, WeakShared<BoxFuture<'static, Outcome>>), RandomState>,
    /// Of these, links of the chain of trust.
    links: usize,
    started: u64,
}

/// Takes a flight from the board when it ends, however it ends.
struct Landing {
    flights: Flights,
    key: Key,
    number: u64,
}

impl Flights {
    fn lock(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The flight for a question, started by `start` if there is none, and whether it was under way already.
    ///
    /// # Errors
    /// [`MAX_FLIGHTS`] questions (or [`MAX_LINKS`] links) are under way, or [`MAX_WAITERS`] wait for this one.
    pub(super) fn board(
        &self,
        key: Key,
        start: impl FnOnce(Key) -> BoxFuture<'static, Outcome>,
    ) -> Result<(Flight, bool), Trouble> {
        let mut board = self.lock();
        if let Some(flight) = board.flights.get(&key).and_then(|(_, flight)| flight.upgrade()) {
            // Not to be dropped while the board is locked: it may be the last.
            drop(board);
            return match flight.strong_count() {
                Some(waiters) if waiters > MAX_WAITERS => Err(Trouble::Overload),
                _ => Ok((flight, true)),
            };
        }
        let is_full = match key.raw {
            true => board.links >= MAX_LINKS,
            false => board.flights.len() - board.links >= MAX_FLIGHTS,
        };
        if is_full {
            return Err(Trouble::Overload);
        }
        board.started += 1;
        let number = board.started;
        let landing = Landing { flights: self.clone(), key: key.clone(), number };
        let answer = start(key.clone());
        let flight = async move {
            let outcome = answer.await;
            drop(landing);
            outcome
        }
        .boxed()
        .shared();
        if let Some(weak) = flight.downgrade() {
            let raw = key.raw;
            // One that everybody left, whose landing is not over, may be replaced.
            if board.flights.insert(key, (number, weak)).is_none() && raw {
                board.links += 1;
            }
        }
        Ok((flight, false))
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut board = self.flights.lock();
        // Another may have started after everybody left this one.
        if board.flights.get(&self.key).is_some_and(|(number, _)| *number == self.number) {
            board.flights.remove(&self.key);
            board.links -= usize::from(self.key.raw);
        }
    }
}
