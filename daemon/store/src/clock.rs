//! Where the clock was, and moving ends with it when it is set: a ban has so much time left, whatever the clock says.

use crate::{Result, Store, row::check_length};

const CLOCK: &str = "clock";
/// Ends later than this are not moved any further: 126,000 years.
const FURTHEST: i64 = 4_000_000_000_000_000_000;

impl Store {
    /// What [`Store::keep_clock`] kept last.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn clock(&self) -> Result<Option<String>> {
        self.setting(CLOCK).await
    }

    /// Keeps where the clock is. After a power cut it may be what was kept before.
    ///
    /// # Errors
    /// [`crate::StoreError::TooLong`], or if the file cannot be written.
    pub async fn keep_clock(&self, clock: &str) -> Result<()> {
        check_length("where the clock is", clock)?;
        sqlx::query(
            "INSERT INTO settings (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2",
        )
        .bind(CLOCK)
        .bind(clock)
        .execute(&self.relaxed)
        .await
        .map(|_| ())
        .map_err(self.failed("keep where the clock is"))
    }

    /// The clock was set by so many microseconds: the end of everything in force is moved by as many, and `clock` is kept,
    /// all or nothing.
    ///
    /// # Errors
    /// [`crate::StoreError::TooLong`], or if the file cannot be written. Then nothing changed.
    pub async fn move_ends(&self, by: i64, clock: &str) -> Result<()> {
        let failed = || self.failed("move the ends of decisions");
        check_length("where the clock is", clock)?;
        let by = by.clamp(-FURTHEST, FURTHEST);
        let mut transaction = self.begin().await.map_err(failed())?;
        sqlx::query(
            "UPDATE decisions SET until = min(until, ?1) + ?2 WHERE ended_seq IS NULL AND until IS NOT NULL",
        )
        .bind(FURTHEST)
        .bind(by)
        .execute(&mut *transaction)
        .await
        .map_err(failed())?;
        sqlx::query(
            "INSERT INTO settings (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2",
        )
        .bind(CLOCK)
        .bind(clock)
        .execute(&mut *transaction)
        .await
        .map_err(failed())?;
        transaction.commit().await.map_err(failed())
    }
}
