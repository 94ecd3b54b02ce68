//! `bench`: figures with goals. Times are ratios to a baseline measured in the same run, so that they mean the same on
//! every machine.

mod agent;
mod agent_node;
mod cifs;
mod cli;
mod csi;
mod discovery;
mod driver;
mod figure;
mod host;
mod in_machine;
mod in_tree;
mod lvm;
mod mounts;
mod nbd;
mod nfs;
mod ownership;
mod programs;
mod reply;
mod timing;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::keeper::{Kept, MARK};
use crate::process;
use crate::workspace::Metadata;
use figure::{Figure, Outcome};
use in_machine::InMachine;
use programs::{Choices, Programs};

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How the figures are printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
    /// Only figures whose name starts so, such as `driver.`
    #[arg(long, value_name = "PREFIX", default_value = "")]
    only: String,
    /// Name the figures and their goals, and measure nothing
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    choices: Choices,
    /// Measure with the programs in this folder, in the namespaces that this process is already in
    #[arg(long, hide = true)]
    inside: Option<PathBuf>,
}

/// How figures are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table for people.
    Text,
    /// One JSON object a line: `name`, `value`, `unit`, `goal`, `holds`, and `skipped` with the reason where nothing could be measured.
    Json,
}

/// Figures that are measured together.
struct Group {
    figures: &'static [Figure],
    /// Measures and hands over each outcome as soon as it is known.
    measure: fn(&Programs, &mut dyn FnMut(Outcome)) -> Result<()>,
}

/// Drivers that are measured in the virtual machine.
const IN_MACHINE: [&InMachine; 4] = [&lvm::DRIVER, &nfs::DRIVER, &cifs::DRIVER, &nbd::DRIVER];

const GROUPS: [&Group; 14] = [
    &driver::SIZES,
    &driver::LOOP,
    &driver::LOOP_EPHEMERAL,
    &host::CALL,
    &host::VOLUMES,
    &cli::GROUP,
    &discovery::GROUP,
    &reply::GROUP,
    &mounts::VOLUMES,
    &mounts::REFERENCES,
    &ownership::GROUP,
    &csi::GROUP,
    &in_tree::GROUP,
    &agent::GROUP,
];

/// Measures, prints, and fails if a goal does not hold.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let groups: Vec<&Group> = GROUPS
        .into_iter()
        .filter(|group| group.figures.iter().any(|figure| figure.name.starts_with(&arguments.only)))
        .collect();
    let asked = |figure: &&Figure| figure.name.starts_with(&arguments.only);
    let in_machine: Vec<_> =
        IN_MACHINE.into_iter().filter(|driver| driver.figures.iter().any(|figure| asked(&figure))).collect();
    if groups.is_empty() && in_machine.is_empty() {
        bail!("no figure's name starts with {:?}: see --list", arguments.only);
    }
    if arguments.list {
        let here = groups.iter().flat_map(|group| group.figures);
        let there = in_machine.iter().flat_map(|driver| driver.figures).filter(asked);
        here.chain(there).for_each(|figure| println!("{figure}"));
        return Ok(());
    }
    if let Some(folder) = &arguments.inside {
        return measure(arguments, &groups, &Programs::load(folder, arguments.choices.clone())?);
    }
    let here = if groups.is_empty() { Ok(()) } else { measure_apart(arguments) };
    here.and(if in_machine.is_empty() { Ok(()) } else { measure_in_machine(arguments, &in_machine) })
}

/// In the virtual machine, which is a place apart already.
fn measure_in_machine(arguments: &Arguments, drivers: &[&InMachine]) -> Result<()> {
    let mut score = Score { arguments, missed: 0 };
    for driver in drivers {
        driver.measure()?.iter().for_each(|outcome| score.take(outcome));
    }
    score.close()
}

/// What is asked for, of all that is measured.
struct Score<'a> {
    arguments: &'a Arguments,
    missed: usize,
}

impl Score<'_> {
    fn take(&mut self, outcome: &Outcome) {
        if outcome.figure.name.starts_with(&self.arguments.only) {
            outcome.print(self.arguments.output);
            self.missed += usize::from(outcome.holds() == Some(false));
        }
    }

    fn close(self) -> Result<()> {
        if self.missed > 0 {
            bail!("{} goals do not hold", self.missed);
        }
        Ok(())
    }
}

/// Builds, then measures in another process: pinned to one CPU, in a mount namespace of its own, so that no mount can be
/// left behind.
fn measure_apart(arguments: &Arguments) -> Result<()> {
    let kept = Kept::new("flexvol-bench-")?;
    let result = Programs::build(&Metadata::load()?, kept.folder())
        .and_then(|()| start_inside(arguments, kept.folder()));
    result.and(kept.clean())
}

fn start_inside(arguments: &Arguments, folder: &Path) -> Result<()> {
    let me = std::env::current_exe().context("cannot find this program")?;
    // `env` with nothing else is the identity: it lets the list be empty.
    let mut command = Command::new("env");
    command.args(privately()).args(pinned()).arg(me);
    let format = if arguments.output == Format::Json { "json" } else { "text" };
    command
        .args(["bench", "--output", format, "--only", &arguments.only, "--inside"])
        .arg(folder)
        .args(["--files", &arguments.choices.files.to_string()])
        .env(MARK, folder);
    if let Some(oracle) = &arguments.choices.oracle {
        command.arg("--oracle").arg(oracle);
    }
    process::run(&mut command).context("a goal does not hold, or a measurement failed")
}

/// What gives a process mounts of its own here, if anything does.
fn privately() -> Vec<&'static str> {
    let root = ["unshare", "--mount", "--propagation", "private"];
    let user = ["unshare", "--user", "--map-root-user", "--mount", "--propagation", "private"];
    let works = |words: &[&str]| process::output(Command::new(words[0]).args(&words[1..]).arg("true"));
    let works = |words: &[&str]| works(words).is_ok_and(|output| output.status.success());
    if works(&root) {
        root.to_vec()
    } else if works(&user) {
        user.to_vec()
    } else {
        Vec::new()
    }
}

fn pinned() -> Vec<&'static str> {
    let works = process::output(Command::new("taskset").args(["--cpu-list", "0", "true"]));
    if works.is_ok_and(|output| output.status.success()) {
        vec!["taskset", "--cpu-list", "0"]
    } else {
        Vec::new()
    }
}

fn measure(arguments: &Arguments, groups: &[&Group], programs: &Programs) -> Result<()> {
    let mut score = Score { arguments, missed: 0 };
    for group in groups {
        let mut reported = Vec::new();
        let mut report = |outcome: Outcome| {
            reported.push(outcome.figure.name);
            score.take(&outcome);
        };
        if let Err(error) = (group.measure)(programs, &mut report) {
            let left = group.figures.iter().filter(|figure| !reported.contains(&figure.name)).copied();
            for outcome in left.map(|figure| figure.failed(format!("{error:#}"))).collect::<Vec<_>>() {
                outcome.print(arguments.output);
                score.missed += 1;
            }
        }
    }
    score.close()
}
