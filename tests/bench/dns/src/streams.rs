//! For information: what an answer costs over connections that stay open, by TCP, TLS and HTTPS.

use anyhow::{Result, ensure};

use crate::{
    client::{free_port, wait_for},
    measure::{Effort, dnsperf},
    names::{self, CACHED},
    report::{Case, Series},
    sides,
};

pub(crate) fn measure(effort: Effort) -> Result<Vec<Case>> {
    ensure!(sides::program("dnsperf").is_some(), "dnsperf is not installed (apt-get install dnsperf)");
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("cached");
    names::write(&file, CACHED, |at| format!("{} A", names::clean("cached", at)))?;
    let [listen, tls, https, upstream_address] = [free_port()?, free_port()?, free_port()?, free_port()?];
    let _upstream = sides::upstream(upstream_address)?;
    let more = ["--tls", &tls.to_string(), "--https", &https.to_string()];
    let running = sides::ours(listen, upstream_address, &more)?;
    wait_for(listen)?;
    dnsperf(&file, listen, 1, &[])?;
    // dnsperf 2.10 loses answers over HTTPS that come together, so it has one question under way a connection there; and
    // it sends a POST in two packets, which waits for Nagle's algorithm.
    let url = "doh-uri=https://localhost/dns-query";
    let ways: [(&str, _, &[&str]); 4] = [
        ("udp", listen, &[]),
        ("tcp", listen, &["-m", "tcp"]),
        ("tls", tls, &["-m", "dot"]),
        ("https", https, &["-q", "8", "-m", "doh", "-O", url, "-O", "doh-method=GET"]),
    ];
    let mut series = [const { (Series::new(), Series::new()) }; 4];
    for _ in 0..effort.rounds {
        for ((_, to, options), (cost, rate)) in ways.iter().zip(&mut series) {
            let before = running.processor()?;
            let asked = dnsperf(&file, *to, effort.seconds, options)?;
            cost.push((running.processor()? - before) / asked.completed * 1e6);
            rate.push(asked.completed / asked.seconds);
        }
    }
    let cases = ways.iter().zip(&series).flat_map(|((way, _, _), (cost, rate))| {
        [
            Case::new(format!("dns/streams/{way}/cached"), "µs", cost),
            Case::new(format!("dns/streams/{way}/cached/rate"), "a second", rate),
        ]
    });
    Ok(cases.collect())
}
