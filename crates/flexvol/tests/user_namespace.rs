//! An ordinary user's way: everything in a user namespace.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

const DRIVER: &str = r#"#!/bin/sh
case $1 in
init) echo '{"status": "Success", "capabilities": {"attach": false}}' ;;
mount) mount -t tmpfs -o size=1m memory "$2" && echo '{"status": "Success"}' ;;
unmount) umount "$2" && echo '{"status": "Success"}' ;;
*) echo '{"status": "Not supported"}' ;;
esac
"#;

const POD: &str = "
kind: Pod
metadata: {name: web}
spec:
  containers: [{name: app, volumeMounts: [{name: data, mountPath: /flexvol-data}]}]
  volumes: [{name: data, flexVolume: {driver: example.com/memory}}]
";

#[test]
fn a_pod_runs_in_a_user_namespace() {
    let directory = tempfile::tempdir().unwrap();
    let flexvol = env!("CARGO_BIN_EXE_flexvol");
    let probe = run(directory.path(), &[flexvol, "in-user-namespace", "--", "true"]);
    if !probe.status.success() {
        let why = String::from_utf8_lossy(&probe.stderr).into_owned();
        eprintln!("skipped: a_pod_runs_in_a_user_namespace: {}", why.trim());
        return;
    }
    let place = directory.path().join("plugins/example.com~memory");
    fs::create_dir_all(&place).unwrap();
    fs::write(place.join("memory"), DRIVER).unwrap();
    fs::set_permissions(place.join("memory"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(directory.path().join("pod.yaml"), POD).unwrap();
    let command = "id -u; echo hello >/flexvol-data/x; cat /flexvol-data/x; ls -d /flexvol-data";
    let mut words = vec![flexvol, "in-user-namespace", "--", flexvol, "run", "-f", "pod.yaml"];
    words.extend(["--", "sh", "-c", command]);
    let output = run(directory.path(), &words);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(printed, "0\nhello\n/flexvol-data\n", "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0));
    assert!(!Path::new("/flexvol-data").exists());
}

fn run(directory: &Path, words: &[&str]) -> Output {
    #[expect(clippy::disallowed_methods, reason = "a test plays a person at a shell")]
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).current_dir(directory);
    command.env("FLEXVOL_ROOT", directory.join("root")).env("FLEXVOL_PLUGIN_DIR", directory.join("plugins"));
    command.output().unwrap()
}
