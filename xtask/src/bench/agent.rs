//! `agent.`: the node agent with many pods.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::agent_node::Node;
use super::discovery::unpinned;
use super::figure::{Figure, Outcome};
use super::programs::Programs;
use super::{Group, timing};

const MANY: usize = 5000;
const START: usize = 1000;
const ROUNDS: usize = 21;
/// As many operations as the agent does at a time for one driver.
const PARALLEL: usize = 8;
const IDLE: Duration = Duration::from_secs(30);

const REACTION: Figure = Figure::at_most("agent.reaction", 50.0, "ms");
const VS_BARE: Figure = Figure::at_most("agent.start.1000-pods.vs-bare-calls", 1.2, "ratio");
const CYCLE: Figure = Figure::at_most("agent.volume.5000th-vs-10th", 1.15, "ratio");
const RESTART: Figure = Figure::at_most("agent.restart.5000-volumes.ready", 2.0, "s");
const RESTART_CALLS: Figure = Figure::at_most("agent.restart.5000-volumes.calls-but-init", 0.0, "calls");
const IDLE_CPU: Figure = Figure::at_most("agent.idle.5000-volumes.cpu", 0.2, "%");
const IDLE_MEMORY: Figure = Figure::at_most("agent.idle.5000-volumes.memory", 24.0, "MiB");
const IDLE_CALLS: Figure = Figure::at_most("agent.idle.5000-volumes.calls", 0.0, "calls");
const HANGING: Figure = Figure::at_most("agent.hanging-init.500-drivers.delay", 10.0, "ms");

/// The agent.
pub(super) const GROUP: Group = Group {
    figures: &[REACTION, VS_BARE, CYCLE, RESTART, RESTART_CALLS, IDLE_CPU, IDLE_MEMORY, IDLE_CALLS, HANGING],
    measure,
};

fn measure(programs: &Programs, report: &mut dyn FnMut(Outcome)) -> Result<()> {
    if super::privately().is_empty() {
        GROUP.figures.iter().for_each(|figure| report(figure.skipped("needs a mount namespace of its own")));
        return Ok(());
    }
    let node = Node::new(programs)?;
    let agent = node.start()?;
    node.add(0..10)?;
    node.wait_for_mounted(10)?;
    let few = cycles(&node)?;
    report(REACTION.value(timing::median(few.iter().map(|(up, _)| *up).collect()).as_secs_f64() * 1000.0));
    report(HANGING.value(delay_by_a_hanging_driver(&node)?));
    agent.stop()?;
    report(VS_BARE.value(start_of_many(&node, programs)?));
    let agent = node.start()?;
    node.add(START..MANY)?;
    node.wait_for_mounted(MANY)?;
    let many = cycles(&node)?;
    let whole = |cycles: Vec<(Duration, Duration)>| {
        timing::median(cycles.into_iter().map(|(up, down)| up + down).collect()).as_secs_f64()
    };
    report(CYCLE.value(whole(many) / whole(few)));
    agent.stop()?;
    restart_and_rest(&node, report)
}

/// Times from a manifest's coming to the mount, and from its going to the unmount, at the volumes that there are.
fn cycles(node: &Node) -> Result<Vec<(Duration, Duration)>> {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        node.add_one("cycle", "flexvol/memory")?;
        node.wait_until_mounted("cycle")?;
        let up = begun.elapsed();
        let begun = Instant::now();
        node.remove_one("cycle")?;
        node.wait_until_unmounted("cycle")?;
        times.push((up, begun.elapsed()));
        // The tidying behind the unmount belongs to it, and must not be in the next round.
        thread::sleep(Duration::from_millis(20));
    }
    Ok(times)
}

/// How many milliseconds later a volume is mounted beside 500 healthy drivers because the `init` of another one hangs.
fn delay_by_a_hanging_driver(node: &Node) -> Result<f64> {
    node.install_copies(500)?;
    thread::sleep(Duration::from_secs(3));
    let up = |cycles: Vec<(Duration, Duration)>| {
        timing::median(cycles.into_iter().map(|(up, _)| up).collect()).as_secs_f64() * 1000.0
    };
    let without = up(cycles(node)?);
    node.install_hanging()?;
    node.add_one("hangs", "flexvol/hanging")?;
    thread::sleep(Duration::from_secs(1));
    let with = up(cycles(node)?);
    node.remove_one("hangs")?;
    node.remove_copies()?;
    Ok((with - without).max(0.0))
}

/// The time from the start of an agent until 1,000 pods have their volume, divided by that of 1,000 calls of the driver.
fn start_of_many(node: &Node, programs: &Programs) -> Result<f64> {
    node.add(10..START)?;
    let begun = Instant::now();
    let agent = node.start()?;
    node.wait_for_mounted(START)?;
    let took = begun.elapsed();
    agent.stop()?;
    // As many as the agent has made: ten were mounted before.
    // On as many processors as the agent has.
    let driver = programs.get("memory")?;
    let bare = unpinned(|| bare_calls(&driver, &node.folder().join("bare"), START - 10))?;
    Ok(took.as_secs_f64() / bare.as_secs_f64())
}

fn bare_calls(driver: &Path, folder: &Path, count: usize) -> Result<Duration> {
    for number in 0..count {
        std::fs::create_dir_all(folder.join(number.to_string()))?;
    }
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return;
            }
            let called = call(driver, &folder.join(number.to_string()));
            failed.fetch_add(usize::from(!called.is_ok_and(|success| success)), Ordering::Relaxed);
        }
    };
    let begun = Instant::now();
    thread::scope(|scope| (0..PARALLEL).for_each(|_| drop(scope.spawn(work))));
    let took = begun.elapsed();
    if failed.into_inner() > 0 {
        bail!("the driver failed when it was called directly");
    }
    Ok(took)
}

fn call(driver: &Path, directory: &Path) -> Result<bool> {
    let mut command = Command::new(driver);
    command.arg("mount").arg(directory).arg(r#"{"kubernetes.io/readwrite":"rw","size":"1Mi"}"#);
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    Ok(status.context("cannot start the driver")?.success())
}

fn restart_and_rest(node: &Node, report: &mut dyn FnMut(Outcome)) -> Result<()> {
    let begun = Instant::now();
    let agent = node.start()?;
    node.wait_until_ready()?;
    report(RESTART.value(begun.elapsed().as_secs_f64()));
    node.wait_for_mounted(MANY)?;
    thread::sleep(Duration::from_secs(2));
    let calls = node.calls_but_init()?;
    report(RESTART_CALLS.value(calls));
    let before = agent.cpu_time()?;
    thread::sleep(IDLE);
    let used = agent.cpu_time()?.saturating_sub(before);
    report(IDLE_CPU.value(used.as_secs_f64() / IDLE.as_secs_f64() * 100.0));
    report(IDLE_MEMORY.value(agent.resident_mib()?));
    report(IDLE_CALLS.value(node.calls_but_init()? - calls));
    agent.stop()
}
