//! Flags of `flexvol driver install`, `upgrade`, `remove` and `health`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args};

use super::duration;

/// Who has installed what says nothing else.
const SOMEBODY: &str = "flexvol";

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).args(["file", "from"])), after_help = "\
The files are copied under a name that drivers' hosts do not look at, `init` is tried there, and only then they
are renamed into place, the program last. An installation that was cut short is cleaned up by the next one.

With --from every driver of a directory is installed or upgraded: `vendor~driver/driver` and the files beside it,
or, with --vendor, plain files. `init` is tried too, but its failure is only reported: a container may lack what the
node has.

Examples:
  flexvol driver install target/release/loop --name flexvol/loop
  flexvol driver install ./nfs.sh --name example.com/nfs --plugin-dir /opt/plugins --force
  flexvol driver install --from ./drivers --to auto
  flexvol driver install --from /drivers --to /host-plugin-dir --watch --health-file /run/flexvol/health.json")]
pub(crate) struct InstallArguments {
    /// The driver's program
    #[arg(requires = "name")]
    pub(crate) file: Option<PathBuf>,
    /// The name to install it under, vendor/driver
    #[arg(long, value_name = "VENDOR/DRIVER", conflicts_with = "from")]
    pub(crate) name: Option<String>,
    /// The SHA-256 that the program must have
    #[arg(long, value_name = "DIGITS", conflicts_with = "from")]
    pub(crate) sha256: Option<String>,
    /// Install it even though its `init` fails, or files beside it were changed
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) directory: DirectoryArguments,
    /// The name of this installer, by which `driver remove --installed-by` finds what it has installed
    #[arg(long, value_name = "NAME", env = "FLEXVOL_INSTALLER", default_value = SOMEBODY)]
    pub(crate) installed_by: String,
}

/// Flags that go with `--from`.
#[derive(Debug, Args)]
pub(crate) struct DirectoryArguments {
    /// Directory with drivers
    #[arg(long, value_name = "DIR", help_heading = "Many drivers at once")]
    pub(crate) from: Option<PathBuf>,
    /// Vendor of the drivers that are plain files in it
    #[arg(long, value_name = "VENDOR", requires = "from", help_heading = "Many drivers at once")]
    pub(crate) vendor: Option<String>,
    /// Plugin directory, or `auto`: what kubelet says, or the known place that is there [default: the first --plugin-dir]
    #[arg(long, value_name = "DIR", requires = "from", help_heading = "Many drivers at once")]
    pub(crate) to: Option<PathBuf>,
    /// The node's root directory, in which `--to auto` looks
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/",
        requires = "from",
        help_heading = "Many drivers at once"
    )]
    pub(crate) host_root: PathBuf,
    /// Refuse drivers whose `init` fails
    #[arg(long, requires = "from", help_heading = "Many drivers at once")]
    pub(crate) require_init: bool,
    /// Stay, and install again what has changed on either side
    #[arg(long, requires = "from", help_heading = "Many drivers at once")]
    pub(crate) watch: bool,
    /// Time between two looks
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "5s", requires = "watch", help_heading = "Many drivers at once")]
    pub(crate) interval: Duration,
    /// File that is written after each look: what is installed, as JSON
    #[arg(long, value_name = "FILE", requires = "from", help_heading = "Many drivers at once")]
    pub(crate) health_file: Option<PathBuf>,
    /// Remove what was installed when told to end (SIGTERM)
    #[arg(long, requires = "watch", env = "FLEXVOL_REMOVE_ON_EXIT", help_heading = "Many drivers at once")]
    pub(crate) remove_on_exit: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
As install, but only where the driver is installed.

Examples:
  flexvol driver upgrade target/release/loop --name flexvol/loop")]
pub(crate) struct UpgradeArguments {
    /// The driver's new program
    pub(crate) file: PathBuf,
    /// Its name, vendor/driver
    #[arg(long, value_name = "VENDOR/DRIVER")]
    pub(crate) name: String,
    /// The SHA-256 that the program must have
    #[arg(long, value_name = "DIGITS")]
    pub(crate) sha256: Option<String>,
    /// Install it even though its `init` fails
    #[arg(long)]
    pub(crate) force: bool,
    /// The name of this installer
    #[arg(long, value_name = "NAME", env = "FLEXVOL_INSTALLER", default_value = SOMEBODY)]
    pub(crate) installed_by: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Only what was installed is deleted. A driver directory with other files in it is left alone.

Examples:
  flexvol driver remove flexvol/loop
  flexvol driver remove --installed-by driver-installer")]
pub(crate) struct RemoveArguments {
    /// The driver's name, vendor/driver
    #[arg(required_unless_present = "installed_by")]
    pub(crate) name: Option<String>,
    /// Remove all drivers that the installer of this name has installed
    #[arg(long, value_name = "NAME", conflicts_with = "name")]
    pub(crate) installed_by: Option<String>,
    /// Remove it even though volumes of it are on record; they cannot be unmounted until it is back
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Ends with 0 if the installer has looked lately, else with 1.

Examples:
  flexvol driver health --health-file /run/flexvol/health.json
  flexvol driver health --health-file /run/flexvol/health.json --ready --output json")]
pub(crate) struct HealthArguments {
    /// The file that `driver install --health-file` writes
    #[arg(long, value_name = "FILE")]
    pub(crate) health_file: PathBuf,
    /// How old it may be
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "1m")]
    pub(crate) max_age: Duration,
    /// Also ask that every driver is in place
    #[arg(long)]
    pub(crate) ready: bool,
}
