//! An answer: a status, and JSON that ends with the time it took.

use http_body_util::Full;
use hyper::{
    Response, StatusCode,
    body::Bytes,
    header::{
        CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
    },
};
use serde_json::{Map, Value, json};
use std::time::Duration;

use crate::{hole::Refusal, limits::SESSION_LIFE};

/// An answer that is to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// The JSON object, without `took`; none = no body.
    pub json: Option<Map<String, Value>>,
    /// `Set-Cookie`, `Location`.
    pub headers: Vec<(HeaderName, String)>,
}

impl Reply {
    /// 200 with an object. Anything else than an object is an error of ours, and sent as none.
    pub(crate) fn ok(json: Value) -> Self {
        Self::with(200, json)
    }

    /// The same with another status.
    pub(crate) fn with(status: u16, json: Value) -> Self {
        let json = match json {
            Value::Object(fields) => fields,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                Map::new()
            }
        };
        Self { status, json: Some(json), headers: Vec::new() }
    }

    /// No body.
    pub(crate) fn empty(status: u16) -> Self {
        Self { status, json: None, headers: Vec::new() }
    }

    /// Pi-hole's error object.
    pub(crate) fn error(status: u16, key: &str, message: &str, hint: Option<&str>) -> Self {
        Self::with(status, json!({ "error": { "key": key, "message": message, "hint": hint } }))
    }

    /// Without a session.
    pub(crate) fn unauthorized() -> Self {
        Self::error(401, "unauthorized", "Unauthorized", None)
    }

    /// What the client sent makes no sense.
    pub(crate) fn bad_request(message: &str, hint: Option<&str>) -> Self {
        Self::error(400, "bad_request", message, hint)
    }

    pub(crate) fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The cookie of a session.
    pub(crate) fn cookie(self, sid: &str) -> Self {
        let life = SESSION_LIFE.as_secs();
        self.header(SET_COOKIE, format!("sid={sid}; SameSite=Strict; Path=/; Max-Age={life}; HttpOnly"))
    }

    /// Takes the cookie away.
    pub(crate) fn no_cookie(self) -> Self {
        self.header(SET_COOKIE, "sid=deleted; SameSite=Strict; Path=/; Max-Age=-1; HttpOnly")
    }

    pub(crate) fn location(self, place: &str) -> Self {
        self.header(LOCATION, place)
    }

    /// As it is sent.
    pub(crate) fn response(self, took: Duration) -> Response<Full<Bytes>> {
        let body = self.json.map(|mut fields| {
            fields.insert("took".into(), took.as_secs_f64().into());
            Bytes::from(Value::Object(fields).to_string())
        });
        let mut response = Response::new(Full::new(body.unwrap_or_default()));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
        response
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        Self::error(refusal.status, refusal.key, &refusal.message, refusal.hint.as_deref())
    }
}
