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
    goal: Goal,
}

/// What a value should be.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    fn holds(self, value: f64) -> bool {
        match self {
            Goal::AtMost(most) => value <= most,
            Goal::AtLeast(least) => value >= least,
        }
    }

    fn number(self) -> f64 {
        let (Goal::AtMost(number) | Goal::AtLeast(number)) = self;
        number
    }

    fn sign(self) -> &'static str {
        match self {
            Goal::AtMost(_) => "<=",
            Goal::AtLeast(_) => ">=",
        }
    }
}

impl Figure {
    /// A figure whose value may be at most `at_most`.
    pub(super) const fn at_most(name: &'static str, at_most: f64, unit: &'static str) -> Self {
        Self { name, unit, goal: Goal::AtMost(at_most) }
    }

    /// A figure whose value must be at least `at_least`.
    pub(super) const fn at_least(name: &'static str, at_least: f64, unit: &'static str) -> Self {
        Self { name, unit, goal: Goal::AtLeast(at_least) }
    }

    /// What was measured for it.
    pub(super) fn value(self, value: f64) -> Outcome {
        Outcome { figure: self, result: Measurement::Value(value) }
    }

    /// Why it cannot be measured here.
    pub(super) fn skipped(self, why: impl Into<String>) -> Outcome {
        Outcome { figure: self, result: Measurement::Skipped(why.into()) }
    }

    /// Why measuring it went wrong.
    pub(super) fn failed(self, why: impl Into<String>) -> Outcome {
        Outcome { figure: self, result: Measurement::Failed(why.into()) }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:<44} {} {} {}", self.name, self.goal.sign(), self.goal.number(), self.unit)
    }
}

/// What came of a figure.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Outcome {
    pub(super) figure: Figure,
    result: Measurement,
}

#[derive(Debug, Clone, PartialEq)]
enum Measurement {
    Value(f64),
    Skipped(String),
    Failed(String),
}

impl Outcome {
    /// Whether the goal holds; unknown where it cannot be measured.
    pub(super) fn holds(&self) -> Option<bool> {
        match &self.result {
            Measurement::Value(value) => Some(self.figure.goal.holds(*value)),
            Measurement::Skipped(_) => None,
            Measurement::Failed(_) => Some(false),
        }
    }

    /// Prints one line.
    pub(super) fn print(&self, format: Format) {
        match format {
            Format::Text => println!("{}", self.text()),
            Format::Json => println!("{}", self.json()),
        }
    }

    fn text(&self) -> String {
        let Figure { name, unit, goal } = self.figure;
        let goal = format!("{unit:<6} goal {} {:<6}", goal.sign(), goal.number());
        match &self.result {
            Measurement::Value(value) => {
                let verdict = if self.holds() == Some(true) { "holds" } else { "MISSED" };
                format!("{name:<40} {value:>10.3} {goal} {verdict}")
            }
            Measurement::Skipped(why) => format!("{name:<40} {:>10} {goal} skipped: {why}", "-"),
            Measurement::Failed(why) => format!("{name:<40} {:>10} {goal} FAILED: {why}", "-"),
        }
    }

    fn json(&self) -> serde_json::Value {
        let Figure { name, unit, goal } = self.figure;
        let (number, holds) = (goal.number(), self.holds());
        let mut object = json!({"name": name, "value": null, "unit": unit, "goal": number, "bound": goal.sign(), "holds": holds});
        match &self.result {
            Measurement::Value(value) => object["value"] = json!(value),
            Measurement::Skipped(why) => object["skipped"] = json!(why),
            Measurement::Failed(why) => object["error"] = json!(why),
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
        assert_eq!(FIGURE.failed("no answer").holds(), Some(false));
    }

    #[test]
    fn a_speed_has_its_goal_below() {
        let speed = Figure::at_least("reply.a", 200.0, "MB/s");
        assert_eq!(speed.value(200.0).holds(), Some(true));
        assert_eq!(speed.value(199.0).holds(), Some(false));
        assert!(speed.value(199.0).text().contains("goal >= 200    MISSED"), "{}", speed.value(199.0).text());
    }

    #[test]
    fn the_lines_say_value_goal_and_verdict() {
        assert!(FIGURE.value(2.0).text().contains("MISSED"));
        let line = FIGURE.value(1.25).json().to_string();
        assert_eq!(
            line,
            r#"{"bound":"<=","goal":1.5,"holds":true,"name":"driver.a","unit":"ratio","value":1.25}"#
        );
        let line = FIGURE.skipped("needs root").json().to_string();
        assert!(line.contains(r#""skipped":"needs root""#) && line.contains(r#""value":null"#), "{line}");
    }
}
