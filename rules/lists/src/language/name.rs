//! Names in lists, in any script.

use model::{Name, NameError};

/// Names that hosts files hold for the machine itself; they are no entries and no mistakes.
const HOUSEKEEPING: [&str; 14] = [
    "localhost",
    "localhost.localdomain",
    "localhost4",
    "localhost6",
    "local",
    "broadcasthost",
    "ip6-localhost",
    "ip6-loopback",
    "ip6-localnet",
    "ip6-mcastprefix",
    "ip6-allnodes",
    "ip6-allrouters",
    "ip6-allhosts",
    "0.0.0.0",
];

/// Whether hosts files hold this name for the machine itself (`localhost`).
#[must_use]
pub fn is_of_the_machine(text: &str) -> bool {
    HOUSEKEEPING.iter().any(|known| text.eq_ignore_ascii_case(known))
}

/// A name that may stand in a list; none for a name of the machine itself.
pub(crate) fn read(text: &str) -> Result<Option<Name>, String> {
    if is_of_the_machine(text) {
        return Ok(None);
    }
    let name = any(text)?;
    match name.as_str().rsplit_once('.') {
        None => Err("a whole top-level domain: write a name below it".into()),
        Some((_, top)) if top.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err("neither a name nor an address: a top-level domain has letters".into())
        }
        Some(_) => Ok(Some(name)),
    }
}

/// Any name: other scripts become `xn--…` (UTS 46).
pub(crate) fn any(text: &str) -> Result<Name, String> {
    if text.is_ascii() {
        return text.parse().map_err(|error: NameError| error.to_string());
    }
    let ascii = idna::domain_to_ascii(text).map_err(|_| "no name of any script (UTS 46)".to_owned())?;
    ascii.parse().map_err(|error: NameError| error.to_string())
}

/// The name as people of its script write it: `xn--bcher-kva.example` is `bücher.example`. What is no such name, or could
/// be read as another one, stays as it is.
#[must_use]
pub fn unicode(name: &str) -> String {
    if !name.contains("xn--") {
        return name.to_owned();
    }
    let (shown, result) = idna::domain_to_unicode(name);
    let same = result.is_ok() && idna::domain_to_ascii(&shown).is_ok_and(|ascii| ascii == name);
    if same && shown.chars().all(|letter| letter.is_alphanumeric() || matches!(letter, '.' | '-' | '_')) {
        shown
    } else {
        name.to_owned()
    }
}

/// Whether everybody registers names below it (`co.uk`). Suffixes of companies (`blogspot.com`) are domains as others.
pub(crate) fn is_public_suffix(name: &Name) -> bool {
    psl::suffix(name.as_str().as_bytes()).is_some_and(|suffix| {
        suffix == name.as_str().as_bytes() && suffix.is_known() && suffix.typ() == Some(psl::Type::Icann)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_script() {
        assert_eq!(read("bücher.example").unwrap().unwrap().as_str(), "xn--bcher-kva.example");
        assert_eq!(read("BÜCHER.example.").unwrap().unwrap().as_str(), "xn--bcher-kva.example");
        assert_eq!(unicode("xn--bcher-kva.example"), "bücher.example");
        assert_eq!(unicode("xn--a-ecp.example"), "xn--a-ecp.example");
        assert_eq!(unicode("ads.example"), "ads.example");
        assert!(read("a\u{0}ü.example").is_err());
    }
}
