//! What a server asks of the API behind it.

use http_body_util::Full;
use hyper::{Request, Response, body::Bytes};
use std::{net::IpAddr, sync::Arc, time::Duration};

/// What is sent.
pub type Body = Full<Bytes>;

/// An API.
pub trait Site: Send + Sync + 'static {
    /// Its name, for the log.
    const NAME: &'static str;
    /// Its limits.
    const LIMITS: Limits;

    /// Answers a request, all of which has arrived.
    fn answer(
        self: Arc<Self>,
        request: Request<Bytes>,
        from: IpAddr,
    ) -> impl Future<Output = Response<Body>> + Send;

    /// Says in the API's own form why there is no answer.
    fn failed(&self, failure: Failure) -> Response<Body>;
}

/// Why a request has no answer of the site's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Its body did not arrive in time (408). The connection ends.
    Slow,
    /// Its body is too large (413). The connection ends.
    Large,
    /// It broke off (400). The connection ends.
    Broken,
    /// The answer is not there in time (504).
    Late,
    /// Making the answer ended early (500).
    Ended,
}

impl Failure {
    /// HTTP status.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Slow => 408,
            Self::Large => 413,
            Self::Broken => 400,
            Self::Late => 504,
            Self::Ended => 500,
        }
    }

    /// Whether the connection ends with it: what follows on it is no request.
    #[must_use]
    pub const fn is_last(self) -> bool {
        match self {
            Self::Slow | Self::Large | Self::Broken => true,
            Self::Late | Self::Ended => false,
        }
    }
}

/// What is taken from clients.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once. More are closed at once.
    pub connections: usize,
    /// Connections of one source at once, of IPv6 of one /64.
    pub connections_each: usize,
    /// Bytes of the head of a request. More is answered with 431.
    pub head: usize,
    /// Headers of a request. More is answered with 431.
    pub headers: usize,
    /// Time for the head of a request, from the end of the one before.
    pub head_within: Duration,
    /// Bytes of the body of a request.
    pub body: usize,
    /// Time for the body of a request.
    pub body_within: Duration,
    /// Time for an answer.
    pub answer_within: Duration,
    /// Longest life of a connection; then it ends after what it is at, and a second later also while a client is slow
    /// to read.
    pub connection_life: Duration,
}
