//! `chaos`: the agent among random operations, as many as one likes.

use anyhow::Result;
use clap::Args;

use crate::process;

/// Arguments of `chaos`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How many random operations
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    operations: u32,
    /// Which ones: the same seed, the same operations [default: another one each time, printed]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u32>,
}

/// Builds the drivers, then runs the chaos test of the agent.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    process::run(process::cargo().args(["build", "--quiet", "--package", "flexvolume-drivers"]))?;
    let seed = arguments.seed.unwrap_or_else(std::process::id);
    println!("{} operations of seed {seed}; again with --seed {seed}", arguments.operations);
    let mut command = process::cargo();
    command.args([
        "test",
        "--quiet",
        "--package",
        "flexvol",
        "--all-features",
        "--test",
        "chaos",
        "--",
        "--nocapture",
    ]);
    command.env("CHAOS_OPERATIONS", arguments.operations.to_string());
    command.env("CHAOS_SEED", seed.to_string());
    process::run(&mut command)
}
