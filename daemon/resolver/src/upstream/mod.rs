//! Asking upstreams. The seam to the rest of the resolver is one call:
//!
//! `Upstreams::ask(&Ask) -> Result<Answered, Trouble>`
//!
//! Behind it: whom to ask (`forwards` by the longest suffix, else the servers by order and health), how (`plain`,
//! `encrypted`), what of the answer is taken (`question`, `scrub`), whether it is true (`validate`), and that many who
//! ask the same at the same time are one question (`flights`). Everything is bounded; see [`limits`].

mod attempt;
mod encrypted;
mod flights;
mod health;
pub mod limits;
mod plain;
mod question;
mod scrub;
mod settings;
mod slot;
mod stream;
mod validate;

pub use health::UpstreamStatus;
pub use settings::{Forward, NoRootKeys, NoServer, Order, RootKeys, Roots, Server, UpstreamSettings};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{DNSClass, Name, RecordType},
};
use std::sync::Arc;
use tokio::time::{Instant, timeout_at};

use self::limits::{ATTEMPT_TIMEOUT, MAX_PARALLEL, QUERY_DEADLINE, ROUNDS};
use self::{
    attempt::{Secrets, Upstream},
    flights::{Flights, Key},
    health::arrange,
    question::Outgoing,
    scrub::scrub,
    validate::{Fetch, Validator},
};

/// Seconds since 1970; none while the clock of the machine is not set, as on a router without a battery before NTP has
/// answered.
pub type Clock = Arc<dyn Fn() -> Option<u64> + Send + Sync>;

/// A question to upstreams.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Name, in the letters the answer shall have.
    pub name: &'a Name,
    /// Type.
    pub qtype: RecordType,
    /// Class.
    pub class: DNSClass,
    /// The client wants DNSSEC records. With validation the answer has them anyway.
    pub dnssec_ok: bool,
    /// The client wants no validation (RFC 4035 §3.2.2).
    pub checking_disabled: bool,
    /// Until when an answer is of use.
    pub deadline: Instant,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The chain of aliases from the name to the records asked for; in a negative answer the SOA and what proves it.
    pub message: Message,
    /// Who said so, as in the config.
    pub upstream: Arc<str>,
    /// Whether it is known to be true.
    pub validated: Validation,
}

/// What is known of the truth of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validation {
    /// Signed, from the root down.
    Secure,
    /// Its zone is proven not to be signed, or nothing is demanded of it (negative trust anchor).
    Insecure,
    /// Not looked at: validation is off, not wanted by the client, or the name is forwarded.
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
        /// Extended error code (RFC 8914): 6, 7, 8, 9, 10 or 12.
        ede: u16,
        /// What is wrong, in words.
        cause: String,
        /// The zone for which a negative trust anchor would help.
        anchor: Name,
    },
    /// Too many questions are under way.
    #[error("too many questions wait for upstreams")]
    Overload,
}

/// The upstreams of one version of the settings. Cheap to clone.
#[derive(Clone)]
pub struct Upstreams(Arc<Inner>);

struct Inner {
    dnssec: bool,
    case_randomisation: bool,
    anchors_off: Vec<Name>,
    /// The last is for everything.
    routes: Vec<Route>,
    validator: Validator,
    flights: Flights,
}

/// Who is asked about some names.
struct Route {
    names: Vec<Name>,
    order: Order,
    dnssec: bool,
    servers: Vec<Arc<Upstream>>,
}

impl Upstreams {
    /// Upstreams that were never asked.
    #[must_use]
    pub fn new(settings: &UpstreamSettings, clock: Clock) -> Self {
        let bootstrap = match settings.bootstrap.as_slice() {
            [] => settings.servers.iter().filter_map(Server::plain).collect(),
            bootstrap => bootstrap.to_vec(),
        };
        let secrets = Arc::new(Secrets::new(settings.roots.clone(), Arc::clone(&clock), &bootstrap));
        let route = |names: &[Name], servers: &[Server], order, dnssec| Route {
            names: names.to_vec(),
            order,
            dnssec,
            servers: servers.iter().map(|server| Arc::new(Upstream::new(server, &secrets))).collect(),
        };
        let mut routes: Vec<Route> = settings
            .forwards
            .iter()
            .map(|forward| route(&forward.names, &forward.to, Order::Ordered, forward.dnssec))
            .collect();
        routes.push(route(&[Name::root()], &settings.servers, settings.order, true));
        Self(Arc::new(Inner {
            dnssec: settings.dnssec,
            case_randomisation: settings.case_randomisation,
            anchors_off: settings.negative_trust_anchors.clone(),
            routes,
            validator: Validator::new(settings.root_keys.keys.clone(), clock),
            flights: Flights::default(),
        }))
    }

    /// Asks; together with all who ask the same meanwhile.
    ///
    /// # Errors
    /// No upstream answered in time, the answer is bogus, or too much is under way.
    pub async fn ask(&self, ask: &Ask<'_>) -> Result<Answered, Trouble> {
        let answered = self.0.share(ask, false, None).await?;
        let mut answered = Arc::unwrap_or_clone(answered);
        // Whoever asked first may have used other letters.
        for record in &mut answered.message.answers {
            if record.name == *ask.name {
                record.name.clone_from(ask.name);
            }
        }
        Ok(answered)
    }

    /// How each upstream stands.
    #[must_use]
    pub fn status(&self) -> Vec<UpstreamStatus> {
        let (forwards, general) = self.0.routes.split_at(self.0.routes.len() - 1);
        let status = |upstream: &Upstream, names: &[Name]| UpstreamStatus {
            server: upstream.name.to_string(),
            names: names.iter().map(|name| name.to_string().trim_end_matches('.').to_owned()).collect(),
            ..upstream.health.status()
        };
        general
            .iter()
            .flat_map(|route| route.servers.iter().map(move |upstream| status(upstream, &[])))
            .chain(
                forwards.iter().flat_map(|route| {
                    route.servers.iter().map(move |upstream| status(upstream, &route.names))
                }),
            )
            .collect()
    }
}

/// What is taken of the bytes that an upstream sent for a question: the records that are about it. None where they are no
/// answer to it, or one that is not used. As questions with the letters of `name` are read.
#[must_use]
pub fn read_answer(name: &Name, qtype: RecordType, id: u16, bytes: &[u8]) -> Option<Message> {
    let outgoing = Outgoing::new(name, qtype, DNSClass::IN)?;
    let question::Said::Answer(mut message) = outgoing.read(id, question::Letters::AsSent, bytes).ok()?
    else {
        return None;
    };
    scrub(name, qtype, &mut message).ok()?;
    Some(message)
}

impl Inner {
    /// Asks, or waits with those who do. `raw`: a link of the chain of trust, not itself validated here.
    async fn share(
        self: &Arc<Self>,
        ask: &Ask<'_>,
        raw: bool,
        doubted: Option<&Arc<str>>,
    ) -> Result<Arc<Answered>, Trouble> {
        let key = Key {
            name: ask.name.clone(),
            qtype: ask.qtype,
            class: ask.class,
            dnssec_ok: ask.dnssec_ok,
            checking_disabled: ask.checking_disabled,
            raw,
            doubted: doubted.cloned(),
        };
        let board = || {
            self.flights.board(key.clone(), |key| {
                let (inner, deadline) = (Arc::clone(self), ask.deadline.min(Instant::now() + QUERY_DEADLINE));
                async move { inner.answer(&key, deadline).await.map(Arc::new) }.boxed()
            })
        };
        let wait = async {
            let (flight, was_under_way) = board()?;
            match flight.await {
                // It had only what was left of the time of whoever asked first.
                Err(Trouble::Unreachable(_))
                    if was_under_way && Instant::now() + ATTEMPT_TIMEOUT < ask.deadline =>
                {
                    board()?.0.await
                }
                outcome => outcome,
            }
        };
        timeout_at(ask.deadline, wait)
            .await
            .unwrap_or_else(|_| Err(Trouble::Unreachable("not in the time there was".into())))
    }

    /// A link of the chain of trust. A box ends the recursion of types.
    fn link<'a>(
        self: &'a Arc<Self>,
        ask: Ask<'a>,
        doubted: Option<&'a Arc<str>>,
    ) -> BoxFuture<'a, Result<Arc<Answered>, Trouble>> {
        async move { self.share(&ask, true, doubted).await }.boxed()
    }

    async fn answer(self: &Arc<Self>, key: &Key, deadline: Instant) -> Result<Answered, Trouble> {
        let mut route = self.route(&key.name);
        if key.qtype == RecordType::DS && route.dnssec {
            // It is in the zone above, which others may be asked about.
            route = self.route(&key.name.base_name());
        }
        let validates = self.validates(route, key);
        let mut outgoing = Outgoing::new(&key.name, key.qtype, key.class)
            .ok_or_else(|| Trouble::Unreachable(format!("{} cannot be written", key.name)))?;
        outgoing.dnssec_ok = key.dnssec_ok || key.raw || validates;
        // What an upstream thinks bogus is judged here; only so can a negative trust anchor help (RFC 6840 §5.9).
        outgoing.checking_disabled = key.checking_disabled || key.raw || (self.dnssec && route.dnssec);
        outgoing.is_link = key.raw;
        if self.case_randomisation {
            outgoing.randomise_case();
        }
        // Who was not believed, and why.
        let mut doubted: Option<(Arc<str>, Trouble)> = None;
        loop {
            let not = doubted.as_ref().map(|(upstream, _)| upstream).or(key.doubted.as_ref());
            let (message, upstream) = match (route.ask(&outgoing, not, deadline).await, &doubted) {
                // The others are of no help: what is wrong is what is known.
                (Err(_), Some((_, trouble))) => return Err(trouble.clone()),
                (Ok((message, _)), Some((_, trouble))) if is_excuse(&message) => return Err(trouble.clone()),
                (asked, _) => asked?,
            };
            let fetch = Chain { inner: self, doubted: not, deadline };
            match self.believe(key, validates, message, &upstream, &fetch).await {
                // One upstream that lies or cuts signatures out does not speak for the others.
                Err(trouble @ Trouble::Bogus { .. }) if doubted.is_none() && route.servers.len() > 1 => {
                    route
                        .servers
                        .iter()
                        .filter(|server| server.name == upstream)
                        .for_each(|server| server.health.wrong());
                    doubted = Some((upstream, trouble));
                }
                Err(trouble) => return Err(trouble),
                Ok((message, validated)) => return Ok(Answered { message, upstream, validated }),
            }
        }
    }

    /// Takes of an answer what is about the question, and judges it.
    async fn believe(
        self: &Arc<Self>,
        key: &Key,
        validates: bool,
        mut message: Message,
        upstream: &str,
        fetch: &Chain<'_>,
    ) -> Result<(Message, Validation), Trouble> {
        let end = scrub(&key.name, key.qtype, &mut message).map_err(|_| {
            Trouble::Unreachable(format!("{upstream} answers {} with endless aliases", key.name))
        })?;
        let validated = if validates {
            timeout_at(fetch.deadline, self.validator.validate(key.qtype, &end, &mut message, fetch))
                .await
                .unwrap_or_else(|_| Err(Trouble::Unreachable("the chain of trust took too long".into())))?
        } else if self.is_exempt(&key.name) {
            Validation::Insecure
        } else {
            Validation::Unchecked
        };
        Ok((message, validated))
    }

    fn validates(&self, route: &Route, key: &Key) -> bool {
        self.dnssec
            && route.dnssec
            && !key.raw
            && !key.checking_disabled
            && key.class == DNSClass::IN
            // Signatures are not signed (RFC 4035 §2.2), and ANY is answered with whatever there is.
            && !matches!(key.qtype, RecordType::RRSIG | RecordType::ANY)
            && !self.is_exempt(&key.name)
    }

    fn is_exempt(&self, name: &Name) -> bool {
        self.anchors_off.iter().any(|anchor| anchor.zone_of(name))
    }

    /// The route with the longest suffix that fits.
    fn route(&self, name: &Name) -> &Route {
        let length = |route: &Route| {
            let fits = route.names.iter().filter(|suffix| suffix.zone_of(name));
            fits.map(|suffix| suffix.iter().count()).max()
        };
        let best = self.routes.iter().max_by_key(|route| length(route));
        // The last one has the root, which everything is below.
        best.unwrap_or(&self.routes[self.routes.len() - 1])
    }
}

impl Route {
    /// Asks the servers as ordered, but not the doubted one where there are others, until one gives an answer that
    /// helps.
    async fn ask(
        &self,
        outgoing: &Outgoing,
        doubted: Option<&Arc<str>>,
        deadline: Instant,
    ) -> Result<(Message, Arc<str>), Trouble> {
        let mut troubles = Troubles::default();
        let now = Instant::now();
        self.probe(now);
        let glances: Vec<_> = self.servers.iter().map(|upstream| upstream.health.glance()).collect();
        let order: Vec<&Arc<Upstream>> = arrange(self.order, &glances, rand::random())
            .into_iter()
            .filter_map(|place| self.servers.get(place))
            .filter(|upstream| self.servers.len() == 1 || doubted != Some(&upstream.name))
            .collect();
        let mut at_once = match self.order {
            Order::Parallel => {
                order.iter().filter(|upstream| upstream.health.glance().up).count().clamp(1, MAX_PARALLEL)
            }
            Order::Ordered | Order::Fastest => 1,
        };
        let mut left = order.iter().cycle().take(order.len() * ROUNDS);
        if at_once == 1 {
            // One after the other, as most are: without the cost of a race.
            for upstream in left {
                let until = deadline.min(Instant::now() + ATTEMPT_TIMEOUT);
                let result = upstream.ask(outgoing, until).await;
                if let Some(message) = troubles.take(result, outgoing, &upstream.name, order.len()) {
                    return Ok((message, Arc::clone(&upstream.name)));
                }
                if troubles.all_excused || Instant::now() >= deadline {
                    break;
                }
            }
            return troubles.end();
        }
        let mut racing = FuturesUnordered::new();
        loop {
            while racing.len() < at_once
                && let Some(upstream) = left.next()
            {
                let until = deadline.min(Instant::now() + ATTEMPT_TIMEOUT);
                let (upstream, outgoing) = (Arc::clone(upstream), outgoing.clone());
                racing.push(async move {
                    let result = upstream.ask(&outgoing, until).await;
                    (upstream, result)
                });
            }
            at_once = at_once.min(racing.len()).max(1);
            let Some((upstream, result)) = racing.next().await else { break };
            if let Some(message) = troubles.take(result, outgoing, &upstream.name, order.len()) {
                if !racing.is_empty() {
                    // Too late for this question, but it shows how they stand, and keeps their connections.
                    tokio::spawn(async move { while racing.next().await.is_some() {} });
                }
                return Ok((message, Arc::clone(&upstream.name)));
            }
            if troubles.all_excused || Instant::now() >= deadline {
                break;
            }
        }
        troubles.end()
    }

    /// Tries silent upstreams again in the background, so that nobody waits for them.
    fn probe(&self, now: Instant) {
        for upstream in self.servers.iter().filter(|upstream| upstream.health.wants_probe(now)) {
            let upstream = Arc::clone(upstream);
            tokio::spawn(async move {
                if let Some(outgoing) = Outgoing::new(&Name::root(), RecordType::NS, DNSClass::IN) {
                    let _ = upstream.ask(&outgoing, now + ATTEMPT_TIMEOUT).await;
                }
            });
        }
    }
}

/// Whether an upstream says neither what there is nor that there is nothing.
fn is_excuse(message: &Message) -> bool {
    !matches!(message.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain)
}

/// What went wrong with the upstreams of one question.
#[derive(Default)]
struct Troubles {
    told: Vec<String>,
    busy: usize,
    excuses: usize,
    excuse: Option<(Message, Arc<str>)>,
    /// Each has said that it cannot help.
    all_excused: bool,
}

impl Troubles {
    /// What one of `of` upstreams said, if it helps; else it is a trouble.
    fn take(
        &mut self,
        result: Result<Message, attempt::AttemptError>,
        outgoing: &Outgoing,
        upstream: &Arc<str>,
        of: usize,
    ) -> Option<Message> {
        match result {
            // Not broken, but of no help: another may know more.
            Ok(message) if is_excuse(&message) || !outgoing.is_served_by(&message) => {
                self.excuse(message, upstream, of);
                None
            }
            Ok(message) => Some(message),
            Err(error) => {
                self.add(upstream, &error);
                None
            }
        }
    }

    fn add(&mut self, upstream: &str, error: &attempt::AttemptError) {
        self.busy += usize::from(matches!(error, attempt::AttemptError::Busy));
        let told = format!("{upstream} {error}");
        if !self.told.contains(&told) {
            self.told.push(told);
        }
    }

    fn excuse(&mut self, message: Message, upstream: &Arc<str>, of: usize) {
        self.excuses += 1;
        self.excuse.get_or_insert((message, Arc::clone(upstream)));
        self.all_excused = self.excuses + self.told.len() >= of;
    }

    fn end(self) -> Result<(Message, Arc<str>), Trouble> {
        match self.excuse {
            Some(excuse) => Ok(excuse),
            None if self.busy > 0 && self.told.len() <= self.busy => Err(Trouble::Overload),
            None if self.told.is_empty() => Err(Trouble::Unreachable("there is none".into())),
            None => Err(Trouble::Unreachable(self.told.join(", "))),
        }
    }
}

/// Asks for links of the chain of trust.
struct Chain<'a> {
    inner: &'a Arc<Inner>,
    doubted: Option<&'a Arc<str>>,
    deadline: Instant,
}

impl Fetch for Chain<'_> {
    async fn fetch(&self, name: &Name, qtype: RecordType) -> Result<Arc<Answered>, Trouble> {
        let ask = Ask {
            name,
            qtype,
            class: DNSClass::IN,
            dnssec_ok: true,
            checking_disabled: true,
            deadline: self.deadline,
        };
        self.inner.link(ask, self.doubted).await
    }

    fn is_second_look(&self) -> bool {
        self.doubted.is_some()
    }

    fn is_exempt(&self, name: &Name) -> bool {
        self.inner.is_exempt(name) || !self.inner.route(name).dnssec
    }
}
