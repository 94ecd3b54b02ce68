//! The default `mountdevice` of the tolerant reading: check or make the file system, then mount it.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;
use std::time::Duration;

use flexvolume::Access;
use flexvolume_os::block;
use flexvolume_os::filesystem::{self, Discard, FsType, MakeFilesystem, Probe};
use flexvolume_os::mount::{self, FileSystemMount};

use super::{AttachablePlugin, Effect, PluginError};
use crate::spec::VolumeSpec;

/// How long a look at a device may take.
const PROBE: Duration = Duration::from_secs(60);
/// How long making or checking a file system may take.
const TOOL: Duration = Duration::from_secs(600);
/// What Kubernetes makes where the volume names no type.
const USUAL_TYPE: &str = "ext4";

impl AttachablePlugin {
    /// Mounts the device, after making a file system on it if it is proven blank.
    pub(super) fn mount_device_by_default(
        &self,
        spec: &VolumeSpec,
        device: &str,
        path: &Path,
    ) -> Result<Effect, PluginError> {
        self.plugin.using_default("mountdevice");
        let device = Path::new(device);
        let fs_type = self.prepare_file_system(spec, device)?;
        let mount = FileSystemMount {
            source: device.to_owned(),
            fs_type,
            access: mount_access(spec.access),
            data: Vec::new(),
        };
        self.plugin.host().system.mounter.mount(&mount, path)?;
        Ok(Effect::Changed)
    }

    /// Sees to it that the device holds a sound file system, and says which.
    fn prepare_file_system(&self, spec: &VolumeSpec, device: &Path) -> Result<String, PluginError> {
        let runner = &*self.plugin.host().system.runner;
        let refuse = |why| PluginError::Refused { path: device.to_owned(), why };
        match filesystem::probe(runner, device, PROBE)? {
            Probe::FileSystem { fs_type, .. } => {
                if !spec.fs_type.is_empty() && spec.fs_type != fs_type {
                    return Err(PluginError::OtherFileSystem {
                        device: device.to_owned(),
                        found: fs_type,
                        wanted: spec.fs_type.clone(),
                    });
                }
                if let (Access::ReadWrite, Some(known)) = (spec.access, FsType::parse(&fs_type)) {
                    filesystem::check(runner, known, device, TOOL)?;
                }
                Ok(fs_type)
            }
            Probe::Partitions(_) => {
                Err(refuse("it holds a partition table; a volume is a device without one"))
            }
            Probe::Ambiguous => {
                Err(refuse("it holds several signatures that contradict each other; look at it with wipefs"))
            }
            Probe::NothingKnown if spec.access == Access::ReadOnly => {
                Err(refuse("it holds no file system and the volume is read-only"))
            }
            Probe::NothingKnown => self.make_file_system(spec, device),
        }
    }

    fn make_file_system(&self, spec: &VolumeSpec, device: &Path) -> Result<String, PluginError> {
        let refuse = |why| PluginError::Refused { path: device.to_owned(), why };
        let wanted = if spec.fs_type.is_empty() { USUAL_TYPE } else { &spec.fs_type };
        let fs_type = FsType::parse(wanted)
            .ok_or_else(|| refuse("it is blank, and only ext4, xfs and btrfs are made on a blank device"))?;
        if !is_blank(device).map_err(PluginError::directory("read", device))? {
            return Err(refuse(
                "it holds data that is no known file system; if it may be lost, clear it with wipefs and blkdiscard",
            ));
        }
        let request = MakeFilesystem { fs_type, device, uuid: None, discard: Discard::Allow, deadline: TOOL };
        filesystem::make(&*self.plugin.host().system.runner, &request)?;
        Ok(wanted.to_owned())
    }
}

/// The mounter's word for the contract's.
pub(super) fn mount_access(access: Access) -> mount::Access {
    match access {
        Access::ReadWrite => mount::Access::ReadWrite,
        Access::ReadOnly => mount::Access::ReadOnly,
    }
}

/// How much is read at each end. Every signature that a tool looks for is in there.
const EDGE: u64 = 1 << 20;

/// Do the first and the last MiB read back as zeros? That nothing is *known* to be on a device is no proof.
fn is_blank(device: &Path) -> io::Result<bool> {
    let kind = fs::metadata(device)?.file_type();
    if !kind.is_block_device() && !kind.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "neither a block device nor a file"));
    }
    let size = block::size(device)?;
    let file = File::open(device)?;
    Ok(size > 0
        && is_zero(&file, 0, size.min(EDGE))?
        && is_zero(&file, size.saturating_sub(EDGE), size.min(EDGE))?)
}

fn is_zero(file: &File, begin: u64, length: u64) -> io::Result<bool> {
    let mut piece = [0; 1 << 14];
    let mut done = 0;
    while done < length {
        let wanted = usize::try_from(length - done).unwrap_or(piece.len()).min(piece.len());
        file.read_exact_at(&mut piece[..wanted], begin + done)?;
        if piece[..wanted].iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        done += wanted as u64;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_zeros_at_both_ends_are_blank() {
        let directory = tempfile::tempdir().unwrap();
        let device = directory.path().join("image");
        let file = File::create(&device).unwrap();
        assert!(!is_blank(&device).unwrap_or(false), "an empty file is no device");
        file.set_len(3 << 20).unwrap();
        assert!(is_blank(&device).unwrap());
        file.write_at(b"x", (3 << 20) - 1).unwrap();
        assert!(!is_blank(&device).unwrap());
        file.write_at(b"\0", (3 << 20) - 1).unwrap();
        file.write_at(b"x", 4096).unwrap();
        assert!(!is_blank(&device).unwrap());
        is_blank(directory.path()).unwrap_err();
    }
}
