//! The queue between the reader of the kernel's ring and the rules.
//!
//! The reader offers frames and never waits: when the queue is full the frame is lost and counted, and the sink hears
//! of it. The worker is one task; it judges in the order of the queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use abi::FlowKey;
use signatures::RuleSet;
use tokio::sync::mpsc;

use crate::frame::CopiedFrame;
use crate::live::{Finding, LiveInspector};

/// Frames that wait at most. When full, further frames are lost and counted.
pub const QUEUE_FRAMES: usize = 2048;
/// Bytes of waiting frames. When full, further frames are lost and counted.
pub const MAX_QUEUED_BYTES: usize = 2 * 1024 * 1024;
/// Frames judged before other tasks of the thread get their turn.
const BATCH: usize = 32;

/// Who hears of what was found. Called on the worker's task: it must not wait.
pub trait Sink: Send {
    /// A rule has matched.
    fn finding(&mut self, finding: &Finding);
    /// Cut the flow of this tuple.
    fn cut(&mut self, flow: &FlowKey);
    /// Copy nothing more of this tuple.
    fn bypass(&mut self, flow: &FlowKey);
    /// So many frames were lost since the last call, because the queue was full.
    fn lost(&mut self, frames: u64);
}

/// The reader's end of the queue. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Feed {
    sender: mpsc::Sender<Message>,
    load: Arc<Load>,
}

/// The rules' end of the queue; see [`Worker::run`].
#[derive(Debug)]
pub struct Worker<S> {
    receiver: mpsc::Receiver<Message>,
    load: Arc<Load>,
    inspector: LiveInspector,
    sink: S,
}

#[derive(Debug, Default)]
struct Load {
    bytes: AtomicUsize,
    lost: AtomicU64,
}

#[derive(Debug)]
enum Message {
    Frame(CopiedFrame),
    Rules(Arc<RuleSet>),
    BootToWall(i64),
}

/// Makes a queue with an inspector at its end. Spawn [`Worker::run`].
pub fn start<S: Sink>(inspector: LiveInspector, sink: S) -> (Feed, Worker<S>) {
    let (sender, receiver) = mpsc::channel(QUEUE_FRAMES);
    let load = Arc::new(Load::default());
    (Feed { sender, load: Arc::clone(&load) }, Worker { receiver, load, inspector, sink })
}

impl Feed {
    /// Offers a frame. `false`: the queue is full (or the worker has ended) and the frame is lost, and counted.
    pub fn offer(&self, frame: CopiedFrame) -> bool {
        let size = frame.frame.len();
        let before = self.load.bytes.fetch_add(size, Ordering::Relaxed);
        let fits = before + size <= MAX_QUEUED_BYTES;
        if fits && self.sender.try_send(Message::Frame(frame)).is_ok() {
            return true;
        }
        self.load.bytes.fetch_sub(size, Ordering::Relaxed);
        self.load.lost.fetch_add(1, Ordering::Relaxed);
        false
    }

    /// Other rules from now on, in order with the frames. `false`: the worker has ended.
    pub async fn set_rules(&self, rules: Arc<RuleSet>) -> bool {
        self.sender.send(Message::Rules(rules)).await.is_ok()
    }

    /// The distance between boot time and time of day, in microseconds. `false`: the worker has ended.
    pub async fn set_boot_to_wall(&self, micros: i64) -> bool {
        self.sender.send(Message::BootToWall(micros)).await.is_ok()
    }
}

impl<S: Sink> Worker<S> {
    /// Judges frames until every [`Feed`] is dropped; gives the sink back.
    pub async fn run(mut self) -> S {
        let mut batch = Vec::with_capacity(BATCH);
        while self.receiver.recv_many(&mut batch, BATCH).await > 0 {
            for message in batch.drain(..) {
                match message {
                    Message::Frame(frame) => self.frame(&frame),
                    Message::Rules(rules) => self.inspector.set_rules(rules),
                    Message::BootToWall(micros) => self.inspector.set_boot_to_wall(micros),
                }
            }
            let lost = self.load.lost.swap(0, Ordering::Relaxed);
            if lost > 0 {
                self.sink.lost(lost);
            }
            tokio::task::yield_now().await;
        }
        tracing::debug!(counters = ?self.inspector.counters(), "inspection has ended");
        self.sink
    }

    fn frame(&mut self, frame: &CopiedFrame) {
        self.load.bytes.fetch_sub(frame.frame.len(), Ordering::Relaxed);
        let outcome = self.inspector.frame(frame);
        // The verdict first: telling may take longer.
        if let Some(flow) = &outcome.cut {
            self.sink.cut(flow);
        }
        for finding in &outcome.findings {
            tracing::trace!(sid = finding.alert.rule.sid, cut = finding.cut, "signature");
            self.sink.finding(finding);
        }
        if let Some(flow) = &outcome.bypass {
            self.sink.bypass(flow);
        }
    }
}
