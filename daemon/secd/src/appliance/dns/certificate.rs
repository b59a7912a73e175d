//! The certificate of encrypted DNS: the one of the config, read again when its files change, or one that is made here
//! and kept in the state folder.
//!
//! A certificate that cannot be used changes nothing: the last good one stays, and that is told. Connections that are
//! open are not touched.

use anyhow::{Context, Result, bail};
use arc_swap::ArcSwapOption;
use config::Dns;
use model::Timestamp;
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SerialNumber, date_time_ymd,
};
use resolver::{Certificate, limits::CLOCK_SET_FROM};
use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::IpAddr,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Bytes of a file with certificates or a key; a longer one is refused.
const MAX_FILE: u64 = 256 * 1024;
/// The file of the certificate that is made here, with its key.
const FILE: &str = "dns-certificate.pem";
/// Days for which one is made: as long as devices let one be valid.
const DAYS: i64 = 397;
/// Days before its end at which it is made anew.
const RENEW_DAYS: i64 = 30;
const DAY: i64 = 86_400_000_000;

/// What was read, and when it must be looked at again.
#[derive(Default)]
pub(super) struct Certificates {
    current: Arc<ArcSwapOption<Certificate>>,
    last: Mutex<Option<Look>>,
}

/// A look at where certificates are.
struct Look {
    seen: Seen,
    outcome: Result<(), String>,
}

/// What a look saw; the same again needs no other.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    /// Files as they were.
    Files([Option<Stamp>; 2]),
    /// What one was made for, and until when it is good; none = none was made.
    Made(Wanted, Option<Timestamp>),
}

/// What tells one content of a path from another: device, file, time of change in nanoseconds, bytes.
type Stamp = (u64, u64, i128, u64);

/// Whom a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    name: String,
    addresses: Vec<IpAddr>,
}

impl Certificates {
    /// What handshakes use.
    pub(super) fn current(&self) -> Arc<ArcSwapOption<Certificate>> {
        Arc::clone(&self.current)
    }

    /// Reads, makes or renews what is needed at `now`. To be called again and again; it costs little where nothing
    /// changed. Reads files: not for the runtime's threads.
    ///
    /// # Errors
    /// What is wrong with it; the last good certificate stays.
    pub(super) fn look(&self, dns: &Dns, state_dir: &Path, now: Timestamp) -> Result<(), String> {
        // Where the clock is not set, one is made from that day on, and made anew when it is.
        let now = now.max(Timestamp(i64::try_from(CLOCK_SET_FROM).unwrap_or_default() * 1_000_000));
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if dns.listen_tls.is_empty() && dns.listen_https.is_empty() {
            *last = None;
            self.current.store(None);
            return Ok(());
        }
        if let Some(last) = &*last
            && last.is_the_same(dns, now)
        {
            return last.outcome.clone();
        }
        let (seen, found) = match &dns.certificate {
            Some(given) => {
                // Taken before the files are read: a change in between is another look.
                let seen = Seen::Files([stamp(&given.chain), stamp(&given.key)]);
                (seen, read_given(&given.chain, &given.key))
            }
            None => {
                let wanted = Wanted::of(dns);
                let made = kept_or_made(&state_dir.join(FILE), &wanted, now);
                let until = made.as_ref().ok().map(|(_, until)| *until);
                (Seen::Made(wanted, until), made.map(|(certificate, _)| certificate))
            }
        };
        let outcome = match found {
            Ok(certificate) => {
                let is_for_name = certificate.is_for(dns.name.as_str());
                self.current.store(Some(Arc::new(certificate)));
                if is_for_name {
                    Ok(())
                } else {
                    Err(format!(
                        "the certificate of encrypted DNS is not for {}: devices that look for it by that name do not \
                         trust it; write the certificate's name as `dns.name`",
                        dns.name.as_str()
                    ))
                }
            }
            Err(error) => {
                let instead = match self.current.load().is_some() {
                    true => "the last good one is used",
                    false => "nothing is answered by TLS and HTTPS",
                };
                Err(format!("the certificate of encrypted DNS cannot be used, {instead}: {error:#}"))
            }
        };
        *last = Some(Look { seen, outcome: outcome.clone() });
        outcome
    }
}

impl Look {
    fn is_the_same(&self, dns: &Dns, now: Timestamp) -> bool {
        match (&self.seen, &dns.certificate) {
            (Seen::Files(stamps), Some(given)) => *stamps == [stamp(&given.chain), stamp(&given.key)],
            (Seen::Made(wanted, Some(until)), None) => *wanted == Wanted::of(dns) && !is_due(*until, now),
            // What could not be made or kept is tried again.
            (Seen::Made(..), _) | (Seen::Files(_), None) => false,
        }
    }
}

impl Wanted {
    fn of(dns: &Dns) -> Self {
        // All addresses by which it is asked, the plain ones too: devices that find the encrypted way by asking one of
        // them check that the certificate has it (RFC 9462 §4.2).
        let all = dns.listen.iter().chain(&dns.listen_tls).chain(&dns.listen_https);
        let mut addresses: Vec<IpAddr> =
            all.map(|socket| socket.ip()).filter(|address| !address.is_unspecified()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        Self { name: dns.name.as_str().to_owned(), addresses }
    }

    /// The first line of the file; PEM lets text stand before what it holds (RFC 7468 §2).
    fn line(&self, until: Timestamp) -> String {
        let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        format!("secd made this for {} {}, good until {}", self.name, addresses.join(" "), until.0)
    }
}

/// Near its end, or made by a clock that was ahead.
fn is_due(until: Timestamp, now: Timestamp) -> bool {
    !(RENEW_DAYS * DAY..=(DAYS + 1) * DAY).contains(&(until.0 - now.0))
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    let changed = i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec());
    Some((metadata.dev(), metadata.ino(), changed, metadata.len()))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let opened = File::open(path).with_context(|| path.display().to_string())?;
    opened.take(MAX_FILE + 1).read_to_end(&mut bytes).with_context(|| path.display().to_string())?;
    if bytes.len() as u64 > MAX_FILE {
        bail!("{} has more than {MAX_FILE} bytes", path.display());
    }
    Ok(bytes)
}

fn read_given(chain: &Path, key: &Path) -> Result<Certificate> {
    let (certificates, private) = (read(chain)?, read(key)?);
    Certificate::from_pem(&certificates, &private)
        .with_context(|| format!("{} with {}", chain.display(), key.display()))
}

/// The one that is kept, if it is for whom it should be and not near its end; else a new one. Its key stays the same, so
/// that clients which know it by its key go on knowing it.
fn kept_or_made(path: &Path, wanted: &Wanted, now: Timestamp) -> Result<(Certificate, Timestamp)> {
    let kept = read(path).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    if let Some(text) = &kept
        && let Some((first, pem)) = text.split_once('\n')
        && let Some(until) = first.rsplit(' ').next().and_then(|until| until.parse().ok()).map(Timestamp)
        && first == wanted.line(until)
        && !is_due(until, now)
        && let Ok(certificate) = Certificate::from_pem(pem.as_bytes(), pem.as_bytes())
    {
        return Ok((certificate, until));
    }
    let key = kept.and_then(|text| KeyPair::from_pem(text.get(text.find(KEY)?..)?).ok());
    let key = match key {
        Some(key) => key,
        None => KeyPair::generate().context("make a key")?,
    };
    let (certificate, until) = make(wanted, &key, now)?;
    let pem = format!("{certificate}{}", key.serialize_pem());
    keep(path, &format!("{}\n{pem}", wanted.line(until)))
        .with_context(|| format!("{} cannot be written", path.display()))?;
    Ok((Certificate::from_pem(pem.as_bytes(), pem.as_bytes())?, until))
}

/// How a key begins.
const KEY: &str = "-----BEGIN PRIVATE KEY-----";

/// A certificate that signs itself, as PEM.
fn make(wanted: &Wanted, key: &KeyPair, now: Timestamp) -> Result<(String, Timestamp)> {
    let names = wanted.addresses.iter().map(ToString::to_string);
    let names: Vec<String> = std::iter::once(wanted.name.clone()).chain(names).collect();
    let mut parameters = CertificateParams::new(names).context("names of the certificate")?;
    parameters.distinguished_name.push(DnType::CommonName, wanted.name.as_str());
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // Another one for each, or programs that have seen the former think it forged.
    parameters.serial_number = Some(SerialNumber::from(now.0.unsigned_abs()));
    // From midnight on, so that a clock that is a little behind takes it.
    let from = Timestamp(now.0 - now.0.rem_euclid(DAY));
    let until = Timestamp(from.0 + DAYS * DAY);
    let ((year, month, first), (end_year, end_month, last)) = (day(from)?, day(until)?);
    parameters.not_before = date_time_ymd(year, month, first);
    parameters.not_after = date_time_ymd(end_year, end_month, last);
    let certificate = parameters.self_signed(key).context("sign the certificate")?;
    Ok((certificate.pem(), until))
}

/// The day as a year, a month and a day.
fn day(at: Timestamp) -> Result<(i32, u8, u8)> {
    let date = jiff::Timestamp::from_microsecond(at.0)?.to_zoned(jiff::tz::TimeZone::UTC).date();
    Ok((i32::from(date.year()), date.month().unsigned_abs(), date.day().unsigned_abs()))
}

/// Writes a file that only we may read, in one step.
fn keep(path: &Path, text: &str) -> std::io::Result<()> {
    let fresh: PathBuf = path.with_extension("pem.new");
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_790_000_000_000_000);

    fn dns(more: &str) -> Dns {
        let listen = "listen = ['10.1.0.1']\nlisten_tls = ['10.1.0.1', '[fd00:1::1]:853']\n";
        let text = format!("[dns]\n{listen}{more}");
        config::parse("secd.toml", &text).unwrap().dns
    }

    fn later(days: i64) -> Timestamp {
        Timestamp(NOW.0 + days * DAY)
    }

    #[test]
    fn one_is_made_once_for_name_and_addresses_and_again_before_its_end_with_the_same_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let certificates = Certificates::default();
        let look = |dns: &Dns, now| certificates.look(dns, folder.path(), now);
        assert_eq!(look(&dns(""), NOW), Ok(()));
        let first = fs::read_to_string(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let current = certificates.current.load_full().unwrap();
        for name in ["dns.home.arpa", "10.1.0.1", "fd00:1::1"] {
            assert!(current.is_for(name), "{name}");
        }
        assert!(!current.is_for("10.1.0.2") && !current.is_for("other.home.arpa"));

        assert_eq!(look(&dns(""), later(DAYS - RENEW_DAYS - 1)), Ok(()));
        assert_eq!(
            Certificates::default().look(&dns(""), folder.path(), later(300)),
            Ok(()),
            "after a restart"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), first);

        assert_eq!(look(&dns(""), later(DAYS - RENEW_DAYS + 1)), Ok(()));
        let second = fs::read_to_string(&path).unwrap();
        assert_ne!(second, first);
        let key = |text: &str| text[text.find(KEY).unwrap()..].to_owned();
        assert_eq!(key(&second), key(&first));
        assert_eq!(look(&dns("name = 'ns.home.arpa'\n"), later(370)), Ok(()));
        assert!(certificates.current.load_full().unwrap().is_for("ns.home.arpa"));

        assert_eq!(look(&dns(""), later(1000)), Ok(()));
        let ahead = fs::read_to_string(&path).unwrap();
        assert_eq!(look(&dns(""), NOW), Ok(()));
        assert_ne!(fs::read_to_string(&path).unwrap(), ahead, "made by a clock that was ahead");

        fs::write(&path, "broken").unwrap();
        assert_eq!(
            Certificates::default().look(&dns(""), folder.path(), Timestamp(0)),
            Ok(()),
            "no clock yet"
        );
        assert_eq!(
            Certificates::default().look(&dns(""), folder.path(), NOW),
            Ok(()),
            "and then there is one"
        );
        fs::write(&path, "broken").unwrap();
        assert_eq!(Certificates::default().look(&dns(""), folder.path(), NOW), Ok(()), "made anew");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let error = Certificates::default().look(&dns(""), folder.path(), NOW).unwrap_err();
        assert!(
            error.contains("nothing is answered by TLS") && error.contains("cannot be written"),
            "{error}"
        );
    }

    #[test]
    fn files_are_read_again_when_they_change_and_a_bad_one_leaves_the_last_good_one() {
        let folder = tempfile::tempdir().unwrap();
        let (chain, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
        let dns = dns(&format!("certificate = '{}'\nkey = '{}'\n", chain.display(), key.display()));
        let certificates = Certificates::default();
        let look = || certificates.look(&dns, folder.path(), NOW);
        let error = look().unwrap_err();
        assert!(error.contains("nothing is answered") && error.contains("c.pem"), "{error}");
        let put = |name: &str| {
            let pair = KeyPair::generate().unwrap();
            let wanted = Wanted { name: name.into(), addresses: Vec::new() };
            fs::write(&chain, make(&wanted, &pair, NOW).unwrap().0).unwrap();
            pair.serialize_pem()
        };
        fs::write(&key, put("dns.home.arpa")).unwrap();
        assert_eq!(look(), Ok(()));
        let good = certificates.current.load_full().unwrap();
        assert_eq!(look(), Ok(()));
        assert!(Arc::ptr_eq(&good, &certificates.current.load_full().unwrap()), "not read again");

        // As when a renewal has written one of the two.
        let next = put("dns.home.arpa");
        let error = look().unwrap_err();
        assert!(error.contains("the last good one is used") && error.contains("KeyMismatch"), "{error}");
        assert_eq!(look().unwrap_err(), error, "told until it is mended");
        assert!(Arc::ptr_eq(&good, &certificates.current.load_full().unwrap()));
        fs::write(&key, next).unwrap();
        assert_eq!(look(), Ok(()));
        assert!(!Arc::ptr_eq(&good, &certificates.current.load_full().unwrap()));

        for bad in [&b""[..], b"<html>", &[0xff; 100], &vec![b'-'; 300_000]] {
            fs::write(&chain, bad).unwrap();
            assert!(look().unwrap_err().contains("the last good one is used"));
        }
        fs::write(&key, put("elsewhere.example")).unwrap();
        assert!(look().unwrap_err().contains("not for dns.home.arpa"), "used, and told");
    }
}
