//! A running scenario.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flexvolume_host::contract::Secret as SecretValue;
use flexvolume_host::os::System;
use flexvolume_host::os::mount::{Mounter, SystemMounter};
use flexvolume_host::registry::{Registry, Started};
use flexvolume_host::{Deadlines, Reading, SecretError, SecretObject, SecretSource, VolumeHost};
use serde::Serialize;
use serde_json::Value;

use crate::layout::{self, PLUGIN_DIR};
use crate::mounters::{ExecMounter, FakeMounter};
use crate::operations;
use crate::recorder::{Effect, ROOT_MARK, Recorder, RecordingRunner, Tools};
use crate::scenario::{MounterKind, Op, Role, Scenario, Secret, Step};

/// Everything observed while a scenario ran.
#[derive(Debug, Serialize)]
pub(crate) struct Transcript {
    pub(crate) scenario: String,
    pub(crate) steps: Vec<StepResult>,
}

/// What one step did and returned.
#[derive(Debug, Serialize)]
pub(crate) struct StepResult {
    op: Op,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    effects: Vec<Effect>,
    #[serde(skip_serializing_if = "Value::is_null")]
    result: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// A mistake in a scenario, or in the world that it needs, at the step of this number.
#[derive(Debug)]
pub(crate) struct StepError {
    pub(crate) step: usize,
    pub(crate) why: String,
}

pub(crate) struct World<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) fake: Option<Arc<FakeMounter>>,
    mounter: Arc<dyn Mounter>,
    secrets: Arc<ApiServer>,
    /// One registry for each process of Kubernetes.
    registries: BTreeMap<Role, Arc<Registry>>,
}

/// Plays a scenario in an empty directory.
pub(crate) fn play(scenario: &Scenario, root: &Path) -> Result<Transcript, StepError> {
    let at = |step| move |why| StepError { step, why };
    let mut world = World::new(scenario, root).map_err(at(0))?;
    let mut steps = Vec::with_capacity(scenario.steps.len());
    for (number, step) in scenario.steps.iter().enumerate() {
        steps.push(world.step(step).map_err(at(number))?);
    }
    Ok(Transcript { scenario: scenario.name.clone(), steps })
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario, root: &Path) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("the working directory: {error}");
        layout::lay_out(scenario, root).map_err(failed)?;
        let recorder = Arc::new(Recorder::new(root));
        let mut fake = None;
        let mounter: Arc<dyn Mounter> = match scenario.mounter {
            MounterKind::Real => Arc::new(SystemMounter),
            MounterKind::Exec => {
                plain_file_system(root)?;
                let runner = RecordingRunner { recorder: Arc::clone(&recorder), tools: Tools::Replayed };
                Arc::new(ExecMounter::new(runner).map_err(failed)?)
            }
            MounterKind::Fake => {
                let mounter = Arc::new(FakeMounter::new(Arc::clone(&recorder)));
                fake = Some(Arc::clone(&mounter));
                mounter
            }
        };
        let secrets = Arc::new(ApiServer(Mutex::new(scenario.secrets.clone())));
        Ok(Self { scenario, recorder, fake, mounter, secrets, registries: BTreeMap::new() })
    }

    /// An error means that the scenario is wrong; errors of the host are part of the result.
    fn step(&mut self, step: &Step) -> Result<StepResult, String> {
        let outcome = operations::perform(self, step)?;
        let hidden = self.recorder.hide(&outcome.result.to_string());
        Ok(StepResult {
            op: step.op,
            role: step.role,
            effects: self.recorder.take(),
            result: serde_json::from_str(&hidden).map_err(|error| error.to_string())?,
            error: outcome.error.map(|error| self.recorder.hide(&error)),
        })
    }

    /// A path of the scenario, made absolute.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        path.replace(ROOT_MARK, &self.recorder.root().to_string_lossy()).into()
    }

    /// The registry of this role; the first use starts it. The expand controller has none.
    pub(crate) fn registry(&mut self, role: Option<Role>) -> Option<Arc<Registry>> {
        self.start(role).map(|(registry, _)| registry)
    }

    pub(crate) fn start(&mut self, role: Option<Role>) -> Option<(Arc<Registry>, Started)> {
        let role = role.unwrap_or(Role::Kubelet);
        if role == Role::Expander {
            return None;
        }
        if let Some(registry) = self.registries.get(&role) {
            return Some((Arc::clone(registry), Started::Before));
        }
        let recorder = Arc::clone(&self.recorder);
        let plugin_dirs = vec![recorder.root().join(PLUGIN_DIR)];
        let registry = Registry::new(Arc::new(self.host(role)), plugin_dirs)
            .observed_by(Arc::new(move |probed| recorder.add_probe(probed)));
        let registry = Arc::new(registry);
        let started = registry.start();
        self.registries.insert(role, Arc::clone(&registry));
        Some((registry, started))
    }

    pub(crate) fn restart(&mut self, role: Option<Role>) {
        self.registries.remove(&role.unwrap_or(Role::Kubelet));
    }

    fn host(&self, role: Role) -> VolumeHost {
        let tools = match self.scenario.mounter {
            MounterKind::Real => Tools::Real,
            MounterKind::Fake | MounterKind::Exec => Tools::Replayed,
        };
        let runner = RecordingRunner { recorder: Arc::clone(&self.recorder), tools };
        let (root, node) = match role {
            Role::Kubelet => (self.recorder.root().to_owned(), self.scenario.node.clone()),
            Role::Controller | Role::Expander => (PathBuf::new(), String::new()),
        };
        VolumeHost {
            root,
            node,
            system: System { runner: Arc::new(runner), mounter: Arc::clone(&self.mounter) },
            secrets: self.secrets.clone(),
            reading: Reading::Strict,
            deadlines: Deadlines::default(),
            settings: Arc::default(),
        }
    }

    pub(crate) fn set_secrets(&self, secrets: &[Secret]) {
        *self.secrets.0.lock().unwrap_or_else(PoisonError::into_inner) = secrets.to_vec();
    }

    /// Changes the world from outside, and lets the registries notice.
    #[expect(clippy::disallowed_methods, reason = "a script of the scenario, not a program of the host")]
    pub(crate) fn shell(&self, script: &str) -> Result<(), String> {
        let output = std::process::Command::new("/bin/sh")
            .args(["-ec", script])
            .current_dir(self.recorder.root())
            .env_clear()
            .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
            .output()
            .map_err(|error| format!("/bin/sh: {error}"))?;
        if !output.status.success() {
            return Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)));
        }
        if !self.registries.is_empty() {
            // What the script has left behind may still be at work.
            thread::sleep(Duration::from_millis(50));
        }
        for registry in self.registries.values() {
            registry.notice();
        }
        Ok(())
    }
}

/// Mount flags of the source would appear in the second step of a bind mount.
fn plain_file_system(root: &Path) -> Result<(), String> {
    use rustix::fs::StatVfsMountFlags as Flags;
    let copied =
        Flags::RDONLY | Flags::NOSUID | Flags::NODEV | Flags::NOEXEC | Flags::NOATIME | Flags::NODIRATIME;
    let figures = rustix::fs::statvfs(root).map_err(|errno| format!("{}: {errno}", root.display()))?;
    if figures.f_flag.intersects(copied) {
        return Err(format!(
            "{} is mounted with nodev, nosuid, noexec, noatime, nodiratime or ro: set TMPDIR to a directory that is not",
            root.display()
        ));
    }
    Ok(())
}

/// An API server whose only objects are secrets.
struct ApiServer(Mutex<Vec<Secret>>);

impl SecretSource for ApiServer {
    fn secret(&self, namespace: &str, name: &str) -> Result<SecretObject, SecretError> {
        let secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = secrets.iter().find(|secret| secret.namespace == namespace && secret.name == name);
        let secret = found.ok_or_else(|| SecretError::NotFound { name: name.to_owned() })?;
        let mut data = BTreeMap::new();
        for (key, encoded) in &secret.data {
            let bytes = BASE64_STANDARD.decode(encoded).map_err(|error| SecretError::Unavailable {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                why: error.to_string(),
            })?;
            data.insert(key.clone(), SecretValue::new(bytes));
        }
        for (key, text) in &secret.string_data {
            data.insert(key.clone(), SecretValue::new(text.clone()));
        }
        Ok(SecretObject { kind: secret.kind.clone(), data })
    }
}
