//! `flexvol driver health`: what the installer that stays says of itself.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flexvolume_host::os::atomic;
use serde::{Deserialize, Serialize};

use crate::args::{Global, HealthArguments};
use crate::failure::{Failure, OK, STEP_FAILED};
use crate::installation::Installed;
use crate::installation::pass::Outcome;
use crate::installation::plugin_dir::Chosen;
use crate::output::{Output, Tone, toned};

/// The report of an installer: the content of `--health-file`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Health {
    node: String,
    #[serde(flatten)]
    chosen: Chosen,
    installed_by: String,
    /// When the last pass ended, in seconds since 1970.
    looked_at: u64,
    /// Whether every driver is in place.
    pub(super) ready: bool,
    /// Why the last pass did nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    drivers: Vec<Outcome>,
}

impl Health {
    pub(super) fn new(
        node: String,
        chosen: Chosen,
        installed_by: &str,
        result: Result<&[Outcome], String>,
    ) -> Self {
        let (drivers, error) = match result {
            Ok(outcomes) => (outcomes.to_vec(), None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let ready = error.is_none() && drivers.iter().all(|driver| driver.effect.is_some());
        let looked_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self { node, chosen, installed_by: installed_by.to_owned(), looked_at, ready, error, drivers }
    }

    /// What it says apart from the time: a pass that says the same as the one before needs no word.
    pub(super) fn state(&self) -> Self {
        Self { looked_at: 0, ..self.clone() }
    }

    /// Writes the file, whole or not at all.
    pub(super) fn write(&self, file: &Path) -> Result<(), Failure> {
        let text = serde_json::to_vec_pretty(self).map_err(std::io::Error::from)?;
        atomic::write(file, &text)
            .map_err(|error| Failure::says(STEP_FAILED, format_args!("{}: {error}", file.display())))
    }

    /// How long ago the last pass ended. A clock that was set back makes no one ill.
    fn age(&self) -> Duration {
        let looked = UNIX_EPOCH + Duration::from_secs(self.looked_at);
        SystemTime::now().duration_since(looked).unwrap_or_default()
    }
}

pub(super) fn run(global: &Global, arguments: &HealthArguments) -> Result<u8, Failure> {
    let file = arguments.health_file.display();
    let text = fs::read(&arguments.health_file).map_err(|error| {
        Failure::says(STEP_FAILED, format_args!("{file}: {error}: no pass has ended yet"))
    })?;
    let health: Health = serde_json::from_slice(&text)
        .map_err(|error| Failure::says(STEP_FAILED, format_args!("{file} is no health file: {error}")))?;
    let age = health.age();
    Output { format: global.output }.print(&health, |health| words(health, age))?;
    let is_well = age <= arguments.max_age && (health.ready || !arguments.ready);
    Ok(if is_well { OK } else { STEP_FAILED })
}

fn words(health: &Health, age: Duration) -> String {
    let state = if health.ready { toned("ready", Tone::Good) } else { toned("not ready", Tone::Bad) };
    let age = humantime::format_duration(Duration::from_secs(age.as_secs()));
    let directory = health.chosen.plugin_dir.display();
    let mut text = format!("{} {state}: looked {age} ago at {directory}\n", health.node);
    if let Some(error) = &health.error {
        text.push_str(&format!("nothing was installed: {error}\n"));
    }
    text.extend(health.drivers.iter().map(|driver| {
        let state = match (driver.effect, &driver.error) {
            (Some(Installed::New | Installed::Upgraded | Installed::Unchanged), _) => "in place",
            (None, Some(error)) => error,
            (None, None) => "failed",
        };
        format!("{}: {state}\n", driver.name)
    }));
    text
}
