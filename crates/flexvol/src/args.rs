//! The command line as it was typed: plain values, nothing looked up.

mod agent;
mod conformance;
mod driver;
mod install;
mod pod;
mod volume;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use flexvolume_host::Reading;
use flexvolume_host::registry::DEFAULT_PLUGIN_DIR;
use flexvolume_host::settings::DEFAULT_SETTINGS_DIR;

pub(crate) use self::agent::*;
pub(crate) use self::conformance::*;
pub(crate) use self::driver::*;
pub(crate) use self::install::*;
pub(crate) use self::pod::*;
pub(crate) use self::volume::*;

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
    /// Directory with a settings file per driver, VENDOR~DRIVER.toml, and default.toml for all
    #[arg(long, global = true, env = "FLEXVOL_SETTINGS_DIR", value_name = "DIR", default_value = DEFAULT_SETTINGS_DIR, help_heading = "Global options")]
    pub(crate) settings_dir: PathBuf,
    /// How drivers are read: exactly as Kubernetes does, or as it takes to run every real driver
    #[arg(long, global = true, value_enum, default_value_t = ReadingWord::Tolerant, help_heading = "Global options")]
    pub(crate) reading: ReadingWord,
    /// Name of this node, as drivers are told it [default: the host name]
    #[arg(long, global = true, env = "FLEXVOL_NODE", value_name = "NAME", help_heading = "Global options")]
    pub(crate) node: Option<String>,
    /// Longest time for any one call of a driver [default: as the driver's settings say, else 30s for questions, 10m for waitforattach, 5m for the rest]
    #[arg(long, global = true, env = "FLEXVOL_DEADLINE", value_name = "TIME", value_parser = duration, help_heading = "Global options")]
    pub(crate) deadline: Option<Duration>,
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
    /// Examine a driver: what it promises, what it does, and what becomes of it when things go wrong
    Conformance(ConformanceArguments),
    /// Mount the volumes of the pods in manifests
    Mount(MountArguments),
    /// Unmount the volumes of pods
    Unmount(UnmountArguments),
    /// Volumes: list, make, copy, grow and delete those that drivers keep on this node
    #[command(subcommand)]
    Volume(VolumeCommand),
    /// Examine whether a driver finds all that it needs on this node
    Doctor(DoctorArguments),
    /// Grow a mounted volume and the file system on it
    Resize(ResizeArguments),
    /// Show what is mounted, for whom, and what is left to undo
    Status(StatusArguments),
    /// Keep the volumes of all pods in a directory of manifests mounted, until a signal comes
    Agent(AgentArguments),
    /// Wait until the agent has mounted a pod's volumes, or unmounted them
    Wait(WaitArguments),
    /// Show what the agent has done and met with
    Events(EventsArguments),
    /// Have the agent try again now
    Retry(RetryArguments),
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
    /// Print the figures of file systems (used by `status --usage` and `resize`, which do not wait for it)
    #[command(hide = true)]
    Statfs(StatfsArguments),
    /// Ask mounts whether they answer (used by `agent`, which does not wait for it)
    #[command(hide = true)]
    ProbeMounts(StatfsArguments),
    /// Become a driver where one directory only is writable (used by `conformance`)
    #[command(hide = true)]
    ConformanceFence(ConformanceFenceArguments),
    /// Become a command as root of a user namespace, with a private mount namespace
    #[command(hide = true)]
    InUserNamespace(InUserNamespaceArguments),
}

pub(crate) fn duration(text: &str) -> Result<Duration, humantime::DurationError> {
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
