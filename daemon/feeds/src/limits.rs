//! Named limits of what is fetched and kept. What happens at each is said beside it.

use std::time::Duration;

/// Bytes of a list or rule set as it is sent. A larger one is refused.
pub const MAX_FETCHED: usize = 64 * 1024 * 1024;
/// Bytes of a list or rule set after unpacking. A larger one is refused.
pub const MAX_UNPACKED: usize = lists::limits::MAX_FILE_BYTES;
/// Bytes of a GeoIP database, as it is sent and after unpacking. A larger one is refused.
pub const MAX_DATABASE: usize = 256 * 1024 * 1024;
/// Bytes of a signature file. A larger one is refused.
pub const MAX_SIGNATURE: usize = 8 * 1024;
/// Unpacked bytes for each packed one, once [`RATIO_FROM`] bytes are unpacked. Beyond it the file is a bomb.
pub const MAX_RATIO: usize = 100;
/// Unpacked bytes below which the ratio is not looked at.
pub const RATIO_FROM: usize = 1024 * 1024;
/// Redirects that are followed. One more is refused.
pub const MAX_REDIRECTS: usize = 5;
/// Addresses of a host that are tried.
pub const MAX_ADDRESSES: usize = 6;
/// Bytes of an address of the web.
pub const MAX_LOCATION: usize = 2048;
/// Bytes of a file with a password or key. A larger one is refused.
pub const MAX_SECRET: u64 = 4096;
/// Bytes of a file with certificate authorities.
pub const MAX_AUTHORITIES: u64 = 1024 * 1024;
/// Bytes of an `ETag` or `Last-Modified` that are kept; a longer one is not used.
pub const MAX_VALIDATOR: usize = 512;
/// Bytes of the header of an answer. A larger one is refused.
pub const MAX_HEADER: usize = 64 * 1024;
/// Subscriptions that are fetched at a time.
pub const MAX_AT_ONCE: usize = 4;
/// Subscriptions that are kept. Further ones are refused.
pub const MAX_SUBSCRIPTIONS: usize = 512;
/// Shortest time between two refreshes.
pub const MIN_REFRESH: Duration = Duration::from_secs(5 * 60);
/// Longest time between two refreshes.
pub const MAX_REFRESH: Duration = Duration::from_secs(30 * 24 * 3600);
/// Time until the first retry; it doubles with each failure, up to the refresh interval.
pub const FIRST_RETRY: Duration = Duration::from_secs(60);
/// Longest time that a server may make us wait by `Retry-After`.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);
/// Prefixes that one question to a GeoIP database may give, all countries and systems together. More is refused.
pub const MAX_GEOIP_NETWORKS: usize = 2_000_000;
/// Countries and systems of one question to a GeoIP database.
pub const MAX_GEOIP_SELECTORS: usize = 1024;
