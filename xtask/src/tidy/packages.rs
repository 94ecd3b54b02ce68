//! Which crate may depend on which, and what every manifest must say.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::Finding;
use crate::workspace::{Metadata, Package};

/// The allowed arrows between our crates. Drivers and host meet only across the process boundary.
const ARROWS: [(&str, &[&str]); 7] = [
    ("flexvolume", &[]),
    ("flexvolume-os", &[]),
    ("flexvolume-drivers", &["flexvolume", "flexvolume-os"]),
    ("flexvolume-host", &["flexvolume", "flexvolume-os"]),
    ("flexvolume-csi", &["flexvolume-host"]),
    ("flexvol", &["flexvolume-host"]),
    ("xtask", &[]),
];

/// Dependencies on our crates for tests alone: the fakes and fail points are features of `flexvolume-os`.
const TEST_ARROWS: [(&str, &str); 1] = [("flexvol", "flexvolume-os")];

/// Foreign crates that only some of ours may use.
const CONFINED: [(&str, &[&str]); 5] = [
    ("tokio", &["flexvolume-csi"]),
    ("tonic", &["flexvolume-csi"]),
    ("clap", &["flexvol", "flexvolume-csi", "xtask"]),
    ("anyhow", &["flexvol", "xtask"]),
    ("libc", &[]),
];

/// The only place that a locked package may come from.
const SOURCE: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Checks every member, the lock file and cargo's configuration.
pub(super) fn check(root: &Path, metadata: &Metadata) -> Result<Vec<Finding>> {
    let ours: Vec<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    let mut findings = Vec::new();
    for package in &metadata.packages {
        let manifest = fs::read_to_string(&package.manifest_path)
            .with_context(|| format!("cannot read {}", package.manifest_path.display()))?;
        let file = package.manifest_path.strip_prefix(root).unwrap_or(&package.manifest_path);
        findings.extend(arrows(package, &ours, file, &manifest));
        findings.extend(lints(file, &manifest));
    }
    let lock = fs::read_to_string(root.join("Cargo.lock")).context("cannot read Cargo.lock")?;
    findings.extend(lock_sources(&lock));
    let config = fs::read_to_string(root.join(".cargo/config.toml")).unwrap_or_default();
    findings.extend(cargo_config(&config));
    Ok(findings)
}

fn arrows(package: &Package, ours: &[&str], file: &Path, manifest: &str) -> Vec<Finding> {
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == package.name) else {
        let text = "a new crate: add its allowed arrows to xtask/src/tidy/packages.rs and to ARCHITECTURE.md"
            .to_owned();
        return vec![Finding { file: file.to_owned(), line: 1, rule: "arrow", text }];
    };
    let mut findings = Vec::new();
    for dependency in &package.dependencies {
        let name = dependency.name.as_str();
        let is_test_arrow =
            dependency.kind.as_deref() == Some("dev") && TEST_ARROWS.contains(&(&package.name, name));
        let forbidden = ours.contains(&name) && !allowed.contains(&name) && !is_test_arrow;
        let confined =
            CONFINED.iter().any(|(foreign, homes)| *foreign == name && !homes.contains(&&*package.name));
        if forbidden || confined {
            let line = manifest.lines().position(|line| line.starts_with(name)).map_or(1, |at| at + 1);
            let text =
                format!("{} may not depend on {name}: see the arrows in ARCHITECTURE.md", package.name);
            findings.push(Finding { file: file.to_owned(), line, rule: "arrow", text });
        }
    }
    findings
}

fn lints(file: &Path, manifest: &str) -> Option<Finding> {
    let mut lines = manifest.lines().map(str::trim).skip_while(|line| *line != "[lints]").skip(1);
    let inherits = lines.any(|line| line.replace(' ', "") == "workspace=true");
    let text = "the workspace's lints are not switched on: add `[lints]` with `workspace = true`".to_owned();
    (!inherits).then(|| Finding { file: file.to_owned(), line: 1, rule: "lints", text })
}

fn lock_sources(lock: &str) -> Vec<Finding> {
    let foreign =
        |line: &str| line.strip_prefix("source = ").is_some_and(|source| source.trim_matches('"') != SOURCE);
    let text = "a package from elsewhere than crates.io: depend on a published version";
    let lines = lock.lines().enumerate().filter(|(_, line)| foreign(line));
    lines
        .map(|(at, _)| Finding {
            file: "Cargo.lock".into(),
            line: at + 1,
            rule: "lock",
            text: text.to_owned(),
        })
        .collect()
}

fn cargo_config(config: &str) -> Vec<Finding> {
    let local =
        |line: &str| ["[source", "[registr", "[net", "[http"].iter().any(|start| line.starts_with(start));
    let text = "settings of one machine do not belong here: put them in cargo's own configuration directory";
    let lines = config.lines().enumerate().filter(|(_, line)| local(line));
    lines
        .map(|(at, _)| Finding {
            file: ".cargo/config.toml".into(),
            line: at + 1,
            rule: "machine",
            text: text.to_owned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Dependency;

    const OURS: [&str; 4] = ["flexvolume", "flexvolume-os", "flexvolume-host", "flexvol"];

    fn found(name: &str, dependency: &str, kind: Option<&str>) -> Vec<Finding> {
        let dependency = Dependency { name: dependency.to_owned(), kind: kind.map(str::to_owned) };
        let package = Package {
            name: name.to_owned(),
            manifest_path: "".into(),
            dependencies: vec![dependency],
            targets: vec![],
        };
        arrows(&package, &OURS, Path::new("Cargo.toml"), "[dependencies]\nflexvolume-host = 1\n")
    }

    #[test]
    fn an_arrow_that_is_not_listed_is_found_at_its_line() {
        let findings = found("flexvolume-drivers", "flexvolume-host", None);
        assert_eq!((findings[0].rule, findings[0].line), ("arrow", 2));
        assert_eq!(found("flexvolume-drivers", "flexvolume-os", None), []);
    }

    #[test]
    fn a_test_arrow_is_for_tests_only() {
        assert_eq!(found("flexvol", "flexvolume-os", Some("dev")), []);
        assert_eq!(found("flexvol", "flexvolume-os", None).len(), 1);
    }

    #[test]
    fn a_confined_crate_and_a_new_crate_are_found() {
        assert_eq!(found("flexvolume-host", "tokio", None).len(), 1);
        assert_eq!(found("flexvolume-more", "serde", None)[0].rule, "arrow");
    }

    #[test]
    fn a_manifest_without_the_lints_is_found() {
        let rule = |manifest| lints(Path::new("Cargo.toml"), manifest).map(|finding| finding.rule);
        assert_eq!(rule("[package]\nedition.workspace = true\n"), Some("lints"));
        assert_eq!(rule("[lints]\nworkspace = true\n"), None);
    }

    #[test]
    fn a_package_from_elsewhere_is_found() {
        let lock = format!("source = \"{SOURCE}\"\nsource = \"git+https://example.org/a\"\n");
        let lines: Vec<usize> = lock_sources(&lock).into_iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [2]);
    }

    #[test]
    fn a_registry_of_one_machine_is_found() {
        assert_eq!(cargo_config("[alias]\nx = \"y\"\n[source.crates-io]\n")[0].line, 3);
        assert_eq!(cargo_config("[alias]\n"), []);
    }
}
