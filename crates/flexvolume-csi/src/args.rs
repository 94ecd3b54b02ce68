//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::bridge::Mode;

/// Serves FlexVolume drivers, unchanged, to Kubernetes through CSI.
#[derive(Debug, Parser)]
#[command(name = "flexvol-csi", version, about)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve drivers until told to end.
    Serve(Serve),
    /// Print what a driver needs in a cluster, from its own `init` answer and the configuration.
    Manifests(Manifests),
}

#[derive(Debug, Args)]
pub(crate) struct Manifests {
    /// The driver (`vendor/driver`).
    #[arg(long, value_name = "VENDOR/DRIVER")]
    pub(crate) driver: String,
    /// Where drivers are installed here.
    #[arg(long, value_name = "DIR", default_value = flexvolume_host::registry::DEFAULT_PLUGIN_DIR)]
    pub(crate) plugin_dir: Vec<PathBuf>,
    /// Where drivers are installed on the nodes.
    #[arg(long, value_name = "DIR", default_value = flexvolume_host::registry::DEFAULT_PLUGIN_DIR)]
    pub(crate) node_plugin_dir: String,
    /// The configuration file, which goes to the nodes.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The image of the bridge.
    #[arg(long, value_name = "IMAGE", default_value = "registry.example.com/flexvol-csi:0.1.0")]
    pub(crate) image: String,
    /// Where the bridge runs.
    #[arg(long, value_name = "NAME", default_value = "kube-system")]
    pub(crate) namespace: String,
    /// Kubelet's directory on the nodes.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/kubelet")]
    pub(crate) kubelet_root: String,
}

/// Where the programs of drivers run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Exec {
    /// In the mount namespace of process 1, with the host's tools; everything else of the bridge happens there too. In
    /// a container this needs hostPID and privilege.
    Host,
    /// Where the bridge was started.
    Here,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Serve this driver (`vendor/driver`), whether it is installed yet or not; may be repeated. Without it all drivers
    /// of the plugin directories are served, those that come later too.
    #[arg(long, value_name = "VENDOR/DRIVER")]
    pub(crate) driver: Vec<String>,
    /// Where drivers are installed; may be repeated, the first one wins.
    #[arg(long, value_name = "DIR", default_value = flexvolume_host::registry::DEFAULT_PLUGIN_DIR)]
    pub(crate) plugin_dir: Vec<PathBuf>,
    /// The node's name in Kubernetes; the host name if it is not given.
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    pub(crate) node_id: Option<String>,
    /// Which services are served.
    #[arg(long, value_enum, default_value = "node")]
    pub(crate) mode: Mode,
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The bridge's own directory: records, and where drivers mount.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/flexvol-csi")]
    pub(crate) root: PathBuf,
    /// Where records are kept that mean nothing after a reboot: what is mounted and staged. A file system in memory makes
    /// calls several times as fast, but it must outlive the process, as /run of the host does. The root if not given.
    #[arg(long, value_name = "DIR")]
    pub(crate) records: Option<PathBuf>,
    /// Kubelet's directory; volumes are published below it and nowhere else.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/kubelet")]
    pub(crate) kubelet_root: PathBuf,
    /// Settings of drivers, as for `flexvol`.
    #[arg(long, value_name = "DIR", default_value = flexvolume_host::settings::DEFAULT_SETTINGS_DIR)]
    pub(crate) settings_dir: PathBuf,
    /// Serve the one driver at this socket instead of the usual ones, and do not register it with kubelet.
    #[arg(long, value_name = "unix:///PATH.sock", env = "CSI_ENDPOINT")]
    pub(crate) endpoint: Option<String>,
    /// Where the programs of drivers run.
    #[arg(long, value_enum, default_value = "here")]
    pub(crate) exec: Exec,
    /// One limit for every driver call, whatever the settings say.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) deadline: Option<Duration>,
    /// Answer HTTP requests at this address with counters in the format of Prometheus.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) metrics: Option<std::net::SocketAddr>,
    /// How the log is written, to standard error. RUST_LOG sets what is in it.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) log_format: LogFormat,
}
