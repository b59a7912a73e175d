//! The Loki receiver, in the services zone, and what it has stored.

use crate::appliance;
use crate::namespace::Namespace;
use crate::process::Process;
use crate::wait::Waiter;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A running receiver.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    namespace: PathBuf,
    _process: Process,
}

impl Receiver {
    /// Starts it in `namespace` on `address`.
    ///
    /// # Errors
    /// It is not built or does not listen.
    pub fn start(
        namespace: &Namespace,
        address: SocketAddr,
        directory: &Path,
        waiter: &Waiter,
    ) -> Result<Self> {
        let port_file = directory.join("loki.port");
        let mut command = namespace.command(appliance::program("loki-receiver")?);
        command.args(["--listen", &address.to_string()]).arg("--port-file").arg(&port_file);
        let mut process = Process::start("loki-receiver", &mut command, directory)?;
        waiter.until("the Loki receiver", Duration::from_secs(10), || {
            process.still_runs()?;
            Ok(port_file.is_file().then_some(()))
        })?;
        Ok(Self { address, namespace: namespace.path(), _process: process })
    }

    /// Where secd pushes to.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything it has stored.
    ///
    /// # Errors
    /// It does not answer.
    pub fn entries(&self) -> Result<Vec<Value>> {
        let (path, address) = (self.namespace.clone(), self.address);
        let body = std::thread::spawn(move || -> Result<String> {
            crate::namespace::enter(&path)?;
            get(address, "/entries")
        })
        .join()
        .map_err(|_| anyhow::anyhow!("the client panicked"))??;
        let json: Value = serde_json::from_str(&body).context("the receiver sent no JSON")?;
        Ok(json.as_array().or_else(|| json["entries"].as_array()).cloned().unwrap_or_default())
    }
}

/// The body of `GET path`, with the connection closed at its end.
fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let text = String::from_utf8(bytes).context("the receiver sent no text")?;
    let (head, body) = text.split_once("\r\n\r\n").context("no end of the headers")?;
    if !head.lines().next().is_some_and(|line| line.contains(" 200")) {
        bail!("the receiver answered {}", head.lines().next().unwrap_or_default());
    }
    Ok(body.to_owned())
}
