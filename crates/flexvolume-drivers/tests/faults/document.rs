//! The results as a document: `FLEXVOL_FAULTS_DIR/<driver>.md`, where that is set. A run of some cells keeps what an earlier
//! one found of the others, in `results.json`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use crate::cell::Verdict;
use crate::matrix::{Expect, Matrix, case_name};

/// What came of the cells.
pub(crate) struct Document {
    results: BTreeMap<String, String>,
}

fn directory() -> Option<PathBuf> {
    std::env::var_os("FLEXVOL_FAULTS_DIR").map(PathBuf::from)
}

impl Document {
    /// With what earlier runs have left there.
    pub(crate) fn open() -> Self {
        let text = directory().and_then(|directory| fs::read(directory.join("results.json")).ok());
        Self { results: text.map(|text| serde_json::from_slice(&text).unwrap()).unwrap_or_default() }
    }

    pub(crate) fn add(&mut self, name: &str, verdict: &Verdict) {
        let text = match verdict {
            Verdict::Holds(ways) => format!("holds ({ways})"),
            Verdict::Skipped(why) => format!("not tried: {why}"),
            Verdict::Fails(texts) => format!("**does not hold** ({})", texts.len()),
        };
        self.results.insert(name.to_owned(), text);
    }

    /// Writes a section for each driver that was tried.
    pub(crate) fn write(&self) {
        let Some(directory) = directory() else { return };
        // Whole at any moment: the machine may be switched off.
        let (results, new) = (directory.join("results.json"), directory.join("results.new"));
        fs::write(&new, serde_json::to_vec_pretty(&self.results).unwrap()).unwrap();
        fs::rename(new, results).unwrap();
        for backend in crate::backends() {
            let text = self.section(backend.name(), backend.matrix());
            fs::write(directory.join(format!("{}.md", backend.name())), text).unwrap();
        }
    }

    fn section(&self, driver: &str, matrix: &Matrix) -> String {
        let names: Vec<_> = matrix.steps.iter().map(|step| step.name()).collect();
        let mut text = format!("## `{driver}`\n\n| fault | {} |\n", names.join(" | "));
        text += &format!("|---|{}\n", "---|".repeat(names.len()));
        let mut notes = Vec::new();
        for row in matrix.rows {
            let _ = write!(text, "| {} |", row.fault.name());
            for (step, expect) in matrix.steps.iter().zip(row.cells) {
                let result = self.results.get(&case_name(driver, *step, row.fault));
                let shown = match (expect, result) {
                    (Expect::Never(why), _) => format!("– {}", note(&mut notes, why)),
                    (_, None) => "not run".to_owned(),
                    (Expect::Converges, Some(result)) => format!("converges: {result}"),
                    (Expect::Succeeds, Some(result)) => format!("succeeds: {result}"),
                    (Expect::Refuses(words), Some(result)) => {
                        let words = format!("the call says \"{}\"", words.join("\" and \""));
                        format!("refuses {}: {result}", note(&mut notes, &words))
                    }
                };
                let _ = write!(text, " {shown} |");
            }
            text.push('\n');
        }
        text.push('\n');
        for row in matrix.rows {
            let _ = writeln!(text, "- *{}*: {}.", row.fault.name(), row.how);
        }
        text.push('\n');
        for (number, why) in notes.iter().enumerate() {
            let _ = writeln!(text, "{}. {why}", number + 1);
        }
        text
    }
}

/// The number of a note, in brackets.
fn note(notes: &mut Vec<String>, text: &str) -> String {
    let at = notes.iter().position(|known| known == text).unwrap_or_else(|| {
        notes.push(text.to_owned());
        notes.len() - 1
    });
    format!("({})", at + 1)
}
