//! The reply corpus: files of cases (`tests/corpus/schema.json`), each an answer of a driver and what either reader
//! must make of it. Used by the test and by the `corpus` example.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flexvolume_host::os::runner::{Captured, Ended, Output, Pipes, StartError, StartFailure};
use flexvolume_host::reply::tolerant::Probe;
use flexvolume_host::reply::{Asked, Explanation, Run, explain};
use serde::Deserialize;
use serde_json::Value;

use crate::corpus_format::{Bytes, Combined, Exit, RuleNumber, Strict, Tolerant};

/// A file of cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read so that a file without them is refused")]
pub(crate) struct File {
    format: u64,
    pub(crate) driver: String,
    pub(crate) language: String,
    note: Option<String>,
    pub(crate) cases: Vec<Case>,
}

/// A case; the schema describes the fields.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read so that a case without them, or with others, is refused")]
pub(crate) struct Case {
    pub(crate) id: String,
    origin: Origin,
    exact: Option<bool>,
    about: Option<Vec<RuleNumber>>,
    call: Call,
    argv: String,
    exit: Exit,
    stdout: Bytes,
    stderr: Bytes,
    combined: Option<Combined>,
    pipe_held: Option<bool>,
    probe: Option<KnownProbe>,
    strict: Strict,
    tolerant: Tolerant,
    why: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Origin {
    Recorded,
    Read,
    Made,
}

/// The name of a call-out as the driver saw it.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Call(String);

impl TryFrom<String> for Call {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        match (Asked::parse(&name), name.as_str()) {
            (Asked::Call(verb), _) => Ok(Call(verb.as_str().to_owned())),
            // The verb that the corpus used; strict texts name it.
            (Asked::Nonsense(_), "probe") => Ok(Call("bogus".to_owned())),
            (Asked::Nonsense(_) | Asked::Extension(_), _) => {
                Err(format!("call {name:?}: expected the name of a call-out, or \"probe\""))
            }
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KnownProbe {
    verb: String,
    stdout: Bytes,
    stderr: Bytes,
    exit: Exit,
}

/// Reads all cases of a folder (or of its folder `replies`), or of one file.
///
/// # Errors
/// A sentence with the file, and where it applies the line, and what is expected.
pub(crate) fn load(folder: &Path) -> Result<Vec<Case>, String> {
    Ok(load_files(folder)?.into_iter().flat_map(|file| file.cases).collect())
}

/// [`load`], file by file.
///
/// # Errors
/// As of [`load`].
pub(crate) fn load_files(folder: &Path) -> Result<Vec<File>, String> {
    let mut read = Vec::new();
    let mut ids = HashSet::new();
    for path in files(folder)? {
        let text = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        // serde_json's texts end with "at line L column C".
        let file: File =
            serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        if file.format != 1 {
            return Err(format!("{}: format {}: expected format 1", path.display(), file.format));
        }
        if file.cases.is_empty() {
            return Err(format!("{}: expected at least one case", path.display()));
        }
        for case in &file.cases {
            if !ids.insert(case.id.clone()) {
                let line = line_of(&text, &case.id);
                return Err(format!(
                    "{}: line {line}: expected a new id, {} is used twice",
                    path.display(),
                    case.id
                ));
            }
        }
        read.push(file);
    }
    Ok(read)
}

/// The last line that holds the id.
fn line_of(text: &[u8], id: &str) -> usize {
    let text = String::from_utf8_lossy(text);
    let quoted = format!("\"{id}\"");
    text.lines().enumerate().filter(|(_, line)| line.contains(&quoted)).last().map_or(0, |(at, _)| at + 1)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    if folder.is_file() {
        return Ok(vec![folder.to_owned()]);
    }
    let replies = folder.join("replies");
    let folder = if replies.is_dir() { &replies } else { folder };
    let read = |error| format!("{}: {error}", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(read)? {
        let path = entry.map_err(read)?.path();
        let is_case_file = path.extension().is_some_and(|extension| extension == "json")
            && path.file_name().is_some_and(|name| name != "schema.json");
        if is_case_file {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(format!("{}: expected .json files of cases, found none", folder.display()));
    }
    Ok(files)
}

/// A field in which a reader differs from what the case expects.
#[derive(Debug)]
pub(crate) struct Difference {
    pub(crate) reader: &'static str,
    pub(crate) field: String,
    pub(crate) expected: String,
    pub(crate) got: String,
}

impl Case {
    /// What both readers make of the case.
    pub(crate) fn explanation(&self) -> Explanation {
        let run = self.run();
        let known = self.probe.as_ref().map(|probe| {
            (probe.verb.as_str(), ended_with(&probe.exit, &probe.stdout.0, &probe.stderr.0, Vec::new()))
        });
        let probe = known.as_ref().map(|(verb, run)| Probe { verb, run });
        explain(Asked::parse(&self.call.0), &run, probe)
    }

    /// Runs the case through both readers.
    pub(crate) fn differences(&self) -> Vec<Difference> {
        let explanation = self.explanation();
        // In the strict view a field that is not listed is empty; in the tolerant one it is not compared, and neither
        // are the rules, which are there for orientation.
        let listed = |field: &str| field != "rules" && self.tolerant.0.contains_key(field);
        let mut differences = compare("strict", &self.strict.0, &json(&explanation.strict), |_| true);
        differences.extend(compare("tolerant", &self.tolerant.0, &json(&explanation.tolerant), listed));
        differences
    }

    fn run(&self) -> Run {
        let (stdout, stderr) = (&self.stdout.0, &self.stderr.0);
        let combined = match &self.combined {
            None => [stdout.as_slice(), stderr].concat(),
            Some(Combined::Bytes(bytes)) => bytes.0.clone(),
            Some(Combined::Concat(order)) => order
                .iter()
                .flat_map(|stream| if stream == "stdout" { stdout } else { stderr })
                .copied()
                .collect(),
        };
        ended_with(&self.exit, stdout, stderr, combined)
    }
}

fn ended_with(exit: &Exit, stdout: &[u8], stderr: &[u8], combined: Vec<u8>) -> Run {
    let ended = match exit {
        Exit::Code(code) => Ended::Exited(*code),
        Exit::Signal(signal) => Ended::Signaled(*signal),
        Exit::TimedOut => Ended::TimedOut,
        Exit::NotStarted(reason) => {
            let reason = if reason == "EACCES" { StartFailure::NotExecutable } else { StartFailure::Missing };
            return Err(StartError { program: PathBuf::from("driver"), reason });
        }
    };
    let captured = |bytes: &[u8]| Captured { bytes: bytes.to_vec(), omitted: 0 };
    Ok(Output {
        ended,
        core: Default::default(),
        stdout: captured(stdout),
        stderr: captured(stderr),
        combined: Captured { bytes: combined, omitted: 0 },
        duration: Duration::ZERO,
        pipes: Pipes::Closed,
    })
}

type Object = serde_json::Map<String, Value>;

/// A view as an object; it has no other shape.
fn json(view: &impl serde::Serialize) -> Object {
    let value = serde_json::to_value(view).unwrap_or_default();
    value.as_object().cloned().unwrap_or_default()
}

fn compare<'a>(
    reader: &'static str,
    expected: &'a Object,
    got: &'a Object,
    compared: impl Fn(&str) -> bool,
) -> Vec<Difference> {
    let mut fields: Vec<&String> = expected.keys().chain(got.keys()).collect();
    fields.sort();
    fields.dedup();
    let show = |value: Option<&Value>| value.map_or("nothing".to_owned(), Value::to_string);
    fields
        .into_iter()
        .filter(|field| compared(field) && !same(expected.get(*field), got.get(*field)))
        .map(|field| Difference {
            reader,
            field: field.clone(),
            expected: show(expected.get(field)),
            got: show(got.get(field)),
        })
        .collect()
}

/// Numbers are compared as numbers of 53 bits, because the files may have been written by a program that knows no others.
fn same(expected: Option<&Value>, got: Option<&Value>) -> bool {
    match (expected, got) {
        (Some(Value::Number(expected)), Some(Value::Number(got))) => expected.as_f64() == got.as_f64(),
        (expected, got) => expected == got,
    }
}
