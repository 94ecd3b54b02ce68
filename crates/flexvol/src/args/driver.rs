//! Flags of `flexvol driver` and `flexvol call`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::install::{HealthArguments, InstallArguments, RemoveArguments, UpgradeArguments};
use flexvolume_host::reply::tolerant::NONSENSE;

/// `flexvol driver …`.
#[derive(Debug, Subcommand)]
pub(crate) enum DriverCommand {
    /// List the drivers in the plugin directories, broken ones included
    List(DriverListArguments),
    /// Show all that is known about one driver
    Describe(DescribeArguments),
    /// Install or upgrade a driver, in one step that nobody can see half done
    Install(InstallArguments),
    /// Replace the program of a driver that is installed
    Upgrade(UpgradeArguments),
    /// Remove a driver, or all that one installer has installed
    Remove(RemoveArguments),
    /// Tell whether the installer that writes a health file is at work
    Health(HealthArguments),
    /// Explain how an answer of a driver is understood, and what its author should change
    Explain(ExplainArguments),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  flexvol driver list
  flexvol driver list --plugin-dir ./plugins --output json")]
pub(crate) struct DriverListArguments {}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  flexvol driver describe flexvol/loop")]
pub(crate) struct DescribeArguments {
    /// The driver's name, vendor/driver
    pub(crate) name: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ./my-driver mount /mnt '{}' >out 2>err; flexvol driver explain mount --exit $? --stdout out --stderr err
  echo '{\"status\": \"Succes\"}' | flexvol driver explain init --exit 0 --stdout -")]
pub(crate) struct ExplainArguments {
    /// The call-out that was made, such as mount; `probe` for a verb that no driver knows
    pub(crate) call: String,
    /// Exit code of the driver
    #[arg(long, value_name = "CODE", default_value_t = 0, allow_negative_numbers = true)]
    pub(crate) exit: i32,
    /// The signal that ended the driver
    #[arg(long, value_name = "NUMBER", conflicts_with = "exit")]
    pub(crate) signal: Option<i32>,
    /// The driver was stopped at the deadline
    #[arg(long, conflicts_with_all = ["exit", "signal"])]
    pub(crate) timed_out: bool,
    /// File with what the driver wrote to standard output; - for standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) stdout: Option<PathBuf>,
    /// File with what the driver wrote to standard error; - for standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) stderr: Option<PathBuf>,
    /// File with what the driver wrote to standard output when it was asked for a verb that it does not know
    #[arg(long, value_name = "FILE")]
    pub(crate) nonsense_stdout: Option<PathBuf>,
    /// File with what it wrote to standard error then
    #[arg(long, value_name = "FILE")]
    pub(crate) nonsense_stderr: Option<PathBuf>,
    /// Its exit code then
    #[arg(long, value_name = "CODE", default_value_t = 0, allow_negative_numbers = true)]
    pub(crate) nonsense_exit: i32,
    /// The verb that it does not know
    #[arg(long, value_name = "VERB", default_value = NONSENSE)]
    pub(crate) nonsense_verb: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Arguments that a call-out takes and that are not given are made up as Kubernetes would: --mount-dir, --device,
--new-size and so on say them. Options stand on the command line as KEY=VALUE or come from a JSON file; secrets
come from files only, so that no other user sees them.

Examples:
  flexvol call flexvol/loop init
  flexvol call flexvol/loop mount --volume data --mount-dir /mnt/x size=64Mi
  flexvol call example.com/cifs mount --mount-dir /mnt/x --options share.json --secret password=pw.txt")]
pub(crate) struct CallArguments {
    /// The driver's name, vendor/driver, or the path of its program
    pub(crate) driver: String,
    /// The call-out, such as mount
    pub(crate) verb: String,
    /// Options of the volume
    #[arg(value_name = "KEY=VALUE")]
    pub(crate) options: Vec<String>,
    /// JSON file with options; - for standard input. A KEY=VALUE wins over it
    #[arg(long = "options", value_name = "FILE")]
    pub(crate) options_file: Option<PathBuf>,
    /// A secret and the file that holds it; - for standard input
    #[arg(long, value_name = "KEY=FILE")]
    pub(crate) secret: Vec<String>,
    /// Name of the volume
    #[arg(long, value_name = "NAME", default_value = "volume")]
    pub(crate) volume: String,
    /// File system type
    #[arg(long, value_name = "TYPE", default_value = "")]
    pub(crate) fs_type: String,
    /// Ask for a read-only volume
    #[arg(long)]
    pub(crate) read_only: bool,
    /// The mount dir, of mount, unmount, expandfs
    #[arg(long, value_name = "DIR")]
    pub(crate) mount_dir: Option<PathBuf>,
    /// The device mount path, of mountdevice, unmountdevice, expandvolume
    #[arg(long, value_name = "DIR")]
    pub(crate) device_mount_path: Option<PathBuf>,
    /// The device, of waitforattach, mountdevice, expandfs
    #[arg(long, value_name = "DEVICE", default_value = "")]
    pub(crate) device: String,
    /// The size that is wanted in bytes, of expandvolume and expandfs
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub(crate) new_size: u64,
    /// The size so far in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub(crate) old_size: u64,
    /// Pod that mount is for
    #[arg(long, value_name = "NAMESPACE/NAME", default_value = "default/pod")]
    pub(crate) pod: String,
    /// Uid of the pod
    #[arg(long, value_name = "UID", default_value = "default.pod")]
    pub(crate) pod_uid: String,
    /// fsGroup of the pod
    #[arg(long, value_name = "GID")]
    pub(crate) fs_group: Option<i64>,
}
