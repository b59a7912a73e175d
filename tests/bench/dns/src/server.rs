//! Our side: the resolver as the daemon starts it, with a list and a sink that throws away.

use anyhow::{Context as _, Result};
use arc_swap::{ArcSwap, ArcSwapOption};
use lists::{DomainSet, DomainSetBuilder};
use model::Mode;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use resolver::{
    CacheSettings, Certificate, ClientNetwork, Query, Rate, Resolver, Settings, Sources, UpstreamSettings,
};
use std::{fs, io::Write as _, net::SocketAddr, path::Path, path::PathBuf, sync::Arc, time::Duration};

/// How it is started.
#[derive(clap::Args)]
pub(crate) struct Options {
    listen: SocketAddr,
    upstream: SocketAddr,
    /// A list; without one nothing is blocked.
    #[arg(long)]
    list: Option<PathBuf>,
    #[arg(long)]
    tls: Option<SocketAddr>,
    #[arg(long)]
    https: Option<SocketAddr>,
    /// Each client has the rate that the config gives it where it says nothing.
    #[arg(long)]
    rate: bool,
}

/// Reads a list as the daemon does.
pub(crate) fn read(path: &Path) -> Result<DomainSet> {
    let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let mut builder = DomainSetBuilder::new(1);
    builder.add("ads", Mode::Enforce, &bytes)?;
    drop(bytes);
    Ok(builder.finish())
}

/// Serves until it is stopped.
pub(crate) fn run(options: &Options) -> Result<()> {
    let list = options.list.as_deref();
    let lists = Arc::new(ArcSwap::from_pointee(list.map(read).transpose()?.unwrap_or_default()));
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()])?;
    let certificate = Certificate::from_pem(cert.pem().as_bytes(), signing_key.serialize_pem().as_bytes())?;
    let sources = Sources {
        lists: Arc::clone(&lists),
        certificate: Arc::new(ArcSwapOption::from_pointee(certificate)),
        ..Sources::default()
    };
    let settings = Settings {
        listen: vec![options.listen],
        listen_tls: options.tls.into_iter().collect(),
        listen_https: options.https.into_iter().collect(),
        upstreams: UpstreamSettings {
            servers: vec![options.upstream.into()],
            // As the others here: the upstream signs nothing.
            dnssec: false,
            ..UpstreamSettings::default()
        },
        cache: CacheSettings { entries: 50_000, ..CacheSettings::default() },
        clients: vec![ClientNetwork { net: "127.0.0.0/8".parse()?, zone: "home".into(), resolved: false }],
        rate: options.rate.then_some(Rate { interval: Duration::from_millis(5), burst: 600 }),
        ..Settings::default()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let _handle = runtime.block_on(Resolver::start(settings, sources, |_: &Query<'_>| {}))?;
    for line in std::io::stdin().lines() {
        line?;
        if let Some(list) = list {
            // As the daemon does: whoever reads lists lets those go first who answer.
            let _ = rustix::process::nice(19);
            lists.store(Arc::new(read(list)?));
        }
        println!("read");
        std::io::stdout().flush()?;
    }
    // Nobody orders anything.
    loop {
        std::thread::park();
    }
}
