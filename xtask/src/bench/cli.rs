//! `cli.`: the command line program with many volumes.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::figure::{Figure, Outcome};
use super::programs::Programs;
use super::{Group, host, timing};
use crate::process;

const VOLUMES: u32 = 1000;
const ROUNDS: u32 = 30;

const STATUS: Figure = Figure::at_most("cli.status.1000-volumes", 50.0, "ms");
const STATUS_PEAK: Figure = Figure::at_most("cli.status.1000-volumes.peak", 12.0, "MiB");
const MOUNT_PEAK: Figure = Figure::at_most("cli.mount.1000-volumes.peak", 12.0, "MiB");

/// `flexvol mount` and `flexvol status` with 1,000 volumes.
pub(super) const GROUP: Group = Group { figures: &[STATUS, STATUS_PEAK, MOUNT_PEAK], measure };

fn measure(programs: &Programs, report: &mut dyn FnMut(Outcome)) -> Result<()> {
    if super::privately().is_empty() {
        GROUP.figures.iter().for_each(|figure| report(figure.skipped("needs a mount namespace of its own")));
        return Ok(());
    }
    let cli = Cli::new(programs)?;
    let manifest = cli.folder.join("pods.yaml");
    fs::write(&manifest, pods()).context("cannot write the manifest")?;
    let manifest = manifest.to_string_lossy();
    report(MOUNT_PEAK.value(cli.peak(&["mount", "-f", &manifest])?));
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        times.push(timing::wall(&cli.program, &cli.words(&["status"]), None)?);
    }
    report(STATUS.value(timing::median(times).as_secs_f64() * 1000.0));
    report(STATUS_PEAK.value(cli.peak(&["status"])?));
    cli.run(&["unmount", "-f", &manifest])
}

/// Ten volumes a pod.
fn pods() -> String {
    let mut text = String::new();
    for pod in 0..VOLUMES / 10 {
        let uid = format!("00000000-0000-0000-0000-{pod:012}");
        let _ = write!(
            text,
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: pod-{pod}, uid: {uid}}}\nspec:\n"
        );
        text.push_str("  containers: [{name: main, image: none}]\n  volumes:\n");
        for volume in 0..10 {
            let source = "flexVolume: {driver: flexvol/memory, options: {size: 1Mi}}";
            let _ = writeln!(text, "  - {{name: v{volume}, {source}}}");
        }
    }
    text
}

/// `flexvol` with a root and a plugin directory of its own.
struct Cli {
    program: PathBuf,
    peak: PathBuf,
    folder: PathBuf,
    root: String,
    plugins: String,
}

impl Cli {
    fn new(programs: &Programs) -> Result<Self> {
        let folder = programs.scratch("cli")?;
        let plugins = host::install(programs, &folder, "memory")?.to_string_lossy().into_owned();
        let root = folder.join("root").to_string_lossy().into_owned();
        Ok(Self { program: programs.get("flexvol")?, peak: programs.get("peak")?, folder, root, plugins })
    }

    fn words<'a>(&'a self, words: &[&'a str]) -> Vec<&'a str> {
        [&["--root", &self.root, "--plugin-dir", &self.plugins], words].concat()
    }

    fn run(&self, words: &[&str]) -> Result<()> {
        let mut command = Command::new(&self.program);
        process::run(command.args(self.words(words)).stdout(Stdio::null()))
    }

    /// Peak resident memory in MiB.
    fn peak(&self, words: &[&str]) -> Result<f64> {
        let mut command = Command::new(&self.peak);
        let output = process::output(command.arg(&self.program).args(self.words(words)))?;
        let text = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            bail!("{} ended with {}: {text}", process::render(&command), output.status);
        }
        peak_mib(&text).with_context(|| format!("no peak in {text:?}"))
    }
}

fn peak_mib(text: &str) -> Option<f64> {
    let kib: u32 = text.lines().find_map(|line| line.strip_prefix("peak-kib "))?.parse().ok()?;
    Some(f64::from(kib) / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_has_all_volumes() {
        assert_eq!(pods().matches("flexVolume").count(), usize::try_from(VOLUMES).unwrap());
    }

    #[test]
    fn the_peak_is_found_among_other_words() {
        assert_eq!(peak_mib("warning: x\npeak-kib 2048\n"), Some(2.0));
        assert_eq!(peak_mib("warning"), None);
    }
}
