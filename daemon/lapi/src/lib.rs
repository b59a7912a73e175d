//! CrowdSec's local API, so that its bouncers enforce elsewhere what is decided here and its agents order here; and
//! forward auth, so that a proxy asks for each request whether its client is banned.
//!
//! [`Api`] makes the answer to one request of what a [`Ledger`] knows and does; [`httpd::Server`] is the shell around it.
//! Shapes are those of CrowdSec's own API description (`pkg/models/localapi_swagger.yaml`) and of what its server sends
//! where that leaves something open: an empty list is `null`, times that are left are Go's durations. What secd does not
//! do is refused, never acknowledged.

mod api;
mod filter;
mod forwarded;
mod go;
mod ledger;
pub mod limits;
mod machines;
mod registry;
mod reply;
mod request;
mod serve;
mod shown;

pub use api::Api;
pub use ledger::{Change, Ledger, Refusal, Standing, Verdict};
pub use reply::Reply;
pub use request::Request;
