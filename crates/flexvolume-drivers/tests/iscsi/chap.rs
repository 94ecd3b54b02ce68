//! Passwords: right, wrong, and nowhere.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Answer, Program};
use crate::volume::{
    CHAP, DATABASE, Hosts, Volume, is_in_a_file, machine_is_missing, records, sessions, shell,
};

const MARKER: &str = "secret-of-chap";

/// The target asks for a password.
fn volume() -> Volume {
    Volume::new("a").with("iqn", CHAP)
}

/// What an administrator gives a node.
pub(crate) fn give(volume: &Volume, password: &str) {
    let folder = volume.world.path("etc");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("iscsi-chap.json");
    let text = json!({"targets": {CHAP: {"username": "test", "password": password}}});
    fs::write(&file, text.to_string()).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
}

fn mount(volume: &Volume, secrets: &[(&str, &str)]) -> Answer {
    let mut options: Value = serde_json::from_str(&volume.options()).unwrap();
    for (key, value) in secrets {
        options[format!("kubernetes.io/secret/node.session.auth.{key}")] = json!(value);
    }
    volume.call(&["mount", &volume.target(), &options.to_string()])
}

#[test]
fn a_node_proves_itself_by_the_administrators_file() {
    if machine_is_missing("chap::a_node_proves_itself_by_the_administrators_file") {
        return;
    }
    let _hosts = Hosts::fresh();
    let mut volume = volume();
    volume.connect().failure(&["refuses the login", "CHAP"]);
    volume.set("chapAuthSession", "true");
    volume.connect().failure(&["there are no credentials", "iscsi-chap.json"]);
    give(&volume, "wrong-word-of-chap");
    let answer = volume.connect().failure(&["refuses the login", "CHAP"]);
    assert!(!answer.message().contains("wrong-word"), "{answer:?}");
    assert_eq!((sessions(), records()), (0, 0));
    give(&volume, MARKER);
    volume.up();
    let open = shell(&format!("find {DATABASE} -perm /077"));
    assert_eq!(open, "", "others may read what is for root alone");
    assert!(!is_in_a_file(MARKER, &volume.world.path("state")));
    volume.unmount().success();
    assert!(!is_in_a_file(MARKER, Path::new("/etc/iscsi")));
}

#[test]
fn a_pod_proves_itself_by_its_secret() {
    if machine_is_missing("chap::a_pod_proves_itself_by_its_secret") {
        return;
    }
    let _hosts = Hosts::fresh();
    let mut volume = volume();
    volume.program = Program::IscsiPod;
    // Base64, as in a call of Kubernetes.
    let (user, right, wrong) = ("dGVzdA==", "c2VjcmV0LW9mLWNoYXA=", "d3Jvbmctd29yZC1vZi1jaGFw");
    mount(&volume, &[]).failure(&["refuses the login", "CHAP"]);
    let answer = mount(&volume, &[("username", user), ("password", wrong)]).failure(&["refuses the login"]);
    assert!(!answer.message().contains("wrong-word"), "{answer:?}");
    mount(&volume, &[("password", right)]).failure(&["node.session.auth.username", "missing"]);
    assert_eq!((sessions(), records(), volume.is_mounted()), (0, 0, false));
    let log = volume.world.path("processes");
    // Whatever runs meanwhile shows its arguments and its environment.
    let watch = format!(
        "while [ ! -e '{0}.end' ]; do for p in /proc/[0-9]*; do case $(readlink $p/exe) in */iscsi-pod) ;; *) \
         tr '\\0' ' ' <$p/cmdline; tr '\\0' ' ' <$p/environ; esac; done >>'{0}' 2>/dev/null; done",
        log.display()
    );
    let mut watcher = volume.world.spawning("sh").args(["-c", &watch]).spawn().unwrap();
    let mounted = mount(&volume, &[("username", user), ("password", right)]);
    fs::write(log.with_extension("end"), "").unwrap();
    watcher.wait().unwrap();
    mounted.success();
    mount(&volume, &[("username", user), ("password", right)]).success();
    let seen = fs::read_to_string(&log).unwrap_or_default();
    assert!(!seen.contains(MARKER), "a password was among the arguments of a program");
    assert!(!is_in_a_file(MARKER, &volume.world.path("state")));
    // Nobody else rides on a session that a Secret has opened.
    let mut second = Volume::new("a").with("iqn", CHAP);
    second.program = Program::IscsiPod;
    second.name = "second";
    second.set("lun", "1");
    mount(&second, &[]).failure(&["refuses the login"]);
    fs::write(volume.file(), "precious").unwrap();
    volume.call(&["unmount", &volume.target()]).success();
    volume.call(&["unmount", &volume.target()]).success();
    assert_eq!((sessions(), records(), volume.is_mounted()), (0, 0, false));
    assert!(!is_in_a_file(MARKER, Path::new("/etc/iscsi")));
    mount(&volume, &[("username", user), ("password", right)]).success();
    assert_eq!(fs::read_to_string(volume.file()).unwrap(), "precious");
    volume.call(&["unmount", &volume.target()]).success();
}
