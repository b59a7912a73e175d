//! The API behind the server that is shared with others.

use httpd::{Body, Failure, Limits, Site};
use hyper::{Request as Asked, Response, body::Bytes};
use std::{net::IpAddr, sync::Arc};

use crate::{
    api::Api,
    ledger::Ledger,
    limits::{
        ANSWER_WITHIN, BODY_WITHIN, CONNECTION_LIFE, HEAD_WITHIN, MAX_BODY, MAX_CONNECTIONS,
        MAX_CONNECTIONS_EACH, MAX_HEAD, MAX_HEADERS,
    },
    reply::Reply,
    request::Request,
};

impl<L: Ledger> Site for Api<L> {
    const NAME: &'static str = "CrowdSec's API";
    const LIMITS: Limits = Limits {
        connections: MAX_CONNECTIONS,
        connections_each: MAX_CONNECTIONS_EACH,
        head: MAX_HEAD,
        headers: MAX_HEADERS,
        head_within: HEAD_WITHIN,
        body: MAX_BODY,
        body_within: BODY_WITHIN,
        answer_within: ANSWER_WITHIN,
        connection_life: CONNECTION_LIFE,
    };

    async fn answer(self: Arc<Self>, request: Asked<Bytes>, from: IpAddr) -> Response<Body> {
        let (head, body) = request.into_parts();
        match Request::new((head.method, &head.uri), head.headers, body, from) {
            Ok(request) => Self::answer(&self, &request).await,
            Err(reply) => reply,
        }
        .response()
    }

    fn failed(&self, failure: Failure) -> Response<Body> {
        let message = match failure {
            Failure::Slow => "the request took too long",
            Failure::Large => "the request is too large",
            Failure::Broken => "the request broke off",
            Failure::Late => "it takes too long",
            Failure::Ended => "it ended early",
        };
        Reply::message(failure.status(), message).response()
    }
}
