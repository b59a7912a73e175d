//! `/api/auth`: logging in and out, sessions.

use model::{Severity, Timestamp};
use serde_json::{Value, json};

use super::Api;
use crate::{
    gate::{Login, Session},
    hole::{Hole, Refusal},
    limits::{MAX_SESSIONS, MAX_USER_AGENT},
    reply::Reply,
    request::Request,
};

impl<H: Hole> Api<H> {
    /// `GET /api/auth`: whether the one who asks is in. A cookie is enough: nothing is changed.
    pub(super) fn look_in(&self, request: &Request) -> Reply {
        let (sid, now) = (request.sid(), self.hole.now());
        let mut gate = self.gate();
        let place = sid.and_then(|sid| gate.enter(&sid.text, None, now));
        place
            .and_then(|place| gate.session(place))
            .map_or_else(|| outside(None), |own| inside(own, None, now))
    }

    /// `POST /api/auth`: a login.
    pub(super) fn log_in(&self, request: &Request) -> Reply {
        let body = match request.json() {
            Ok(body) => body,
            Err(reply) => return reply,
        };
        let password = match body.get("password") {
            None => return Reply::bad_request("No password found in JSON payload", None),
            Some(Value::String(password)) => password,
            Some(_) => return Reply::bad_request("Field password has to be of type 'string'", None),
        };
        let user_agent = request.header("User-Agent").unwrap_or_default();
        let chance = [rand::random(), rand::random()];
        let visitor = (request.from, user_agent);
        let now = self.hole.now();
        let mut gate = self.gate();
        match gate.login(password, visitor, now, chance) {
            Login::Accepted(place) => {
                let message = Some("password correct");
                gate.session(place).map_or_else(|| outside(None), |own| inside(own, message, now))
            }
            Login::Wrong => {
                drop(gate);
                let shown: String = user_agent.chars().take(MAX_USER_AGENT).collect();
                let message = format!(
                    "a login with a wrong password at the Pi-hole API from {} ({shown:?})",
                    request.from
                );
                self.hole.tell(Severity::Warning, message);
                outside(Some("password incorrect"))
            }
            Login::TooMany => Reply::error(429, "rate_limiting", "Rate-limiting login attempts", None),
            Login::NoSeat => Reply::error(
                429,
                "api_seats_exceeded",
                "API seats exceeded",
                Some(&format!(
                    "{MAX_SESSIONS} sessions are open; log out, or wait until one is not used for a time"
                )),
            ),
        }
    }

    /// `DELETE /api/auth`: a logout.
    pub(super) fn log_out(&self, request: &Request) -> Reply {
        let Some(place) = self.enter(request) else { return outside(None) };
        self.gate().end(place);
        Reply::empty(204).no_cookie()
    }

    /// `GET /api/auth/sessions`.
    pub(super) fn sessions(&self, own: usize) -> Reply {
        let now = self.hole.now();
        let gate = self.gate();
        let sessions = gate.sessions().map(|(place, session)| {
            let Session { app, login_at, last_active, from, user_agent, .. } = session;
            json!({
                "id": place,
                "current_session": place == own,
                "valid": session.is_valid(now),
                "tls": { "login": false, "mixed": false },
                "app": app,
                "login_at": login_at.seconds(),
                "last_active": last_active.seconds(),
                "valid_until": session.valid_until().seconds(),
                "remote_addr": from.to_string(),
                "user_agent": user_agent,
                "x_forwarded_for": null,
            })
        });
        Reply::ok(json!({ "sessions": sessions.collect::<Vec<_>>() }))
    }

    /// `DELETE /api/auth/session/{id}`.
    pub(super) fn end_session(&self, place: &str) -> Reply {
        let Ok(place) = place.parse::<usize>() else {
            return Reply::bad_request("Missing or invalid session ID", None);
        };
        if place >= MAX_SESSIONS {
            return Reply::bad_request("Session ID out of bounds", None);
        }
        if !self.gate().end(place) {
            return Reply::bad_request("Session ID not in use", None);
        }
        Reply::empty(204)
    }
}

/// In this session.
fn inside(session: &Session, message: Option<&str>, now: Timestamp) -> Reply {
    let json = json!({ "session": {
        "valid": true,
        "totp": false,
        "sid": session.sid,
        "csrf": session.csrf,
        "validity": session.valid_until().since(now).as_secs(),
        "message": message,
    }});
    Reply::ok(json).cookie(&session.sid)
}

/// Not in.
fn outside(message: Option<&str>) -> Reply {
    let json = json!({ "session": {
        "valid": false,
        "totp": false,
        "sid": null,
        "csrf": null,
        "validity": -1,
        "message": message,
    }});
    Reply::with(401, json).no_cookie()
}

/// Passwords stand in a file that only the person writes.
pub(super) fn not_from_here() -> Reply {
    let message = "Passwords are not made from here";
    let hint = "each line of the `password_file` of [pihole_api] is a password, the first one's own, the others of apps";
    Refusal::forbidden(message, hint).into()
}
