//! Who asks: the name that the command gives, with the number of the user at the other end of the socket behind it, which
//! the kernel says and nobody can choose.

use axum::{
    Json,
    extract::{ConnectInfo, FromRequest, Request, connect_info::Connected, rejection::JsonRejection},
    serve::IncomingStream,
};
use protocol::{
    ApplyRequest, DeviceOrder, DnsPauseOrder, Lift, ListOrder, ManyOrder, ModeRequest, Order, ProgramOrder,
    SettleRequest, UndoOrder,
};
use serde::de::DeserializeOwned;
use tokio::net::UnixListener;

/// Bytes of a name that are kept.
const MAX_NAME: usize = 40;

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller(Option<u32>);

impl Caller {
    /// `ada (uid 1000)`.
    pub(super) fn name(self, given: &str) -> String {
        let uid = self.0.map_or_else(|| "uid unknown".to_owned(), |uid| format!("uid {uid}"));
        let given = &given[..given.floor_char_boundary(MAX_NAME)];
        if given.is_empty() { uid } else { format!("{given} ({uid})") }
    }
}

impl Connected<IncomingStream<'_, UnixListener>> for Caller {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self(stream.io().peer_cred().ok().map(|peer| peer.uid()))
    }
}

/// A request with whose it is.
pub(super) struct Asked<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Named> FromRequest<S> for Asked<T> {
    type Rejection = JsonRejection;

    async fn from_request(request: Request, state: &S) -> Result<Self, JsonRejection> {
        let caller = request.extensions().get::<ConnectInfo<Caller>>().map_or(Caller(None), |info| info.0);
        let Json(mut asked) = Json::<T>::from_request(request, state).await?;
        let name = asked.user();
        // A request without a name stays one, and is refused where one is needed.
        if !name.is_empty() {
            *name = caller.name(name);
        }
        Ok(Self(asked))
    }
}

/// A request that names who asks.
pub(super) trait Named {
    /// The name.
    fn user(&mut self) -> &mut String;
}

macro_rules! named {
    ($($request:ty),*) => { $(impl Named for $request {
        fn user(&mut self) -> &mut String {
            &mut self.user
        }
    })* };
}

named!(
    ApplyRequest,
    DeviceOrder,
    DnsPauseOrder,
    Lift,
    ListOrder,
    ManyOrder,
    ModeRequest,
    Order,
    ProgramOrder,
    SettleRequest,
    UndoOrder
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_chooses_their_number() {
        assert_eq!(Caller(Some(1000)).name("root (uid 0)"), "root (uid 0) (uid 1000)");
        assert_eq!(Caller(Some(0)).name(""), "uid 0");
        let long = Caller(Some(u32::MAX)).name(&"ü".repeat(100));
        assert!(long.ends_with("ü (uid 4294967295)") && long.len() <= protocol::Order::MAX_USER, "{long}");
    }
}
