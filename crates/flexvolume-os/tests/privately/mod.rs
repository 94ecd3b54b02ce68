//! Runs a test in a mount namespace of its own, so that it can mount and nothing is left behind.
//!
//! The test harness has many threads, and a namespace is entered by a process with one; so the test starts its own test
//! binary once more, for this one test, below `unshare` (util-linux). Other crates may copy this file.

use std::process::Command;

const INSIDE: &str = "FLEXVOL_TEST_INSIDE";

/// Runs `body` in a private mount namespace, as root. `test` is the name of the calling test with its modules. Without
/// root or `unshare` the test is skipped, with a line that says so.
pub(crate) fn privately(test: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: {test}: needs root");
        return;
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "this starts the test itself, in the namespace that it needs"
    )]
    let mut again = Command::new("unshare");
    again.args(["--mount", "--propagation", "private"]).arg(std::env::current_exe().unwrap());
    match again.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(INSIDE, "1").output() {
        Err(error) => eprintln!("skipped: {test}: needs unshare (util-linux): {error}"),
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&text);
            text.lines().filter(|line| line.starts_with("skipped: ")).for_each(|line| eprintln!("{line}"));
            // A name that matches no test would pass without having run anything.
            assert!(output.status.success() && text.contains("1 passed"), "in the namespace:\n{text}");
        }
    }
}
