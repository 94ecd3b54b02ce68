//! Flags of the commands about pods, and of the small ones.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use flexvolume_host::contract::Bytes;

#[derive(Debug, Args)]
#[command(after_help = "\
The manifests hold the pods and what they refer to: PersistentVolumeClaims, PersistentVolumes, Secrets. YAML or JSON,
several documents in a file, `kind: List`. Objects of other kinds are left alone. A pod without metadata.uid gets
NAMESPACE.NAME. Mounting twice changes nothing.

Examples:
  flexvol mount -f pod.yaml
  kubectl get pod/web pvc/data pv/disk -o yaml | flexvol mount -f -")]
pub(crate) struct MountArguments {
    /// Manifest; - for standard input
    #[arg(long = "file", short = 'f', value_name = "MANIFEST", required = true)]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Works from the records alone: of the manifests only the names and uids of the pods are read. What cannot be unmounted
stays on record and is tried again by the next call.

Examples:
  flexvol unmount -f pod.yaml
  flexvol unmount --pod default.web")]
pub(crate) struct UnmountArguments {
    /// Manifest; - for standard input
    #[arg(long = "file", short = 'f', value_name = "MANIFEST", required_unless_present = "pod")]
    pub(crate) files: Vec<PathBuf>,
    /// Uid of a pod, as `flexvol status` shows it
    #[arg(long, value_name = "UID")]
    pub(crate) pod: Vec<String>,
    /// Unmount even while a command of `flexvol run` uses the volumes; it keeps what it sees until it ends
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Reads records and the mount table; calls no driver and touches no volume. With --usage it looks at the volumes of
drivers that declare supportsMetrics, and calls no driver but for its `init`; a volume that does not answer within
two seconds is left alone. Where an agent works below --root, what it says follows; --watch shows that alone, again
and again.

Examples:
  flexvol status
  flexvol status --watch
  flexvol status --usage
  flexvol status --output json")]
pub(crate) struct StatusArguments {
    /// Show how full the pods' volumes are
    #[arg(long)]
    pub(crate) usage: bool,
    /// Show what the agent does, again each second until it is interrupted
    #[arg(long, conflicts_with = "usage")]
    pub(crate) watch: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The volume must be mounted. Its driver is told to grow the volume (`expandvolume`) and then the file system on it
(`expandfs`); what it leaves to the host is done with the file system's own tool. A volume never shrinks. A resize that
was interrupted goes on with the next one. The manifest stays yours: write the new size into it.

Examples:
  flexvol resize -f pod.yaml --size 128Mi
  flexvol resize --pod default.web --volume data --size 2Gi")]
pub(crate) struct ResizeArguments {
    /// Manifest; - for standard input
    #[arg(long = "file", short = 'f', value_name = "MANIFEST", required_unless_present = "pod")]
    pub(crate) files: Vec<PathBuf>,
    /// Uid of the pod, as `flexvol status` shows it
    #[arg(long, value_name = "UID", conflicts_with = "files", requires = "volume")]
    pub(crate) pod: Option<String>,
    /// Name of the volume in the pod, when it has several
    #[arg(long, value_name = "NAME")]
    pub(crate) volume: Option<String>,
    /// The size that it shall have, such as 128Mi or 2Gi
    #[arg(long, value_name = "SIZE", value_parser = Bytes::parse_size)]
    pub(crate) size: Bytes,
}

#[derive(Debug, Args)]
pub(crate) struct StatfsArguments {
    /// Directories
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Mounts the pod's volumes, binds each volumeMounts entry of the container at its mountPath in a private mount namespace,
and runs the command there, on this machine's file system. A mountPath that does not exist is made in that
namespace only. The volumes are unmounted when the last command that uses the pod has ended, also after a signal.

Examples:
  flexvol run -f pod.yaml -- sh -c 'echo hello >/data/greeting'
  flexvol run -f pod.yaml --container reader -- cat /data/greeting")]
pub(crate) struct RunArguments {
    /// Manifest; - for standard input
    #[arg(long = "file", short = 'f', value_name = "MANIFEST", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Name of the pod, when the manifests have several
    #[arg(long, value_name = "NAME")]
    pub(crate) pod: Option<String>,
    /// Name of the container [default: the first one]
    #[arg(long, value_name = "NAME")]
    pub(crate) container: Option<String>,
    /// Leave out volumes that are neither flexVolume nor a claim for one
    #[arg(long)]
    pub(crate) ignore_other_volumes: bool,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  flexvol completions bash >/usr/share/bash-completion/completions/flexvol")]
pub(crate) struct CompletionsArguments {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(crate) struct ManArguments {
    /// The directory, such as /usr/share/man/man1
    pub(crate) directory: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ContainerInitArguments {
    /// The plan as JSON
    pub(crate) plan: String,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct InUserNamespaceArguments {
    /// The command and its arguments
    #[arg(last = true, required = true)]
    pub(crate) command: Vec<OsString>,
}
