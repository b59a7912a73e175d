//! `/api/dns/blocking`: whether names are blocked, and pauses.

use serde_json::{Value, json};
use std::time::Duration;

use super::{Api, person};
use crate::{
    hole::{Blocking, Hole},
    reply::Reply,
    request::Request,
};

impl<H: Hole> Api<H> {
    /// `GET /api/dns/blocking`.
    pub(super) fn blocking(&self) -> Reply {
        let (blocking, until) = self.hole.blocking();
        let timer = until.map(|until| until.since(self.hole.now()).as_secs_f64());
        Reply::ok(json!({ "blocking": word(blocking), "timer": timer }))
    }

    /// `POST /api/dns/blocking`. Nothing is off for good: without a timer it is off for as long as can be, and the
    /// timer in the answer says how long that is.
    pub(super) async fn set_blocking(&self, request: &Request) -> Reply {
        let (blocking, until) = self.hole.blocking();
        if blocking == Blocking::Failure {
            return Reply::error(500, "dns_failure", "DNS resolver is not running", None);
        }
        let body = match request.json() {
            Ok(body) => body,
            Err(reply) => return reply,
        };
        let Some(Value::Bool(enabled)) = body.get("blocking") else {
            return Reply::error(400, "body_error", "No \"blocking\" boolean in body data", None);
        };
        let seconds = match body.get("timer") {
            None | Some(Value::Null) => None,
            Some(timer) => match timer.as_f64() {
                Some(seconds) => Some(seconds).filter(|seconds| *seconds > 0.0),
                None => return Reply::bad_request("Invalid request: The timer is no number", None),
            },
        };
        let Ok(timer) = seconds.map(Duration::try_from_secs_f64).transpose() else {
            return Reply::bad_request("Invalid request: The timer is out of range", None);
        };
        // Blocking that is on needs no timer; Pi-hole ends one.
        let is_paused = blocking == Blocking::Disabled && until.is_some();
        let outcome = match (enabled, timer) {
            (true, Some(_)) if is_paused => {
                let hint = "order it without a timer, and a pause when it is wanted";
                return Reply::error(
                    501,
                    "not_implemented",
                    "Blocking cannot be switched on for a time only",
                    Some(hint),
                );
            }
            (true, _) if blocking == Blocking::Enabled => Ok(()),
            (true, _) => self.hole.set_blocking(true, None, &person(request)).await,
            (false, timer) => self.hole.set_blocking(false, timer, &person(request)).await,
        };
        match outcome {
            Ok(()) => self.blocking(),
            Err(refusal) => refusal.into(),
        }
    }
}

pub(super) fn word(blocking: Blocking) -> &'static str {
    match blocking {
        Blocking::Enabled => "enabled",
        Blocking::Disabled => "disabled",
        Blocking::Failure => "failure",
    }
}
