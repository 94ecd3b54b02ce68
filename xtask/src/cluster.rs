//! `cluster`: the bridge under a real kubelet, beside kubelet's own FlexVolume.
//!
//! The cluster is not made here: a kubelet is built for twenty minutes. It is one of a single node, for tests alone, whose
//! kubelet runs on this machine; where none is named, the chore says so and counts as skipped.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::keeper::Kept;
use crate::process;
use crate::workspace::Metadata;

/// The judge.
const JUDGE: &str = include_str!("cluster/judge.sh");

/// What names the cluster.
const NAMES: [&str; 4] =
    ["KUBECONFIG", "FLEXVOL_CLUSTER_KUBECTL", "FLEXVOL_CLUSTER_ROOT", "FLEXVOL_CLUSTER_PLUGINS"];

/// Arguments of `cluster`.
#[derive(Debug, Args)]
#[command(after_help = "\
The environment names the cluster:
  KUBECONFIG                       its API server, as an administrator
  FLEXVOL_CLUSTER_KUBECTL          the program kubectl
  FLEXVOL_CLUSTER_ROOT             a directory in which kubelet/ is kubelet's
  FLEXVOL_CLUSTER_PLUGINS          kubelet's FlexVolume directory
  FLEXVOL_CLUSTER_IMAGE            an image with busybox; localhost/flexvol/busybox:1 if it is not set
  FLEXVOL_CLUSTER_RESTART_KUBELET  a command that does so; without it that part is skipped
  FLEXVOL_CLUSTER_SIDECARS         a directory with csi-attacher, csi-provisioner and csi-resizer; parts are skipped without them
  FLEXVOL_CLUSTER_IMPORT           a command that imports the image archive named by its last argument, for the installer")]
pub(crate) struct Arguments {}

/// Runs the judge.
pub(crate) fn run(_: &Arguments) -> Result<()> {
    if let Some(name) = NAMES.iter().find(|name| std::env::var_os(name).is_none()) {
        eprintln!("skipped: cluster: {name} is not set; `cargo xtask cluster --help` says what is needed");
        println!("0 passed, 0 failed, 1 skipped");
        return Ok(());
    }
    for package in ["flexvolume-csi", "flexvolume-drivers", "flexvol"] {
        process::run(process::cargo().args(["build", "--quiet", "--package", package]))?;
    }
    let built = Metadata::load()?.target_directory.join("debug");
    let kept = Kept::new("flexvol-cluster-judge-")?;
    let judge = kept.folder().join("judge");
    fs::write(&judge, JUDGE).context("the judge")?;
    fs::set_permissions(&judge, fs::Permissions::from_mode(0o700)).context("the judge")?;
    let mut command = Command::new("bash");
    command.arg(&judge).env("BRIDGE", built.join("flexvol-csi")).env("LOOP", built.join("loop"));
    let installer = crate::workspace::root().join("deploy/driver-installer/daemonset.yaml");
    command.env("FLEXVOL", built.join("flexvol")).env("INSTALLER", installer);
    let status = command.status().context("bash")?;
    kept.clean()?;
    if status.success() { Ok(()) } else { bail!("the bridge does not behave as kubelet's FlexVolume does") }
}
