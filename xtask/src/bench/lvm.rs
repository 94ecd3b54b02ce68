//! `lvm.`: the driver of logical volumes, in the virtual machine. Measured by the drivers' test program `bench_lvm`.

use anyhow::{Context, Result};
use serde_json::Value;

use super::figure::{Figure, Outcome};
use crate::drivers::{Build, build_driver};
use crate::vm;
use crate::workspace::{Metadata, root};

/// Beside a static program that does nothing, the script that the driver replaces, the same work by hand, and one caller.
pub(super) const FIGURES: &[Figure] = &[
    Figure::at_most("lvm.init", 1.5, "ratio"),
    Figure::at_most("lvm.isattached", 1.5, "ratio"),
    Figure::at_most("lvm.mountdevice.mounted", 1.5, "ratio"),
    Figure::at_most("lvm.waitforattach.existing", 0.5, "ratio"),
    Figure::at_most("lvm.waitforattach.existing.commands", 1.0, "commands"),
    Figure::at_most("lvm.create-format-mount", 1.0, "ratio"),
    Figure::at_most("lvm.hundred-at-once", 1.2, "ratio"),
];

/// Measures all of them, or says why not.
pub(super) fn measure() -> Result<Vec<Outcome>> {
    if let Some(why) = vm::missing() {
        return Ok(FIGURES.iter().map(|figure| figure.skipped(&why)).collect());
    }
    let driver = build_driver(&Metadata::load()?, &Build::shipped()?, "lvm")?;
    let driver = driver.file.strip_prefix(root()).unwrap_or(&driver.file);
    let text = vm::measure("bench_lvm", ("FLEXVOL_BENCH_LVM", &root().join(driver).display().to_string()))?;
    FIGURES.iter().map(|figure| Ok(figure.value(value_of(figure.name, &text)?))).collect()
}

fn value_of(name: &str, text: &str) -> Result<f64> {
    let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let line = lines.find(|line| line["name"] == name);
    line.and_then(|line| line["value"].as_f64()).with_context(|| format!("bench_lvm printed no {name}"))
}
