//! The program as people use it: every `tests/cli/NAME.sh` is a script, `NAME.txt` what it must print. With
//! `UPDATE_EXPECTED=1` in the environment the expectations are written anew, to be reviewed.
//!
//! A script runs in a mount namespace of its own, as root or in a user namespace, with `tests/cli/prelude` before it.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How a script gets a mount namespace: as root, else in a user namespace. The namespace for processes sees to it that
/// none is left.
const NAMESPACES: [&[&str]; 2] = [&[], &["--user", "--map-root-user"]];
const OWN: [&str; 6] =
    ["--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "--mount-proc"];

/// Far more than a script takes.
const DEADLINE: &str = "120";

#[test]
fn every_script_prints_what_is_expected() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli");
    let mut scripts: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sh"))
        .collect();
    scripts.sort();
    assert!(scripts.len() >= 15, "scripts are missing");
    let Some(namespace) = NAMESPACES.into_iter().find(|flags| can_mount(flags)) else {
        eprintln!(
            "skipped: scripts of the command line: no mount namespace here (neither root nor user namespaces)"
        );
        return;
    };
    let wrong = side_by_side(&scripts, |script| check(script, namespace));
    assert!(wrong.is_empty(), "{} of {} scripts:\n{}", wrong.len(), scripts.len(), wrong.join("\n"));
}

/// A few at a time: most of them wait for something.
fn side_by_side(scripts: &[PathBuf], check: impl Fn(&Path) -> Option<String> + Sync) -> Vec<String> {
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(script) = scripts.get(next.fetch_add(1, Ordering::Relaxed)) {
                    wrong.lock().unwrap().extend(check(script));
                }
            });
        }
    });
    wrong.into_inner().unwrap()
}

fn check(script: &Path, namespace: &[&str]) -> Option<String> {
    let directory = tempfile::tempdir().unwrap();
    let got = play(script, namespace, &directory.path().canonicalize().unwrap());
    let expectation = script.with_extension("txt");
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&expectation, &got).unwrap();
    }
    let expected = fs::read_to_string(&expectation).unwrap_or_default();
    (got != expected).then(|| format!("--- {}\n{}", script.display(), difference(&expected, &got)))
}

/// Runs a script; standard output and standard error as a terminal would show them.
fn play(script: &Path, namespace: &[&str], directory: &Path) -> String {
    let text = directory.join("printed");
    let printed = fs::File::create(&text).unwrap();
    let status = unshare(namespace)
        .args(["sh", "-c", r#". "$0"; . "$1""#])
        .arg(script.with_file_name("prelude"))
        .arg(script)
        .current_dir(directory)
        .env("FLEXVOL", env!("CARGO_BIN_EXE_flexvol"))
        .env("DIR", directory)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(printed.try_clone().unwrap())
        .stderr(printed)
        .status()
        .unwrap();
    let printed = String::from_utf8_lossy(&fs::read(text).unwrap()).into_owned();
    let printed = printed.replace(directory.to_str().unwrap(), "DIR");
    let printed = printed.replace(env!("CARGO_BIN_EXE_flexvol"), "flexvol");
    if status.success() { printed } else { format!("{printed}the script ended with {status}\n") }
}

fn can_mount(namespace: &[&str]) -> bool {
    let status =
        unshare(namespace).args(["mount", "-t", "tmpfs", "none", "/tmp"]).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn unshare(namespace: &[&str]) -> Command {
    #[expect(clippy::disallowed_methods, reason = "a test plays a person at a shell")]
    let mut command = Command::new("timeout");
    command.args([DEADLINE, "unshare"]).args(namespace).args(OWN);
    command
}

/// The first lines that differ.
fn difference(expected: &str, got: &str) -> String {
    let same = expected.lines().zip(got.lines()).take_while(|(one, other)| one == other).count();
    let tail = |text: &str| text.lines().skip(same).take(12).collect::<Vec<_>>().join("\n");
    format!("from line {}\nexpected:\n{}\ngot:\n{}\n", same + 1, tail(expected), tail(got))
}
