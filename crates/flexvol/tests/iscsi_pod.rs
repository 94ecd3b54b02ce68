//! Pods with disks of iSCSI targets, from the manifests of docs/iscsi.md; and what `flexvol conformance` makes of the
//! drivers. In the virtual machine, of which `cargo xtask vm --full` sees to.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test may stop at the first surprise; this one prints its own report, and plays a person at a shell"
)]

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const FLEXVOL: &str = env!("CARGO_BIN_EXE_flexvol");

/// As the second host has it (`vm/guest/server`).
const PASSWORD: &str = "secret-of-chap";
const OPEN: &str = "iqn.2026-01.test.flexvol:open";
const CHAP: &str = "iqn.2026-01.test.flexvol:chap";

const PAGE: &str = include_str!("../../../docs/iscsi.md");

fn main() {
    if env::var_os("FLEXVOL_VM").is_none() {
        eprintln!("skipped: pods_with_disks: needs the virtual machine: cargo xtask vm --full");
        return close(0);
    }
    tool("server", &["initiator"]);
    tool("server", &["stop", "iscsi"]);
    for disk in ["first", "second", "third"] {
        fs::write(format!("/srv/iscsi-{disk}"), "").unwrap();
    }
    tool("sh", &["-c", "truncate -s 64M /srv/iscsi-*"]);
    tool("server", &["start", "iscsi"]);
    for (block, driver, target) in [(0, "iscsi", OPEN), (1, "iscsi-pod", CHAP)] {
        let node = Node::new(driver, &of_page(block, target));
        lives(&node);
        println!("test pods with disks: the manifest for {driver} ... ok");
        judged(&node, driver);
        println!("test pods with disks: the judge of {driver} ... ok");
    }
    close(4);
}

fn close(passed: u32) {
    println!("test result: ok. {passed} passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
}

/// A manifest of the page, with the second host in place of the server that it names, and a disk that is new.
fn of_page(block: usize, target: &str) -> String {
    let block = PAGE.split("```yaml\n").nth(block + 1).unwrap().split("```").next().unwrap();
    let text = block.replace("targetPortal: storage.example", "targetPortal: server");
    assert!(
        text.contains("targetPortal: server") && text.contains("iqn.2026-01.example.storage:data"),
        "{text}"
    );
    text.replace("iqn.2026-01.example.storage:data", target)
        .replace("node.session.auth.username: node", "node.session.auth.username: test")
        .replace("a-password-of-12-to-16", PASSWORD)
        .replace("chapAuthSession: \"true\"}", "chapAuthSession: \"true\", format: new}")
}

fn lives(node: &Node) {
    for word in ["first", "second"] {
        success(node.flexvol(&["mount", "-f"], &[]));
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let line = table.lines().find(|line| line.contains("/pods/")).unwrap();
        assert!(
            line.contains("nosuid") && line.contains("nodev") && line.contains(" ext4 /dev/sd"),
            "{line}"
        );
        let script = format!("cat /data/known 2>/dev/null; echo {word} >>/data/known");
        let seen = success(node.flexvol(&["run", "-f"], &["--", "sh", "-c", &script]));
        let known = if word == "first" { "" } else { "first\n" };
        assert_eq!(String::from_utf8_lossy(&seen.stdout), known);
        success(node.flexvol(&["unmount", "-f"], &[]));
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!table.contains("/dev/sd"), "{table}");
        assert_eq!(fs::read_dir("/sys/class/iscsi_session").unwrap().count(), 0, "a session is left");
    }
    let command = format!("grep -rlF -e {PASSWORD} '{}' /etc/iscsi || true", node.top.display());
    let told = tool("sh", &["-c", &command]);
    assert!(told.lines().all(|file| file.ends_with("/pods.yaml")), "the password is in another file: {told}");
}

/// The judge of all drivers, with the second disk of the open target.
fn judged(node: &Node, name: &str) {
    let driver = node.top.join("plugins").join(format!("flexvol~{name}")).join(name);
    let mut words = vec!["conformance".to_owned(), driver.to_str().unwrap().to_owned()];
    for option in ["targetPortal=server", &format!("iqn={OPEN}"), "lun=1", "format=new"] {
        words.extend(["--options".to_owned(), option.to_owned()]);
    }
    words.extend(["--level".to_owned(), "robust".to_owned()]);
    let judged = Command::new(FLEXVOL).args(words).stdin(Stdio::null()).output().unwrap();
    let report = String::from_utf8_lossy(&judged.stdout);
    // The judge gives two volumes the same options, and one disk is one volume: it can never pass as a whole.
    for case in [
        "life-strict",
        "repeated-calls",
        "reboot",
        "killed",
        "missing-tools",
        "leaves-mounts",
        "leaves-files",
    ] {
        assert!(report.contains(&format!("passed          {case} ")), "{case}: {report}");
    }
}

/// A node of its own.
struct Node {
    top: PathBuf,
}

impl Node {
    fn new(driver: &str, manifest: &str) -> Self {
        let top = Path::new("/var/tmp").join(format!("node-{driver}"));
        let place = top.join("plugins").join(format!("flexvol~{driver}"));
        fs::create_dir_all(&place).unwrap();
        fs::copy(Path::new(FLEXVOL).parent().unwrap().join(driver), place.join(driver)).unwrap();
        fs::set_permissions(place.join(driver), Permissions::from_mode(0o755)).unwrap();
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
