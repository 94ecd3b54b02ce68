//! Probe, make, check and grow file systems with their own tools.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use crate::block;
use crate::command::Command;
use crate::runner::{Ended, Output, Runner, StartError, StartFailure};
use crate::tools::{self, Tool};

mod identity;

pub use identity::{protect_from_other_hosts, set_uuid};

/// How much of what a tool printed is repeated in an error.
const TAIL: usize = 800;

/// The file systems that we make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is the file system of its name")]
pub enum FsType {
    Ext4,
    Xfs,
    Btrfs,
}

impl FsType {
    /// `ext4`, `xfs`, `btrfs`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            FsType::Ext4 => "ext4",
            FsType::Xfs => "xfs",
            FsType::Btrfs => "btrfs",
        }
    }

    /// The type of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [FsType::Ext4, FsType::Xfs, FsType::Btrfs].into_iter().find(|fs| fs.as_str() == name)
    }

    /// The smallest volume on which its tool makes one, in bytes (measured with Debian 12's tools).
    #[must_use]
    pub fn minimum_size(self) -> u64 {
        match self {
            FsType::Ext4 => 256 << 10,
            FsType::Xfs => 300 << 20,
            FsType::Btrfs => 109 << 20,
        }
    }
}

/// What a look at a device found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// One file system.
    FileSystem {
        /// Its type as `blkid` names it.
        fs_type: String,
        /// Its UUID, when it has one.
        uuid: Option<String>,
    },
    /// A partition table.
    Partitions(String),
    /// No signature that `blkid` knows. **Not** a proof that the device is blank.
    NothingKnown,
    /// Several signatures that contradict each other (`blkid` exit 8).
    Ambiguous,
}

/// How the blocks below a new file system are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discard {
    /// Give unused blocks back (thin).
    Allow,
    /// Keep every block allocated (reserved).
    Forbid,
}

/// A file system tool that failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FilesystemError {
    /// The tool is not installed.
    #[error("{tool} is not installed: install the package {package}")]
    ToolMissing {
        /// The program.
        tool: &'static str,
        /// The package that has it on Debian.
        package: &'static str,
    },
    /// The tool could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The device cannot be read, so nobody knows what is on it.
    #[error("cannot read {}: {source}", .device.display())]
    Unreadable {
        /// The device.
        device: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The tool said no.
    #[error("{tool} {}: {ended}: {text}", .device.display())]
    Tool {
        /// The program.
        tool: &'static str,
        /// The device or mount point.
        device: PathBuf,
        /// `exit code 1`, `signal 9`, `no answer within 60s`.
        ended: String,
        /// The end of what it printed.
        text: String,
    },
    /// The file system has errors that its tool could not correct.
    #[error("{} has errors that {tool} could not correct; run it by hand before using the volume: {text}", .device.display())]
    Damaged {
        /// The program.
        tool: &'static str,
        /// The device.
        device: PathBuf,
        /// The end of what it printed.
        text: String,
    },
}

/// Looks for signatures on `device` with `blkid -p`.
///
/// # Errors
/// [`FilesystemError`] when there is no answer; that is never "nothing known".
pub fn probe(runner: &dyn Runner, device: &Path, deadline: Duration) -> Result<Probe, FilesystemError> {
    let fields = ["-p", "-o", "export", "-s", "TYPE", "-s", "UUID", "-s", "PTTYPE"];
    let output = run(runner, tools::BLKID, deadline, |command| command.arguments(fields).argument(device))?;
    match output.ended {
        Ended::Exited(0) => Ok(parse_probe(&output.stdout.bytes)),
        // The same number for a device that is not there or cannot be read.
        Ended::Exited(2) => readable(device).map(|()| Probe::NothingKnown),
        Ended::Exited(8) => Ok(Probe::Ambiguous),
        _ => Err(refused(tools::BLKID, device, &output)),
    }
}

/// Reads the lines `NAME=value` that `blkid -o export` prints.
fn parse_probe(text: &[u8]) -> Probe {
    let text = String::from_utf8_lossy(text);
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
        (!value.is_empty()).then(|| value.to_owned())
    };
    match (field("TYPE"), field("PTTYPE")) {
        (Some(fs_type), _) => Probe::FileSystem { fs_type, uuid: field("UUID") },
        (None, Some(table)) => Probe::Partitions(table),
        // It found something (exit 0) that it does not name.
        (None, None) => Probe::Ambiguous,
    }
}

fn readable(device: &Path) -> Result<(), FilesystemError> {
    let read = File::open(device).and_then(|mut file| file.read(&mut [0; 512]));
    let unreadable = |source| FilesystemError::Unreadable { device: device.to_owned(), source };
    match read {
        Ok(0) => Err(unreadable(io::ErrorKind::UnexpectedEof.into())),
        Ok(_) => Ok(()),
        Err(source) => Err(unreadable(source)),
    }
}

/// Makes a file system on `device` with the given UUID. The caller has a record that says that the device is new.
///
/// # Errors
/// [`FilesystemError`]; the device's contents are undefined then.
pub fn make(runner: &dyn Runner, request: &MakeFilesystem<'_>) -> Result<(), FilesystemError> {
    let (tool, mut arguments) = match request.fs_type {
        // No blocks for root alone (-m0): the size that the user asked for is the size that the user gets.
        FsType::Ext4 => (tools::MKFS_EXT4, vec!["-F", "-q", "-m0"]),
        FsType::Xfs => (tools::MKFS_XFS, vec!["-f", "-q"]),
        FsType::Btrfs => (tools::MKFS_BTRFS, vec!["-f", "-q"]),
    };
    match (request.fs_type, request.discard) {
        (_, Discard::Allow) => {}
        // These tools discard by default, which punches the reserve out of a reserved file.
        (FsType::Ext4, Discard::Forbid) => arguments.extend(["-E", "nodiscard"]),
        (FsType::Xfs | FsType::Btrfs, Discard::Forbid) => arguments.push("-K"),
    }
    let uuid = match (request.fs_type, request.uuid) {
        (_, None) => Vec::new(),
        (FsType::Ext4 | FsType::Btrfs, Some(uuid)) => vec!["-U".to_owned(), uuid.to_owned()],
        (FsType::Xfs, Some(uuid)) => vec!["-m".to_owned(), format!("uuid={uuid}")],
    };
    let output = run(runner, tool, request.deadline, |command| {
        command.arguments(arguments).arguments(uuid).argument(request.device)
    })?;
    succeeded(tool, request.device, &output)
}

/// The arguments of [`make`].
#[derive(Debug, Clone, Copy)]
pub struct MakeFilesystem<'a> {
    /// The type.
    pub fs_type: FsType,
    /// Device or image file.
    pub device: &'a Path,
    /// The UUID to give it, when it must be a certain one.
    pub uuid: Option<&'a str>,
    /// Whether unused blocks may be given back.
    pub discard: Discard,
    /// How long the tool may take.
    pub deadline: Duration,
}

/// Checks (and for ext4 repairs what is safe to repair) before mounting; the device must not be mounted. XFS and btrfs
/// replay their logs when they are mounted and have no check to run before: their own `fsck` programs do nothing.
///
/// # Errors
/// [`FilesystemError::Damaged`] when it must not be mounted. With any other error nobody knows: Kubernetes v1.37
/// (`mount-utils` `SafeFormatAndMount`) then goes on and mounts.
pub fn check(
    runner: &dyn Runner,
    fs_type: FsType,
    device: &Path,
    deadline: Duration,
) -> Result<(), FilesystemError> {
    /// A bit of e2fsck's exit code: errors were left.
    const LEFT: i32 = 4;
    if fs_type != FsType::Ext4 {
        return Ok(());
    }
    let output = run(runner, tools::E2FSCK, deadline, |command| command.argument("-p").argument(device))?;
    match output.ended {
        ended if leaves_sound_ext4(ended) => Ok(()),
        Ended::Exited(code) if code & LEFT != 0 => Err(FilesystemError::Damaged {
            tool: tools::E2FSCK.name,
            device: device.to_owned(),
            text: tail(&output),
        }),
        _ => Err(refused(tools::E2FSCK, device, &output)),
    }
}

/// Whether `e2fsck` has left a sound file system.
fn leaves_sound_ext4(ended: Ended) -> bool {
    /// Bits of its exit code: errors were corrected; and the machine should be restarted (only for a root file system).
    const CORRECTED: i32 = 1 | 2;
    matches!(ended, Ended::Exited(code) if code & !CORRECTED == 0)
}

/// Grows a mounted file system to the size of its device. One that has that size already is left as it is.
///
/// The kernel grows a mounted ext4 only for a process with `CAP_SYS_RESOURCE`, and btrfs only to 256 MiB or more.
///
/// # Errors
/// [`FilesystemError`]; nothing is lost then.
pub fn grow(runner: &dyn Runner, target: &GrowTarget<'_>) -> Result<(), FilesystemError> {
    if target.fs_type == FsType::Btrfs && fills_its_device(target) {
        return Ok(());
    }
    let (tool, words, subject): (_, &[&str], _) = match target.fs_type {
        FsType::Ext4 => (tools::RESIZE2FS, &[], target.device),
        FsType::Xfs => (tools::XFS_GROWFS, &["-d"], target.mount_point),
        FsType::Btrfs => (tools::BTRFS, &["filesystem", "resize", "max"], target.mount_point),
    };
    let output = run(runner, tool, target.deadline, |command| command.arguments(words).argument(subject))?;
    succeeded(tool, subject, &output)
}

/// Whether a btrfs is as large as its device. The kernel refuses to resize a small one even to the size that it has.
fn fills_its_device(target: &GrowTarget<'_>) -> bool {
    // btrfs counts in sectors.
    const SECTOR: u64 = 4096;
    let (Ok(device), Ok(figures)) = (block::size(target.device), rustix::fs::statvfs(target.mount_point))
    else {
        return false;
    };
    figures.f_blocks.saturating_mul(figures.f_frsize) / SECTOR == device / SECTOR
}

/// The arguments of [`grow`].
#[derive(Debug, Clone, Copy)]
pub struct GrowTarget<'a> {
    /// The type.
    pub fs_type: FsType,
    /// The device.
    pub device: &'a Path,
    /// Where it is mounted.
    pub mount_point: &'a Path,
    /// How long the tool may take.
    pub deadline: Duration,
}

/// Runs a tool in the C locale.
fn run(
    runner: &dyn Runner,
    tool: Tool,
    deadline: Duration,
    complete: impl FnOnce(Command) -> Command,
) -> Result<Output, FilesystemError> {
    let command = complete(Command::new(tool.program(), deadline)).variable("LC_ALL", "C");
    runner.run(&command).map_err(|error| match error.reason {
        StartFailure::Missing => FilesystemError::ToolMissing { tool: tool.name, package: tool.package },
        _ => error.into(),
    })
}

fn succeeded(tool: Tool, device: &Path, output: &Output) -> Result<(), FilesystemError> {
    if output.ended.is_success() { Ok(()) } else { Err(refused(tool, device, output)) }
}

fn refused(tool: Tool, device: &Path, output: &Output) -> FilesystemError {
    let ended = match output.ended {
        Ended::Exited(code) => format!("exit code {code}"),
        Ended::Signaled(signal) => format!("signal {signal}"),
        Ended::TimedOut => format!("no answer within {}s", output.duration.as_secs()),
    };
    FilesystemError::Tool { tool: tool.name, device: device.to_owned(), ended, text: tail(output) }
}

/// The end of what a tool printed, on one line.
fn tail(output: &Output) -> String {
    let bytes = &output.combined.bytes;
    let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(TAIL)..]);
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join("; ")
}

#[cfg(test)]
mod tests;
