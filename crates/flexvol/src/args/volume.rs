//! Flags of `flexvol volume` and `flexvol doctor`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use flexvolume_host::contract::{Bytes, Orphan};

use super::duration;

/// `flexvol volume …`.
#[derive(Debug, Subcommand)]
pub(crate) enum VolumeCommand {
    /// List the volumes of drivers that keep some on this node, and the room that is left
    List(VolumeListArguments),
    /// Show all that is known about one volume
    Show(VolumeShowArguments),
    /// Make a volume before a pod uses it
    Create(VolumeCreateArguments),
    /// Delete a volume and its data, or what nobody needs any more
    Delete(VolumeDeleteArguments),
    /// Grow a volume, mounted or not
    Resize(VolumeResizeArguments),
    /// Make a copy of a volume as it is now
    Snapshot(VolumeSnapshotArguments),
}

/// The driver and the pool.
#[derive(Debug, Args)]
pub(crate) struct PoolArguments {
    /// The driver, vendor/driver; the vendor may be left out where the name is clear
    #[arg(long, short, value_name = "DRIVER")]
    pub(crate) driver: String,
    #[command(flatten)]
    pub(crate) options: PoolOptions,
}

/// What is said of the volume and its pool, as in a manifest.
#[derive(Debug, Args)]
pub(crate) struct PoolOptions {
    /// Options as in a manifest: those that say where the volume lies, such as directory or volumegroup
    #[arg(value_name = "KEY=VALUE")]
    pub(crate) options: Vec<String>,
    /// JSON file with options; - for standard input. A KEY=VALUE wins over it
    #[arg(long = "options", value_name = "FILE")]
    pub(crate) options_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
An orphan is what nobody seems to need, or nobody can use:
  noRecord     data of which the driver has no record
  noData       a record without data
  podGone      made for a pod that is gone from this node
  halfMade     left by a creation that was interrupted
  halfRemoved  left by a deletion that was interrupted

Examples:
  flexvol volume list
  flexvol volume list --driver loop --orphans
  flexvol volume list --driver lvm volumegroup=data --output json")]
pub(crate) struct VolumeListArguments {
    /// The driver [default: every driver that keeps volumes]
    #[arg(long, short, value_name = "DRIVER")]
    pub(crate) driver: Option<String>,
    /// Only orphans
    #[arg(long)]
    pub(crate) orphans: bool,
    #[command(flatten)]
    pub(crate) pool: PoolOptions,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  flexvol volume show notes --driver loop
  flexvol volume show notes --driver loop directory=/srv/pool --output json")]
pub(crate) struct VolumeShowArguments {
    /// The volume's name
    pub(crate) volume: String,
    #[command(flatten)]
    pub(crate) pool: PoolArguments,
}

#[derive(Debug, Args)]
#[command(after_help = "\
A volume that is there already with these properties is left as it is. Options are those of a manifest that will use the
volume; the driver's page says which there are. An unknown one is an error.

Examples:
  flexvol volume create notes --driver loop --size 1Gi
  flexvol volume create notes --driver loop --size 10Gi --fs-type xfs allocation=thin directory=/srv/pool
  flexvol volume create notes --driver lvm --size 1Gi volumegroup=data")]
pub(crate) struct VolumeCreateArguments {
    /// The volume's name
    pub(crate) volume: String,
    /// Its size, such as 512Mi, 1.5Gi or 10G
    #[arg(long, value_name = "SIZE", value_parser = Bytes::parse_size, allow_hyphen_values = true)]
    pub(crate) size: Option<Bytes>,
    /// Its file system
    #[arg(long, value_name = "TYPE", default_value = "")]
    pub(crate) fs_type: String,
    #[command(flatten)]
    pub(crate) pool: PoolArguments,
}

#[derive(Debug, Args)]
#[command(after_help = "\
A volume that is mounted or attached is not deleted. What is there but is not clearly a volume of the driver is deleted
only with --orphan and the word for why it is one (`flexvol volume list` shows it), and orphans are deleted only with
--yes: without, it is shown what would be deleted. Deleting what is not there is fine.

Examples:
  flexvol volume delete notes --driver loop
  flexvol volume delete notes --driver loop --erase zero
  flexvol volume delete old --driver loop --orphan noRecord --yes
  flexvol volume delete --all-orphans --min-age 7d --driver loop-ephemeral")]
pub(crate) struct VolumeDeleteArguments {
    /// The volume's name
    #[arg(required_unless_present = "all_orphans")]
    pub(crate) volume: Option<String>,
    /// What happens to the data on the disk [default: what was said when the volume was made]
    #[arg(long, value_enum, value_name = "HOW")]
    pub(crate) erase: Option<EraseWord>,
    /// Why nobody needs it
    #[arg(long, value_name = "WHY", value_parser = orphan)]
    pub(crate) orphan: Option<Orphan>,
    /// Delete all orphans of the pool; VOLUME is not given then
    #[arg(long, conflicts_with_all = ["orphan", "volume"])]
    pub(crate) all_orphans: bool,
    /// Of all orphans only those that are at least so old
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "all_orphans")]
    pub(crate) min_age: Option<Duration>,
    /// Show what would be deleted
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Delete orphans
    #[arg(long, short)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) pool: PoolArguments,
}

/// `--erase`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EraseWord {
    /// Its space is given back
    None,
    /// The disk is told that its space is free
    Discard,
    /// It is overwritten with zeros, which takes its time and can be interrupted
    Zero,
}

impl EraseWord {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Discard => "discard",
            Self::Zero => "zero",
        }
    }
}

fn orphan(word: &str) -> Result<Orphan, String> {
    Orphan::parse(word).ok_or_else(|| format!("it is one of {}", Orphan::ALL.map(Orphan::as_str).join(", ")))
}

#[derive(Debug, Args)]
#[command(after_help = "\
Where the volume is mounted on this node, its file system grows with it; else the next mount makes it larger. A volume
never shrinks. The size in manifests stays yours to change.

Examples:
  flexvol volume resize notes 2Gi --driver loop")]
pub(crate) struct VolumeResizeArguments {
    /// The volume's name
    pub(crate) volume: String,
    /// The size that it shall have
    #[arg(value_name = "SIZE", value_parser = Bytes::parse_size, allow_hyphen_values = true)]
    pub(crate) size: Bytes,
    #[command(flatten)]
    pub(crate) pool: PoolArguments,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The copy has the content of the volume, its properties unless options say otherwise, and a file system UUID of its own, so
that both can be mounted. Whether the volume may be in use meanwhile depends on its driver.

Examples:
  flexvol volume snapshot notes notes-monday --driver loop
  flexvol volume snapshot notes larger --driver loop size=2Gi")]
pub(crate) struct VolumeSnapshotArguments {
    /// The volume's name
    pub(crate) volume: String,
    /// The name of the copy
    pub(crate) copy: String,
    #[command(flatten)]
    pub(crate) pool: PoolArguments,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The exit code is 1 if something does not work.

Examples:
  flexvol doctor loop
  flexvol doctor lvm volumegroup=data --output json
  flexvol doctor nfs files.example.com
  flexvol doctor cifs files.example.com")]
pub(crate) struct DoctorArguments {
    /// The driver, vendor/driver; the vendor may be left out where the name is clear
    pub(crate) driver: String,
    /// The server to ask, for a driver of remote storage; or options as in a manifest (address=ADDRESS is the same)
    #[arg(value_name = "ADDRESS|KEY=VALUE")]
    pub(crate) subject: Vec<String>,
    /// JSON file with options; - for standard input. A KEY=VALUE wins over it
    #[arg(long = "options", value_name = "FILE")]
    pub(crate) options_file: Option<PathBuf>,
}
