//! How both readers understand an answer, and what a driver's author should change: for `flexvol driver explain`.

use std::fmt;

use flexvolume::{Capabilities, Verb};
use serde::Serialize;

use super::tolerant::{Probe, Understanding};
use super::{Asked, Failure, Field, Fields, Rule, Run, advice, answer, strict, text, tolerant};

/// What Kubernetes makes of an answer, in the fields of the reply corpus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each is the field of the corpus of its name")]
pub struct StrictView {
    pub outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub device: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub volume_name: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub attached: bool,
    #[serde(skip_serializing_if = "is_zero")]
    pub volume_new_size: i64,
    /// Only for `init`; null where the driver said null, which ends the host's process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Option<Capabilities>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attachable: Option<bool>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub panics: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(size: &i64) -> bool {
    *size == 0
}

impl StrictView {
    /// The view of an outcome.
    #[must_use]
    pub fn of(asked: Asked<'_>, outcome: strict::Outcome) -> Self {
        use strict::Outcome;
        match outcome {
            Outcome::Success(fields) => Self::success(asked, fields),
            Outcome::NotSupported => Self::error("not_supported", "Not supported".to_owned()),
            Outcome::Failed(error) => Self::error("failed", error),
            Outcome::Unreadable(error) => Self::error("unreadable", error),
            Outcome::ExecError(error) => Self::error("exec_error", error),
            Outcome::TimedOut => Self::error("timeout", "timeout".to_owned()),
        }
    }

    fn error(outcome: &'static str, error: String) -> Self {
        Self { outcome, error: Some(error), ..Self::empty() }
    }

    fn empty() -> Self {
        Self {
            outcome: "success",
            error: None,
            message: String::new(),
            device: String::new(),
            volume_name: String::new(),
            attached: false,
            volume_new_size: 0,
            capabilities: None,
            attachable: None,
            panics: false,
        }
    }

    fn success(asked: Asked<'_>, fields: Fields) -> Self {
        let init = asked == Asked::Call(Verb::Init);
        Self {
            message: fields.message,
            device: fields.device,
            volume_name: fields.volume_name,
            attached: fields.attached,
            volume_new_size: fields.new_size,
            capabilities: init.then_some(fields.capabilities),
            attachable: fields.capabilities.map(|capabilities| capabilities.attach),
            panics: init && fields.capabilities.is_none(),
            ..Self::empty()
        }
    }
}

/// What a tolerant host makes of an answer, in the fields of the reply corpus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each is the field of the corpus of its name")]
pub struct TolerantView {
    pub outcome: &'static str,
    pub reply: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attached: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    pub rules: Vec<Rule>,
}

impl TolerantView {
    /// The view of what was understood.
    #[must_use]
    pub fn of(asked: Asked<'_>, understanding: &Understanding) -> Self {
        use tolerant::Outcome;
        let (outcome, message, fields) = match &understanding.outcome {
            Outcome::Success(fields) => ("success", None, Some(fields)),
            Outcome::Claimed(fields) => ("claimed", None, Some(fields)),
            Outcome::NotSupported => ("not_supported", None, None),
            Outcome::Failed(Failure { message, .. }) => ("failed", Some(message.clone()), None),
        };
        let using = |field| fields.filter(|_| answer::used_by(asked) == Some(field));
        Self {
            outcome,
            reply: understanding.replied,
            message,
            device: using(Field::Device).map(|fields| fields.device.clone()),
            volume_name: using(Field::VolumeName).map(|fields| fields.volume_name.clone()),
            attached: using(Field::Attached).map(|fields| fields.attached),
            capabilities: fields.and_then(|fields| fields.capabilities),
            rules: understanding.rules.clone(),
        }
    }
}

/// A rule that was needed, or another problem, and what the author should change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Advice {
    /// What is wrong.
    pub problem: String,
    /// What to change.
    pub remedy: String,
}

/// A rule that was needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// Its number.
    pub rule: Rule,
    /// Its name.
    pub name: &'static str,
    /// What the host does, in one sentence.
    pub text: &'static str,
}

impl From<Rule> for Applied {
    fn from(rule: Rule) -> Self {
        Self { rule, name: rule.name(), text: rule.text() }
    }
}

/// How both readers understand an answer. Its `Display` is a text of several lines for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The call-out, or the nonsense verb.
    pub call: String,
    /// What Kubernetes makes of it.
    pub strict: StrictView,
    /// What a tolerant host makes of it.
    pub tolerant: TolerantView,
    /// The rules that the tolerant reading needed, in words.
    pub applied: Vec<Applied>,
    /// What was printed beside replies, fit to be shown.
    pub noise: String,
    /// What a driver's author should change; empty for an answer as documented.
    pub advice: Vec<Advice>,
}

/// Reads an answer both ways.
#[must_use]
pub fn explain(asked: Asked<'_>, run: &Run, probe: Option<Probe<'_>>) -> Explanation {
    let understanding = tolerant::read(asked, run, probe);
    let outcome = strict::read(asked, run);
    Explanation {
        call: asked.name().to_owned(),
        advice: advice::all(asked, run, &outcome, &understanding),
        strict: StrictView::of(asked, outcome),
        tolerant: TolerantView::of(asked, &understanding),
        applied: understanding.rules.iter().copied().map(Applied::from).collect(),
        noise: understanding.noise,
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "call-out:  {}", text::line(&self.call))?;
        write!(f, "strict:    {}", sentence(self.strict.outcome))?;
        writeln!(f, "{}", details(&self.strict, self.strict.error.as_deref()))?;
        write!(f, "tolerant:  {}", sentence(self.tolerant.outcome))?;
        writeln!(f, "{}", details(&self.tolerant, self.tolerant.message.as_deref()))?;
        for applied in &self.applied {
            writeln!(f, "  {}: {}", applied.rule, applied.text)?;
        }
        if !self.noise.is_empty() {
            writeln!(f, "beside the reply:")?;
            self.noise.lines().try_for_each(|line| writeln!(f, "  | {line}"))?;
        }
        if self.advice.is_empty() {
            return writeln!(f, "Nothing to fix: the answer is as documented.");
        }
        writeln!(f, "to fix:")?;
        self.advice.iter().try_for_each(|advice| writeln!(f, "  - {}. {}.", advice.problem, advice.remedy))
    }
}

fn sentence(outcome: &str) -> &'static str {
    match outcome {
        "success" => "success",
        "claimed" => "success, if the directory shows it",
        "not_supported" => "not supported: the host does it by itself",
        "failed" => "failure",
        "unreadable" => "failure, because the answer cannot be read",
        "exec_error" => "failure, because of the exit status",
        _ => "failure, because it was stopped at its deadline",
    }
}

/// The text of a failure, and the fields.
fn details(view: &impl Serialize, text: Option<&str>) -> String {
    let mut details = text.map_or_else(String::new, |text| format!(": {}", text::line(text)));
    let fields = serde_json::to_value(view).unwrap_or_default();
    for name in ["device", "volumeName", "attached", "volumeNewSize", "capabilities"] {
        if let Some(value) = fields.get(name) {
            details.push_str(&text::line(&format!(", {name} {value}")));
        }
    }
    if fields.get("panics").is_some() {
        details.push_str(", and the process of Kubernetes crashes");
    }
    details
}

#[cfg(test)]
mod tests {
    use flexvolume_os::runner::{Captured, Ended, Output};

    use super::*;

    fn explained(asked: Asked<'_>, stdout: &str) -> Explanation {
        let run = Ok(Output {
            ended: Ended::Exited(0),
            core: Default::default(),
            stdout: Captured { bytes: stdout.into(), omitted: 0 },
            stderr: Captured::default(),
            combined: Captured::default(),
            duration: std::time::Duration::ZERO,
            pipes: Default::default(),
        });
        explain(asked, &run, None)
    }

    #[test]
    fn the_json_has_the_fields_of_the_corpus() {
        let printed = "x\n{\"status\":\"Success\",\"device\":\"/dev/a\"}";
        let explanation = serde_json::to_value(explained(Asked::Call(Verb::Attach), printed)).unwrap();
        let text = "invalid character 'x' looking for beginning of value";
        assert_eq!(explanation["strict"], serde_json::json!({"outcome": "unreadable", "error": text}));
        assert_eq!(
            explanation["tolerant"],
            serde_json::json!({"outcome": "success", "reply": true, "device": "/dev/a", "rules": [1]})
        );
        assert_eq!(explanation["applied"][0]["name"], "text around the reply");
    }

    #[test]
    fn the_text_names_both_readings_and_what_to_fix() {
        let text = explained(Asked::Call(Verb::Mount), "mounting\n{\"status\":\"Success\"}").to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "call-out:  mount");
        assert!(
            lines[1]
                .starts_with("strict:    failure, because the answer cannot be read: invalid character 'm'")
        );
        assert_eq!(lines[2], "tolerant:  success, if the directory shows it");
        assert!(
            text.contains("  rule 1 (text around the reply): ") && text.contains("  | mounting\n"),
            "{text}"
        );
        assert!(text.contains("to fix:\n  - there is text beside the reply"), "{text}");
    }

    #[test]
    fn a_null_that_crashes_kubernetes_is_said_so() {
        let text =
            explained(Asked::Call(Verb::Init), "{\"status\":\"Success\",\"capabilities\":null}").to_string();
        assert!(
            text.contains("strict:    success, capabilities null, and the process of Kubernetes crashes"),
            "{text}"
        );
    }
}
