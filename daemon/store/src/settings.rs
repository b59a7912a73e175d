//! The few things a person sets by command and expects to find again: the mode.

use model::Mode;

use crate::{
    Result, Store,
    row::{check_length, word},
};

const MODE: &str = "mode";

impl Store {
    /// The mode a person chose by command; none = the config's holds.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn mode(&self) -> Result<Option<Mode>> {
        // A word of another version counts as none: the config's mode is always there.
        Ok(self.setting(MODE).await?.and_then(|text| serde_json::from_value(text.into()).ok()))
    }

    /// Keeps the mode a person chose, durably; none = the config's holds again.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub async fn save_mode(&self, mode: Option<Mode>) -> Result<()> {
        self.save_setting(MODE, mode.map(|mode| word(&mode)).as_deref()).await
    }

    /// A setting by name.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn setting(&self, name: &str) -> Result<Option<String>> {
        sqlx::query_scalar("SELECT value FROM settings WHERE name = ?1")
            .bind(name)
            .fetch_optional(&self.relaxed)
            .await
            .map_err(self.failed("read a setting"))
    }

    /// Keeps a setting durably; none = forgets it.
    ///
    /// # Errors
    /// [`crate::StoreError::TooLong`], or if the file cannot be written.
    pub async fn save_setting(&self, name: &str, value: Option<&str>) -> Result<()> {
        check_length("the name of a setting", name)?;
        check_length("the value of a setting", value.unwrap_or_default())?;
        let query = match value {
            Some(_) => sqlx::query(
                "INSERT INTO settings (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2",
            ),
            None => sqlx::query("DELETE FROM settings WHERE name = ?1"),
        };
        query
            .bind(name)
            .bind(value)
            .execute(&self.durable)
            .await
            .map(|_| ())
            .map_err(self.failed("keep a setting"))
    }
}
