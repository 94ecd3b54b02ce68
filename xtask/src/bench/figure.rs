//! A figure, its goal, and what was measured.

use std::fmt;

use serde_json::json;

use super::Format;

/// Something that is measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Figure {
    /// `group.what`.
    pub(super) name: &'static str,
    /// The unit of value and goal; `ratio` for none.
    pub(super) unit: &'static str,
    /// The value may be at most this.
    pub(super) at_most: f64,
}

impl Figure {
    /// A figure whose value may be at most `at_most`.
    pub(super) const fn at_most(name: &'static str, at_most: f64, unit: &'static str) -> Self {
        Self { name, unit, at_most }
    }

    /// What was measured for it.
    pub(super) fn value(self, value: f64) -> Outcome {
        Outcome { figure: self, value: Ok(value) }
    }

    /// Why it cannot be measured here.
    pub(super) fn skipped(self, why: impl Into<String>) -> Outcome {
        Outcome { figure: self, value: Err(why.into()) }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:<44} <= {} {}", self.name, self.at_most, self.unit)
    }
}

/// A figure that was measured, or the reason why it could not be.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Outcome {
    pub(super) figure: Figure,
    value: Result<f64, String>,
}

impl Outcome {
    /// Whether the goal holds, if it was measured.
    pub(super) fn holds(&self) -> Option<bool> {
        self.value.as_ref().ok().map(|value| *value <= self.figure.at_most)
    }

    /// Prints one line.
    pub(super) fn print(&self, format: Format) {
        match format {
            Format::Text => println!("{}", self.text()),
            Format::Json => println!("{}", self.json()),
        }
    }

    fn text(&self) -> String {
        let Figure { name, unit, at_most } = self.figure;
        match &self.value {
            Ok(value) => {
                let verdict = if self.holds() == Some(true) { "holds" } else { "MISSED" };
                format!("{name:<44} {value:>12.3} {unit:<6} goal <= {at_most:<9} {verdict}")
            }
            Err(why) => format!("{name:<44} {:>12} {unit:<6} goal <= {at_most:<9} skipped: {why}", "-"),
        }
    }

    fn json(&self) -> serde_json::Value {
        let Figure { name, unit, at_most } = self.figure;
        let mut object = json!({
            "name": name, "value": self.value.as_ref().ok(), "unit": unit, "goal": at_most, "holds": self.holds(),
        });
        if let Err(why) = &self.value {
            object["skipped"] = json!(why);
        }
        object
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIGURE: Figure = Figure::at_most("driver.a", 1.5, "ratio");

    #[test]
    fn a_goal_holds_up_to_its_value() {
        assert_eq!(FIGURE.value(1.5).holds(), Some(true));
        assert_eq!(FIGURE.value(1.51).holds(), Some(false));
        assert_eq!(FIGURE.skipped("needs root").holds(), None);
    }

    #[test]
    fn the_lines_say_value_goal_and_verdict() {
        assert!(FIGURE.value(2.0).text().contains("MISSED"));
        let line = FIGURE.value(1.25).json().to_string();
        assert_eq!(line, r#"{"goal":1.5,"holds":true,"name":"driver.a","unit":"ratio","value":1.25}"#);
        let line = FIGURE.skipped("needs root").json().to_string();
        assert!(line.contains(r#""skipped":"needs root""#) && line.contains(r#""value":null"#), "{line}");
    }
}
