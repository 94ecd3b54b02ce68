//! Whether secrets stay where they belong.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flexvolume::Secret;

use super::processes;
use super::stage::{Outcome, Stop, TEMPORARY, Trial, WORKING_DIRECTORY};
use super::volume::{Volume, make_dir};

/// The key and the value of a secret that the suite adds to every mount.
const KEY: &str = "flexvol-conformance";
const MARKER: &str = "flexvol-conformance-secret-7f3a9c51";

/// A shorter text would be found everywhere.
const SHORTEST: usize = 4;

/// The most of a file that is searched.
const SEARCHED: u64 = 1 << 20;

/// How secrets can be written: as they are, and as drivers get them.
pub(super) fn forms(secrets: &BTreeMap<String, Secret>) -> Vec<String> {
    let mut forms = Vec::new();
    for secret in secrets.values().map(Secret::expose).filter(|secret| secret.len() >= SHORTEST) {
        forms.push(STANDARD.encode(secret));
        if let Ok(text) = std::str::from_utf8(secret) {
            forms.push(text.trim().to_owned());
        }
    }
    forms.retain(|form| form.len() >= SHORTEST);
    forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
    forms
}

fn with_marker(trial: &mut Trial<'_>, suffix: &str) -> Result<Volume, Stop> {
    let mut volume = trial.volume(suffix)?;
    volume.pod_options.secrets.insert(KEY.to_owned(), Secret::new(MARKER));
    trial.secrets = forms(&volume.pod_options.secrets);
    Ok(volume)
}

pub(super) fn arguments(trial: &mut Trial<'_>) -> Outcome {
    if !processes::can_look() {
        return Err(Stop::Undecided("the kernel keeps no lists of children in /proc".to_owned()));
    }
    let volume = with_marker(trial, "arguments")?;
    let own = trial.subject.program.as_os_str().as_encoded_bytes().to_vec();
    let watch = Watch::start(trial.secrets.clone(), own);
    let lived = (0..3).try_for_each(|_| trial.up(&volume).and_then(|()| trial.down(&volume)));
    for program in watch.finish() {
        let happened = format!("{program} had it");
        let fix = "pass it on standard input, in the environment, or in a file that only root can read";
        trial.found([
            "mount with a secret",
            "no secret among the arguments of other programs",
            &happened,
            fix,
        ]);
    }
    Ok(lived?)
}

pub(super) fn traces(trial: &mut Trial<'_>) -> Outcome {
    let volume = with_marker(trial, "traces")?;
    trial.up(&volume)?;
    trial.down(&volume)?;
    failing_calls(trial, &volume)?;
    let forms = trial.secrets.clone();
    for answer in std::mem::take(&mut trial.answers) {
        let printed = String::from_utf8_lossy(&answer.bytes()).into_owned();
        let fix = "never print the options, and never trace a script (`set -x`)";
        let clean = !forms.iter().any(|form| printed.contains(form));
        trial.expect(clean, [&answer.call, "no secret in what is printed", &printed, fix]);
    }
    let pods = trial.root.join("pods");
    for place in [trial.root.join(WORKING_DIRECTORY), trial.root.join(TEMPORARY), pods] {
        for file in files_with(&place, &forms) {
            let happened = format!("it is in {file}");
            let fix = "remove the file before answering, and keep it in a directory of your own, mode 0600";
            trial.found(["mount and unmount with a secret", "no file holds it afterwards", &happened, fix]);
        }
    }
    Ok(())
}

/// Mounts that cannot work: onto a file, and without any program in reach.
fn failing_calls(trial: &mut Trial<'_>, volume: &Volume) -> Outcome {
    if let Some(parent) = volume.mount_dir.parent() {
        make_dir(parent)?;
    }
    if fs::write(&volume.mount_dir, "in the way").is_ok() {
        trial.call(&volume.mount());
        trial.call(&volume.unmount());
        fs::remove_file(&volume.mount_dir)?;
    }
    trial.search_path = Some(trial.root.join("empty"));
    trial.call(&volume.mount());
    trial.search_path = None;
    // Only to leave things in order.
    let _ = trial.down(volume);
    Ok(())
}

fn files_with(directory: &Path, forms: &[String]) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files_with(&path, forms)),
            Ok(kind) if kind.is_file() && holds(&path, forms) => found.push(path.display().to_string()),
            _ => {}
        }
    }
    found
}

fn holds(file: &Path, forms: &[String]) -> bool {
    let mut bytes = Vec::new();
    let read = fs::File::open(file).and_then(|file| file.take(SEARCHED).read_to_end(&mut bytes));
    read.is_ok() && forms.iter().any(|form| contains(&bytes, form.as_bytes()))
}

/// Looks again and again at the arguments of all that runs below this process.
struct Watch {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Vec<String>>,
}

impl Watch {
    /// `own` is the path of the driver, which itself is given the secrets, and its subshells with it.
    fn start(forms: Vec<String>, own: Vec<u8>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        let thread = spawn(move || {
            let mut found: Vec<String> = Vec::new();
            while !ended.load(Ordering::Relaxed) {
                for pid in processes::descendants() {
                    let arguments = processes::arguments_of(pid);
                    let secret = forms.iter().any(|form| contains(&arguments, form.as_bytes()));
                    let program = name_of(&arguments);
                    if secret && !contains(&arguments, &own) && !found.contains(&program) {
                        found.push(program);
                    }
                }
                sleep(Duration::from_micros(300));
            }
            found
        });
        Self { over, thread }
    }

    fn finish(self) -> Vec<String> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

fn name_of(arguments: &[u8]) -> String {
    let program = arguments.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(program).into_owned()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && bytes.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_known_as_it_is_and_as_drivers_get_it() {
        let secrets = [("a", "hunter2\n"), ("b", "ab")];
        let secrets = secrets.map(|(key, value)| (key.to_owned(), Secret::new(value))).into();
        assert_eq!(forms(&secrets), ["aHVudGVyMgo=", "hunter2"]);
    }

    #[test]
    fn files_with_a_secret_are_found_at_any_depth_and_behind_no_symlink() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/b")).unwrap();
        fs::write(root.path().join("a/b/with"), "x hunter2 y").unwrap();
        fs::write(root.path().join("without"), "x").unwrap();
        std::os::unix::fs::symlink(root.path().join("a"), root.path().join("link")).unwrap();
        let found = files_with(root.path(), &["hunter2".to_owned()]);
        assert_eq!(found, [root.path().join("a/b/with").display().to_string()]);
    }
}
