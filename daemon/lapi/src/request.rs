//! A request as the API looks at it.

use hyper::{HeaderMap, Method, Uri, body::Bytes};
use std::net::IpAddr;

use crate::{limits::MAX_PARAMETERS, reply::Reply};

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The path as it was sent.
    pub path: String,
    /// Parameters, decoded.
    pub parameters: Vec<(String, String)>,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
    /// Who asks.
    pub from: IpAddr,
}

impl Request {
    /// Takes a request apart.
    ///
    /// # Errors
    /// The answer, where the parameters cannot be read.
    pub fn new(
        (method, uri): (Method, &Uri),
        headers: HeaderMap,
        body: Bytes,
        from: IpAddr,
    ) -> Result<Self, Reply> {
        let parameters: Vec<(String, String)> =
            serde_urlencoded::from_str(uri.query().unwrap_or_default())
                .map_err(|_| Reply::message(400, "the parameters cannot be read"))?;
        if parameters.len() > MAX_PARAMETERS {
            return Err(Reply::message(400, &format!("more than {MAX_PARAMETERS} parameters")));
        }
        Ok(Self { method, path: uri.path().to_owned(), parameters, headers, body, from })
    }

    /// A parameter, the first of its name; none where it is empty.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(known, _)| known == name)?;
        Some(found.1.as_str()).filter(|text| !text.is_empty())
    }

    /// A parameter that is true or false, as Go reads it.
    ///
    /// # Errors
    /// 400 it is neither.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, Reply> {
        match self.parameter(name) {
            None => Ok(None),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(Some(true)),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(Some(false)),
            Some(_) => Err(Reply::message(400, &format!("invalid {name} value: neither true nor false"))),
        }
    }

    /// A header that is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// What the client calls itself.
    pub(crate) fn agent(&self) -> String {
        let agent = self.header("User-Agent").unwrap_or_default();
        agent.chars().filter(|c| !c.is_control()).take(model::LastSeen::MAX_AGENT).collect()
    }

    /// Whether the answer may be compressed.
    pub(crate) fn takes_gzip(&self) -> bool {
        let accepted = self.header("Accept-Encoding").unwrap_or_default();
        accepted.split(',').any(|coding| {
            let mut parts = coding.split(';').map(str::trim);
            let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
            is_gzip && !parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
        })
    }
}
