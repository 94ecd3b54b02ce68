//! Pods with exports of an NFS server and a disk of an NBD server, from their manifests: those of docs/nfs.md and
//! docs/nbd.md, and one as it is written for the script `nfs` that many follow. In the virtual machine, of which
//! `cargo xtask vm --full` sees to.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test may stop at the first surprise; this one prints its own report, and plays a person at a shell"
)]

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const FLEXVOL: &str = env!("CARGO_BIN_EXE_flexvol");

/// Nothing in it is of this project; the options are those of the script `nfs`.
const FOREIGN: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: nginx-nfs, namespace: default}
spec:
  containers:
  - name: nginx-nfs
    image: nginx
    volumeMounts: [{name: test, mountPath: /data}]
    ports: [{containerPort: 80}]
  volumes:
  - name: test
    flexVolume:
      driver: k8s/nfs
      fsType: nfs
      options: {server: 10.99.0.2, share: /t1, protocol: tcp, atime: "0"}
"#;

fn main() {
    if env::var_os("FLEXVOL_VM").is_none() {
        eprintln!("skipped: remote_pods: needs the virtual machine: cargo xtask vm --full");
        return close(0);
    }
    let nfs = [("files.example.com", "server"), ("/export/papers", "/")];
    let nbd = [("storage.example", "server"), ("export: data", "export: disk")];
    let nfs = of_page(include_str!("../../../docs/nfs.md"), &nfs);
    let nbd = of_page(include_str!("../../../docs/nbd.md"), &nbd);
    tool("server", &["start", "nfs"]);
    share(&Node::new("flexvol~nfs", &nfs), "/papers", "/srv/nfs/drafts");
    let made = fs::metadata("/srv/nfs/drafts").unwrap();
    assert_eq!((made.mode() & 0o7777, made.uid(), made.gid()), (0o2770, 1000, 1000));
    println!("test remote pods: the manifest of docs/nfs.md ... ok");
    let seen = share(&Node::new("k8s~nfs", FOREIGN), "/data", "/srv/nfs/t1");
    assert!(seen.contains("noatime"), "{seen}");
    println!("test remote pods: a manifest for the script nfs ... ok");
    tool("server", &["start", "nbd"]);
    disk(&Node::new("flexvol~nbd", &nbd));
    println!("test remote pods: the manifest of docs/nbd.md ... ok");
    close(3);
}

fn close(passed: u32) {
    println!("test result: ok. {passed} passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
}

/// The first manifest of a page, with what is on the second host in place of what it names.
fn of_page(page: &str, places: &[(&str, &str)]) -> String {
    let block = page.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    places.iter().fold(block.to_owned(), |text, (theirs, ours)| {
        assert!(text.contains(theirs), "{theirs}");
        text.replace(theirs, ours)
    })
}

/// The mounts of pods.
fn mounts() -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().filter(|line| line.contains("/pods/")).map(str::to_owned).collect()
}

/// Mounted, written to by the pod, unmounted; answers the mount.
fn share(node: &Node, inside: &str, directory: &str) -> String {
    success(node.flexvol(&["mount", "-f"], &[]));
    let mounts_now = mounts();
    let [line] = &mounts_now[..] else { panic!("{mounts_now:?}") };
    assert!(line.contains("nosuid,nodev") && line.contains(" nfs4 "), "{line}");
    let write = format!("echo written > {inside}/copy");
    success(node.flexvol(&["run", "-f"], &["--", "sh", "-c", &write]));
    assert_eq!(fs::read_to_string(Path::new(directory).join("copy")).unwrap(), "written\n");
    success(node.flexvol(&["unmount", "-f"], &[]));
    assert_eq!(mounts(), [""; 0]);
    line.clone()
}

/// Twice, and what was written in the first life is there in the second.
fn disk(node: &Node) {
    for (script, expected) in [("echo written > /data/file", ""), ("cat /data/file", "written\n")] {
        success(node.flexvol(&["mount", "-f"], &[]));
        assert!(mounts().iter().any(|line| line.contains(" ext4 /dev/nbd")), "{:?}", mounts());
        let seen = success(node.flexvol(&["run", "-f"], &["--", "sh", "-c", script]));
        assert_eq!(String::from_utf8_lossy(&seen.stdout), expected);
        success(node.flexvol(&["unmount", "-f"], &[]));
        assert_eq!(mounts(), [""; 0]);
        let connected = fs::read_dir("/sys/block").unwrap().flatten();
        let connected: Vec<_> = connected.filter(|disk| disk.path().join("pid").exists()).collect();
        assert!(connected.is_empty(), "{connected:?}");
    }
}

/// A node of its own.
struct Node {
    top: PathBuf,
}

impl Node {
    fn new(driver: &str, manifest: &str) -> Self {
        let top = Path::new("/var/tmp").join(driver);
        let place = top.join("plugins").join(driver);
        let program = driver.split_once('~').unwrap().1;
        fs::create_dir_all(&place).unwrap();
        fs::copy(Path::new(FLEXVOL).parent().unwrap().join(program), place.join(program)).unwrap();
        fs::set_permissions(place.join(program), Permissions::from_mode(0o755)).unwrap();
        fs::write(top.join("pods.yaml"), manifest).unwrap();
        Self { top }
    }

    fn flexvol(&self, front: &[&str], back: &[&str]) -> Output {
        let path = |name: &str| self.top.join(name);
        let mut command = Command::new(FLEXVOL);
        command.args(front).arg(path("pods.yaml")).args(back).stdin(Stdio::null());
        command.env("FLEXVOL_ROOT", path("root")).env("FLEXVOL_PLUGIN_DIR", path("plugins"));
        command.env("FLEXVOL_STATE_DIR", path("state")).env_remove("RUST_LOG").output().unwrap()
    }
}

#[track_caller]
fn success(output: Output) -> Output {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

#[track_caller]
fn tool(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}
