//! Asking upstreams: UDP from a fresh connected socket (random port, random id), TCP where the answer is truncated,
//! the next upstream where one does not answer, and a memory of which did not.

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{DNSClass, Name, RecordType},
};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout_at,
};

use crate::{
    limits::{
        ATTEMPT_TIMEOUT, DOWN_FOR, EDNS_PAYLOAD, FAILURES_UNTIL_DOWN, MAX_MISMATCHES, MAX_UDP_ANSWER, ROUNDS,
    },
    stats::UpstreamStatus,
};

struct Question {
    name: Name,
    qtype: RecordType,
    dnssec: bool,
    checking_disabled: bool,
}

/// A question to upstreams.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Name.
    pub name: &'a Name,
    /// Type.
    pub qtype: RecordType,
    /// Class.
    pub class: DNSClass,
    /// The client wants DNSSEC records.
    pub dnssec_ok: bool,
    /// The client wants no validation.
    pub checking_disabled: bool,
    /// Until when an answer is of use.
    pub deadline: Instant,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The answer.
    pub message: Message,
    /// Who said so.
    pub upstream: Arc<str>,
    /// Whether it is known to be true.
    pub validated: Validation,
}

/// What is known of the truth of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validation {
    /// Signed, from the root down.
    Secure,
    /// Proven not to be signed.
    Insecure,
    /// Not looked at.
    Unchecked,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// No upstream has answered; what each did.
    #[error("no upstream answered: {0}")]
    Unreachable(String),
    /// The answer cannot be believed.
    #[error("{cause}")]
    Bogus {
        /// Extended error code.
        ede: u16,
        /// What is wrong.
        cause: String,
        /// The zone for which a negative trust anchor would help.
        anchor: Name,
    },
    /// Too many questions are under way.
    #[error("too many questions wait for upstreams")]
    Overload,
}

/// The upstreams of one version of the settings.
pub(crate) struct Upstreams(Vec<Upstream>);

struct Upstream {
    address: SocketAddr,
    health: Mutex<Health>,
}

#[derive(Clone, Copy, Default)]
struct Health {
    failures: u32,
    down_until: Option<Instant>,
    asked: u64,
    failed: u64,
}

/// Why one attempt brought nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttemptError {
    #[error("timed out")]
    Timeout,
    #[error("{0}")]
    Socket(#[from] std::io::Error),
    #[error("no socket to ask from: {0}")]
    NoSocket(std::io::Error),
    #[error("too many answers to other questions")]
    Mismatches,
    #[error("unreadable answer")]
    Unreadable,
}

impl Upstreams {
    pub(crate) fn new(addresses: &[SocketAddr]) -> Self {
        Self(addresses.iter().map(|&address| Upstream { address, health: Mutex::default() }).collect())
    }

    /// Asks in order of preference and health.
    ///
    /// # Errors
    /// What each upstream did, in words, when none answered in time.
    pub(crate) async fn ask(&self, ask: &Ask<'_>) -> Result<Answered, Trouble> {
        let question = Question {
            name: ask.name.clone(),
            qtype: ask.qtype,
            dnssec: ask.dnssec_ok,
            checking_disabled: ask.checking_disabled,
        };
        let (message, upstream) =
            self.ask_all(&question, ask.deadline).await.map_err(Trouble::Unreachable)?;
        Ok(Answered { message, upstream: upstream.to_string().into(), validated: Validation::Unchecked })
    }

    async fn ask_all(&self, question: &Question, deadline: Instant) -> Result<(Message, SocketAddr), String> {
        let mut troubles: Vec<String> = Vec::new();
        for _ in 0..ROUNDS {
            let mut excuse = None;
            for upstream in self.order(Instant::now()) {
                let until = deadline.min(Instant::now() + ATTEMPT_TIMEOUT);
                if until <= Instant::now() {
                    break;
                }
                match upstream.attempt(question, until).await {
                    Ok(message) => {
                        upstream.note(true);
                        // Not broken, but of no help: another may know more.
                        match message.metadata.response_code {
                            ResponseCode::NoError | ResponseCode::NXDomain => {
                                return Ok((message, upstream.address));
                            }
                            _ => excuse = excuse.or(Some((message, upstream.address))),
                        }
                    }
                    Err(error) => {
                        // Open files that have run out here say nothing about the upstream.
                        if !matches!(error, AttemptError::NoSocket(_)) {
                            upstream.note(false);
                        }
                        let trouble = format!("{} {error}", upstream.address);
                        if !troubles.contains(&trouble) {
                            troubles.push(trouble);
                        }
                    }
                }
            }
            if let Some(excuse) = excuse {
                return Ok(excuse);
            }
        }
        Err(troubles.join(", "))
    }

    /// Those that answer, as configured; then those that did not. One whose time is over is tried again by one
    /// question, the others still go past it.
    fn order(&self, now: Instant) -> Vec<&Upstream> {
        let mut order: Vec<(bool, &Upstream)> = self
            .0
            .iter()
            .map(|upstream| {
                let mut health = upstream.health();
                let down = health.down_until.is_some_and(|until| now < until);
                if !down && health.down_until.is_some() {
                    health.down_until = Some(now + DOWN_FOR);
                }
                (down, upstream)
            })
            .collect();
        order.sort_by_key(|(down, _)| *down);
        order.into_iter().map(|(_, upstream)| upstream).collect()
    }

    pub(crate) fn status(&self) -> Vec<UpstreamStatus> {
        let status = |upstream: &Upstream| {
            let health = *upstream.health();
            UpstreamStatus {
                address: upstream.address,
                up: health.down_until.is_none_or(|until| Instant::now() >= until),
                asked: health.asked,
                failed: health.failed,
            }
        };
        self.0.iter().map(status).collect()
    }
}

impl Upstream {
    fn health(&self) -> std::sync::MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, answered: bool) {
        let mut health = self.health();
        health.asked += 1;
        if answered {
            health.failures = 0;
            health.down_until = None;
        } else {
            health.failed += 1;
            health.failures = health.failures.saturating_add(1);
            if health.failures >= FAILURES_UNTIL_DOWN {
                health.down_until = Some(Instant::now() + DOWN_FOR);
            }
        }
    }

    async fn attempt(&self, question: &Question, until: Instant) -> Result<Message, AttemptError> {
        let until = tokio::time::Instant::from_std(until);
        let query = query(question);
        let id = query.metadata.id;
        let bytes = query.to_vec().map_err(|_| AttemptError::Unreadable)?;
        let message =
            timeout_at(until, self.udp(question, id, &bytes)).await.map_err(|_| AttemptError::Timeout)??;
        if !message.metadata.truncation {
            return Ok(message);
        }
        timeout_at(until, self.tcp(question, id, &bytes)).await.map_err(|_| AttemptError::Timeout)?
    }

    async fn udp(&self, question: &Question, id: u16, bytes: &[u8]) -> Result<Message, AttemptError> {
        let any = match self.address {
            SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        };
        let socket = UdpSocket::bind((any, 0)).await.map_err(AttemptError::NoSocket)?;
        // Connected: the kernel drops what others send, and tells when nobody listens.
        socket.connect(self.address).await?;
        socket.send(bytes).await?;
        let mut buffer = vec![0; MAX_UDP_ANSWER];
        for _ in 0..MAX_MISMATCHES {
            let length = socket.recv(&mut buffer).await?;
            // What is not an answer to this very question may be forged: go on waiting for the true one.
            if let Some(message) = answer(question, id, buffer.get(..length).unwrap_or_default()) {
                return Ok(message);
            }
        }
        Err(AttemptError::Mismatches)
    }

    async fn tcp(&self, question: &Question, id: u16, bytes: &[u8]) -> Result<Message, AttemptError> {
        let mut stream = TcpStream::connect(self.address).await?;
        let length = u16::try_from(bytes.len()).map_err(|_| AttemptError::Unreadable)?;
        stream.write_all(&[&length.to_be_bytes(), bytes].concat()).await?;
        let length = stream.read_u16().await?;
        let mut buffer = vec![0; usize::from(length)];
        stream.read_exact(&mut buffer).await?;
        answer(question, id, &buffer).ok_or(AttemptError::Unreadable)
    }
}

/// The question as it is sent on: random id, our EDNS, the client's DNSSEC wish.
fn query(question: &Question) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.metadata.checking_disabled = question.checking_disabled;
    message.add_query(Query::query(question.name.clone(), question.qtype));
    let mut edns = Edns::new();
    edns.set_max_payload(EDNS_PAYLOAD).set_dnssec_ok(question.dnssec);
    message.set_edns(edns);
    message
}

/// Reads bytes as the answer to `question`: id, kind and question must be the same.
fn answer(question: &Question, id: u16, bytes: &[u8]) -> Option<Message> {
    let (header, _) = bytes.split_first_chunk::<12>()?;
    if u16::from_be_bytes([header[0], header[1]]) != id || u16::from_be_bytes([header[4], header[5]]) != 1 {
        return None;
    }
    let message = Message::from_vec(bytes).ok()?;
    let asked = message.queries.first()?;
    let same = message.metadata.message_type == MessageType::Response
        && message.metadata.op_code == OpCode::Query
        && asked.query_type == question.qtype
        && asked.query_class == DNSClass::IN
        && asked.name == question.name;
    same.then_some(message)
}
