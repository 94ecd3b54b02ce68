//! `fuzz`: the targets in `fuzz/`, built for libFuzzer with the stable compiler, each run for a while.

use std::collections::VecDeque;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::process;
use crate::workspace::root;

/// What makes libFuzzer see which way a program went. These are the flags that cargo-fuzz passes; all are stable.
const COVERAGE: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg=fuzzing",
];

/// Nothing that a target reads needs to be longer to be wrong, in bytes.
const LONGEST_INPUT: u32 = 4096;
/// Longer ones are not kept in the repository.
const LONGEST_KEPT: u32 = 1024;

/// Arguments of `fuzz`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only this target; all of them otherwise
    target: Option<String>,
    /// How long each target runs
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Run this one input instead, such as a finding that was fixed
    #[arg(long, requires = "target", value_name = "FILE")]
    replay: Option<PathBuf>,
    /// Afterwards keep what has found something new in fuzz/corpus, as few and small inputs as that takes
    #[arg(long, conflicts_with = "replay")]
    minimize: bool,
}

/// Builds the targets and runs them, as many at a time as there are processors.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if !has_cxx() {
        println!(
            "skipped: fuzz: needs g++ to build libFuzzer; install it, or set CXX to another C++ compiler"
        );
        return Ok(());
    }
    let known = targets(&root().join("fuzz/fuzz_targets"))?;
    let wanted = match &arguments.target {
        Some(name) if known.contains(name) => vec![name.clone()],
        Some(name) => bail!("no fuzz target {name:?}; there are {}", known.join(", ")),
        None => known,
    };
    build(arguments.target.as_deref())?;
    let place = Place::new()?;
    if let (Some(input), Some(target)) = (&arguments.replay, wanted.first()) {
        let input = fs::canonicalize(input).with_context(|| format!("no input {}", input.display()))?;
        return process::run(place.command(target).arg(input));
    }
    let runs = run_all(&place, wanted.clone(), arguments.seconds)?;
    if arguments.minimize {
        wanted.iter().try_for_each(|target| place.minimize(target))?;
    }
    close(&runs)
}

/// Says what was done, and fails if anything was found.
fn close(runs: &[Run]) -> Result<()> {
    let executions: u64 = runs.iter().map(|run| run.statistics.executions).sum();
    let findings = runs.iter().filter(|run| run.finding.is_some()).count();
    println!("{} targets, {executions} executions, {findings} findings", runs.len());
    if findings > 0 {
        bail!("{findings} of {} fuzz targets found something", runs.len());
    }
    Ok(())
}

/// Whether the C++ of libFuzzer can be compiled.
fn has_cxx() -> bool {
    let in_path = |name: &str| {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path).any(|folder| folder.join(name).is_file())
    };
    env::var_os("CXX").is_some() || in_path("c++")
}

/// The targets are the files of the folder.
fn targets(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if let (Some("rs"), Some(name)) =
            (path.extension().and_then(|e| e.to_str()), path.file_stem().and_then(|n| n.to_str()))
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// The platform is named, so that build scripts and macros, which run on this machine too, are not instrumented.
fn platform() -> String {
    format!("{}-unknown-linux-gnu", env::consts::ARCH)
}

fn build(target: Option<&str>) -> Result<()> {
    let mut command = process::cargo();
    command.current_dir(root().join("fuzz")).args(["build", "--quiet", "--release"]);
    command.arg("--target").arg(platform()).arg("--target-dir").arg(root().join("target/fuzz"));
    match target {
        Some(name) => command.args(["--bin", name]),
        None => command.arg("--bins"),
    };
    command.env("RUSTFLAGS", COVERAGE.join(" ")).env("CARGO_INCREMENTAL", "0");
    process::run(&mut command)
}

/// Where things are while targets run.
struct Place {
    /// Programs, what was found before, and findings.
    target: PathBuf,
    /// Temporary files of the targets, in memory where there is such a place; removed at the end.
    scratch: tempfile::TempDir,
}

impl Place {
    fn new() -> Result<Self> {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { memory.to_owned() } else { env::temp_dir() };
        let scratch = tempfile::Builder::new().prefix("flexvol-fuzz.").tempdir_in(&folder);
        let scratch = scratch.with_context(|| format!("no temporary folder in {}", folder.display()))?;
        Ok(Self { target: root().join("target/fuzz"), scratch })
    }

    /// A target's program, with what every run of it has.
    fn command(&self, target: &str) -> Command {
        let mut command = Command::new(self.target.join(platform()).join("release").join(target));
        command.env("TMPDIR", self.scratch.path()).current_dir(root());
        command.args(["-timeout=20", "-rss_limit_mb=1024", "-print_final_stats=1"]);
        command.arg(format!("-max_len={LONGEST_INPUT}"));
        command.arg(format!("-artifact_prefix={}/", self.findings(target).display()));
        command
    }

    fn findings(&self, target: &str) -> PathBuf {
        self.target.join("findings").join(target)
    }

    /// What this machine has found so far.
    fn corpus(&self, target: &str) -> PathBuf {
        self.target.join("corpus").join(target)
    }

    fn run(&self, target: &str, seconds: u64) -> Result<Run> {
        let (corpus, seeds) = (self.corpus(target), root().join("fuzz/corpus").join(target));
        for folder in [&corpus, &seeds, &self.findings(target)] {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let mut command = self.command(target);
        command.arg(format!("-max_total_time={seconds}")).arg(&corpus).arg(&seeds);
        let output = process::output(&mut command)?;
        let log = String::from_utf8_lossy(&output.stderr);
        let statistics = Statistics::read(&log);
        let finding = (!output.status.success()).then(|| finding(target, &log));
        Ok(Run { target: target.to_owned(), statistics, finding })
    }

    /// Adds what reaches code that the kept corpus does not, in a folder beside, which then takes its place.
    fn minimize(&self, target: &str) -> Result<()> {
        let kept = root().join("fuzz/corpus").join(target);
        let merged = self.target.join("merged").join(target);
        fs::create_dir_all(&merged)?;
        empty(&merged)?;
        let mut command = self.command(target);
        command
            .args(["-set_cover_merge=1", "-use_counters=0"])
            .arg(format!("-max_len={LONGEST_KEPT}"))
            .arg(&merged)
            .arg(&kept);
        let output = process::output(command.arg(self.corpus(target)))?;
        if !output.status.success() {
            bail!("{}", finding(target, &String::from_utf8_lossy(&output.stderr)));
        }
        // What has a name was put there by a person and stays.
        let is_digest = |name: &str| name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        for file in files(&kept)?.iter().filter(|file| name_of(file).is_none_or(is_digest)) {
            fs::remove_file(file)?;
        }
        let found = files(&merged)?;
        for file in &found {
            fs::copy(file, kept.join(file.file_name().unwrap_or_default()))?;
        }
        println!("{target:<10} {} inputs kept in {}", found.len(), kept.display());
        Ok(())
    }
}

fn name_of(file: &Path) -> Option<&str> {
    file.file_name().and_then(|name| name.to_str())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

fn empty(folder: &Path) -> Result<()> {
    files(folder)?.iter().try_for_each(|file| fs::remove_file(file).map_err(Into::into))
}

/// A target that has run.
struct Run {
    target: String,
    statistics: Statistics,
    /// What was found, in words.
    finding: Option<String>,
}

fn run_all(place: &Place, targets: Vec<String>, seconds: u64) -> Result<Vec<Run>> {
    let workers = thread::available_parallelism().map_or(1, Into::into);
    let waiting = Mutex::new(VecDeque::from(targets));
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let work = || {
        let mut runs = Vec::new();
        while let Some(target) = next() {
            let run = place.run(&target, seconds)?;
            println!("{:<10} {}", run.target, run.statistics);
            if let Some(finding) = &run.finding {
                println!("{finding}");
            }
            runs.push(run);
        }
        Ok(runs)
    };
    let mut runs = Vec::new();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            let done: Result<Vec<Run>> =
                worker.join().unwrap_or_else(|_| bail!("a thread that watched fuzz targets has panicked"));
            runs.extend(done?);
        }
        Ok(runs)
    })
}

/// What libFuzzer counted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Statistics {
    executions: u64,
    per_second: u64,
    /// Edges of the program that were taken.
    coverage: u64,
    /// Inputs in the corpus.
    inputs: u64,
}

impl Statistics {
    fn read(log: &str) -> Self {
        let total = |name: &str| {
            let line = log.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.trim_start_matches(':').trim().parse().ok()).unwrap_or_default()
        };
        // `#117541 DONE   cov: 1200 ft: 5000 corp: 700/64Kb lim: 4096 exec/s: 23508 rss: 30Mb`
        let last = log.lines().rfind(|line| line.starts_with('#') && line.contains(" cov: ")).unwrap_or("");
        let field = |name: &str| {
            let rest = last.split_once(name).map_or("", |(_, rest)| rest);
            rest.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok())
        };
        Self {
            executions: total("stat::number_of_executed_units"),
            per_second: total("stat::average_exec_per_sec"),
            coverage: field(" cov: ").unwrap_or_default(),
            inputs: field(" corp: ").unwrap_or_default(),
        }
    }
}

impl std::fmt::Display for Statistics {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { executions, per_second, coverage, inputs } = self;
        write!(out, "{executions:>9} executions, {per_second:>6}/s, {coverage:>5} edges, {inputs:>5} inputs")
    }
}

/// The end of the log that tells what went wrong, and how to see it again.
fn finding(target: &str, log: &str) -> String {
    // A message may hold the whole input.
    let beginning = |line: &str| line.chars().take(300).collect::<String>();
    let mut lines: Vec<String> = log
        .lines()
        .skip_while(|line| !line.contains("panicked at") && !line.contains("ERROR: libFuzzer"))
        .take_while(|line| !line.starts_with("==") && !line.starts_with("stack backtrace"))
        .take(12)
        .map(beginning)
        .collect();
    if lines.is_empty() {
        lines = log.lines().rev().take(12).map(beginning).collect();
        lines.reverse();
    }
    let input = log.lines().find_map(|line| line.split_once("Test unit written to "));
    let again = match input {
        Some((_, input)) => {
            format!("replay: cargo xtask fuzz {target} --replay {}", process::quote(input.trim()))
        }
        None => "no input was written".to_owned(),
    };
    format!("FINDING in {target}:\n  {}\n  {again}", lines.join("\n  "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
#2\tINITED cov: 100 ft: 101 corp: 1/2b exec/s: 0 rss: 26Mb
#99\tNEW    cov: 1200 ft: 5000 corp: 700/64Kb lim: 4096 exec/s: 23508 rss: 30Mb L: 5/5 MS: 1 CopyPart-
thread '<unnamed>' (1) panicked at fuzz_targets/record.rs:80:5:
assertion failed: left
==7== ERROR: libFuzzer: deadly signal
artifact_prefix='f/'; Test unit written to f/crash-1bda
stat::number_of_executed_units: 117541
stat::average_exec_per_sec:     23508
";

    #[test]
    fn what_libfuzzer_counts_is_read() {
        let expected = Statistics { executions: 117_541, per_second: 23_508, coverage: 1200, inputs: 700 };
        assert_eq!(Statistics::read(LOG), expected);
        assert_eq!(Statistics::read(""), Statistics::default());
    }

    #[test]
    fn a_finding_says_what_and_how_to_see_it_again() {
        let text = finding("record", LOG);
        assert!(text.contains("record.rs:80:5") && text.contains("assertion failed"), "{text}");
        assert!(text.ends_with("replay: cargo xtask fuzz record --replay f/crash-1bda"), "{text}");
        assert!(finding("record", "cannot start\n").contains("cannot start"));
    }

    #[test]
    fn every_target_has_its_program_and_its_corpus() {
        let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
        let targets = targets(&root().join("fuzz/fuzz_targets")).unwrap();
        assert!(targets.len() >= 8, "{targets:?}");
        for target in &targets {
            assert!(manifest.contains(&format!("name = \"{target}\"")), "{target} is not in fuzz/Cargo.toml");
            let corpus = files(&root().join("fuzz/corpus").join(target)).unwrap();
            assert!(!corpus.is_empty(), "{target} has no corpus");
        }
    }
}
