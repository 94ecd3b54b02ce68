//! A pod with a logical volume, from its manifest: the size is enforced, it grows while it is written to, and what was
//! synced survives the loss of power. In two lives of the virtual machine, of which `cargo xtask vm --full` sees to.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test may stop at the first surprise; this one prints its own report, and plays a person at a shell"
)]

mod in_machine;

use std::env;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use in_machine::{Node, close, pod_mounts, skip, tool};
use serde_json::Value;

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
        _ => return skip("a_pod_with_a_logical_volume"),
    };
    life();
    println!("test a pod with a logical volume, {phase} the power cut ... ok");
    close(1);
    if phase == "before" {
        Command::new("power-cut").status().unwrap();
    }
}

fn first_life() {
    let (disk, state) = (env::var("DISK1").unwrap(), env::var("DISK3").unwrap());
    tool("mkfs.ext4", &["-q", &state]);
    tool("mount", &[&state, DISK]);
    tool("pvcreate", &["-q", &disk]);
    tool("vgcreate", &["-q", "vg0", &disk]);
    let node = Node::at(Path::new(DISK), "flexvol~lvm", POD);
    node.flexvol(&["mount", "-f"], &[]);
    let volume = mounted_volume();
    size_is_enforced(&volume);
    grows_while_written_to(&node, &volume);
    let mut file = File::create(volume.join("precious")).unwrap();
    file.write_all(&pattern()).unwrap();
    file.sync_all().unwrap();
}

fn second_life() {
    tool("mount", &[&env::var("DISK3").unwrap(), DISK]);
    let node = Node { top: DISK.into() };
    let listed = tool("lvs", &["--noheadings", "--units", "m", "-o", "lv_size,lv_tags", "vg0"]);
    assert!(listed.contains("128.00m") && listed.contains("state=ready"), "{listed}");
    // What the manifest says has not changed; what is there has.
    let seen = node.flexvol(&["run", "-f"], &["--", "cat", "/mnt/data/precious"]);
    assert!(seen.stdout == pattern(), "what was synced is there, and whole");
    node.flexvol(&["mount", "-f"], &[]);
    let volume = mounted_volume();
    assert!(capacity(&volume) > 100 * MIB);
    whole_lines(&fs::read_to_string(volume.join("log")).unwrap());
    node.flexvol(&["unmount", "-f"], &[]);
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!table.contains("vg0"), "{table}");
    assert_eq!(tool("lvs", &["--noheadings", "-o", "lv_name", "vg0"]).lines().count(), 1, "it is kept");
}

/// Where the pod finds its volume.
fn mounted_volume() -> std::path::PathBuf {
    let mounts = pod_mounts();
    let point = mounts.first().and_then(|line| line.split(' ').nth(4));
    point.unwrap_or_else(|| unreachable!("{mounts:?}")).into()
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

fn grows_while_written_to(node: &Node, volume: &Path) {
    let writer = "i=0; while [ ! -e /mnt/data/stop ]; do i=$((i+1)); echo line $i >>/mnt/data/log; sync /mnt/data/log; done";
    let mut writing = node.command(&["run", "-f"], &["--", "sh", "-ec", writer]).spawn().unwrap();
    while !volume.join("log").exists() {
        thread::sleep(Duration::from_millis(50));
        assert!(writing.try_wait().unwrap().is_none(), "the writer has ended");
    }
    let before = capacity(volume);
    let back = ["--volume", "data", "--size", "128Mi", "--output", "json"];
    let grown: Value = serde_json::from_slice(&node.flexvol(&["resize", "-f"], &back).stdout).unwrap();
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
