//! Asking `secd` over its Unix socket: one request, one connection.

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    Method, Request, Response,
    body::{Bytes, Incoming},
    client::conn::http1,
    header,
};
use hyper_util::rt::TokioIo;
use protocol::{API_HEADER, API_VERSION, ErrorReply, MAX_EVENT_BYTES, MAX_REPLY_BYTES, Peer};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{net::UnixStream, runtime::Runtime, time::timeout};

use crate::failure::Failure;

const IS_IT_RUNNING: &str = "is secd running? see `systemctl status secd`, or name its socket with --socket";
const LOOK_AT_LOG: &str = "see `journalctl -u secd` for what happened to it";

/// A client of one daemon.
#[derive(Debug)]
pub(crate) struct Client {
    socket: PathBuf,
    patience: Duration,
    runtime: Runtime,
}

impl Client {
    /// A client of the daemon that listens on `socket` and answers within `patience`. Connects at each request.
    pub(crate) fn new(socket: &Path, patience: Duration) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { socket: socket.to_owned(), patience, runtime })
    }

    /// `GET path?query`.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str, query: &impl Serialize) -> Result<T, Failure> {
        let query = serde_urlencoded::to_string(query).map_err(|error| unclear(&error))?;
        let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        self.ask(Method::GET, &target, Bytes::new())
    }

    /// `POST path` with `body`.
    pub(crate) fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).map_err(|error| unclear(&error))?;
        self.ask(Method::POST, path, body.into())
    }

    /// `GET path?query`, and hands each line of the answer to `see` until that or the daemon has enough.
    pub(crate) fn follow(
        &self,
        path: &str,
        query: &impl Serialize,
        mut see: impl FnMut(&[u8]) -> Result<ControlFlow<()>, Failure>,
    ) -> Result<(), Failure> {
        let query = serde_urlencoded::to_string(query).map_err(|error| unclear(&error))?;
        self.runtime.block_on(async {
            let target = format!("{path}?{query}");
            let opened = self.send(Method::GET, &target, Bytes::new());
            let response = timeout(self.patience, opened).await.map_err(|_| self.silent())??;
            let mut body = response.into_body();
            let mut rest = Vec::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| cut(&error))?;
                let Ok(data) = frame.into_data() else { continue };
                for piece in data.split_inclusive(|byte| *byte == b'\n') {
                    rest.extend_from_slice(piece);
                    if rest.last() == Some(&b'\n') {
                        if see(rest.trim_ascii_end())?.is_break() {
                            return Ok(());
                        }
                        rest.clear();
                    } else if rest.len() > MAX_EVENT_BYTES {
                        return Err(Failure::Unreachable {
                            message: format!("secd sent a line of more than {MAX_EVENT_BYTES} bytes"),
                            help: LOOK_AT_LOG.into(),
                        });
                    }
                }
            }
            Err(Failure::Unreachable {
                message: "secd has ended the stream".into(),
                help: IS_IT_RUNNING.into(),
            })
        })
    }

    /// Waits between two requests.
    pub(crate) fn rest(&self, time: Duration) {
        self.runtime.block_on(async { tokio::time::sleep(time).await });
    }

    fn ask<T: DeserializeOwned>(&self, method: Method, target: &str, body: Bytes) -> Result<T, Failure> {
        self.runtime.block_on(async {
            let answer = async {
                let response = self.send(method, target, body).await?;
                collect(response).await
            };
            let bytes = timeout(self.patience, answer).await.map_err(|_| self.silent())??;
            serde_json::from_slice(&bytes).map_err(|error| unclear(&error))
        })
    }

    /// Sends a request and returns the answer if it is one of secd, of our version, and a success.
    async fn send(&self, method: Method, target: &str, body: Bytes) -> Result<Response<Incoming>, Failure> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| self.unreachable(&error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| cut(&error))?;
        // An error of the connection comes out where the answer is awaited.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header(header::HOST, "secd")
            .header(header::CONTENT_TYPE, "application/json")
            .header(API_HEADER, API_VERSION)
            .body(Full::new(body))
            .map_err(|error| unclear(&error))?;
        let response = sender.send_request(request).await.map_err(|error| cut(&error))?;
        let version = response.headers().get(API_HEADER).map(|value| value.to_str().unwrap_or_default());
        Peer::Daemon.check(version).map_err(|mismatch| Failure::Unreachable {
            message: mismatch.to_string(),
            help: mismatch.help().into(),
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let bytes = collect(response).await?;
        let reply = serde_json::from_slice::<ErrorReply>(&bytes).unwrap_or_else(|_| {
            ErrorReply::new(format!("secd answered {status} and no reason"), Some(LOOK_AT_LOG))
        });
        Err(Failure::Refused(reply.error))
    }

    fn unreachable(&self, error: &io::Error) -> Failure {
        let socket = self.socket.display();
        let (message, help) = match error.kind() {
            io::ErrorKind::NotFound => (format!("there is no socket {socket}"), IS_IT_RUNNING),
            io::ErrorKind::ConnectionRefused => (format!("nobody listens on {socket}"), IS_IT_RUNNING),
            io::ErrorKind::PermissionDenied => (
                format!("you may not use {socket}"),
                "run this as root, or as a member of the socket's group",
            ),
            _ => (format!("cannot reach secd on {socket}: {error}"), IS_IT_RUNNING),
        };
        Failure::Unreachable { message, help: help.into() }
    }

    fn silent(&self) -> Failure {
        Failure::Unreachable {
            message: format!("secd has not answered for {}", model::duration_text(self.patience)),
            help: LOOK_AT_LOG.into(),
        }
    }
}

/// Reads a whole answer, up to the limit.
async fn collect(response: Response<Incoming>) -> Result<Bytes, Failure> {
    match Limited::new(response.into_body(), MAX_REPLY_BYTES).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Failure::Unreachable {
            message: format!("secd's answer is longer than {MAX_REPLY_BYTES} bytes"),
            help: "ask for less with --limit".into(),
        }),
        Err(error) => Err(cut(&*error)),
    }
}

fn cut(error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::Unreachable {
        message: format!("the connection to secd ended before its answer did ({error})"),
        help: LOOK_AT_LOG.into(),
    }
}

fn unclear(error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::Unreachable {
        message: format!("secd's answer makes no sense ({error})"),
        help:
            "do secd and secctl come from the same package? compare `secctl --version` with `secd --version`"
                .into(),
    }
}
