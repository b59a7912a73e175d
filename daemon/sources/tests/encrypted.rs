//! Syslog over TLS: rsyslog with GnuTLS and `openssl s_client` send.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::collections::HashMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::{Bench, program, source};
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use sources::{SourceKind, Tls, Transport, Trust};

/// Files of an authority, a listener and a sender.
struct Keys {
    folder: tempfile::TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Keys {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, "the authority of the test");
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        let keys = Self { folder, authority };
        keys.issue("listener");
        keys.issue("sender");
        keys
    }

    fn issue(&self, name: &str) {
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = parameters.signed_by(&key, &self.authority).unwrap();
        std::fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn listen(&self, client_ca: bool) -> (Bench, SocketAddr) {
        let kind = SourceKind::Syslog {
            transport: Transport::Tls,
            listen: "127.0.0.1:0".parse().unwrap(),
            senders: if client_ca { Vec::new() } else { vec!["127.0.0.0/8".parse().unwrap()] },
            tls: Some(Tls {
                chain: self.path("listener.pem"),
                key: self.path("listener.key"),
                client_ca: client_ca.then(|| self.path("ca.pem")),
            }),
        };
        let bench = Bench::start(vec![source("net", kind)], 64, HashMap::new());
        let address = bench.handle.status()[0].listening.unwrap();
        (bench, address)
    }
}

/// Ends a program when the test does.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn s_client(address: SocketAddr, more: &[&str], text: &[u8]) -> Ended {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-quiet", "-connect", &address.to_string()]).args(more);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(text).unwrap();
    // Kept open: the end of its input would end it before the message has left.
    std::mem::forget(input);
    Ended(child)
}

#[tokio::test]
async fn messages_come_through_tls_and_a_renewed_certificate_holds_from_the_next_on() {
    let test = "messages_come_through_tls_and_a_renewed_certificate_holds_from_the_next_on";
    let Some(_) = program(test, "openssl") else { return };
    let keys = Keys::new();
    let (mut bench, address) = keys.listen(false);
    let message = b"53 <38>Nov 23 02:45:00 gate sshd[7]: Invalid user a fromx";
    let first = s_client(address, &[], message);
    let line = bench.line().await;
    assert_eq!(line.bytes, b"Nov 23 02:45:00 gate sshd[7]: Invalid user a from");
    assert_eq!((line.trust, line.sender), (Trust::Tcp, Some("127.0.0.1".parse().unwrap())));
    drop(first);

    std::fs::write(keys.path("listener.pem"), "broken").unwrap();
    let second = s_client(address, &[], b"5 <1>ab");
    assert_eq!(bench.text().await, "ab");
    bench.notice("the last good one is used").await;
    drop(second);
    keys.issue("listener");
    let ca = keys.path("ca.pem").display().to_string();
    let third = s_client(address, &["-CAfile", &ca, "-verify_return_error"], b"5 <1>cd");
    assert_eq!(bench.text().await, "cd");
    bench.until(|status| status.error.is_none()).await;
    drop(third);

    let mut plain = std::net::TcpStream::connect(address).unwrap();
    plain.write_all(b"5 <1>ef\n\n\n\n").unwrap();
    bench.until(|status| status.refused == 1).await;
    assert!(bench.lines.try_recv().is_err());
    bench.handle.stop().await;
}

#[tokio::test]
async fn who_shows_no_certificate_is_not_heard_where_one_is_asked_for() {
    let Some(_) = program("who_shows_no_certificate_is_not_heard_where_one_is_asked_for", "openssl") else {
        return;
    };
    let keys = Keys::new();
    let (mut bench, address) = keys.listen(true);
    let _without = s_client(address, &[], b"5 <1>ab");
    bench.until(|status| status.refused == 1).await;
    let (chain, key) = (keys.path("sender.pem"), keys.path("sender.key"));
    let options = ["-cert", chain.to_str().unwrap(), "-key", key.to_str().unwrap()];
    let _with = s_client(address, &options, b"5 <1>cd");
    assert_eq!(bench.text().await, "cd");
    bench.handle.stop().await;
}

#[tokio::test]
async fn rsyslog_sends_by_tls() {
    let test = "rsyslog_sends_by_tls";
    let gnutls = Path::new("/usr/lib/x86_64-linux-gnu/rsyslog/lmnsd_gtls.so");
    let Some(mut rsyslog) = program(test, "/usr/sbin/rsyslogd") else { return };
    if !gnutls.exists() {
        println!("SKIP: {test}: rsyslog-gnutls is not installed");
        return;
    }
    let keys = Keys::new();
    let (mut bench, address) = keys.listen(true);
    let input = keys.path("input.log");
    std::fs::write(&input, "").unwrap();
    // The snippet of docs/log-sources.md, with the paths of this test.
    let config = format!(
        "global(workDirectory=\"{folder}\" defaultNetstreamDriverCAFile=\"{folder}/ca.pem\"\n\
         defaultNetstreamDriverCertFile=\"{folder}/sender.pem\" defaultNetstreamDriverKeyFile=\"{folder}/sender.key\")\n\
         module(load=\"imfile\" mode=\"polling\" pollingInterval=\"1\")\n\
         input(type=\"imfile\" file=\"{input}\" tag=\"sshd:\" freshStartTail=\"off\")\n\
         action(type=\"omfwd\" target=\"127.0.0.1\" port=\"{port}\" protocol=\"tcp\" tcp_framing=\"octet-counted\"\n\
         streamDriver=\"gtls\" streamDriverMode=\"1\" streamDriverAuthMode=\"x509/certvalid\"\n\
         template=\"RSYSLOG_SyslogProtocol23Format\" queue.type=\"linkedList\" action.resumeRetryCount=\"-1\")\n",
        folder = keys.folder.path().display(),
        input = input.display(),
        port = address.port(),
    );
    let file = keys.path("rsyslog.conf");
    std::fs::write(&file, config).unwrap();
    rsyslog.arg("-n").arg("-f").arg(&file).arg("-i").arg(keys.path("pid"));
    let _running = Ended(rsyslog.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let mut log = std::fs::OpenOptions::new().append(true).open(&input).unwrap();
    log.write_all(b"Failed password for root from 198.51.100.7 port 22 ssh2\n").unwrap();
    loop {
        let text = bench.text().await;
        if text.contains("198.51.100.7") {
            assert!(
                text.ends_with(" sshd: Failed password for root from 198.51.100.7 port 22 ssh2"),
                "{text}"
            );
            break;
        }
    }
    bench.handle.stop().await;
}
