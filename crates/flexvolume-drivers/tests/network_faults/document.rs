//! The results as a document: `FLEXVOL_FAULTS_DIR/network-<driver>.md`, where that is set. A run of some cells keeps what
//! an earlier one found of the others.

use std::fs;

use crate::cell::Verdict;
use crate::matrix::{Row, STEPS};
use crate::table::{Expect, Line, Results, directory};

const RESULTS: &str = "network-results.json";

/// What came of the cells.
pub(crate) struct Document(Results);

impl Document {
    /// With what earlier runs have left there.
    pub(crate) fn open() -> Self {
        Self(Results::open(RESULTS))
    }

    pub(crate) fn add(&mut self, name: &str, verdict: &Verdict) {
        let text = match verdict {
            Verdict::Holds(ways, longest) => format!("holds ({ways}; {:.1} s)", longest.as_secs_f64()),
            Verdict::Fails(_) => "**does not hold**".to_owned(),
        };
        self.0.insert(name, text);
    }

    /// Writes a section for each driver.
    pub(crate) fn write(&self) {
        let Some(directory) = directory() else { return };
        self.0.write(&directory.join(RESULTS));
        for backend in crate::backends() {
            let text = self.section(backend.name(), backend.rows());
            fs::write(directory.join(format!("network-{}.md", backend.name())), text).unwrap();
        }
    }

    fn section(&self, driver: &str, rows: &'static [Row]) -> String {
        let possible = |row: &&Row| !row.cells.iter().all(|cell| matches!(cell, Expect::Never(_)));
        let line = |row: &'static Row| Line { fault: row.fault.name(), how: row.how, cells: &row.cells };
        let lines: Vec<_> = rows.iter().filter(possible).map(line).collect();
        self.0.section(driver, &STEPS.map(|step| step.name()), &lines)
    }
}
