//! What an image costs: time to build, bytes, and lookups on this machine (the kernel's are measured by the bench).
//!
//! `cargo run --release -p policy --example measure_image`

#[path = "../tests/image/common.rs"]
mod common;

use abi::{ListValue, ZONE_NONE};
use common::{Chance, KINDS, packet, plan, reference};
use datapath::image::{Question, address, class_of, classify, device, words};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use policy::{Plan, image::compile, to_kernel};
use std::{hint::black_box, net::IpAddr, time::Instant};

fn main() {
    #[expect(clippy::disallowed_methods, reason = "a measurement")]
    let now = Instant::now;
    println!(
        "addresses: v4 + v6 prefixes, seconds to build, MiB, classes, nodes, ns for a class (hit, 65k; miss, 65k)"
    );
    for (v4, v6) in [(1000, 100), (100_000, 10_000), (1_000_000, 100_000)] {
        let mut chance = Chance::new(1);
        let (plan, hits) = lists(v4, v6, &mut chance);
        let start = now();
        let image = match compile(&plan, &[]) {
            Ok(image) => image,
            Err(error) => {
                println!("{v4} + {v6}: {error}");
                continue;
            }
        };
        let built = start.elapsed().as_secs_f64();
        let figures = image.figures;
        let misses: Vec<IpAddr> =
            (0..65_536).map(|_| IpAddr::V4(((chance.next() >> 8) as u32).into())).collect();
        let (hits4, hits6): (Vec<IpAddr>, Vec<IpAddr>) = hits.into_iter().partition(IpAddr::is_ipv4);
        let lookup = |addresses: &[IpAddr]| {
            let keys: Vec<(u64, u64)> = addresses.iter().map(|address| words(&to_kernel(*address))).collect();
            let mut best = f64::MAX;
            for _ in 0..5 {
                let start = now();
                let mut sum = 0u32;
                for (high, low) in &keys {
                    // Each lookup waits for the one before.
                    sum = sum.wrapping_add(class_of(&image.blocks[..], *high, *low ^ u64::from(sum >> 31)));
                }
                black_box(sum);
                best = best.min(start.elapsed().as_nanos() as f64 / keys.len() as f64);
            }
            best
        };
        println!(
            "{v4} + {v6}: {built:.3} s, {:.1} MiB (trie {:.1}), {} classes, {} nodes, v4 hit {:.0}, v6 hit {:.0}, v4 miss {:.0} ns",
            figures.bytes() as f64 / 1048576.0,
            figures.trie_blocks as f64 / 256.0,
            figures.address_classes,
            figures.nodes,
            lookup(&hits4),
            lookup(&hits6),
            lookup(&misses),
        );
    }
    println!("classifier: kind, rows, seconds to build, MiB, classes, cells, rows in the fullest, ns");
    for kind in KINDS {
        for rows in [10, 1000, 10_000] {
            let mut chance = Chance::new(rows as u64);
            let plan = plan(kind, rows, &mut chance);
            let start = now();
            let image = match compile(&plan, &[]) {
                Ok(image) => image,
                Err(error) => {
                    println!("{kind:?} {rows}: {error} ({:.3} s)", start.elapsed().as_secs_f64());
                    continue;
                }
            };
            let built = start.elapsed().as_secs_f64();
            let figures = image.figures;
            let mut wrong = 0;
            let questions: Vec<Question> = (0..65_536)
                .map(|number| {
                    let packet = packet(&plan, &mut chance);
                    let question = Question {
                        from: packet.from,
                        to: packet.to,
                        device: device(&image, &packet.mac.0),
                        protocol: packet.protocol,
                        port: packet.port,
                        source: address(&image, &to_kernel(packet.source)).source,
                        destination: address(&image, &to_kernel(packet.destination)).destination,
                    };
                    let is_right = || classify(&image, &question) == reference(&plan, &packet);
                    wrong += u32::from(number < 1000 && !is_right());
                    question
                })
                .collect();
            let mut best = f64::MAX;
            for _ in 0..5 {
                let start = now();
                let mut zone = ZONE_NONE;
                for question in &questions {
                    let question = Question { from: question.from | zone, ..*question };
                    // Each question waits for the answer before.
                    zone = u8::from(black_box(classify(&image.blocks[..], &question).word()) == 0) << 4;
                }
                black_box(zone);
                best = best.min(start.elapsed().as_nanos() as f64 / questions.len() as f64);
            }
            println!(
                "{kind:?} {rows}: {built:.3} s, {:.2} MiB, {:?}, {} cells, {} rows, {best:.0} ns, {wrong} of 1000 wrong",
                figures.classifier_blocks as f64 / 256.0,
                figures.classes,
                figures.cells,
                figures.rows_in_a_cell,
            );
        }
    }
}

/// Lists like those people use: mostly hosts, some networks, in clusters; and addresses they hold.
fn lists(v4: usize, v6: usize, chance: &mut Chance) -> (Plan, Vec<IpAddr>) {
    let mut listed = Vec::with_capacity(v4 + v6);
    let value = |chance: &mut Chance| ListValue {
        list: chance.below(6) as u16,
        directions: 1 + 2 * u8::from(chance.percent(30)),
        observe: u8::from(chance.percent(10)),
    };
    for _ in 0..v4 {
        let length = *chance.pick(&[32, 32, 32, 32, 32, 32, 32, 24, 24, 28, 29, 22, 20]);
        let net = Ipv4Net::new(((chance.next() >> 8) as u32).into(), length).unwrap_or_default();
        listed.push((IpNet::V4(net.trunc()), value(chance)));
    }
    for _ in 0..v6 {
        let length = *chance.pick(&[128, 64, 64, 56, 48, 48, 48, 32, 29]);
        let high = 0x2000_u128 << 112
            | u128::from(chance.below(0x1000)) << 112
            | u128::from(chance.below(4096)) << 96;
        let bits = high | u128::from(chance.next() >> 32) << 64 | u128::from(chance.below(65_536));
        let net = Ipv6Net::new(bits.into(), length).unwrap_or_default();
        listed.push((IpNet::V6(net.trunc()), value(chance)));
    }
    let hits = (0..131_072).map(|_| chance.pick(&listed).0.addr()).collect();
    listed.sort_unstable();
    listed.dedup_by_key(|(net, _)| *net);
    (Plan { listed: listed.into(), ..Plan::default() }, hits)
}
