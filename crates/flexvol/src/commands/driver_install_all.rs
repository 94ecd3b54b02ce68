//! `flexvol driver install --from`: all drivers of a directory, once or for as long as the process lives.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use flexvolume_host::contract::DriverName;
use flexvolume_host::os::signals::Signals;
use serde::Serialize;

use super::driver_health::Health;
use super::driver_install::{first_plugin_dir, refused, text, try_init};
use super::driver_remove::{Removed, remove_installed_by};
use crate::args::{DirectoryArguments, Global, InstallArguments};
use crate::failure::{BAD_INPUT, Failure, OK, STEP_FAILED};
use crate::installation::pass::{From, Memory, Outcome, Policy, Untried};
use crate::installation::plugin_dir::{Chosen, choose};
use crate::installation::{InstallError, Installed, Strangers};
use crate::secrets::ManifestSecrets;
use crate::session::Session;

/// How soon a signal is answered.
const TICK: Duration = Duration::from_millis(100);

#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    chosen: &'a Chosen,
    drivers: &'a [Outcome],
}

/// An installer at work.
struct Installer<'a> {
    session: &'a Session,
    arguments: &'a InstallArguments,
    directory: &'a DirectoryArguments,
    from: &'a Path,
    chosen: Chosen,
}

pub(super) fn run(global: &Global, arguments: &InstallArguments) -> Result<u8, Failure> {
    let directory = &arguments.directory;
    let Some(from) = &directory.from else {
        return Err(Failure::says(BAD_INPUT, "give a driver's program, or --from DIR"));
    };
    let session = Session::new(global, ManifestSecrets::default())?;
    let chosen = plugin_dir(&session, directory)?;
    session.output.note(format_args!("installing into {}: {}", chosen.plugin_dir.display(), chosen.because));
    let installer = Installer { session: &session, arguments, directory, from, chosen };
    if directory.watch { installer.stay() } else { installer.once() }
}

fn plugin_dir(session: &Session, directory: &DirectoryArguments) -> Result<Chosen, Failure> {
    match &directory.to {
        Some(to) if to == Path::new("auto") => {
            choose(&directory.host_root).map_err(|error| Failure::new(BAD_INPUT, error))
        }
        Some(to) => Ok(Chosen { plugin_dir: absolute(to)?, because: "--to says so".to_owned() }),
        None => {
            let plugin_dir = first_plugin_dir(session)?.clone();
            Ok(Chosen { plugin_dir, because: "it is the first --plugin-dir".to_owned() })
        }
    }
}

fn absolute(directory: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(directory)
        .map_err(|error| Failure::says(BAD_INPUT, format_args!("{}: {error}", directory.display())))
}

impl Installer<'_> {
    fn once(&self) -> Result<u8, Failure> {
        let outcomes = self.pass(&mut Memory::default()).map_err(refused)?;
        let health = self.health(Ok(&outcomes));
        self.print(&outcomes)?;
        self.write(&health)?;
        Ok(if health.ready { OK } else { STEP_FAILED })
    }

    /// One pass after the other until a signal comes. What fails is told and tried again.
    fn stay(&self) -> Result<u8, Failure> {
        let signals = Signals::catch()?;
        let (mut memory, mut told) = (Memory::default(), None);
        loop {
            let result = self.pass(&mut memory);
            let health = self.health(result.as_deref().map_err(ToString::to_string));
            if told.as_ref() != Some(&health.state()) {
                match &result {
                    Ok(outcomes) => self.print_changed(outcomes)?,
                    Err(error) => self.session.output.note(format_args!("nothing was installed: {error}")),
                }
            }
            told = Some(health.state());
            self.write(&health)?;
            if was_told_to_end(&signals, self.directory.interval) {
                return self.leave();
            }
        }
    }

    fn leave(&self) -> Result<u8, Failure> {
        if !self.directory.remove_on_exit {
            return Ok(OK);
        }
        let removed = remove_installed_by(&self.chosen.plugin_dir, &self.arguments.installed_by)?;
        let all_removed = removed.iter().all(|driver| driver.error.is_none());
        self.session.output.print(&removed, |removed| removed.iter().map(Removed::text).collect())?;
        Ok(if all_removed { OK } else { STEP_FAILED })
    }

    fn pass(&self, memory: &mut Memory) -> Result<Vec<Outcome>, InstallError> {
        let host = &self.session.host;
        let try_init = |staging: &Path, name: &DriverName| try_init(host, staging, name);
        let require = self.directory.require_init && !self.arguments.force;
        let policy = Policy {
            installed_by: &self.arguments.installed_by,
            try_init: &try_init,
            untried: if require { Untried::Refuse } else { Untried::Install },
            strangers: if self.arguments.force { Strangers::Replace } else { Strangers::KeepFiles },
        };
        let from = From { directory: self.from, vendor: self.directory.vendor.as_deref() };
        policy.install_all(from, &self.chosen.plugin_dir, memory)
    }

    fn health(&self, result: Result<&[Outcome], String>) -> Health {
        let node = self.session.host.node.clone();
        Health::new(node, self.chosen.clone(), &self.arguments.installed_by, result)
    }

    fn write(&self, health: &Health) -> Result<(), Failure> {
        match &self.directory.health_file {
            Some(file) => health.write(file),
            None => Ok(()),
        }
    }

    /// What is worth a word in a pass that changed something.
    fn print_changed(&self, outcomes: &[Outcome]) -> Result<(), Failure> {
        let changed = |outcome: &&Outcome| outcome.effect != Some(Installed::Unchanged);
        let changed: Vec<Outcome> = outcomes.iter().filter(changed).cloned().collect();
        if changed.is_empty() { Ok(()) } else { self.print(&changed) }
    }

    fn print(&self, outcomes: &[Outcome]) -> Result<(), Failure> {
        let report = Report { chosen: &self.chosen, drivers: outcomes };
        self.session.output.print(&report, |report| report.drivers.iter().map(text).collect())
    }
}

/// Waits; says whether a signal came.
fn was_told_to_end(signals: &Signals, interval: Duration) -> bool {
    let end = Instant::now() + interval;
    loop {
        if signals.take().is_some() {
            return true;
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        thread::sleep(left.min(TICK));
    }
}
