//! `discovery.`: what finding drivers costs, and what one bad driver costs the others. Measured by the host crate's
//! example `bench_discovery`.

use std::num::NonZero;
use std::path::Path;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, bail};

use super::Group;
use super::figure::{Figure, Outcome};
use super::programs::Programs;
use crate::process;

const DRIVERS: &str = "500";

const START: Figure = Figure::at_most("discovery.start.500-vs-one-by-one", 0.6, "ratio");
const INITS: Figure = Figure::at_most("discovery.change.inits", 1.0, "count");
const USABLE: Figure = Figure::at_most("discovery.change.after-settling", 100.0, "ms");
const DELAY: Figure = Figure::at_most("discovery.hang.delay-of-others", 10.0, "ms");

/// 500 drivers: started, one changed, one hanging.
pub(super) const GROUP: Group = Group { figures: &[START, INITS, USABLE, DELAY], measure };

fn measure(programs: &Programs, report: &mut dyn FnMut(Outcome)) -> Result<()> {
    let mut command = on_all_cpus();
    command.arg(programs.get("bench_discovery")?).arg(programs.scratch("discovery")?);
    let text = process::capture(command.arg(programs.get("memory")?).arg(DRIVERS))?;
    let words: Vec<f64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let [start, inits, usable, delay] = words[..] else { bail!("bench_discovery printed {text:?}") };
    if online() > 1 {
        report(START.value(start));
    } else {
        report(START.skipped("needs two CPUs"));
    }
    report(INITS.value(inits));
    report(USABLE.value(usable));
    report(DELAY.value(delay));
    Ok(())
}

/// The milliseconds until `count` drivers, each this program, have answered `init`.
pub(super) fn start(programs: &Programs, folder: &Path, program: &Path, count: &str) -> Result<f64> {
    let mut command = on_all_cpus();
    command.arg(programs.get("bench_discovery")?).arg("start").arg(folder).arg(program).arg(count);
    let text = process::capture(&mut command)?;
    text.trim().parse().with_context(|| format!("bench_discovery printed {text:?}"))
}

/// The bench is pinned to one CPU, on which nothing goes side by side.
pub(super) fn on_all_cpus() -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", &format!("0-{}", online().saturating_sub(1))]);
    let works = process::output(Command::new("taskset").args(["--cpu-list", "0", "true"]));
    if works.is_ok_and(|output| output.status.success()) { command } else { Command::new("env") }
}

/// Does something while this thread, and those that it starts, may use all CPUs.
pub(super) fn unpinned<R>(work: impl FnOnce() -> R) -> R {
    let move_to = |cpus: String| {
        let me = std::process::id().to_string();
        process::output(Command::new("taskset").args(["--pid", "--cpu-list", &cpus, &me]))
    };
    let moved = online() > 1 && move_to(format!("0-{}", online() - 1)).is_ok();
    let done = work();
    if moved {
        // Without taskset nothing was pinned.
        let _ = move_to("0".to_owned());
    }
    done
}

/// How many CPUs the machine has, whatever this process is pinned to.
fn online() -> usize {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    let last = text.trim().rsplit([',', '-']).next().and_then(|last| last.parse::<usize>().ok());
    last.map_or_else(cpus, |last| last + 1)
}

fn cpus() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}
