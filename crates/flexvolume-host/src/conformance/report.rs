//! What came of the checks.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use flexvolume::Capabilities;
use serde::{Serialize, Serializer};

use super::check::{CHECKS, Check, Level};
use crate::settings::{DriverSettings, Effective, Origin};

/// Something that a driver should not have done. All texts are bounded, in one line, without control characters and
/// without the secrets that the suite knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What the suite did.
    pub done: String,
    /// What should have happened.
    pub expected: String,
    /// What happened.
    pub happened: String,
    /// How to mend it.
    pub fix: String,
}

/// How a check ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
pub enum Verdict {
    /// The driver does what is demanded.
    Passed,
    /// It does not.
    Failed {
        /// At least one.
        findings: Vec<Finding>,
    },
    /// There is nothing to check in this driver.
    NotApplicable {
        /// Why.
        reason: String,
    },
    /// The check could not be made: the driver does not get that far, or this machine does not.
    Undecided {
        /// Why.
        reason: String,
    },
}

impl Verdict {
    /// Its name, as in the JSON report.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Verdict::Passed => "passed",
            Verdict::Failed { .. } => "failed",
            Verdict::NotApplicable { .. } => "not-applicable",
            Verdict::Undecided { .. } => "undecided",
        }
    }

    fn counts_for_the_driver(&self) -> bool {
        matches!(self, Verdict::Passed | Verdict::NotApplicable { .. })
    }
}

/// One check and its verdict.
#[derive(Debug, Clone, Serialize)]
pub struct CheckReport {
    /// The check.
    #[serde(flatten)]
    pub check: Check,
    /// The verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// How long it took; in JSON seconds.
    #[serde(rename = "seconds", serialize_with = "seconds")]
    pub duration: Duration,
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((duration.as_secs_f64() * 1000.0).round() / 1000.0)
}

impl Serialize for Check {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Words<'a> {
            id: &'a str,
            level: Level,
            demands: &'a str,
            why: &'a str,
        }
        Words { id: self.id, level: self.level, demands: self.demands, why: self.why }.serialize(serializer)
    }
}

/// The whole report. The fields of its JSON stay as they are; new ones may come.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The driver's program.
    pub program: PathBuf,
    /// The level that it reaches; null if not even the lowest.
    pub level: Option<Level>,
    /// What its `init` declares, defaults filled in; null if it could not be read.
    pub capabilities: Option<Capabilities>,
    /// The settings that somebody has set, with their origin. At the level `works-under-kubernetes`, which has no
    /// settings, only the environment and the deadlines count.
    pub settings: Vec<Effective>,
    /// The checks, in the order in which they were made.
    pub checks: Vec<CheckReport>,
}

impl Report {
    pub(super) fn new(
        program: PathBuf,
        settings: &DriverSettings,
        capabilities: Option<Capabilities>,
        checks: Vec<CheckReport>,
    ) -> Self {
        let reached = |level: &Level| {
            let made = |check: &&Check| checks.iter().any(|made| made.check.id == check.id);
            let all_made = CHECKS.iter().filter(|check| check.level <= *level).all(|check| made(&check));
            let below = checks.iter().filter(|made| made.check.level <= *level);
            all_made && below.into_iter().all(|made| made.verdict.counts_for_the_driver())
        };
        let level = Level::ALL.into_iter().filter(reached).max();
        let mut settings = settings.table();
        settings.retain(|setting| setting.origin != Origin::BuiltIn);
        Self { program, level, capabilities, settings, checks }
    }

    /// How many checks ended with a verdict of this name.
    #[must_use]
    pub fn count(&self, verdict: &str) -> usize {
        self.checks.iter().filter(|made| made.verdict.name() == verdict).count()
    }
}

/// For a person: one line for each check, and the findings below it.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "driver:  {}", self.program.display())?;
        writeln!(f, "reaches: {}", self.level.map_or("no level", Level::name))?;
        for Effective { key, value, origin } in &self.settings {
            writeln!(f, "setting: {key} = {value} ({origin})")?;
        }
        writeln!(f, "ROOT:    the temporary file system of each check")?;
        writeln!(f)?;
        let width = CHECKS.iter().map(|check| check.id.len()).max().unwrap_or(0);
        for made in &self.checks {
            let (verdict, id, level) = (made.verdict.name(), made.check.id, made.check.level.name());
            let line = format!("{verdict:<14}  {id:<width$}  {level:<22}");
            match &made.verdict {
                Verdict::Passed => writeln!(f, "{}", line.trim_end())?,
                Verdict::NotApplicable { reason } | Verdict::Undecided { reason } => {
                    writeln!(f, "{line}  {reason}")?;
                }
                Verdict::Failed { findings } => {
                    writeln!(f, "{}", line.trim_end())?;
                    writeln!(f, "    demanded: {}", made.check.demands)?;
                    writeln!(f, "    because:  {}", made.check.why)?;
                    findings.iter().try_for_each(|finding| write!(f, "{finding}"))?;
                }
            }
        }
        writeln!(f)?;
        let [passed, failed] = ["passed", "failed"].map(|name| self.count(name));
        let [inapplicable, undecided] = ["not-applicable", "undecided"].map(|name| self.count(name));
        writeln!(f, "{passed} passed, {failed} failed, {inapplicable} not applicable, {undecided} undecided")
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "    - done:     {}", self.done)?;
        writeln!(f, "      expected: {}", self.expected)?;
        writeln!(f, "      happened: {}", self.happened)?;
        writeln!(f, "      to mend:  {}", self.fix)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::conformance::to_junit;
    use crate::settings::{Attach, Setting};

    fn report(verdict_of: impl Fn(&Check) -> Verdict) -> Report {
        let made = |check: &Check| CheckReport {
            check: *check,
            verdict: verdict_of(check),
            duration: Duration::from_millis(1500),
        };
        Report::new("/plugins/x~y/y".into(), &settings(), None, CHECKS.iter().map(made).collect())
    }

    fn settings() -> DriverSettings {
        let origin = Origin::File { file: Path::new("/s.toml").into(), line: 2 };
        DriverSettings { attach: Setting { value: Attach::Off, origin }, ..DriverSettings::default() }
    }

    #[test]
    fn what_was_set_is_told_and_what_is_built_in_is_not() {
        let report = report(|_| Verdict::Passed);
        assert!(report.to_string().contains("\nsetting: attach = off (/s.toml:2)\n"), "{report}");
        let json = serde_json::to_value(&report).unwrap();
        let expected = serde_json::json!([{"key": "attach", "value": "off", "origin": "/s.toml:2"}]);
        assert_eq!(json["settings"], expected);
        assert!(to_junit(&report).contains("<property name=\"attach\" value=\"off (/s.toml:2)\"/>"));
    }

    fn failing_at(level: Option<Level>) -> Option<Level> {
        let failed = Verdict::Failed { findings: Vec::new() };
        let verdict_of = |check: &Check| match level {
            Some(level) if check.level == level => failed.clone(),
            _ => Verdict::Passed,
        };
        report(verdict_of).level
    }

    #[test]
    fn each_level_needs_those_below_it() {
        assert_eq!(failing_at(None), Some(Level::Robust));
        assert_eq!(failing_at(Some(Level::Robust)), Some(Level::WorksUnderKubernetes));
        assert_eq!(failing_at(Some(Level::WorksUnderKubernetes)), Some(Level::WorksUnderFlexvol));
        assert_eq!(failing_at(Some(Level::WorksUnderFlexvol)), None);
    }

    #[test]
    fn what_could_not_be_checked_is_not_reached_and_what_does_not_apply_is() {
        let undecided = report(|_| Verdict::Undecided { reason: String::new() });
        assert_eq!(undecided.level, None);
        let inapplicable = report(|_| Verdict::NotApplicable { reason: String::new() });
        assert_eq!(inapplicable.level, Some(Level::Robust));
        let interrupted = Report::new("/x".into(), &settings(), None, Vec::new());
        assert_eq!(interrupted.level, None);
    }

    #[test]
    fn the_json_has_stable_fields() {
        let json = serde_json::to_value(report(|_| Verdict::Passed)).unwrap();
        assert_eq!(json["level"], "robust");
        let first = serde_json::json!({"id": "init", "level": "works-under-flexvol", "verdict": "passed",
            "seconds": 1.5, "demands": CHECKS[0].demands, "why": CHECKS[0].why});
        assert_eq!(json["checks"][0], first);
    }
}
