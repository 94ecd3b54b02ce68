//! The drivers and the commands of `docs/writing-a-driver.md`, as they stand there.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test may stop at the first surprise, and says what it leaves out"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const FLEXVOL: &str = env!("CARGO_BIN_EXE_flexvol");

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The code blocks of a language, in order.
fn blocks(language: &str) -> Vec<String> {
    let page = fs::read_to_string(repository().join("docs/writing-a-driver.md")).unwrap();
    let fence = format!("```{language}\n");
    page.split(&fence).skip(1).map(|rest| rest.split("```\n").next().unwrap().to_owned()).collect()
}

/// What the commands of the page print, tried with this driver; `None` where they cannot be run.
fn tried(test: &str, driver: impl FnOnce(&Path)) -> Option<String> {
    let [_, commands] = blocks("sh").try_into().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().canonicalize().unwrap();
    driver(&folder.join("shelf"));
    std::os::unix::fs::symlink(FLEXVOL, folder.join("flexvol")).unwrap();
    let Some(namespace) =
        [&[][..], &["--user", "--map-root-user"]].into_iter().find(|flags| can_mount(flags))
    else {
        eprintln!("skipped: {test}: no mount namespace here (neither root nor user namespaces)");
        return None;
    };
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let output = unshare(namespace)
        .args(["sh", "-euc", &commands])
        .current_dir(&folder)
        .env("PATH", path)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    Some(shown(&output))
}

fn shown(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn can_mount(namespace: &[&str]) -> bool {
    let output = unshare(namespace).args(["mount", "-t", "tmpfs", "none", "/tmp"]).output();
    output.is_ok_and(|output| output.status.success())
}

fn unshare(namespace: &[&str]) -> Command {
    #[expect(clippy::disallowed_methods, reason = "a test plays a person at a shell")]
    let mut command = Command::new("unshare");
    command.args(namespace).args(["--mount", "--propagation=private"]);
    command
}

fn executable(program: &Path) {
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The page's claims of a driver.
fn holds_what_the_page_says(printed: &str) {
    assert!(printed.contains("reaches: robust"), "{printed}");
    assert!(printed.contains("name"), "the failure names the option: {printed}");
}

#[test]
fn the_driver_in_shell_is_robust() {
    let [driver, _] = blocks("sh").try_into().unwrap();
    let printed = tried("the_driver_in_shell_is_robust", |program| {
        fs::write(program, driver).unwrap();
        executable(program);
    });
    printed.iter().for_each(|printed| holds_what_the_page_says(printed));
}

#[test]
fn the_driver_in_rust_is_robust() {
    let test = std::env::current_exe().unwrap();
    let built = test.parent().unwrap().parent().unwrap().join("examples/shelf");
    if !built.exists() {
        eprintln!("skipped: the_driver_in_rust_is_robust: run `cargo build -p flexvolume --examples` first");
        return;
    }
    let printed = tried("the_driver_in_rust_is_robust", |program| {
        fs::copy(&built, program).unwrap();
    });
    printed.iter().for_each(|printed| holds_what_the_page_says(printed));
}

/// Cargo builds and lints the example; the page shows it but for the line that concerns this workspace alone.
#[test]
fn the_driver_in_rust_is_the_example_of_the_crate() {
    let [driver] = blocks("rust").try_into().unwrap();
    let example = fs::read_to_string(repository().join("crates/flexvolume/examples/shelf.rs")).unwrap();
    let (lint, example) = example.split_once('\n').unwrap();
    assert!(lint.starts_with("#![expect(clippy::disallowed_methods"), "{lint}");
    assert!(driver == example, "docs/writing-a-driver.md and crates/flexvolume/examples/shelf.rs differ");
}
