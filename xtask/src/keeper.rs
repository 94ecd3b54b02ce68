//! Cleaning up, however the work ended.
//!
//! The *keeper* is a process that waits until its standard input ends, which is when the process that started it is gone
//! for whatever reason. It is in a process group of its own, so that Ctrl-C does not reach it.

use std::env;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process;

/// Set for every process of the work, to its folder: how the keeper knows them.
pub(crate) const MARK: &str = "FLEXVOL_XTASK_FOLDER";

/// How long processes have to end by themselves, and then loop devices to go.
const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(20);

/// A folder that is removed, with the processes that carry its mark, when this value or this process is gone.
#[derive(Debug)]
pub(crate) struct Kept {
    folder: PathBuf,
    keeper: Child,
}

impl Kept {
    /// Makes a folder among the temporary ones.
    pub(crate) fn new(prefix: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix(prefix).tempdir().context("cannot make a folder")?;
        let me = env::current_exe().context("cannot find this program")?;
        let mut command = Command::new(me);
        command.arg("keep").arg(folder.path()).stdin(Stdio::piped()).process_group(0);
        let keeper = command.spawn().context("cannot start the process that cleans up")?;
        Ok(Self { folder: folder.keep(), keeper })
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Cleans up now.
    pub(crate) fn clean(mut self) -> Result<()> {
        drop(self.keeper.stdin.take());
        let status = self.keeper.wait().context("cannot wait for the process that cleans up")?;
        if !status.success() {
            bail!("cleaning up failed ({status})");
        }
        Ok(())
    }
}

/// The keeper: waits until standard input ends, and then removes what was made.
pub(crate) fn keep(folder: &Path) -> Result<()> {
    // Nobody writes: the end comes when the other side is gone.
    io::stdin().read_to_end(&mut Vec::new()).context("cannot wait for the end")?;
    end_processes(folder);
    let device = fs::metadata(folder).with_context(|| format!("cannot look at {}", folder.display()))?.dev();
    remove(folder, device)?;
    if !eventually(|| loop_devices(folder).is_empty()) {
        bail!("loop devices are left over: {}", loop_devices(folder).join(", "));
    }
    Ok(())
}

/// Ends the processes of the work that do not end by themselves.
fn end_processes(folder: &Path) {
    for signal in ["TERM", "KILL"] {
        for id in processes(folder) {
            // It may have ended meanwhile.
            let _ = process::output(Command::new("kill").args(["-s", signal, &id]));
        }
        if eventually(|| processes(folder).is_empty()) {
            return;
        }
    }
}

/// The ids of the processes that carry the mark. Those of other users cannot be read and are not ours.
fn processes(folder: &Path) -> Vec<String> {
    let mark = format!("{MARK}={}", folder.display());
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let ids = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    ids.filter(|id| id.bytes().all(|byte| byte.is_ascii_digit()))
        .filter(|id| {
            let variables = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
            variables.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
        })
        .collect()
}

/// The loop devices whose files lie in `folder`.
pub(crate) fn loop_devices(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir("/sys/block") else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter(|name| {
            let file = fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).unwrap_or_default();
            Path::new(file.trim_end()).starts_with(folder)
        })
        .collect()
}

fn eventually(mut done: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !done() {
        if start.elapsed() > PATIENCE {
            return false;
        }
        thread::sleep(PAUSE);
    }
    true
}

/// Removes a tree, but nothing that lies on another device: a mount in it is an error.
fn remove(folder: &Path, device: u64) -> Result<()> {
    let at = || format!("cannot remove {}", folder.display());
    for entry in fs::read_dir(folder).with_context(at)? {
        let path = entry?.path();
        let metadata = fs::symlink_metadata(&path).with_context(at)?;
        if metadata.dev() != device {
            bail!("something is still mounted on {}", path.display());
        }
        if metadata.is_dir() {
            remove(&path, device)?;
        } else {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    fs::remove_dir(folder).with_context(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_removed_and_links_are_not_followed() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("precious"), "x").unwrap();
        let folder = tempfile::tempdir().unwrap().keep();
        fs::create_dir(folder.join("a")).unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.join("a/link")).unwrap();
        remove(&folder, fs::metadata(&folder).unwrap().dev()).unwrap();
        assert!(!folder.exists() && outside.path().join("precious").exists());
    }

    #[test]
    fn what_lies_on_another_device_stops_the_removal() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "x").unwrap();
        let device = fs::metadata(folder.path()).unwrap().dev();
        let error = remove(folder.path(), device + 1).unwrap_err().to_string();
        assert!(error.contains("still mounted") && folder.path().join("a").exists(), "{error}");
    }

    #[test]
    fn a_process_with_the_mark_is_found_and_ended() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new("sleep").arg("60").env(MARK, folder.path()).spawn().unwrap();
        assert!(eventually(|| processes(folder.path()) == [child.id().to_string()]));
        let waiter = thread::spawn(move || child.wait().unwrap());
        end_processes(folder.path());
        assert!(!waiter.join().unwrap().success());
    }
}
