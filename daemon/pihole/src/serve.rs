//! The API behind the server that is shared with others.

use httpd::{Body, Failure, Limits, Site};
use hyper::{Request as Asked, Response, body::Bytes};
use std::{net::IpAddr, sync::Arc, time::Duration, time::Instant};

use crate::{
    api::Api,
    hole::Hole,
    limits::{
        ANSWER_WITHIN, BODY_WITHIN, CONNECTION_LIFE, HEAD_WITHIN, MAX_BODY, MAX_CONNECTIONS,
        MAX_CONNECTIONS_EACH, MAX_HEAD, MAX_HEADERS,
    },
    reply::Reply,
    request::Request,
};

impl<H: Hole> Site for Api<H> {
    const NAME: &'static str = "Pi-hole's API";
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
        let begun = Instant::now();
        let (head, body) = request.into_parts();
        let reply = match Request::new((head.method, &head.uri), head.headers, body, from) {
            Ok(request) => Self::answer(&self, &request).await,
            Err(reply) => reply,
        };
        reply.response(begun.elapsed())
    }

    fn failed(&self, failure: Failure) -> Response<Body> {
        let status = failure.status();
        let reply = match failure {
            Failure::Slow => Reply::error(status, "request_timeout", "The request took too long", None),
            Failure::Large => Reply::error(status, "payload_too_large", "The request is too large", None),
            Failure::Broken => Reply::error(status, "bad_request", "The request broke off", None),
            Failure::Late => Reply::error(status, "timeout", "It takes too long", None),
            Failure::Ended => Reply::error(status, "internal_error", "It ended early", None),
        };
        reply.response(Duration::ZERO)
    }
}
