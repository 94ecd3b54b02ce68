//! The recorded scenarios of Kubernetes' own FlexVolume host, played through ours in the strict reading.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The program that plays them: an example, which `cargo test` builds with the tests.
fn oracle(test: &Path) -> PathBuf {
    test.ancestors().nth(2).unwrap_or(test).join("examples/oracle")
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a process of its own, for its mounts")]
fn the_strict_reading_does_what_kubernetes_does() {
    let program = oracle(&std::env::current_exe().unwrap());
    assert!(
        program.is_file(),
        "{} is missing: run `cargo build -p flexvolume-host --example oracle` first",
        program.display()
    );
    let output = Command::new(program).arg("verify").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    for skipped in said.lines().filter(|line| line.starts_with("skipped: ")) {
        eprintln!("{skipped}");
    }
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let last = said.lines().last().unwrap_or_default();
    assert!(last.ends_with(" passed, 0 failed") && !last.starts_with("0 "), "{last}");
}

#[test]
fn what_no_host_should_do_is_told_in_the_documentation() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(here.join("../../docs/kubernetes.md")).unwrap();
    let mut apart = 0;
    for entry in std::fs::read_dir(here.join("tests/oracle")).unwrap() {
        let path = entry.unwrap().path();
        if std::fs::read_to_string(&path).unwrap().contains("\"in_tree_bug\"") {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            assert!(page.contains(&format!("`{name}`")), "{name} is not in docs/kubernetes.md");
            apart += 1;
        }
    }
    assert_eq!(apart, 9, "scenarios that are listed apart");
}
