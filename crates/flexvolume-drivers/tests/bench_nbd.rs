//! How long the calls of the driver `nbd` take, beside a program that does nothing, and the distribution's nbd-client.
//! `cargo xtask bench --only nbd.` runs this in the virtual machine and judges the figures.

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

use measure::{answer, figure, install, nothing, packets, ratio, run};
use serde_json::json;

/// A driver as it is shipped; without it there is nothing to measure.
const DRIVER: &str = "FLEXVOL_BENCH_NBD";
const TARGET: &str = "/run/disk";
/// Where nothing is mounted.
const OTHER: &str = "/run/other";
/// What the other program is given; the driver takes the first ones that are free.
const THEIRS: &str = "/dev/nbd15";

fn main() {
    let Ok(driver) = env::var(DRIVER) else {
        println!("test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
        return;
    };
    let driver = &install(&driver, "nbd");
    for directory in [TARGET, OTHER] {
        fs::create_dir_all(directory).unwrap();
    }
    run("server", &["start", "nbd"]);
    figure("nbd.attach-read", ratio(15, || ours(driver), theirs));
    let device = attach(driver).1;
    let mount = || run(driver, &["mountdevice", TARGET, &device, &options()]);
    mount();
    figure("nbd.mountdevice.mounted", ratio(21, mount, nothing));
    figure("nbd.mountdevice.mounted.packets", packets(10, mount));
    figure("nbd.unmountdevice.unmounted", ratio(21, || run(driver, &["unmountdevice", OTHER]), nothing));
    run(driver, &["unmountdevice", TARGET]);
    run(driver, &["detach", "bench", "node"]);
    figure("nbd.init", ratio(21, || run(driver, &["init"]), nothing));
}

fn options() -> String {
    json!({
        "server": "10.99.0.2", "export": "disk", "format": "new", "kubernetes.io/fsType": "ext4",
        "kubernetes.io/readwrite": "rw", "kubernetes.io/pvOrVolumeName": "bench",
    })
    .to_string()
}

fn attach(driver: &str) -> (Duration, String) {
    let (taken, answer) = answer(driver, &["waitforattach", "", &options()]);
    (taken, answer["device"].as_str().unwrap().to_owned())
}

fn read(device: &str) -> Duration {
    run("dd", &[&format!("if={device}"), "of=/dev/null", "bs=4096", "count=1", "iflag=direct", "status=none"])
}

fn ours(driver: &str) -> Duration {
    let (taken, device) = attach(driver);
    let taken = taken + read(&device);
    run(driver, &["detach", "bench", "node"]);
    taken
}

fn theirs() -> Duration {
    let taken = run("nbd-client", &["-N", "other", "10.99.0.2", THEIRS]) + read(THEIRS);
    run("nbd-client", &["-d", THEIRS]);
    taken
}
