//! Pods with shares of an SMB server, from their manifests: the one of docs/cifs.md, and one as it is written for the
//! script `cifs` that many follow; and what `flexvol conformance` makes of the driver. In the virtual machine, of which `cargo xtask vm --full` sees to.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test may stop at the first surprise; this one prints its own report, and plays a person at a shell"
)]

mod in_machine;

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use in_machine::{FLEXVOL, Node, close, of_page, skip, tool};

/// The share's directory on the server.
const SHARE: &str = "/srv/smb";

/// As the second host has it (`vm/guest/server`).
const PASSWORD: &str = r#"p,a"s s=\x"#;

const PAGE: &str = include_str!("../../../docs/cifs.md");
/// What the page names, and what is there.
const PLACES: [(&str, &str); 3] = [
    ("//files.example.com/scans", "//server/data"),
    ("username: alice", "username: test"),
    ("  domain: EXAMPLE\n", ""),
];

/// Nothing in it is of this project; `networkPath` and `mountOptions` are what fstab/cifs takes.
const FOREIGN: &str = r#"
apiVersion: v1
kind: Secret
metadata: {name: cifs-secret}
type: gmem.cc/cifs
stringData: {username: test, password: 'p,a"s s=\x'}
---
apiVersion: v1
kind: Pod
metadata: {name: busybox}
spec:
  containers:
  - name: busybox
    image: busybox
    command: [sleep, "3600"]
    volumeMounts: [{name: test, mountPath: /scans}]
  volumes:
  - name: test
    flexVolume:
      driver: gmem.cc/cifs
      fsType: cifs
      secretRef: {name: cifs-secret}
      options:
        networkPath: //server/data/incoming/today
        mountOptions: dir_mode=0755,file_mode=0644,noperm
"#;

fn main() {
    if env::var_os("FLEXVOL_VM").is_none() {
        return skip("pods_with_shares");
    }
    tool("server", &["start", "smb"]);
    tool("server", &["password", PASSWORD]);
    let directory = Path::new(SHARE).join("incoming/today");
    fs::create_dir_all(&directory).unwrap();
    fs::set_permissions(&directory, Permissions::from_mode(0o777)).unwrap();
    for (driver, manifest, name) in [
        ("flexvol~cifs", of_page(PAGE, 0, &PLACES), "the manifest of docs/cifs.md"),
        ("gmem.cc~cifs", FOREIGN.to_owned(), "a manifest for the script cifs"),
    ] {
        fs::write(directory.join("known"), name).unwrap();
        lives(&Node::new(driver, &manifest), name);
        assert_eq!(fs::read_to_string(directory.join("copy")).unwrap(), name);
        fs::remove_file(directory.join("copy")).unwrap();
        println!("test pods with shares: {name} ... ok");
    }
    judged();
    println!("test pods with shares: the driver is robust ... ok");
    close(3);
}

/// The judge of all drivers, with a volume on the share.
fn judged() {
    let node = Node::new("judged~cifs", "");
    let path = |name: &str| node.top.join(name).to_str().unwrap().to_owned();
    for (name, text) in [("username", "test"), ("password", PASSWORD)] {
        fs::write(path(name), text).unwrap();
    }
    let secrets = ["username", "password"].map(|name| format!("{name}={}", path(name)));
    let driver = path("plugins/judged~cifs/cifs");
    let options = ["--options", "networkPath=//server/data", "--level", "robust"];
    let secrets = ["--secret", &secrets[0], "--secret", &secrets[1]];
    let words = [&["conformance", &driver][..], &options, &secrets].concat();
    let judged = Command::new(FLEXVOL).args(words).stdin(Stdio::null()).output().unwrap();
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stdout));
}

fn lives(node: &Node, name: &str) {
    node.flexvol(&["mount", "-f"], &[]);
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = table.lines().find(|line| line.contains("/pods/")).unwrap();
    assert!(line.contains("nosuid") && line.contains("nodev") && line.contains(" cifs "), "{line}");
    let copy = "cat /scans/known && cp /scans/known /scans/copy";
    let seen = node.flexvol(&["run", "-f"], &["--", "sh", "-c", copy]);
    assert_eq!(String::from_utf8_lossy(&seen.stdout), name);
    node.flexvol(&["unmount", "-f"], &[]);
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!table.contains(" cifs "), "{table}");
    let told = tool("grep", &["-rlF", "-e", PASSWORD, node.top.to_str().unwrap()]);
    assert_eq!(told.trim(), node.top.join("pods.yaml").to_str().unwrap(), "the password is in another file");
}
