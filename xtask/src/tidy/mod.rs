//! `tidy`: the rules of this project that neither rustc nor clippy can hold.

mod boundaries;
mod documents;
mod files;
mod packages;
mod sizes;
mod source;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::workspace::{Metadata, root};
use source::SourceFile;

/// A rule that does not hold somewhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    file: PathBuf,
    line: usize,
    rule: &'static str,
    /// What is wrong and what to do.
    text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: [{}] {}", self.file.display(), self.line, self.rule, self.text)
    }
}

/// Checks this workspace and says so.
pub(crate) fn run() -> Result<()> {
    check(root())?;
    println!("tidy: every rule holds");
    Ok(())
}

/// Checks the workspace at `root`; prints the findings.
pub(crate) fn check(root: &Path) -> Result<()> {
    let files = files::all(root)?;
    let mut sources = Vec::new();
    let mut findings = packages::check(root, &Metadata::load()?)?;
    findings.extend(documents::check(root, &files));
    for file in files.iter().filter(|file| file.path.extension().is_some_and(|extension| extension == "rs")) {
        match SourceFile::parse(&file.path, &file.text) {
            Ok(source) => sources.push(source),
            Err(finding) => findings.push(finding),
        }
    }
    for source in &sources {
        findings.extend(sizes::check(source));
        findings.extend(boundaries::check(source));
    }
    findings.sort();
    if let Some(warning) = sizes::median_warning(&sources) {
        println!("warning: {warning}");
    }
    report(&findings)
}

fn report(findings: &[Finding]) -> Result<()> {
    for finding in findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("{} findings", findings.len());
    }
    Ok(())
}
