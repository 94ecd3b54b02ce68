//! The chores of this workspace: `cargo xtask COMMAND`.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a tool for people at a terminal, which runs cargo and the built programs"
)]

mod bench;
mod chaos;
mod cluster;
mod csi_sanity;
mod demo;
mod drivers;
mod forward;
mod fuzz;
mod keeper;
mod process;
mod test;
mod tidy;
mod vm;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// The chores of this workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
enum Command {
    /// Formatting, lints, documentation, tidiness, and all tests.
    Test(test::Arguments),
    /// Sizes, crate arrows, who may spawn or mount, links, changelog.
    Tidy,
    /// Build the drivers as small static programs.
    Drivers(drivers::Arguments),
    /// The main job, step by step: a pod with volumes, mounted and used and gone
    Demo(demo::Arguments),
    /// Kubernetes' own suite for CSI drivers against the bridge, with drivers of all shapes
    CsiSanity(csi_sanity::Arguments),
    /// The bridge under a real kubelet, beside kubelet's own FlexVolume
    Cluster(cluster::Arguments),
    /// Speed, size and memory, each with its goal
    Bench(bench::Arguments),
    /// The agent among random operations, against a model
    Chaos(chaos::Arguments),
    /// Everything that reads foreign bytes, with libFuzzer: executions, coverage, findings
    Fuzz(fuzz::Arguments),
    /// The tests that need device-mapper, or one command, in a virtual machine
    Vm(vm::Arguments),
    /// Real drivers' replies against both readers: `corpus verify [DIR]`.
    Corpus(forward::Arguments),
    /// Kubernetes' own transcripts against our host: `oracle run|verify|record`.
    Oracle(forward::Arguments),
    /// Clean up when standard input ends
    #[command(hide = true)]
    Keep {
        /// What is removed
        folder: PathBuf,
    },
}

fn main() -> ExitCode {
    end_quietly_without_a_reader();
    let result = match Command::parse() {
        Command::Test(arguments) => test::run(&arguments),
        Command::Tidy => tidy::run(),
        Command::Drivers(arguments) => drivers::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::CsiSanity(arguments) => csi_sanity::run(&arguments),
        Command::Cluster(arguments) => cluster::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Chaos(arguments) => chaos::run(&arguments),
        Command::Fuzz(arguments) => fuzz::run(&arguments),
        Command::Vm(arguments) => return end(vm::run(&arguments)),
        Command::Keep { folder } => keeper::keep(&folder),
        Command::Corpus(arguments) => forward::run("corpus", &arguments),
        Command::Oracle(arguments) => forward::run("oracle", &arguments),
    };
    end(result.map(|()| ExitCode::SUCCESS))
}

fn end(result: anyhow::Result<ExitCode>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// `cargo xtask demo | head` closes our standard output early: that is no error to report, and `println!` knows no other
/// way to stop than a panic. What was made is cleaned up by the keeper.
fn end_quietly_without_a_reader() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload().downcast_ref::<String>().map_or("", String::as_str);
        if !text.starts_with("failed printing to stdout") {
            report(panic);
        }
    }));
}
