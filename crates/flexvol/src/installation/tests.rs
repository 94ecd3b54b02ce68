//! Installations in real directories; only `init` is made up.

use std::os::unix::fs::symlink;

use flexvolume_host::contract::Capabilities;

use super::digest::KnownFacts;
use super::pass::{From, Memory, Outcome, Policy, Trial, Untried, remove_all, version_in};
use super::removal::Program;
use super::*;

struct Stage(tempfile::TempDir);

impl Stage {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    fn write(&self, below: &str, text: &str) {
        let path = self.path(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn pass_as(&self, installed_by: &str) -> Vec<Outcome> {
        let try_init = |_: &Path, _: &DriverName| {
            Ok(Trial { capabilities: Capabilities::default(), version: Some("1.2".to_owned()) })
        };
        let policy = Policy {
            installed_by,
            try_init: &try_init,
            untried: Untried::Refuse,
            strangers: Strangers::KeepFiles,
        };
        let from = self.path("from");
        let from = From { directory: &from, vendor: None };
        policy.install_all(from, &self.path("to"), &mut Memory::default()).unwrap()
    }

    fn pass(&self) -> Vec<String> {
        let words = |outcome: Outcome| match (outcome.effect, outcome.error) {
            (Some(effect), _) => format!("{} {effect:?}", outcome.name),
            (None, error) => format!("{}: {}", outcome.name, error.unwrap_or_default()),
        };
        let words = self.pass_as("me").into_iter().map(words);
        words.map(|words| words.replace(&self.0.path().display().to_string(), "")).collect()
    }

    /// Every file in the plugin directory and what it holds, but not the ledger.
    fn tree(&self) -> Vec<String> {
        let mut files = Vec::new();
        let mut left = vec![self.path("to")];
        while let Some(directory) = left.pop() {
            for entry in fs::read_dir(&directory).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(self.path("to")).unwrap().display().to_string();
                if path.is_dir() {
                    files.push(format!("{name}/"));
                    left.push(path);
                } else if name != ".flexvol-installed.json" {
                    files.push(format!("{name} {}", fs::read_to_string(&path).unwrap()));
                }
            }
        }
        files.sort();
        files
    }

    fn remove(&self, name: &str, whose: Program) -> Result<(), InstallError> {
        let (to, name) = (self.path("to"), DriverName::parse(name).unwrap());
        Installation::begin(&to, &name)?.remove(whose)
    }
}

#[test]
fn a_driver_comes_with_its_files_is_upgraded_and_goes_with_them() {
    let stage = Stage::new();
    stage.write("from/a.b~c/c", "one");
    stage.write("from/a.b~c/lib/jq", "jq");
    stage.write("from/a.b~c/old", "old");
    assert_eq!(stage.pass(), ["a.b/c New"]);
    assert_eq!(stage.pass(), ["a.b/c Unchanged"]);
    let installed = ["a.b~c/", "a.b~c/c one", "a.b~c/lib/", "a.b~c/lib/jq jq", "a.b~c/old old"];
    assert_eq!(stage.tree(), installed);
    fs::remove_file(stage.path("from/a.b~c/old")).unwrap();
    stage.write("from/a.b~c/c", "two");
    stage.write("from/a.b~c/lib/new", "new");
    assert_eq!(stage.pass(), ["a.b/c Upgraded"]);
    let upgraded = ["a.b~c/", "a.b~c/c two", "a.b~c/lib/", "a.b~c/lib/jq jq", "a.b~c/lib/new new"];
    assert_eq!(stage.tree(), upgraded);
    stage.remove("a.b/c", Program::Ours).unwrap();
    assert_eq!(stage.tree(), [""; 0]);
    assert!(fs::read_dir(stage.path("to")).unwrap().next().is_none(), "the ledger of nothing is gone");
}

#[test]
fn a_wiped_directory_is_filled_again_and_a_changed_program_is_put_right() {
    let stage = Stage::new();
    stage.write("from/a.b~c/c", "one");
    assert_eq!(stage.pass(), ["a.b/c New"]);
    fs::rename(stage.path("to"), stage.path("wiped")).unwrap();
    assert_eq!(stage.pass(), ["a.b/c New"]);
    fs::remove_file(stage.path("to/a.b~c/c")).unwrap();
    assert_eq!(stage.pass(), ["a.b/c Upgraded"]);
    stage.write("to/a.b~c/c", "by hand");
    assert_eq!(stage.pass(), ["a.b/c Upgraded"]);
    assert_eq!(stage.tree(), ["a.b~c/", "a.b~c/c one"]);
}

#[test]
fn what_others_have_put_there_is_neither_replaced_nor_deleted() {
    let stage = Stage::new();
    stage.write("from/a.b~c/c", "one");
    stage.write("from/a.b~c/config", "default");
    stage.write("to/a.b~c/log", "log");
    assert_eq!(stage.pass(), ["a.b/c Upgraded"]);
    stage.write("to/a.b~c/config", "edited");
    stage.write("from/a.b~c/c", "two");
    let refused =
        "a.b/c: /to/a.b~c/config was not installed as it is now: move it away, or replace it with --force";
    assert_eq!(stage.pass(), [refused]);
    let kept = ["a.b~c/", "a.b~c/c one", "a.b~c/config edited", "a.b~c/log log"];
    assert_eq!(stage.tree(), kept);
    let error = stage.remove("a.b/c", Program::Any).unwrap_err();
    assert!(
        matches!(&error, InstallError::ForeignFiles { files, .. } if files == &["config", "log"]),
        "{error}"
    );
    assert_eq!(stage.tree(), kept);
}

#[test]
fn an_installer_removes_only_what_it_has_installed() {
    let stage = Stage::new();
    stage.write("from/a.b~c/c", "one");
    stage.write("from/a.b~d/d", "one");
    stage.pass_as("me");
    stage.write("to/a.b~c/c", "by hand");
    stage.write("to/a.b~e/e", "by hand");
    let removed = remove_all(&stage.path("to"), "somebody else").unwrap();
    assert_eq!(removed.len(), 0);
    let removed = remove_all(&stage.path("to"), "me").unwrap();
    let gone: Vec<_> = removed.iter().map(|(name, result)| (name.as_str(), result.is_ok())).collect();
    assert_eq!(gone, [("a.b/c", false), ("a.b/d", true)]);
    assert_eq!(stage.tree(), ["a.b~c/", "a.b~c/c by hand", "a.b~e/", "a.b~e/e by hand"]);
    // A person who names a driver means it.
    stage.remove("a.b/c", Program::Any).unwrap();
    stage.remove("a.b/e", Program::Any).unwrap();
    assert_eq!(stage.tree(), [""; 0]);
}

#[test]
fn links_in_a_plugin_directory_do_not_lead_an_installation_astray() {
    let stage = Stage::new();
    stage.write("from/a.b~c/c", "one");
    stage.write("from/a.b~c/lib/jq", "jq");
    assert_eq!(stage.pass(), ["a.b/c New"]);
    stage.write("elsewhere/jq", "jq");
    fs::remove_file(stage.path("to/a.b~c/lib/jq")).unwrap();
    symlink(stage.path("elsewhere/jq"), stage.path("to/a.b~c/lib/jq")).unwrap();
    stage.remove("a.b/c", Program::Any).unwrap_err();
    stage.pass();
    assert!(!stage.path("to/a.b~c/lib/jq").is_symlink(), "the link is replaced, not followed");
    assert_eq!(fs::read_to_string(stage.path("elsewhere/jq")).unwrap(), "jq");
}

#[test]
fn a_source_that_changes_while_it_is_copied_is_not_installed() {
    let stage = Stage::new();
    stage.write("from/a.b~c/c", "one");
    let found = Bundle::all_in(&stage.path("from"), None, &mut KnownFacts::default()).unwrap();
    let bundle = found.into_iter().next().unwrap().unwrap();
    stage.write("from/a.b~c/c", "other");
    let to = stage.path("to");
    let mut installation = Installation::begin(&to, &bundle.name).unwrap();
    let error = installation.stage(&bundle, "me").unwrap_err();
    assert!(matches!(error, InstallError::SourceChanged(_)), "{error}");
    installation.end().unwrap();
    assert_eq!(stage.tree(), [""; 0]);
    assert!(fs::read_dir(to).unwrap().next().is_none());
}

#[test]
fn one_driver_that_cannot_be_installed_stops_no_other() {
    let stage = Stage::new();
    stage.write("from/a.b~c/c", "one");
    stage.write("from/a.b~d/d", "one");
    stage.write("to/a.b~c", "in the way");
    let told = stage.pass();
    assert!(told[0].contains("to/a.b~c is in the way"), "{told:?}");
    assert_eq!(told[1], "a.b/d New");
}

#[test]
fn a_version_is_found_in_what_a_driver_says_of_itself() {
    assert_eq!(version_in("example driver v1.2.3-rc1, ready"), Some("v1.2.3-rc1".to_owned()));
    assert_eq!(version_in("version: 2.0."), Some("2.0".to_owned()));
    assert_eq!(version_in("mounted 3 volumes in 10 s"), None);
    assert_eq!(version_in(""), None);
    assert_eq!(version_in(&format!("1.{}", "9".repeat(100))), None);
}

#[test]
fn kubelet_loads_a_driver_once_for_each_version_and_forgets_it_when_it_is_removed() {
    use std::sync::{Arc, Mutex};

    use flexvolume_host::os::System;
    use flexvolume_host::registry::{Probed, Registry};
    use flexvolume_host::{Deadlines, Reading, VolumeHost};

    let stage = Stage::new();
    let answer = "#!/bin/sh\necho '{\"status\": \"Success\"}'\n";
    stage.write("from/a.b~c/c", answer);
    stage.write("from/a.b~c/beside", "one");
    fs::create_dir(stage.path("to")).unwrap();
    let host = VolumeHost {
        root: stage.path("root"),
        node: "node".to_owned(),
        system: System::host(),
        secrets: Arc::new(crate::secrets::ManifestSecrets::default()),
        reading: Reading::Strict,
        deadlines: Deadlines::default(),
        settings: Arc::default(),
    };
    let seen = Arc::new(Mutex::new(Vec::new()));
    let observed = Arc::clone(&seen);
    let registry = Registry::new(Arc::new(host), vec![stage.path("to")])
        .observed_by(Arc::new(move |probed: &Probed| observed.lock().unwrap().push(probed.clone())));
    let look = || {
        registry.refresh();
        std::mem::take(&mut *seen.lock().unwrap())
    };
    let added = [Probed { added: vec!["a.b/c".to_owned()], ..Probed::default() }];
    assert_eq!(look(), []);
    assert_eq!(stage.pass(), ["a.b/c New"]);
    assert_eq!(look(), added);
    stage.write("from/a.b~c/c", &format!("{answer}# newer\n"));
    stage.write("from/a.b~c/beside", "two");
    assert_eq!(stage.pass(), ["a.b/c Upgraded"]);
    assert_eq!(look(), added);
    assert_eq!(look(), []);
    stage.remove("a.b/c", Program::Ours).unwrap();
    assert_eq!(look(), [Probed { removed: vec!["a.b/c".to_owned()], ..Probed::default() }]);
    assert_eq!(look(), []);
}
