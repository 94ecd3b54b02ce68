//! Pods with disks of iSCSI targets, from the manifests of docs/iscsi.md; and what `flexvol conformance` makes of the
//! drivers. In the virtual machine, of which `cargo xtask vm --full` sees to.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test may stop at the first surprise; this one prints its own report, and plays a person at a shell"
)]

mod in_machine;

use std::env;
use std::fs;
use std::process::{Command, Stdio};

use in_machine::{FLEXVOL, Node, close, of_page, skip, tool};

/// As the second host has it (`vm/guest/server`).
const PASSWORD: &str = "secret-of-chap";
const OPEN: &str = "iqn.2026-01.test.flexvol:open";

const PAGE: &str = include_str!("../../../docs/iscsi.md");
/// What the page names, and what is there.
const OPEN_PLACES: [(&str, &str); 2] =
    [("targetPortal: storage.example", "targetPortal: server"), ("iqn.2026-01.example.storage:data", OPEN)];
/// The same, with a disk that is new.
const CHAP_PLACES: [(&str, &str); 5] = [
    ("targetPortal: storage.example", "targetPortal: server"),
    ("iqn.2026-01.example.storage:data", "iqn.2026-01.test.flexvol:chap"),
    ("node.session.auth.username: node", "node.session.auth.username: test"),
    ("a-password-of-12-to-16", PASSWORD),
    ("chapAuthSession: \"true\"}", "chapAuthSession: \"true\", format: new}"),
];

fn main() {
    if env::var_os("FLEXVOL_VM").is_none() {
        return skip("pods_with_disks");
    }
    tool("server", &["initiator"]);
    tool("server", &["stop", "iscsi"]);
    for disk in ["first", "second", "third"] {
        fs::write(format!("/srv/iscsi-{disk}"), "").unwrap();
    }
    tool("sh", &["-c", "truncate -s 64M /srv/iscsi-*"]);
    tool("server", &["start", "iscsi"]);
    for (number, driver, places) in [(0, "iscsi", &OPEN_PLACES[..]), (1, "iscsi-pod", &CHAP_PLACES)] {
        let node = Node::new(&format!("flexvol~{driver}"), &of_page(PAGE, number, places));
        lives(&node);
        println!("test pods with disks: the manifest for {driver} ... ok");
        judged(&node, driver);
        println!("test pods with disks: the judge of {driver} ... ok");
    }
    close(4);
}

fn lives(node: &Node) {
    for word in ["first", "second"] {
        node.flexvol(&["mount", "-f"], &[]);
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let line = table.lines().find(|line| line.contains("/pods/")).unwrap();
        assert!(
            line.contains("nosuid") && line.contains("nodev") && line.contains(" ext4 /dev/sd"),
            "{line}"
        );
        let script = format!("cat /data/known 2>/dev/null; echo {word} >>/data/known");
        let seen = node.flexvol(&["run", "-f"], &["--", "sh", "-c", &script]);
        let known = if word == "first" { "" } else { "first\n" };
        assert_eq!(String::from_utf8_lossy(&seen.stdout), known);
        node.flexvol(&["unmount", "-f"], &[]);
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
