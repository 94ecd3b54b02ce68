//! The agent and the sizes of volumes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod node;

use std::fs;

use flexvolume_os::loop_device::{Availability, availability};
use node::{Node, in_namespaces};

/// A persistent volume of this size, its claim, and a pod.
fn manifest(driver: &str, size: &str) -> String {
    format!(
        "apiVersion: v1\nkind: PersistentVolume\nmetadata: {{name: disk}}\nspec: {{capacity: {{storage: {size}}}, claimRef: {{name: disk}}, flexVolume: {{driver: {driver}, fsType: xfs, options: {{size: {size}}}}}}}\n---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{name: disk}}\nspec: {{volumeName: disk}}\n---\napiVersion: v1\nkind: Pod\nmetadata: {{name: web, uid: web}}\nspec:\n  containers: [{{name: c}}]\n  volumes: [{{name: data, persistentVolumeClaim: {{claimName: disk}}}}]\n"
    )
}

#[test]
fn a_capacity_that_is_raised_grows_volume_and_file_system() {
    const NAME: &str = "a_capacity_that_is_raised_grows_volume_and_file_system";
    if !in_namespaces(NAME) {
        return;
    }
    let driver = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("loop");
    if !driver.exists() || availability() != Availability::Available {
        eprintln!("skipped: {NAME}: needs loop devices and the driver (cargo build -p flexvolume-drivers)");
        return;
    }
    let node = Node::new();
    let state = node.top().join("state");
    fs::create_dir(&state).unwrap();
    let cases = format!("*) FLEXVOL_STATE_DIR='{}' exec '{}' \"$@\" ;;", state.display(), driver.display());
    node.install("flexvol~loop/loop", &cases);
    let agent = node.start();
    node.put("all.yaml", &manifest("flexvol/loop", "320Mi"));
    node.wait_for_mounts(&["web/disk"]);
    let place = node.root().join("pods/web/volumes/flexvol~loop/disk");
    fs::write(place.join("mark"), "kept").unwrap();
    let blocks = || rustix::fs::statvfs(&place).map(|found| found.f_blocks * found.f_frsize).unwrap_or(0);
    let before = blocks();
    assert!(before < 320 << 20);
    node.put("all.yaml", &manifest("flexvol/loop", "400Mi"));
    node.wait_until("it has grown", || blocks() > before + (40 << 20));
    node.wait_until("it is told", || node.report().contains("Expanded: to 400Mi"));
    // A restart knows what was done.
    agent.kill();
    let calls = node.calls("flexvol~loop/loop").len();
    let agent = node.start();
    node.wait_until("it is ready", || {
        node.flexvol().args(["wait", "--pod", "web"]).status().unwrap().success()
    });
    let new = node.calls("flexvol~loop/loop").split_off(calls);
    assert_eq!(new, ["init"], "only init");
    assert_eq!(fs::read_to_string(place.join("mark")).unwrap(), "kept");
    fs::remove_file(node.top().join("manifests/all.yaml")).unwrap();
    node.wait_for_mounts(&[]);
    node.wait_until("nothing is left", || node.leftovers().is_empty());
    agent.stop();
}
