//! A request as the API looks at it: decoded path and parameters, JSON, and the places where a session stands.

use hyper::{HeaderMap, Method, Uri, body::Bytes, header::COOKIE};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use std::net::IpAddr;

use crate::{limits::MAX_PARAMETERS, reply::Reply};

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The path behind `/api/`, taken apart at `/` and decoded.
    pub path: Vec<String>,
    /// The path as it was sent.
    pub raw_path: String,
    /// Parameters, decoded.
    pub parameters: Vec<(String, String)>,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
    /// Who asks.
    pub from: IpAddr,
}

/// Where a session's id was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sid {
    pub(crate) text: String,
    /// A browser sends cookies by itself: they are good together with the session's second secret only.
    pub(crate) cookie: bool,
}

impl Request {
    /// Takes a request apart.
    ///
    /// # Errors
    /// The answer, where the address is none of the API's or cannot be decoded.
    pub fn new(
        (method, uri): (Method, &Uri),
        headers: HeaderMap,
        body: Bytes,
        from: IpAddr,
    ) -> Result<Self, Reply> {
        let raw_path = uri.path().to_owned();
        let below = raw_path.strip_prefix("/api/").ok_or_else(|| not_found(&raw_path))?;
        let decode = |part: &str| Some(percent_decode_str(part).decode_utf8().ok()?.into_owned());
        let bad = |what| Reply::bad_request(what, None);
        let mut path = below
            .split('/')
            .map(decode)
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| bad("Invalid request: The path is not UTF-8"))?;
        if path.last().is_some_and(String::is_empty) {
            path.pop();
        }
        let parameters: Vec<(String, String)> =
            serde_urlencoded::from_str(uri.query().unwrap_or_default())
                .map_err(|_| bad("Invalid request: The parameters cannot be read"))?;
        if parameters.len() > MAX_PARAMETERS {
            return Err(bad("Invalid request: Too many parameters"));
        }
        Ok(Self { method, path, raw_path, parameters, headers, body, from })
    }

    /// The path as it is matched.
    pub(crate) fn segments(&self) -> Vec<&str> {
        self.path.iter().map(String::as_str).collect()
    }

    /// A parameter, the first of its name.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(known, _)| known == name)?;
        Some(&found.1)
    }

    /// A parameter that is a number.
    ///
    /// # Errors
    /// 400 it is none.
    pub(crate) fn number<N: std::str::FromStr>(&self, name: &str) -> Result<Option<N>, Reply> {
        let Some(text) = self.parameter(name).filter(|text| !text.is_empty()) else { return Ok(None) };
        let bad = |_| Reply::bad_request("Invalid request: A parameter is no number in range", Some(name));
        text.parse().map(Some).map_err(bad)
    }

    /// A parameter that is true or false.
    ///
    /// # Errors
    /// 400 it is neither.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Reply> {
        match self.parameter(name).map(str::to_ascii_lowercase).as_deref() {
            Some("true" | "1" | "yes" | "on") => Ok(true),
            None | Some("" | "false" | "0" | "no" | "off") => Ok(false),
            Some(_) => {
                Err(Reply::bad_request("Invalid request: A parameter is neither true nor false", Some(name)))
            }
        }
    }

    /// The JSON of the body.
    ///
    /// # Errors
    /// 400 there is none.
    pub(crate) fn json(&self) -> Result<Value, Reply> {
        if self.body.is_empty() {
            return Err(Reply::bad_request("No request body data", None));
        }
        serde_json::from_slice(&self.body).map_err(|error| {
            Reply::bad_request("Invalid request body data (no valid JSON)", Some(&error.to_string()))
        })
    }

    /// The first session that the request names: in its body, its headers, a cookie or a parameter.
    pub(crate) fn sid(&self) -> Option<Sid> {
        let plain = |text: &str| Sid { text: text.to_owned(), cookie: false };
        let in_body = serde_json::from_slice::<Value>(&self.body).ok();
        if let Some(text) = in_body.as_ref().and_then(|json| json.get("sid")?.as_str()) {
            return Some(plain(text));
        }
        if let Some(text) = self.header("sid").or_else(|| self.header("X-FTL-SID")) {
            return Some(plain(text));
        }
        let cookies = self.headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let cookie = cookies
            .flat_map(|line| line.split(';'))
            .find_map(|pair| pair.trim().strip_prefix("sid="))
            .map(|text| Sid { text: text.to_owned(), cookie: true });
        // A `+` of base64 is a space in a parameter that was not encoded.
        cookie.or_else(|| Some(plain(&self.parameter("sid")?.replace(' ', "+"))))
    }

    /// A header that is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Nothing of the API.
pub(crate) fn not_found(path: &str) -> Reply {
    Reply::error(404, "not_found", "Not found", Some(path))
}
