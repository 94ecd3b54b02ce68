//! Two transcripts, step by step. Of errors only the presence counts: their texts come out of Go.

use std::collections::BTreeSet;
use std::path::Path;
use std::{fs, io};

use serde_json::{Map, Value};

/// How errors are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Errors {
    /// Their texts.
    Exact,
    /// Whether there is one.
    Presence,
}

/// The steps of a recorded transcript.
pub(crate) fn read(path: &Path) -> io::Result<Vec<Value>> {
    let document: Value = serde_json::from_slice(&fs::read(path)?)?;
    Ok(steps(&document))
}

/// The steps of a transcript.
pub(crate) fn steps(document: &Value) -> Vec<Value> {
    document["steps"].as_array().cloned().unwrap_or_default()
}

/// Every difference, as text.
pub(crate) fn differences(expected: &[Value], got: &[Value], errors: Errors) -> Vec<String> {
    let mut found = Vec::new();
    for (number, (one, other)) in expected.iter().zip(got).enumerate() {
        let mut report = |at: &str, one: &Value, other: &Value| {
            let op = expected[number]["op"].as_str().unwrap_or_default();
            found.push(format!("step {} ({op}) {at}\n  - {one}\n  + {other}", number + 1));
        };
        compare("", &loosen(one, errors), &loosen(other, errors), &mut report);
    }
    if expected.len() != got.len() {
        found.push(format!("steps: {} against {}", expected.len(), got.len()));
    }
    found
}

fn loosen(step: &Value, errors: Errors) -> Value {
    let mut step = step.clone();
    if let (Errors::Presence, Some(fields)) = (errors, step.as_object_mut()) {
        for key in ["error", "panic"] {
            if let Some(text) = fields.get_mut(key) {
                *text = "present".into();
            }
        }
    }
    step
}

/// Walks two values down to the deepest places that differ.
fn compare(at: &str, one: &Value, other: &Value, report: &mut impl FnMut(&str, &Value, &Value)) {
    match (one, other) {
        _ if one == other => {}
        (Value::Object(one), Value::Object(other)) => {
            let field = |map: &Map<String, Value>, key: &str| map.get(key).cloned().unwrap_or(Value::Null);
            for key in one.keys().chain(other.keys()).collect::<BTreeSet<_>>() {
                compare(&format!("{at}.{key}"), &field(one, key), &field(other, key), report);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (index, (one, other)) in one.iter().zip(other).enumerate() {
                compare(&format!("{at}[{index}]"), one, other, report);
            }
        }
        _ => report(at, one, other),
    }
}
