//! An answer: a status, and JSON, compressed where that is asked for.

use flate2::{Compression, write::GzEncoder};
use http_body_util::Full;
use hyper::{
    Response, StatusCode,
    body::Bytes,
    header::{
        CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, VARY, X_CONTENT_TYPE_OPTIONS,
    },
};
use serde::Serialize;
use serde_json::json;
use std::io::{self, Write as _};

use crate::ledger::Refusal;

const JSON: &str = "application/json; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// An answer that is to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// What is in it; empty = no body.
    pub body: Bytes,
    /// The body is compressed already.
    pub gzip: bool,
    /// Further headers.
    pub headers: Vec<(HeaderName, String)>,
    kind: &'static str,
}

impl Reply {
    /// JSON.
    pub(crate) fn json(status: u16, value: &impl Serialize) -> Self {
        let body = serde_json::to_vec(value).unwrap_or_default();
        Self { status, body: body.into(), gzip: false, headers: Vec::new(), kind: JSON }
    }

    /// A list, which is `null` where it is empty.
    pub(crate) fn list<T: Serialize>(status: u16, items: &[T]) -> Self {
        if items.is_empty() { Self::json(status, &()) } else { Self::json(status, &items) }
    }

    /// Text.
    pub(crate) fn text(status: u16, text: String) -> Self {
        Self { status, body: text.into(), gzip: false, headers: Vec::new(), kind: TEXT }
    }

    /// No body.
    pub(crate) fn empty(status: u16) -> Self {
        Self::text(status, String::new())
    }

    /// CrowdSec's error object.
    pub(crate) fn message(status: u16, message: &str) -> Self {
        Self::json(status, &json!({ "message": message }))
    }

    /// The same where a login or a token is wrong.
    pub(crate) fn unauthorized(message: &str) -> Self {
        Self::json(401, &json!({ "code": 401, "message": message }))
    }

    /// What somebody without a key is told.
    pub(crate) fn forbidden() -> Self {
        Self::message(403, "access forbidden")
    }

    pub(crate) fn header(mut self, name: HeaderName, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Compressed, where it may be and is not.
    pub(crate) fn compressed(self, may: bool) -> Self {
        if !may || self.gzip || self.body.is_empty() {
            return self;
        }
        let mut writer = Writer::new(true);
        match writer.write(&self.body).and_then(|()| writer.finish()) {
            Ok(body) => Self { body, gzip: true, ..self },
            Err(_) => self,
        }
    }

    /// As it is sent.
    pub(crate) fn response(self) -> Response<Full<Bytes>> {
        let is_empty = self.body.is_empty();
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        if !is_empty {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.kind));
            headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        }
        if self.gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
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
        Self::message(refusal.status, &refusal.message)
    }
}

/// A body that is made piece by piece: a long one is never held uncompressed where the client takes it compressed.
pub(crate) enum Writer {
    Plain(Vec<u8>),
    Gzip(GzEncoder<Vec<u8>>),
}

impl Writer {
    pub(crate) fn new(gzip: bool) -> Self {
        if gzip {
            Self::Gzip(GzEncoder::new(Vec::new(), Compression::fast()))
        } else {
            Self::Plain(Vec::new())
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(held) => held.write_all(bytes),
            Self::Gzip(encoder) => encoder.write_all(bytes),
        }
    }

    fn finish(self) -> io::Result<Bytes> {
        Ok(match self {
            Self::Plain(held) => held.into(),
            Self::Gzip(encoder) => encoder.finish()?.into(),
        })
    }

    /// 200 with what was written as JSON.
    pub(crate) fn reply(self) -> io::Result<Reply> {
        let gzip = matches!(self, Self::Gzip(_));
        Ok(Reply { status: 200, body: self.finish()?, gzip, headers: Vec::new(), kind: JSON })
    }
}
