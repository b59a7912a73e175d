//! How far each log was read, so that a restart neither repeats nor skips lines.

use sqlx::Row as _;

use crate::{MAX_SOURCES, Result, Store, StoreError, row::check_length};

/// How far a log was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOffset {
    /// Name of the source in the config.
    pub source: String,
    /// Device number of the file.
    pub device: u64,
    /// Inode of the file.
    pub inode: u64,
    /// How many first bytes `head` is of.
    pub head_length: u16,
    /// Hash of the first bytes of the file: inode numbers are used again.
    pub head: u64,
    /// Bytes read.
    pub offset: u64,
}

impl Store {
    /// Every offset, by source name.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn offsets(&self) -> Result<Vec<LogOffset>> {
        let read = |row: sqlx::sqlite::SqliteRow| {
            Ok(LogOffset {
                source: row.try_get("source")?,
                device: row.try_get::<i64, _>("device")?.cast_unsigned(),
                inode: row.try_get::<i64, _>("inode")?.cast_unsigned(),
                head_length: u16::try_from(row.try_get::<i64, _>("head_length")?).unwrap_or(0),
                head: row.try_get::<i64, _>("head")?.cast_unsigned(),
                offset: row.try_get::<i64, _>("position")?.cast_unsigned(),
            })
        };
        sqlx::query("SELECT source, device, inode, head_length, head, position FROM offsets ORDER BY source")
            .fetch_all(&self.relaxed)
            .await
            .map_err(self.failed("read log offsets"))?
            .into_iter()
            .map(read)
            .collect::<std::result::Result<_, sqlx::Error>>()
            .map_err(self.failed("read log offsets"))
    }

    /// Saves offsets, all or none; sources that are not named keep theirs.
    ///
    /// # Errors
    /// [`StoreError::TooManySources`] above [`MAX_SOURCES`]; or if the file cannot be written.
    pub async fn save_offsets(&self, offsets: &[LogOffset]) -> Result<()> {
        let failed = || self.failed("save log offsets");
        for offset in offsets {
            check_length("the name of a log source", &offset.source)?;
        }
        let mut transaction = Self::begin_on(&self.relaxed).await.map_err(failed())?;
        for offset in offsets {
            sqlx::query(
                "INSERT INTO offsets (source, device, inode, head_length, head, position) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (source) DO UPDATE
                 SET device = ?2, inode = ?3, head_length = ?4, head = ?5, position = ?6",
            )
            .bind(&offset.source)
            .bind(offset.device.cast_signed())
            .bind(offset.inode.cast_signed())
            .bind(i64::from(offset.head_length))
            .bind(offset.head.cast_signed())
            .bind(offset.offset.cast_signed())
            .execute(&mut *transaction)
            .await
            .map_err(failed())?;
        }
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM offsets")
            .fetch_one(&mut *transaction)
            .await
            .map_err(failed())?;
        if count.cast_unsigned() > MAX_SOURCES {
            return Err(StoreError::TooManySources { limit: MAX_SOURCES });
        }
        transaction.commit().await.map_err(failed())
    }

    /// Forgets the offsets of all sources that `keep` does not name; returns how many.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub async fn forget_offsets(&self, keep: &[&str]) -> Result<u64> {
        let mut forgotten = 0;
        for offset in self.offsets().await? {
            if !keep.contains(&offset.source.as_str()) {
                forgotten += sqlx::query("DELETE FROM offsets WHERE source = ?1")
                    .bind(&offset.source)
                    .execute(&self.relaxed)
                    .await
                    .map_err(self.failed("forget log offsets"))?
                    .rows_affected();
            }
        }
        Ok(forgotten)
    }
}
