//! Our side: the resolver as the daemon starts it, with a list and a sink that throws away.

use anyhow::{Context as _, Result};
use arc_swap::ArcSwap;
use lists::DomainSetBuilder;
use model::Mode;
use resolver::{CacheSettings, ClientNetwork, Query, Resolver, Settings, Sources, UpstreamSettings};
use std::{fs, net::SocketAddr, path::Path, sync::Arc};

/// Serves until it is stopped.
pub(crate) fn run(listen: SocketAddr, upstream: SocketAddr, list: &Path) -> Result<()> {
    let bytes = fs::read(list).with_context(|| format!("read {}", list.display()))?;
    let mut builder = DomainSetBuilder::new(1);
    builder.add("ads", Mode::Enforce, &bytes)?;
    drop(bytes);
    let sources = Sources { lists: Arc::new(ArcSwap::from_pointee(builder.finish())), ..Sources::default() };
    let settings = Settings {
        listen: vec![listen],
        upstreams: UpstreamSettings { servers: vec![upstream.into()], ..UpstreamSettings::default() },
        cache: CacheSettings { entries: 50_000, ..CacheSettings::default() },
        clients: vec![ClientNetwork { net: "127.0.0.0/8".parse()?, zone: "home".into(), resolved: false }],
        ..Settings::default()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let handle = Resolver::start(settings, sources, |_: &Query<'_>| {}).await?;
        std::future::pending::<()>().await;
        handle.shutdown().await;
        Ok(())
    })
}
