//! Running commands as a reader would type them, and checking what comes out.

use std::env;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::place::Place;
use super::story;
use crate::process;

/// Tells the story of a place.
pub(super) fn narrate(place: Place, folder: &Path, programs: &[PathBuf]) -> Result<()> {
    let Some((flexvol, drivers)) = programs.split_first() else { bail!("no programs were given") };
    let mut narrator = Narrator { folder: folder.to_owned(), path: flexvol_first(flexvol)?, step: 0 };
    narrator.prepare(flexvol)?;
    story::tell(&mut narrator, place, drivers)
}

fn flexvol_first(flexvol: &Path) -> Result<String> {
    let folder = flexvol.parent().context("the program has no folder")?;
    let path = env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".to_owned());
    Ok(format!("{}:{path}:/usr/sbin:/sbin", folder.display()))
}

/// A run of a command line.
#[derive(Debug)]
pub(super) struct Ran {
    /// Did it exit with 0?
    pub(super) succeeded: bool,
    /// What it printed, on both streams.
    pub(super) text: String,
}

/// Runs commands in one folder.
#[derive(Debug)]
pub(super) struct Narrator {
    /// Everything that the demo makes is below it.
    pub(super) folder: PathBuf,
    path: String,
    step: u32,
}

impl Narrator {
    fn prepare(&self, flexvol: &Path) -> Result<()> {
        for name in ["root", "plugins", "disk"] {
            let made = DirBuilder::new().mode(0o700).create(self.folder.join(name));
            made.context("cannot prepare the demo's folder")?;
        }
        let folder = self.folder.display();
        println!("\nTo repeat it by hand, type what follows each $:");
        println!("$ export PATH={}:$PATH", flexvol.parent().unwrap_or(flexvol).display());
        println!("$ mkdir -p -m 700 {folder} && cd {folder} && mkdir -m 700 root plugins disk");
        println!(
            "$ export FLEXVOL_ROOT=$PWD/root FLEXVOL_PLUGIN_DIR=$PWD/plugins FLEXVOL_STATE_DIR=$PWD/state"
        );
        Ok(())
    }

    /// Begins the next step.
    pub(super) fn step(&mut self, title: &str) {
        self.step += 1;
        println!("\n{}. {title}", self.step);
    }

    /// Writes a file and shows how.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<()> {
        let file = self.folder.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        println!("$ cat >{name} <<'END'\n{text}END");
        Ok(())
    }

    /// Runs a command line and shows it with its output.
    pub(super) fn run(&self, line: &str) -> Result<Ran> {
        println!("$ {line}");
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec 2>&1; {line}")]).current_dir(&self.folder).env("PATH", &self.path);
        command
            .env("FLEXVOL_ROOT", self.folder.join("root"))
            .env("FLEXVOL_PLUGIN_DIR", self.folder.join("plugins"));
        // Messages of the C library are asserted on, so they must be in one language.
        command.env("FLEXVOL_STATE_DIR", self.folder.join("state")).env("LC_ALL", "C");
        let output = process::output(&mut command)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().for_each(|line| println!("    {line}"));
        Ok(Ran { succeeded: output.status.success(), text })
    }

    /// Runs a command line that must succeed.
    pub(super) fn must(&self, line: &str) -> Result<String> {
        let ran = self.run(line)?;
        if !ran.succeeded {
            bail!("this command failed: {line}");
        }
        Ok(ran.text)
    }

    /// Checks a claim.
    pub(super) fn claim(&self, text: &str, holds: bool) -> Result<()> {
        if !holds {
            bail!("this does not hold: {text}");
        }
        println!("  ✓ {text}");
        Ok(())
    }

    /// The mount table's lines about the demo's folder.
    pub(super) fn mounts(&self) -> Result<Vec<String>> {
        let table = fs::read("/proc/self/mountinfo").context("cannot read the mount table")?;
        let folder = self.folder.to_string_lossy();
        let lines = String::from_utf8_lossy(&table).lines().map(str::to_owned).collect::<Vec<_>>();
        Ok(lines.into_iter().filter(|line| line.contains(&*folder)).collect())
    }
}
