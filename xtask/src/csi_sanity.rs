//! `csi-sanity`: the conformance suite of the Container Storage Interface against the bridge, with drivers of all shapes.
//!
//! The judge is Kubernetes' own (`github.com/kubernetes-csi/csi-test`), built by Go from its module; where there is no Go,
//! the chore says so and counts as skipped.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::process;
use crate::workspace::Metadata;

/// The judge's version.
const VERSION: &str = "v5.6.0";
const MODULE: &str = "github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity";

/// Trials at the same time.
const AT_ONCE: usize = 4;

/// A whole driver in twenty lines.
const SHELL_DRIVER: &str = include_str!("shell-driver.sh");

/// Arguments of `csi-sanity`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only the cases whose name contains this
    #[arg(value_name = "TEXT", default_value = "")]
    only: String,
    /// Show what the judge prints
    #[arg(long)]
    verbose: bool,
    /// We are in the mount namespace already
    #[arg(long, hide = true)]
    within: bool,
}

/// A driver under the bridge in one shape.
struct Case {
    name: &'static str,
    driver: &'static str,
    /// Its section of the configuration.
    settings: &'static str,
    /// Specs that call `CreateVolume` although the bridge does not offer it.
    skip: &'static str,
    /// At least so many specs must run.
    least: u32,
}

/// Without provisioning these specs cannot run: the suite calls `CreateVolume` in them whatever is offered.
const NEEDS_CREATE: &str = "ValidateVolumeCapabilities.*(no volume capabilities|appropriate values|does not exist)|\
    Controller.*volume lifecycle|node does not exist|published but is incompatible|volume does not exist|\
    should remove target path|NodeStageVolume.*no volume capability|on the specified path|NodeExpandVolume.*no volume path|\
    node-expand is called|already mounted at a different target|Node Service should (work|be idempotent)";

const CASES: [Case; 8] = [
    Case {
        name: "loop: attach by the controller, stage, template",
        driver: "flexvol/loop",
        settings: "provisioning = 'template'\nparameters = { directory = '@/pool', size = '${size:-16Mi}' }",
        skip: "",
        least: 47,
    },
    Case {
        name: "loop: attach by the node, stage, createvolume",
        driver: "flexvol/loop",
        settings: "provisioning = 'exec'\nattach = 'node'\nparameters = { directory = '@/pool', size = '16Mi' }",
        skip: "",
        least: 39,
    },
    Case {
        name: "loop: no attach, mount only, template",
        driver: "flexvol/loop-ephemeral",
        settings: "provisioning = 'template'\nparameters = { directory = '@/pool', size = '${size:-16Mi}' }",
        skip: "",
        least: 40,
    },
    Case {
        name: "memory: mount only, template",
        driver: "flexvol/memory",
        settings: "provisioning = 'template'\nexpansion = 'on'\nparameters = { size = '${size:-16Mi}' }",
        skip: "",
        least: 40,
    },
    Case {
        name: "memory: the group by the driver",
        driver: "flexvol/memory",
        settings: "provisioning = 'template'\nfs-group = 'both'\nparameters = { size = '${size:-16Mi}' }",
        skip: "",
        least: 40,
    },
    Case {
        name: "shell: mount only, template",
        driver: "test/shell",
        settings: "provisioning = 'template'",
        skip: "",
        least: 33,
    },
    Case {
        name: "shell: no provisioning",
        driver: "test/shell",
        settings: "",
        skip: NEEDS_CREATE,
        least: 15,
    },
    Case {
        name: "loop: no provisioning",
        driver: "flexvol/loop",
        settings: "expansion = 'off'",
        skip: NEEDS_CREATE,
        least: 23,
    },
];

/// Runs the suite for each case.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let metadata = Metadata::load()?;
    let judge = metadata.target_directory.join(format!("csi-sanity-{VERSION}/csi-sanity"));
    if arguments.within {
        return judge_all(arguments, &metadata.target_directory, &judge);
    }
    if let Some(why) = missing(&judge) {
        eprintln!("skipped: csi-sanity: {why}");
        return Ok(());
    }
    let mut build = process::cargo();
    build.args(["build", "--quiet", "--package", "flexvolume-csi", "--package", "flexvolume-drivers"]);
    process::run(&mut build)?;
    process::run(process::cargo().args("build --quiet --package flexvolume --example memory".split(' ')))?;
    let mut inside = Command::new("unshare");
    inside.args(["--mount", "--propagation", "private"]).arg(std::env::current_exe()?);
    inside.args(["csi-sanity", "--within", &arguments.only]);
    if arguments.verbose {
        inside.arg("--verbose");
    }
    process::run(&mut inside)
}

/// Why the suite cannot run here; installs the judge.
fn missing(judge: &Path) -> Option<String> {
    let id = process::capture(Command::new("id").arg("-u")).unwrap_or_default();
    if id.trim() != "0" {
        return Some("needs root, to mount".to_owned());
    }
    if judge.exists() {
        return None;
    }
    let folder = judge.parent()?;
    println!("$ go install {MODULE}@{VERSION}");
    let mut go = Command::new("go");
    go.current_dir("/").env("GOBIN", folder).args(["install", &format!("{MODULE}@{VERSION}")]);
    match go.output() {
        Err(_) => Some("needs Go, to build the judge".to_owned()),
        Ok(output) if !output.status.success() => {
            let why = String::from_utf8_lossy(&output.stderr);
            Some(format!("the judge cannot be built: {}", why.lines().last().unwrap_or_default()))
        }
        Ok(_) => None,
    }
}

fn judge_all(arguments: &Arguments, target: &Path, judge: &Path) -> Result<()> {
    let place = tempfile::Builder::new().prefix("csi-sanity-").tempdir()?;
    let plugins = place.path().join("plugins");
    for (driver, program) in [
        ("flexvol~loop", "debug/loop"),
        ("flexvol~loop-ephemeral", "debug/loop-ephemeral"),
        ("flexvol~memory", "debug/examples/memory"),
    ] {
        install(&plugins, driver, &fs::read(target.join(program))?)?;
    }
    install(&plugins, "test~shell", SHELL_DRIVER.as_bytes())?;
    let cases = CASES.iter().enumerate().filter(|(_, case)| case.name.contains(&arguments.only));
    let trials: Vec<Trial<'_>> = cases
        .map(|(number, case)| {
            let folder = place.path().join(number.to_string());
            Trial { case, folder, plugins: &plugins, programs: (target, judge) }
        })
        .collect();
    let (passed, failed) = try_side_by_side(&trials, arguments.verbose);
    println!("csi-sanity: {passed} passed, {failed} failed");
    if failed > 0 {
        bail!("{failed} of {} cases failed", passed + failed)
    }
    Ok(())
}

/// Runs the trials, which wait more than they work; answers how many passed and failed.
fn try_side_by_side(trials: &[Trial<'_>], verbose: bool) -> (usize, usize) {
    let (next, passed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let take_turns = || {
        while let Some(trial) = trials.get(next.fetch_add(1, Ordering::Relaxed)) {
            let begun = Instant::now();
            match trial.run(verbose) {
                Ok(summary) => {
                    passed.fetch_add(1, Ordering::Relaxed);
                    println!("ok    {}: {summary}, in {:.1?}", trial.case.name, begun.elapsed());
                }
                Err(error) => println!("FAIL  {}: {error:#}", trial.case.name),
            }
        }
    };
    thread::scope(|scope| (0..AT_ONCE).for_each(|_| drop(scope.spawn(take_turns))));
    let passed = passed.into_inner();
    (passed, trials.len() - passed)
}

fn install(plugins: &Path, driver: &str, program: &[u8]) -> Result<()> {
    let folder = plugins.join(driver);
    fs::create_dir_all(&folder)?;
    let file = folder.join(driver.rsplit('~').next().unwrap_or(driver));
    fs::write(&file, program).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?)
}

/// One run of the suite.
struct Trial<'a> {
    case: &'a Case,
    folder: PathBuf,
    plugins: &'a Path,
    programs: (&'a Path, &'a Path),
}

impl Trial<'_> {
    fn run(&self, verbose: bool) -> Result<String> {
        fs::create_dir_all(self.folder.join("kubelet"))?;
        fs::create_dir_all(self.folder.join("pool"))?;
        let place = self.folder.display().to_string();
        let grows = self.case.driver != "flexvol/loop" || can_resize();
        let growth = if grows { "" } else { "\nexpansion = 'off'" };
        let settings = self.case.settings.replace('@', &place);
        let growth = if settings.contains("expansion") { "" } else { growth };
        let config = format!("[driver.'{}']\n{settings}{growth}\n", self.case.driver);
        fs::write(self.folder.join("config.toml"), config)?;
        if !grows {
            eprintln!("skipped: {}: growth: resize2fs needs CAP_SYS_RESOURCE", self.case.name);
        }
        let mut bridge = self.serve()?;
        let judged = self.wait_for_socket().and_then(|()| self.judge(verbose));
        end(&mut bridge)?;
        let summary = judged.with_context(|| format!("log: {}", self.last_of_log()))?;
        let left = fs::read_to_string("/proc/self/mountinfo")?;
        let left: Vec<&str> = left.lines().filter(|line| line.contains(&place)).collect();
        if !left.is_empty() {
            bail!("mounts are left: {left:?}");
        }
        Ok(summary)
    }

    fn serve(&self) -> Result<Child> {
        let place = |name: &str| self.folder.join(name);
        let log = fs::File::create(place("log"))?;
        let mut command = Command::new(self.programs.0.join("debug/flexvol-csi"));
        command.args(["serve", "--mode", "all", "--node-id", "node-1", "--driver", self.case.driver]);
        command.arg("--plugin-dir").arg(self.plugins).arg("--config").arg(place("config.toml"));
        command.arg("--root").arg(place("root")).arg("--kubelet-root").arg(place("kubelet"));
        command.arg("--settings-dir").arg(place("settings"));
        command.arg("--endpoint").arg(format!("unix://{}", place("csi.sock").display()));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command.spawn().context("cannot start flexvol-csi")
    }

    fn wait_for_socket(&self) -> Result<()> {
        let patience = Instant::now() + Duration::from_secs(30);
        while !self.folder.join("csi.sock").exists() {
            if Instant::now() > patience {
                bail!("the bridge opens no socket");
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn judge(&self, verbose: bool) -> Result<String> {
        let place = |name: &str| self.folder.join(name).display().to_string();
        let mut command = Command::new(self.programs.1);
        command.args([
            format!("--csi.endpoint=unix://{}", place("csi.sock")),
            format!("--csi.mountdir={}", place("kubelet/mount")),
            format!("--csi.stagingdir={}", place("kubelet/staging")),
            "--csi.testvolumesize=16777216".to_owned(),
            "--csi.testvolumeexpandsize=33554432".to_owned(),
            "--ginkgo.no-color".to_owned(),
        ]);
        if !self.case.skip.is_empty() {
            command.arg(format!("--ginkgo.skip={}", self.case.skip));
        }
        let output = process::output(&mut command)?;
        let text = String::from_utf8_lossy(&output.stdout);
        if verbose || !output.status.success() {
            println!("{text}");
        }
        let ran = number_before(&text, "Ran ", " of ").context("the judge ran nothing")?;
        if !output.status.success() {
            bail!("the judge ended with {}", output.status);
        }
        if ran < self.case.least {
            bail!("{ran} specs ran, of at least {}", self.case.least);
        }
        Ok(format!("{ran} specs ran and passed"))
    }

    fn last_of_log(&self) -> String {
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }
}

fn number_before(text: &str, before: &str, after: &str) -> Option<u32> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after)?.0.trim().parse().ok()
}

/// `CAP_SYS_RESOURCE`, which growing a mounted ext4 needs and not every container has.
fn can_resize() -> bool {
    const SYS_RESOURCE: u32 = 24;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> SYS_RESOURCE & 1 == 1)
}

/// Ends the bridge as systemd would, and sees that it ends well.
fn end(bridge: &mut Child) -> Result<()> {
    process::run(Command::new("kill").arg(bridge.id().to_string()))?;
    let status = bridge.wait()?;
    if !status.success() {
        bail!("the bridge ended with {status}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_judges_summary_is_read() {
        let text = "Ran 40 of 103 Specs in 1.2 seconds\n";
        assert_eq!(number_before(text, "Ran ", " of "), Some(40));
        assert_eq!(number_before("nothing", "Ran ", " of "), None);
    }

    #[test]
    fn the_shell_driver_has_twenty_lines_at_most() {
        assert!(SHELL_DRIVER.lines().count() <= 20);
    }
}
