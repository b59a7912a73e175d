//! `/v1/authz`: forward auth of Traefik, `auth_request` of nginx. Every request that a proxy serves waits for this: it is
//! answered from memory.

use hyper::header::HeaderName;

use super::Api;
use crate::{forwarded, ledger::Ledger, reply::Reply, request::Request};

const REASON: HeaderName = HeaderName::from_static("x-secd-reason");
const CLIENT: HeaderName = HeaderName::from_static("x-secd-client");

impl<L: Ledger> Api<L> {
    /// 200 the client may be served, 403 it is banned; why stands in a header and in the body.
    pub(super) fn authz(&self, request: &Request) -> Reply {
        let peer = request.from;
        let named = self
            .ledger
            .is_proxy(peer)
            .then(|| forwarded::client(&request.headers, |address| self.ledger.is_proxy(address)))
            .flatten();
        let client = named.unwrap_or(peer);
        let verdict = self.ledger.verdict(client);
        let (status, word) = if verdict.blocked { (403, "blocked") } else { (200, "allowed") };
        let reply = Reply::text(status, format!("{client} is {word}: {}\n", verdict.reason));
        let reason: String =
            verdict.reason.chars().map(|c| if (' '..='~').contains(&c) { c } else { '?' }).collect();
        reply.header(REASON, reason).header(CLIENT, client.to_string())
    }
}
