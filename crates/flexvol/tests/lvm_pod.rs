//! A pod with a logical volume, from its manifest: the size is enforced, it grows while it is written to, and what was
//! synced survives the loss of power. In two lives of the virtual machine, of which `cargo xtask vm --full` sees to.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test may stop at the first surprise; this one prints its own report, and plays a person at a shell"
)]

use std::env;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

const FLEXVOL: &str = env!("CARGO_BIN_EXE_flexvol");
const MIB: u64 = 1 << 20;

/// Where the disk is mounted that has everything of the host but the volume.
const DISK: &str = "/srv";

const POD: &str = r"
apiVersion: v1
kind: PersistentVolume
metadata: {name: disk}
spec:
  capacity: {storage: 64Mi}
  accessModes: [ReadWriteOnce]
  claimRef: {namespace: default, name: data}
  flexVolume: {driver: flexvol/lvm, fsType: ext4, options: {volumegroup: vg0, size: 64Mi}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {volumeName: disk}
---
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers: [{name: c, volumeMounts: [{name: data, mountPath: /mnt/data}]}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
";

fn main() {
    let phase = env::var("FLEXVOL_POWER_CUT").unwrap_or_default();
    let life = match &*phase {
        "before" => first_life,
        "after" => second_life,
        _ => {
            eprintln!(
                "skipped: a_pod_with_a_logical_volume: needs the virtual machine: cargo xtask vm --full"
            );
            return close();
        }
    };
    life();
    println!("test a pod with a logical volume, {phase} the power cut ... ok");
    close();
    if phase == "before" {
        Command::new("power-cut").status().unwrap();
    }
}

fn close() {
    println!("test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
}

fn first_life() {
    let (disk, state) = (env::var("DISK1").unwrap(), env::var("DISK3").unwrap());
    tool("mkfs.ext4", &["-q", &state]);
    tool("mount", &[&state, DISK]);
    tool("pvcreate", &["-q", &disk]);
    tool("vgcreate", &["-q", "vg0", &disk]);
    install();
    success(flexvol(&["mount", "-f", "/srv/pods.yaml"]));
    let volume = mounted_volume();
    size_is_enforced(&volume);
    grows_while_written_to(&volume);
    let mut file = File::create(volume.join("precious")).unwrap();
    file.write_all(&pattern()).unwrap();
    file.sync_all().unwrap();
}

fn second_life() {
    tool("mount", &[&env::var("DISK3").unwrap(), DISK]);
    let listed = tool("lvs", &["--noheadings", "--units", "m", "-o", "lv_size,lv_tags", "vg0"]);
    assert!(listed.contains("128.00m") && listed.contains("state=ready"), "{listed}");
    // What the manifest says has not changed; what is there has.
    let seen = success(flexvol(&["run", "-f", "/srv/pods.yaml", "--", "cat", "/mnt/data/precious"]));
    assert!(seen.stdout == pattern(), "what was synced is there, and whole");
    success(flexvol(&["mount", "-f", "/srv/pods.yaml"]));
    let volume = mounted_volume();
    assert!(capacity(&volume) > 100 * MIB);
    whole_lines(&fs::read_to_string(volume.join("log")).unwrap());
    success(flexvol(&["unmount", "-f", "/srv/pods.yaml"]));
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!table.contains("vg0"), "{table}");
    assert_eq!(tool("lvs", &["--noheadings", "-o", "lv_name", "vg0"]).lines().count(), 1, "it is kept");
}

fn install() {
    let driver = Path::new(FLEXVOL).parent().unwrap().join("lvm");
    let place = Path::new(DISK).join("plugins/flexvol~lvm");
    fs::create_dir_all(&place).unwrap();
    fs::copy(driver, place.join("lvm")).unwrap();
    fs::set_permissions(place.join("lvm"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(Path::new(DISK).join("pods.yaml"), POD).unwrap();
}

fn flexvol(arguments: &[&str]) -> Output {
    let path = |name: &str| Path::new(DISK).join(name);
    let mut command = Command::new(FLEXVOL);
    command.args(arguments).env("FLEXVOL_ROOT", path("root")).env("FLEXVOL_PLUGIN_DIR", path("plugins"));
    command
        .env("FLEXVOL_STATE_DIR", path("state"))
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[track_caller]
fn success(output: Output) -> Output {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Where the pod finds its volume.
fn mounted_volume() -> std::path::PathBuf {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    points
        .into_iter()
        .find(|point| point.contains("/pods/"))
        .unwrap_or_else(|| unreachable!("{table}"))
        .into()
}

fn capacity(volume: &Path) -> u64 {
    let output = tool("stat", &["-f", "-c", "%b %S", volume.to_str().unwrap()]);
    output.split_whitespace().map(|number| number.parse::<u64>().unwrap()).product()
}

fn size_is_enforced(volume: &Path) {
    let mut file = File::create(volume.join("fill")).unwrap();
    let block = vec![0x5a; 1 << 20];
    let mut written = 0;
    let error = loop {
        match file.write(&block).and_then(|count| file.sync_data().map(|()| count)) {
            Ok(count) => written += count as u64,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert!((40 * MIB..64 * MIB).contains(&written), "{written} bytes in a volume of 64 MiB");
    drop(file);
    fs::remove_file(volume.join("fill")).unwrap();
}

fn grows_while_written_to(volume: &Path) {
    let writer = "i=0; while [ ! -e /mnt/data/stop ]; do i=$((i+1)); echo line $i >>/mnt/data/log; sync /mnt/data/log; done";
    let path = |name: &str| Path::new(DISK).join(name);
    let mut command = Command::new(FLEXVOL);
    command.args(["run", "-f", "/srv/pods.yaml", "--", "sh", "-ec", writer]).stdin(Stdio::null());
    command.env("FLEXVOL_ROOT", path("root")).env("FLEXVOL_PLUGIN_DIR", path("plugins"));
    let mut writing = command.env("FLEXVOL_STATE_DIR", path("state")).spawn().unwrap();
    while !volume.join("log").exists() {
        thread::sleep(Duration::from_millis(50));
        assert!(writing.try_wait().unwrap().is_none(), "the writer has ended");
    }
    let before = capacity(volume);
    let resize =
        ["resize", "-f", "/srv/pods.yaml", "--volume", "data", "--size", "128Mi", "--output", "json"];
    let grown: Value = serde_json::from_slice(&success(flexvol(&resize)).stdout).unwrap();
    assert_eq!(grown["effect"], "changed", "{grown}");
    assert!(before < 64 * MIB && capacity(volume) > 100 * MIB, "from {before} to {}", capacity(volume));
    let written = fs::metadata(volume.join("log")).unwrap().len();
    while fs::metadata(volume.join("log")).unwrap().len() == written {
        assert!(writing.try_wait().unwrap().is_none(), "the writer did not survive");
        thread::sleep(Duration::from_millis(50));
    }
    File::create(volume.join("stop")).unwrap();
    assert!(writing.wait().unwrap().success(), "the writer met an error");
    whole_lines(&fs::read_to_string(volume.join("log")).unwrap());
    // More than the old volume could hold.
    let mut file = File::create(volume.join("large")).unwrap();
    (0..80).for_each(|_| file.write_all(&vec![1; 1 << 20]).unwrap());
    file.sync_all().unwrap();
}

/// Each line is there, and whole.
fn whole_lines(text: &str) {
    assert!(text.lines().count() > 1, "{text:?}");
    text.lines().enumerate().for_each(|(at, line)| assert_eq!(line, format!("line {}", at + 1)));
}

fn pattern() -> Vec<u8> {
    (0..(1_u32 << 18)).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect()
}

#[track_caller]
fn tool(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}
