//! The programs that are measured, and those to measure against.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::drivers::{self, Build};
use crate::process;
use crate::workspace::{Metadata, root};

/// Does nothing: the least that starting a static Rust program can cost. Built and linked like the drivers, so that it has
/// every advantage that they have.
const NOTHING: &str = "fn main() {}\n";

/// Runs a program and prints on standard error its peak resident memory in KiB. Small itself, since a child's figure starts at its
/// parent's.
const PEAK: &str = r#"
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int count, char **words) {
    (void)count;
    pid_t child = vfork();
    if (child == 0) { execv(words[1], words + 1); _exit(127); }
    int status;
    struct rusage use;
    if (child < 0 || wait4(child, &status, 0, &use) < 0) return 126;
    fprintf(stderr, "peak-kib %ld\n", use.ru_maxrss);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 125;
}
"#;

/// A folder with every program, and what was chosen for this run.
#[derive(Debug)]
pub(super) struct Programs {
    folder: PathBuf,
    pub(super) choices: Choices,
}

/// What is measured, where there is a choice.
#[derive(Debug, Clone, Args)]
pub(super) struct Choices {
    /// How many files are given to a group; fewer are quicker, and a less certain figure
    #[arg(long, value_name = "COUNT", default_value_t = 1_000_000)]
    pub(super) files: usize,
    /// Folder with the Go program that runs Kubernetes' own plugin: measures it as well, and compares
    #[arg(long, value_name = "DIR")]
    pub(super) oracle: Option<PathBuf>,
}

impl Programs {
    /// Builds all programs into `folder`.
    pub(super) fn build(metadata: &Metadata, folder: &Path) -> Result<()> {
        let build = Build::shipped()?;
        let mut programs = drivers::build_drivers(metadata, &build)?;
        programs.push(drivers::build_cli(metadata, &build)?);
        let examples = metadata.targets("flexvolume-host", "example");
        let wanted = ["bench_call", "bench_discovery", "bench_reply", "give_to_group"];
        for name in wanted.into_iter().filter(|name| examples.contains(name)) {
            programs.push(build_host_example(metadata, name)?);
        }
        for program in programs {
            let copy = folder.join(&program.name);
            fs::copy(&program.file, &copy).with_context(|| format!("cannot write {}", copy.display()))?;
        }
        compile_nothing(folder, &build)?;
        compile_peak(folder)
    }

    /// The programs that were built into `folder`.
    pub(super) fn load(folder: &Path, choices: Choices) -> Result<Self> {
        let folder = folder.canonicalize().with_context(|| format!("{}", folder.display()))?;
        Ok(Self { folder, choices })
    }

    /// The program of this name, if there is one.
    pub(super) fn find(&self, name: &str) -> Option<PathBuf> {
        Some(self.folder.join(name)).filter(|file| file.exists())
    }

    /// The program of this name.
    pub(super) fn get(&self, name: &str) -> Result<PathBuf> {
        self.find(name).with_context(|| format!("the program {name} was not built"))
    }

    /// A new empty folder for one group, below the one that is removed in the end.
    pub(super) fn scratch(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(format!("{name}.d"));
        fs::create_dir(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(folder)
    }
}

fn build_host_example(metadata: &Metadata, name: &str) -> Result<drivers::Program> {
    let mut command = process::cargo();
    let words = ["build", "--quiet", "--release", "--package", "flexvolume-host", "--example", name];
    process::run(command.args(words))?;
    let file = metadata.target_directory.join("release/examples").join(name);
    Ok(drivers::Program { name: name.to_owned(), file })
}

fn compile_nothing(folder: &Path, build: &Build) -> Result<()> {
    let file = folder.join("nothing.rs");
    fs::write(&file, NOTHING).with_context(|| format!("cannot write {}", file.display()))?;
    let mut rustc = Command::new("rustc");
    let options = ["opt-level=s", "lto=fat", "codegen-units=1", "panic=abort", "strip=symbols"];
    rustc.args(options.iter().chain(&drivers::STATIC).flat_map(|option| ["-C", option]));
    if let Build::Shipped(Some(triple)) = build {
        rustc.args(["--target", triple]);
    }
    process::run(rustc.current_dir(root()).arg("-o").arg(folder.join("nothing")).arg(&file))
}

fn compile_peak(folder: &Path) -> Result<()> {
    let file = folder.join("peak.c");
    fs::write(&file, PEAK).with_context(|| format!("cannot write {}", file.display()))?;
    process::run(Command::new("cc").args(["-static", "-O2", "-s", "-o"]).arg(folder.join("peak")).arg(&file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_measuring_programs_compile_and_work() {
        let folder = tempfile::tempdir().unwrap();
        compile_nothing(folder.path(), &Build::shipped().unwrap()).unwrap();
        compile_peak(folder.path()).unwrap();
        let mut command = Command::new(folder.path().join("peak"));
        let output = command.arg(folder.path().join("nothing")).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        let kib: u64 = text.trim().strip_prefix("peak-kib ").unwrap().parse().unwrap();
        assert!(output.status.success() && (1..20_000).contains(&kib), "{text}");
    }
}
