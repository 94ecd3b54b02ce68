//! What measurements of drivers have in common: calls that must succeed, ratios, and packets.

#![allow(dead_code, reason = "each measurement uses a part of it")]

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Says a figure to who judges it.
pub(crate) fn figure(name: &str, value: f64) {
    println!("{}", json!({"name": name, "value": value}));
}

/// A driver on the machine's own disk, as the programs that it is compared with are: one of its host's is slower to start.
pub(crate) fn install(driver: &str, name: &str) -> String {
    let installed = format!("/var/tmp/{name}-driver");
    fs::copy(driver, &installed).unwrap();
    installed
}

/// Runs a program that must succeed; a driver's answer must be a success.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Duration {
    answer(program, arguments).0
}

/// The same, with the answer of a driver.
pub(crate) fn answer(program: &str, arguments: &[&str]) -> (Duration, Value) {
    let mut command = Command::new(program);
    command.args(arguments).env("FLEXVOL_STATE_DIR", "/run/flexvol");
    timed(&mut command)
}

/// A command that must succeed, however it is made.
pub(crate) fn timed(command: &mut Command) -> (Duration, Value) {
    let begun = Instant::now();
    let output = command.stdin(Stdio::null()).output().unwrap();
    let taken = begun.elapsed();
    assert!(output.status.success(), "{command:?}: {output:?}");
    let answer = serde_json::from_slice::<Value>(&output.stdout).unwrap_or_default();
    assert!(answer.is_null() || answer["status"] == "Success", "{command:?}: {answer}");
    (taken, answer)
}

/// A static program that does nothing.
pub(crate) fn nothing() -> Duration {
    run("/bin/busybox", &["true"])
}

/// The ratio of the medians of calls in turn with a baseline: both meet the same weather.
pub(crate) fn ratio(
    count: usize,
    mut one: impl FnMut() -> Duration,
    mut base: impl FnMut() -> Duration,
) -> f64 {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..count {
        ours.push(one());
        theirs.push(base());
    }
    ours.sort();
    theirs.sort();
    ours[count / 2].as_secs_f64() / theirs[count / 2].as_secs_f64()
}

/// How many packets go to the second host during a call: the least of so many calls counts, since the kernel of some file
/// systems sends some by itself at times, to keep a lease.
pub(crate) fn packets(calls: usize, mut call: impl FnMut() -> Duration) -> f64 {
    let sent = || {
        let text = fs::read_to_string("/sys/class/net/server/statistics/tx_packets").unwrap();
        text.trim().parse::<u32>().unwrap()
    };
    let sent_by_each = (0..calls).map(|_| {
        thread::sleep(Duration::from_millis(300));
        let before = sent();
        call();
        sent() - before
    });
    f64::from(sent_by_each.min().unwrap())
}
