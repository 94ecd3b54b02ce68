//! A node to measure: a root, plugins, manifests, an agent.

use std::fs;
use std::io::{Read, Write};
use std::ops::Range;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::discovery::on_all_cpus;
use super::host;
use super::programs::Programs;

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(300);

/// The node.
pub(super) struct Node {
    program: PathBuf,
    folder: PathBuf,
    plugins: PathBuf,
}

impl Node {
    pub(super) fn new(programs: &Programs) -> Result<Self> {
        let folder = programs.scratch("agent")?;
        in_memory(&folder)?;
        let plugins = host::install(programs, &folder, "memory")?;
        for name in ["manifests", "staging", "settings"] {
            fs::create_dir(folder.join(name))?;
        }
        Ok(Self { program: programs.get("flexvol")?, folder, plugins })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// Starts an agent on all CPUs.
    pub(super) fn start(&self) -> Result<Agent> {
        let mut command = on_all_cpus();
        command.arg(&self.program).arg("--root").arg(self.root()).arg("--plugin-dir").arg(&self.plugins);
        command.arg("--settings-dir").arg(self.folder.join("settings"));
        command.args(["agent", "--manifests"]).arg(self.folder.join("manifests"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Agent(command.spawn().context("cannot start the agent")?))
    }

    /// Adds a pod with one inline volume in one step.
    pub(super) fn add_one(&self, pod: &str, driver: &str) -> Result<()> {
        let staged = self.folder.join("staging/pod");
        let text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {pod}, uid: {pod}}}\nspec:\n  containers: [{{name: c, image: none}}]\n  volumes: [{{name: data, flexVolume: {{driver: {driver}, options: {{size: 1Mi}}}}}}]\n"
        );
        fs::write(&staged, text)?;
        fs::rename(staged, self.manifest(pod))?;
        Ok(())
    }

    pub(super) fn remove_one(&self, pod: &str) -> Result<()> {
        Ok(fs::remove_file(self.manifest(pod))?)
    }

    pub(super) fn add(&self, numbers: Range<usize>) -> Result<()> {
        numbers.into_iter().try_for_each(|number| self.add_one(&format!("pod-{number}"), "flexvol/memory"))
    }

    fn manifest(&self, pod: &str) -> PathBuf {
        self.folder.join("manifests").join(format!("{pod}.yaml"))
    }

    /// Copies of the driver under other names, as links to it.
    pub(super) fn install_copies(&self, count: usize) -> Result<()> {
        for number in 0..count {
            let home = self.plugins.join(format!("copies~d{number}"));
            fs::create_dir(&home)?;
            std::os::unix::fs::symlink(
                self.plugins.join("flexvol~memory/memory"),
                home.join(format!("d{number}")),
            )?;
        }
        Ok(())
    }

    pub(super) fn remove_copies(&self) -> Result<()> {
        for entry in fs::read_dir(&self.plugins)? {
            let home = entry?.path();
            if !home.ends_with("flexvol~memory") {
                fs::read_dir(&home)?.flatten().try_for_each(|file| fs::remove_file(file.path()))?;
                fs::remove_dir(home)?;
            }
        }
        Ok(())
    }

    pub(super) fn install_hanging(&self) -> Result<()> {
        let home = self.plugins.join("flexvol~hanging");
        fs::create_dir(&home)?;
        let program = home.join("hanging");
        fs::write(&program, "#!/bin/sh\nexec sleep 20\n")?;
        Ok(fs::set_permissions(program, fs::Permissions::from_mode(0o755))?)
    }

    /// Waits until the pod's volume is mounted.
    pub(super) fn wait_until_mounted(&self, pod: &str) -> Result<()> {
        wait_until(Duration::from_micros(200), || Ok(self.is_mounted(pod)))
    }

    /// Waits until the pod's volume is not mounted.
    pub(super) fn wait_until_unmounted(&self, pod: &str) -> Result<()> {
        wait_until(Duration::from_micros(200), || Ok(!self.is_mounted(pod)))
    }

    fn is_mounted(&self, pod: &str) -> bool {
        let driver = self.root().join("pods").join(pod).join("volumes/flexvol~memory");
        let (inside, outside) = (fs::metadata(driver.join("data")), fs::metadata(&driver));
        inside.is_ok_and(|inside| outside.is_ok_and(|outside| inside.dev() != outside.dev()))
    }

    /// Waits until the agent says that so many volumes are mounted.
    pub(super) fn wait_for_mounted(&self, count: usize) -> Result<()> {
        let line = format!("flexvol_volumes{{stage=\"mounted\"}} {count}");
        wait_until(Duration::from_millis(10), || {
            Ok(self.ask("/metrics").is_ok_and(|text| text.lines().any(|found| found == line)))
        })
    }

    pub(super) fn wait_until_ready(&self) -> Result<()> {
        let ready = || Ok(self.ask("/readyz").is_ok_and(|text| text.starts_with("HTTP/1.1 200")));
        wait_until(Duration::from_millis(5), ready)
    }

    /// How many driver calls the agent has made that were no `init`.
    pub(super) fn calls_but_init(&self) -> Result<f64> {
        let text = self.ask("/metrics")?;
        let counts = text.lines().filter(|line| line.starts_with("flexvol_driver_call_seconds_count"));
        let others = counts.filter(|line| !line.contains("call=\"init\""));
        let numbers = others.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(numbers.sum())
    }

    fn ask(&self, path: &str) -> Result<String> {
        let mut stream = UnixStream::connect(self.root().join("flexvol/agent/agent.sock"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.1\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }
}

/// What is measured is the program, not the disk: records are written durably, and directories made and removed, which
/// takes a disk as long as it takes.
pub(super) fn in_memory(folder: &Path) -> Result<()> {
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "mode=0755", "bench"]).arg(folder).status()?;
    if mounted.success() { Ok(()) } else { bail!("no tmpfs at {}", folder.display()) }
}

fn wait_until(pause: Duration, mut so: impl FnMut() -> Result<bool>) -> Result<()> {
    let begun = Instant::now();
    while !so()? {
        if begun.elapsed() > PATIENCE {
            bail!("it did not come about within {PATIENCE:?}");
        }
        thread::sleep(pause);
    }
    Ok(())
}

/// A running agent; ended when it is dropped.
pub(super) struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Agent {
    /// Ends it as a service manager does.
    pub(super) fn stop(mut self) -> Result<()> {
        let asked = Command::new("kill").arg(self.0.id().to_string()).status()?;
        let ended = self.0.wait()?;
        if !asked.success() || !ended.success() {
            bail!("the agent ended with {ended}");
        }
        Ok(())
    }

    /// The processor time that it has used.
    pub(super) fn cpu_time(&self) -> Result<Duration> {
        /// `USER_HZ`, the same on every architecture that is in use.
        const TICKS_PER_SECOND: u64 = 100;
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<u64>().ok());
        let ticks = ticks(11).zip(ticks(12)).context("no times in /proc")?;
        Ok(Duration::from_millis((ticks.0 + ticks.1) * 1000 / TICKS_PER_SECOND))
    }

    pub(super) fn resident_mib(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: u32 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(f64::from(kib) / 1024.0)
    }
}
