//! Those who asked with a port of their own and are answered alone.

use std::{net::SocketAddr, time::Duration};

use crate::limits::{MAX_ANSWERS, MAX_ASKERS, MAX_ASKERS_OF_SOURCE};

/// Somebody who waits.
#[derive(Debug)]
pub(crate) struct Asker<W> {
    pub(crate) link: usize,
    pub(crate) source: SocketAddr,
    /// What it asked for.
    pub(crate) wants: W,
    until: Duration,
    answers: u32,
}

/// A bounded table of them, the oldest first.
#[derive(Debug)]
pub(crate) struct Askers<W>(Vec<Asker<W>>);

impl<W> Default for Askers<W> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<W: PartialEq> Askers<W> {
    pub(crate) fn add(&mut self, link: usize, source: SocketAddr, wants: W, now: Duration, wait: Duration) {
        self.0.retain(|asker| asker.until > now && !(asker.source == source && asker.wants == wants));
        let from_there = self.0.iter().filter(|asker| asker.source.ip() == source.ip()).count();
        if from_there >= MAX_ASKERS_OF_SOURCE
            && let Some(oldest) = self.0.iter().position(|asker| asker.source.ip() == source.ip())
        {
            self.0.remove(oldest);
        }
        if self.0.len() >= MAX_ASKERS {
            self.0.remove(0);
        }
        self.0.push(Asker { link, source, wants, until: now + wait, answers: 0 });
    }

    /// Those who want this and still wait; each has got one answer more.
    pub(crate) fn answered<'a>(
        &'a mut self,
        now: Duration,
        wanted: impl Fn(&Asker<W>) -> bool + 'a,
    ) -> impl Iterator<Item = &'a Asker<W>> {
        let waits =
            move |asker: &&mut Asker<W>| asker.until > now && asker.answers < MAX_ANSWERS && wanted(asker);
        self.0.iter_mut().filter(waits).map(|asker| {
            asker.answers += 1;
            &*asker
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_bounded_for_all_and_for_each() {
        let mut askers = Askers::default();
        let (now, wait) = (Duration::from_secs(1), Duration::from_secs(3));
        let source = |host: u8, port: u16| SocketAddr::from(([10, 4, 0, host], port));
        for port in 0..100 {
            askers.add(0, source(9, port), port, now, wait);
        }
        assert_eq!(askers.0.len(), MAX_ASKERS_OF_SOURCE);
        assert_eq!(askers.0.last().unwrap().wants, 99);
        for host in 10..250 {
            askers.add(0, source(host, 1), 7, now, wait);
        }
        assert_eq!(askers.0.len(), MAX_ASKERS);
        askers.add(0, source(249, 1), 7, now, wait);
        assert_eq!(
            askers.answered(now, |asker| asker.source == source(249, 1)).count(),
            1,
            "once, however often it asks"
        );
        for _ in 1..MAX_ANSWERS {
            assert_eq!(askers.answered(now, |asker| asker.source == source(249, 1)).count(), 1);
        }
        assert_eq!(askers.answered(now, |asker| asker.source == source(249, 1)).count(), 0, "enough");
        assert_eq!(askers.answered(now + wait, |_| true).count(), 0, "nobody waits so long");
    }
}
