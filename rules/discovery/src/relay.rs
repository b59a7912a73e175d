//! SSDP between links: searches and notices go to all of the others, replies to who searched.

use std::time::Duration;

use crate::{
    Dropped, Packet, Reflector, Scope, Send, To,
    engine::{Bound, alike},
    ssdp::Ssdp,
};

impl Reflector {
    pub(crate) fn take_ssdp(
        &mut self,
        packet: &Packet<'_>,
        scope: Scope,
        now: Duration,
    ) -> Result<Vec<Send>, Dropped> {
        let targets = self.targets(packet.link, Bound::has_ssdp);
        if targets.is_empty() {
            return Err(Dropped::NotChosen);
        }
        match Ssdp::read(packet.bytes).ok_or(Dropped::Malformed)? {
            Ssdp::Search { target, wait } => {
                self.searchers.add(packet.link, packet.source, target.to_owned(), now, wait);
            }
            // A device that goes need not say where it was.
            Ssdp::Notify { location: None } => {}
            Ssdp::Notify { location: Some(location) } => self.check(packet.link, location)?,
            Ssdp::Reply { .. } => return Err(Dropped::Malformed),
        }
        let mut sends = Vec::new();
        for (target, _) in targets {
            let new = self.seen.is_new(&(target, scope, packet.bytes), now);
            self.seen.is_new(&(packet.link, scope, packet.bytes), now);
            if new {
                sends.push(Send { link: target, to: To::Ssdp(scope), bytes: packet.bytes.to_vec() });
            }
        }
        if sends.is_empty() { Err(Dropped::Repeated) } else { Ok(sends) }
    }

    pub(crate) fn take_reply(&mut self, packet: &Packet<'_>, now: Duration) -> Result<Vec<Send>, Dropped> {
        let Some(Ssdp::Reply { target, location }) = Ssdp::read(packet.bytes) else {
            return Err(Dropped::Malformed);
        };
        self.check(packet.link, location.ok_or(Dropped::Malformed)?)?;
        let links: Vec<usize> =
            self.targets(packet.link, Bound::has_ssdp).into_iter().map(|(link, _)| link).collect();
        let waiting = self.searchers.answered(now, |asker| {
            links.contains(&asker.link)
                && alike(asker.source, packet.source)
                && Ssdp::answers(target, &asker.wants)
        });
        let sends: Vec<Send> = waiting
            .map(|asker| Send {
                link: asker.link,
                to: To::Searcher(asker.source),
                bytes: packet.bytes.to_vec(),
            })
            .collect();
        if sends.is_empty() { Err(Dropped::NotChosen) } else { Ok(sends) }
    }

    /// A device is where it says, if that is a place of its link that others can reach.
    fn check(&self, link: usize, location: &str) -> Result<(), Dropped> {
        let host = Ssdp::host_of(location).ok_or(Dropped::Unreachable)?;
        let reachable = self.links.get(link).is_some_and(|link| link.is_reachable(host));
        if reachable { Ok(()) } else { Err(Dropped::Unreachable) }
    }
}
