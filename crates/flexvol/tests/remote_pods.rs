//! Pods with exports of an NFS server and a disk of an NBD server, from their manifests: those of docs/nfs.md and
//! docs/nbd.md, and one as it is written for the script `nfs` that many follow. In the virtual machine, of which
//! `cargo xtask vm --full` sees to.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may stop at the first surprise; this one prints its own report, and plays a person at a shell"
)]

mod in_machine;

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use in_machine::{Node, close, of_page, pod_mounts, skip, tool};

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
        return skip("remote_pods");
    }
    let nfs = [("files.example.com", "server"), ("/export/papers", "/")];
    let nbd = [("storage.example", "server"), ("export: data", "export: disk")];
    let nfs = of_page(include_str!("../../../docs/nfs.md"), 0, &nfs);
    let nbd = of_page(include_str!("../../../docs/nbd.md"), 0, &nbd);
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

/// Mounted, written to by the pod, unmounted; answers the mount.
fn share(node: &Node, inside: &str, directory: &str) -> String {
    node.flexvol(&["mount", "-f"], &[]);
    let mounts_now = pod_mounts();
    let [line] = &mounts_now[..] else { panic!("{mounts_now:?}") };
    assert!(line.contains("nosuid,nodev") && line.contains(" nfs4 "), "{line}");
    let write = format!("echo written > {inside}/copy");
    node.flexvol(&["run", "-f"], &["--", "sh", "-c", &write]);
    assert_eq!(fs::read_to_string(Path::new(directory).join("copy")).unwrap(), "written\n");
    node.flexvol(&["unmount", "-f"], &[]);
    assert_eq!(pod_mounts(), [""; 0]);
    line.clone()
}

/// Twice, and what was written in the first life is there in the second.
fn disk(node: &Node) {
    for (script, expected) in [("echo written > /data/file", ""), ("cat /data/file", "written\n")] {
        node.flexvol(&["mount", "-f"], &[]);
        assert!(pod_mounts().iter().any(|line| line.contains(" ext4 /dev/nbd")), "{:?}", pod_mounts());
        let seen = node.flexvol(&["run", "-f"], &["--", "sh", "-c", script]);
        assert_eq!(String::from_utf8_lossy(&seen.stdout), expected);
        node.flexvol(&["unmount", "-f"], &[]);
        assert_eq!(pod_mounts(), [""; 0]);
        let connected = fs::read_dir("/sys/block").unwrap().flatten();
        let connected: Vec<_> = connected.filter(|disk| disk.path().join("pid").exists()).collect();
        assert!(connected.is_empty(), "{connected:?}");
    }
}
