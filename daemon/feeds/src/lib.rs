//! Subscriptions: lists of addresses and names, rule sets and GeoIP databases that are fetched, judged, kept on disk and
//! refreshed.
//!
//! A refresh goes [`Web`] (fetch: conditional, bounded, to public addresses only) -> `unpack` (gzip, zstd) ->
//! `signature` (minisign) -> `judge` (the kind says which parser; the guard holds what changed too much) -> `disk`
//! (whole or not at all) -> [`Happening`]. The [`Keeper`] does it for all subscriptions when they are due; the time is
//! given to it. What is refused changes nothing: the last good file stays, over restarts too. **Stale beats empty.**
//!
//! [`geoip::GeoIp`] asks a GeoIP database: country and autonomous system of an address, prefixes of a country.

mod disk;
mod fetch;
mod happening;
mod judge;
mod keeper;
mod schedule;
mod signature;
mod subscription;
mod targets;
mod unpack;
mod web;

pub mod geoip;
pub mod limits;

pub use fetch::FetchError;
pub use happening::Happening;
pub use judge::JudgeError;
pub use keeper::{AcceptError, Held, Keeper, State};
pub use signature::SignatureError;
pub use subscription::{Kind, Location, LocationError, Subscription};
pub use targets::{is_public, nat64};
pub use unpack::{UnpackError, unpack};
pub use web::{Resolve, SystemResolver, Web, WebLimits};
