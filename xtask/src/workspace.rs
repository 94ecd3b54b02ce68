//! What cargo says about the workspace.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::process;

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// `cargo metadata`, as far as it is needed.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    /// The members of the workspace.
    pub(crate) packages: Vec<Package>,
    /// Where cargo builds.
    pub(crate) target_directory: PathBuf,
}

/// A member of the workspace.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Package {
    /// Its name.
    pub(crate) name: String,
    /// Its `Cargo.toml`.
    pub(crate) manifest_path: PathBuf,
    /// Its dependencies of every kind.
    pub(crate) dependencies: Vec<Dependency>,
    /// What it builds.
    pub(crate) targets: Vec<Target>,
}

/// A dependency.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Dependency {
    /// The package's name.
    pub(crate) name: String,
    /// `dev`, `build`, or nothing for an ordinary one.
    pub(crate) kind: Option<String>,
}

/// A library, binary, example or test.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Target {
    /// Its name.
    pub(crate) name: String,
    /// `bin`, `lib`, `example`, `test` …
    pub(crate) kind: Vec<String>,
}

impl Metadata {
    /// Asks cargo.
    pub(crate) fn load() -> Result<Self> {
        let mut command = process::cargo();
        command.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]);
        serde_json::from_str(&process::capture(&mut command)?).context("cannot read cargo metadata")
    }

    /// The names of the targets of one kind in one package.
    pub(crate) fn targets(&self, package: &str, kind: &str) -> Vec<&str> {
        self.packages
            .iter()
            .filter(|member| member.name == package)
            .flat_map(|member| &member.targets)
            .filter(|target| target.kind.iter().any(|word| word == kind))
            .map(|target| target.name.as_str())
            .collect()
    }
}
