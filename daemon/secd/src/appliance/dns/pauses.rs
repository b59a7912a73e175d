//! Pauses as they hold and as the store has them: changed one after the other, so that none is lost between the two.

use config::Dns;
use model::Timestamp;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::groups::Pauses;

/// The pauses of this daemon.
#[derive(Debug, Default)]
pub(super) struct KeptPauses {
    held: Mutex<Pauses>,
    /// Whoever changes them has it from the look at what holds until that is stored.
    turn: tokio::sync::Mutex<()>,
}

impl KeptPauses {
    pub(super) fn new(pauses: Pauses) -> Self {
        Self { held: Mutex::new(pauses), turn: tokio::sync::Mutex::default() }
    }

    /// Those that hold.
    pub(super) fn now(&self) -> Pauses {
        self.held().clone()
    }

    /// Changes them once the change is stored; returns what `change` says, and the pauses.
    ///
    /// # Errors
    /// What `store` says; nothing was changed.
    pub(super) async fn change<R, E, F>(
        &self,
        change: impl FnOnce(&mut Pauses) -> R,
        store: impl FnOnce(Pauses) -> F,
    ) -> Result<(R, Pauses), E>
    where
        F: Future<Output = Result<(), E>>,
    {
        let _turn = self.turn.lock().await;
        let mut pauses = self.now();
        let said = change(&mut pauses);
        store(pauses.clone()).await?;
        *self.held() = pauses.clone();
        Ok((said, pauses))
    }

    /// Ends those that are over, stored or not: blocking goes on. Returns their groups.
    pub(super) async fn expire<F>(
        &self,
        dns: &Dns,
        now: Timestamp,
        store: impl FnOnce(Pauses) -> F,
    ) -> Vec<Option<String>>
    where
        F: Future<Output = ()>,
    {
        if self.now().expire(dns, now).is_empty() {
            return Vec::new();
        }
        let _turn = self.turn.lock().await;
        let over = self.held().expire(dns, now);
        if !over.is_empty() {
            store(self.now()).await;
        }
        over
    }

    fn held(&self) -> MutexGuard<'_, Pauses> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store that lets others go first.
    async fn slowly(stored: &Mutex<Pauses>, pauses: Pauses) -> Result<(), String> {
        tokio::task::yield_now().await;
        *stored.lock().unwrap() = pauses;
        Ok(())
    }

    #[tokio::test]
    async fn orders_at_one_time_and_ends_lose_none() {
        let config = config::parse("secd.toml", "[dns.groups.kids]\n[dns.groups.office]\n").unwrap();
        let (kept, stored) = (KeptPauses::default(), Mutex::default());
        let later = Timestamp(2_000_000);
        kept.change(|held| held.pause(None, Timestamp(1)), |pauses| slowly(&stored, pauses)).await.unwrap();
        let pause =
            |group| kept.change(move |held| held.pause(Some(group), later), |pauses| slowly(&stored, pauses));
        let expire = kept.expire(&config.dns, Timestamp(1), async |pauses| {
            slowly(&stored, pauses).await.unwrap();
        });
        let (kids, over, office) = tokio::join!(pause("kids"), expire, pause("office"));
        assert!(kids.is_ok() && office.is_ok());
        assert_eq!(over, [None]);
        for pauses in [kept.now(), stored.lock().unwrap().clone()] {
            let until = [pauses.until(Some("kids")), pauses.until(Some("office")), pauses.until(None)];
            assert_eq!(until, [Some(later), Some(later), None]);
        }
    }

    #[tokio::test]
    async fn what_cannot_be_stored_changes_nothing() {
        let kept = KeptPauses::default();
        let change = |held: &mut Pauses| held.pause(None, Timestamp(1));
        assert_eq!(kept.change(change, async |_| Err("full")).await, Err("full"));
        assert_eq!(kept.now(), Pauses::default());
    }
}
