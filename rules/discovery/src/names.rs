//! Whose a name is. A device in one zone must not speak for a host or a service of another, so a name is the link's where
//! it was heard first, until nothing is heard of it there for a while.

use std::{collections::HashMap, time::Duration};

use crate::limits::{MAX_NAMES, NAME_LIFE};

/// Between two looks for names that are over.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// Names of hosts and of instances of services, as [`crate::wire::Name::key`] has them.
#[derive(Debug, Default)]
pub(crate) struct Names {
    known: HashMap<Vec<u8>, Known>,
    /// How many each link has, by its number.
    counts: HashMap<usize, usize>,
    /// When those that are over were last taken out for want of room.
    swept: Option<Duration>,
}

#[derive(Debug)]
struct Known {
    link: usize,
    until: Duration,
    /// Groups, as bits, in which a service is offered that runs on this host.
    offered: u64,
}

impl Names {
    /// Hears a name on a link; whether it is that link's. A link with too many gets no more.
    pub(crate) fn hear(&mut self, name: &[u8], link: usize, now: Duration) -> bool {
        if let Some(known) = self.known.get_mut(name)
            && known.until > now
        {
            if known.link == link {
                known.until = now + NAME_LIFE;
            }
            return known.link == link;
        }
        if self.counts.get(&link).is_some_and(|count| *count >= MAX_NAMES) {
            // A link that is full must not make each name of it cost a look at all.
            if self.swept.is_some_and(|swept| now.saturating_sub(swept) < SWEEP_PAUSE) {
                return false;
            }
            self.swept = Some(now);
            self.known.retain(|_, known| known.until > now);
            self.counts.clear();
            for known in self.known.values() {
                *self.counts.entry(known.link).or_default() += 1;
            }
            if self.counts.get(&link).is_some_and(|count| *count >= MAX_NAMES) {
                return false;
            }
        }
        let former = self.known.insert(name.to_vec(), Known { link, until: now + NAME_LIFE, offered: 0 });
        if let Some(former) = former
            && let Some(count) = self.counts.get_mut(&former.link)
        {
            *count = count.saturating_sub(1);
        }
        *self.counts.entry(link).or_default() += 1;
        true
    }

    /// The link whose name it is.
    pub(crate) fn link_of(&self, name: &[u8], now: Duration) -> Option<usize> {
        self.known.get(name).filter(|known| known.until > now).map(|known| known.link)
    }

    /// A service of these groups runs on this host.
    pub(crate) fn offer(&mut self, host: &[u8], groups: u64) {
        if let Some(known) = self.known.get_mut(host) {
            known.offered |= groups;
        }
    }

    /// Whether one of these groups has a service that runs on this host of `link`.
    pub(crate) fn is_offered(&self, host: &[u8], link: usize, groups: u64, now: Duration) -> bool {
        self.known
            .get(host)
            .is_some_and(|known| known.link == link && known.until > now && known.offered & groups != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1000);

    #[test]
    fn a_name_is_the_links_where_it_was_heard_first() {
        let mut names = Names::default();
        assert!(names.hear(b"nas", 0, NOW) && !names.hear(b"nas", 1, NOW));
        names.offer(b"nas", 0b10);
        assert!(names.is_offered(b"nas", 0, 0b10, NOW) && !names.is_offered(b"nas", 0, 0b01, NOW));
        assert!(!names.is_offered(b"nas", 1, 0b10, NOW));
        assert!(names.hear(b"nas", 0, NOW + NAME_LIFE / 2), "still there");
        assert!(!names.hear(b"nas", 1, NOW + NAME_LIFE));
        assert!(names.hear(b"nas", 1, NOW + NAME_LIFE * 2), "it moved");
        assert_eq!(names.link_of(b"nas", NOW + NAME_LIFE * 2), Some(1));
        assert!(!names.is_offered(b"nas", 1, 0b10, NOW + NAME_LIFE * 2));
    }

    #[test]
    fn a_full_link_is_not_looked_through_for_each_name() {
        let mut names = Names::default();
        (0..MAX_NAMES).for_each(|number| assert!(names.hear(number.to_string().as_bytes(), 0, NOW)));
        let over = NOW + NAME_LIFE;
        assert!(!names.hear(b"a", 0, over - SWEEP_PAUSE / 2), "all of them live");
        assert!(!names.hear(b"a", 0, over), "not looked at again so soon");
        assert!(names.hear(b"a", 0, over + SWEEP_PAUSE));
    }

    #[test]
    fn one_link_cannot_take_the_room_of_others() {
        let mut names = Names::default();
        let fresh =
            (0..MAX_NAMES * 2).filter(|number| names.hear(number.to_string().as_bytes(), 0, NOW)).count();
        assert_eq!(fresh, MAX_NAMES);
        assert!(names.hear(b"printer", 1, NOW));
        assert!(names.hear(b"later", 0, NOW + NAME_LIFE), "when the others have gone");
        assert!(names.known.len() <= 2);
    }
}
