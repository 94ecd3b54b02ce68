//! The results as a document: `FLEXVOL_FAULTS_DIR/network-<driver>.md`, where that is set. A run of some cells keeps what
//! an earlier one found of the others.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use crate::cell::Verdict;
use crate::matrix::{Expect, Row, STEPS, case_name};

/// What came of the cells.
pub(crate) struct Document {
    results: BTreeMap<String, String>,
}

fn directory() -> Option<PathBuf> {
    std::env::var_os("FLEXVOL_FAULTS_DIR").map(PathBuf::from)
}

const RESULTS: &str = "network-results.json";

impl Document {
    /// With what earlier runs have left there.
    pub(crate) fn open() -> Self {
        let text = directory().and_then(|directory| fs::read(directory.join(RESULTS)).ok());
        Self { results: text.map(|text| serde_json::from_slice(&text).unwrap()).unwrap_or_default() }
    }

    pub(crate) fn add(&mut self, name: &str, verdict: &Verdict) {
        let text = match verdict {
            Verdict::Holds(ways, longest) => format!("holds ({ways}; {:.1} s)", longest.as_secs_f64()),
            Verdict::Fails(_) => "**does not hold**".to_owned(),
        };
        self.results.insert(name.to_owned(), text);
    }

    /// Writes a section for each driver.
    pub(crate) fn write(&self) {
        let Some(directory) = directory() else { return };
        fs::write(directory.join(RESULTS), serde_json::to_vec_pretty(&self.results).unwrap()).unwrap();
        for backend in crate::backends() {
            let text = self.section(backend.name(), backend.rows());
            fs::write(directory.join(format!("network-{}.md", backend.name())), text).unwrap();
        }
    }

    fn section(&self, driver: &str, rows: &[Row]) -> String {
        let mut text =
            format!("## `{driver}`\n\n| fault | {} |\n", STEPS.map(|step| step.name()).join(" | "));
        text += &format!("|---|{}\n", "---|".repeat(STEPS.len()));
        let mut notes = Vec::new();
        let possible = |row: &&Row| !row.cells.iter().all(|cell| matches!(cell, Expect::Never(_)));
        for row in rows.iter().filter(possible) {
            let _ = write!(text, "| {} |", row.fault.name());
            for (step, expect) in STEPS.into_iter().zip(row.cells) {
                let result = self.results.get(&case_name(driver, step, row.fault));
                let result = result.map_or("not run", String::as_str);
                let shown = match expect {
                    Expect::Never(why) => format!("– {}", note(&mut notes, why)),
                    Expect::Converges => format!("converges: {result}"),
                    Expect::Succeeds => format!("succeeds: {result}"),
                    Expect::Refuses(words) => {
                        let words = format!("the call says \"{}\"", words.join("\" and \""));
                        format!("refuses {}: {result}", note(&mut notes, &words))
                    }
                };
                let _ = write!(text, " {shown} |");
            }
            text.push('\n');
        }
        text.push('\n');
        for row in rows.iter().filter(possible) {
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
