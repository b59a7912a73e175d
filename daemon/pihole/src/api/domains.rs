//! `/api/domains`: single names that are allowed or denied. Names are standing orders, which can be given and taken
//! back; what stands in the config, expressions among it, is shown and not changed.

use hyper::Method;
use model::Name;
use serde_json::{Value, json};

use super::{Api, method_not_allowed, person};
use crate::{
    hole::{Domain, Hole, Kind, Refusal, Verdict},
    limits::{MAX_COMMENT, MAX_ITEMS},
    reply::Reply,
    request::Request,
};

/// What a path picks out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Picked {
    verdict: Option<Verdict>,
    kind: Option<Kind>,
    text: Option<String>,
}

impl<H: Hole> Api<H> {
    /// Everything below `/api/domains`.
    pub(super) async fn domains(&self, request: &Request, rest: &[&str]) -> Reply {
        let picked = Picked::of(rest);
        if request.method == Method::GET {
            return Reply::ok(json!({ "domains": self.rows(&picked) }));
        }
        let (Some(verdict), Some(kind)) = (picked.verdict, picked.kind) else {
            let message = "Invalid request: Specify list to modify more precisely";
            return Reply::error(400, "uri_error", message, Some(&request.raw_path));
        };
        match (&request.method, picked.text) {
            (&Method::POST, None) => self.add_domains(request, verdict, kind).await,
            (&Method::POST, Some(text)) => {
                let message = "Invalid request: Specify item in payload, not as URI parameter";
                Reply::error(400, "uri_error", message, Some(&text))
            }
            (&Method::PUT | &Method::DELETE, None) => {
                Reply::error(400, "uri_error", "Invalid request: Specify item in URI", None)
            }
            (&Method::PUT, Some(text)) => self.replace_domain(request, verdict, kind, text).await,
            (&Method::DELETE, Some(text)) => match self.remove(verdict, kind, &text, request).await {
                Ok(true) => Reply::empty(204),
                Ok(false) => Reply::with(404, json!({})),
                Err(reply) => reply,
            },
            _ => method_not_allowed(),
        }
    }

    /// `POST /api/domains/{type}/{kind}`.
    async fn add_domains(&self, request: &Request, verdict: Verdict, kind: Kind) -> Reply {
        let (comment, names) = match entries(request, kind) {
            Ok(entries) => entries,
            Err(reply) => return reply,
        };
        let mut processed = Processed::default();
        let mut last = String::new();
        for name in names {
            let text = name.to_string();
            last.clone_from(&text);
            if self.rows(&Picked::all(verdict, kind, &text)).is_empty() {
                let added = self.hole.add_domain(verdict, name, comment.clone(), &person(request)).await;
                processed.add(text, added.map_err(|refusal| refusal.message));
            } else {
                let duplicate = "UNIQUE constraint failed: domainlist.domain, domainlist.type";
                processed.add(text, Err(duplicate.into()));
            }
        }
        self.written(201, &Picked::all(verdict, kind, &last), processed)
            .location(&format!("{}/{last}", request.raw_path.trim_end_matches('/')))
    }

    /// `PUT /api/domains/{type}/{kind}/{domain}`: adds it, with another comment or in place of the opposite order.
    async fn replace_domain(&self, request: &Request, verdict: Verdict, kind: Kind, text: String) -> Reply {
        let (comment, name) = match entry(request, kind, &text) {
            Ok(entry) => entry,
            Err(reply) => return reply,
        };
        let moved_from = match request.json().unwrap_or_default().get("type").and_then(Value::as_str) {
            Some("allow") => Some(Verdict::Allow),
            Some("deny") => Some(Verdict::Deny),
            Some(_) | None => None,
        };
        let text = name.to_string();
        let formers = || [Some(verdict), moved_from.filter(|from| *from != verdict)].into_iter().flatten();
        // Both are looked at before one is taken back.
        for former in formers() {
            if let Err(reply) = self.removable(former, kind, &text) {
                return reply;
            }
        }
        for former in formers() {
            if let Err(reply) = self.remove(former, kind, &text, request).await {
                return reply;
            }
        }
        let added = self.hole.add_domain(verdict, name, comment, &person(request)).await;
        let mut processed = Processed::default();
        processed.add(text.clone(), added.map_err(|refusal| refusal.message));
        self.written(200, &Picked::all(verdict, kind, &text), processed)
    }

    /// `POST /api/domains:batchDelete`. All of it is looked at before anything is taken back.
    pub(super) async fn delete_domains(&self, request: &Request) -> Reply {
        let items = match request.json() {
            Ok(Value::Array(items)) if items.len() <= MAX_ITEMS => items,
            Ok(Value::Array(_)) => return too_many(),
            Ok(_) => {
                return Reply::bad_request(
                    "Invalid request: Batch delete requires an array of objects",
                    None,
                );
            }
            Err(reply) => return reply,
        };
        let mut picked = Vec::new();
        for item in &items {
            let word = |key| item.get(key).and_then(Value::as_str);
            let (Some(text), Some(verdict), Some(kind)) = (word("item"), word("type"), word("kind")) else {
                let message = "Invalid request: Batch delete requires an array of objects with \"item\", \"type\" and \"kind\" as string";
                return Reply::bad_request(message, None);
            };
            let Picked { verdict: Some(verdict), kind: Some(kind), .. } = Picked::of(&[verdict, kind]) else {
                let message = "Invalid request: Batch delete requires an valid combination of \"type\" and \"kind\" for each object";
                return Reply::bad_request(message, None);
            };
            if let Err(reply) = self.removable(verdict, kind, text) {
                return reply;
            }
            picked.push((verdict, kind, text));
        }
        let mut any = false;
        for (verdict, kind, text) in picked {
            match self.remove(verdict, kind, text, request).await {
                Ok(removed) => any |= removed,
                Err(reply) => return reply,
            }
        }
        if any { Reply::empty(204) } else { Reply::with(404, json!({})) }
    }

    /// Takes an order back; whether there was one.
    async fn remove(
        &self,
        verdict: Verdict,
        kind: Kind,
        text: &str,
        request: &Request,
    ) -> Result<bool, Reply> {
        match self.removable(verdict, kind, text)? {
            Some(name) => self.hole.remove_domain(verdict, name, &person(request)).await.map_err(Reply::from),
            None => Ok(false),
        }
    }

    /// The name whose order can be taken back, if there may be one.
    fn removable(&self, verdict: Verdict, kind: Kind, text: &str) -> Result<Option<Name>, Reply> {
        let text = text.to_ascii_lowercase();
        let picked = Picked::all(verdict, kind, &text);
        let found: Vec<_> = self.hole.domains().into_iter().filter(|entry| picked.picks(entry)).collect();
        if found.iter().any(|entry| entry.fixed.is_none()) {
            return Ok(text.parse().ok());
        }
        match found.first().and_then(|entry| entry.fixed.as_ref()) {
            Some(place) => Err(Refusal::forbidden(
                format!("{text} stands in the config and cannot be changed from here"),
                format!("change {place}, then `secctl reload`"),
            )
            .into()),
            None => Ok(None),
        }
    }

    fn rows(&self, picked: &Picked) -> Vec<Value> {
        let found = self.hole.domains().into_iter().filter(|entry| picked.picks(entry));
        found.map(|entry| row(&entry)).collect()
    }

    fn written(&self, status: u16, picked: &Picked, processed: Processed) -> Reply {
        Reply::with(status, json!({ "domains": self.rows(picked), "processed": processed.json() }))
    }
}

impl Picked {
    /// Any of type and kind may be left out.
    fn of(rest: &[&str]) -> Self {
        let (verdict, rest) = match rest {
            ["allow", rest @ ..] => (Some(Verdict::Allow), rest),
            ["deny", rest @ ..] => (Some(Verdict::Deny), rest),
            rest => (None, rest),
        };
        let (kind, rest) = match rest {
            ["exact", rest @ ..] => (Some(Kind::Exact), rest),
            ["regex", rest @ ..] => (Some(Kind::Regex), rest),
            rest => (None, rest),
        };
        Self { verdict, kind, text: (!rest.is_empty()).then(|| rest.join("/")) }
    }

    fn all(verdict: Verdict, kind: Kind, text: &str) -> Self {
        Self { verdict: Some(verdict), kind: Some(kind), text: Some(text.to_owned()) }
    }

    fn picks(&self, entry: &Domain) -> bool {
        self.verdict.is_none_or(|verdict| verdict == entry.verdict)
            && self.kind.is_none_or(|kind| kind == entry.kind)
            && self.text.as_ref().is_none_or(|text| text.eq_ignore_ascii_case(&entry.text))
    }
}

/// What became of each name of an order.
#[derive(Default)]
struct Processed {
    success: Vec<Value>,
    errors: Vec<Value>,
}

impl Processed {
    fn add(&mut self, item: String, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => self.success.push(json!({ "item": item })),
            Err(error) => self.errors.push(json!({ "item": item, "error": error })),
        }
    }

    fn json(self) -> Value {
        json!({ "errors": self.errors, "success": self.success })
    }
}

fn row(entry: &Domain) -> Value {
    let comment = match (&entry.comment, &entry.fixed) {
        (Some(comment), _) => Some(comment.clone()),
        (None, Some(place)) => Some(place.clone()),
        (None, None) => None,
    };
    json!({
        "domain": entry.text,
        "unicode": entry.text,
        "type": match entry.verdict { Verdict::Allow => "allow", Verdict::Deny => "deny" },
        "kind": match entry.kind { Kind::Exact => "exact", Kind::Regex => "regex" },
        "comment": comment,
        "groups": entry.groups,
        "enabled": true,
        "id": entry.id,
        "date_added": entry.since.seconds(),
        "date_modified": entry.since.seconds(),
    })
}

/// Comment and names of an order; all of it is looked at before anything is done.
fn entries(request: &Request, kind: Kind) -> Result<(Option<String>, Vec<Name>), Reply> {
    let body = request.json()?;
    let texts: Vec<&str> = match body.get("domain") {
        Some(Value::String(text)) if !text.is_empty() => vec![text],
        Some(Value::Array(texts)) if !texts.is_empty() && texts.iter().all(Value::is_string) => {
            texts.iter().filter_map(Value::as_str).collect()
        }
        Some(_) | None => {
            let message = "Invalid request: No valid \"domain\" in payload (must be either string or array)";
            return Err(Reply::bad_request(message, None));
        }
    };
    if texts.len() > MAX_ITEMS {
        return Err(too_many());
    }
    let comment = said(&body, kind)?;
    Ok((comment, texts.into_iter().map(name).collect::<Result<_, Reply>>()?))
}

/// The same of the one that stands in the path.
fn entry(request: &Request, kind: Kind, text: &str) -> Result<(Option<String>, Name), Reply> {
    Ok((said(&request.json()?, kind)?, name(text)?))
}

fn name(text: &str) -> Result<Name, Reply> {
    if text.contains([' ', '\t', '\n']) {
        let message = "Spaces, newlines and tabs are not allowed in domains and URLs";
        return Err(Reply::bad_request(message, Some(text)));
    }
    let name: Name = text.parse().map_err(|error| {
        let hint = format!("{text}: {error}");
        Reply::bad_request("Invalid domain", Some(&hint))
    })?;
    // To Pi-hole `com` is one name; here it is everything below it.
    let is_suffix = psl::suffix(name.as_str().as_bytes()).is_some_and(|suffix| {
        suffix == name.as_str().as_bytes() && suffix.is_known() && suffix.typ() == Some(psl::Type::Icann)
    });
    if is_suffix {
        let message = format!("{name} is a public suffix, and an entry holds for everything below its name");
        return Err(Refusal::forbidden(
            message,
            "`secctl allow` and `secctl ban` take it, where it is meant",
        )
        .into());
    }
    Ok(name)
}

/// The comment of an order, which asks for nothing that cannot be done.
fn said(body: &Value, kind: Kind) -> Result<Option<String>, Reply> {
    if kind == Kind::Regex || body.get("kind").and_then(Value::as_str) == Some("regex") {
        let message = "Expressions are not written from here";
        return Err(Refusal::forbidden(message, "write `allow` or `deny` of [dns] in secd.toml").into());
    }
    if body.get("enabled") == Some(&Value::Bool(false)) {
        let message = "There are no entries that do nothing";
        return Err(Refusal::forbidden(message, "delete it instead").into());
    }
    let for_some = |groups: &Vec<Value>| groups.iter().any(|group| group.as_u64() != Some(0));
    if body.get("groups").and_then(Value::as_array).is_some_and(for_some) {
        let message = "An entry holds for everybody";
        let hint = "write `allow` or `deny` of [dns.groups.NAME] in secd.toml, or leave `groups` out";
        return Err(Refusal::forbidden(message, hint).into());
    }
    match body.get("comment").and_then(Value::as_str).filter(|comment| !comment.is_empty()) {
        Some(comment) if comment.len() > MAX_COMMENT => {
            let hint = format!("at most {MAX_COMMENT} bytes");
            Err(Reply::bad_request("Invalid request: The comment is too long", Some(&hint)))
        }
        comment => Ok(comment.map(str::to_owned)),
    }
}

fn too_many() -> Reply {
    let hint = format!("at most {MAX_ITEMS}");
    Reply::bad_request("Invalid request: Too many items", Some(&hint))
}
