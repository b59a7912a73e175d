//! Pi-hole's REST API (v6), the part that phone apps, Homepage, Homarr and Home Assistant use, so that what asked a
//! Pi-hole can ask secd.
//!
//! [`Api`] makes the answer to one request of what a [`Hole`] knows and does; [`httpd::Server`] is the shell around it:
//! listeners, connections, time. Formats are those of the OpenAPI documents that Pi-hole ships
//! (`src/api/docs/content/specs` of FTL). What secd does not do is refused in Pi-hole's own form, never acknowledged.

mod api;
mod gate;
mod hole;
pub mod limits;
mod reply;
mod request;
mod serve;

pub use api::Api;
pub use gate::Passwords;
pub use hole::{
    About, Blocking, Client, Device, Domain, Group, Hole, Kind, List, ListState, Message, Refusal, Verdict,
};
pub use reply::Reply;
pub use request::Request;
