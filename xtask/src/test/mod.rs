//! `test`: everything that must hold before a change lands.

mod tally;

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
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
    /// A command whose results are counted.
    Count(&'static str, Command),
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
            stages.push(Stage::Count(name, command));
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
        Stage::Check(name, mut command) => (name, process::run(&mut command), repeat_with(&command)),
        Stage::Tidy => ("tidy", tidy::check(root()), "cargo xtask tidy".to_owned()),
        Stage::Count(name, mut command) => {
            println!("{name}: {}", process::render(&command));
            (name, count(&mut command, tally), repeat_with(&command))
        }
    };
    let seconds = start.elapsed().as_secs_f64();
    let verdict = if result.is_ok() { "ok" } else { "FAILED" };
    println!("{name:<14} {verdict:<7} {seconds:>7.1} s");
    result.with_context(|| format!("{name} failed; repeat with: {repeat}"))
}

/// The command with the environment that it needs.
fn repeat_with(command: &Command) -> String {
    let set = |(name, value): (&std::ffi::OsStr, Option<&std::ffi::OsStr>)| {
        let value = process::quote(&value?.to_string_lossy());
        Some(format!("{}={value} ", name.to_string_lossy()))
    };
    command.get_envs().filter_map(set).collect::<String>() + &process::render(command)
}

/// Runs a command, shows the lines that matter, and counts.
fn count(command: &mut Command, tally: &mut Tally) -> Result<()> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {}", process::render(command)))?;
    let (sender, lines) = mpsc::channel();
    read_lines(child.stdout.take(), sender.clone());
    read_lines(child.stderr.take(), sender);
    let before = tally.failed;
    for line in lines {
        if tally.line(&line) == tally::Show::Yes {
            println!("  {line}");
        }
    }
    let status = child.wait()?;
    if tally.failed > before {
        bail!("{} failed", tally.failed - before);
    }
    if !status.success() {
        bail!("{} ended with {status}", process::render(command));
    }
    Ok(())
}

fn read_lines(stream: Option<impl Read + Send + 'static>, lines: mpsc::Sender<String>) {
    let Some(stream) = stream else { return };
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            if lines.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                return;
            }
        }
    });
}
