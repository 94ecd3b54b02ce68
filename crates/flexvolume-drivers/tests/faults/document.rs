//! The results as a document: `FLEXVOL_FAULTS_DIR/<driver>.md`, where that is set. A run of some cells keeps what an earlier
//! one found of the others, in `results.json`.

use std::fs;

use crate::cell::Verdict;
use crate::matrix::Matrix;
use crate::table::{Line, Results, directory};

const RESULTS: &str = "results.json";

/// What came of the cells.
pub(crate) struct Document(Results);

impl Document {
    /// With what earlier runs have left there.
    pub(crate) fn open() -> Self {
        Self(Results::open(RESULTS))
    }

    pub(crate) fn add(&mut self, name: &str, verdict: &Verdict) {
        let text = match verdict {
            Verdict::Holds(ways) => format!("holds ({ways})"),
            Verdict::Skipped(why) => format!("not tried: {why}"),
            Verdict::Fails(texts) => format!("**does not hold** ({})", texts.len()),
        };
        self.0.insert(name, text);
    }

    /// Writes a section for each driver.
    pub(crate) fn write(&self) {
        let Some(directory) = directory() else { return };
        self.0.write(&directory.join(RESULTS));
        for backend in crate::backends() {
            let text = self.section(backend.name(), backend.matrix());
            fs::write(directory.join(format!("{}.md", backend.name())), text).unwrap();
        }
    }

    fn section(&self, driver: &str, matrix: &Matrix) -> String {
        let steps: Vec<_> = matrix.steps.iter().map(|step| step.name()).collect();
        let line =
            |row: &crate::matrix::Row| Line { fault: row.fault.name(), how: row.how, cells: row.cells };
        self.0.section(driver, &steps, &matrix.rows.iter().map(line).collect::<Vec<_>>())
    }
}
