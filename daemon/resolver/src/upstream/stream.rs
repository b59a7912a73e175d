//! A connection that carries many questions at a time (RFC 7766 §6.2.1), over TCP or TLS: opened when one is needed,
//! kept while it is used, closed when it is idle, opened anew when it broke.

use hickory_proto::op::Message;
use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    attempt::AttemptError,
    health::Health,
    limits::{MAX_PIPELINED, UPSTREAM_IDLE},
    question::{Letters, Outgoing, Said},
    slot::{Held, Lost},
};

/// A connection that is open, or was. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Connection {
    queue: mpsc::Sender<Vec<u8>>,
    waiting: Arc<Waiting>,
    answers: Arc<AtomicU64>,
}

#[derive(Default)]
struct Waiting(Mutex<HashMap<u16, oneshot::Sender<Vec<u8>>>>);

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, HashMap<u16, oneshot::Sender<Vec<u8>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// Takes care of an open stream until it is idle for [`UPSTREAM_IDLE`], closed, or nobody holds this any more.
    pub(crate) fn new(
        stream: impl AsyncRead + AsyncWrite + Send + 'static,
        wrong: impl Fn() + Send + 'static,
    ) -> Self {
        let (queue, questions) = mpsc::channel(MAX_PIPELINED);
        let waiting = Arc::<Waiting>::default();
        let carried = Arc::clone(&waiting);
        tokio::spawn(async move {
            let (reader, writer) = tokio::io::split(stream);
            tokio::select! {
                () = send(writer, questions) => {}
                () = receive(reader, &carried, wrong) => {}
            }
            // Those that still wait are told by the loss of their sender.
            carried.lock().clear();
        });
        Self { queue, waiting, answers: Arc::default() }
    }

    /// Asks, and reads the answer; to be called by way of the [`Slot`](super::slot::Slot) that holds this.
    pub(crate) async fn ask(
        self,
        outgoing: &Outgoing,
        padded: bool,
        health: &Health,
    ) -> Result<Message, Lost> {
        let (id, answer) =
            self.exchange(|id| outgoing.to_bytes(id, padded)).await.map_err(|error| match error.kind() {
                io::ErrorKind::WouldBlock => Lost::Unanswered(error.into()),
                _ => Lost::Broken(error.into()),
            })?;
        match outgoing.read(id, Letters::Any, &answer) {
            Ok(Said::Answer(message)) => Ok(message),
            // Truncated without need, or not the answer.
            Ok(Said::Truncated) | Err(_) => {
                health.wrong();
                Err(Lost::Unanswered(AttemptError::Unreadable))
            }
        }
    }

    /// Sends a query made for an id that is free, and waits for the answer with it.
    async fn exchange(&self, query: impl FnOnce(u16) -> Vec<u8>) -> io::Result<(u16, Vec<u8>)> {
        let closed = || io::Error::new(io::ErrorKind::ConnectionAborted, "the connection was closed");
        let (teller, answer) = oneshot::channel();
        let id = {
            let mut waiting = self.waiting.lock();
            if waiting.len() >= MAX_PIPELINED {
                waiting.retain(|_, teller| !teller.is_closed());
            }
            if waiting.len() >= MAX_PIPELINED {
                return Err(io::Error::new(
                    io::ErrorKind::WouldBlock,
                    "too many questions wait on the connection",
                ));
            }
            let id = loop {
                let id: u16 = rand::random();
                if !waiting.contains_key(&id) {
                    break id;
                }
            };
            waiting.insert(id, teller);
            id
        };
        self.queue.send(query(id)).await.map_err(|_| closed())?;
        Ok((id, answer.await.map_err(|_| closed())?))
    }
}

impl Held for Connection {
    fn is_open(&self) -> bool {
        !self.queue.is_closed()
    }

    fn answers(&self) -> &Arc<AtomicU64> {
        &self.answers
    }
}

/// Writes what is asked. Ends when the stream breaks, or nothing is asked or taken for a while.
async fn send(mut writer: impl AsyncWrite + Unpin, mut questions: mpsc::Receiver<Vec<u8>>) {
    while let Ok(Some(question)) = timeout(UPSTREAM_IDLE, questions.recv()).await {
        let Ok(length) = u16::try_from(question.len()) else { return };
        let frame = [&length.to_be_bytes(), &question[..]].concat();
        let write = async {
            writer.write_all(&frame).await?;
            writer.flush().await
        };
        if !matches!(timeout(UPSTREAM_IDLE, write).await, Ok(Ok(()))) {
            return;
        }
    }
    let _ = timeout(UPSTREAM_IDLE, writer.shutdown()).await;
}

/// Hands answers to those who wait; what nobody waits for is counted by `wrong`.
async fn receive(mut reader: impl AsyncRead + Unpin, waiting: &Waiting, wrong: impl Fn()) {
    loop {
        let Ok(length) = reader.read_u16().await else { return };
        let mut answer = vec![0; usize::from(length)];
        if reader.read_exact(&mut answer).await.is_err() {
            return;
        }
        let teller = answer.first_chunk().and_then(|id| waiting.lock().remove(&u16::from_be_bytes(*id)));
        // Late answers are not wrong: somebody waited for them.
        match teller {
            Some(teller) => drop(teller.send(answer)),
            None => wrong(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use tokio::io::duplex;

    async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
        let mut frame = vec![0; stream.read_u16().await.unwrap().into()];
        stream.read_exact(&mut frame).await.unwrap();
        frame
    }

    async fn write(stream: &mut (impl AsyncWrite + Unpin), frame: &[u8]) {
        stream.write_u16(u16::try_from(frame.len()).unwrap()).await.unwrap();
        stream.write_all(frame).await.unwrap();
    }

    #[tokio::test]
    async fn answers_find_their_questions_in_any_order() {
        let (ours, mut theirs) = duplex(4096);
        let strays = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&strays);
        let connection = Connection::new(ours, move || {
            counted.fetch_add(1, Relaxed);
        });
        let server = async {
            let (first, second) = (read(&mut theirs).await, read(&mut theirs).await);
            let stray = loop {
                let id: [u8; 2] = rand::random();
                if id[..] != first[..2] && id[..] != second[..2] {
                    break id;
                }
            };
            for frame in [&[][..], &stray, &second, &second, &first] {
                write(&mut theirs, frame).await;
            }
        };
        let ask = |text: u8| connection.exchange(move |id| [&id.to_be_bytes()[..], &[text]].concat());
        let (one, two, ()) = tokio::join!(ask(1), ask(2), server);
        assert_eq!((one.unwrap().1[2], two.unwrap().1[2]), (1, 2));
        assert_eq!(strays.load(Relaxed), 3, "empty, foreign, duplicate");
        assert!(connection.is_open());
    }

    #[tokio::test]
    async fn a_closed_connection_tells_those_who_wait() {
        let (ours, mut theirs) = duplex(4096);
        let connection = Connection::new(ours, || {});
        let server = async {
            read(&mut theirs).await;
            drop(theirs);
        };
        let (answer, ()) = tokio::join!(connection.exchange(|id| id.to_be_bytes().to_vec()), server);
        assert_eq!(answer.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        connection.queue.closed().await;
        assert!(!connection.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_is_closed() {
        let (ours, mut theirs) = duplex(4096);
        let connection = Connection::new(ours, || {});
        assert!(theirs.read_u16().await.is_err(), "closed by us");
        connection.queue.closed().await;
        assert!(!connection.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_read_is_left() {
        let (ours, theirs) = duplex(1);
        let connection = Connection::new(ours, || {});
        let mut question = Box::pin(connection.exchange(|id| id.to_be_bytes().to_vec()));
        assert!(futures_util::poll!(&mut question).is_pending());
        timeout(UPSTREAM_IDLE * 2, connection.queue.closed()).await.unwrap();
        assert_eq!(question.await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        drop(theirs);
    }

    #[tokio::test]
    async fn a_server_that_never_answers_is_bounded() {
        let (ours, theirs) = duplex(1 << 20);
        let connection = Connection::new(ours, || {});
        let mut asked = Vec::new();
        for _ in 0..MAX_PIPELINED {
            let mut question = Box::pin(connection.exchange(|id| id.to_be_bytes().to_vec()));
            assert!(futures_util::poll!(&mut question).is_pending());
            asked.push(question);
        }
        let full = connection.exchange(|id| id.to_be_bytes().to_vec()).await;
        assert_eq!(full.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        asked.truncate(1);
        let mut next = Box::pin(connection.exchange(|id| id.to_be_bytes().to_vec()));
        assert!(futures_util::poll!(&mut next).is_pending(), "places of those who gave up are free");
        drop(theirs);
    }
}
