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

/// Kills process groups, each by its leader.
pub(super) fn kill_groups(leaders: &[i32]) {
    for pid in leaders.iter().filter_map(|leader| Pid::from_raw(*leader)) {
        // It may have ended by itself, or be the leader of nothing.
        let _ = kill_process_group(pid, Signal::KILL);
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

#[cfg(test)]
mod tests {
    use flexvolume_os::command::Command;
    use flexvolume_os::runner::{Ended, Runner as _, SystemRunner};

    use super::*;

    #[test]
    fn a_program_that_runs_is_seen_below_us_and_can_be_killed() {
        if !can_look() {
            eprintln!(
                "skipped: a_program_that_runs_is_seen_below_us_and_can_be_killed: no lists of children"
            );
            return;
        }
        const WORD: &str = "flexvol-conformance-processes";
        let ended = std::thread::scope(|scope| {
            let run = scope.spawn(|| {
                let script = "sh -c 'sleep 20; :' \"$0\"; :";
                let command = Command::new("sh", Duration::from_secs(15)).arguments(["-c", script, WORD]);
                SystemRunner.run(&command).unwrap().ended
            });
            let ours = |pid: &i32| arguments_of(*pid).windows(WORD.len()).any(|part| part == WORD.as_bytes());
            while descendants().iter().filter(|pid| ours(pid)).count() < 2 {
                std::thread::sleep(Duration::from_millis(5));
            }
            // Other tests of this process have children too.
            let leaders: Vec<i32> = our_children().into_iter().filter(|pid| ours(pid)).collect();
            kill_groups(&leaders);
            run.join().unwrap()
        });
        assert_eq!(ended, Ended::Signaled(9));
    }
}
