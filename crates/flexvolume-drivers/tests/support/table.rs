//! What fault matrices have in common: what is expected of a cell, and the page of the results.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// What must hold of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expect {
    /// It may fail. When the fault is gone, the next call succeeds, and so does the one after it.
    Converges,
    /// It fails with all of these words and changes nothing; when the fault is gone, the next call succeeds.
    Refuses(&'static [&'static str]),
    /// It succeeds in spite of the fault.
    Succeeds,
    /// There is no such case, because …
    Never(&'static str),
}

/// The name of a cell.
pub(crate) fn case_name(driver: &str, step: &str, fault: &str) -> String {
    format!("{driver}/{step}/{fault}")
}

/// A row of the table: a fault, how it is brought about, and what is expected of each step.
pub(crate) struct Line {
    pub(crate) fault: &'static str,
    pub(crate) how: &'static str,
    pub(crate) cells: &'static [Expect],
}

/// Where the results go, if anybody wants them.
pub(crate) fn directory() -> Option<PathBuf> {
    std::env::var_os("FLEXVOL_FAULTS_DIR").map(PathBuf::from)
}

/// What came of the cells, by name, also in earlier runs.
pub(crate) struct Results(BTreeMap<String, String>);

impl Results {
    /// With what earlier runs have left in this file of the directory.
    pub(crate) fn open(file: &str) -> Self {
        let text = directory().and_then(|directory| fs::read(directory.join(file)).ok());
        Self(text.map(|text| serde_json::from_slice(&text).unwrap()).unwrap_or_default())
    }

    pub(crate) fn insert(&mut self, cell: &str, text: String) {
        self.0.insert(cell.to_owned(), text);
    }

    /// Writes the file, which is whole at any moment: the machine may be switched off.
    pub(crate) fn write(&self, file: &Path) {
        let new = file.with_extension("new");
        fs::write(&new, serde_json::to_vec_pretty(&self.0).unwrap()).unwrap();
        fs::rename(new, file).unwrap();
    }

    /// The section of a driver.
    pub(crate) fn section(&self, driver: &str, steps: &[&str], lines: &[Line]) -> String {
        let mut text = format!("## `{driver}`\n\n| fault | {} |\n", steps.join(" | "));
        text += &format!("|---|{}\n", "---|".repeat(steps.len()));
        let mut notes = Vec::new();
        for line in lines {
            let _ = write!(text, "| {} |", line.fault);
            for (step, expect) in steps.iter().zip(line.cells) {
                let result = self.0.get(&case_name(driver, step, line.fault));
                let _ = write!(text, " {} |", shown(&mut notes, *expect, result));
            }
            text.push('\n');
        }
        text.push('\n');
        for line in lines {
            let _ = writeln!(text, "- *{}*: {}.", line.fault, line.how);
        }
        text.push('\n');
        for (number, why) in notes.iter().enumerate() {
            let _ = writeln!(text, "{}. {why}", number + 1);
        }
        text
    }
}

fn shown(notes: &mut Vec<String>, expect: Expect, result: Option<&String>) -> String {
    match (expect, result) {
        (Expect::Never(why), _) => format!("– {}", note(notes, why)),
        (_, None) => "not run".to_owned(),
        (Expect::Converges, Some(result)) => format!("converges: {result}"),
        (Expect::Succeeds, Some(result)) => format!("succeeds: {result}"),
        (Expect::Refuses(words), Some(result)) => {
            let words = format!("the call says \"{}\"", words.join("\" and \""));
            format!("refuses {}: {result}", note(notes, &words))
        }
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
