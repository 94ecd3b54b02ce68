//! `ownership.`: handing a large tree to a pod's group, by the host crate's example `give_to_group`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::discovery::on_all_cpus;
use super::figure::{Figure, Outcome};
use super::programs::Programs;
use super::{Group, timing};
use crate::process;

const FIGURE: Figure = Figure::at_most("ownership.vs-chown-and-chmod", 0.7, "ratio");
const GROUP_ID: &str = "12345";
const FILES_OF_A_DIRECTORY: usize = 1000;
/// From so many files on, one round takes long enough to be certain.
const MANY: usize = 500_000;

/// All files of a tree given to a group, against `chown -R` and `chmod -R` of the same tree.
pub(super) const GROUP: Group = Group { figures: &[FIGURE], measure };

fn measure(programs: &Programs, report: &mut dyn FnMut(Outcome)) -> Result<()> {
    let folder = programs.scratch("ownership")?;
    if let Err(error) = chown(&folder, None, GROUP_ID.parse().ok()) {
        report(FIGURE.skipped(format!("needs root, to give files to other groups: {error}")));
        return Ok(());
    }
    let (tree, files) = (folder.join("tree"), programs.choices.files);
    make(&tree, files)?;
    let example = programs.get("give_to_group")?;
    let ours = |tree: &Path| vec![words(&[&example.to_string_lossy()], tree, &[GROUP_ID])];
    let owner = format!(":{GROUP_ID}");
    let theirs = |tree: &Path| {
        vec![words(&["chown", "-R", &owner], tree, &[]), words(&["chmod", "-R", "ug+rwX"], tree, &[])]
    };
    let (mut our_times, mut their_times) = (Vec::new(), Vec::new());
    for _ in 0..if files < MANY { 5 } else { 1 } {
        our_times.push(timed(&tree, ours(&tree))?);
        their_times.push(timed(&tree, theirs(&tree))?);
    }
    let (ours, theirs) = (timing::median(our_times), timing::median(their_times));
    report(FIGURE.value(ours.as_secs_f64() / theirs.as_secs_f64()));
    Ok(())
}

fn words(before: &[&str], tree: &Path, after: &[&str]) -> Vec<String> {
    let tree = tree.to_string_lossy();
    before.iter().chain([&&*tree]).chain(after).map(|word| (*word).to_owned()).collect()
}

/// The time of the commands on a tree of which nothing is right yet.
fn timed(tree: &Path, commands: Vec<Vec<String>>) -> Result<Duration> {
    for reset in [["chown", "-R", ":0"], ["chmod", "-R", "g="]] {
        process::run(Command::new(reset[0]).args(&reset[1..]).arg(tree))?;
    }
    write_back()?;
    let start = Instant::now();
    for words in commands {
        process::run(on_all_cpus().args(words))?;
    }
    Ok(start.elapsed())
}

/// What the reset has left to be written is written before the clock starts.
fn write_back() -> Result<()> {
    process::run(&mut Command::new("sync"))
}

/// A thousand files in each directory.
fn make(tree: &Path, files: usize) -> Result<()> {
    for first in (0..files).step_by(FILES_OF_A_DIRECTORY) {
        let directory = tree.join(format!("d{first}"));
        fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
        for number in first..files.min(first + FILES_OF_A_DIRECTORY) {
            let file = directory.join(format!("f{number}"));
            fs::File::create(&file)
                .and_then(|file| file.set_permissions(fs::Permissions::from_mode(0o600)))
                .with_context(|| format!("cannot create {}", file.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_has_all_files() {
        let folder = tempfile::tempdir().unwrap();
        make(&folder.path().join("tree"), 2500).unwrap();
        let directories: Vec<_> = fs::read_dir(folder.path().join("tree")).unwrap().collect();
        let files = |entry: &std::io::Result<fs::DirEntry>| {
            fs::read_dir(entry.as_ref().unwrap().path()).unwrap().count()
        };
        assert_eq!((directories.len(), directories.iter().map(files).sum::<usize>()), (3, 2500));
    }
}
