//! What an administrator sets per driver.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::messages::Mode;

/// Who attaches the volumes of a driver that declares `attach`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Attach {
    /// The controller service, which external-attacher calls; as kube-controller-manager did.
    Controller,
    /// Each node for itself, when a volume is staged.
    Node,
    /// Nobody: the driver is taken for one that does not attach.
    Off,
}

/// Who gives a volume to the pod's group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FsGroup {
    /// Kubelet; the driver is not told.
    #[default]
    Kubelet,
    /// The driver, which is told; nobody does anything more.
    Driver,
    /// The driver is told, and the bridge does what kubelet would have done.
    Both,
}

/// How pods may use a volume, in Kubernetes' words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[expect(clippy::enum_variant_names, reason = "the API's words")]
pub(crate) enum AccessMode {
    ReadWriteOnce,
    ReadWriteOncePod,
    ReadOnlyMany,
    ReadWriteMany,
}

impl AccessMode {
    /// What kubelet and the sidecars mean by a mode of CSI's (Kubernetes v1.37 `pkg/volume/csi/csi_client.go`).
    fn of(mode: Mode) -> Option<Self> {
        match mode {
            Mode::Unknown => None,
            Mode::SingleNodeWriter | Mode::SingleNodeMultiWriter => Some(Self::ReadWriteOnce),
            Mode::SingleNodeSingleWriter => Some(Self::ReadWriteOncePod),
            Mode::SingleNodeReaderOnly | Mode::MultiNodeReaderOnly => Some(Self::ReadOnlyMany),
            Mode::MultiNodeSingleWriter | Mode::MultiNodeMultiWriter => Some(Self::ReadWriteMany),
        }
    }
}

/// Whether volumes can grow while they are mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Expansion {
    /// If the driver has devices, on which the host can grow a file system itself, or needs no `expandfs`.
    #[default]
    Auto,
    /// The driver does it.
    On,
    /// They cannot.
    Off,
}

/// Where new volumes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Provisioning {
    /// Nowhere.
    #[default]
    Off,
    /// The parameters of the storage class, with substitutions, become the attributes. No driver is called: `mount`
    /// makes what is missing.
    Template,
    /// The driver's `createvolume` and `deletevolume`.
    Exec,
}

/// The settings of one driver.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Settings {
    /// The name for CSI, in the place of the usual one.
    pub(crate) name: Option<String>,
    /// Nobody has said: the controller, or the node where volumes are made on nodes.
    pub(crate) attach: Option<Attach>,
    pub(crate) fs_group: FsGroup,
    pub(crate) provisioning: Provisioning,
    pub(crate) expansion: Expansion,
    /// The modes that the driver is good for; nobody has said: all.
    pub(crate) access_modes: Option<Vec<AccessMode>>,
    /// On top of the parameters of a storage class.
    pub(crate) parameters: BTreeMap<String, String>,
}

impl Settings {
    /// Whether volumes may be used in this mode.
    pub(crate) fn allows(&self, mode: Mode) -> bool {
        self.access_modes
            .as_ref()
            .is_none_or(|modes| AccessMode::of(mode).is_some_and(|mode| modes.contains(&mode)))
    }
}
