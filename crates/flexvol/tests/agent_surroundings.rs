//! What surrounds the agent: the clock, and the service manager.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod node;

use std::fs;

use node::{MEMORY, Node, in_namespaces, program};

/// The wall clock is compared with one thing alone, the dates of manifests; everything else counts by the monotonic
/// clock. So files from the future and the past are what a clock that jumps looks like.
#[test]
fn a_clock_that_jumps_takes_nothing_away_and_holds_nothing_up() {
    if !in_namespaces("a_clock_that_jumps_takes_nothing_away_and_holds_nothing_up") {
        return;
    }
    let node = Node::new();
    node.install("example.com~memory/memory", MEMORY);
    let date = |pod: &str, date: &str| {
        assert!(program("touch").args(["--date", date]).arg(node.manifest(pod)).status().unwrap().success());
    };
    node.pod("future", &["data"]);
    date("future", "2099-01-01");
    node.pod("past", &["data"]);
    date("past", "1971-01-01");
    let agent = node.start();
    node.wait_for_mounts(&["future/data", "past/data"]);
    let mark = node.mount_dir("past", "data").join("mark");
    fs::write(&mark, "kept").unwrap();
    // What is written after a jump back is older than what was there, and counts all the same.
    node.pod("future", &["data", "logs"]);
    date("future", "1972-01-01");
    node.wait_for_mounts(&["future/data", "future/logs", "past/data"]);
    agent.kill();
    date("past", "2099-01-01");
    date("future", "1971-01-01");
    node.pod("new", &["data"]);
    let agent = node.start();
    node.wait_for_mounts(&["future/data", "future/logs", "new/data", "past/data"]);
    assert_eq!(fs::read_to_string(&mark).unwrap(), "kept");
    fs::remove_file(node.manifest("past")).unwrap();
    node.wait_for_mounts(&["future/data", "future/logs", "new/data"]);
    agent.stop();
}

#[test]
fn the_unit_leaves_what_drivers_have_started_alone_and_hides_no_mount() {
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/agent/flexvol-agent.service");
    let text = fs::read_to_string(unit).unwrap();
    let settings: Vec<_> = text.lines().filter(|line| !line.starts_with(['#', '['])).collect();
    for line in ["Type=notify", "KillMode=process", "PrivateMounts=no", "Restart=always"] {
        assert!(settings.contains(&line), "{line} is missing");
    }
    assert!(settings.iter().any(|line| line.starts_with("WatchdogSec=")));
    // Each of these gives the service a mount namespace of its own, or ends what it has left.
    let harmful = [
        "PrivateTmp",
        "PrivateDevices",
        "ProtectSystem",
        "ProtectHome",
        "ProtectKernelTunables",
        "ProtectControlGroups",
        "ReadOnlyPaths",
        "ReadWritePaths",
        "InaccessiblePaths",
        "BindPaths",
        "TemporaryFileSystem",
        "RootDirectory",
        "MountFlags",
        "DynamicUser",
        "ExecStop",
        "ExecStopPost",
    ];
    for name in harmful {
        let is_it = |line: &&&str| line.split_once('=').is_some_and(|(key, _)| key == name);
        assert_eq!(settings.iter().find(is_it), None);
    }
}
