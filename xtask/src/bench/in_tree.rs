//! `in-tree.`: against the plugin that is compiled into Kubernetes, measured in the same run by the oracle's `bench`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::figure::{Figure, Outcome};
use super::programs::Programs;
use super::{Group, host, mounts};
use crate::process;

const CALL: Figure = Figure::at_most("in-tree.call-overhead", 0.7, "ratio");
const REFERENCES: Figure = Figure::at_most("in-tree.references.5000", 0.1, "ratio");

/// What a host adds to a driver call, and who else uses a device mount among 5,000 mounts.
pub(super) const GROUP: Group = Group { figures: &[CALL, REFERENCES], measure };

fn measure(programs: &Programs, report: &mut dyn FnMut(Outcome)) -> Result<()> {
    let Some(oracle) = &programs.choices.oracle else {
        for figure in GROUP.figures {
            report(figure.skipped("not measured: needs --oracle DIR and Go"));
        }
        return Ok(());
    };
    let folder = programs.scratch("in-tree")?;
    let in_tree = oracle_figures(oracle, &folder)?;
    let (call, bare) = host::call(programs, &folder)?;
    report(CALL.value((call - bare) / 1e3 / microseconds(&in_tree, "/overhead_us/p50")?));
    let ours = mounts::references(programs, &folder)? / 1e3;
    report(REFERENCES.value(ours / microseconds(&in_tree, "/device_refs/many/p50")?));
    Ok(())
}

fn oracle_figures(oracle: &Path, folder: &Path) -> Result<Value> {
    let program = folder.join("oracle");
    process::run(Command::new("go").current_dir(oracle).args(["build", "-o"]).arg(&program).arg("."))?;
    let words = ["bench", "--n", "300", "--mounts", "5000", "--drivers", "5"];
    let text = process::capture(Command::new(program).args(words))?;
    serde_json::from_str(&text).context("the oracle printed no JSON")
}

fn microseconds(figures: &Value, pointer: &str) -> Result<f64> {
    let found = figures.pointer(pointer).and_then(Value::as_f64);
    found.with_context(|| format!("the oracle's figures have no {pointer}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_of_the_oracle_is_found() {
        let figures = serde_json::json!({"device_refs": {"many": {"p50": 31000.5}}});
        assert_eq!(microseconds(&figures, "/device_refs/many/p50").unwrap(), 31000.5);
        assert!(microseconds(&figures, "/overhead_us/p50").is_err());
    }
}
