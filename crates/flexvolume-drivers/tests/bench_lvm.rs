//! How long the calls of the driver `lvm` take, beside a program that does nothing, the script that it replaces, and the
//! same work by hand. `cargo xtask bench --only lvm.` runs this in the virtual machine and judges the figures.

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
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use measure::{figure, install, nothing, ratio, run};
use serde_json::json;

/// A driver as it is shipped; without it there is nothing to measure.
const DRIVER: &str = "FLEXVOL_BENCH_LVM";
/// Where the script is put.
const SCRIPT: &str = "/var/tmp/script-driver";

fn main() {
    let Ok(driver) = env::var(DRIVER) else {
        println!("test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
        return;
    };
    let driver = &install(&driver, "lvm");
    fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/script-driver"), SCRIPT).unwrap();
    run("pvcreate", &["-q", &env::var("DISK1").unwrap()]);
    run("vgcreate", &["-q", "vg", &env::var("DISK1").unwrap()]);
    start_up(driver);
    existing(driver);
    new(driver);
    at_once(driver);
}

fn options(volume: &str, size: &str) -> String {
    json!({
        "kubernetes.io/fsType": "ext4", "kubernetes.io/readwrite": "rw", "kubernetes.io/pvOrVolumeName": volume,
        "kubernetes.io/pod.uid": volume, "volumegroup": "vg", "size": size,
    })
    .to_string()
}

/// What the driver understands; the script's pod uid is not among its own options.
fn make(driver: &str, volume: &str, size: &str) -> Duration {
    run(driver, &["waitforattach", "", &options(volume, size)])
}

fn mount(driver: &str, volume: &str, size: &str) -> Duration {
    let target = format!("/run/mounts/{volume}");
    fs::create_dir_all(&target).unwrap();
    run(driver, &["mountdevice", &target, "", &options(volume, size)])
}

/// Calls that need no LVM.
fn start_up(driver: &str) {
    figure("lvm.init", ratio(21, || run(driver, &["init"]), nothing));
    let words = options("none", "64Mi");
    figure("lvm.isattached", ratio(21, || run(driver, &["isattached", &words, "node"]), nothing));
}

/// A volume that is there.
fn existing(driver: &str) {
    make(driver, "there", "64Mi");
    let script = json!({"volumegroup": "vg", "size": "64M", "kubernetes.io/pod.uid": "script"}).to_string();
    run("bash", &[SCRIPT, "attach", &script, "node"]);
    let by_script = || run("bash", &[SCRIPT, "attach", &script, "node"]);
    figure("lvm.waitforattach.existing", ratio(9, || make(driver, "there", "64Mi"), by_script));
    figure("lvm.waitforattach.existing.commands", commands_of_lvm(driver));
    mount(driver, "there", "64Mi");
    figure("lvm.mountdevice.mounted", ratio(21, || mount(driver, "there", "64Mi"), nothing));
}

/// How many commands of LVM a call starts.
fn commands_of_lvm(driver: &str) -> f64 {
    let words = options("there", "64Mi");
    let trace = ["-f", "-qq", "-e", "trace=execve", "-o", "/run/trace", driver, "waitforattach", "", &words];
    run("strace", &trace);
    let text = fs::read_to_string("/run/trace").unwrap();
    let started = text.lines().filter(|line| line.contains("/lvm\"") && line.ends_with("= 0")).count();
    f64::from(u32::try_from(started).unwrap())
}

/// 1 GiB, from nothing to mounted.
fn new(driver: &str) {
    let (mut made, mut made_by_hand) = (0.., 0..);
    let ours = || {
        let number: usize = made.next().unwrap();
        let volume = format!("new{number}");
        make(driver, &volume, "1Gi") + mount(driver, &volume, "1Gi")
    };
    let by_hand = || {
        let number: usize = made_by_hand.next().unwrap();
        let (name, target) = (format!("hand{number}"), format!("/run/mounts/hand{number}"));
        fs::create_dir_all(&target).unwrap();
        let device = format!("/dev/vg/{name}");
        run("lvcreate", &["-q", "-y", "-L", "1G", "-n", &name, "vg"])
            + run("mkfs.ext4", &["-q", &device])
            + run("mount", &[&device, &target])
    };
    figure("lvm.create-format-mount", ratio(5, ours, by_hand));
}

/// 100 volumes by one caller, and by four at once.
fn at_once(driver: &str) {
    let all = |prefix: &str, callers: usize| {
        let begun = Instant::now();
        thread::scope(|scope| {
            for caller in 0..callers {
                scope.spawn(move || {
                    for number in (caller..100).step_by(callers) {
                        let volume = format!("{prefix}{number}");
                        make(driver, &volume, "8Mi");
                        mount(driver, &volume, "8Mi");
                    }
                });
            }
        });
        let taken = begun.elapsed();
        for number in 0..100 {
            let target = format!("/run/mounts/{prefix}{number}");
            assert!(Path::new(&target).join("lost+found").exists(), "{target} is not mounted");
            run(driver, &["unmountdevice", &target]);
        }
        run("lvremove", &["-q", "-y", "-S", &format!("lv_name=~^fv.{prefix}"), "vg"]);
        taken
    };
    let (one, four) = (all("one", 1), all("four", 4));
    figure("lvm.hundred-at-once", four.as_secs_f64() / one.as_secs_f64());
}
