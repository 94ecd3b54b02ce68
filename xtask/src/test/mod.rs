//! `test`: everything that must hold before a change lands.

pub(crate) mod tally;

use std::io::{self, BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::workspace::{Metadata, root};
use crate::{forward, process, tidy};
use tally::Tally;

/// Arguments of `test`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Leave out the documentation, the integration tests and the recorded cases
    #[arg(long)]
    quick: bool,
}

/// One thing that must hold.
enum Stage {
    /// A command that must exit with 0.
    Check(&'static str, Command),
    /// The checks of `tidy`, in this process.
    Tidy,
    /// A command whose results are counted, and shown as they come.
    Count(&'static str, Command),
    /// The same, shown only if it fails: it prints more than one wants to read.
    Cases(&'static str, Command),
}

/// Runs the stages in order, stops at the first that fails, and closes with the counts.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let metadata = Metadata::load()?;
    let stages = if arguments.quick { quick_stages() } else { all_stages(&metadata) };
    let mut tally = Tally::default();
    let mut failure = None;
    for stage in stages {
        if let Err(error) = run_stage(stage, &mut tally) {
            failure = Some(error);
            break;
        }
    }
    tally.print_skipped();
    if failure.is_some() && tally.failed == 0 {
        tally.failed = 1;
    }
    println!("{tally}");
    failure.map_or(Ok(()), Err)
}

fn quick_stages() -> Vec<Stage> {
    vec![
        Stage::Check("format", cargo(&["fmt", "--all", "--check"])),
        Stage::Tidy,
        Stage::Check("lints", clippy()),
        Stage::Count(
            "unit tests",
            cargo(&[
                "test",
                "--workspace",
                "--all-features",
                "--no-fail-fast",
                "--lib",
                "--bins",
                "--",
                "--show-output",
            ]),
        ),
    ]
}

fn all_stages(metadata: &Metadata) -> Vec<Stage> {
    let mut documentation = cargo(&["doc", "--quiet", "--workspace", "--all-features", "--no-deps"]);
    documentation.env("RUSTDOCFLAGS", "-D warnings");
    let mut stages = vec![
        Stage::Check("format", cargo(&["fmt", "--all", "--check"])),
        Stage::Tidy,
        Stage::Check("lints", clippy()),
        Stage::Check("documentation", documentation),
        Stage::Count(
            "tests",
            cargo(&["test", "--workspace", "--all-features", "--no-fail-fast", "--", "--show-output"]),
        ),
    ];
    let examples = metadata.targets("flexvolume-host", "example");
    for name in ["corpus", "oracle"] {
        if examples.contains(&name) {
            let mut command = forward::example(name);
            command.arg("verify");
            stages.push(Stage::Cases(name, command));
        }
    }
    stages
}

fn cargo(arguments: &[&str]) -> Command {
    let mut command = process::cargo();
    command.args(arguments);
    command
}

fn clippy() -> Command {
    cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"])
}

fn run_stage(stage: Stage, tally: &mut Tally) -> Result<()> {
    let start = Instant::now();
    let (name, result, repeat) = match stage {
        Stage::Check(name, mut command) => (name, succeeds(&mut command), repeat_with(&command)),
        Stage::Tidy => ("tidy", tidy::check(root()), "cargo xtask tidy".to_owned()),
        Stage::Count(name, mut command) => {
            println!("{name}: {}", process::render(&command));
            let show = |_: &str, shown: Vec<String>| shown.iter().for_each(|line| println!("  {line}"));
            (name, count(&mut command, tally, show), repeat_with(&command))
        }
        Stage::Cases(name, mut command) => {
            let mut kept = Vec::new();
            let result = count(&mut command, tally, |line, _| kept.push(line.to_owned()));
            if result.is_err() {
                kept.iter().for_each(|line| println!("  {line}"));
            }
            (name, result, repeat_with(&command))
        }
    };
    let seconds = start.elapsed().as_secs_f64();
    let verdict = if result.is_ok() { "ok" } else { "FAILED" };
    println!("{name:<14} {verdict:<7} {seconds:>7.1} s");
    result.with_context(|| format!("{name} failed; repeat with: {repeat}"))
}

fn succeeds(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", process::render(command)))?;
    if !status.success() {
        bail!("{status}");
    }
    Ok(())
}

/// The command with the environment that it needs.
fn repeat_with(command: &Command) -> String {
    let set = |(name, value): (&std::ffi::OsStr, Option<&std::ffi::OsStr>)| {
        let value = process::quote(&value?.to_string_lossy());
        Some(format!("{}={value} ", name.to_string_lossy()))
    };
    command.get_envs().filter_map(set).collect::<String>() + &process::render(command)
}

/// Runs a command, hands over each line, and counts. Both streams go into one pipe, so that the lines keep their order.
fn count(command: &mut Command, tally: &mut Tally, mut each: impl FnMut(&str, Vec<String>)) -> Result<()> {
    let (reader, writer) = io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn().with_context(|| format!("cannot start {}", process::render(command)))?;
    // The command holds our end for writing, which would keep us reading for ever.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let before = tally.failed;
    for line in BufReader::new(reader).split(b'\n') {
        let line = line.context("cannot read the output of the tests")?;
        let line = String::from_utf8_lossy(&line);
        each(line.trim_end(), tally.line(line.trim_end()));
    }
    each("", tally.end());
    let status = child.wait()?;
    if tally.failed > before {
        bail!("{} failed", tally.failed - before);
    }
    if !status.success() {
        bail!("{status}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str) -> (Result<()>, Tally, Vec<String>) {
        let (mut tally, mut lines) = (Tally::default(), Vec::new());
        let mut command = Command::new("sh");
        let result = count(command.args(["-c", script]), &mut tally, |line, _| lines.push(line.to_owned()));
        lines.retain(|line| !line.is_empty());
        (result, tally, lines)
    }

    #[test]
    fn lines_of_both_streams_keep_their_order() {
        let (result, _, lines) = run("echo a; echo b >&2; echo c");
        assert_eq!(lines, ["a", "b", "c"]);
        result.unwrap();
    }

    #[test]
    fn a_failed_case_or_a_bad_end_fails_the_stage() {
        assert_eq!(run("echo '3 passed, 1 failed'").0.unwrap_err().to_string(), "1 failed");
        assert!(run("exit 4").0.is_err());
        assert_eq!(run("echo '3 passed, 0 failed'").1.to_string(), "3 passed, 0 failed, 0 skipped");
    }
}
