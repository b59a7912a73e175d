//! What is subscribed to: where it is, what it holds, how often it is fetched.

use lists::Format;
use model::Name;
use std::{fmt, net::IpAddr, path::PathBuf, time::Duration};
use url::{Host, Url};

use crate::limits::{MAX_LOCATION, MAX_REFRESH, MIN_REFRESH};

/// One subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Its name, unique; the name of its file on disk is made of it.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// Where it is.
    pub location: Location,
    /// Time between two refreshes; held within [`MIN_REFRESH`] and [`MAX_REFRESH`].
    pub refresh: Duration,
    /// `http://` may be used, by redirects too.
    pub insecure: bool,
    /// The host of the location may have an address that is not public. Redirects may lead to such addresses on this
    /// very host only.
    pub private: bool,
    /// User name, and the file with the password, of basic authentication.
    pub basic: Option<(String, PathBuf)>,
    /// Name of a header, and the file with its value (an API key).
    pub header: Option<(String, PathBuf)>,
    /// File with certificate authorities (PEM) besides those of the system.
    pub authorities: Option<PathBuf>,
    /// Minisign public key (the base64 line). The file must be signed with it then.
    pub public_key: Option<String>,
    /// Where the signature is; none = beside the file, with `.minisig` behind.
    pub signature: Option<Location>,
}

/// What a subscription holds. It decides the parser, the limits and the guard.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Names for the resolver.
    Domains {
        /// How they are written.
        format: Format,
        /// Names that no list may block: those of the resolver's own upstreams.
        own: Vec<Name>,
    },
    /// Addresses for the packet path.
    Addresses {
        /// How they are written.
        format: Format,
        /// Least score; none = no scores are looked at.
        min_score: Option<u32>,
    },
    /// Suricata rules.
    Rules,
    /// A GeoIP database (MaxMind DB format).
    GeoIp,
}

impl Subscription {
    /// A subscription with the usual settings: daily, `https` or a file, public addresses only.
    #[must_use]
    pub fn new(name: &str, kind: Kind, location: Location) -> Self {
        Self {
            name: name.into(),
            kind,
            location,
            refresh: Duration::from_secs(24 * 3600),
            insecure: false,
            private: false,
            basic: None,
            header: None,
            authorities: None,
            public_key: None,
            signature: None,
        }
    }

    pub(crate) fn interval(&self) -> Duration {
        self.refresh.clamp(MIN_REFRESH, MAX_REFRESH)
    }

    /// What makes the file on disk this subscription's: another place or another way to read it is another list.
    pub(crate) fn identity(&self) -> String {
        match &self.kind {
            Kind::Domains { format, .. } => format!("{} domains {format}", self.location.0),
            Kind::Addresses { format, min_score } => {
                format!("{} addresses {format} {}", self.location.0, min_score.unwrap_or(0))
            }
            Kind::Rules | Kind::GeoIp => format!("{} {}", self.location.0, self.kind),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Domains { .. } => "domains",
            Self::Addresses { .. } => "addresses",
            Self::Rules => "rules",
            Self::GeoIp => "geoip",
        })
    }
}

/// Where a file is: `https://…`, `http://…` or `file:///…`. What is shown of it has no query, which may hold a key.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Location(Url);

/// Why a text is no location.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no address to fetch from: {0}; write `https://host/path` or `file:///path`")]
pub struct LocationError(String);

impl Location {
    /// The location beside this one with `suffix` at the end of its path.
    #[must_use]
    pub fn with_suffix(&self, suffix: &str) -> Self {
        let mut url = self.0.clone();
        url.set_path(&format!("{}{suffix}", self.0.path()));
        Self(url)
    }

    /// Where a redirect leads.
    pub(crate) fn join(&self, to: &str) -> Result<Self, LocationError> {
        if to.len() > MAX_LOCATION {
            return Err(LocationError(format!("it is longer than {MAX_LOCATION} bytes")));
        }
        let mut url = self.0.join(to).map_err(|error| LocationError(error.to_string()))?;
        url.set_fragment(None);
        let joined = Self::checked(url)?;
        if joined.file().is_some() { Err(LocationError("a redirect to a file".into())) } else { Ok(joined) }
    }

    /// The file, if it is one.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        if self.0.scheme() == "file" { self.0.to_file_path().ok() } else { None }
    }

    /// Whether it goes over TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Name or address of the host, without brackets; empty for a file.
    pub(crate) fn host(&self) -> String {
        match self.0.host() {
            Some(Host::Domain(name)) => name.into(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => String::new(),
        }
    }

    /// The address, where the host is written as one.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        match self.0.host()? {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some(address.into()),
            Host::Ipv6(address) => Some(address.into()),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or(443)
    }

    /// `host[:port]` as it stands in the `Host` header.
    pub(crate) fn authority(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        self.0.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// Path and query.
    pub(crate) fn target(&self) -> String {
        self.0.query().map_or_else(|| self.0.path().to_owned(), |query| format!("{}?{query}", self.0.path()))
    }

    /// Whether secrets for one may go to the other: same scheme, host and port.
    pub(crate) fn same_origin(&self, other: &Self) -> bool {
        self.0.scheme() == other.0.scheme()
            && self.0.host() == other.0.host()
            && self.0.port_or_known_default() == other.0.port_or_known_default()
    }

    fn checked(url: Url) -> Result<Self, LocationError> {
        let wrong = |why: &str| Err(LocationError(why.into()));
        if !url.username().is_empty() || url.password().is_some() {
            return wrong("user and password stand in it; write them as `user` and `password_file`");
        }
        if url.fragment().is_some() {
            return wrong("it has a `#`");
        }
        match url.scheme() {
            "https" | "http" if url.host().is_none() => wrong("there is no host in it"),
            "https" | "http" => Ok(Self(url)),
            "file" if url.query().is_some() || url.to_file_path().is_err() => {
                wrong("no path of this machine")
            }
            "file" => Ok(Self(url)),
            _ => wrong("neither https, http nor file"),
        }
    }
}

impl std::str::FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        if text.len() > MAX_LOCATION {
            return Err(LocationError(format!("it is longer than {MAX_LOCATION} bytes")));
        }
        Self::checked(Url::parse(text).map_err(|error| LocationError(error.to_string()))?)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.scheme() == "file" {
            return write!(f, "file://{}", self.0.path());
        }
        write!(f, "{}://{}{}", self.0.scheme(), self.authority(), self.0.path())?;
        if self.0.query().is_some() { f.write_str("?…") } else { Ok(()) }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations() {
        let read = |text: &str| text.parse::<Location>();
        let location = read("https://lists.example:8443/a%20b.txt?key=secret").unwrap();
        assert_eq!(location.to_string(), "https://lists.example:8443/a%20b.txt?…");
        assert_eq!((location.authority().as_str(), location.port()), ("lists.example:8443", 8443));
        assert_eq!(location.target(), "/a%20b.txt?key=secret");
        assert_eq!(location.with_suffix(".minisig").target(), "/a%20b.txt.minisig?key=secret");
        assert!(!format!("{location:?}").contains("secret"));
        assert_eq!(read("file:///a/b").unwrap().file(), Some(PathBuf::from("/a/b")));
        assert_eq!(
            read("http://0x7f.1/").unwrap().address(),
            Some([127, 0, 0, 1].into()),
            "as every client reads it"
        );
        assert_eq!(read("https://[fd00::9]/").unwrap().host(), "fd00::9");
        for (wrong, why) in [
            ("", "relative URL"),
            ("lists.example/x", "relative URL"),
            ("ftp://lists.example/", "neither https"),
            ("https://user:password@lists.example/", "password_file"),
            ("https://lists.example/#x", "`#`"),
            ("file://other/host", "no path of this machine"),
            (&format!("https://x/{}", "y".repeat(3000)), "longer than"),
        ] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains("password@"), "{wrong}: {error}");
        }
    }

    #[test]
    fn redirects_stay_on_the_web() {
        let from: Location = "https://lists.example/a/b?x=1".parse().unwrap();
        assert_eq!(from.join("c").unwrap().target(), "/a/c");
        assert_eq!(from.join("//other.example/#part").unwrap().to_string(), "https://other.example/");
        assert!(from.join("file:///etc/shadow").is_err());
        assert!(from.join("gopher://x/").is_err());
        assert!(from.join("https://a:b@x/").is_err());
        assert!(from.same_origin(&"https://lists.example:443/".parse().unwrap()));
        assert!(!from.same_origin(&"http://lists.example:443/".parse().unwrap()));
    }
}
