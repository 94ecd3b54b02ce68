//! What the agent keeps on disk: which file asked for which pod, and that it is the only agent of this root.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flexvolume_host::contract::PodUid;
use flexvolume_host::os::atomic;
use flexvolume_host::os::lock::{Lock, LockError};
use flexvolume_host::paths::state_dir;
use serde::{Deserialize, Serialize};

use super::news::{Memory, Owners};
use crate::failure::{Failure, REFUSED, STEP_FAILED};

/// The format that this version writes, and the only one that it reads.
const FORMAT: u32 = 1;

/// More lines than this, and twice as many as pods, are written anew when the agent starts.
const MANY_LINES: usize = 1000;

/// The agent's directory, which no other agent uses.
#[derive(Debug)]
pub(super) struct State {
    directory: PathBuf,
    log: Option<File>,
    _only: Lock,
}

/// The first line of the file.
#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
}

/// Every other line: a later one about the same pod counts.
#[derive(Serialize, Deserialize)]
struct Line {
    pod: PodUid,
    /// The manifest file that asks for it; none asks for it any more without one.
    file: Option<String>,
}

fn make(directory: &Path, mode: u32) -> Result<(), Failure> {
    atomic::create_directories(directory, mode).map_err(|error| {
        let remedy = "run the agent as root, or say with --root where this user may write";
        Failure::says(
            STEP_FAILED,
            format_args!("the directory {} cannot be made: {error}; {remedy}", directory.display()),
        )
    })
}

/// The agent's directory below a root.
pub(super) fn directory(root: &Path) -> PathBuf {
    state_dir(root).join("agent")
}

impl State {
    /// Makes the directory and keeps other agents out.
    pub(super) fn open(root: &Path) -> Result<Self, Failure> {
        let directory = directory(root);
        make(root, 0o750)?;
        make(&directory, 0o700)?;
        let only = Lock::acquire(&directory.join("lock"), Duration::ZERO).map_err(|error| match error {
            LockError::Held { .. } => Failure::says(
                REFUSED,
                format_args!("another agent works below {}; end it first", root.display()),
            ),
            error => Failure::new(REFUSED, error),
        })?;
        Ok(Self { directory, log: None, _only: only })
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    fn file(&self) -> PathBuf {
        self.directory.join("pods.jsonl")
    }

    /// What an earlier agent knew.
    pub(super) fn remember(&self) -> Memory {
        let lost = |why: String| {
            let file = self.file();
            Memory::Lost(format!(
                "{}: {why}; until all manifests are in order nothing is unmounted",
                file.display()
            ))
        };
        let bytes = match std::fs::read(self.file()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Memory::Known(Owners::new()),
            Err(error) => return lost(error.to_string()),
            Ok(bytes) => bytes,
        };
        match read(&bytes) {
            Err(why) => lost(why),
            Ok((owners, lines)) => {
                if lines > MANY_LINES
                    && lines > 2 * owners.len()
                    && let Err(error) = self.write_anew(&owners)
                {
                    tracing::warn!(%error, "the list of pods stays longer than it need be");
                }
                Memory::Known(owners)
            }
        }
    }

    fn write_anew(&self, owners: &Owners) -> io::Result<()> {
        let mut bytes = header()?;
        for (pod, file) in owners {
            bytes.extend(line(pod, Some(file))?);
        }
        atomic::write(&self.file(), &bytes)
    }

    /// Puts down which file asks for which pod now, before anything is done for it.
    pub(super) fn keep(&mut self, owners: &[(PodUid, Option<String>)]) -> io::Result<()> {
        if owners.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        for (pod, file) in owners {
            bytes.extend(line(pod, file.as_ref())?);
        }
        let mut log = match self.log.take() {
            Some(log) => log,
            None => self.open_log()?,
        };
        log.write_all(&bytes)?;
        log.sync_data()?;
        // After an error it is opened anew, and half a line is cut off.
        self.log = Some(log);
        Ok(())
    }

    fn open_log(&self) -> io::Result<File> {
        let path = self.file();
        let whole = match std::fs::read(&path) {
            Ok(bytes) if read(&bytes).is_ok() => whole_lines(&bytes).len(),
            // There is none, or it was damaged, which has been told.
            _ => {
                let header = header()?;
                atomic::write(&path, &header)?;
                header.len()
            }
        };
        let no_link = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0);
        let log = OpenOptions::new().append(true).custom_flags(no_link).open(&path)?;
        log.set_len(u64::try_from(whole).map_err(io::Error::other)?)?;
        Ok(log)
    }
}

fn header() -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(&Header { format: FORMAT })?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn line(pod: &PodUid, file: Option<&String>) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(&Line { pod: pod.clone(), file: file.cloned() })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// What stands after the last line end was never finished, so nothing was done for it.
fn whole_lines(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    &bytes[..end]
}

/// The pods, and how many lines there are.
fn read(bytes: &[u8]) -> Result<(Owners, usize), String> {
    let mut lines = whole_lines(bytes).split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let first = lines.next().ok_or("is empty")?;
    let Header { format } =
        serde_json::from_slice(first).map_err(|error| format!("has no header: {error}"))?;
    if format != FORMAT {
        return Err(format!("has format {format}, not {FORMAT}"));
    }
    let (mut owners, mut count) = (Owners::new(), 0);
    for line in lines {
        let Line { pod, file } = serde_json::from_slice(line)
            .map_err(|error| format!("line {} is damaged: {error}", count + 2))?;
        match file {
            Some(file) => drop(owners.insert(pod, file)),
            None => drop(owners.remove(&pod)),
        }
        count += 1;
    }
    Ok((owners, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str) -> PodUid {
        PodUid::parse(name).unwrap()
    }

    fn known(state: &State) -> Vec<String> {
        match state.remember() {
            Memory::Known(owners) => owners.iter().map(|(pod, file)| format!("{pod} {file}")).collect(),
            Memory::Lost(why) => vec![why],
        }
    }

    #[test]
    fn what_is_kept_is_remembered_also_after_half_a_line() {
        let root = tempfile::tempdir().unwrap();
        let mut state = State::open(root.path()).unwrap();
        assert_eq!(known(&state), Vec::<String>::new());
        state.keep(&[(pod("a"), Some("a.yaml".to_owned())), (pod("b"), Some("b.yaml".to_owned()))]).unwrap();
        state.keep(&[(pod("a"), None)]).unwrap();
        let file = state.file();
        OpenOptions::new().append(true).open(&file).unwrap().write_all(b"{\"pod\":\"c\",\"fi").unwrap();
        drop(state);
        let mut state = State::open(root.path()).unwrap();
        assert_eq!(known(&state), ["b b.yaml"]);
        state.keep(&[(pod("d"), Some("d.yaml".to_owned()))]).unwrap();
        assert_eq!(known(&state), ["b b.yaml", "d d.yaml"]);
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(file).unwrap().permissions()) & 0o777,
            0o600
        );
    }

    #[test]
    fn a_long_list_is_written_anew() {
        let root = tempfile::tempdir().unwrap();
        let mut state = State::open(root.path()).unwrap();
        let many: Vec<_> = (0..1500).map(|number| (pod("a"), Some(format!("{number}.yaml")))).collect();
        state.keep(&many).unwrap();
        assert_eq!(known(&state), ["a 1499.yaml"]);
        assert!(std::fs::read_to_string(state.file()).unwrap().lines().count() == 2);
    }

    #[test]
    fn damage_and_other_formats_are_told() {
        for (text, why) in [
            ("", "is empty"),
            ("{\"format\":9}\n", "format 9"),
            ("{\"format\":1}\n{\n", "line 2"),
            ("\0\n", "header"),
        ] {
            let root = tempfile::tempdir().unwrap();
            let mut state = State::open(root.path()).unwrap();
            std::fs::write(state.file(), text).unwrap();
            assert!(known(&state)[0].contains(why), "{text:?}: {:?}", known(&state));
            state.keep(&[(pod("a"), Some("a.yaml".to_owned()))]).unwrap();
            assert_eq!(known(&state), ["a a.yaml"]);
        }
    }

    #[test]
    fn a_root_that_cannot_be_made_is_named() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("file"), "").unwrap();
        let failure = State::open(&root.path().join("file/node")).unwrap_err();
        assert!(failure.lines[0].contains("file/node") && failure.lines[0].contains("--root"), "{failure:?}");
    }

    #[test]
    fn there_is_one_agent_for_a_root() {
        let root = tempfile::tempdir().unwrap();
        let _first = State::open(root.path()).unwrap();
        let failure = State::open(root.path()).unwrap_err();
        assert!(failure.lines[0].contains("another agent"), "{failure:?}");
    }
}
