//! `drivers`: the drivers as static programs, and the command line program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::process;
use crate::workspace::{Metadata, root};

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

/// How a program is built.
#[derive(Debug, Clone)]
pub(crate) enum Build {
    /// Small, fast and static, as shipped: the profile `driver`, for this target if it is one of its own.
    Shipped(Option<String>),
    /// In little time, for a demo: the profile `dev`, dynamic.
    Quick,
}

impl Build {
    /// As shipped, with musl if its target is installed. A static program with glibc does the same, but glibc alone
    /// makes it larger than 1 MiB and doubles its start-up time.
    pub(crate) fn shipped() -> Result<Self> {
        let mut rustc = Command::new("rustc");
        let about = process::capture(rustc.current_dir(root()).arg("-vV"))?;
        let host =
            about.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
        let musl = host.replace("-gnu", "-musl");
        let mut rustc = Command::new("rustc");
        let library = rustc.current_dir(root()).args(["--print", "target-libdir", "--target", &musl]);
        let library = process::capture(library)?;
        Ok(Self::Shipped(Path::new(library.trim()).exists().then_some(musl)))
    }
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
    let build = if arguments.quick { Build::Quick } else { Build::shipped()? };
    if matches!(build, Build::Shipped(None)) {
        println!(
            "no musl target: linking with glibc, which makes the drivers three times as large (rustup target add)"
        );
    }
    for program in build_drivers(&metadata, &build)? {
        put(&program, &out)?;
    }
    put(&build_cli(&metadata, &build)?, &out)
}

fn put(program: &Program, out: &Path) -> Result<()> {
    let copy = out.join(&program.name);
    fs::copy(&program.file, &copy).with_context(|| format!("cannot write {}", copy.display()))?;
    println!("{:>9} bytes  {}", program.size()?, copy.display());
    Ok(())
}

/// Builds every driver: the binaries of `flexvolume-drivers`, and the SDK's example `memory`.
pub(crate) fn build_drivers(metadata: &Metadata, build: &Build) -> Result<Vec<Program>> {
    let mut names = metadata.targets("flexvolume-drivers", "bin");
    names.extend(metadata.targets("flexvolume", "example").into_iter().filter(|name| *name == EXAMPLE));
    names.into_iter().map(|name| build_driver(metadata, build, name)).collect()
}

/// The SDK's example, which is a whole driver.
const EXAMPLE: &str = "memory";

/// Builds one driver.
pub(crate) fn build_driver(metadata: &Metadata, build: &Build, name: &str) -> Result<Program> {
    let (package, kind) =
        if name == EXAMPLE { ("flexvolume", "--example") } else { ("flexvolume-drivers", "--bin") };
    build_one(metadata, build, package, (kind, name))
}

/// How a static program is linked. Each page that need not be relocated or mapped apart is a page fault less in a process
/// that lives for a fifth of a millisecond. The price, fixed addresses, is small for programs without unsafe code of
/// their own.
pub(crate) const STATIC: [&str; 3] =
    ["target-feature=+crt-static", "relocation-model=static", "link-arg=-Wl,-z,noseparate-code"];

/// Builds one target. The flag for static linking goes to that target alone, so its dependencies are shared with other builds.
fn build_one(metadata: &Metadata, build: &Build, package: &str, target: (&str, &str)) -> Result<Program> {
    let (kind, name) = target;
    let mut file = metadata.target_directory.clone();
    let mut command = process::cargo();
    match build {
        Build::Quick => {
            command.args(["build", "--quiet", "--package", package, kind, name]);
            println!("$ {}", process::render(&command));
            file.push("debug");
        }
        Build::Shipped(triple) => {
            command.args(["rustc", "--quiet", "--package", package, kind, name, "--profile", "driver"]);
            if let Some(triple) = triple {
                command.args(["--target", triple]);
                file.push(triple);
            }
            command.arg("--").args(STATIC.iter().flat_map(|option| ["-C", option]));
            file.push("driver");
        }
    }
    process::run(&mut command)?;
    if kind == "--example" {
        file.push("examples");
    }
    file.push(name);
    Ok(Program { name: name.to_owned(), file })
}

/// Builds `flexvol`.
pub(crate) fn build_cli(metadata: &Metadata, build: &Build) -> Result<Program> {
    let mut command = process::cargo();
    command.args(["build", "--quiet", "--package", "flexvol", "--bin", "flexvol"]);
    let folder = match build {
        Build::Shipped(_) => {
            command.arg("--release");
            "release"
        }
        Build::Quick => {
            println!("$ {}", process::render(&command));
            "debug"
        }
    };
    process::run(&mut command)?;
    Ok(Program { name: "flexvol".to_owned(), file: metadata.target_directory.join(folder).join("flexvol") })
}
