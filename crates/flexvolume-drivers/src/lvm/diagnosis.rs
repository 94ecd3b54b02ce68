//! Is all that the LVM drivers need on this node there, and in order?

use std::path::Path;

use flexvolume::{Bytes, Finding, Options, Orphan, VolumeDescription};
use flexvolume_os::tools;

use super::administration::Administration;
use super::error::Result;
use super::inventory::describe;
use super::lookup;
use super::name::VgName;
use super::report::{self, GroupReport, LogicalVolume};
use super::room;
use super::tool::{Lvm, NoReport};
use crate::diagnosis::file_system_tools;
use crate::inventory::Held;

/// The oldest LVM that has `--setautoactivation`.
const OLDEST: (u32, u32, u32) = (2, 3, 12);

/// Everything that can be looked at; the options name the group, or mean all of them.
pub(crate) fn diagnose(driver: &Administration<'_>, options: &Options) -> Result<Vec<Finding>> {
    let lvm = driver.lvm();
    let mut findings = vec![program(lvm), mapper(), udev()];
    findings.extend(file_system_tools(lvm.runner));
    if tools::BLKDISCARD.find().is_none() {
        let remedy = format!("install the package {}", tools::BLKDISCARD.package);
        findings.push(Finding::warning("blkdiscard", "is not installed, so nothing can be erased", remedy));
    }
    let groups = match options.get("volumegroup") {
        Some(name) => vec![name.to_owned()],
        None => match group_names(lvm) {
            Ok(names) => names,
            Err(finding) => {
                findings.push(finding);
                return Ok(findings);
            }
        },
    };
    if groups.is_empty() {
        let remedy = "make one on a spare disk: `vgcreate vg0 /dev/DISK`";
        findings.push(Finding::warning("volume groups", "there are none on this node", remedy));
    }
    for name in groups {
        findings.extend(of_group(driver, &name)?);
    }
    Ok(findings)
}

fn program(lvm: Lvm<'_>) -> Finding {
    let text = match lvm.read(&["version"]) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(NoReport::Refused(text)) => text,
        Err(NoReport::TimedOut) => return Finding::problem("lvm", "does not answer", "is a disk hanging?"),
        Err(NoReport::Failed(error)) => {
            return Finding::problem("lvm", error.to_string(), "install the package lvm2");
        }
    };
    let line =
        text.lines().find_map(|line| line.trim().strip_prefix("LVM version:")).unwrap_or_default().trim();
    match numbers(line) {
        Some(version) if version >= OLDEST => Finding::good("lvm", format!("version {line}")),
        Some(_) => {
            Finding::problem("lvm", format!("version {line} is too old"), "2.03.12 or later is needed")
        }
        None => Finding::warning("lvm", "its version cannot be read", ""),
    }
}

/// `2.03.16(2) (2022-05-18)`.
fn numbers(line: &str) -> Option<(u32, u32, u32)> {
    let mut numbers = line.split(|c: char| !c.is_ascii_digit()).map(|text| text.parse().ok());
    Some((numbers.next()??, numbers.next()??, numbers.next()??))
}

fn mapper() -> Finding {
    let devices = std::fs::read_to_string("/proc/devices").unwrap_or_default();
    if devices.contains("device-mapper") {
        return Finding::good("device-mapper", "is in the kernel");
    }
    Finding::problem(
        "device-mapper",
        "is not in the kernel, so no volume can be activated",
        "run `modprobe dm_mod`",
    )
}

fn udev() -> Finding {
    if Path::new("/run/udev/control").exists() {
        Finding::good("udev", "runs, and makes the links in /dev")
    } else {
        Finding::good("udev", "does not run; LVM makes the links in /dev itself")
    }
}

fn group_names(lvm: Lvm<'_>) -> std::result::Result<Vec<String>, Finding> {
    let problem = |why: String| Finding::problem("volume groups", why, "does `vgs` work?");
    let bytes = lvm.read(&["vgs", "--readonly", "--reportformat", "json", "-o", "vg_name,vg_uuid"]).map_err(
        |no_report| match no_report {
            NoReport::Failed(error) => problem(error.to_string()),
            NoReport::TimedOut => problem("LVM does not answer".to_owned()),
            NoReport::Refused(text) => problem(text),
        },
    )?;
    let names = report::names(&bytes).map_err(|error| problem(error.to_string()))?;
    let mut names: Vec<_> = names.into_iter().map(|group| group.name).collect();
    names.sort();
    names.dedup();
    Ok(names)
}

fn of_group(driver: &Administration<'_>, name: &str) -> Result<Vec<Finding>> {
    let subject = format!("volume group {name}");
    let report =
        match lookup::read_group(driver.lvm(), &VgName::parse("volumegroup", name)?, "lv_name=~\".\"") {
            Ok(report) => report,
            Err(error) => {
                let remedy = "correct this first: no volume can be made or deleted here";
                return Ok(vec![Finding::problem(subject, error.to_string(), remedy)]);
            }
        };
    let group = &report.group;
    let [size, free] = [group.size, group.free()].map(|bytes| Bytes::new(bytes).unwrap_or_default());
    let mut findings = vec![Finding::good(&*subject, format!("has {size}, of which {free} are free"))];
    let remedy = "see the message; `flexvol volume list` shows what takes the room";
    let warnings = room::warnings(&report, None).into_iter();
    findings.extend(warnings.map(|warning| Finding::warning(&*subject, warning, remedy)));
    findings.extend(thin_check(&report, &subject));
    findings.extend(volumes_of(driver, &report, &subject)?);
    Ok(findings)
}

/// LVM checks the metadata of a thin pool before it activates it.
fn thin_check(report: &GroupReport, subject: &str) -> Option<Finding> {
    let thin = report.volumes.iter().any(super::pool::is_pool);
    (thin && tools::THIN_CHECK.find().is_none()).then(|| {
        let what = "has thin pools, which cannot be activated without thin_check";
        Finding::problem(subject, what, format!("install the package {}", tools::THIN_CHECK.package))
    })
}

fn volumes_of(driver: &Administration<'_>, report: &GroupReport, subject: &str) -> Result<Vec<Finding>> {
    let view = driver.view(Held::PerhapsByOthers)?;
    let tag = driver.owner.tag();
    let ours: Vec<&LogicalVolume> =
        report.volumes.iter().filter(|volume| volume.tags.split(',').any(|found| found == tag)).collect();
    let described: Vec<_> = ours.iter().map(|volume| describe(&report.group, volume, &view)).collect();
    let mut findings = vec![Finding::good(subject, format!("{} volumes of this driver", ours.len()))];
    findings.extend(Orphan::ALL.into_iter().filter_map(|reason| orphans(&described, reason, subject)));
    for volume in &described {
        if volume.state == flexvolume::VolumeState::Unknown {
            let subject = format!("volume {}", volume.id);
            findings.push(Finding::problem(subject, &*volume.note, "correct its tags"));
        }
    }
    let automatic =
        ours.iter().filter(|volume| volume.autoactivation == "enabled" && volume.layout != "raid,raid1");
    if let Some(first) = automatic.clone().next() {
        let what =
            format!("{} volumes are activated with the node, such as {}", automatic.count(), first.name);
        let remedy = format!("`lvchange --setautoactivation n {}/{}`", report.group.name, first.name);
        findings.push(Finding::warning(subject, what, remedy));
    }
    Ok(findings)
}

fn orphans(volumes: &[VolumeDescription], reason: Orphan, subject: &str) -> Option<Finding> {
    let found: Vec<_> = volumes.iter().filter(|volume| volume.orphan == Some(reason)).collect();
    let first = found.first()?;
    let what = format!("{} orphans of the kind {}, such as {:?}", found.len(), reason.as_str(), first.id);
    let remedy = "look at them with `flexvol volume list --orphans`, and delete those that nobody needs";
    Some(Finding::warning(subject, what, remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(numbers("2.03.16(2) (2022-05-18)"), Some((2, 3, 16)));
        assert!(numbers("2.03.9(2)").unwrap() < OLDEST);
        assert!(numbers("2.02.187(2)").unwrap() < OLDEST);
        assert_eq!(numbers("unknown"), None);
    }
}
