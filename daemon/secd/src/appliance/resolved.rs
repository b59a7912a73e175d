//! What the resolver answered to zones that open flows only to that: put back at the start, kept on disk, told.

use anyhow::{Context as _, Result};
use model::Timestamp;
use policy::{Answered, Policy, SetKind};
use protocol::WhyAnswered;
use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{Appliance, Current};
use crate::{
    clock,
    keeper::Now,
    resolved::{Answers, Fill, KeptAnswer, KeptAnswers, Known, read, write},
};

/// The file in the state folder.
const FILE: &str = "resolved.json";
/// Answers that `why` tells of one subject.
const MOST_TOLD: usize = 16;

/// Held while what was answered is copied and written, and while the bits of patterns change: no older copy lands last, and
/// no copy has bits of one config under the patterns of another.
static KEEPING: Mutex<()> = Mutex::new(());

/// What was answered, over the kernel's table.
pub(super) type Resolved = Arc<Mutex<Answers<enforce::xdp::Resolved>>>;

/// Puts back what was answered before this daemon started, by the file and by the kernel. What cannot be read is told
/// and not there: devices have to ask again.
pub(super) fn restored(
    table: enforce::xdp::Resolved,
    policy: &Policy,
    state_dir: &Path,
) -> (Resolved, Option<String>) {
    let now = clock::now();
    let file = file(state_dir);
    let (kept, unread) = match read(&file, now.wall) {
        Ok(kept) => (kept, None),
        Err(error) => {
            let file = file.display();
            (
                KeptAnswers::default(),
                Some(format!("what was answered before is not known, {file} cannot be used: {error}")),
            )
        }
    };
    let in_kernel = table.entries().unwrap_or_default();
    let mut answers = Answers::new(table);
    answers.configure(names(policy), false);
    answers.restore(kept, in_kernel, now.boot);
    (Arc::new(Mutex::new(answers)), unread)
}

fn file(state_dir: &Path) -> PathBuf {
    state_dir.join(FILE)
}

/// Zones to which answers count.
fn names(policy: &Policy) -> impl Iterator<Item = &str> {
    policy.zones_resolved().map(|zone| zone.name.as_str())
}

pub(super) fn lock(resolved: &Resolved) -> MutexGuard<'_, Answers<enforce::xdp::Resolved>> {
    resolved.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Appliance {
    /// Answers to the zones of this policy count from now on; those of others and the bits of domains that only others
    /// name go, if this is for good.
    pub(super) fn count_answers(&self, policy: &Policy, for_good: bool) {
        let mut answers = lock(&self.resolved);
        answers.configure(names(policy), !for_good);
        if for_good {
            answers.in_force(&domains(policy));
        }
    }

    /// Gives the domains that the rules of a policy name their bits in the kernel's table, other ones than those of the
    /// rules in force have. What was answered for them before counts from now on.
    ///
    /// # Errors
    /// There are too many, which no config gets to. Or the next daemon would take them for others, since what they mean can
    /// neither be kept nor the former file removed.
    pub(super) fn number_domains(&self, policy: &mut Policy, in_force: Option<&Policy>) -> Result<()> {
        let wanted = domains(policy);
        let keeping = KEEPING.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = {
            let mut answers = lock(&self.resolved);
            // At the start the rules in force are those of the daemon before, whose domains were kept.
            let beside = answers.patterns().beside(&wanted);
            let held = match in_force {
                Some(policy) => domains(policy),
                None => beside.iter().map(String::as_str).collect(),
            };
            answers.assign(&wanted, &held).context("the rules name more domains than there are bits")?
        };
        let mut after = None;
        let mut is_done = changed == 0;
        while !is_done {
            after = lock(&self.resolved).match_again(changed, after);
            is_done = after.is_none();
        }
        if changed != 0 {
            // What the bits mean must be known to the next daemon, however this one ends.
            self.keep(&keeping).or_else(|_| self.forget_kept())?;
        }
        drop(keeping);
        let answers = lock(&self.resolved);
        for set in &mut policy.sets {
            if let SetKind::Names(number) = &mut set.kind {
                *number = answers.patterns().bit(&set.name).unwrap_or(*number);
            }
        }
        Ok(())
    }

    /// Takes out what is over, and tells of what was lost.
    pub(super) fn look_at_answers(&self) {
        let now = clock::now().boot;
        while lock(&self.resolved).expire(now) {}
        let (fill, refused) = {
            let answers = lock(&self.resolved);
            let (count, why) = answers.refused();
            (answers.fill(), (count, why.map(ToOwned::to_owned)))
        };
        let pushed_out: u64 = fill.iter().map(|zone| zone.pushed_out).sum();
        let former = {
            let mut told = self.answers_told.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *told, (pushed_out, refused.0))
        };
        let new = |count: u64, before: u64| count.saturating_sub(before);
        let lost = match (new(pushed_out, former.0), new(refused.0, former.1)) {
            (0, 0) => None,
            (pushed_out, 0) => Some(format!(
                "there is no more room for what DNS answered: {pushed_out} addresses had to make way before their time or were too many for one answer, and devices have to ask for them again"
            )),
            (_, count) => Some(format!(
                "{count} answers could not be written to the kernel, and devices cannot reach them: {}",
                refused.1.unwrap_or_default()
            )),
        };
        self.trouble("what DNS answered", lost);
    }

    /// Keeps what was answered on disk, if it changed since. The answers of the resolver do not wait for that. What cannot
    /// be kept is told, and tried again the next time.
    pub(super) fn keep_answers(&self) {
        let keeping = KEEPING.lock().unwrap_or_else(PoisonError::into_inner);
        if lock(&self.resolved).take_changed()
            && let Err(error) = self.keep(&keeping)
        {
            tracing::debug!(%error, "what DNS answered is not kept");
        }
    }

    /// Without the file nobody takes the bits in the kernel for what they meant before.
    fn forget_kept(&self) -> Result<()> {
        let file = file(&self.flags.state_dir);
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).with_context(|| {
                format!(
                    "{} can be neither written nor removed, and a restart would take domains for others",
                    file.display()
                )
            }),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Copies and writes it, one at a time.
    fn keep(&self, _keeping: &MutexGuard<'_, ()>) -> io::Result<()> {
        lock(&self.resolved).take_changed();
        let now = clock::now();
        let (mut kept, mut after) = (Vec::new(), None);
        loop {
            let page = lock(&self.resolved).page(after);
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            kept.extend(page.into_iter().map(|(_, known)| KeptAnswer {
                seconds: Duration::from_nanos(known.until.saturating_sub(now.boot)).as_secs(),
                zone: known.zone,
                address: known.address,
                names: known.names,
                patterns: known.patterns,
            }));
        }
        let patterns = lock(&self.resolved).patterns().to_keep();
        let kept = KeptAnswers { answers: kept, patterns };
        let file = file(&self.flags.state_dir);
        let written = write(&file, kept, now.wall);
        if written.is_err() {
            lock(&self.resolved).keep_again();
        }
        let trouble = written.as_ref().err().map(|error| {
            format!(
                "what DNS answered would be forgotten by a restart of the machine, {}: {error}",
                file.display()
            )
        });
        self.trouble("keeping what DNS answered", trouble);
        written
    }

    /// How much was answered, by zone.
    pub(super) fn answers_fill(&self) -> Vec<Fill> {
        lock(&self.resolved).fill()
    }

    /// Whether a zone's DNS answered an address, as far as that counts there.
    pub(super) fn answered(&self, current: &Current, zone: &str, address: IpAddr) -> Answered {
        if !names(&current.loaded.config.policy).any(|name| name == zone) {
            return Answered::NotKnown;
        }
        let known = lock(&self.resolved).of_address(address, clock::now().boot);
        known
            .iter()
            .find(|known| known.zone == zone)
            .map_or(Answered::Never, |known| Answered::For(known.patterns))
    }

    /// What `why` tells of an address or name.
    pub(super) fn answers_about(&self, about: About<'_>) -> Vec<WhyAnswered> {
        let now = clock::now();
        let answers = lock(&self.resolved);
        let known = match about {
            About::Address(address) => answers.of_address(address, now.boot),
            About::Name(name) => answers.of_name(name, now.boot),
        };
        drop(answers);
        known.into_iter().take(MOST_TOLD).map(|known| told(known, now)).collect()
    }
}

/// Domains that rules name.
fn domains(policy: &Policy) -> Vec<&str> {
    let names = policy.sets.iter().filter(|set| matches!(set.kind, SetKind::Names(_)));
    names.map(|set| set.name.as_str()).collect()
}

/// What is asked about.
pub(super) enum About<'a> {
    Address(IpAddr),
    Name(&'a str),
}

fn told(known: Known, now: Now) -> WhyAnswered {
    let left = Duration::from_nanos(known.until.saturating_sub(now.boot));
    let until: Timestamp = now.wall.plus(left);
    WhyAnswered { zone: known.zone, address: known.address, names: known.names, until }
}
