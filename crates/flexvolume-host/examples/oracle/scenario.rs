//! Scenarios, as their files have them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// A mistake in a scenario's file.
#[derive(Debug)]
pub(crate) struct ScenarioError {
    pub(crate) file: PathBuf,
    pub(crate) line: usize,
    pub(crate) why: String,
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}", self.file.display(), self.line, self.why)
    }
}

/// One script of calls, with the world that they are made in.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    #[expect(dead_code, reason = "for people")]
    pub(crate) about: String,
    /// What a better host should not copy.
    #[serde(default)]
    pub(crate) in_tree_bug: String,
    #[serde(default)]
    pub(crate) needs_root: bool,
    #[serde(default = "usual_node")]
    pub(crate) node: String,
    #[serde(default)]
    pub(crate) mounter: MounterKind,
    pub(crate) drivers: BTreeMap<String, Driver>,
    #[serde(default)]
    pub(crate) tools: BTreeMap<String, Vec<Answer>>,
    #[serde(default)]
    pub(crate) volumes: Vec<Volume>,
    #[serde(default)]
    pub(crate) pods: Vec<Pod>,
    #[serde(default)]
    pub(crate) secrets: Vec<Secret>,
    pub(crate) steps: Vec<Step>,
}

fn usual_node() -> String {
    "node-1".to_owned()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MounterKind {
    #[default]
    Fake,
    Exec,
    Real,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Driver {
    #[serde(default)]
    pub(crate) calls: BTreeMap<String, Vec<Answer>>,
    #[serde(default)]
    pub(crate) file: DriverFile,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DriverFile {
    #[serde(default)]
    pub(crate) mode: String,
    #[serde(default)]
    pub(crate) content: String,
    #[serde(default)]
    pub(crate) absent: bool,
}

/// What a driver or a tool does at one invocation.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answer {
    #[serde(default)]
    pub(crate) sh: String,
    #[serde(default)]
    pub(crate) delay_ms: u64,
    #[serde(default)]
    pub(crate) stderr: String,
    #[serde(default)]
    pub(crate) stdout: String,
    pub(crate) stdout_b64: Option<String>,
    #[serde(default)]
    pub(crate) exit: u8,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Volume {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) pv: bool,
    pub(crate) driver: String,
    #[serde(default)]
    pub(crate) fs_type: String,
    #[serde(default)]
    pub(crate) read_only: bool,
    #[serde(default)]
    #[expect(dead_code, reason = "Kubernetes ignores it, and so does the strict reading")]
    pub(crate) pv_read_only: bool,
    #[serde(default)]
    pub(crate) options: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) long_options: BTreeMap<String, Repeat>,
    pub(crate) secret_ref: Option<SecretRef>,
    #[serde(default)]
    pub(crate) volume_mode: String,
    #[serde(default)]
    pub(crate) not_flex: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Repeat {
    pub(crate) text: String,
    pub(crate) times: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecretRef {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) namespace: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Secret {
    pub(crate) namespace: String,
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) data: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) string_data: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Pod {
    pub(crate) uid: String,
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) namespace: String,
    #[serde(default)]
    pub(crate) service_account: String,
    pub(crate) fs_group: Option<i64>,
    #[serde(default)]
    pub(crate) fs_group_change_policy: String,
}

/// One method call, or one change of the world.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    pub(crate) op: Op,
    #[serde(default)]
    pub(crate) role: Option<Role>,
    #[serde(default)]
    pub(crate) volume: String,
    #[serde(default)]
    pub(crate) volumes: Vec<String>,
    #[serde(default)]
    pub(crate) pod: String,
    pub(crate) node: Option<String>,
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) driver: String,
    #[serde(default)]
    pub(crate) device: String,
    #[serde(default)]
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) timeout_ms: u64,
    #[serde(default)]
    pub(crate) new: String,
    #[serde(default)]
    pub(crate) old: String,
    #[serde(default)]
    pub(crate) script: String,
    #[serde(default)]
    pub(crate) errno: String,
    #[serde(default)]
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) secrets: Vec<Secret>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    Kubelet,
    Controller,
    Expander,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Op {
    Probe,
    Restart,
    Find,
    FindBySpec,
    FindExpandable,
    GetVolumeName,
    UniqueName,
    SplitUniqueName,
    ConstructSpec,
    CanAttach,
    Attach,
    WaitForAttach,
    VolumesAreAttached,
    Detach,
    CanDeviceMount,
    GetDeviceMountPath,
    MountDevice,
    UnmountDevice,
    GetDeviceMountRefs,
    SetUp,
    TearDown,
    GetAttributes,
    GetMetrics,
    ExpandDevice,
    ExpandFs,
    Shell,
    Mounted,
    Unmounted,
    FailCheck,
    FailMount,
    FailUnmount,
    Secrets,
    Stat,
    Tree,
}

impl Scenario {
    /// Reads a scenario and refuses what it does not know.
    pub(crate) fn load(file: &Path) -> Result<Self, ScenarioError> {
        let failed = |line, why| ScenarioError { file: file.to_owned(), line, why };
        let text = fs::read_to_string(file).map_err(|error| failed(1, error.to_string()))?;
        let scenario: Self =
            serde_json::from_str(&text).map_err(|error| failed(error.line(), error.to_string()))?;
        let wanted = file.file_stem().unwrap_or_default().to_string_lossy();
        if scenario.name != wanted {
            let line = line_of(&text, "\"name\"", 0);
            return Err(failed(line, format!("the name is {:?}, the file's {wanted:?}", scenario.name)));
        }
        Ok(scenario)
    }

    /// The line of a step, for messages: every step has one `op`.
    pub(crate) fn line_of_step(file: &Path, step: usize) -> usize {
        fs::read_to_string(file).map_or(1, |text| line_of(&text, "\"op\"", step))
    }

    /// The volume of this name, or the first one.
    pub(crate) fn volume(&self, name: &str) -> Result<&Volume, String> {
        let found = self.volumes.iter().find(|volume| name.is_empty() || volume.name == name);
        found.ok_or_else(|| format!("the scenario has no volume {name:?}"))
    }

    /// The pod of this uid, or the first one.
    pub(crate) fn pod(&self, uid: &str) -> Result<&Pod, String> {
        let found = self.pods.iter().find(|pod| uid.is_empty() || pod.uid == uid);
        found.ok_or_else(|| format!("the scenario has no pod {uid:?}"))
    }
}

/// The line of the n-th occurrence of a key, quotes that stand inside a text left out.
fn line_of(text: &str, key: &str, index: usize) -> usize {
    let mut places = text.match_indices(key).filter(|(at, _)| !text[..*at].ends_with('\\'));
    places.nth(index).map_or(1, |(at, _)| text[..at].matches('\n').count() + 1)
}
