//! Counters, as `secctl status` and metrics show them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::upstream::UpstreamStatus;

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        #[derive(Default)]
        pub(crate) struct Counters { $(pub(crate) $name: AtomicU64,)+ }

        /// What happened since the start, and how it stands now.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Stats {
            $($(#[doc = $doc])+ pub $name: u64,)+
            /// Answers in the cache.
            pub cache_entries: u64,
            /// Bytes of them.
            pub cache_bytes: u64,
            /// Records of questions that were not told, because too many waited.
            pub untold: u64,
            /// Questions that wait for an upstream.
            pub in_flight: u64,
            /// Upstreams in the order of the config.
            pub upstreams: Vec<UpstreamStatus>,
        }

        impl Counters {
            pub(crate) fn snapshot(&self) -> Stats {
                Stats { $($name: self.$name.load(Relaxed),)+ ..Stats::default() }
            }
        }
    };
}

counters! {
    /// Questions of clients that are answered.
    queries,
    /// Answered by the sinkhole.
    sinkholed,
    /// Would have been answered by the sinkhole, but only observed.
    observed,
    /// Answered by a rewrite of a list.
    rewritten,
    /// Answered by names of this network.
    local,
    /// Answered from the cache.
    from_cache,
    /// Answered from the cache past the answer's time, because upstreams did not answer.
    stale,
    /// Asked for ahead of its end.
    prefetched,
    /// Not given, because it held private addresses for a public name.
    rebinding,
    /// Beyond the rate of its client: not answered, or over a stream refused.
    over_rate,
    /// Beyond the rate of its client: told to come over TCP.
    slipped,
    /// Answered by an upstream.
    forwarded,
    /// No upstream answered.
    failed,
    /// Refused at once because [`crate::limits::MAX_IN_FLIGHT`] questions waited, or the client's share of them.
    overloaded,
    /// Bytes that were no question.
    malformed,
    /// Datagrams and connections of clients outside every zone, not answered.
    refused_clients,
    /// Connections closed at once: too many were open, or opened in a short time.
    refused_connections,
    /// Answers that could not be sent at once.
    unsent,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
