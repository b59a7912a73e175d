//! Streams (RFC 7766): bounded in number, one question after the other.

use std::{net::IpAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    sync::watch,
    time::timeout,
};

use crate::{
    Engine, Transport,
    engine::Scratch,
    limits::{MAX_QUERY, TCP_IDLE},
    quota::Quota,
    stats::count,
};

/// How long a socket that only gives errors is left alone.
const AFTER_ERROR: Duration = Duration::from_millis(50);

pub(super) async fn serve(
    engine: Arc<Engine>,
    listener: TcpListener,
    connections: Arc<Quota>,
    stop: watch::Receiver<bool>,
) {
    loop {
        let (stream, client) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "accepting DNS connections");
                tokio::time::sleep(AFTER_ERROR).await;
                continue;
            }
        };
        if !engine.is_client(client.ip()) {
            count(&engine.counters.refused_clients);
            continue;
        }
        let Some(place) = connections.take(client.ip()) else {
            count(&engine.counters.refused_connections);
            continue;
        };
        let (engine, mut stop) = (Arc::clone(&engine), stop.clone());
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            tokio::select! {
                ended = converse(&engine, stream, client.ip(), Transport::Tcp) => {
                    if let Err(error) = ended {
                        tracing::trace!(%error, "DNS connection");
                    }
                }
                _ = stop.wait_for(|stop| *stop) => {}
            }
            drop(place);
        });
    }
}

/// Answers question after question of one connection, until the client is silent for [`TCP_IDLE`], closes, or sends
/// what cannot be answered. The stream may be an encrypted one.
pub(crate) async fn converse(
    engine: &Arc<Engine>,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    client: IpAddr,
    transport: Transport,
) -> std::io::Result<()> {
    let mut scratch = Scratch::default();
    let mut query = Vec::new();
    loop {
        let read = timeout(TCP_IDLE, async {
            let length = usize::from(stream.read_u16().await?);
            if length > MAX_QUERY {
                return Err(std::io::Error::other("query too long"));
            }
            query.resize(length, 0);
            stream.read_exact(&mut query).await?;
            Ok(())
        });
        read.await??;
        if !engine.answer_with(&query, client, transport, &mut scratch).await {
            return Ok(());
        }
        let length = u16::try_from(scratch.out.len()).map_err(std::io::Error::other)?;
        scratch.out.splice(..0, length.to_be_bytes());
        timeout(TCP_IDLE, stream.write_all(&scratch.out)).await??;
    }
}
