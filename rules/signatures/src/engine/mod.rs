//! What happens to packets: defragmentation, flows, streams, thresholds, and the judgement of rules on them.

pub(crate) mod defrag;
pub(crate) mod flows;
pub(crate) mod stream;
pub(crate) mod thresholds;
