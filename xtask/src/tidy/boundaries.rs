//! Which file may do what to the machine.

use std::path::Path;

use syn::Attribute;
use syn::visit::Visit;

use super::Finding;
use super::source::SourceFile;

/// Something that only some files may do.
struct Boundary {
    rule: &'static str,
    /// The folder where the rule holds.
    folder: &'static str,
    /// Does this path (`std::fs::read`) do it?
    does: fn(&str) -> bool,
    /// The files or folders that may.
    allowed: &'static [&'static str],
    /// May tests do it?
    tests: Tests,
    text: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tests {
    Exempt,
    Included,
}

const BOUNDARIES: [Boundary; 5] = [
    Boundary {
        rule: "spawn",
        folder: "",
        does: spawns,
        // The host's examples are chores: they measure a bare start, and act as the world around a recorded driver.
        allowed: &[
            "crates/flexvolume-os/src/runner.rs",
            "crates/flexvolume-host/examples",
            "crates/flexvolume-csi/examples",
            "xtask",
        ],
        tests: Tests::Exempt,
        text: "only flexvolume-os/src/runner.rs starts programs: give it a `flexvolume_os::command::Command`",
    },
    Boundary {
        rule: "mount",
        folder: "",
        does: mounts,
        // Whole drivers that stand on the SDK alone: its front page, and the one of docs/writing-a-driver.md.
        allowed: &[
            "crates/flexvolume-os/src/mount.rs",
            // The child that can be killed while it waits for a server.
            "crates/flexvolume-os/src/network_mount/child.rs",
            "crates/flexvolume/examples/memory.rs",
            "crates/flexvolume/examples/shelf.rs",
        ],
        tests: Tests::Exempt,
        text: "only flexvolume-os/src/mount.rs mounts and unmounts, and network_mount/child.rs where a server is waited for: \
            use `flexvolume_os::mount::Mounter` or `flexvolume_os::network_mount::NetworkMounter`",
    },
    Boundary {
        rule: "unsafe",
        folder: "",
        does: |path| path == "unsafe" || path == "unsafe_code",
        allowed: &["crates/flexvolume-os/src/kernel.rs"],
        tests: Tests::Included,
        text: "only flexvolume-os/src/kernel.rs may be unsafe: find a safe crate, or add a checked wrapper there",
    },
    Boundary {
        rule: "contract-io",
        folder: "crates/flexvolume/src",
        does: touches_the_machine,
        allowed: &["crates/flexvolume/src/run.rs"],
        tests: Tests::Exempt,
        text: "the contract does no input or output outside run.rs: take what is needed as an argument",
    },
    Boundary {
        rule: "remove-recursively",
        folder: "",
        does: |path| path.ends_with("remove_dir_all"),
        allowed: &[],
        tests: Tests::Exempt,
        text: "a mount may lie below: remove only what is empty and ours, with `remove_file` and `remove_dir`",
    },
];

/// Checks what one file does.
pub(super) fn check(source: &SourceFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    for boundary in BOUNDARIES.iter().filter(|boundary| holds_in(boundary, &source.path)) {
        for (path, line) in &source.paths {
            let exempt = boundary.tests == Tests::Exempt && source.is_test(*line);
            if (boundary.does)(path) && !exempt {
                findings.push(source.finding(*line, boundary.rule, format!("`{path}`: {}", boundary.text)));
            }
        }
    }
    findings.extend(unexplained(source));
    findings.dedup();
    findings
}

fn holds_in(boundary: &Boundary, file: &Path) -> bool {
    file.starts_with(boundary.folder) && !boundary.allowed.iter().any(|allowed| file.starts_with(allowed))
}

fn spawns(path: &str) -> bool {
    let unix = path.strip_prefix("std::os::unix::process::").unwrap_or_default();
    unix.starts_with(['C', '*'])
        || ["std::process::Command", "std::process::*", "rustix::runtime", "libc"]
            .iter()
            .any(|start| path.starts_with(start))
}

fn mounts(path: &str) -> bool {
    let Some(name) = path.strip_prefix("rustix::mount::") else { return false };
    // Types such as `MountFlags` do nothing by themselves.
    name.starts_with(|first: char| first.is_lowercase() || first == '*')
}

fn touches_the_machine(path: &str) -> bool {
    let touches =
        ["std::fs", "std::net", "std::env", "std::process", "std::thread", "std::io::std", "rustix::"];
    touches.iter().any(|start| path.starts_with(start)) && path != "std::process::ExitCode"
}

/// Lints that are lifted without a word on why.
fn unexplained(source: &SourceFile) -> Vec<Finding> {
    let mut walk = Lifted { lines: Vec::new() };
    walk.visit_file(&source.tree);
    let text = "a lint is lifted without a reason: add `reason = \"...\"`, or do what the lint asks";
    walk.lines.iter().map(|line| source.finding(*line, "unexplained", text.to_owned())).collect()
}

struct Lifted {
    lines: Vec<usize>,
}

impl<'tree> Visit<'tree> for Lifted {
    fn visit_attribute(&mut self, attribute: &'tree Attribute) {
        let lifts = attribute.path().is_ident("allow") || attribute.path().is_ident("expect");
        let syn::Meta::List(list) = &attribute.meta else { return };
        let explained = list.tokens.clone().into_iter().any(|token| token.to_string() == "reason");
        if lifts && !explained {
            self.lines.push(attribute.pound_token.span.start().line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, text: &str) -> Vec<(&'static str, usize)> {
        let source = SourceFile::parse(Path::new(path), text).unwrap();
        check(&source).into_iter().map(|finding| (finding.rule, finding.line)).collect()
    }

    const HOST: &str = "crates/flexvolume-host/src/registry.rs";

    #[test]
    fn spawning_is_found_under_every_name() {
        for text in [
            "fn f() { std::process::Command::new(a); }",
            "use std::process::Command; fn f() {}",
            "use std::process::*; fn f() {}",
            "use std::process as p; fn f() { p::Command::new(a); }",
            "use std::{fs, process}; fn f() { dbg!(process::Command::new(a)); }",
            "use std::os::unix::process::CommandExt;",
        ] {
            let found = rules(HOST, text);
            assert!(!found.is_empty() && found.iter().all(|(rule, _)| *rule == "spawn"), "{text}: {found:?}");
        }
        assert_eq!(rules(HOST, "use flexvolume_os::command::Command; fn f() { Command::new(a); }"), []);
        assert_eq!(rules(HOST, "use std::process::ExitCode;"), []);
        assert_eq!(rules(HOST, "use std::os::unix::process::ExitStatusExt;"), []);
        assert_eq!(rules("crates/flexvolume-os/src/runner.rs", "use std::process::Command;"), []);
        assert_eq!(rules("crates/flexvolume-host/tests/a.rs", "use std::process::Command;"), []);
        assert_eq!(rules(HOST, "#[cfg(test)]\nmod tests {\n use std::process::Command;\n}"), []);
    }

    #[test]
    fn mounting_is_found_and_its_types_are_not() {
        assert_eq!(rules(HOST, "\nfn f() { rustix::mount::mount_bind(a, b); }"), [("mount", 2)]);
        assert_eq!(rules(HOST, "use rustix::mount::{MountFlags, unmount};"), [("mount", 1)]);
        assert_eq!(rules(HOST, "use rustix::mount as m; fn f() { m::fsopen(); }"), [("mount", 1)]);
        assert_eq!(rules(HOST, "use rustix::mount::MountFlags;"), []);
        assert_eq!(rules("crates/flexvolume-os/src/mount.rs", "use rustix::mount::mount2;"), []);
    }

    #[test]
    fn unsafe_is_found_also_in_tests_and_macros() {
        assert_eq!(rules(HOST, "fn f() { unsafe { g() } }"), [("unsafe", 1)]);
        assert_eq!(rules("xtask/src/main.rs", "unsafe impl Send for A {}"), [("unsafe", 1)]);
        assert_eq!(rules("crates/a/tests/b.rs", "fn f() { m!(unsafe { g() }) }"), [("unsafe", 1)]);
        assert_eq!(rules(HOST, "#![allow(unsafe_code, reason = \"x\")]"), [("unsafe", 1)]);
        assert_eq!(rules("crates/flexvolume-os/src/kernel.rs", "fn f() { unsafe { g() } }"), []);
        assert_eq!(rules(HOST, "/// unsafe\nfn f() { \"unsafe\"; }"), []);
    }

    #[test]
    fn the_contract_does_no_input_or_output() {
        let contract = "crates/flexvolume/src/options.rs";
        assert_eq!(rules(contract, "use std::{fmt, fs};\nfn f() {}"), [("contract-io", 1)]);
        assert_eq!(rules(contract, "\nfn f() { std::io::stdout(); }"), [("contract-io", 2)]);
        assert_eq!(rules("crates/flexvolume/src/run.rs", "use std::fs;"), []);
        assert_eq!(rules(HOST, "use std::fs;"), []);
    }

    #[test]
    fn deleting_recursively_is_for_tests_only() {
        assert_eq!(
            rules(HOST, "use std::fs; fn f() { fs::remove_dir_all(a); }"),
            [("remove-recursively", 1)]
        );
        assert_eq!(rules("xtask/src/a.rs", "use std::fs::remove_dir_all as r;"), [("remove-recursively", 1)]);
        assert_eq!(rules(HOST, "#[cfg(test)]\nfn f() { std::fs::remove_dir_all(a); }"), []);
    }

    #[test]
    fn a_lint_is_lifted_with_a_reason_only() {
        assert_eq!(rules(HOST, "\n#[allow(missing_docs)] fn f() {}"), [("unexplained", 2)]);
        assert_eq!(rules(HOST, "#![expect(clippy::exit)]"), [("unexplained", 1)]);
        assert_eq!(rules(HOST, "#![expect(clippy::exit, reason = \"a binary\")]"), []);
        assert_eq!(rules(HOST, "#[doc(hidden)] fn f() {}"), []);
    }
}
