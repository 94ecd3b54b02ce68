//! The device of a volume: active or not, and proven to be the one.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flexvolume_os::block;
use flexvolume_os::failpoint::hit;

use super::error::{LvmError, Result};
use super::lookup::Found;
use super::name::Place;
use super::tool::Lvm;
use crate::device;

/// How long the node of an active volume may take to appear in `/dev`.
const NODE_PATIENCE: Duration = Duration::from_secs(10);

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// What is read to see that a device can be read.
const BLOCK: usize = 4096;

/// Letters of a UUID of LVM, and before which of them it writes a hyphen.
const UUID: usize = 32;
const HYPHENS: [usize; 6] = [6, 10, 14, 18, 22, 26];

/// What device-mapper calls a logical volume: `LVM-` and the two UUIDs without hyphens. Hidden parts of a volume have more
/// behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MappedUuid(String);

impl MappedUuid {
    pub(crate) fn of(vg_uuid: &str, lv_uuid: &str) -> Self {
        Self(format!("LVM-{}{}", vg_uuid.replace('-', ""), lv_uuid.replace('-', "")))
    }

    /// The UUID of the logical volume, as LVM writes it.
    pub(crate) fn of_volume(&self) -> String {
        let plain = self.0.get("LVM-".len() + UUID..).unwrap_or_default();
        let mut text = String::new();
        for (at, letter) in plain.chars().enumerate() {
            if HYPHENS.contains(&at) {
                text.push('-');
            }
            text.push(letter);
        }
        text
    }

    fn is_in_group(&self, vg_uuid: &str) -> bool {
        let group = Self::of(vg_uuid, "").0;
        self.0.strip_prefix(&group).is_some_and(|lv| lv.len() == UUID)
    }
}

/// The device of an active volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// In `/dev`.
    pub(crate) path: PathBuf,
    pub(crate) uuid: MappedUuid,
    /// `dm-3`.
    kernel_name: String,
}

/// The device that has the volume's name in the device-mapper, whatever it is.
pub(crate) fn by_name(place: &Place) -> Option<Node> {
    let usual = place.device();
    if let Some(node) = at(&usual) {
        return Some(node);
    }
    let name = place.mapped();
    find(|directory| fact(directory, "dm/name").is_some_and(|found| found == name))
}

/// The device with this UUID: below its usual name, or, where that is missing or another device, below the kernel's.
pub(crate) fn by_uuid(place: &Place, uuid: &MappedUuid) -> Option<Node> {
    at(&place.device())
        .filter(|node| node.uuid == *uuid)
        .or_else(|| find(|directory| fact(directory, "dm/uuid").is_some_and(|found| found == uuid.0)))
}

/// The mapped device whose node this is.
fn at(path: &Path) -> Option<Node> {
    let metadata = fs::metadata(path).ok().filter(|metadata| metadata.file_type().is_block_device())?;
    let (major, minor) = (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()));
    let directory = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
    let uuid = MappedUuid(fact(&directory, "dm/uuid")?);
    Some(Node { path: path.to_owned(), uuid, kernel_name: format!("dm-{minor}") })
}

/// The first mapped device that `is_it`, by the kernel's own node for it.
fn find(is_it: impl Fn(&Path) -> bool) -> Option<Node> {
    let entries = fs::read_dir("/sys/block").ok()?;
    for entry in entries.flatten() {
        let name = entry.file_name().into_string().ok()?;
        if name.starts_with("dm-") && is_it(&entry.path()) {
            return at(&Path::new("/dev").join(&name)).filter(|node| node.kernel_name == name);
        }
    }
    None
}

/// All active devices of LVM, below the kernel's names for them.
pub(crate) fn all() -> Vec<Node> {
    let Ok(entries) = fs::read_dir("/sys/block") else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names
        .filter(|name| name.starts_with("dm-"))
        .filter_map(|name| at(&Path::new("/dev").join(name)))
        .filter(|node| node.uuid.0.starts_with("LVM-"))
        .collect()
}

fn fact(directory: &Path, name: &str) -> Option<String> {
    Some(fs::read_to_string(directory.join(name)).ok()?.trim_end().to_owned())
}

impl Node {
    /// A device that a killed command has left suspended answers nobody.
    pub(crate) fn is_suspended(&self) -> bool {
        let directory = Path::new("/sys/block").join(&self.kernel_name);
        fact(&directory, "dm/suspended").is_some_and(|text| text == "1")
    }

    /// Opens the device for reading.
    pub(crate) fn open(&self) -> Result<File> {
        File::open(&self.path).map_err(step("open", &self.path))
    }
}

/// The device of a volume that is there; activates it if need be.
pub(crate) fn ensure_active(lvm: Lvm<'_>, place: &Place, found: &Found) -> Result<Node> {
    let uuid = MappedUuid::of(&found.group.uuid, &found.volume.uuid);
    let subject = place.to_string();
    let select = found.select(lvm.owner);
    let vg = place.vg.as_str();
    if by_uuid(place, &uuid).is_none() {
        lvm.change(&subject, "lvchange", &["-ay", "-K", "-S", &select, vg])?;
        hit("lvm.activated");
    }
    let node = wait(lvm, place, &uuid)?;
    if node.is_suspended() {
        lvm.change(&subject, "lvchange", &["--refresh", "-S", &select, vg])?;
        hit("lvm.refreshed");
    }
    Ok(node)
}

/// Waits for the node of an active volume.
fn wait(lvm: Lvm<'_>, place: &Place, uuid: &MappedUuid) -> Result<Node> {
    let begun = Instant::now();
    let mut repaired = false;
    loop {
        if let Some(node) = by_uuid(place, uuid) {
            return Ok(node);
        }
        if !repaired && begun.elapsed() > NODE_PATIENCE / 2 {
            lvm.change(&place.to_string(), "vgmknodes", &[place.vg.as_str()])?;
            repaired = true;
        }
        if begun.elapsed() > NODE_PATIENCE {
            let why = format!("has no device in /dev within {}s of its activation", NODE_PATIENCE.as_secs());
            return Err(LvmError::Device { subject: place.to_string(), why });
        }
        std::thread::sleep(PAUSE);
    }
}

/// The device of a volume that has just been made in the group with this UUID: of its name, of that group, of the right
/// size, and readable from end to end. Only such a device is ever formatted.
pub(crate) fn prove(place: &Place, vg_uuid: &str, size: u64) -> Result<Node> {
    let refuse = |why: String| LvmError::Device { subject: place.to_string(), why };
    let begun = Instant::now();
    let node = loop {
        match by_name(place) {
            Some(node) => break node,
            None if begun.elapsed() < NODE_PATIENCE => std::thread::sleep(PAUSE),
            None => return Err(refuse(format!("has no device {}", place.device().display()))),
        }
    };
    if !node.uuid.is_in_group(vg_uuid) {
        return Err(refuse(format!("has the device {}, which is not of the group {vg_uuid}", node.uuid.0)));
    }
    if node.is_suspended() {
        return Err(refuse("has a device that is suspended".to_owned()));
    }
    let actual = block::size(&node.path).map_err(step("read the size of", &node.path))?;
    if actual != size {
        return Err(refuse(format!("has a device of {actual} bytes and not {size}")));
    }
    readable(&node, size)?;
    Ok(node)
}

/// Reads the first and the last block.
pub(crate) fn readable(node: &Node, size: u64) -> Result<()> {
    let device = node.open()?;
    let mut block = [0; BLOCK];
    for offset in [0, size.saturating_sub(BLOCK as u64)] {
        device.read_exact_at(&mut block, offset).map_err(step("read the ends of", &node.path))?;
    }
    Ok(())
}

/// Errs while somebody uses the device of the volume: a mount in whatever namespace, another device on top, a tool. For a
/// moment udev does.
pub(crate) fn refuse_used(place: &Place, found: &Found) -> Result<()> {
    let uuid = MappedUuid::of(&found.group.uuid, &found.volume.uuid);
    let Some(node) = by_uuid(place, &uuid).filter(|node| !node.is_suspended()) else { return Ok(()) };
    device::wait_until_nobody_claims(&node.path);
    match device::claim(&node.path) {
        Err(error) if rustix::io::Errno::from_io_error(&error) == Some(rustix::io::Errno::BUSY) => {
            let remedy = format!(
                "unmount {} everywhere (`findmnt -S {0}`, `fuser -v {0}`), and call again",
                node.path.display()
            );
            Err(LvmError::Busy { subject: place.to_string(), remedy })
        }
        // Whether it can be read does not matter to somebody who removes it.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Attaches step and path to a system error.
pub(crate) fn step<'a>(step: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> LvmError + 'a {
    move |source| LvmError::File { step, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VG: &str = "Z5eJCO-clnH-6yhn-Cjm9-A73K-g9U9-G9fOgg";
    const LV: &str = "oUvCnk-11WU-YF22-jVEm-LMWi-Wl0P-4jn1ks";

    #[test]
    fn device_mapper_knows_a_volume_by_both_uuids() {
        let uuid = MappedUuid::of(VG, LV);
        assert_eq!(uuid.0, "LVM-Z5eJCOclnH6yhnCjm9A73Kg9U9G9fOggoUvCnk11WUYF22jVEmLMWiWl0P4jn1ks");
        assert_eq!(uuid.of_volume(), LV);
        assert!(uuid.is_in_group(VG));
        assert!(!uuid.is_in_group(LV));
        assert!(!MappedUuid(format!("{}-tpool", uuid.0)).is_in_group(VG));
    }

    #[test]
    fn what_is_no_mapped_device_is_no_node() {
        assert_eq!(at(Path::new("/dev/null")), None);
        assert_eq!(at(Path::new("/no/such")), None);
    }
}
