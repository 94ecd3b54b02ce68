//! Where the kubelet of this node looks for drivers, as far as its command line and its configuration can be seen.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::plugin_dir::in_root;

/// kubelet's own word on its plugin directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stated {
    /// The directory, as kubelet knows it.
    pub(crate) directory: PathBuf,
    /// Where it says so.
    pub(crate) source: String,
}

/// What can be seen of kubelet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kubelet {
    /// It runs, or has a configuration, and says where.
    States(Stated),
    /// It runs and says nothing, so it takes its default.
    SaysNothing,
    /// It is not to be seen.
    Unseen,
}

/// Configuration files that need no command line to be found: kubeadm's and that of many distributions.
const USUAL_CONFIGURATIONS: [&str; 2] = ["var/lib/kubelet/config.yaml", "etc/kubernetes/kubelet.conf.yaml"];

impl Kubelet {
    /// Looks for kubelet among the processes and files below `root`, the root directory of the node.
    pub(crate) fn look(root: &Path) -> Self {
        let command_line = command_line(&root.join("proc"));
        if let Some(words) = &command_line {
            if let Some(directory) = flag(words, "volume-plugin-dir") {
                return Self::states(directory, "kubelet's flag --volume-plugin-dir".to_owned());
            }
            let mut files = drop_ins(root, words);
            files.extend(flag(words, "config").map(PathBuf::from));
            if let Some(stated) = files.iter().find_map(|file| configured(root, file)) {
                return Self::States(stated);
            }
            return Self::SaysNothing;
        }
        let usual = USUAL_CONFIGURATIONS.iter().find_map(|file| configured(root, &Path::new("/").join(file)));
        usual.map_or(Self::Unseen, Self::States)
    }

    fn states(directory: String, source: String) -> Self {
        Self::States(Stated { directory: PathBuf::from(directory), source })
    }
}

/// The words with which kubelet was started.
fn command_line(processes: &Path) -> Option<Vec<String>> {
    let is_process = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
    for entry in fs::read_dir(processes).ok()?.flatten() {
        if !entry.file_name().to_str().is_some_and(is_process) {
            continue;
        }
        // Processes come and go, and some may not be looked at.
        let Ok(words) = fs::read(entry.path().join("cmdline")) else { continue };
        let words: Vec<String> = words
            .split(|byte| *byte == 0)
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .filter(|word| !word.is_empty())
            .collect();
        // `hyperkube kubelet`, `k3s`' and the like are left to the flag or the usual places.
        let is_kubelet = |word: &String| Path::new(word).file_name().is_some_and(|name| name == "kubelet");
        if words.iter().take(2).any(is_kubelet) {
            return Some(words);
        }
    }
    None
}

/// `--name=value` or `--name value`, the last one counts.
fn flag(words: &[String], name: &str) -> Option<String> {
    let mut found = None;
    for (number, word) in words.iter().enumerate() {
        let Some(rest) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else { continue };
        match rest.strip_prefix(name) {
            Some("") => found = words.get(number + 1).cloned(),
            Some(value) => found = value.strip_prefix('=').map(str::to_owned).or(found),
            None => {}
        }
    }
    found.filter(|value| !value.is_empty())
}

/// The files of `--config-dir`, the one that counts most first.
fn drop_ins(root: &Path, words: &[String]) -> Vec<PathBuf> {
    let Some(directory) = flag(words, "config-dir").map(PathBuf::from) else { return Vec::new() };
    let entries = fs::read_dir(in_root(root, &directory)).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| directory.join(entry.file_name()))
        .filter(|file| file.extension().is_some_and(|extension| extension == "conf"))
        .collect();
    files.sort();
    files.reverse();
    files
}

/// What a `KubeletConfiguration` says.
fn configured(root: &Path, file: &Path) -> Option<Stated> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Configuration {
        #[serde(default)]
        volume_plugin_dir: String,
    }
    let text = fs::read_to_string(in_root(root, file)).ok()?;
    let configuration: Configuration = match serde_saphyr::from_str(&text) {
        Ok(configuration) => configuration,
        Err(error) => {
            tracing::warn!(file = %file.display(), %error, "kubelet's configuration cannot be read");
            return None;
        }
    };
    let directory = PathBuf::from(configuration.volume_plugin_dir);
    let source = format!("volumePluginDir in kubelet's configuration {}", file.display());
    (!directory.as_os_str().is_empty()).then_some(Stated { directory, source })
}
