//! `vm`: a Linux that has what the drivers need, where this machine's kernel may lack it (device-mapper above all).
//!
//! `cargo xtask vm -- COMMAND…` boots QEMU with a disk that is made once, runs one command there as root, and powers off.
//! Without a command it runs the tests that need such a machine. The guest's side lies in `vm/`.

mod control;
mod faults;
mod host;
mod image;
mod machine;
mod programs;
mod report;
mod suite;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::keeper::Kept;
use control::{Access, Share, Udev};
use image::Image;
use machine::{End, Machine, Stream};

/// Arguments of `vm`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: the command's own; 124 if the deadline passed, 125 if the machine failed or cannot \
    be had, 137 if its power was cut. The workspace is visible in the machine, read-only, at its own path."
)]
pub(crate) struct Arguments {
    /// All tests, also those that take long
    #[arg(long, conflicts_with = "command")]
    full: bool,
    /// Only write docs/faults-lvm.md and docs/faults-network.md anew, from what the last runs have left
    #[arg(long, conflicts_with_all = ["command", "full"])]
    document: bool,
    /// An empty disk, thrown away afterwards: $DISK1, then $DISK2 …; such as 512M or 2G
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    disk: Vec<u64>,
    /// A disk that stays, made with SIZE if it is missing; after those of --disk
    #[arg(long, value_name = "FILE[:SIZE]")]
    keep_disk: Vec<String>,
    /// A folder that the command may write to, at the same path
    #[arg(long, value_name = "DIR")]
    out: Vec<PathBuf>,
    /// Set in the command's environment
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Start no udevd
    #[arg(long)]
    no_udev: bool,
    /// How long the machine may take, from power on to power off; emulation is ten times slower than this machine
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
    /// Show the kernel's log at the end
    #[arg(long)]
    verbose: bool,
    /// Run in the machine as root
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs the command, or the tests.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.document {
        return suite::document().map(|()| ExitCode::SUCCESS);
    }
    let missing = host::missing();
    if arguments.command.is_empty() {
        let length = if arguments.full { suite::Length::Full } else { suite::Length::Quick };
        return suite::run(length, missing);
    }
    if let Some(missing) = missing {
        eprintln!("error: {missing}");
        return Ok(ExitCode::from(machine::FAILED));
    }
    let kept = Kept::new("flexvol-vm-")?;
    let end = one_command(arguments, kept.folder());
    let end = end.and_then(|end| kept.clean().map(|()| end));
    match end {
        Ok(end) => Ok(ExitCode::from(end.status())),
        Err(error) => {
            eprintln!("error: {error:#}");
            Ok(ExitCode::from(machine::FAILED))
        }
    }
}

/// Why there can be no machine here, if so.
pub(crate) fn missing() -> Option<String> {
    host::missing()
}

/// Runs a test program in a machine with a disk, with a variable set, and gives its standard output.
pub(crate) fn measure(program: &str, (name, value): (&str, &str)) -> Result<String> {
    let programs = programs::build()?;
    let program = programs.into_iter().find(|built| built.name == program).context("no such test program")?;
    let kept = Kept::new("flexvol-vm-")?;
    let mut machine = Machine::new(Image::get()?, kept.folder());
    machine.deadline = Duration::from_secs(3600);
    let disk = kept.folder().join("disk1");
    make_disk(&disk, 16 << 30)?;
    machine.disks.push(disk);
    machine.environment.push((name.to_owned(), value.to_owned()));
    let mut output = Vec::new();
    let run = machine.run(&[program.file.into()], &mut |stream, bytes| match stream {
        Stream::Out => output.extend_from_slice(bytes),
        Stream::Err => pass_on(stream, bytes),
    });
    kept.clean()?;
    let run = run?;
    run.explain();
    if run.end != End::Status(0) {
        bail!("{}: {:?}", program.name, run.end);
    }
    Ok(String::from_utf8_lossy(&output).into_owned())
}

fn one_command(arguments: &Arguments, folder: &Path) -> Result<End> {
    let mut machine = Machine::new(Image::get()?, folder);
    machine.deadline = Duration::from_secs(arguments.timeout);
    machine.udev = if arguments.no_udev { Udev::Absent } else { Udev::Running };
    for (number, size) in arguments.disk.iter().enumerate() {
        let file = folder.join(format!("disk{}", number + 1));
        make_disk(&file, *size)?;
        machine.disks.push(file);
    }
    for text in &arguments.keep_disk {
        machine.disks.push(kept_disk(text)?);
    }
    for folder in &arguments.out {
        let folder = folder.canonicalize().with_context(|| format!("no folder {}", folder.display()))?;
        machine.shares.push(Share { folder, access: Access::Write });
    }
    for pair in &arguments.env {
        let (name, value) = pair.split_once('=').with_context(|| format!("no NAME=VALUE: {pair:?}"))?;
        machine.environment.push((name.to_owned(), value.to_owned()));
    }
    let run = machine.run(&arguments.command, &mut pass_on)?;
    if arguments.verbose {
        eprint!("{}", run.kernel_log);
    }
    run.explain();
    Ok(run.end)
}

/// What the command writes goes where our own output goes, as it comes.
fn pass_on(stream: Stream, bytes: &[u8]) {
    // Nobody reads us any more: the command still runs to its end.
    let _ = match stream {
        Stream::Out => io::stdout().write_all(bytes).and_then(|()| io::stdout().flush()),
        Stream::Err => io::stderr().write_all(bytes),
    };
}

fn make_disk(file: &Path, size: u64) -> Result<()> {
    let disk = File::create_new(file).with_context(|| format!("cannot make {}", file.display()))?;
    disk.set_len(size).with_context(|| format!("cannot make {} as large as {size} bytes", file.display()))
}

/// The file of `FILE[:SIZE]`, made if it is missing.
fn kept_disk(text: &str) -> Result<PathBuf> {
    let (file, size) = match text.rsplit_once(':') {
        Some((file, size)) => (Path::new(file), Some(bytes(size).map_err(anyhow::Error::msg)?)),
        None => (Path::new(text), None),
    };
    match size {
        _ if file.exists() => {}
        Some(size) => make_disk(file, size)?,
        None => bail!("no disk {}: give its size to make it ({}:1G)", file.display(), file.display()),
    }
    file.canonicalize().with_context(|| format!("{}", file.display()))
}

/// `512M`, `2G`: in powers of 1024.
fn bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = text.split_at(text.len().saturating_sub(1));
    let unit: u64 = match unit {
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return Err("a number and M or G, such as 512M".to_owned()),
    };
    let number: u64 = number.parse().map_err(|error| format!("{number:?}: {error}"))?;
    number.checked_mul(unit).filter(|size| *size > 0).ok_or_else(|| "no such size".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_in_powers_of_1024() {
        assert_eq!(bytes("512M"), Ok(512 << 20));
        assert_eq!(bytes("2G"), Ok(2 << 30));
        for bad in ["", "G", "2", "0M", "2T", "-1M", "99999999999999G"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_kept_disk_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("disk");
        let text = file.to_str().unwrap();
        assert!(kept_disk(text).unwrap_err().to_string().contains("give its size"));
        let made = kept_disk(&format!("{text}:1M")).unwrap();
        std::fs::write(&made, "kept").unwrap();
        assert_eq!(kept_disk(&format!("{text}:2M")).unwrap(), made);
        assert_eq!(std::fs::read(kept_disk(text).unwrap()).unwrap(), b"kept");
    }
}
