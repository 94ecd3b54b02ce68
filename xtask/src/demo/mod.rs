//! `demo`: the main job, step by step, with every claim checked.
//!
//! Three processes take part. The *supervisor* is what was started: it builds, chooses a place, and starts the others.
//! The *keeper* cleans up when its standard input ends, which is when the supervisor is gone for whatever reason; it is in a
//! process group of its own, so that Ctrl-C does not reach it. The *narrator* runs the commands, in namespaces of its
//! own where there are some, so that no mount can outlive it.

mod keeper;
mod narrator;
mod place;
mod story;

use std::env;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};

use crate::drivers::{self, Build, Program};
use crate::process;
use crate::workspace::Metadata;
use place::Place;

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where the demo runs [default: the best that is possible here]
    #[arg(long, value_enum)]
    place: Option<Place>,
    #[command(subcommand)]
    part: Option<Part>,
}

/// The other two processes.
#[derive(Debug, Subcommand)]
enum Part {
    #[command(hide = true)]
    Keep { folder: PathBuf },
    #[command(hide = true)]
    Narrate { place: Place, folder: PathBuf, programs: Vec<PathBuf> },
}

/// Set for every process of a demo, to its folder: how the keeper knows them.
const MARK: &str = "FLEXVOL_DEMO";

/// Runs the demo, or one of its parts.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.part {
        None => supervise(arguments.place),
        Some(Part::Keep { folder }) => keeper::keep(folder),
        Some(Part::Narrate { place, folder, programs }) => narrator::narrate(*place, folder, programs),
    }
}

fn supervise(wanted: Option<Place>) -> Result<()> {
    let metadata = Metadata::load()?;
    println!("Building the command line program and the drivers (the first time takes about a minute)");
    let cli = drivers::build_cli(&metadata, &Build::Quick)?;
    let folder =
        tempfile::Builder::new().prefix("flexvol-demo-").tempdir().context("cannot make a folder")?.keep();
    let keeper = start_keeper(&folder)?;
    let result = tell(wanted, &metadata, &cli, &folder);
    let cleaned = end_keeper(keeper);
    result.and(cleaned)
}

fn tell(wanted: Option<Place>, metadata: &Metadata, cli: &Program, folder: &Path) -> Result<()> {
    let place = match wanted {
        Some(place) => place,
        None => place::choose(&cli.file, folder)?,
    };
    println!("{}", place.announcement());
    let programs = place.drivers().iter().map(|name| drivers::build_driver(metadata, &Build::Quick, name));
    let programs: Vec<Program> = programs.collect::<Result<_>>()?;
    let me = env::current_exe().context("cannot find this program")?;
    let mut command = place.command(&cli.file, &me);
    command.args(["demo", "narrate", place.word()]).arg(folder).arg(&cli.file);
    command.args(programs.iter().map(|program| &program.file)).env(MARK, folder).stdin(Stdio::null());
    let status = command.status().with_context(|| format!("cannot start {}", process::render(&command)))?;
    if !status.success() {
        bail!("the demo failed ({status})");
    }
    Ok(())
}

fn start_keeper(folder: &Path) -> Result<Child> {
    let me = env::current_exe().context("cannot find this program")?;
    let mut command = Command::new(me);
    command.args(["demo", "keep"]).arg(folder).stdin(Stdio::piped()).process_group(0);
    command.spawn().context("cannot start the process that cleans up")
}

/// Tells the keeper that we are done, and waits for it.
fn end_keeper(mut keeper: Child) -> Result<()> {
    drop(keeper.stdin.take());
    let status = keeper.wait().context("cannot wait for the process that cleans up")?;
    if !status.success() {
        bail!("cleaning up failed ({status})");
    }
    Ok(())
}
