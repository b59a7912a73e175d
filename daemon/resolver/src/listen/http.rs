//! DNS over HTTPS (RFC 8484), over HTTP/2 and HTTP/1.1: a message in the body of a POST, or in `?dns=` of a GET.

use data_encoding::BASE64URL_NOPAD;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Bytes, Incoming},
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::{convert::Infallible, io, net::IpAddr, pin::pin, sync::Arc, time::Duration};
use tokio::{
    net::TcpStream,
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_rustls::server::TlsStream;

use crate::{
    Engine, Transport,
    limits::{
        ENCRYPTED_IDLE, HTTP_BODY_TIME, MAX_HTTP_FIELDS, MAX_HTTP_HEADER, MAX_HTTP_RESETS, MAX_HTTP_STREAMS,
        MAX_QUERY, MAX_UNTAKEN,
    },
    wire::walk::freshness,
};

/// Where questions are taken.
const PATH: &str = "/dns-query";
/// What they are (RFC 8484 §6).
const MESSAGE: &str = "application/dns-message";
/// How long a client may go on after it was told that the connection ends.
const CLOSING: Duration = Duration::from_secs(2);
/// Bytes of bodies that a client may send before they are read: of all requests of a connection, and of one.
const WINDOWS: (u32, u32) = (65_535, 8192);

/// One connection.
struct Door {
    engine: Arc<Engine>,
    client: IpAddr,
    /// Room for answers that are not taken yet.
    room: Arc<Semaphore>,
    used: Notify,
}

/// An answer that takes its room until the last of it is written.
struct Untaken {
    answer: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Untaken {
    fn as_ref(&self) -> &[u8] {
        &self.answer
    }
}

/// Answers the requests of a connection until its client is silent for [`ENCRYPTED_IDLE`], or closes.
pub(super) async fn serve(
    engine: &Arc<Engine>,
    stream: TlsStream<TcpStream>,
    client: IpAddr,
) -> io::Result<()> {
    let door = Arc::new(Door {
        engine: Arc::clone(engine),
        client,
        room: Arc::new(Semaphore::new(MAX_UNTAKEN)),
        used: Notify::new(),
    });
    let at_door = Arc::clone(&door);
    let service = service_fn(move |request| {
        let door = Arc::clone(&at_door);
        async move { Ok::<_, Infallible>(door.respond(request).await) }
    });
    let speaks_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let stream = TokioIo::new(stream);
    if speaks_http2 {
        let mut connection = pin!(
            http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .max_concurrent_streams(MAX_HTTP_STREAMS)
                .max_header_list_size(u32::try_from(MAX_HTTP_HEADER).unwrap_or(u32::MAX))
                .max_pending_accept_reset_streams(MAX_HTTP_RESETS)
                .max_local_error_reset_streams(MAX_HTTP_RESETS)
                .initial_connection_window_size(WINDOWS.0)
                .initial_stream_window_size(WINDOWS.1)
                .max_send_buf_size(MAX_UNTAKEN / 8)
                .serve_connection(stream, service)
        );
        tokio::select! {
            ended = connection.as_mut() => return ended.map_err(io::Error::other),
            () = door.idle() => connection.as_mut().graceful_shutdown(),
        }
        timeout(CLOSING, connection).await?.map_err(io::Error::other)
    } else {
        let mut connection = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(ENCRYPTED_IDLE)
                .max_buf_size(MAX_HTTP_HEADER)
                .max_headers(MAX_HTTP_FIELDS)
                .serve_connection(stream, service)
        );
        tokio::select! {
            ended = connection.as_mut() => return ended.map_err(io::Error::other),
            () = door.idle() => connection.as_mut().graceful_shutdown(),
        }
        timeout(CLOSING, connection).await?.map_err(io::Error::other)
    }
}

impl Door {
    /// Returns when no request has come for long.
    async fn idle(&self) {
        while timeout(ENCRYPTED_IDLE, self.used.notified()).await.is_ok() {}
    }

    async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        self.used.notify_one();
        let query = match query(request).await {
            Ok(query) => query,
            Err(status) => return refusal(status),
        };
        let answer = self.engine.answer(&query, self.client, Transport::Encrypted).await;
        let Some(answer) = answer else { return refusal(StatusCode::BAD_REQUEST) };
        let wanted = u32::try_from(answer.len()).unwrap_or(u32::MAX);
        let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(wanted) else {
            return refusal(StatusCode::SERVICE_UNAVAILABLE);
        };
        let age = format!("max-age={}", freshness(&answer));
        let mut response = Response::new(Full::new(Bytes::from_owner(Untaken { answer, _room: room })));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MESSAGE));
        headers.insert(
            CACHE_CONTROL,
            HeaderValue::try_from(age).unwrap_or(HeaderValue::from_static("no-store")),
        );
        response
    }
}

/// The query of a request.
async fn query(request: Request<Incoming>) -> Result<Vec<u8>, StatusCode> {
    if request.uri().path() != PATH {
        return Err(StatusCode::NOT_FOUND);
    }
    match *request.method() {
        Method::GET => from_parameters(request.uri().query().unwrap_or_default()),
        Method::POST => from_body(request).await,
        _ => Err(StatusCode::METHOD_NOT_ALLOWED),
    }
}

fn from_parameters(parameters: &str) -> Result<Vec<u8>, StatusCode> {
    let mut all = parameters.split('&').filter_map(|parameter| parameter.strip_prefix("dns="));
    let (Some(text), None) = (all.next(), all.next()) else { return Err(StatusCode::BAD_REQUEST) };
    if text.len() > BASE64URL_NOPAD.encode_len(MAX_QUERY) {
        return Err(StatusCode::URI_TOO_LONG);
    }
    BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| StatusCode::BAD_REQUEST)
}

async fn from_body(request: Request<Incoming>) -> Result<Vec<u8>, StatusCode> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case(MESSAGE) {
        return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let body = request.into_body();
    if body.size_hint().lower() > MAX_QUERY as u64 {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    match timeout(HTTP_BODY_TIME, Limited::new(body, MAX_QUERY).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes().into()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Ok(Err(_)) => Err(StatusCode::BAD_REQUEST),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}

/// A status, and what to do instead where that is not plain.
fn refusal(status: StatusCode) -> Response<Full<Bytes>> {
    let text = match status {
        StatusCode::NOT_FOUND => "questions are taken at /dns-query\n",
        StatusCode::BAD_REQUEST => {
            "a DNS message is wanted: ?dns= and base64url without padding, or a POST\n"
        }
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "content-type must be application/dns-message\n",
        _ => "",
    };
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, POST"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_stand_in_one_parameter() {
        let decoded = |text: &str| from_parameters(text).map_err(|status| status.as_u16());
        assert_eq!(decoded("dns=AAAB"), Ok(vec![0, 0, 1]));
        assert_eq!(decoded("x=1&dns=_-8"), Ok(vec![0xff, 0xef]));
        for wrong in ["", "dns", "dn=AAAB", "dns=AAAB&dns=AAAB", "dns=AAA=", "dns=+/8", "dns=%41", "dns=A"] {
            assert_eq!(decoded(wrong), Err(400), "{wrong}");
        }
        assert!(decoded(&format!("dns={}", BASE64URL_NOPAD.encode(&[0; MAX_QUERY]))).is_ok());
        assert_eq!(decoded(&format!("dns={}", BASE64URL_NOPAD.encode(&[0; MAX_QUERY + 1]))), Err(414));
    }
}
