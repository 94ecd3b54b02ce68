//! `host.`: what the host adds to a driver. Measured by the host crate's example `bench_call`.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::figure::{Figure, Outcome};
use super::programs::Programs;
use super::{Group, timing};
use crate::process;

const CALL_ROUNDS: &str = "600";
const VOLUME_ROUNDS: u32 = 200;

const CALL_FIGURE: Figure = Figure::at_most("host.call.vs-bare-start", 1.2, "ratio");
const VOLUMES_FIGURE: Figure = Figure::at_most("host.volume.1000th-vs-10th", 1.15, "ratio");

/// A whole driver call (render, start, capture both streams, read the reply) against a bare start of the same driver.
pub(super) const CALL: Group = Group { figures: &[CALL_FIGURE], measure: measure_call };

/// Set-up and tear-down of a volume among 999 others, against the same among 9.
pub(super) const VOLUMES: Group = Group { figures: &[VOLUMES_FIGURE], measure: measure_volumes };

fn measure_call(programs: &Programs, report: &mut dyn FnMut(Outcome)) -> Result<()> {
    let (call, bare) = call(programs, &programs.scratch("call")?)?;
    report(CALL_FIGURE.value(call / bare));
    Ok(())
}

fn measure_volumes(programs: &Programs, report: &mut dyn FnMut(Outcome)) -> Result<()> {
    if super::privately().is_empty() {
        report(VOLUMES_FIGURE.skipped("needs a mount namespace of its own"));
        return Ok(());
    }
    report(VOLUMES_FIGURE.value(among_others(programs, &programs.scratch("volumes")?, 1000)?));
    Ok(())
}

/// The time of a volume among `count` divided by that of one among 10.
pub(super) fn among_others(programs: &Programs, folder: &Path, count: u32) -> Result<f64> {
    let plugins = install(programs, folder, "memory")?;
    let mut many = Volumes::start(programs, &plugins, &folder.join("many"), count)?;
    let mut few = Volumes::start(programs, &plugins, &folder.join("few"), 10)?;
    let ratio = timing::ratio(VOLUME_ROUNDS, || many.cycle(), || few.cycle())?;
    many.end()?;
    few.end()?;
    Ok(ratio)
}

/// The median nanoseconds of a whole call of `loop`, and of a bare start of the same program.
pub(super) fn call(programs: &Programs, folder: &Path) -> Result<(f64, f64)> {
    let plugins = install(programs, folder, "loop")?;
    let mut command = Command::new(programs.get("bench_call")?);
    command.arg("call").arg(&plugins).args(["flexvol/loop", CALL_ROUNDS]);
    let text = process::capture(&mut command)?;
    let words: Vec<f64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let [call, bare] = words[..] else { bail!("bench_call printed {text:?}") };
    Ok((call, bare))
}

/// Puts a driver into a plugin directory below `folder`, where a host finds it as `flexvol/NAME`.
pub(super) fn install(programs: &Programs, folder: &Path, name: &str) -> Result<PathBuf> {
    let plugins = folder.join("plugins");
    let home = plugins.join(format!("flexvol~{name}"));
    fs::create_dir_all(&home).with_context(|| format!("cannot create {}", home.display()))?;
    fs::copy(programs.get(name)?, home.join(name)).context("cannot install the driver")?;
    Ok(plugins)
}

/// A host with volumes mounted, in a mount namespace of its own.
struct Volumes {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Volumes {
    fn start(programs: &Programs, plugins: &Path, root: &Path, count: u32) -> Result<Self> {
        fs::create_dir(root).with_context(|| format!("cannot create {}", root.display()))?;
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private"]).arg(programs.get("bench_call")?);
        command.arg("volumes").arg(plugins).arg("flexvol/memory").arg(root).arg(count.to_string());
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let orders = process.stdin.take().context("no standard input")?;
        let answers = BufReader::new(process.stdout.take().context("no standard output")?);
        let mut volumes = Self { process, orders, answers };
        match volumes.answer()?.as_str() {
            "ready" => Ok(volumes),
            other => bail!("bench_call said {other:?} instead of `ready`"),
        }
    }

    /// Sets the last volume up and tears it down.
    fn cycle(&mut self) -> Result<Duration> {
        self.orders.write_all(b"\n").context("bench_call has ended")?;
        let nanoseconds = self.answer()?;
        Ok(Duration::from_nanos(
            nanoseconds.parse().with_context(|| format!("bench_call said {nanoseconds:?}"))?,
        ))
    }

    fn answer(&mut self) -> Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }

    /// Unmounts everything and waits.
    fn end(self) -> Result<()> {
        let Self { mut process, orders, answers } = self;
        drop((orders, answers));
        let status = process.wait()?;
        if !status.success() {
            bail!("bench_call ended with {status}");
        }
        Ok(())
    }
}
