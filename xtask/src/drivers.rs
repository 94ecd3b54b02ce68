//! `drivers`: the drivers as static programs, and the command line program.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use crate::process;
use crate::workspace::Metadata;

/// Arguments of `drivers`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where the programs are put [default: target/drivers]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Build without optimising, for a try
    #[arg(long)]
    quick: bool,
}

/// How much time the compiler may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Small and fast, as shipped: the profile `driver`.
    Shipped,
    /// Built quickly, for a demo or a test: the profile `dev`.
    Quick,
}

/// A program that was built.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    /// Its name.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) file: PathBuf,
}

impl Program {
    /// Its size in bytes.
    pub(crate) fn size(&self) -> Result<u64> {
        Ok(fs::metadata(&self.file).with_context(|| format!("{}", self.file.display()))?.len())
    }
}

/// Builds everything that is shipped and prints the sizes.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let metadata = Metadata::load()?;
    let out = arguments.out.clone().unwrap_or_else(|| metadata.target_directory.join("drivers"));
    fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
    let profile = if arguments.quick { Profile::Quick } else { Profile::Shipped };
    for program in build_drivers(&metadata, profile)? {
        put(&program, &out)?;
    }
    put(&build_cli(&metadata, profile)?, &out)
}

fn put(program: &Program, out: &Path) -> Result<()> {
    let copy = out.join(&program.name);
    fs::copy(&program.file, &copy).with_context(|| format!("cannot write {}", copy.display()))?;
    println!("{:>9} bytes  {}", program.size()?, copy.display());
    Ok(())
}

/// Builds every driver: the binaries of `flexvolume-drivers`, and the SDK's example `memory`.
pub(crate) fn build_drivers(metadata: &Metadata, profile: Profile) -> Result<Vec<Program>> {
    let mut names = metadata.targets("flexvolume-drivers", "bin");
    names.extend(metadata.targets("flexvolume", "example").into_iter().filter(|name| *name == EXAMPLE));
    names.into_iter().map(|name| build_driver(metadata, profile, name)).collect()
}

/// The SDK's example, which is a whole driver.
const EXAMPLE: &str = "memory";

/// Builds one driver.
pub(crate) fn build_driver(metadata: &Metadata, profile: Profile, name: &str) -> Result<Program> {
    let (package, kind) =
        if name == EXAMPLE { ("flexvolume", "--example") } else { ("flexvolume-drivers", "--bin") };
    build_static(metadata, profile, package, (kind, name))
}

/// Builds one target as a static program. The flag goes to that target alone, so its dependencies are shared with the
/// ordinary build.
fn build_static(
    metadata: &Metadata,
    profile: Profile,
    package: &str,
    target: (&str, &str),
) -> Result<Program> {
    let (kind, name) = target;
    let (profile, folder) = match profile {
        Profile::Shipped => ("driver", "driver"),
        Profile::Quick => ("dev", "debug"),
    };
    let mut command = process::cargo();
    command.args(["rustc", "--quiet", "--package", package, kind, name, "--profile", profile]);
    process::run(command.args(["--", "-C", "target-feature=+crt-static"]))?;
    let mut file = metadata.target_directory.join(folder);
    if kind == "--example" {
        file.push("examples");
    }
    file.push(name);
    Ok(Program { name: name.to_owned(), file })
}

/// Builds `flexvol`.
pub(crate) fn build_cli(metadata: &Metadata, profile: Profile) -> Result<Program> {
    let (profile, folder) = match profile {
        Profile::Shipped => ("release", "release"),
        Profile::Quick => ("dev", "debug"),
    };
    let mut command = process::cargo();
    process::run(command.args([
        "build",
        "--quiet",
        "--package",
        "flexvol",
        "--bin",
        "flexvol",
        "--profile",
        profile,
    ]))?;
    Ok(Program { name: "flexvol".to_owned(), file: metadata.target_directory.join(folder).join("flexvol") })
}
