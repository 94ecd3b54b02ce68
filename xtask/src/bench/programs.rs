//! The programs that are measured, and those to measure against.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::drivers::{self, Profile};
use crate::process;
use crate::workspace::Metadata;

/// Does nothing: the least that starting a static program can cost. In C, which has no runtime of its own to set up, so
/// it is the harder baseline.
const NOTHING: &str = "int main(void) { return 0; }\n";

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

/// A folder with every program.
#[derive(Debug)]
pub(super) struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Builds all programs into `folder`.
    pub(super) fn build(metadata: &Metadata, folder: &Path) -> Result<()> {
        let mut programs = drivers::build_drivers(metadata, Profile::Shipped)?;
        programs.push(drivers::build_cli(metadata, Profile::Shipped)?);
        if metadata.targets("flexvolume-host", "example").contains(&"bench_call") {
            programs.push(build_host_example(metadata)?);
        }
        for program in programs {
            let copy = folder.join(&program.name);
            fs::copy(&program.file, &copy).with_context(|| format!("cannot write {}", copy.display()))?;
        }
        compile(folder, "nothing", NOTHING)?;
        compile(folder, "peak", PEAK)
    }

    /// The programs that were built into `folder`.
    pub(super) fn load(folder: &Path) -> Result<Self> {
        Ok(Self { folder: folder.canonicalize().with_context(|| format!("{}", folder.display()))? })
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

fn build_host_example(metadata: &Metadata) -> Result<drivers::Program> {
    let mut command = process::cargo();
    process::run(command.args([
        "build",
        "--quiet",
        "--release",
        "--package",
        "flexvolume-host",
        "--example",
        "bench_call",
    ]))?;
    let file = metadata.target_directory.join("release/examples/bench_call");
    Ok(drivers::Program { name: "bench_call".to_owned(), file })
}

/// Compiles one C file as a static program.
fn compile(folder: &Path, name: &str, source: &str) -> Result<()> {
    let file = folder.join(format!("{name}.c"));
    fs::write(&file, source).with_context(|| format!("cannot write {}", file.display()))?;
    let mut command = Command::new("cc");
    process::run(command.args(["-static", "-O2", "-s", "-o"]).arg(folder.join(name)).arg(&file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_measuring_programs_compile_and_work() {
        let folder = tempfile::tempdir().unwrap();
        compile(folder.path(), "nothing", NOTHING).unwrap();
        compile(folder.path(), "peak", PEAK).unwrap();
        let mut command = Command::new(folder.path().join("peak"));
        let output = command.arg(folder.path().join("nothing")).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        let kib: u64 = text.trim().strip_prefix("peak-kib ").unwrap().parse().unwrap();
        assert!(output.status.success() && (1..20_000).contains(&kib), "{text}");
    }
}
