//! mDNS (RFC 6762, RFC 6763): which questions and records another link gets to hear.

use std::{collections::HashSet, time::Duration};

use crate::{
    Dropped, Packet, Reflector, Send, To,
    engine::alike,
    limits::{LEGACY_TTL, MDNS_WAIT},
    services::Place,
    wire::{A, AAAA, ANY, Data, Message, Question, Record},
};

/// The port of mDNS. Who asks from another is answered alone, and who answers from another is not heard (RFC 6762 §6).
pub const MDNS_PORT: u16 = 5353;

/// What a message says, in an order that does not depend on who wrote it down.
type Said = (Vec<(Vec<u8>, u16)>, Vec<(Vec<u8>, u16, Vec<u8>, bool)>);

impl Reflector {
    pub(crate) fn take_mdns(&mut self, packet: &Packet<'_>, now: Duration) -> Result<Vec<Send>, Dropped> {
        let message = Message::read(packet.bytes).map_err(|_| Dropped::Malformed)?;
        if !message.response {
            self.take_question(packet, &message, now)
        } else if packet.source.port() == MDNS_PORT {
            self.take_answer(packet, &message, now)
        } else {
            Err(Dropped::Malformed)
        }
    }

    fn take_question(
        &mut self,
        packet: &Packet<'_>,
        asked: &Message,
        now: Duration,
    ) -> Result<Vec<Send>, Dropped> {
        let (mut sends, mut chosen) = (Vec::new(), false);
        for (target, groups) in self.targets(packet.link, |_| true) {
            let questions = self.questions_for(asked, target, groups, now);
            if questions.is_empty() {
                continue;
            }
            if packet.source.port() != MDNS_PORT && !chosen {
                let wants = (asked.id, asked.questions.clone());
                self.askers.add(packet.link, packet.source, wants, now, MDNS_WAIT);
            }
            chosen = true;
            // Answers are wanted by many, also where this asker would have liked one of its own ("QU").
            let known = |records: &[Record]| {
                let kept = records.iter().filter(|record| self.is_of_service(record, groups));
                // Many offer a service, so no one's list is the whole (RFC 6762 §10.2): what others said is not forgotten.
                let shared = |record: &Record| matches!(record.data, Data::Ptr(_));
                kept.map(|record| Record { flush: record.flush && !shared(record), ..record.clone() })
                    .collect::<Vec<_>>()
            };
            let (answers, authorities) = (known(&asked.answers), known(&asked.authorities));
            let message = Message { questions, answers, authorities, ..Message::default() };
            sends.extend(self.pass_on(packet, target, &message, now));
        }
        told(sends, chosen)
    }

    /// The questions that `target` may hear: for services of the groups, and for hosts there that offer one.
    fn questions_for(&self, asked: &Message, target: usize, groups: u64, now: Duration) -> Vec<Question> {
        let wanted = |question: &&Question| match Place::of(&question.name) {
            Place::Types => true,
            Place::Type(service) | Place::Instance(service) => self.is_chosen(&service, groups),
            Place::Host => {
                matches!(question.kind, A | AAAA | ANY)
                    && self.names.is_offered(&question.name.key(), target, groups, now)
            }
            Place::Outside => false,
        };
        asked.questions.iter().filter(wanted).cloned().collect()
    }

    fn take_answer(
        &mut self,
        packet: &Packet<'_>,
        said: &Message,
        now: Duration,
    ) -> Result<Vec<Send>, Dropped> {
        let targets = self.targets(packet.link, |_| true);
        let every = targets.iter().fold(0, |bits, (_, groups)| bits | groups);
        self.hear(packet.link, said, every, now);
        let (mut sends, mut chosen) = (Vec::new(), false);
        for (target, groups) in targets {
            let kept = |records: &[Record]| {
                let kept = records.iter().filter(|record| self.may_hear(record, packet.link, groups, now));
                // Many offer a service, so no one's list is the whole (RFC 6762 §10.2): what others said is not forgotten.
                let shared = |record: &Record| matches!(record.data, Data::Ptr(_));
                kept.map(|record| Record { flush: record.flush && !shared(record), ..record.clone() })
                    .collect::<Vec<_>>()
            };
            let (answers, additionals) = (kept(&said.answers), kept(&said.additionals));
            if answers.is_empty() {
                continue;
            }
            chosen = true;
            let message = Message { response: true, answers, additionals, ..Message::default() };
            let passed = self.pass_on(packet, target, &message, now);
            if passed.is_some() {
                self.answer_askers(packet, target, &message, now, &mut sends);
            }
            sends.extend(passed);
        }
        told(sends, chosen)
    }

    /// Learns whose the names of a message are, and which hosts have services of these groups.
    fn hear(&mut self, link: usize, said: &Message, groups: u64, now: Duration) {
        let lives = |record: &&Record| record.ttl > 0;
        for record in said.answers.iter().chain(&said.additionals).filter(lives) {
            match (&record.data, Place::of(&record.name)) {
                (Data::A(_) | Data::Aaaa(_), Place::Host) => {
                    self.names.hear(&record.name.key(), link, now);
                }
                (Data::Txt(_), Place::Instance(service)) if self.is_chosen(&service, groups) => {
                    self.names.hear(&record.name.key(), link, now);
                }
                (Data::Srv { target, .. }, Place::Instance(service)) if self.is_chosen(&service, groups) => {
                    let host = target.key();
                    let ours = self.names.hear(&record.name.key(), link, now);
                    if ours && Place::of(target) == Place::Host && self.names.hear(&host, link, now) {
                        let of = (0..self.groups.len()).map(|number| 1 << number);
                        let of = of.filter(|bit| groups & bit != 0 && self.is_chosen(&service, *bit)).sum();
                        self.names.offer(&host, of);
                    }
                }
                (Data::A(_) | Data::Aaaa(_) | Data::Ptr(_) | Data::Txt(_) | Data::Srv { .. }, _) => {}
            }
        }
    }

    /// Whether a record that was said on `link` may be heard where it shares these groups.
    fn may_hear(&self, record: &Record, link: usize, groups: u64, now: Duration) -> bool {
        let is_theirs = |name: &crate::wire::Name| self.names.link_of(&name.key(), now) == Some(link);
        let reachable = |address| self.links.get(link).is_some_and(|link| link.is_reachable(address));
        match &record.data {
            Data::Ptr(instance) => {
                let others = self.names.link_of(&instance.key(), now).is_some_and(|of| of != link);
                self.is_of_service(record, groups) && !others
            }
            Data::Txt(_) => self.is_of_service(record, groups) && is_theirs(&record.name),
            Data::Srv { target, .. } => {
                self.is_of_service(record, groups)
                    && is_theirs(&record.name)
                    && self.names.is_offered(&target.key(), link, groups, now)
            }
            Data::A(v4) => self.is_host(record, link, groups, now) && reachable((*v4).into()),
            Data::Aaaa(v6) => self.is_host(record, link, groups, now) && reachable((*v6).into()),
        }
    }

    fn is_host(&self, record: &Record, link: usize, groups: u64, now: Duration) -> bool {
        Place::of(&record.name) == Place::Host && self.names.is_offered(&record.name.key(), link, groups, now)
    }

    /// Whether a record is about a service of these groups, by its names alone.
    fn is_of_service(&self, record: &Record, groups: u64) -> bool {
        match (&record.data, Place::of(&record.name)) {
            (Data::Ptr(listed), Place::Types) => {
                matches!(Place::of(listed), Place::Type(service) if self.is_chosen(&service, groups))
            }
            (Data::Ptr(instance), Place::Type(service)) => {
                self.is_chosen(&service, groups) && Place::of(instance) == Place::Instance(service)
            }
            (Data::Srv { .. } | Data::Txt(_), Place::Instance(service)) => self.is_chosen(&service, groups),
            (Data::Ptr(_) | Data::Srv { .. } | Data::Txt(_) | Data::A(_) | Data::Aaaa(_), _) => false,
        }
    }

    /// The message for all of a link, unless it was there a moment ago.
    fn pass_on(
        &mut self,
        packet: &Packet<'_>,
        target: usize,
        message: &Message,
        now: Duration,
    ) -> Option<Send> {
        let (v6, said) = (packet.source.is_ipv6(), said(message));
        let new = self.seen.is_new(&(target, v6, message.response, &said), now);
        // It was where it came from, too: who reflects there may bring it back by another way.
        self.seen.is_new(&(packet.link, v6, message.response, &said), now);
        let bytes = message.write().filter(|_| new)?;
        Some(Send { link: target, to: To::Mdns { v6 }, bytes })
    }

    /// Answers those of a link who asked from a port of their own: with their number and questions, and nothing to be
    /// kept for long (RFC 6762 §6.7).
    fn answer_askers(
        &mut self,
        packet: &Packet<'_>,
        target: usize,
        message: &Message,
        now: Duration,
        sends: &mut Vec<Send>,
    ) {
        let answers = |question: &Question| {
            let fits = |record: &Record| {
                (question.kind == ANY || question.kind == record.data.kind())
                    && record.name.is(&question.name)
            };
            message.answers.iter().any(fits)
        };
        let waiting = self.askers.answered(now, |asker| {
            asker.link == target && alike(asker.source, packet.source) && asker.wants.1.iter().any(answers)
        });
        for asker in waiting {
            let short = |records: &[Record]| {
                let short = records.iter().cloned();
                short
                    .map(|record| Record { flush: false, ttl: record.ttl.min(LEGACY_TTL), ..record })
                    .collect()
            };
            let reply = Message {
                id: asker.wants.0,
                response: true,
                questions: asker.wants.1.clone(),
                answers: short(&message.answers),
                additionals: short(&message.additionals),
                ..Message::default()
            };
            sends.extend(reply.write().map(|bytes| Send {
                link: target,
                to: To::Asker(asker.source),
                bytes,
            }));
        }
    }
}

fn told(sends: Vec<Send>, chosen: bool) -> Result<Vec<Send>, Dropped> {
    match (sends.is_empty(), chosen) {
        (false, _) => Ok(sends),
        (true, true) => Err(Dropped::Repeated),
        (true, false) => Err(Dropped::NotChosen),
    }
}

fn said(message: &Message) -> Said {
    let mut questions: Vec<_> =
        message.questions.iter().map(|question| (question.name.key(), question.kind)).collect();
    questions.sort_unstable();
    let record = |record: &Record| {
        let data = match &record.data {
            Data::A(v4) => v4.octets().to_vec(),
            Data::Aaaa(v6) => v6.octets().to_vec(),
            Data::Ptr(name) => name.key(),
            Data::Srv { port, target, .. } => [&port.to_be_bytes(), target.key().as_slice()].concat(),
            Data::Txt(strings) => strings.clone(),
        };
        (record.name.key(), record.data.kind(), data, record.ttl == 0)
    };
    let records: HashSet<_> = message.records().map(record).collect();
    let mut records: Vec<_> = records.into_iter().collect();
    records.sort_unstable();
    (questions, records)
}
