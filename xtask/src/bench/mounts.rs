//! `mounts.`: what a long mount table costs. Measured by the host crate's example `bench_call`.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use super::figure::{Figure, Outcome};
use super::programs::Programs;
use super::{Group, host};
use crate::process;

const COUNT: u32 = 5000;
const ROUNDS: &str = "200";

const VOLUMES_FIGURE: Figure = Figure::at_most("mounts.volume.5000th-vs-10th", 1.15, "ratio");

/// Set-up and tear-down of a volume with 5,000 mounts in the table, against the same with 10.
pub(super) const VOLUMES: Group = Group { figures: &[VOLUMES_FIGURE], measure: measure_volumes };

/// A tenth of what Kubernetes' `GetDeviceMountRefs` takes at best.
const REFERENCES_FIGURE: Figure = Figure::at_most("mounts.references.5000", 3.0, "ms");
/// A process that has not asked before.
const FIRST_FIGURE: Figure = Figure::at_most("mounts.references.5000.first", 10.0, "ms");

/// Who else uses a device mount, among 5,000 mounts.
pub(super) const REFERENCES: Group =
    Group { figures: &[REFERENCES_FIGURE, FIRST_FIGURE], measure: measure_references };

fn measure_volumes(programs: &Programs, report: &mut dyn FnMut(Outcome)) -> Result<()> {
    if super::privately().is_empty() {
        report(VOLUMES_FIGURE.skipped("needs a mount namespace of its own"));
        return Ok(());
    }
    report(VOLUMES_FIGURE.value(host::among_others(programs, &programs.scratch("mounts")?, COUNT)?));
    Ok(())
}

fn measure_references(programs: &Programs, report: &mut dyn FnMut(Outcome)) -> Result<()> {
    if super::privately().is_empty() {
        for figure in REFERENCES.figures {
            report(figure.skipped("needs a mount namespace of its own"));
        }
        return Ok(());
    }
    let references = references(programs, &programs.scratch("references")?)?;
    report(REFERENCES_FIGURE.value(references.later / 1e6));
    report(FIRST_FIGURE.value(references.first / 1e6));
    Ok(())
}

/// The nanoseconds of the question.
pub(super) struct References {
    pub(super) first: f64,
    /// The median.
    pub(super) later: f64,
}

pub(super) fn references(programs: &Programs, folder: &Path) -> Result<References> {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private"]).arg(programs.get("bench_call")?);
    command.arg("references").arg(folder).args([&COUNT.to_string(), ROUNDS]);
    let text = process::capture(&mut command)?;
    let words: Vec<f64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let [first, later] = words[..] else { bail!("bench_call printed {text:?}") };
    Ok(References { first, later })
}
