//! What the sidecars may do: the least that their own documentation asks for.

use std::collections::BTreeMap;

use super::fill;

/// For external-attacher.
pub(super) const ATTACHING: &str = r#"  - apiGroups: [""]
    resources: [persistentvolumes]
    verbs: [get, list, watch, patch]
  - apiGroups: [storage.k8s.io]
    resources: [csinodes]
    verbs: [get, list, watch]
  - apiGroups: [storage.k8s.io]
    resources: [volumeattachments]
    verbs: [get, list, watch, patch]
  - apiGroups: [storage.k8s.io]
    resources: [volumeattachments/status]
    verbs: [patch]"#;

/// For external-provisioner.
pub(super) const PROVISIONING: &str = r#"  - apiGroups: [""]
    resources: [persistentvolumes]
    verbs: [get, list, watch, create, patch, delete]
  - apiGroups: [""]
    resources: [persistentvolumeclaims]
    verbs: [get, list, watch, update]
  - apiGroups: [storage.k8s.io]
    resources: [storageclasses, csinodes, volumeattachments]
    verbs: [get, list, watch]
  - apiGroups: [""]
    resources: [events]
    verbs: [list, watch, create, update, patch]
  - apiGroups: [""]
    resources: [nodes]
    verbs: [get, list, watch]"#;

/// For external-provisioner, to publish how much room there is.
pub(super) const CAPACITY: &str = r#"  - apiGroups: [storage.k8s.io]
    resources: [csistoragecapacities]
    verbs: [get, list, watch, create, update, patch, delete]
  - apiGroups: [""]
    resources: [pods]
    verbs: [get]
  - apiGroups: [apps]
    resources: [daemonsets]
    verbs: [get]"#;

/// For external-resizer.
pub(super) const RESIZING: &str = r#"  - apiGroups: [""]
    resources: [persistentvolumes]
    verbs: [get, list, watch, patch]
  - apiGroups: [""]
    resources: [persistentvolumeclaims, pods]
    verbs: [get, list, watch]
  - apiGroups: [""]
    resources: [persistentvolumeclaims/status]
    verbs: [patch]
  - apiGroups: [""]
    resources: [events]
    verbs: [list, watch, create, update, patch]"#;

/// A role with these rights for an account.
pub(super) fn of(account: &str, words: &BTreeMap<&str, String>, rights: &[&str]) -> String {
    let mut words = words.clone();
    words.insert("account", account.to_owned());
    words.insert("rules", rights.join("\n"));
    fill(include_str!("rbac.yaml"), &words)
}
