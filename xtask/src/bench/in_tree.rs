//! `in-tree.`: against the plugin that is compiled into Kubernetes, measured in the same run by the oracle's `bench`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::figure::{Figure, Outcome};
use super::programs::Programs;
use super::{Group, discovery, host, mounts};
use crate::process;

const CALL: Figure = Figure::at_most("in-tree.call-overhead", 0.7, "ratio");
const REFERENCES: Figure = Figure::at_most("in-tree.references.5000", 0.1, "ratio");

const START: Figure = Figure::at_most("in-tree.start.500", 0.6, "ratio");

/// What a host adds to a driver call, who else uses a device mount among 5,000 mounts, and the start with 500 drivers.
pub(super) const GROUP: Group = Group { figures: &[CALL, REFERENCES, START], measure };

/// Both are measured in turn, so that what disturbs one disturbs the other.
const ROUNDS: usize = 3;
const DRIVERS: &str = "500";

fn measure(programs: &Programs, report: &mut dyn FnMut(Outcome)) -> Result<()> {
    let Some(oracle) = &programs.choices.oracle else {
        for figure in GROUP.figures {
            report(figure.skipped("not measured: needs --oracle DIR and Go"));
        }
        return Ok(());
    };
    let in_tree = InTree::build(oracle, &programs.scratch("in-tree")?)?;
    let (mut calls, mut references, mut starts) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let folder = programs.scratch(&format!("in-tree-{round}"))?;
        let theirs = in_tree.figures(&["--n", "300", "--mounts", "5000", "--drivers", "2"], Cpus::One)?;
        let (call, bare) = host::call(programs, &folder)?;
        calls.push((call - bare) / 1e3 / number(&theirs, "/overhead_us/p50")?);
        let ours = mounts::references(programs, &folder)?.later / 1e3;
        references.push(ours / number(&theirs, "/device_refs/many/p50")?);
        let theirs = in_tree.figures(&["--n", "50", "--mounts", "10", "--drivers", DRIVERS], Cpus::All)?;
        let ours = discovery::start(programs, &folder, &in_tree.driver, DRIVERS)?;
        starts.push(ours / number(&theirs, "/discovery/start_ms")?);
    }
    report(CALL.value(median(calls)));
    report(REFERENCES.value(median(references)));
    report(START.value(median(starts)));
    Ok(())
}

fn median(mut ratios: Vec<f64>) -> f64 {
    ratios.sort_by(f64::total_cmp);
    ratios.get(ratios.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Where a program may run.
#[derive(Clone, Copy)]
enum Cpus {
    /// Where this one runs.
    One,
    All,
}

/// The program that runs Kubernetes' own plugin, and the driver that it measures with.
struct InTree {
    program: PathBuf,
    driver: PathBuf,
}

impl InTree {
    fn build(oracle: &Path, folder: &Path) -> Result<Self> {
        let (program, driver) = (folder.join("oracle"), folder.join("driver"));
        process::run(Command::new("go").current_dir(oracle).args(["build", "-o"]).arg(&program).arg("."))?;
        let source = oracle.join("bench/driver.c");
        process::run(Command::new("cc").args(["-O2", "-static", "-o"]).arg(&driver).arg(source))?;
        Ok(Self { program, driver })
    }

    fn figures(&self, words: &[&str], cpus: Cpus) -> Result<Value> {
        let mut command = match cpus {
            Cpus::One => Command::new("env"),
            Cpus::All => discovery::on_all_cpus(),
        };
        let text =
            process::capture(command.arg(&self.program).arg("bench").args(words).args(["--hang", "100ms"]))?;
        serde_json::from_str(&text).context("the oracle printed no JSON")
    }
}

fn number(figures: &Value, pointer: &str) -> Result<f64> {
    let found = figures.pointer(pointer).and_then(Value::as_f64);
    found.with_context(|| format!("the oracle's figures have no {pointer}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_of_the_oracle_is_found() {
        let figures = serde_json::json!({"device_refs": {"many": {"p50": 31000.5}}});
        assert_eq!(number(&figures, "/device_refs/many/p50").unwrap(), 31000.5);
        assert!(number(&figures, "/overhead_us/p50").is_err());
    }
}
