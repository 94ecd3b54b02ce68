//! `resize` with the driver `loop` and a real file system, and `status --usage` beside a file system that hangs.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const FLEXVOL: &str = env!("CARGO_BIN_EXE_flexvol");

#[test]
fn a_device_of_two_pods_grows_with_its_file_system() {
    let name = "a_device_of_two_pods_grows_with_its_file_system";
    let driver = Path::new(FLEXVOL).parent().unwrap().join("loop");
    let tool = |tool: &str| ["/usr/sbin", "/sbin"].iter().any(|place| Path::new(place).join(tool).exists());
    let lacks = [
        (driver.exists(), "the driver loop built (cargo build --workspace)"),
        (tool("mkfs.xfs") && tool("xfs_growfs"), "xfsprogs"),
        (Path::new("/dev/loop-control").exists(), "loop devices"),
        (can("mount -t tmpfs none /mnt"), "mounts of its own, as root"),
    ];
    if let Some((_, what)) = lacks.into_iter().find(|(is_there, _)| !is_there) {
        eprintln!("skipped: {name}: needs {what}");
        return;
    }
    let directory = place("flexvol~loop/loop", &fs::read(driver).unwrap());
    fs::write(directory.path().join("pods.yaml"), LOOP_PODS).unwrap();
    let output = play(&directory, LOOP_SCRIPT);
    let printed = text(&output);
    assert!(output.status.success(), "{printed}");
    let json: Vec<Value> = serde_json::Deserializer::from_slice(&output.stdout)
        .into_iter()
        .map(|document| document.unwrap())
        .collect();
    let [before, grown, again, seen_by_two] = &json[..] else { unreachable!("{printed}") };
    let usage = |report: &Value, pod: usize| report["volumes"][pod]["usage"]["capacity"].as_u64().unwrap();
    // The device has a line of its own, the first.
    assert!(usage(before, 1) < 320 << 20, "{printed}");
    assert_eq!((grown["effect"].as_str(), grown["oldSize"].as_u64()), (Some("changed"), Some(320 << 20)));
    assert!(grown["fileSystem"].as_u64().unwrap() > 320 << 20, "{printed}");
    assert!(grown["warnings"][0].as_str().unwrap().contains("capacity"), "{printed}");
    assert_eq!(again["effect"], "unchanged", "the other pod's volume is the same device");
    assert_eq!(usage(seen_by_two, 1), usage(seen_by_two, 2));
    assert_eq!(Some(usage(seen_by_two, 2)), grown["fileSystem"].as_u64());
    assert!(printed.contains("never shrinks"), "{printed}");
}

const LOOP_PODS: &str = r"
apiVersion: v1
kind: PersistentVolume
metadata: {name: disk}
spec:
  capacity: {storage: 320Mi}
  accessModes: [ReadWriteOnce]
  claimRef: {namespace: default, name: data}
  flexVolume: {driver: flexvol/loop, fsType: xfs, options: {size: 320Mi}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {volumeName: disk}
---
apiVersion: v1
kind: Pod
metadata: {name: one}
spec: {containers: [{name: c}], volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]}
---
apiVersion: v1
kind: Pod
metadata: {name: two}
spec: {containers: [{name: c}], volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]}
";

const LOOP_SCRIPT: &str = r#"
set -e
trap '"$FLEXVOL" unmount -f pods.yaml >&2' EXIT
"$FLEXVOL" mount -f pods.yaml >&2
"$FLEXVOL" status --usage --output json
"$FLEXVOL" resize --pod default.one --volume data --size 400Mi --output json
"$FLEXVOL" resize --pod default.two --volume disk --size 400Mi --output json
"$FLEXVOL" resize --pod default.two --volume data --size 350Mi >&2 && exit 1
"$FLEXVOL" status --usage --output json
"#;

#[test]
fn a_volume_that_hangs_is_told_apart_and_holds_nobody_up() {
    let name = "a_volume_that_hangs_is_told_apart_and_holds_nobody_up";
    let mount = "exec 7<>/dev/fuse && mount -i -t fuse -o fd=7,rootmode=40000,user_id=0,group_id=0 hung /mnt";
    if !can(mount) {
        eprintln!("skipped: {name}: needs FUSE (/dev/fuse) and mounts of its own, as root");
        return;
    }
    let directory = place("example.com~both/both", BOTH.as_bytes());
    let pods = ["fine", "hung"].map(|pod| {
        let volume = format!("{{name: {pod}, flexVolume: {{driver: example.com/both}}}}");
        format!("---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {pod}}}\nspec: {{containers: [{{name: c}}], volumes: [{volume}]}}\n")
    });
    fs::write(directory.path().join("pods.yaml"), pods.concat()).unwrap();
    let begun = Instant::now();
    let output =
        play(&directory, "\"$FLEXVOL\" mount -f pods.yaml >&2 && \"$FLEXVOL\" status --usage --output json");
    assert!(begun.elapsed() < Duration::from_secs(20), "somebody waited for the volume that hangs");
    assert!(output.status.success(), "{}", text(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let line = |number: usize| &report["volumes"][number];
    assert_eq!(line(0)["usage"]["capacity"], 1 << 20, "{report:#}");
    assert_eq!(line(1)["noUsage"], "no answer within 2s", "{report:#}");
}

/// Mounts memory, or for the volume `hung` a FUSE file system that never answers.
const BOTH: &str = r#"#!/bin/sh
case $1 in
init) echo '{"status": "Success", "capabilities": {"attach": false, "supportsMetrics": true}}' ;;
mount)
    case $2 in
    */hung)
        exec 7<>/dev/fuse
        mount -i -t fuse -o fd=7,rootmode=40000,user_id=0,group_id=0 hung "$2" || exit 1
        # Somebody has the file system's own end open, and reads nothing.
        sleep 60 >/dev/null 2>&1 & ;;
    *) mount -t tmpfs -o size=1m memory "$2" || exit 1 ;;
    esac
    echo '{"status": "Success"}' ;;
unmount) umount -l "$2" && echo '{"status": "Success"}' ;;
*) echo '{"status": "Not supported"}' ;;
esac
"#;

/// A directory with a driver in its plugin directory.
fn place(driver: &str, program: &[u8]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("plugins").join(driver);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, program).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

/// Runs a script in mounts and with processes of its own: none is left.
fn play(directory: &TempDir, script: &str) -> Output {
    let path = |name: &str| -> PathBuf { directory.path().canonicalize().unwrap().join(name) };
    let mut command = apart(script);
    command.current_dir(directory.path()).env("FLEXVOL", FLEXVOL).env_remove("RUST_LOG");
    command.env("FLEXVOL_ROOT", path("root")).env("FLEXVOL_PLUGIN_DIR", path("plugins"));
    command.env("FLEXVOL_STATE_DIR", path("state")).output().unwrap()
}

fn can(script: &str) -> bool {
    apart(script).output().is_ok_and(|output| output.status.success())
}

fn apart(script: &str) -> Command {
    #[expect(clippy::disallowed_methods, reason = "a test plays a person at a shell")]
    let mut command = Command::new("timeout");
    command.args(["100", "unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child"]);
    command.args(["--mount-proc", "sh", "-c", script]).stdin(Stdio::null());
    command
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
