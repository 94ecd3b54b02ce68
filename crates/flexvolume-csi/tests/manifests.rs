//! The examples in `deploy/csi` are what the program prints today.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::Bridge;

/// Set, the examples are written anew.
const UPDATE: &str = "FLEXVOL_UPDATE_MANIFESTS";

#[expect(clippy::disallowed_methods, reason = "starts the program that is tested")]
fn printed(attach: bool, config: &str) -> String {
    let bridge = Bridge::prepare(attach, &[]);
    fs::write(bridge.path("config.toml"), config).unwrap_or_default();
    let mut command = Command::new(env!("CARGO_BIN_EXE_flexvol-csi"));
    command.args(["manifests", "--driver", "test/shell", "--plugin-dir"]).arg(bridge.path("plugins"));
    if !config.is_empty() {
        command.arg("--config").arg(bridge.path("config.toml"));
    }
    let output = command.output().ok().filter(|output| output.status.success());
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

fn check(name: &str, attach: bool, config: &str) -> String {
    let text = printed(attach, config);
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/csi").join(name);
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&example, &text).unwrap_or_default();
    }
    let expected = fs::read_to_string(&example).unwrap_or_default();
    assert!(
        !text.is_empty() && text == expected,
        "{name} is out of date: {UPDATE}=1 cargo test -p flexvolume-csi --test manifests"
    );
    text
}

#[test]
fn a_driver_that_only_mounts_needs_no_rights_at_all() {
    let text = check("mount-only.yaml", false, "");
    assert!(text.contains("attachRequired: false") && !text.contains("ClusterRole"), "{text}");
    assert!(text.contains("fsGroupPolicy: None") && !text.contains("kind: Deployment"), "{text}");
}

#[test]
fn a_driver_that_attaches_gets_the_attacher_and_its_rights() {
    let text = check("attach.yaml", true, "");
    assert!(text.contains("attachRequired: true") && text.contains("csi-attacher:"), "{text}");
    assert!(!text.contains("csi-provisioner:") && !text.contains("create, patch, delete"), "{text}");
}

#[test]
fn a_driver_that_makes_volumes_gets_a_provisioner_on_each_node() {
    let config = "[driver.\"test/shell\"]\nprovisioning = \"exec\"\nparameters = { pool = \"fast\" }\n";
    let text = check("local.yaml", true, config);
    assert!(text.contains("attachRequired: false") && text.contains("storageCapacity: true"), "{text}");
    assert!(
        text.contains("WaitForFirstConsumer") && text.contains("    parameters = { pool = \"fast\" }"),
        "{text}"
    );
}
