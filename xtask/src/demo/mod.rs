//! `demo`: the main job, step by step, with every claim checked.
//!
//! What was started builds, chooses a place, and starts the *narrator*, which runs the commands: in namespaces of its own
//! where there are some, so that no mount can outlive it.

mod narrator;
mod place;
mod story;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};

use crate::drivers::{self, Build, Program};
use crate::keeper::{Kept, MARK};
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

/// The other process.
#[derive(Debug, Subcommand)]
enum Part {
    #[command(hide = true)]
    Narrate { place: Place, folder: PathBuf, programs: Vec<PathBuf> },
}

/// Runs the demo, or one of its parts.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.part {
        None => supervise(arguments.place),
        Some(Part::Narrate { place, folder, programs }) => narrator::narrate(*place, folder, programs),
    }
}

fn supervise(wanted: Option<Place>) -> Result<()> {
    let metadata = Metadata::load()?;
    println!("Building the command line program and the drivers; the first time takes a minute or two");
    let cli = drivers::build_cli(&metadata, &Build::Quick)?;
    let kept = Kept::new("flexvol-demo-")?;
    let result = tell(wanted, &metadata, &cli, kept.folder());
    let folder = kept.folder().display().to_string();
    kept.clean()?;
    println!("Cleaned up: {folder} is removed; no mount, loop device or process is left.");
    result
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
