//! Which directory of a node is its plugin directory.

use std::fs;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use flexvolume_host::registry::DEFAULT_PLUGIN_DIR;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::kubelet::{Kubelet, Stated};

/// Where distributions have it when it is not at the default place, most specific first.
const KNOWN: [(&str, &str); 7] = [
    ("/etc/kubernetes/kubelet-plugins/volume/exec", "OpenShift 4"),
    ("/etc/kubernetes/volumeplugins", "AKS"),
    ("/home/kubernetes/flexvolume", "GKE on Container-Optimized OS"),
    ("/var/lib/kubelet/volumeplugins", "Rancher and others"),
    ("/var/lib/kubelet/plugins/volume/exec", "Bottlerocket"),
    ("/etc/kubernetes/plugins", "CoreOS and its kin"),
    (DEFAULT_PLUGIN_DIR, "kubelet's default"),
];

/// A plugin directory and the reason why it is taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Chosen {
    pub(crate) plugin_dir: PathBuf,
    pub(crate) because: String,
}

/// The plugin directory cannot be told.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum ChoiceError {
    #[error(
        "several directories of this node may be the plugin directory: {}; say which with --to", .0.join(", ")
    )]
    Several(Vec<String>),
    #[error(
        "kubelet's plugin directory {directory:?} ({source_of_it}) is not an absolute path: say where it is with --to"
    )]
    Relative { directory: String, source_of_it: String },
}

/// Chooses the plugin directory of the node whose root directory is `root`: kubelet's own word first, then the one known
/// place that is there, or the one of several that holds drivers, then the default.
///
/// # Errors
/// [`ChoiceError`].
pub(crate) fn choose(root: &Path) -> Result<Chosen, ChoiceError> {
    let chosen = |directory: &Path, because: String| Chosen { plugin_dir: in_root(root, directory), because };
    match Kubelet::look(root) {
        Kubelet::States(Stated { directory, source }) if directory.is_absolute() => {
            Ok(chosen(&directory, format!("{source} says {}", directory.display())))
        }
        Kubelet::States(Stated { directory, source }) => {
            Err(ChoiceError::Relative { directory: directory.display().to_string(), source_of_it: source })
        }
        Kubelet::SaysNothing => {
            let because = format!("kubelet runs and names no other: its default is {DEFAULT_PLUGIN_DIR}");
            Ok(chosen(Path::new(DEFAULT_PLUGIN_DIR), because))
        }
        Kubelet::Unseen => by_known_places(root, &chosen),
    }
}

fn by_known_places(root: &Path, chosen: &dyn Fn(&Path, String) -> Chosen) -> Result<Chosen, ChoiceError> {
    let there: Vec<_> = KNOWN.iter().filter(|(place, _)| in_root(root, Path::new(place)).is_dir()).collect();
    let with_drivers: Vec<_> =
        there.iter().filter(|(place, _)| holds_drivers(&in_root(root, Path::new(place)))).collect();
    match (&there[..], &with_drivers[..]) {
        ([], _) => {
            let because = format!(
                "kubelet is not to be seen and no known plugin directory is there: the default is {DEFAULT_PLUGIN_DIR}"
            );
            Ok(chosen(Path::new(DEFAULT_PLUGIN_DIR), because))
        }
        ([(place, whose)], _) => {
            Ok(chosen(Path::new(place), format!("{place} ({whose}) is the only known one that is there")))
        }
        (_, [(place, whose)]) => {
            Ok(chosen(Path::new(place), format!("{place} ({whose}) is the only one that holds drivers")))
        }
        (several, _) => {
            Err(ChoiceError::Several(several.iter().map(|(place, _)| (*place).to_owned()).collect()))
        }
    }
}

fn holds_drivers(directory: &Path) -> bool {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).any(|name| !name.starts_with('.'))
}

/// Where a path of the node is for us: links are followed as the node would, and never out of its root.
pub(crate) fn in_root(root: &Path, path: &Path) -> PathBuf {
    let plain = || root.join(path.strip_prefix("/").unwrap_or(path));
    if root == Path::new("/") {
        return plain();
    }
    let mut missing = PathBuf::new();
    let mut there = path;
    loop {
        if let Some(resolved) = resolve(root, there) {
            return if missing.as_os_str().is_empty() { resolved } else { resolved.join(missing) };
        }
        let (Some(above), Some(name)) = (there.parent(), there.file_name()) else { return plain() };
        missing =
            if missing.as_os_str().is_empty() { PathBuf::from(name) } else { Path::new(name).join(missing) };
        there = above;
    }
}

fn resolve(root: &Path, path: &Path) -> Option<PathBuf> {
    let directory = rustix::fs::openat(CWD, root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let found = rustix::fs::openat2(&directory, path, flags, Mode::empty(), ResolveFlags::IN_ROOT).ok()?;
    fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd())).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn node(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn choice(root: &tempfile::TempDir) -> (String, String) {
        let chosen = choose(root.path()).unwrap();
        let below = chosen.plugin_dir.strip_prefix(root.path().canonicalize().unwrap());
        (below.unwrap_or(&chosen.plugin_dir).display().to_string(), chosen.because)
    }

    #[test]
    fn the_flag_of_kubelet_wins_over_its_configuration() {
        let config = "kind: KubeletConfiguration\nvolumePluginDir: /from/config\n";
        let line = "/usr/bin/kubelet\0--config\0/etc/k.yaml\0--volume-plugin-dir=/from/flag\0";
        let root = node(&[("proc/7/cmdline", line), ("etc/k.yaml", config)]);
        assert_eq!(choice(&root).0, "from/flag");
        let root = node(&[("proc/7/cmdline", "kubelet\0--config=/etc/k.yaml\0"), ("etc/k.yaml", config)]);
        let (directory, because) = choice(&root);
        assert_eq!(directory, "from/config");
        assert_eq!(because, "volumePluginDir in kubelet's configuration /etc/k.yaml says /from/config");
        let root = node(&[
            ("proc/7/cmdline", "kubelet\0--config=/etc/k.yaml\0--config-dir\0/etc/k.d\0"),
            ("etc/k.yaml", config),
            ("etc/k.d/10.conf", "volumePluginDir: /first\n"),
            ("etc/k.d/20.conf", "volumePluginDir: /second\n"),
            ("etc/k.d/30.txt", "volumePluginDir: /third\n"),
        ]);
        assert_eq!(choice(&root).0, "second");
    }

    #[test]
    fn a_kubelet_that_says_nothing_has_its_default_and_others_are_no_kubelet() {
        let root =
            node(&[("proc/7/cmdline", "/usr/bin/kubelet\0--v=2\0"), ("etc/kubernetes/volumeplugins/x", "")]);
        assert_eq!(choice(&root).0, &DEFAULT_PLUGIN_DIR[1..]);
        let root = node(&[("proc/7/cmdline", "vi\0x\0kubelet\0--volume-plugin-dir=/no\0")]);
        assert!(choice(&root).1.starts_with("kubelet is not to be seen"));
    }

    #[test]
    fn without_kubelet_the_known_place_that_is_there_is_taken() {
        let root = node(&[("home/kubernetes/flexvolume/x", "")]);
        assert_eq!(choice(&root).0, "home/kubernetes/flexvolume");
        let root =
            node(&[("home/kubernetes/flexvolume/.hidden", ""), ("var/lib/kubelet/volumeplugins/a~b/b", "")]);
        let (directory, because) = choice(&root);
        assert_eq!(directory, "var/lib/kubelet/volumeplugins");
        assert!(because.ends_with("is the only one that holds drivers"), "{because}");
        let root = node(&[("home/kubernetes/flexvolume/a", ""), ("var/lib/kubelet/volumeplugins/b", "")]);
        assert!(matches!(choose(root.path()), Err(ChoiceError::Several(places)) if places.len() == 2));
    }

    #[test]
    fn links_of_the_node_lead_nowhere_else() {
        let root =
            node(&[("srv/plugins/x", ""), ("proc/7/cmdline", "kubelet\0--volume-plugin-dir\0/opt/p/exec\0")]);
        fs::create_dir(root.path().join("opt")).unwrap();
        symlink("/srv/plugins", root.path().join("opt/p")).unwrap();
        assert_eq!(choice(&root).0, "srv/plugins/exec");
        symlink("../../../../../../srv", root.path().join("up")).unwrap();
        let inside = root.path().canonicalize().unwrap().join("srv");
        assert_eq!(in_root(root.path(), Path::new("/up")), inside);
    }

    #[test]
    fn a_relative_directory_is_refused() {
        let root = node(&[("proc/7/cmdline", "kubelet\0--volume-plugin-dir=exec\0")]);
        assert!(matches!(choose(root.path()), Err(ChoiceError::Relative { .. })));
    }
}
