//! The processes that a driver starts, as `/proc` shows them.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, kill_process_group, waitpid};

/// A process that a driver left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stray {
    pub(super) pid: i32,
    /// Its name, as the kernel keeps it.
    pub(super) name: String,
}

/// The processes whose parent is this one, by the kernel's own list of them.
pub(super) fn children_of(pid: i32) -> Vec<i32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists =
        threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Children of this process.
pub(super) fn our_children() -> Vec<i32> {
    children_of(our_pid())
}

/// Whether the kernel keeps the lists; without them nothing can be said about processes.
pub(super) fn can_look() -> bool {
    Path::new(&format!("/proc/self/task/{}/children", our_pid())).exists()
}

/// Everything below this process.
pub(super) fn descendants() -> Vec<i32> {
    let mut found = our_children();
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        found.extend(children_of(pid));
        next += 1;
    }
    found
}

/// What still runs below this process after it was given `patience` to end. What has ended is reaped. Only to be called
/// while no call is made: a driver whose end is waited for elsewhere must not be reaped here.
pub(super) fn strays(patience: Duration) -> Vec<Stray> {
    let deadline = Instant::now() + patience;
    loop {
        let running: Vec<Stray> = descendants().into_iter().filter_map(running).collect();
        if running.is_empty() || Instant::now() >= deadline {
            return running;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Ends what still runs.
pub(super) fn end_strays() {
    const PATIENCE: Duration = Duration::from_millis(500);
    for stray in strays(Duration::ZERO) {
        if let Some(pid) = Pid::from_raw(stray.pid) {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    strays(PATIENCE);
}

/// Kills the process groups of our children that are not among `before`.
pub(super) fn kill_new_children(before: &[i32]) {
    for child in our_children().into_iter().filter(|child| !before.contains(child)) {
        if let Some(pid) = Pid::from_raw(child) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

/// The arguments of a process, each ended by a NUL byte; empty once it has ended.
pub(super) fn arguments_of(pid: i32) -> Vec<u8> {
    fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}

fn running(pid: i32) -> Option<Stray> {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (name, rest) = status.split_once('(')?.1.rsplit_once(')')?;
    if rest.trim_start().starts_with(['Z', 'X']) {
        // Only our own children can be reaped; of others this says so.
        let _ = waitpid(Pid::from_raw(pid), WaitOptions::NOHANG);
        return None;
    }
    Some(Stray { pid, name: name.to_owned() })
}

fn our_pid() -> i32 {
    rustix::process::getpid().as_raw_pid()
}
