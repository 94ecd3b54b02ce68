//! How long the calls of the driver `cifs` take, beside a program that does nothing, and the distribution's mount.cifs.
//! `cargo xtask bench --only cifs.` runs this in the virtual machine and judges the figures.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement stops at the first surprise, prints its figures, and plays the host"
)]

#[path = "support/measure.rs"]
mod measure;

use std::env;
use std::fs;
use std::process::Command;
use std::time::Duration;

use measure::{figure, install, nothing, packets, ratio, run, timed};
use serde_json::json;

/// A driver as it is shipped; without it there is nothing to measure.
const DRIVER: &str = "FLEXVOL_BENCH_CIFS";
const TARGET: &str = "/run/share";
/// Where nothing is mounted.
const OTHER: &str = "/run/other";

fn main() {
    let Ok(driver) = env::var(DRIVER) else {
        println!("test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
        return;
    };
    let driver = &install(&driver, "cifs");
    for directory in [TARGET, OTHER] {
        fs::create_dir_all(directory).unwrap();
    }
    run("server", &["start", "smb"]);
    run("server", &["password", "secret"]);
    figure("cifs.mount-unmount", ratio(15, || ours(driver), theirs));
    mount(driver);
    figure("cifs.mount.mounted", ratio(21, || mount(driver), nothing));
    figure("cifs.mount.mounted.packets", packets(1, || mount(driver)));
    figure("cifs.unmount.unmounted", ratio(21, || run(driver, &["unmount", OTHER]), nothing));
    run(driver, &["unmount", TARGET]);
    figure("cifs.init", ratio(21, || run(driver, &["init"]), nothing));
}

fn mount(driver: &str) -> Duration {
    let options = json!({
        "networkPath": "//10.99.0.2/data", "kubernetes.io/readwrite": "rw", "kubernetes.io/pod.uid": "1",
        "kubernetes.io/secret/username": "dGVzdA==", "kubernetes.io/secret/password": "c2VjcmV0",
    });
    run(driver, &["mount", TARGET, &options.to_string()])
}

fn ours(driver: &str) -> Duration {
    mount(driver) + run(driver, &["unmount", TARGET])
}

/// The password goes by the environment, as with the drivers that use it.
fn theirs() -> Duration {
    let mut mount = Command::new("mount");
    mount.args(["-t", "cifs", "//10.99.0.2/data", TARGET, "-o", "username=test,nosuid,nodev"]);
    timed(mount.env("PASSWD", "secret")).0 + run("umount", &[TARGET])
}
