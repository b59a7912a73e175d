//! A connection that carries many questions at a time (RFC 7766 §6.2.1), over TCP or TLS: opened when one is needed,
//! kept while it is used, closed when it is idle, opened anew when it broke.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::limits::{MAX_PIPELINED, UPSTREAM_IDLE};

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

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.queue.same_channel(&other.queue)
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.queue.is_closed()
    }

    /// Answers it has carried. Where there were some, that it is closed now says nothing about the server.
    pub(crate) fn answers(&self) -> u64 {
        self.answers.load(Relaxed)
    }

    /// Sends a query made for an id that is free, and waits for the answer with it.
    pub(crate) async fn exchange(&self, query: impl FnOnce(u16) -> Vec<u8>) -> io::Result<(u16, Vec<u8>)> {
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
        let answer = answer.await.map_err(|_| closed())?;
        self.answers.fetch_add(1, Relaxed);
        Ok((id, answer))
    }
}

/// Writes what is asked. Ends when the stream breaks, or nothing is asked for a while.
async fn send(mut writer: impl AsyncWrite + Unpin, mut questions: mpsc::Receiver<Vec<u8>>) {
    while let Ok(Some(question)) = timeout(UPSTREAM_IDLE, questions.recv()).await {
        let Ok(length) = u16::try_from(question.len()) else { return };
        let frame = [&length.to_be_bytes(), &question[..]].concat();
        if writer.write_all(&frame).await.is_err() || writer.flush().await.is_err() {
            return;
        }
    }
    let _ = writer.shutdown().await;
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
    use std::sync::atomic::AtomicUsize;
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
        assert_eq!(connection.answers(), 2);
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
