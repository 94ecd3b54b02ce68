//! Manifests in, pods or errors out: every directory in `tests/manifests` is a case. Its `.yaml` and `.json` files are
//! the input, `expected.txt` is what must come out. A directory whose name ends in `-strict` is read strictly. With
//! `UPDATE_EXPECTED=1` in the environment the expectations are written anew, to be reviewed.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use flexvol::manifest::read::{Document, parse};
use flexvol::manifest::resolve::{PodPlan, Workload, workload};
use flexvol::manifest::{Container, ManifestError};
use flexvolume_host::contract::Access;
use flexvolume_host::spec::VolumeSpec;
use flexvolume_host::{Reading, SecretSource as _};

#[test]
fn every_case_comes_out_as_expected() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests");
    let mut directories: Vec<PathBuf> =
        fs::read_dir(cases).unwrap().map(|entry| entry.unwrap().path()).collect();
    directories.sort();
    assert!(directories.len() >= 40, "cases are missing");
    let wrong: Vec<String> = directories.iter().filter_map(|directory| check(directory)).collect();
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), directories.len(), wrong.join("\n"));
}

/// Every manifest in the documentation, as somebody who copies it would have it read.
#[test]
fn the_manifests_of_the_documentation_are_read() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let pages = fs::read_dir(docs).unwrap().map(|entry| entry.unwrap().path());
    let mut blocks = 0;
    for page in pages.filter(|page| page.extension().is_some_and(|extension| extension == "md")) {
        for manifest in manifests_of(&fs::read_to_string(&page).unwrap()) {
            let parsed = parse(&page, &manifest);
            let documents = parsed.map_err(|error| vec![error]).map(|nodes| {
                nodes.into_iter().map(|root| Document { file: page.clone(), root }).collect::<Vec<_>>()
            });
            let read = documents.and_then(|documents| workload(&documents, Reading::Strict));
            let pods =
                read.unwrap_or_else(|errors| panic!("{}: {errors:?} in\n{manifest}", page.display())).pods;
            assert!(pods.iter().all(|plan| !plan.volumes.is_empty()), "{}: {manifest}", page.display());
            assert_eq!(pods.is_empty(), !manifest.contains("kind: Pod\n"), "{}: {manifest}", page.display());
            blocks += 1;
        }
    }
    assert!(blocks >= 4, "only {blocks} manifests were found");
}

/// The YAML blocks of a page that are manifests a person could apply: those with a kind of Kubernetes' own.
fn manifests_of(page: &str) -> Vec<String> {
    let blocks = page.split("\n```yaml\n").skip(1).map(|rest| rest.split("\n```").next().unwrap_or_default());
    let is_manifest = |block: &&str| block.starts_with("apiVersion: v1\n");
    blocks.filter(is_manifest).map(|block| format!("{block}\n")).collect()
}

/// Whatever is cut off, doubled or damaged: an answer, never a panic.
#[test]
fn damaged_manifests_are_answered() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests");
    for directory in fs::read_dir(cases).unwrap() {
        for file in fs::read_dir(directory.unwrap().path()).unwrap() {
            let text = fs::read(file.unwrap().path()).unwrap();
            // An alias bomb takes its time.
            if text.len() > 3000 || text.windows(4).any(|part| part == b"*a7,") {
                continue;
            }
            for damaged in damages(&text) {
                let text = String::from_utf8_lossy(&damaged);
                let name = Path::new("damaged.yaml");
                if let Ok(nodes) = parse(name, &text) {
                    let read: Vec<_> =
                        nodes.into_iter().map(|root| Document { file: name.to_owned(), root }).collect();
                    let _ = workload(&read, Reading::Tolerant);
                }
            }
        }
    }
}

/// The same text cut, with a byte changed, with a line doubled; always the same ones.
fn damages(text: &[u8]) -> Vec<Vec<u8>> {
    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    let mut damages: Vec<Vec<u8>> = (0..lines.len())
        .map(|twice| {
            lines
                .iter()
                .enumerate()
                .flat_map(|(at, line)| line.repeat(1 + usize::from(at == twice)))
                .collect()
        })
        .collect();
    for (at, byte) in (0..text.len()).step_by(text.len() / 12 + 1).zip(b":{}[]\"'&*-\0\xff".iter().cycle()) {
        damages.push(text[..at].to_vec());
        let mut changed = text.to_vec();
        changed[at] = *byte;
        damages.push(changed);
    }
    damages
}

fn check(directory: &Path) -> Option<String> {
    let reading =
        if directory.to_str().unwrap().ends_with("-strict") { Reading::Strict } else { Reading::Tolerant };
    let got =
        match documents(directory).map_err(|error| vec![error]).and_then(|read| workload(&read, reading)) {
            Ok(workload) => shown(&workload),
            Err(errors) => errors.iter().map(|error| format!("error: {error}\n")).collect(),
        };
    let expectation = directory.join("expected.txt");
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&expectation, &got).unwrap();
    }
    let expected = fs::read_to_string(&expectation).unwrap_or_default();
    (got != expected).then(|| format!("--- {}\nexpected:\n{expected}got:\n{got}", directory.display()))
}

fn documents(directory: &Path) -> Result<Vec<Document>, ManifestError> {
    let mut files: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml" || extension == "json"))
        .collect();
    files.sort();
    let mut documents = Vec::new();
    for file in files {
        let name = PathBuf::from(file.file_name().unwrap());
        let nodes = parse(&name, &fs::read_to_string(&file).unwrap())?;
        documents.extend(nodes.into_iter().map(|root| Document { file: name.clone(), root }));
    }
    Ok(documents)
}

fn shown(workload: &Workload) -> String {
    let mut text = String::new();
    for plan in &workload.pods {
        let pod = &plan.pod;
        writeln!(
            text,
            "pod {}/{} uid {} account {:?}",
            pod.namespace, pod.name, pod.uid, pod.service_account
        )
        .unwrap();
        if let Some(group) = plan.arguments.fs_group {
            writeln!(text, "  fsGroup {group} {:?}", plan.arguments.fs_group_change_policy).unwrap();
        }
        show_volumes(plan, workload, &mut text);
        plan.containers.iter().for_each(|container| show_container(container, &mut text));
    }
    workload.ignored.iter().for_each(|object| writeln!(text, "left alone: {object}").unwrap());
    text
}

fn show_volumes(plan: &PodPlan, workload: &Workload, text: &mut String) {
    for volume in &plan.volumes {
        let VolumeSpec { name, driver, fs_type, access, options, secret, source } = &volume.spec;
        let place = &plan.drivers[&volume.pod_volume];
        writeln!(text, "  volume {}: {name} by {driver} ({place})", volume.pod_volume).unwrap();
        writeln!(text, "    fsType {fs_type:?} {access:?} {options:?} {source:?}").unwrap();
        if let Some(reference) = secret {
            let namespace = reference.namespace.as_deref().unwrap_or(&plan.pod.namespace);
            let secret = workload.secrets.secret(namespace, &reference.name).unwrap();
            let data: Vec<_> = secret
                .data
                .iter()
                .map(|(key, value)| format!("{key}={:?}", String::from_utf8_lossy(value.expose())))
                .collect();
            writeln!(text, "    secret {namespace}/{} {}", reference.name, data.join(" ")).unwrap();
        }
    }
    for (name, kind) in &plan.other_volumes {
        writeln!(text, "  other volume {name}: {kind}").unwrap();
    }
}

fn show_container(container: &Container, text: &mut String) {
    writeln!(text, "  container {}", container.name).unwrap();
    for (name, value) in &container.environment {
        writeln!(text, "    env {name}={value:?}").unwrap();
    }
    for name in &container.computed_environment {
        writeln!(text, "    env {name} computed").unwrap();
    }
    for mount in &container.mounts {
        let access = if mount.access == Access::ReadOnly { "read-only" } else { "read-write" };
        let sub_path = mount.sub_path.as_deref().unwrap_or(Path::new("")).display();
        let mount_path = mount.mount_path.display();
        writeln!(text, "    {}/{sub_path} at {mount_path} {access}", mount.pod_volume).unwrap();
    }
}
