//! `FormatAndMount` and `ResizeFs` of Kubernetes v1.37's `k8s.io/mount-utils`, to the letter.
//!
//! It formats where `blkid` merely finds nothing, which can lose data: the tolerant reading does not use it.

use std::path::Path;
use std::time::Duration;

use flexvolume::Access;
use flexvolume_os::command::{Command, Streams};
use flexvolume_os::mount::FileSystemMount;
use flexvolume_os::runner::{Ended, Output};

use super::format::mount_access;
use super::{PluginError, VolumePlugin};
use crate::reply::strict::exit_text;
use crate::spec::VolumeSpec;

/// Kubernetes bounds none of these tools.
const DEADLINE: Duration = Duration::from_secs(3600);

/// How Go names a program that it did not find.
const NOT_FOUND: &str = "executable file not found in $PATH";

impl VolumePlugin {
    pub(super) fn format_and_mount(
        &self,
        spec: &VolumeSpec,
        device: &str,
        target: &Path,
    ) -> Result<(), PluginError> {
        let fs_type = if spec.fs_type.is_empty() { "ext4" } else { &spec.fs_type };
        let found = self
            .disk_format(device)
            .map_err(|why| tool_error(format!("failed to get disk format of disk {device}: {why}")))?;
        match (found, spec.access) {
            (None, Access::ReadOnly) => {
                return Err(tool_error(format!(
                    "cannot mount unformatted disk {device} as we are manipulating it in read-only mode"
                )));
            }
            (None, Access::ReadWrite) => self.make_as_kubernetes(fs_type, device, target)?,
            (Some(found), access) => {
                if found != fs_type {
                    tracing::warn!(
                        device,
                        found,
                        wanted = fs_type,
                        "another file system than the wanted one"
                    );
                }
                if access == Access::ReadWrite {
                    self.check_as_kubernetes(device)?;
                }
            }
        }
        let mount = FileSystemMount {
            source: device.into(),
            fs_type: fs_type.to_owned(),
            access: mount_access(spec.access),
            data: Vec::new(),
        };
        Ok(self.host().system.mounter.mount(&mount, target)?)
    }

    /// What `blkid` says is on the device; `None` when it finds nothing.
    fn disk_format(&self, device: &str) -> Result<Option<String>, String> {
        let arguments = ["-p", "-s", "TYPE", "-s", "PTTYPE", "-o", "export", device];
        let output = self.tool("blkid", &arguments).ok_or_else(|| NOT_FOUND.to_owned())?;
        match output.ended {
            Ended::Exited(0) => parse_blkid(&text(&output)),
            Ended::Exited(2) => Ok(None),
            _ => Err(go_exit(&output)),
        }
    }

    fn make_as_kubernetes(&self, fs_type: &str, device: &str, target: &Path) -> Result<(), PluginError> {
        let options: &[&str] = match fs_type {
            "ext3" | "ext4" => &["-F", "-m0"],
            "xfs" => &["-f"],
            _ => &[],
        };
        let arguments = [options, &[device]].concat();
        let (why, said) = match self.tool(&format!("mkfs.{fs_type}"), &arguments) {
            Some(output) if output.ended.is_success() => return Ok(()),
            Some(output) => (go_exit(&output), text(&output)),
            None => (NOT_FOUND.to_owned(), String::new()),
        };
        Err(tool_error(format!(
            "format of disk {device:?} failed: type:({fs_type:?}) target:({:?}) options:(\"rw,defaults\") errcode:({why}) output:({said}) ",
            target.to_string_lossy()
        )))
    }

    /// Only exit code 4, errors that could not be corrected, stops the mount.
    fn check_as_kubernetes(&self, device: &str) -> Result<(), PluginError> {
        match self.tool("fsck", &["-a", device]) {
            Some(output) if output.ended == Ended::Exited(4) => Err(tool_error(format!(
                "'fsck' found errors on device {device} but could not correct them: {}",
                text(&output)
            ))),
            _ => Ok(()),
        }
    }

    /// Grows the file system that is on the device, whichever it is; nothing on it needs no growing.
    pub(super) fn resize_as_kubernetes(&self, device: &str, mount_dir: &Path) -> Result<(), PluginError> {
        let found = self.disk_format(device).map_err(|why| {
            tool_error(format!("ResizeFS.Resize - error checking format for device {device}: {why}"))
        })?;
        let place = mount_dir.to_string_lossy();
        let (tool, arguments): (_, Vec<&str>) = match found.as_deref() {
            None => return Ok(()),
            Some("ext3" | "ext4") => ("resize2fs", vec![device]),
            Some("xfs") => ("xfs_growfs", vec!["-d", &place]),
            Some("btrfs") => ("btrfs", vec!["filesystem", "resize", "max", &place]),
            Some(other) => {
                return Err(tool_error(format!(
                    "ResizeFS.Resize - resize of format {other} is not supported for device {device} mounted at {place}"
                )));
            }
        };
        let (why, said) = match self.tool(tool, &arguments) {
            Some(output) if output.ended.is_success() => return Ok(()),
            Some(output) => (go_exit(&output), text(&output)),
            None => (NOT_FOUND.to_owned(), String::new()),
        };
        // What Kubernetes calls the device here is the mount dir where the tool is given that.
        let grown = arguments.last().copied().unwrap_or(device);
        Err(tool_error(format!("resize of device {grown} failed: {why}. {tool} output: {said}")))
    }

    /// Runs a tool; `None` when it cannot be started.
    fn tool(&self, name: &str, arguments: &[&str]) -> Option<Output> {
        let command = Command::new(name, DEADLINE).arguments(arguments).streams(Streams::Shared);
        self.host().system.runner.run(&command).ok()
    }
}

fn parse_blkid(said: &str) -> Result<Option<String>, String> {
    let (mut fs_type, mut partitions) = (None, false);
    for line in said.split('\n').filter(|line| !line.is_empty()) {
        match line.split('=').collect::<Vec<_>>()[..] {
            ["TYPE", value] => fs_type = Some(value).filter(|value| !value.is_empty()),
            ["PTTYPE", value] => partitions = !value.is_empty(),
            [_, _] => {}
            _ => return Err(format!("blkid returns invalid output: {said}")),
        }
    }
    let found = if partitions { Some("unknown data, probably partitions") } else { fs_type };
    Ok(found.map(str::to_owned))
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.combined.bytes).into_owned()
}

fn go_exit(output: &Output) -> String {
    exit_text(output).unwrap_or_else(|| "exit status 0".to_owned())
}

fn tool_error(text: String) -> PluginError {
    PluginError::Tool { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blkid_is_read_as_kubernetes_reads_it() {
        let found = |said| parse_blkid(said).map(|found| found.unwrap_or_default());
        assert_eq!(found("DEVNAME=/dev/x\nTYPE=ext4\n").unwrap(), "ext4");
        assert_eq!(found("TYPE=ext4\nPTTYPE=dos\n").unwrap(), "unknown data, probably partitions");
        assert_eq!(found("\n\n").unwrap(), "");
        assert_eq!(found("TYPE=").unwrap(), "");
        found("hello\n").unwrap_err();
        found("A=B=C\n").unwrap_err();
    }
}
