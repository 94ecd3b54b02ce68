//! Links, changelog, and words that tie the project to one machine.

use std::path::{Component, Path, PathBuf};

use super::Finding;
use super::files::TextFile;

/// Texts that name a place on somebody's machine. Written in two pieces, so that this file does not contain them.
const PLACES: [&str; 7] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/."),
    concat!("/Use", "rs/"),
    concat!("sha", "red/oracle"),
    concat!("sha", "red/corpus"),
    concat!("sha", "red/reference"),
    concat!("sha", "red/design"),
];

/// Checks every file.
pub(super) fn check(root: &Path, files: &[TextFile]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = files.iter().flat_map(places).collect();
    for file in files.iter().filter(|file| file.path.extension().is_some_and(|extension| extension == "md")) {
        findings.extend(links(file, |target| root.join(target).exists()));
    }
    let changelog = files.iter().find(|file| file.path == Path::new("CHANGELOG.md"));
    findings.extend(changelog_section(changelog.map(|file| file.text.as_str())));
    findings
}

fn places(file: &TextFile) -> Vec<Finding> {
    let named = |line: &str| {
        // A plugin directory of Kubernetes, the same on every node of that kind.
        let line = line.replace(concat!("/home", "/kubernetes/flexvolume"), "");
        PLACES.iter().find(|place| line.contains(**place)).copied()
    };
    let lines = file.text.lines().enumerate().filter_map(|(at, line)| Some((at, named(line)?)));
    lines
        .map(|(at, place)| {
            let text = format!(
                "`{place}` exists on one machine only: use a path below the workspace or a placeholder"
            );
            Finding { file: file.path.clone(), line: at + 1, rule: "machine", text }
        })
        .collect()
}

/// The relative links of a document whose target does not exist.
fn links(file: &TextFile, exists: impl Fn(&Path) -> bool) -> Vec<Finding> {
    let folder = file.path.parent().unwrap_or(Path::new(""));
    let mut findings = Vec::new();
    let mut fenced = false;
    for (at, line) in file.text.lines().enumerate() {
        fenced ^= line.trim_start().starts_with("```");
        let targets = link_targets(line).into_iter().filter(|target| !fenced && is_relative(target));
        for target in targets {
            let place = target.split('#').next().unwrap_or(target);
            if !exists(&resolve(folder, place)) {
                let text = format!(
                    "the link to `{target}` leads nowhere: name an existing file, relative to this one"
                );
                findings.push(Finding { file: file.path.clone(), line: at + 1, rule: "link", text });
            }
        }
    }
    findings
}

fn is_relative(target: &str) -> bool {
    !target.contains("://")
        && !target.starts_with(['#', '<'])
        && !target.starts_with("mailto:")
        && !target.is_empty()
}

/// `](target)` and `[name]: target`.
fn link_targets(line: &str) -> Vec<&str> {
    let inline = line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
    let definition =
        line.strip_prefix('[').and_then(|rest| rest.split_once("]: ")).map(|(_, target)| target.trim());
    inline.chain(definition).collect()
}

/// `folder/place` without `..` in it.
fn resolve(folder: &Path, place: &str) -> PathBuf {
    let mut resolved = PathBuf::new();
    for component in folder.join(place).components() {
        match component {
            Component::ParentDir => drop(resolved.pop()),
            Component::CurDir => {}
            other => resolved.push(other),
        }
    }
    resolved
}

/// A changelog that says nothing of what is coming or of the current version.
fn changelog_section(text: Option<&str>) -> Option<Finding> {
    let finding = |text: &str| Finding {
        file: "CHANGELOG.md".into(),
        line: 1,
        rule: "changelog",
        text: text.to_owned(),
    };
    let Some(text) = text else { return Some(finding("it does not exist: write what users will notice")) };
    let heading = |line: &str| {
        let title = line.strip_prefix("## ").unwrap_or_default().trim_start_matches('[');
        title.starts_with("Unreleased") || title.starts_with(env!("CARGO_PKG_VERSION"))
    };
    (!text.lines().any(heading)).then(|| {
        finding(concat!("it needs a section `## Unreleased` or `## ", env!("CARGO_PKG_VERSION"), "`"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> TextFile {
        TextFile { path: path.into(), text: text.to_owned() }
    }

    #[test]
    fn a_link_to_nowhere_is_found_at_its_line() {
        let text = "[a](here.md#part)\n[b](../up.md) [c](gone.md)\n[d]: lost.md\n[e](https://example.org/x)\n```\n[f](no.md)\n```\n";
        let exists = |target: &Path| [Path::new("docs/here.md"), Path::new("up.md")].contains(&target);
        let found = links(&file("docs/a.md", text), exists);
        assert_eq!(found.iter().map(|finding| finding.line).collect::<Vec<_>>(), [2, 3], "{found:?}");
    }

    #[test]
    fn a_place_on_one_machine_is_found() {
        for place in PLACES {
            let found = places(&file("a.rs", &format!("\n// see {place}x")));
            assert_eq!((found[0].rule, found[0].line), ("machine", 2));
        }
        assert_eq!(places(&file("a.rs", "// /var/lib/kubelet")), []);
    }

    #[test]
    fn a_changelog_without_the_coming_version_is_found() {
        assert_eq!(changelog_section(None).unwrap().rule, "changelog");
        assert_eq!(changelog_section(Some("# Changelog\n## 0.0.1\n")).unwrap().rule, "changelog");
        assert_eq!(changelog_section(Some("## [Unreleased]\n")), None);
        assert_eq!(changelog_section(Some(concat!("## ", env!("CARGO_PKG_VERSION"), "\n"))), None);
    }
}
