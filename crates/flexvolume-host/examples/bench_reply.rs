//! How fast replies are read: one JSON object a line, with `name`, `value`, `unit`, `goal` and `holds`. Build it with
//! `--release`. Speeds must reach their goal, ratios must not exceed it.

use std::hint::black_box;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use flexvolume_host::contract::Verb;
use flexvolume_host::os::runner::{Captured, Ended, Output, Pipes};
use flexvolume_host::reply::{Asked, Run, strict, tolerant};
use rustix::time::{ClockId, clock_gettime};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// MB/s of text around a reply.
const SPEED_GOAL: f64 = 200.0;
/// MB/s of structured logs around a reply: every line is an object that might be one.
const LOGS_GOAL: f64 = 100.0;
/// Time per byte of an output four times as long.
const LINEAR_GOAL: f64 = 1.3;

const REPLY: &str = r#"{"status":"Success","message":"mounted"}"#;

fn main() -> ExitCode {
    match figures(&mut std::io::stdout().lock()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        // The reader of the figures is gone.
        Err(_) => ExitCode::from(2),
    }
}

/// Whether all goals hold.
fn figures(out: &mut impl Write) -> std::io::Result<bool> {
    let mut all = true;
    let mut report = |name: String, value: f64, unit: &str, goal: f64| {
        let holds = if unit == "MB/s" { value >= goal } else { value <= goal };
        all &= holds;
        let value = (value * 1000.0).round() / 1000.0;
        let line =
            serde_json::json!({"name": name, "value": value, "unit": unit, "goal": goal, "holds": holds});
        writeln!(out, "{line}")
    };
    for (size, label) in [(KIB, "1KiB"), (MIB, "1MiB")] {
        report(format!("reply.tolerant.{label}"), speed(size, &text(size), tolerantly), "MB/s", SPEED_GOAL)?;
        report(
            format!("reply.tolerant.logs.{label}"),
            speed(size, &logs(size), tolerantly),
            "MB/s",
            LOGS_GOAL,
        )?;
        report(format!("reply.strict.{label}"), speed(size, &padded(size), strictly), "MB/s", SPEED_GOAL)?;
    }
    let per_byte = |input: fn(usize) -> String, size| 1.0 / speed(size, &input(size), tolerantly);
    for (input, label) in
        [(text as fn(usize) -> String, "text"), (logs, "logs"), (broken, "broken"), (nested, "nested")]
    {
        let ratio = per_byte(input, 4 * MIB) / per_byte(input, MIB);
        report(format!("reply.tolerant.linear.{label}"), ratio, "ratio", LINEAR_GOAL)?;
    }
    Ok(all)
}

/// Lines of text around a reply.
fn text(size: usize) -> String {
    let half = "mount.helper: trying server 10.0.0.1, options rw,noatime\n".repeat(size / 2 / 57);
    format!("{half}{REPLY}\n{half}")
}

/// Lines of structured logs around a reply.
fn logs(size: usize) -> String {
    let half = "{\"level\":\"info\",\"msg\":\"trying server\",\"try\":3}\n".repeat(size / 2 / 48);
    format!("{half}{REPLY}\n{half}")
}

/// One document with a long message and white space.
fn padded(size: usize) -> String {
    let (message, space) = ("x".repeat(size / 2), " ".repeat(size / 2));
    format!("{space}{{\"status\":\"Success\",\"message\":\"{message}\"}}")
}

/// Broken replies.
fn broken(size: usize) -> String {
    "{\"status\":\"Success\",\"message\":\"said \"no\"\"}\n".repeat(size / 44)
}

/// Lines that each begin an object in the one before.
fn nested(size: usize) -> String {
    "{\"a\":\n".repeat(size / 6)
}

fn tolerantly(run: &Run) {
    black_box(tolerant::read(Asked::Call(Verb::Mount), run, None));
}

fn strictly(run: &Run) {
    black_box(strict::read(Asked::Call(Verb::Mount), run));
}

/// What this thread has used of a processor: other programs do not count.
fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default())
}

/// MB/s of the best of several rounds, each long enough for the clock.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn speed(size: usize, printed: &str, read: fn(&Run)) -> f64 {
    let captured = Captured { bytes: printed.into(), omitted: 0 };
    let run = Ok(Output {
        ended: Ended::Exited(0),
        core: Default::default(),
        stdout: captured.clone(),
        stderr: Captured::default(),
        combined: captured,
        duration: Duration::ZERO,
        pipes: Pipes::Closed,
    });
    let repeats = (16 * MIB / size).clamp(4, 20_000);
    let round = || {
        let start = cpu_time();
        (0..repeats).for_each(|_| read(black_box(&run)));
        cpu_time() - start
    };
    let best = (0..7).map(|_| round()).min().unwrap_or_default();
    (printed.len() * repeats) as f64 / 1e6 / best.as_secs_f64()
}
