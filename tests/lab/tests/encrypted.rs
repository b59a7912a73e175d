//! DNS over TLS and HTTPS through the appliance, asked by real clients: kdig, curl, openssl.
#![expect(clippy::unwrap_used, reason = "a test fails where its helpers do")]

use lab::{HOME, IOT, Lab, WAN, Zone, address};
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);
const NAME: &str = "www.lab.example";
const ADDRESS: &str = "203.0.113.1";
const OWN: &str = "dns.home.arpa";

/// What a program in a host of a zone prints.
fn run(lab: &Lab, zone: Zone, program: &str, words: &[&str]) -> String {
    let mut command = lab.network.host(zone).unwrap().command(program);
    let output = command.args(words).stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// What kdig is told over `how`, which it trusts by this certificate.
fn kdig(lab: &Lab, zone: Zone, how: &[&str], trusted: &Path) -> String {
    let (server, trusted) = (format!("@{}", address(HOME.router4)), format!("+tls-ca={}", trusted.display()));
    let own = format!("+tls-hostname={OWN}");
    let start = [server.as_str(), NAME, "A", "+timeout=3", "+retry=0", "+padding", &trusted, &own];
    run(lab, zone, "kdig", &[&start, how].concat())
}

const TLS: [&str; 1] = ["+tls"];
const HTTPS: [&str; 3] = ["+https=/dns-query", "-p", "8443"];
const HTTPS_GET: [&str; 4] = ["+https=/dns-query", "-p", "8443", "+https-get"];

fn troubles(lab: &Lab) -> String {
    lab.appliance.ask(&["status"]).unwrap().json["troubles"].to_string()
}

/// Opens the doors for the zones inside.
fn opened(text: String) -> String {
    let listen = format!("listen_tls = [\"{0}\"]\nlisten_https = [\"{0}:8443\"]\n", address(HOME.router4));
    text.replacen("[dns]\n", &format!("[dns]\n{listen}"), 1)
}

fn allowed(text: String) -> String {
    text.replacen("[\"dns\", \"ping\"]", "[\"dns\", \"ping\", \"dot\", \"tcp/8443\"]", 1)
}

#[test]
fn real_clients_are_answered_by_tls_and_https_and_know_whom_they_ask() {
    let Some(lab) = Lab::for_test("encrypted::clients") else { return };
    let made = lab.appliance.state.join("dns-certificate.pem");
    lab.reload_with(opened);
    assert_eq!(troubles(&lab), "[]");
    assert!(!kdig(&lab, HOME, &TLS, &made).contains(ADDRESS), "no rule lets anybody in");
    lab.reload_with(allowed);
    for how in [&TLS[..], &HTTPS, &HTTPS_GET] {
        for zone in [HOME, IOT] {
            let answer = kdig(&lab, zone, how, &made);
            assert!(answer.contains(ADDRESS) && answer.contains("PADDING"), "{how:?}: {answer}");
        }
        assert!(!kdig(&lab, WAN, how, &made).contains(ADDRESS), "{how:?}");
    }
    let query = "https://dns.home.arpa:8443/dns-query?dns=AAABAAABAAAAAAAAA3d3dwNsYWIHZXhhbXBsZQAAAQAB";
    let to = format!("{OWN}:8443:{}", address(HOME.router4));
    let trusted = made.display().to_string();
    for (version, expected) in
        [("--http2", "200 2 application/dns-message"), ("--http1.1", "200 1.1 application/dns-message")]
    {
        let words =
            ["-sS", version, "--cacert", &trusted, "--resolve", &to, "-o", "/dev/null", "-m", "10", "-w"];
        let said = run(
            &lab,
            HOME,
            "curl",
            &[&words[..], &["%{http_code} %{http_version} %{content_type}", query]].concat(),
        );
        assert_eq!(said, expected);
    }
    let doh_url = format!("https://{OWN}:8443/dns-query");
    let words =
        ["-sS", "-m", "10", "--cacert", &trusted, "--resolve", &to, "--doh-insecure", "--doh-url", &doh_url];
    let said = run(&lab, HOME, "curl", &[&words[..], &["-v", "http://www.lab.example/"]].concat());
    assert!(said.contains(ADDRESS), "{said}");

    // Whoever asks without TLS finds the way (RFC 9462), and what is there has the address it asked.
    let found = run(
        &lab,
        HOME,
        "kdig",
        &[&format!("@{}", address(HOME.router4)), "_dns.resolver.arpa", "TYPE64", "+timeout=3"],
    );
    for part in ["alpn=dot", "port=853", "alpn=h2", "port=8443", "/dns-query{?dns}", address(HOME.router4)] {
        assert!(found.replace('"', "").contains(part), "{part}: {found}");
    }
    let by_address = format!("+tls-hostname={}", address(HOME.router4));
    let (server, trusts) = (format!("@{}", address(HOME.router4)), format!("+tls-ca={trusted}"));
    let answer = run(&lab, HOME, "kdig", &[&server, NAME, "+tls", &trusts, &by_address, "+timeout=3"]);
    assert!(answer.contains(ADDRESS), "{answer}");
    assert!(!kdig(&lab, HOME, &["+tls", "+tls-hostname=other.example"], &made).contains(ADDRESS));

    // Old versions and other protocols find nobody.
    let server = format!("{}:853", address(HOME.router4));
    for words in [&["-tls1_1"][..], &["-alpn", "h2"], &["-cipher", "AES128-SHA", "-tls1_2"]] {
        let said = run(&lab, HOME, "openssl", &[&["s_client", "-connect", &server], words].concat());
        assert!(said.contains("no peer certificate available"), "{words:?}: {said}");
    }
    let said = run(&lab, HOME, "openssl", &["s_client", "-connect", &server, "-alpn", "dot"]);
    assert!(said.contains("ALPN protocol: dot"), "{said}");
    let encrypted = |event: &serde_json::Value| {
        event["kind"] == "query" && event["encrypted"] == true && event["name"] == NAME
    };
    lab.waiter
        .until("the event", SOON, || Ok(lab.appliance.events()?.iter().any(encrypted).then_some(())))
        .unwrap();
}

/// Makes a certificate as a person would; returns the files.
fn make(folder: &Path) -> (String, String) {
    let (chain, key) = (folder.join("own.pem"), folder.join("own.key"));
    let (chain, key) = (chain.display().to_string(), key.display().to_string());
    let made = std::process::Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "30",
        ])
        .args(["-subj", &format!("/CN={OWN}"), "-addext", &format!("subjectAltName=DNS:{OWN}")])
        .args(["-keyout", &key, "-out", &chain])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (chain, key)
}

#[test]
fn a_certificate_of_ones_own_is_taken_when_it_changes_and_a_bad_one_is_told() {
    let Some(mut lab) = Lab::for_test("encrypted::certificate") else { return };
    let made = lab.appliance.state.join("dns-certificate.pem");
    lab.reload_with(|text| allowed(opened(text)));
    assert!(kdig(&lab, HOME, &TLS, &made).contains(ADDRESS));
    let kept = fs::read(&made).unwrap();
    lab.appliance.kill().unwrap();
    lab.appliance.run(&lab.network.router, &lab.waiter).unwrap();
    let again = || Ok(kdig(&lab, HOME, &TLS, &made).contains(ADDRESS).then_some(()));
    lab.waiter.until("the doors", SOON, again).unwrap();
    assert_eq!(fs::read(&made).unwrap(), kept, "the same over a restart");

    let folder = lab.appliance.state.join("certificates");
    fs::create_dir(&folder).unwrap();
    let (chain, key) = make(&folder);
    let given = Path::new(&chain);
    lab.reload_with(|text| {
        text.replacen("[dns]\n", &format!("[dns]\ncertificate = \"{chain}\"\nkey = \"{key}\"\n"), 1)
    });
    assert!(kdig(&lab, HOME, &TLS, given).contains(ADDRESS));
    assert!(!kdig(&lab, HOME, &TLS, &made).contains(ADDRESS), "the other one is not used any more");

    let first = folder.join("first.pem");
    fs::copy(given, &first).unwrap();
    fs::write(given, "<html>").unwrap();
    let told = || Ok(troubles(&lab).contains("the last good one is used").then_some(()));
    lab.waiter.until("the trouble", SOON, told).unwrap();
    assert!(kdig(&lab, HOME, &TLS, &first).contains(ADDRESS));
    make(&folder);
    let renewed = || Ok(kdig(&lab, HOME, &TLS, given).contains(ADDRESS).then_some(()));
    lab.waiter.until("the renewed one", SOON, renewed).unwrap();
    assert_eq!(troubles(&lab), "[]");
}
