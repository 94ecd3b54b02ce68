//! `driver.`: the start-up cost and the size of our drivers.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::figure::{Figure, Outcome};
use super::programs::Programs;
use super::{Group, timing};

const ROUNDS: u32 = 400;
const MIB: f64 = 1024.0 * 1024.0;

const LOOP_SIZE: Figure = Figure::at_most("driver.size.loop", 1.0, "MiB");
const LOOP_EPHEMERAL_SIZE: Figure = Figure::at_most("driver.size.loop-ephemeral", 1.0, "MiB");
const SCRATCH_SIZE: Figure = Figure::at_most("driver.size.scratch", 1.0, "MiB");
const MEMORY_SIZE: Figure = Figure::at_most("driver.size.memory", 1.0, "MiB");

/// Static and stripped.
pub(super) const SIZES: Group =
    Group { figures: &[LOOP_SIZE, LOOP_EPHEMERAL_SIZE, SCRATCH_SIZE, MEMORY_SIZE], measure: measure_sizes };

fn measure_sizes(programs: &Programs, report: &mut dyn FnMut(Outcome)) -> Result<()> {
    for figure in SIZES.figures {
        let name = figure.name.trim_start_matches("driver.size.");
        let bytes = fs::metadata(programs.get(name)?)?.len();
        report(figure.value(u32::try_from(bytes).map(f64::from)? / MIB));
    }
    Ok(())
}

const INIT: Figure = Figure::at_most("driver.init.vs-nothing", 1.5, "ratio");
const IS_ATTACHED: Figure = Figure::at_most("driver.isattached.vs-nothing", 1.5, "ratio");
const MOUNT_DEVICE: Figure = Figure::at_most("driver.mountdevice-mounted.vs-nothing", 1.5, "ratio");

/// Call-outs of `loop` that have nothing to do, against a static program that does nothing.
pub(super) const LOOP: Group = Group { figures: &[INIT, IS_ATTACHED, MOUNT_DEVICE], measure: measure_loop };

const MOUNT: Figure = Figure::at_most("driver.mount-mounted.vs-nothing", 1.5, "ratio");

/// The same for `loop-ephemeral`.
pub(super) const LOOP_EPHEMERAL: Group = Group { figures: &[MOUNT], measure: measure_loop_ephemeral };

fn measure_loop(programs: &Programs, report: &mut dyn FnMut(Outcome)) -> Result<()> {
    let driver = Driver::new(programs, "loop")?;
    report(INIT.value(driver.ratio(&["init"])?));
    if let Some(why) = no_loop_devices() {
        report(IS_ATTACHED.skipped(why.clone()));
        report(MOUNT_DEVICE.skipped(why));
        return Ok(());
    }
    let (options, target) = (driver.options(), driver.folder.join("device mount path"));
    fs::create_dir(&target)?;
    let target = target.to_string_lossy();
    let device = driver.succeeds(&["waitforattach", "", &options])?;
    let device = device["device"].as_str().unwrap_or_default();
    driver.succeeds(&["mountdevice", &target, device, &options])?;
    report(IS_ATTACHED.value(driver.ratio(&["isattached", &options, "node"])?));
    report(MOUNT_DEVICE.value(driver.ratio(&["mountdevice", &target, device, &options])?));
    driver.succeeds(&["unmountdevice", &target])?;
    Ok(())
}

fn measure_loop_ephemeral(programs: &Programs, report: &mut dyn FnMut(Outcome)) -> Result<()> {
    if let Some(why) = no_loop_devices() {
        report(MOUNT.skipped(why));
        return Ok(());
    }
    let driver = Driver::new(programs, "loop-ephemeral")?;
    let (options, target) = (driver.options(), driver.folder.join("mount dir"));
    fs::create_dir(&target)?;
    let target = target.to_string_lossy();
    driver.succeeds(&["mount", &target, &options])?;
    report(MOUNT.value(driver.ratio(&["mount", &target, &options])?));
    driver.succeeds(&["unmount", &target])?;
    Ok(())
}

/// Why volumes in image files cannot be mounted here, if so.
pub(super) fn no_loop_devices() -> Option<String> {
    let opened = OpenOptions::new().read(true).write(true).open("/dev/loop-control");
    opened.err().map(|error| format!("needs loop devices: /dev/loop-control: {error}"))
}

/// A driver, the empty program to compare it with, and a folder for its volumes.
struct Driver {
    program: PathBuf,
    nothing: PathBuf,
    folder: PathBuf,
}

impl Driver {
    fn new(programs: &Programs, name: &str) -> Result<Self> {
        let folder = programs.scratch(name)?;
        Ok(Self { program: programs.get(name)?, nothing: programs.get("nothing")?, folder })
    }

    /// The options as Kubernetes gives them.
    fn options(&self) -> String {
        let options = json!({
            "kubernetes.io/fsType": "ext4",
            "kubernetes.io/pod.name": "bench",
            "kubernetes.io/pod.namespace": "default",
            "kubernetes.io/pod.uid": "00000000-0000-0000-0000-000000000001",
            "kubernetes.io/pvOrVolumeName": "data",
            "kubernetes.io/readwrite": "rw",
            "kubernetes.io/serviceAccount.name": "default",
            "size": "16Mi",
        });
        options.to_string()
    }

    /// One call-out that must succeed; its answer.
    fn succeeds(&self, arguments: &[&str]) -> Result<Value> {
        call(&self.program, &self.folder, arguments)
    }

    /// The wall time of a call-out that has nothing left to do, divided by that of the empty program.
    fn ratio(&self, arguments: &[&str]) -> Result<f64> {
        self.succeeds(arguments)?;
        let state = ("FLEXVOL_STATE_DIR", self.folder.as_path());
        timing::ratio(
            ROUNDS,
            || timing::wall(&self.program, arguments, Some(state)),
            || timing::wall(&self.nothing, arguments, Some(state)),
        )
    }
}

fn call(program: &Path, state: &Path, arguments: &[&str]) -> Result<Value> {
    let mut command = Command::new(program);
    let output = command.args(arguments).env("FLEXVOL_STATE_DIR", state).stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let answer: Value =
        serde_json::from_str(&text).with_context(|| format!("{}: {text}", program.display()))?;
    if answer["status"] != "Success" {
        bail!("{} {}: {text}", program.display(), arguments.join(" "));
    }
    Ok(answer)
}
