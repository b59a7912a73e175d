//! What rules name beside zones and addresses: countries of a real GeoIP database, and lists that grow too large.
#![expect(clippy::unwrap_used, reason = "a test fails where its helpers do")]

use lab::{ATTACKER, DMZ, Lab, VISITOR, WAN, connect};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const LIMIT: Duration = Duration::from_millis(800);
/// Addresses that have been these countries' for decades: of Deutsche Telekom, and a public resolver.
const GERMAN: [&str; 2] = ["91.12.0.1", "2003::1"];
const AMERICAN: &str = "8.8.8.8";

/// Puts a rule before all others, and more text at the end.
fn with_rule(lab: &Lab, rule: &str, more: &str) {
    lab.reload_with(|text| text.replacen("[[rules]]", &format!("{rule}[[rules]]"), 1) + more);
}

fn refresh(lab: &Lab, name: &str) -> (i32, String) {
    let reply = lab.appliance.ask(&["lists", "refresh", name]).unwrap();
    (reply.code, reply.text)
}

/// What someone from outside gets from the web server.
fn web(lab: &Lab, from: &str) -> String {
    let target = if from.contains(':') { format!("[{}]:80", DMZ.host6) } else { format!("{}:80", DMZ.host4) };
    connect(lab.network.host(WAN).unwrap(), Some(from), &target, LIMIT).unwrap()
}

fn troubles(lab: &Lab) -> String {
    lab.appliance.status().unwrap()["troubles"].to_string()
}

/// The database that `cargo xtask setup` fetches.
fn database() -> Option<PathBuf> {
    let var = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = || var("XDG_CACHE_HOME").or_else(|| Some(var("HOME")?.join(".cache")));
    let path = var("SECD_GEOIP").or_else(|| Some(cache()?.join("secd/geoip/geo-whois-asn-country.mmdb")));
    path.filter(|path| path.is_file())
}

#[test]
fn a_rule_about_a_country_holds_once_the_database_is_there() {
    let Some(real) = database() else {
        eprintln!(
            "SKIP: the_real_database_in_the_lab: no GeoIP database (cargo xtask setup fetches it where there is npm)"
        );
        return;
    };
    let Some(lab) = Lab::for_test("named::country") else { return };
    let outside = lab.network.host(WAN).unwrap();
    for address in [AMERICAN, GERMAN[0]] {
        outside.ip(&["address", "add", &format!("{address}/32"), "dev", "eth0"]).unwrap();
    }
    outside.ip(&["-6", "address", "add", &format!("{}/128", GERMAN[1]), "dev", "eth0", "nodad"]).unwrap();
    let file = lab.directory().join("countries.mmdb");
    let rule =
        "[[rules]]\nfrom = [\"country:DE\"]\nto = [\"dmz\"]\nservices = [\"http\"]\naction = \"drop\"\n\n";
    with_rule(&lab, rule, &format!("\n[geoip]\nurl = \"file://{}\"\n", file.display()));
    assert!(troubles(&lab).contains("has not been fetched yet"), "{}", troubles(&lab));
    for address in [GERMAN[0], GERMAN[1], AMERICAN] {
        assert_eq!(web(&lab, address), "HTTP 200", "{address}");
    }

    fs::copy(real, &file).unwrap();
    let (code, text) = refresh(&lab, "geoip database");
    assert_eq!(code, 0, "{text}");
    assert_eq!(troubles(&lab), "[]");
    for address in GERMAN {
        assert_eq!(web(&lab, address), "no answer", "{address}");
    }
    assert_eq!(web(&lab, AMERICAN), "HTTP 200");
    // The second wall says the same.
    let in_set = |family: &str, address: &str| {
        let element = format!("{{ {address} }}");
        let set = format!("addresses.0.{family}");
        let mut command = lab.network.router.command("nft");
        command.args(["get", "element", "inet", "secd", &set, &element]).output().unwrap().status.success()
    };
    assert!(in_set("v4", GERMAN[0]) && in_set("v6", GERMAN[1]) && !in_set("v4", AMERICAN));

    // A database that is broken later changes nothing.
    fs::write(&file, "no database").unwrap();
    let (code, text) = refresh(&lab, "geoip database");
    assert_eq!(code, 1, "{text}");
    assert_eq!((web(&lab, GERMAN[0]), web(&lab, AMERICAN)), ("no answer".into(), "HTTP 200".into()));
}

fn write_list(file: &Path, lines: impl Iterator<Item = String>) {
    fs::write(file, lines.collect::<Vec<_>>().join("\n") + "\n").unwrap();
}

#[test]
fn a_list_that_outgrows_nftables_stops_nothing_else() {
    let Some(lab) = Lab::for_test("named::too_large") else { return };
    let (office, bad) = (lab.directory().join("office.txt"), lab.directory().join("bad.txt"));
    write_list(&office, std::iter::once(VISITOR.to_owned()));
    write_list(&bad, std::iter::once("192.0.2.1".to_owned()));
    let rule =
        "[[rules]]\nfrom = [\"list:office\"]\nto = [\"dmz\"]\nservices = [\"http\"]\naction = \"drop\"\n\n";
    let list = |name: &str, file: &Path, more: &str| {
        format!(
            "\n[[lists]]\nname = \"{name}\"\nurl = \"file://{}\"\nkind = \"addresses\"\n{more}",
            file.display()
        )
    };
    with_rule(&lab, rule, &(list("office", &office, "block = false\n") + &list("bad", &bad, "")));
    for name in ["office", "bad"] {
        assert_eq!(refresh(&lab, name).0, 0);
    }
    // Secd fetches new lists by itself too: what came that way may still be on its way into force.
    lab.waiter
        .until("the lists", Duration::from_secs(20), || Ok((web(&lab, VISITOR) == "no answer").then_some(())))
        .unwrap();
    assert_eq!(web(&lab, ATTACKER), "HTTP 200");

    // Every second address, so that none merge, and more than nftables takes in time.
    let many = (0..140_000_u32).map(|n| std::net::Ipv4Addr::from(0x5000_0000 + 2 * n).to_string());
    write_list(&office, many);
    let (code, text) = refresh(&lab, "office");
    assert!(code == 1 && text.contains("could be put in force"), "{text}");
    assert!(troubles(&lab).contains("networks in rules, and nft takes 131072"), "{}", troubles(&lab));
    // What it said before stays, and other lists come into force.
    assert_eq!(web(&lab, VISITOR), "no answer");
    write_list(&bad, ["192.0.2.1", ATTACKER].map(str::to_owned).into_iter());
    let refreshed = refresh(&lab, "bad");
    assert!(refreshed.1.contains("2 entries"), "{refreshed:?}");
    lab.waiter
        .until("the other list", Duration::from_secs(20), || {
            Ok((web(&lab, ATTACKER) == "no answer").then_some(()))
        })
        .unwrap();
    assert_eq!(web(&lab, VISITOR), "no answer");

    // Small again.
    write_list(&office, std::iter::once("192.0.2.7".to_owned()));
    refresh(&lab, "office");
    let accepted = lab.appliance.ask(&["lists", "accept", "office"]).unwrap();
    assert_eq!(accepted.code, 0, "{}", accepted.text);
    assert_eq!((web(&lab, VISITOR), web(&lab, ATTACKER)), ("HTTP 200".into(), "no answer".into()));
    assert_eq!(troubles(&lab), "[]");
}
