//! `secctl apply`: a config for good, or on trial with a way back that needs nobody.
//!
//! On trial, three things go back independently of each other: this daemon when its timer ends, the packet path by the
//! deadline beside its plan, nftables by the timeout of the element that leads to the new chains. What goes back is the
//! policy; a daemon that was killed meanwhile settles the rest when it starts (see [`crate::trial`]).

use abi::ZoneId;
use anyhow::{Context as _, Result};
use enforce::{
    nft::Options,
    xdp::{Staged, boot_now},
};
use model::{Severity, Timestamp};
use policy::{Plan, Policy};
use protocol::{
    Applied, ApplyRequest, ErrorReply, MAX_TRIAL_SECONDS, MIN_TRIAL_SECONDS, SettleRequest, Settled, Trial,
    TrialReply,
};
use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};
use store::BY_ITSELF;
use tokio::time::Instant;

use super::{
    Appliance, Current, Walls,
    changes::{changes, config_change, not_applied},
};
use crate::{clock, decisions::Failure, flags::Flags, loading::Loaded, trial::ConfigFiles};

/// For how long a plan is put in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lasting {
    /// Until the next.
    ForGood,
    /// For this long, unless it is confirmed.
    Trial(Duration),
}

/// A config that goes back by itself.
#[derive(Clone)]
pub(super) struct OnTrial {
    /// What it goes back to.
    former: Arc<Current>,
    text: String,
    file: String,
    user: String,
    until: Timestamp,
    /// The same moment on the clock the timer runs by. Tells one trial from the next.
    deadline: Instant,
}

impl Appliance {
    /// Puts a config in force, for good or on trial.
    ///
    /// # Errors
    /// 400 the time makes no sense, 409 one is on trial already, 422 the config is bad, 503 it cannot be put in force
    /// or written down.
    pub async fn apply_config(self: &Arc<Self>, request: ApplyRequest) -> Result<Applied, Failure> {
        let seconds = MIN_TRIAL_SECONDS..=MAX_TRIAL_SECONDS;
        if request.confirm.is_some_and(|asked| !seconds.contains(&asked)) {
            let message = format!("a trial lasts from {MIN_TRIAL_SECONDS} to {MAX_TRIAL_SECONDS} seconds");
            return Err((400, ErrorReply::new(message, Some("for example --confirm 60s"))));
        }
        let mut walls = self.change.lock().await;
        self.refuse_in_trial()?;
        let former = self.current.load_full();
        let chosen = self.chosen_mode(&former).await;
        let config = self.flags.config.display().to_string();
        let file = request.file.clone().unwrap_or_else(|| config.clone());
        let text = request.text;
        let loaded = tokio::task::block_in_place(|| match text {
            Some(text) => Loaded::of(file.clone(), text, chosen),
            None => Loaded::read(&self.flags.config, chosen),
        });
        let loaded = loaded.map_err(|problems| {
            let reply = ErrorReply::new("the config is bad; nothing was changed", Some("see `secctl check`"));
            (422, reply.with_problems(problems))
        })?;
        let mut notes = self.notes(&former, &loaded, chosen);
        let text = loaded.text.clone();
        let files = self.files();
        let unwritten = |error: std::io::Error| {
            let message = format!("the config cannot be written down ({error}); nothing was changed");
            let help = format!(
                "secd needs to write to {} and to the folder of {config}",
                self.flags.state_dir.display()
            );
            (503, ErrorReply::new(message, Some(&help)))
        };
        let lasting = match request.confirm {
            Some(seconds) => {
                // What a trial goes back to has to be on disk before it begins.
                files.keep(&former.loaded.text).map_err(unwritten)?;
                files.begin(&text).map_err(unwritten)?;
                Lasting::Trial(Duration::from_secs(seconds))
            }
            None => Lasting::ForGood,
        };
        // The kernel's own deadlines are not before this one.
        let began = Instant::now();
        if let Err(error) = self.put_in_force(&mut walls, loaded, lasting).await {
            if lasting != Lasting::ForGood {
                files.abandon();
            }
            return Err(not_applied(error));
        }
        if lasting == Lasting::ForGood {
            self.trouble("the config", None);
            self.change_sinks(&former).await;
            if let Err(error) = files.confirm(&text) {
                notes.push(format!(
                    "it is in force, but {config} could not be written ({error}) and holds the former one"
                ));
            }
        }
        let changes = changes(&former, &self.current.load());
        let trial = match lasting {
            Lasting::Trial(time) => {
                let deadline = began + time;
                let until = clock::now().wall.plus(deadline.saturating_duration_since(Instant::now()));
                let user = request.user.clone();
                Some(self.begin_trial(OnTrial { former, text, file, user, until, deadline }))
            }
            Lasting::ForGood => None,
        };
        let how = trial.as_ref().map_or_else(String::new, |trial| format!(" on trial until {}", trial.until));
        self.system(
            Severity::Notice,
            format!("config applied{how}, by {}: {}", request.user, changes.join(", ")),
        );
        let kind = match request.confirm {
            Some(seconds) => format!("apply --confirm {seconds}s"),
            None => "apply".to_owned(),
        };
        self.write_down(&request.user, config_change(&kind, &changes)).await;
        let generation = walls.generation();
        Ok(Applied { generation, changes, notes, trial })
    }

    /// The trial that runs.
    pub fn trial(&self) -> TrialReply {
        let trial = self.trial.lock().unwrap_or_else(PoisonError::into_inner);
        TrialReply { trial: trial.as_ref().map(OnTrial::told) }
    }

    /// Keeps the config on trial.
    ///
    /// # Errors
    /// 404 there is none, 503 it has just gone back or cannot be written down.
    pub async fn confirm(&self, request: SettleRequest) -> Result<Settled, Failure> {
        let mut walls = self.change.lock().await;
        let trial = self.running_trial()?;
        let files = self.files();
        if let Err(error) = tokio::task::block_in_place(|| walls.confirm()) {
            // A half that has gone back cannot be taken forward again: both go back.
            self.go_back(&mut walls, trial.former).await;
            let message = format!("the time was over; the former config is in force: {error:#}");
            return Err((
                503,
                ErrorReply::new(message, Some("apply it again with more time: --confirm 120s")),
            ));
        }
        *self.trial.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let mut notes = Vec::new();
        if let Err(error) = files.confirm(&trial.text) {
            notes.push(format!(
                "it is in force, but {} could not be written ({error}) and holds the former one",
                self.flags.config.display()
            ));
        }
        self.keep_good_config();
        self.change_sinks(&trial.former).await;
        self.trouble("the config", None);
        self.system(Severity::Notice, format!("config confirmed, by {}", request.user));
        self.write_down(&request.user, config_change("confirm", &[])).await;
        Ok(self.settled(&walls, true, notes))
    }

    /// Goes back to the former config before the time is over.
    ///
    /// # Errors
    /// 404 there is no trial.
    pub async fn revert(&self, request: SettleRequest) -> Result<Settled, Failure> {
        let mut walls = self.change.lock().await;
        let trial = self.running_trial()?;
        self.system(Severity::Notice, format!("config taken back, by {}", request.user));
        self.go_back(&mut walls, trial.former).await;
        self.write_down(&request.user, config_change("revert", &[])).await;
        Ok(self.settled(&walls, false, Vec::new()))
    }

    /// The config's files.
    pub(super) fn files(&self) -> ConfigFiles {
        ConfigFiles::new(&self.flags.config, &self.flags.state_dir)
    }

    pub(super) fn on_trial(&self) -> bool {
        self.trial.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// While a config is on trial nothing else may change the plan.
    pub(super) fn refuse_in_trial(&self) -> Result<(), Failure> {
        match self.trial().trial {
            None => Ok(()),
            Some(trial) => {
                let message = format!("a config is on trial until {} ({})", trial.until, trial.file);
                let help = "`secctl apply --confirmed` keeps it, `secctl apply --revert` takes it back";
                Err((409, ErrorReply::new(message, Some(help))))
            }
        }
    }

    fn running_trial(&self) -> Result<OnTrial, Failure> {
        let trial = self.trial.lock().unwrap_or_else(PoisonError::into_inner).clone();
        trial.ok_or_else(|| {
            let help = "it was confirmed or has gone back; `secctl tail --kind system` and the log tell";
            (404, ErrorReply::new("no config is on trial", Some(help)))
        })
    }

    fn settled(&self, walls: &Walls, confirmed: bool, notes: Vec<String>) -> Settled {
        let current = self.current.load();
        Settled { confirmed, generation: walls.generation(), config: current.loaded.file.clone(), notes }
    }

    fn begin_trial(self: &Arc<Self>, trial: OnTrial) -> Trial {
        let deadline = trial.deadline;
        let told = trial.told();
        *self.trial.lock().unwrap_or_else(PoisonError::into_inner) = Some(trial);
        let secd = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep_until(deadline).await;
            let mut walls = secd.change.lock().await;
            let same = |trial: &OnTrial| trial.deadline == deadline;
            let running = secd.trial.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(trial) = running.filter(same) {
                secd.system(Severity::Warning, "nobody confirmed the config in time; it goes back".into());
                secd.go_back(&mut walls, trial.former).await;
                secd.write_down(BY_ITSELF, config_change("revert", &[])).await;
            }
        });
        told
    }

    /// Takes the config on trial back: the copy of the last confirmed one comes into force.
    async fn go_back(&self, walls: &mut Walls, former: Arc<Current>) {
        let files = self.files();
        files.abandon();
        *self.trial.lock().unwrap_or_else(PoisonError::into_inner) = None;
        // Before anything that can fail: whatever is repaired from now on is repaired to what was confirmed.
        self.current.store(former);
        let outcome = async {
            // What follows puts all of it in force anew, whatever became of this.
            if let Err(error) = tokio::task::block_in_place(|| walls.revert()) {
                tracing::warn!(error = format!("{error:#}"), "the trial could not be ended in one step");
            }
            let former = self.current.load_full();
            let chosen = self.chosen_mode(&former).await;
            let good = files.good();
            let text = std::fs::read_to_string(&good).with_context(|| good.display().to_string())?;
            let name = if std::fs::read_to_string(&self.flags.config).is_ok_and(|held| held == text) {
                &self.flags.config
            } else {
                &good
            };
            let loaded = Loaded::of(name.display().to_string(), text, chosen).map_err(|problems| {
                anyhow::anyhow!("{}", problems.first().map(super::problem_line).unwrap_or_default())
            })?;
            self.put_in_force(walls, loaded, Lasting::ForGood).await
        };
        let outcome = outcome.await;
        let refused = files.is_refused().then(|| refused(&self.flags));
        self.trouble("the config", refused);
        self.trouble(
            "the packet path",
            outcome
                .err()
                .map(|error| format!("the former config could not be put in force again: {error:#}")),
        );
    }
}

impl OnTrial {
    fn told(&self) -> Trial {
        let left = self.deadline.saturating_duration_since(Instant::now());
        Trial {
            until: self.until,
            left_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
            file: self.file.clone(),
            user: self.user.clone(),
        }
    }
}

impl Walls {
    /// The second wall, as long as `lasting` says.
    pub(super) fn raise_wall(&mut self, policy: &Policy, flooded: &[ZoneId], lasting: Lasting) -> Result<()> {
        let options = Options { flooded: flooded.to_vec(), ..Options::default() };
        match lasting {
            Lasting::ForGood => self.wall.apply_with(policy, &options)?,
            Lasting::Trial(time) => self.wall.apply_until(policy, &options, time)?,
        }
        Ok(())
    }

    /// The second wall as it was before [`Self::raise_wall`]: the first one did not follow.
    pub(super) fn lower_wall(&mut self, former: &Policy, flooded: &[ZoneId], lasting: Lasting) -> Result<()> {
        match lasting {
            Lasting::ForGood => self.raise_wall(former, flooded, lasting)?,
            Lasting::Trial(_) => self.wall.revert()?,
        }
        Ok(())
    }

    /// The packet path, as long as `lasting` says.
    pub(super) fn install(
        &mut self,
        plan: &Plan,
        staged: Staged,
        lasting: Lasting,
    ) -> Result<enforce::xdp::Installed, enforce::xdp::Error> {
        match lasting {
            Lasting::ForGood => self.dataplane.install_staged(plan, staged),
            Lasting::Trial(time) => {
                let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
                self.dataplane.install_staged_until(plan, staged, boot_now().saturating_add(time))
            }
        }
    }

    /// What is on trial stays.
    fn confirm(&mut self) -> Result<()> {
        self.dataplane.confirm()?;
        Ok(self.wall.confirm()?)
    }

    /// What was before the trial is in force again, as far as the kernel has not done that itself.
    fn revert(&mut self) -> Result<()> {
        // Both are tried, whatever becomes of the other.
        let (first, second) = (self.dataplane.revert(), self.wall.revert());
        first?;
        Ok(second?)
    }

    fn generation(&self) -> u64 {
        self.dataplane.active().map_or(0, |active| u64::from(active.generation))
    }
}

/// What is told while the copy stands in for a file that was tried and not confirmed.
pub(super) fn refused(flags: &Flags) -> String {
    let files = ConfigFiles::new(&flags.config, &flags.state_dir);
    format!(
        "{} was tried and not confirmed; {} stands in for it until it changes, or `secctl reload` takes it as it is",
        flags.config.display(),
        files.good().display()
    )
}
