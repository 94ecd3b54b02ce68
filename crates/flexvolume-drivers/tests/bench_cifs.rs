//! How long the calls of the driver `cifs` take, beside a program that does nothing, and the distribution's mount.cifs.
//! `cargo xtask bench --only cifs.` runs this in the virtual machine and judges the figures.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement stops at the first surprise, prints its figures, and plays the host"
)]

use std::env;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A driver as it is shipped; without it there is nothing to measure.
const DRIVER: &str = "FLEXVOL_BENCH_CIFS";
const TARGET: &str = "/run/share";
/// Where nothing is mounted.
const OTHER: &str = "/run/other";

fn main() {
    let Some(driver) = env::var_os(DRIVER) else {
        println!("test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
        return;
    };
    // On the machine's own disk, as the programs that they are compared with: one of its host's is slower to start.
    let installed = "/var/tmp/cifs-driver";
    fs::copy(driver, installed).unwrap();
    for directory in [TARGET, OTHER] {
        fs::create_dir_all(directory).unwrap();
    }
    run("server", &["start", "smb"]);
    run("server", &["password", "secret"]);
    figure("cifs.mount-unmount", ratio(15, |_| ours(installed), |_| theirs()));
    mount(installed);
    figure("cifs.mount.mounted", ratio(21, |_| mount(installed), |_| nothing()));
    figure("cifs.mount.mounted.packets", packets(|| mount(installed)));
    figure("cifs.unmount.unmounted", ratio(21, |_| run(installed, &["unmount", OTHER]), |_| nothing()));
    run(installed, &["unmount", TARGET]);
    figure("cifs.init", ratio(21, |_| run(installed, &["init"]), |_| nothing()));
}

fn figure(name: &str, value: f64) {
    println!("{}", json!({"name": name, "value": value}));
}

/// Runs a program that must succeed; a driver's answer must be a success.
fn run(program: &str, arguments: &[&str]) -> Duration {
    let begun = Instant::now();
    let mut command = Command::new(program);
    command.args(arguments).env("FLEXVOL_STATE_DIR", "/run/flexvol").env("PASSWD", "secret");
    let output = command.stdin(Stdio::null()).output().unwrap();
    let taken = begun.elapsed();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    if let Ok(answer) = serde_json::from_slice::<Value>(&output.stdout) {
        assert_eq!(answer["status"], "Success", "{program} {arguments:?}: {answer}");
    }
    taken
}

/// The median of calls in turn with a baseline: both meet the same weather.
fn ratio(
    count: usize,
    mut one: impl FnMut(usize) -> Duration,
    mut base: impl FnMut(usize) -> Duration,
) -> f64 {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for number in 0..count {
        ours.push(one(number));
        theirs.push(base(number));
    }
    ours.sort();
    theirs.sort();
    ours[count / 2].as_secs_f64() / theirs[count / 2].as_secs_f64()
}

fn nothing() -> Duration {
    run("/bin/busybox", &["true"])
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
    let mount = ["-t", "cifs", "//10.99.0.2/data", TARGET, "-o", "username=test,nosuid,nodev"];
    run("mount", &mount) + run("umount", &[TARGET])
}

/// How many packets go to the server meanwhile.
fn packets(call: impl FnOnce() -> Duration) -> f64 {
    let sent = || {
        let text = fs::read_to_string("/sys/class/net/server/statistics/tx_packets").unwrap();
        text.trim().parse::<u32>().unwrap()
    };
    let before = sent();
    call();
    f64::from(sent() - before)
}
