//! Figures of drivers that need the virtual machine: a test program of the drivers measures them there.

use anyhow::{Context, Result};
use serde_json::Value;

use super::figure::{Figure, Outcome};
use crate::drivers::{Build, build_driver};
use crate::vm;
use crate::workspace::{Metadata, root};

/// A driver, and what measures it.
#[derive(Debug, Clone, Copy)]
pub(super) struct InMachine {
    /// The driver.
    pub(super) driver: &'static str,
    /// The test program, which prints `{"name": …, "value": …}` a line.
    pub(super) program: &'static str,
    /// In this variable it finds the driver as it is shipped.
    pub(super) variable: &'static str,
    /// What it prints, and `<driver>.size`.
    pub(super) figures: &'static [Figure],
}

impl InMachine {
    /// Measures all of them, or says why not.
    pub(super) fn measure(&self) -> Result<Vec<Outcome>> {
        if let Some(why) = vm::missing() {
            return Ok(self.figures.iter().map(|figure| figure.skipped(&why)).collect());
        }
        let driver = build_driver(&Metadata::load()?, &Build::shipped()?, self.driver)?;
        let size = f64::from(u32::try_from(driver.size()?)?) / f64::from(1 << 20);
        let driver = driver.file.strip_prefix(root()).unwrap_or(&driver.file);
        let text = vm::measure(self.program, (self.variable, &root().join(driver).display().to_string()))?;
        let value = |figure: &Figure| match figure.name.ends_with(".size") {
            true => Ok(size),
            false => self.value_of(figure.name, &text),
        };
        self.figures.iter().map(|figure| Ok(figure.value(value(figure)?))).collect()
    }

    fn value_of(&self, name: &str, text: &str) -> Result<f64> {
        let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let line = lines.find(|line| line["name"] == name);
        let value = line.and_then(|line| line["value"].as_f64());
        value.with_context(|| format!("{} printed no {name}", self.program))
    }
}
