//! The control socket: HTTP/1.1 with JSON over a Unix socket. Thin: every answer is made by [`Appliance`].

mod asked;

use axum::{
    Json, Router,
    body::Body,
    extract::{
        ConnectInfo, DefaultBodyLimit, Query, Request, State, rejection::JsonRejection,
        rejection::QueryRejection,
    },
    http::{HeaderValue, StatusCode, header::CONTENT_TYPE},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use model::{QueryFilter, QueryStatsFilter};
use protocol::{
    API_HEADER, API_VERSION, ApplyRequest, AuditQuery, DecisionsQuery, DeviceOrder, DiffRequest,
    DnsPauseOrder, DnsTestQuery, ErrorReply, FlowsQuery, Lift, ListOrder, MAX_CONFIG_BYTES,
    MAX_REQUEST_BYTES, ManyOrder, ModeRequest, Order, Peer, ProgramOrder, SettleRequest, TailQuery, TopQuery,
    UndoOrder, WhyQuery, path,
};
use serde::Serialize;
use shippers::Tailed;
use std::{
    fs, io,
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::Path,
    sync::Arc,
};

use self::asked::{Asked, Caller};
use crate::{appliance::Appliance, decisions::Failure};

/// Connections to `tail` at once. More are refused with 503.
pub const MAX_TAILS: usize = 16;

/// Makes the socket; root and the group may use it. Giving it to the group takes a privilege, so this comes before the
/// sandbox.
///
/// # Errors
/// Another daemon answers there, or it cannot be made.
pub fn listen(socket: &Path, group: Option<u32>) -> io::Result<UnixListener> {
    if let Some(folder) = socket.parent() {
        fs::create_dir_all(folder)?;
    }
    if fs::symlink_metadata(socket).is_ok_and(|metadata| metadata.file_type().is_socket()) {
        if UnixStream::connect(socket).is_ok() {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                format!("another secd answers at {}; stop it first", socket.display()),
            ));
        }
        fs::remove_file(socket)?;
    }
    let listener = UnixListener::bind(socket)?;
    if group.is_some() {
        std::os::unix::fs::chown(socket, None, group)?;
    }
    fs::set_permissions(socket, fs::Permissions::from_mode(0o660))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves until `stop` resolves.
///
/// # Errors
/// The socket failed.
pub async fn serve(
    listener: UnixListener,
    appliance: Arc<Appliance>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let listener = tokio::net::UnixListener::from_std(listener)?;
    let service = router(appliance).into_make_service_with_connect_info::<Caller>();
    axum::serve(listener, service).with_graceful_shutdown(stop).await
}

fn router(appliance: Arc<Appliance>) -> Router {
    Router::new()
        .route(path::STATUS, get(async |State(secd): Of| Json(secd.status().await)))
        .route(path::WHY, get(why))
        .route(path::DECISIONS, get(decisions).post(order))
        .route(path::DECISIONS_MANY, post(order_many).layer(DefaultBodyLimit::max(ManyOrder::MAX_BYTES)))
        .route(path::LIFT, post(lift))
        .route(path::BOUNCERS, get(async |State(secd): Of| Json(secd.bouncers())))
        .route(path::ORDER_BOUNCER, post(order_bouncer))
        .route(path::MACHINES, get(async |State(secd): Of| Json(secd.machines())))
        .route(path::ORDER_MACHINE, post(order_machine))
        .route(path::AUDIT, get(audit))
        .route(path::UNDO, post(undo))
        .route(path::LISTS, get(async |State(secd): Of| Json(secd.lists())))
        .route(path::REFRESH, post(refresh))
        .route(path::ACCEPT, post(accept))
        .route(path::DEVICES, get(async |State(secd): Of| Json(secd.device_rows())).post(order_device))
        .route(path::DNS_GROUPS, get(async |State(secd): Of| Json(secd.dns_groups())))
        .route(path::DNS_CLIENTS, get(async |State(secd): Of| Json(secd.dns_clients())))
        .route(path::DNS_TEST, get(dns_test))
        .route(path::DNS_PAUSE, post(pause))
        .route(path::DNS_QUERIES, get(dns_queries))
        .route(path::DNS_STATS, get(dns_stats))
        .route(path::RULES, get(async |State(secd): Of| Json(secd.rules())))
        .route(path::FLOWS, get(flows))
        .route(path::TOP, get(top))
        .route(path::TAIL, get(tail))
        .route(path::MODE, get(async |State(secd): Of| Json(secd.mode())).post(mode))
        .route(
            path::RELOAD,
            post(async |State(secd): Of, ConnectInfo(caller): ConnectInfo<Caller>| {
                answer(secd.reload(&caller.name("")).await)
            }),
        )
        .route(path::APPLY, get(async |State(secd): Of| Json(secd.trial())).merge(with_config(post(apply))))
        .route(path::DIFF, with_config(post(diff)))
        .route(path::CONFIRM, post(confirm))
        .route(path::REVERT, post(revert))
        .route(path::DETACH, post(async |State(secd): Of| answer(secd.detach().await)))
        .route(path::DOCTOR, get(async |State(secd): Of| Json(secd.diagnosis().await)))
        .route(path::METRICS, get(metrics))
        .fallback(async || {
            failure((404, ErrorReply::new("no such thing in this API", Some("see `secctl --help`"))))
        })
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
        .layer(middleware::from_fn(versioned))
        .with_state(appliance)
}

/// A route whose body may hold a whole config.
fn with_config(route: MethodRouter<Arc<Appliance>>) -> MethodRouter<Arc<Appliance>> {
    route.layer(DefaultBodyLimit::max(MAX_CONFIG_BYTES))
}

type Of = State<Arc<Appliance>>;

async fn why(State(secd): Of, query: Result<Query<WhyQuery>, QueryRejection>) -> Response {
    match query {
        Ok(Query(query)) => answer(secd.why(&query.target)),
        Err(error) => failure((400, ErrorReply::new(error.body_text(), None))),
    }
}

async fn decisions(State(secd): Of, query: Result<Query<DecisionsQuery>, QueryRejection>) -> Response {
    match query {
        Ok(Query(query)) => Json(secd.decisions_in_force(&query)).into_response(),
        Err(error) => failure((400, ErrorReply::new(error.body_text(), None))),
    }
}

async fn flows(State(secd): Of, query: Result<Query<FlowsQuery>, QueryRejection>) -> Response {
    match query {
        Ok(Query(query)) => answer(secd.flows(&query)),
        Err(error) => failure((400, ErrorReply::new(error.body_text(), None))),
    }
}

async fn top(State(secd): Of, query: Result<Query<TopQuery>, QueryRejection>) -> Response {
    match query {
        Ok(Query(query)) => answer(secd.top(&query)),
        Err(error) => failure((400, ErrorReply::new(error.body_text(), None))),
    }
}

async fn order(State(secd): Of, order: Result<Asked<Order>, JsonRejection>) -> Response {
    match order {
        Ok(Asked(order)) => answer(secd.order(order).await),
        Err(error) => unreadable(&error),
    }
}

async fn order_many(State(secd): Of, order: Result<Asked<ManyOrder>, JsonRejection>) -> Response {
    match order {
        Ok(Asked(order)) => answer(secd.order_many(order).await),
        Err(error) => unreadable(&error),
    }
}

async fn audit(State(secd): Of, query: Result<Query<AuditQuery>, QueryRejection>) -> Response {
    match query {
        Ok(Query(query)) => answer(secd.audit(&query).await),
        Err(error) => failure((400, ErrorReply::new(error.body_text(), None))),
    }
}

async fn undo(State(secd): Of, order: Result<Asked<UndoOrder>, JsonRejection>) -> Response {
    match order {
        Ok(Asked(order)) => answer(secd.undo(order).await),
        Err(error) => unreadable(&error),
    }
}

async fn lift(State(secd): Of, lift: Result<Asked<Lift>, JsonRejection>) -> Response {
    match lift {
        Ok(Asked(lift)) => answer(secd.lift(lift).await),
        Err(error) => unreadable(&error),
    }
}

async fn mode(State(secd): Of, mode: Result<Asked<ModeRequest>, JsonRejection>) -> Response {
    match mode {
        Ok(Asked(request)) => answer(secd.set_mode(request.mode, &request.user).await),
        Err(error) => unreadable(&error),
    }
}

async fn apply(State(secd): Of, request: Result<Asked<ApplyRequest>, JsonRejection>) -> Response {
    match request {
        Ok(Asked(request)) => answer(secd.apply_config(request).await),
        Err(error) => unreadable(&error),
    }
}

async fn diff(State(secd): Of, request: Result<Json<DiffRequest>, JsonRejection>) -> Response {
    match request {
        Ok(Json(request)) => answer(secd.diff(request).await),
        Err(error) => unreadable(&error),
    }
}

async fn confirm(State(secd): Of, request: Result<Asked<SettleRequest>, JsonRejection>) -> Response {
    match request {
        Ok(Asked(request)) => answer(secd.confirm(request).await),
        Err(error) => unreadable(&error),
    }
}

async fn revert(State(secd): Of, request: Result<Asked<SettleRequest>, JsonRejection>) -> Response {
    match request {
        Ok(Asked(request)) => answer(secd.revert(request).await),
        Err(error) => unreadable(&error),
    }
}

async fn refresh(State(secd): Of, order: Result<Asked<ListOrder>, JsonRejection>) -> Response {
    match order {
        Ok(Asked(order)) => answer(secd.refresh(order).await),
        Err(error) => unreadable(&error),
    }
}

async fn accept(State(secd): Of, order: Result<Asked<ListOrder>, JsonRejection>) -> Response {
    match order {
        Ok(Asked(order)) => answer(secd.accept(order).await),
        Err(error) => unreadable(&error),
    }
}

async fn order_device(State(secd): Of, order: Result<Asked<DeviceOrder>, JsonRejection>) -> Response {
    match order {
        Ok(Asked(order)) => answer(secd.order_device(order).await),
        Err(error) => unreadable(&error),
    }
}

async fn order_bouncer(State(secd): Of, order: Result<Asked<ProgramOrder>, JsonRejection>) -> Response {
    match order {
        Ok(Asked(order)) => answer(secd.order_bouncer(order).await),
        Err(error) => unreadable(&error),
    }
}

async fn order_machine(State(secd): Of, order: Result<Asked<ProgramOrder>, JsonRejection>) -> Response {
    match order {
        Ok(Asked(order)) => answer(secd.order_machine(order).await),
        Err(error) => unreadable(&error),
    }
}

async fn dns_test(State(secd): Of, query: Result<Query<DnsTestQuery>, QueryRejection>) -> Response {
    match query {
        Ok(Query(query)) => answer(secd.dns_test(query).await),
        Err(error) => failure((400, ErrorReply::new(error.body_text(), None))),
    }
}

async fn dns_queries(State(secd): Of, query: Result<Query<QueryFilter>, QueryRejection>) -> Response {
    match query {
        Ok(Query(filter)) => answer(secd.dns_queries(&filter).await),
        Err(error) => failure((400, ErrorReply::new(error.body_text(), None))),
    }
}

async fn dns_stats(State(secd): Of, query: Result<Query<QueryStatsFilter>, QueryRejection>) -> Response {
    match query {
        Ok(Query(filter)) => answer(secd.dns_stats(&filter).await),
        Err(error) => failure((400, ErrorReply::new(error.body_text(), None))),
    }
}

async fn pause(State(secd): Of, order: Result<Asked<DnsPauseOrder>, JsonRejection>) -> Response {
    match order {
        Ok(Asked(order)) => answer(secd.pause(order).await),
        Err(error) => unreadable(&error),
    }
}

async fn metrics(State(secd): Of) -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], secd.metrics()).into_response()
}

/// Events as JSON lines until either side ends it. A reader that is too slow loses events and is told how many.
async fn tail(State(secd): Of, query: Result<Query<TailQuery>, QueryRejection>) -> Response {
    let filter = match query.map_err(|error| error.body_text()).and_then(|Query(query)| query.filter()) {
        Ok(filter) => filter,
        Err(message) => return failure((400, ErrorReply::new(message, None))),
    };
    let Ok(permit) = Arc::clone(secd.tails()).try_acquire_owned() else {
        let message = format!("{MAX_TAILS} readers follow the events already");
        return failure((503, ErrorReply::new(message, Some("end one of them"))));
    };
    let mut events = secd.tail();
    let (lines, body) = tokio::sync::mpsc::channel::<Result<String, io::Error>>(64);
    tokio::spawn(async move {
        let _permit = permit;
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = lines.closed() => return,
            };
            let line = match event {
                Some(Tailed::Event(event)) if filter.matches(&event) => serde_json::to_string(&*event),
                Some(Tailed::Event(_)) => continue,
                Some(Tailed::Missed(count)) => serde_json::to_string(&crate::appliance::missed(count)),
                None => return,
            };
            let Ok(line) = line else { continue };
            if lines.send(Ok(line + "\n")).await.is_err() {
                return;
            }
        }
    });
    let stream =
        futures_util::stream::unfold(body, async |mut body| body.recv().await.map(|line| (line, body)));
    ([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(stream)).into_response()
}

/// Checks the peer's version and names ours. What was asked is done to its end also when nobody waits for the answer any
/// more: a change of the config is not left half done because a connection broke.
async fn versioned(request: Request, next: Next) -> Response {
    let theirs = request.headers().get(API_HEADER).map(|value| value.to_str().unwrap_or("unreadable"));
    let mut response = match Peer::Command.check(theirs) {
        Ok(()) => tokio::spawn(next.run(request)).await.unwrap_or_else(|error| {
            failure((500, ErrorReply::new(format!("it ended early: {error}"), Some("see the log of secd"))))
        }),
        Err(mismatch) => failure((426, ErrorReply::new(mismatch.to_string(), Some(mismatch.help())))),
    };
    response.headers_mut().insert(API_HEADER, HeaderValue::from(API_VERSION));
    response
}

fn answer<T: Serialize>(result: Result<T, Failure>) -> Response {
    match result {
        Ok(reply) => Json(reply).into_response(),
        Err(failed) => failure(failed),
    }
}

fn unreadable(error: &JsonRejection) -> Response {
    failure((error.status().as_u16(), ErrorReply::new(error.body_text(), None)))
}

fn failure((status, reply): Failure) -> Response {
    (StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), Json(reply)).into_response()
}
