//! `flexvol-csi manifests`: what a driver needs in a cluster, from its own `init` answer and the configuration.

mod rights;

use std::collections::BTreeMap;

use crate::bridge::Bridge;
use crate::settings::{Attach, FsGroup, Provisioning};

/// What an administrator says of the cluster.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    pub(crate) image: String,
    pub(crate) namespace: String,
    pub(crate) kubelet_root: String,
    pub(crate) plugin_dir: String,
    /// The configuration file's text, for the nodes.
    pub(crate) config: String,
}

/// What the driver needs.
#[derive(Debug, Clone, Copy)]
struct Needs {
    attacher: bool,
    provisioner: bool,
    resizer: bool,
    local: bool,
}

/// The newest versions at the time of writing that were seen together (Kubernetes 1.34 to 1.37).
const ATTACHER: (&str, &str) = ("attacher", "v4.12.0");
const PROVISIONER: (&str, &str) = ("provisioner", "v6.3.0");
const RESIZER: (&str, &str) = ("resizer", "v2.2.1");

/// The manifests for a driver, as one stream of documents.
///
/// # Errors
/// UNAVAILABLE when the driver is missing or fails.
pub(crate) fn manifests(bridge: &Bridge, cluster: &Cluster) -> Result<String, tonic::Status> {
    let plugin = bridge.plugin()?;
    let provisioning = bridge.settings.provisioning;
    let needs = Needs {
        attacher: bridge.attach(&plugin) == Attach::Controller,
        provisioner: provisioning == Provisioning::Template,
        resizer: bridge.expands(&plugin),
        local: provisioning == Provisioning::Exec,
    };
    let policy = match (plugin.capabilities().fs_group, bridge.settings.fs_group) {
        (false, FsGroup::Kubelet) => "None",
        _ => "File",
    };
    let label = bridge.name.as_str().to_lowercase().replace('.', "-");
    let mut words = words_of(cluster, needs);
    words.extend([
        ("name", bridge.name.to_string()),
        ("driver", bridge.driver.to_string()),
        ("label", label.clone()),
        ("fs-group-policy", policy.to_owned()),
    ]);
    let mut text = fill(include_str!("driver.yaml"), &words);
    text.push_str(&fill(include_str!("node.yaml"), &words));
    if needs.local {
        text.push_str(&fill(include_str!("local.yaml"), &words));
        text.push_str(&rights::of(
            &format!("{label}-local"),
            &words,
            &[rights::PROVISIONING, rights::CAPACITY],
        ));
    }
    let rights = needs.rights();
    if !rights.is_empty() {
        text.push_str(&fill(include_str!("controller.yaml"), &words));
        text.push_str(&rights::of(&format!("{label}-controller"), &words, &rights));
    }
    Ok(text)
}

impl Needs {
    /// The rights of what is done once for the cluster.
    fn rights(self) -> Vec<&'static str> {
        let all = [
            (self.attacher, rights::ATTACHING),
            (self.provisioner, rights::PROVISIONING),
            (self.resizer, rights::RESIZING),
        ];
        all.into_iter().filter_map(|(needed, rights)| needed.then_some(rights)).collect()
    }
}

fn words_of(cluster: &Cluster, needs: Needs) -> BTreeMap<&'static str, String> {
    [
        ("attach-required", needs.attacher.to_string()),
        ("storage-capacity", needs.local.to_string()),
        ("expansion", needs.resizer.to_string()),
        ("image", cluster.image.clone()),
        ("namespace", cluster.namespace.clone()),
        ("kubelet-root", cluster.kubelet_root.clone()),
        ("plugin-dir", cluster.plugin_dir.clone()),
        ("config", indented(&cluster.config)),
        ("sidecars", sidecars(needs)),
    ]
    .into()
}

fn sidecars(needs: Needs) -> String {
    let metadata = "            - --extra-create-metadata";
    let sidecars = [
        (needs.attacher, ATTACHER, ""),
        (needs.provisioner, PROVISIONER, metadata),
        (needs.resizer, RESIZER, ""),
    ];
    let texts = sidecars.into_iter().filter(|(needed, ..)| *needed).map(|(_, (name, version), more)| {
        let words = [("sidecar", name), ("version", version), ("more", more)]
            .map(|(key, word)| (key, word.to_owned()));
        fill(include_str!("sidecar.yaml"), &words.into())
    });
    texts.collect::<String>().trim_end().to_owned()
}

/// A block of text within a document.
fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}").trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// Puts words in the places of their names. A line that is left empty by that goes.
fn fill(template: &str, words: &BTreeMap<&str, String>) -> String {
    let mut text = String::new();
    for line in template.lines() {
        let mut filled = line.to_owned();
        for (name, word) in words {
            filled = filled.replace(&format!("{{{{{name}}}}}"), word);
        }
        if !filled.is_empty() || line.is_empty() {
            text.push_str(&filled);
            text.push('\n');
        }
    }
    text
}
