//! The command line as it was typed: plain values, nothing looked up.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use flexvolume_host::Reading;
use flexvolume_host::registry::DEFAULT_PLUGIN_DIR;

/// Where volumes are mounted unless `--root` says otherwise. Laid out as kubelet's root directory, but not kubelet's own.
pub(crate) const DEFAULT_ROOT: &str = "/var/lib/flexvol/node";

const EXIT_CODES: &str = "\
Exit codes:
  0    done, or it was so already
  1    a step failed: a driver, a mount, a file
  2    the command line or a manifest is wrong; nothing was done
  3    there is no such driver, pod or container
  4    refused, because something would be lost; --force does it all the same, where a command has it
  `flexvol run` ends with the exit code of its command, 128+N when signal N ended it, and otherwise
  125  flexvol failed before or after the command
  126  the command cannot be executed
  127  the command was not found";

/// FlexVolume volumes on this machine: install drivers, mount the volumes of a pod, run commands with them.
#[derive(Debug, Parser)]
#[command(name = "flexvol", version, about, after_help = EXIT_CODES, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags that every command takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Directory for mounts and records, laid out as kubelet's root directory
    #[arg(long, global = true, env = "FLEXVOL_ROOT", value_name = "DIR", default_value = DEFAULT_ROOT, help_heading = "Global options")]
    pub(crate) root: PathBuf,
    /// Directory with drivers; give it several times to search several, the first hit counts
    #[arg(long, global = true, env = "FLEXVOL_PLUGIN_DIR", value_name = "DIR", value_delimiter = ':', default_value = DEFAULT_PLUGIN_DIR, help_heading = "Global options")]
    pub(crate) plugin_dir: Vec<PathBuf>,
    /// How drivers are read: exactly as Kubernetes does, or as it takes to run every real driver
    #[arg(long, global = true, value_enum, default_value_t = ReadingWord::Tolerant, help_heading = "Global options")]
    pub(crate) reading: ReadingWord,
    /// Name of this node, as drivers are told it [default: the host name]
    #[arg(long, global = true, env = "FLEXVOL_NODE", value_name = "NAME", help_heading = "Global options")]
    pub(crate) node: Option<String>,
    /// What is printed on standard output
    #[arg(long, short, global = true, value_enum, default_value_t = OutputFormat::Text, help_heading = "Global options")]
    pub(crate) output: OutputFormat,
    /// Log to standard error: -v what is done, -vv every detail
    #[arg(long, short, global = true, action = clap::ArgAction::Count, help_heading = "Global options")]
    pub(crate) verbose: u8,
    /// How the log is written
    #[arg(long, global = true, value_enum, default_value_t = OutputFormat::Text, help_heading = "Global options")]
    pub(crate) log_format: OutputFormat,
}

/// `--reading`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReadingWord {
    Strict,
    Tolerant,
}

impl From<ReadingWord> for Reading {
    fn from(word: ReadingWord) -> Self {
        match word {
            ReadingWord::Strict => Reading::Strict,
            ReadingWord::Tolerant => Reading::Tolerant,
        }
    }
}

/// `--output` and `--log-format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    Text,
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Drivers: list, describe, install, remove, and explain what one answered
    #[command(subcommand)]
    Driver(DriverCommand),
    /// Make one call-out by hand and show how the answer is understood
    Call(CallArguments),
    /// Mount the volumes of the pods in manifests
    Mount(MountArguments),
    /// Unmount the volumes of pods
    Unmount(UnmountArguments),
    /// Show what is mounted, for whom, and what is left to undo
    Status(StatusArguments),
    /// Run a command with a pod's volumes, in a mount namespace of its own
    Run(RunArguments),
    /// Print a completion script for a shell
    Completions(CompletionsArguments),
    /// Write the manual pages into a directory
    #[command(hide = true)]
    Man(ManArguments),
    /// Bind volumes in a mount namespace and become the command (used by `run`)
    #[command(hide = true)]
    ContainerInit(ContainerInitArguments),
    /// Become a command as root of a user namespace, with a private mount namespace
    #[command(hide = true)]
    InUserNamespace(InUserNamespaceArguments),
}

/// `flexvol driver …`.
#[derive(Debug, Subcommand)]
pub(crate) enum DriverCommand {
    /// List the drivers in the plugin directories, broken ones included
    List(DriverListArguments),
    /// Show all that is known about one driver
    Describe(DescribeArguments),
    /// Install or upgrade a driver, in one step that nobody can see half done
    Install(InstallArguments),
    /// Remove a driver
    Remove(RemoveArguments),
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
  flexvol driver describe flexvol.io/loop")]
pub(crate) struct DescribeArguments {
    /// The driver's name, vendor/driver
    pub(crate) name: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The program is copied under a name that drivers' hosts do not look at, its `init` is tried there, and only then
it is renamed into place. An installation that was cut short is cleaned up by the next one.

Examples:
  flexvol driver install target/release/loop --name flexvol.io/loop
  flexvol driver install ./nfs.sh --name example.com/nfs --plugin-dir /opt/plugins --force")]
pub(crate) struct InstallArguments {
    /// The driver's program
    pub(crate) file: PathBuf,
    /// The name to install it under, vendor/driver
    #[arg(long, value_name = "VENDOR/DRIVER")]
    pub(crate) name: String,
    /// Install it even though its `init` fails
    #[arg(long)]
    pub(crate) force: bool,
    /// Longest time for `init`
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "30s")]
    pub(crate) deadline: Duration,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Only the driver's own program is deleted. A driver directory with other files in it is left alone.

Examples:
  flexvol driver remove flexvol.io/loop")]
pub(crate) struct RemoveArguments {
    /// The driver's name, vendor/driver
    pub(crate) name: String,
    /// Remove it even though volumes of it are on record; they cannot be unmounted until it is back
    #[arg(long)]
    pub(crate) force: bool,
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
    /// Exit code of the driver when it was asked for a verb that it does not know
    #[arg(long, value_name = "CODE", default_value_t = 0, requires = "nonsense_stdout")]
    pub(crate) nonsense_exit: i32,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Arguments that a call-out takes and that are not given are made up as Kubernetes would: --mount-dir, --device,
--new-size and so on say them. Options stand on the command line as KEY=VALUE or come from a JSON file; secrets
come from files only, so that no other user sees them.

Examples:
  flexvol call flexvol.io/loop init
  flexvol call flexvol.io/loop mount --volume data --mount-dir /mnt/x size=64Mi
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
    /// Longest time for the call
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "2m")]
    pub(crate) deadline: Duration,
}

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
}

#[derive(Debug, Args)]
#[command(after_help = "\
Reads records and the mount table; calls no driver and touches no volume.

Examples:
  flexvol status
  flexvol status --output json")]
pub(crate) struct StatusArguments {}

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

fn duration(text: &str) -> Result<Duration, humantime::DurationError> {
    humantime::parse_duration(text)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Arguments;

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_visible_command_shows_examples() {
        fn check(command: &clap::Command, path: &str) {
            for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
                let path = format!("{path} {}", sub.get_name());
                if sub.has_subcommands() {
                    check(sub, &path);
                } else {
                    let help = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
                    assert!(help.contains("Examples:\n  "), "{path} shows no example");
                }
            }
        }
        check(&Arguments::command(), "flexvol");
    }
}
