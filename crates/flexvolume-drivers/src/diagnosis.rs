//! Is all that the loop drivers need on this node there, and in order?

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use flexvolume::{Bytes, Finding, Options, Orphan, VolumeDescription};
use flexvolume_os::command::Command;
use flexvolume_os::loop_device::{self, Attached, Availability, Caching};
use flexvolume_os::runner::Runner;
use flexvolume_os::tools::{self, Tool};

use crate::administration::Administration;
use crate::error::Result;
use crate::pool::Pool;
use crate::request::{self, PERSISTENT, refuse_unknown};
use crate::room;

/// How long a tool may take to say its version.
const VERSION_DEADLINE: Duration = Duration::from_secs(10);

/// The oldest kernel that can do what we ask of it (`LOOP_CONFIGURE`, `statx` with mount points).
const OLDEST_KERNEL: (u32, u32) = (5, 8);

/// The tools of one file system; the first one is asked for the version.
struct ToolSet {
    fs_type: &'static str,
    tools: &'static [Tool],
}

const TOOL_SETS: [ToolSet; 3] = [
    ToolSet { fs_type: "ext4", tools: &[tools::MKFS_EXT4, tools::E2FSCK, tools::RESIZE2FS, tools::TUNE2FS] },
    ToolSet { fs_type: "xfs", tools: &[tools::MKFS_XFS, tools::XFS_GROWFS, tools::XFS_ADMIN] },
    ToolSet { fs_type: "btrfs", tools: &[tools::MKFS_BTRFS, tools::BTRFS, tools::BTRFSTUNE] },
];

/// Everything that can be looked at; the options name the pool.
pub(crate) fn diagnose(driver: &Administration<'_>, options: &Options) -> Result<Vec<Finding>> {
    refuse_unknown(options, &PERSISTENT)?;
    let mut findings = vec![kernel(), loops()];
    findings.extend(file_system_tools(&*driver.system.runner));
    let directory = request::directory(options, driver.own_pool)?;
    let subject = format!("pool {}", directory.display());
    match driver.pool(options) {
        Ok(Some(pool)) => {
            findings.push(Finding::good(&*subject, "belongs to root, and nobody else can write to it"));
            findings.extend(room_of(&subject, &pool));
            findings.extend(volumes_of(driver, options, &subject));
        }
        Ok(None) => findings.push(Finding::good(&*subject, "does not exist yet; the first volume makes it")),
        Err(error) => {
            let remedy = "correct this first: no volume can be made or deleted here";
            findings.push(Finding::problem(&*subject, error.to_string(), remedy));
        }
    }
    Ok(findings)
}

fn kernel() -> Finding {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    let (major, minor) = OLDEST_KERNEL;
    match version_of_kernel(release) {
        Some(version) if version >= OLDEST_KERNEL => Finding::good("kernel", format!("Linux {release}")),
        Some(_) => Finding::problem(
            "kernel",
            format!("Linux {release} cannot attach a loop device in one step"),
            format!("use Linux {major}.{minor} or later"),
        ),
        None => Finding::warning("kernel", format!("its version {release:?} cannot be read"), ""),
    }
}

fn version_of_kernel(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn loops() -> Finding {
    match (loop_device::availability(), loop_device::list()) {
        (Availability::Unavailable(why), _) => {
            let remedy = "run `modprobe loop`, as root, outside of a container";
            Finding::problem("loop devices", why, remedy)
        }
        (_, Err(error)) => Finding::problem("loop devices", error.to_string(), "run the driver as root"),
        (Availability::Available, Ok(attached)) => {
            Finding::good("loop devices", format!("can be attached; {} are in use", attached.len()))
        }
    }
}

pub(crate) fn file_system_tools(runner: &dyn Runner) -> impl Iterator<Item = Finding> + '_ {
    TOOL_SETS.iter().map(|set| {
        let subject = format!("tools of {}", set.fs_type);
        let missing: Vec<_> = set.tools.iter().filter(|tool| tool.find().is_none()).collect();
        let Some(first) = missing.first() else {
            let version = set.tools.first().and_then(|tool| version(runner, *tool));
            return Finding::good(subject, version.unwrap_or_else(|| "are installed".to_owned()));
        };
        let names: Vec<_> = missing.iter().map(|tool| tool.name).collect();
        let what = format!("{} not installed", names.join(", "));
        let remedy = format!("install the package {}", first.package);
        // What nobody asks for is not missed.
        let serious = set.fs_type == "ext4";
        if serious {
            Finding::problem(subject, what, remedy)
        } else {
            Finding::warning(subject, what, remedy)
        }
    })
}

/// What a tool says of itself, on one line.
pub(crate) fn version(runner: &dyn Runner, tool: Tool) -> Option<String> {
    let command = Command::new(tool.program(), VERSION_DEADLINE).argument("-V").variable("LC_ALL", "C");
    let output = runner.run(&command).ok()?;
    let text = String::from_utf8_lossy(&output.combined.bytes).into_owned();
    let line = text.lines().find(|line| line.contains(|c: char| c.is_ascii_digit()))?;
    Some(line.trim().chars().take(100).collect())
}

fn room_of(subject: &str, pool: &Pool) -> Vec<Finding> {
    let capacity = match room::capacity(pool) {
        Ok(capacity) => capacity,
        Err(error) => return vec![Finding::problem(subject, error.to_string(), "is its disk in order?")],
    };
    let quantity = |bytes| Bytes::new(bytes).unwrap_or_default();
    let what = format!(
        "a new volume can have {} bytes of {}; {} are reserved, {} promised to thin volumes",
        capacity.free,
        capacity.total,
        quantity(capacity.reserved),
        quantity(capacity.thin.total),
    );
    let mut findings = vec![Finding::good(subject, what)];
    let remedy = "make room, delete orphans (`flexvol volume list` shows them), or enlarge the disk";
    findings.extend(capacity.warnings.into_iter().map(|warning| Finding::warning(subject, warning, remedy)));
    findings
}

fn volumes_of(driver: &Administration<'_>, options: &Options, subject: &str) -> Vec<Finding> {
    let everything = Options { volume_name: String::new(), ..options.clone() };
    let volumes = match driver.list(&everything) {
        Ok(volumes) => volumes,
        Err(error) => return vec![Finding::problem(subject, error.to_string(), "run the driver as root")],
    };
    let mut findings = vec![Finding::good(subject, format!("{} volumes", volumes.len()))];
    findings.extend(Orphan::ALL.into_iter().filter_map(|reason| orphans(&volumes, reason, subject)));
    let attached = loop_device::list().unwrap_or_default();
    for volume in volumes.iter().filter(|volume| volume.orphan.is_none()) {
        findings.extend(standing(volume));
        findings.extend(devices_of(volume, &attached));
    }
    findings
}

fn orphans(volumes: &[VolumeDescription], reason: Orphan, subject: &str) -> Option<Finding> {
    let found: Vec<_> = volumes.iter().filter(|volume| volume.orphan == Some(reason)).collect();
    let first = found.first()?;
    let what = format!("{} orphans of the kind {}, such as {:?}", found.len(), reason.as_str(), first.id);
    let remedy = "look at them with `flexvol volume list --orphans`, and delete those that nobody needs";
    Some(Finding::warning(subject, what, remedy))
}

fn standing(volume: &VolumeDescription) -> Option<Finding> {
    let subject = format!("volume {}", volume.id);
    let unknown = volume.state == flexvolume::VolumeState::Unknown;
    if unknown {
        return Some(Finding::problem(subject, &*volume.note, "restore what is missing or damaged"));
    }
    volume.note.contains("still has").then(|| {
        let remedy = "mount it, with the tools of its file system installed";
        Finding::warning(subject, &*volume.note, remedy)
    })
}

/// What is wrong with the loop devices on an image.
fn devices_of(volume: &VolumeDescription, attached: &[Attached]) -> Option<Finding> {
    let image = fs::metadata(Path::new(&volume.device)).ok()?;
    let attached: Vec<_> = attached.iter().filter(|found| found.file == (image.dev(), image.ino())).collect();
    let subject = format!("volume {}", volume.id);
    if attached.len() > 1 {
        let what = format!("is attached to {} loop devices, each with a truth of its own", attached.len());
        return Some(Finding::problem(subject, what, "detach all but the mounted one (`losetup -j IMAGE`)"));
    }
    let cached = attached.iter().any(|found| found.caching == Caching::PageCache);
    cached.then(|| {
        let what = "goes through the page cache, so its data is cached twice";
        let remedy = "put the pool on a file system with direct I/O in 512 bytes; a volume that shares blocks with a copy has none";
        Finding::warning(subject, what, remedy)
    })
}

#[cfg(test)]
mod tests {
    use flexvolume::Severity;
    use flexvolume_os::fake::{FakeRunner, output};

    use super::*;

    #[test]
    fn kernels_are_told_apart() {
        for (release, version) in [
            ("6.1.0-18-amd64", (6, 1)),
            ("5.8", (5, 8)),
            ("4.19.0", (4, 19)),
            ("5.10.16.3-microsoft-standard-WSL2", (5, 10)),
        ] {
            assert_eq!(version_of_kernel(release), Some(version));
        }
        assert_eq!(version_of_kernel("Linux"), None);
        assert_eq!(kernel().severity, Severity::Good, "{:?}", kernel());
    }

    #[test]
    fn the_version_of_a_tool_is_the_first_line_with_a_number() {
        let runner = FakeRunner::new();
        let name = tools::MKFS_EXT4.program().file_name().unwrap().to_string_lossy().into_owned();
        runner.always(
            &name,
            output(0, "\nmke2fs 1.47.0 (5-Feb-2023)\n\tUsing EXT2FS Library version 1.47.0\n"),
        );
        assert_eq!(version(&runner, tools::MKFS_EXT4).as_deref(), Some("mke2fs 1.47.0 (5-Feb-2023)"));
        runner.always(&name, output(1, "what?"));
        assert_eq!(version(&runner, tools::MKFS_EXT4), None);
    }
}
