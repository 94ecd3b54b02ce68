//! The report in the XML of JUnit, which pipelines show.

use super::report::{Report, Verdict};
use crate::settings::Effective;

/// The document. A check that is undecided is an error; one that does not apply is skipped.
#[must_use]
pub fn to_junit(report: &Report) -> String {
    let [failed, inapplicable, undecided] =
        ["failed", "not-applicable", "undecided"].map(|name| report.count(name));
    let seconds: f64 = report.checks.iter().map(|made| made.duration.as_secs_f64()).sum();
    let suite = attribute(&format!("flexvolume conformance of {}", report.program.display()));
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"{suite}\" tests=\"{}\" failures=\"{failed}\" errors=\"{undecided}\" skipped=\"{inapplicable}\" time=\"{seconds:.3}\">\n",
        report.checks.len()
    );
    xml.push_str(&properties(report));
    for made in &report.checks {
        let (id, level) = (attribute(made.check.id), attribute(made.check.level.name()));
        let time = made.duration.as_secs_f64();
        let open = format!("  <testcase classname=\"{level}\" name=\"{id}\" time=\"{time:.3}\"");
        match &made.verdict {
            Verdict::Passed => xml.push_str(&format!("{open}/>\n")),
            Verdict::NotApplicable { reason } => xml.push_str(&format!(
                "{open}>\n    <skipped message=\"{}\"/>\n  </testcase>\n",
                attribute(reason)
            )),
            Verdict::Undecided { reason } => xml.push_str(&format!(
                "{open}>\n    <error message=\"{}\"/>\n  </testcase>\n",
                attribute(reason)
            )),
            Verdict::Failed { findings } => {
                let text: String = findings.iter().map(ToString::to_string).collect();
                xml.push_str(&format!(
                    "{open}>\n    <failure message=\"{}\">{}</failure>\n  </testcase>\n",
                    attribute(made.check.demands),
                    escaped(&text, '\n')
                ));
            }
        }
    }
    xml + "</testsuite>\n"
}

/// The settings.
fn properties(report: &Report) -> String {
    if report.settings.is_empty() {
        return String::new();
    }
    let property = |setting: &Effective| {
        let value = attribute(&format!("{} ({})", setting.value, setting.origin));
        format!("    <property name=\"{}\" value=\"{value}\"/>\n", attribute(&setting.key))
    };
    let properties: String = report.settings.iter().map(property).collect();
    format!("  <properties>\n{properties}  </properties>\n")
}

fn attribute(text: &str) -> String {
    escaped(text, '\t')
}

/// `text` with what XML 1.0 reserves escaped and what it forbids replaced; of the control characters only `kept` stays.
fn escaped(text: &str, kept: char) -> String {
    let mut xml = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '&' => xml.push_str("&amp;"),
            '"' => xml.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => xml.push('\u{fffd}'),
            other if other.is_control() && other != kept => xml.push('\u{fffd}'),
            other => xml.push(other),
        }
    }
    xml
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{CHECKS, CheckReport, Finding};
    use super::*;
    use crate::settings::DriverSettings;

    #[test]
    fn nothing_that_a_driver_says_breaks_the_document() {
        let finding = Finding {
            done: "mount".to_owned(),
            expected: "a < b & c".to_owned(),
            happened: "]]> \"\u{0}\u{1b}[31m\u{ffff}".to_owned(),
            fix: "none".to_owned(),
        };
        let verdicts = [
            Verdict::Failed { findings: vec![finding] },
            Verdict::Undecided { reason: "<\n>".to_owned() },
            Verdict::NotApplicable { reason: "no 'attach'".to_owned() },
            Verdict::Passed,
        ];
        let made = |(check, verdict)| CheckReport { check, verdict, duration: Duration::from_millis(20) };
        let checks = CHECKS.iter().copied().zip(verdicts).map(made).collect();
        let xml = to_junit(&Report::new("/p/\"x\"".into(), &DriverSettings::default(), None, checks));
        let head = "<testsuite name=\"flexvolume conformance of /p/&quot;x&quot;\" tests=\"4\" failures=\"1\" errors=\"1\" skipped=\"1\" time=\"0.080\">";
        assert!(xml.contains(head), "{xml}");
        assert!(xml.contains("expected: a &lt; b &amp; c\n"), "{xml}");
        assert!(xml.contains("happened: ]]&gt; &quot;\u{fffd}\u{fffd}[31m\u{fffd}\n"), "{xml}");
        assert!(xml.contains("<error message=\"&lt;\u{fffd}&gt;\"/>"), "{xml}");
        assert!(
            xml.contains("name=\"unknown-verb\" time=\"0.020\"/>")
                || xml.contains("name=\"init-repeated\" time=\"0.020\"/>"),
            "{xml}"
        );
    }
}
