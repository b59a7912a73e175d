//! Time of answers that need no upstream, without sockets: `cargo run --release -p resolver --example measure_answers`.

use arc_swap::ArcSwap;
use hickory_proto::{
    op::{Edns, Message, Query as Asked},
    rr::{Name, RecordType},
};
use lists::DomainSetBuilder;
use model::Mode;
use resolver::{ClientNetwork, Engine, Query, Settings, Sources, Transport};
use std::{net::Ipv4Addr, sync::Arc, time::Instant};

fn query(name: &str) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let mut message = Message::query();
    message.add_query(Asked::query(Name::from_ascii(name)?, RecordType::A));
    message.set_edns(Edns::new());
    Ok(message.to_vec()?)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut builder = DomainSetBuilder::new(1);
    builder.add("ads", Mode::Enforce, b"||ads.example^")?;
    let settings = Settings {
        clients: vec![ClientNetwork { net: "127.0.0.0/8".parse()?, zone: "home".into(), resolved: false }],
        ..Settings::default()
    };
    let sources = Sources { lists: Arc::new(ArcSwap::from_pointee(builder.finish())), ..Sources::default() };
    let engine = Arc::new(Engine::new(settings, sources, |_: &Query<'_>| {}));
    for (what, name) in [("sinkhole", "x.ads.example."), ("special", "localhost.")] {
        let (bytes, rounds, started) = (query(name)?, 100_000, Instant::now());
        for _ in 0..rounds {
            engine.answer(&bytes, Ipv4Addr::LOCALHOST.into(), Transport::Udp).await.ok_or("no answer")?;
        }
        engine.tell();
        println!("{what}: {:?} an answer", started.elapsed() / rounds);
    }
    Ok(())
}
