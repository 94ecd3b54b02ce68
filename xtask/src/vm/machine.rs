//! One life of the test machine: power on, one command, power off.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::control::{Access, Control, Orders, Share, Udev, tag};
use super::image::Image;
use crate::keeper::MARK;
use crate::workspace::root;

/// Exit status: the deadline passed.
const DEADLINE: u8 = 124;
/// Exit status: the machine failed, or there is none.
pub(super) const FAILED: u8 = 125;
/// Exit status: the power was cut.
const POWER_CUT: u8 = 137;

/// How often the machine is looked at.
const PAUSE: Duration = Duration::from_millis(50);
/// Lines of the kernel's log that are shown when something went wrong.
const LAST_WORDS: usize = 30;

/// A machine that can be switched on.
#[derive(Debug)]
pub(super) struct Machine {
    image: Image,
    folder: PathBuf,
    runs: usize,
    /// The folder by which the keeper knows its processes.
    pub(super) mark: PathBuf,
    /// The disks beside the one with the system: `$DISK1`, `$DISK2` …
    pub(super) disks: Vec<PathBuf>,
    /// What it sees of this machine.
    pub(super) shares: Vec<Share>,
    pub(super) udev: Udev,
    /// From power on to power off.
    pub(super) deadline: Duration,
    /// The command's environment, besides what `vm/guest/init` sets.
    pub(super) environment: Vec<(String, String)>,
}

/// Where bytes came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Stream {
    Out,
    Err,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The command ended with this status.
    Status(u8),
    /// It took too long.
    Deadline,
    /// The command was running when the machine stopped.
    PowerCut,
    /// It never came to the command, or its kernel died.
    Failed,
}

impl End {
    /// The exit status that says so.
    pub(super) fn status(self) -> u8 {
        match self {
            End::Status(status) => status,
            End::Deadline => DEADLINE,
            End::PowerCut => POWER_CUT,
            End::Failed => FAILED,
        }
    }
}

/// What came of a run.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) end: End,
    pub(super) kernel_log: String,
    deadline: Duration,
}

impl Run {
    /// Says on standard error what the exit status does not.
    pub(super) fn explain(&self) {
        let what = match self.end {
            End::Status(_) => return,
            End::PowerCut => return eprintln!("vm: the power was cut"),
            End::Deadline => format!("no end after {} s", self.deadline.as_secs()),
            End::Failed => "the machine failed".to_owned(),
        };
        eprintln!("vm: {what}; the last words of its kernel:");
        let lines: Vec<_> = self.kernel_log.lines().collect();
        lines[lines.len().saturating_sub(LAST_WORDS)..].iter().for_each(|line| eprintln!("  {line}"));
    }
}

impl Machine {
    /// A machine that sees the workspace. It keeps what it needs in `folder`.
    pub(super) fn new(image: Image, folder: &Path) -> Self {
        Self {
            image,
            folder: folder.to_owned(),
            runs: 0,
            mark: folder.to_owned(),
            disks: Vec::new(),
            shares: vec![Share { folder: root().to_owned(), access: Access::Read }],
            udev: Udev::Running,
            deadline: Duration::from_secs(600),
            environment: Vec::new(),
        }
    }

    /// Boots, runs `command`, and hands over what it writes as it comes.
    pub(super) fn run(&mut self, command: &[OsString], sink: &mut dyn FnMut(Stream, &[u8])) -> Result<Run> {
        self.runs += 1;
        let place = self.folder.join(format!("run{}", self.runs));
        let orders = Orders {
            shares: &self.shares,
            disks: self.disks.len(),
            udev: self.udev,
            environment: &self.environment,
            command,
        };
        let control = Control::new(place.join("control"), &orders)?;
        let console = place.join("console");
        let mut qemu = self.qemu(&place, &control);
        let mut child = qemu.spawn().context("cannot start qemu-system-x86_64")?;
        let ended = self.watch(&mut child, sink);
        // Also when watching failed: nothing of ours stays behind.
        let _ = child.kill();
        child.wait().context("cannot wait for qemu-system-x86_64")?;
        let kernel_log = fs::read(&console).unwrap_or_default();
        let kernel_log = String::from_utf8_lossy(&kernel_log).replace('\r', "");
        let end = if ended? { judge(&control, &kernel_log) } else { End::Deadline };
        Ok(Run { end, kernel_log, deadline: self.deadline })
    }

    /// Passes on its output until it is off; false if it took too long.
    fn watch(&self, child: &mut Child, sink: &mut dyn FnMut(Stream, &[u8])) -> Result<bool> {
        let deadline = Instant::now() + self.deadline;
        let output = read(child)?;
        loop {
            match output.recv_timeout(PAUSE) {
                Ok((stream, bytes)) => sink(stream, &bytes),
                Err(RecvTimeoutError::Timeout) => {}
                // Both channels ended: so did the machine.
                Err(RecvTimeoutError::Disconnected) => {
                    child.wait().context("cannot wait for qemu-system-x86_64")?;
                    return Ok(true);
                }
            }
            if Instant::now() > deadline {
                return Ok(false);
            }
        }
    }

    fn qemu(&self, place: &Path, control: &Control) -> Command {
        // Not KVM because there is a /dev/kvm: where machines are nested it may be there and fail, or hang.
        let accelerator = env::var("FLEXVOL_VM_ACCEL").unwrap_or_else(|_| "tcg,thread=multi".to_owned());
        let mut qemu = Command::new("qemu-system-x86_64");
        // The keeper ends it should this process die.
        qemu.env(MARK, &self.mark).env("TMPDIR", place);
        qemu.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        qemu.args(["-accel", &accelerator, "-cpu", "max", "-M", "pc", "-m", "1024", "-smp", "2"]);
        qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        qemu.arg("-kernel").arg(self.image.kernel()).arg("-initrd").arg(self.image.initrd());
        qemu.args(["-append", "console=ttyS0 quiet panic=-1 mitigations=off nokaslr tsc=reliable"]);
        qemu.args(["-serial", &format!("file:{}", place.join("console").display())]);
        qemu.args(["-drive", &drive(&self.image.disk(), "snapshot=on")]);
        for disk in &self.disks {
            qemu.args(["-drive", &drive(disk, "cache=writeback,discard=unmap,detect-zeroes=off")]);
        }
        qemu.args(["-device", "virtio-serial"]);
        // Opened anew through /proc: a channel is a pipe of ours.
        for (name, number) in [("out", 1), ("err", 2)] {
            qemu.args(["-chardev", &format!("file,id={name},path=/proc/self/fd/{number}")]);
            qemu.args(["-device", &format!("virtserialport,chardev={name},name={name}")]);
        }
        qemu.args(["-virtfs", &virtfs(control.folder(), "ctl", Access::Write)]);
        for (number, share) in self.shares.iter().enumerate() {
            qemu.args(["-virtfs", &virtfs(&share.folder, &tag(number), share.access)]);
        }
        qemu
    }
}

fn drive(file: &Path, options: &str) -> String {
    format!("file={},format=raw,if=virtio,{options}", option(file))
}

fn virtfs(folder: &Path, tag: &str, access: Access) -> String {
    let read_only = if access == Access::Read { ",readonly=on" } else { "" };
    format!("local,path={},mount_tag={tag},security_model=none,multidevs=remap{read_only}", option(folder))
}

/// In the options of QEMU a comma is doubled.
fn option(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

/// What became of the command when the machine was off.
fn judge(control: &Control, kernel_log: &str) -> End {
    match control.status() {
        Some(status) => End::Status(status),
        None if control.started() && !kernel_log.contains("Kernel panic") => End::PowerCut,
        None => End::Failed,
    }
}

/// Reads both channels at once.
fn read(child: &mut Child) -> Result<Receiver<(Stream, Vec<u8>)>> {
    let (sender, receiver) = mpsc::channel();
    let out = child.stdout.take().context("no standard output")?;
    let err = child.stderr.take().context("no standard error")?;
    forward(Stream::Out, out, sender.clone());
    forward(Stream::Err, err, sender);
    Ok(receiver)
}

fn forward(stream: Stream, mut from: impl Read + Send + 'static, to: Sender<(Stream, Vec<u8>)>) {
    thread::spawn(move || {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if to.send((stream, buffer[..count].to_vec())).is_err() {
                break;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_with_commas_reach_qemu_whole() {
        assert_eq!(drive(Path::new("/a,b"), "x=y"), "file=/a,,b,format=raw,if=virtio,x=y");
        let share = virtfs(Path::new("/a"), "share0", Access::Read);
        assert!(share.starts_with("local,path=/a,mount_tag=share0,") && share.ends_with(",readonly=on"));
    }

    #[test]
    fn only_a_status_that_was_written_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let orders = Orders {
            shares: &[],
            disks: 0,
            udev: Udev::Running,
            environment: &[],
            command: &["true".into()],
        };
        let control = Control::new(folder.path().join("control"), &orders).unwrap();
        assert_eq!(judge(&control, ""), End::Failed);
        fs::write(control.folder().join("started"), "").unwrap();
        assert_eq!(judge(&control, ""), End::PowerCut);
        assert_eq!(judge(&control, "[ 1.0] Kernel panic - not syncing"), End::Failed);
        fs::write(control.folder().join("status"), "3\n").unwrap();
        assert_eq!(judge(&control, "").status(), 3);
    }
}
