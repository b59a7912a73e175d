//! Translation and its ways back, through the packet path: masquerade, a port forward, hairpin, both families.
#![expect(clippy::unwrap_used, reason = "a test fails where its helpers do")]

use lab::{HOME, Lab, SERVICES, VISITOR, WAN, connect};
use std::fs;
use std::time::Duration;

const LIMIT: Duration = Duration::from_millis(1500);
const SOON: Duration = Duration::from_secs(20);
/// Requests of one test: enough that a way back which misses the flow table shows.
const REQUESTS: u64 = 20;

/// Packets from a zone that passed for a reason.
fn passed(lab: &Lab, zone: &str, reason: &str) -> u64 {
    let metrics = lab.appliance.metrics().unwrap();
    let labels = format!("secd_packets_total{{zone=\"{zone}\",verdict=\"pass\",reason=\"{reason}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&labels)).map_or(0, |count| count.parse().unwrap())
}

#[test]
fn answers_to_translated_flows_find_the_flow_table_in_both_families() {
    let Some(lab) = Lab::for_test("nat::masquerade") else { return };
    let home = lab.network.host(HOME).unwrap();
    for server in [format!("{}:80", WAN.host4), format!("[{}]:80", WAN.host6)] {
        let (known, unknown) = (passed(&lab, "wan", "established"), passed(&lab, "wan", "no_state"));
        for _ in 0..REQUESTS {
            assert_eq!(connect(home, None, &server, LIMIT).unwrap(), "HTTP 200", "{server}");
        }
        // Each request brings at least the answer to SYN, one with data, and one to FIN.
        let (known, unknown) =
            (passed(&lab, "wan", "established") - known, passed(&lab, "wan", "no_state") - unknown);
        assert!(
            known >= 3 * REQUESTS,
            "{server}: {known} packets back hit the flow table, {unknown} did not"
        );
        assert!(unknown <= REQUESTS, "{server}: {unknown} packets back missed the flow table");
    }
    let log = lab.directory().join(format!("programs/nginx-{}/access.log", WAN.name));
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("203.0.113.2 ") && !log.contains(HOME.host4), "IPv4 is translated: {log}");
    assert!(log.contains(HOME.host6), "IPv6 is not: {log}");
}

#[test]
fn a_port_forward_leads_inside_from_outside_and_from_inside() {
    let Some(lab) = Lab::for_test("nat::forward") else { return };
    let (outside, home) = (lab.network.host(WAN).unwrap(), lab.network.host(HOME).unwrap());
    let forwarded = "203.0.113.2:8080";
    assert_eq!(connect(outside, Some(VISITOR), forwarded, LIMIT).unwrap(), "no answer");
    let config = &lab.appliance.config;
    let text = fs::read_to_string(config).unwrap();
    let forward = format!(
        "\n[[forwards]]\nname = \"web\"\nservices = [\"tcp/8080\"]\nto = \"{}\"\nport = 3100\nhairpin = true\n",
        SERVICES.host4
    );
    fs::write(config, text.clone() + &forward).unwrap();
    let reply = lab.appliance.ask(&["reload"]).unwrap();
    assert_eq!(reply.code, 0, "{}", reply.text);
    // Whatever the server says: it is the one inside that says it.
    let answers = |result: String| result.starts_with("HTTP ");
    for _ in 0..REQUESTS {
        assert!(answers(connect(outside, Some(VISITOR), forwarded, LIMIT).unwrap()), "from outside");
        assert!(answers(connect(home, None, forwarded, LIMIT).unwrap()), "hairpin");
    }
    // Its answers come in under the inner address and hit the flow table all the same.
    assert!(passed(&lab, "services", "established") >= 3 * REQUESTS);
    let rules = lab.appliance.ask(&["rules"]).unwrap().json;
    let row =
        rules["rules"].as_array().unwrap().iter().find(|rule| rule["action"] == "forward").unwrap().clone();
    assert!(row["packets"].as_u64() > Some(0), "{row}");

    fs::write(config, text).unwrap();
    assert_eq!(lab.appliance.ask(&["reload"]).unwrap().code, 0);
    lab.waiter
        .until("the forward to be gone", SOON, || {
            Ok((connect(outside, Some(VISITOR), forwarded, LIMIT)? == "no answer").then_some(()))
        })
        .unwrap();
}
