//! How long the calls of the driver `nfs` take, beside a program that does nothing, and the distribution's mount.nfs4.
//! `cargo xtask bench --only nfs.` runs this in the virtual machine and judges the figures.

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
use std::time::Duration;

use measure::{figure, install, nothing, packets, ratio, run};
use serde_json::json;

/// A driver as it is shipped; without it there is nothing to measure.
const DRIVER: &str = "FLEXVOL_BENCH_NFS";
const TARGET: &str = "/run/export";
/// Where nothing is mounted.
const OTHER: &str = "/run/other";

fn main() {
    let Ok(driver) = env::var(DRIVER) else {
        println!("test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
        return;
    };
    let driver = &install(&driver, "nfs");
    for directory in [TARGET, OTHER] {
        fs::create_dir_all(directory).unwrap();
    }
    run("server", &["start", "nfs"]);
    figure("nfs.mount-unmount", ratio(15, || ours(driver), theirs));
    mount(driver);
    figure("nfs.mount.mounted", ratio(21, || mount(driver), nothing));
    figure("nfs.mount.mounted.packets", packets(10, || mount(driver)));
    figure("nfs.unmount.unmounted", ratio(21, || run(driver, &["unmount", OTHER]), nothing));
    run(driver, &["unmount", TARGET]);
    figure("nfs.init", ratio(21, || run(driver, &["init"]), nothing));
}

fn mount(driver: &str) -> Duration {
    let options = json!({
        "server": "10.99.0.2", "share": "/", "kubernetes.io/readwrite": "rw", "kubernetes.io/pod.uid": "1",
    });
    run(driver, &["mount", TARGET, &options.to_string()])
}

fn ours(driver: &str) -> Duration {
    mount(driver) + run(driver, &["unmount", TARGET])
}

fn theirs() -> Duration {
    run("mount", &["-t", "nfs4", "-o", "nosuid,nodev", "10.99.0.2:/", TARGET]) + run("umount", &[TARGET])
}
