//! What is on a disk, and whether a file system may be made on it.
//!
//! A server cannot keep our notes, and this node's are not those of other nodes. So a file system is made only if all of
//! this holds: the administrator says that the disk is new (`format: new`); this node has no record of anything on it;
//! no signature that is known is there; and the first and the last MiB, and the places where file systems keep copies of
//! their superblocks, are zero. Before `mkfs` starts, the record says so (`creating`, with the UUID to be), so that after
//! a crash this node knows its own half-made file system from somebody's data.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use flexvolume::Access;
use flexvolume_os::System;
use flexvolume_os::failpoint::hit;
use flexvolume_os::filesystem::{self, Discard, MakeFilesystem, Probe};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::RemoteDisk;
use super::error::{DiskError, Result, at};
use super::record::{Contents, Record, Shelf, State};
use super::request::{FileSystemRequest, Format, Protection};
use crate::record::random_uuid;
use crate::superblock;

const PROBE_DEADLINE: Duration = Duration::from_secs(30);
/// How long `mkfs` may take on a slow server.
const MAKE_DEADLINE: Duration = Duration::from_secs(240);

const MIB: u64 = 1 << 20;

/// Where file systems keep copies of their superblocks: btrfs at 64 MiB and 256 GiB, ext4 in its groups 1, 3, 5 and 7 with
/// blocks of 1 and 4 KiB.
const COPIES: [u64; 10] =
    [64 * MIB, 256 << 30, 8 * MIB, 24 * MIB, 40 * MIB, 56 * MIB, 128 * MIB, 384 * MIB, 640 * MIB, 896 * MIB];
const COPY: u64 = 8192;

/// A disk that is to be mounted. The lock of its record is held.
#[derive(Debug)]
pub(crate) struct Work<'a, T, L> {
    pub(crate) system: &'a System,
    pub(crate) shelf: &'a Shelf<T, L>,
    pub(crate) disk: &'a T,
    pub(crate) request: &'a FileSystemRequest,
    pub(crate) device: &'a Path,
    /// Bytes of the device.
    pub(crate) size: u64,
}

impl<T: RemoteDisk, L: Serialize + DeserializeOwned> Work<'_, T, L> {
    /// Makes sure that the file system is there, and that the record says which one.
    pub(crate) fn ensure(&self, record: &mut Record<L>) -> Result<()> {
        let (request, device) = (self.request, self.device);
        let superblock_of = || at("read the superblock of", device);
        let file = File::open(device).map_err(at("open", device))?;
        let found = superblock::uuid(&file, request.fs_type).map_err(superblock_of())?;
        let known = record.contents.clone();
        match (known, found) {
            (Some(known), Some(uuid)) if known.uuid == uuid && known.state != State::Creating => Ok(()),
            (Some(known), Some(uuid)) if known.uuid == uuid => {
                // `mkfs` may have been stopped after it had written the beginning.
                match superblock::is_unfinished(&file, request.fs_type).map_err(superblock_of())? {
                    true => self.make(record, uuid),
                    false => self.note(record, State::Made, uuid),
                }
            }
            (_, Some(uuid)) => self.note(record, State::Found, uuid),
            (Some(known), None) if known.state == State::Creating => self.make_again(record, &known),
            (Some(known), None) => Err(self.lost(&known)),
            (None, None) => {
                self.refuse_known()?;
                self.make_first(record, &file)
            }
        }
    }

    fn note(&self, record: &mut Record<L>, state: State, uuid: String) -> Result<()> {
        record.contents = Some(Contents::new(state, self.request.fs_type, uuid));
        self.shelf.store(self.disk, record)
    }

    fn refuse(&self, found: String, remedy: &str) -> DiskError {
        DiskError::Contents { subject: self.disk.to_string(), found, remedy: remedy.to_owned() }
    }

    fn strange(&self, found: String) -> DiskError {
        let remedy = "is it the right disk, and does `fsType` name what is on it? What is of no use to anybody can be wiped with `wipefs -a` and `dd`";
        self.refuse(found, remedy)
    }

    fn lost(&self, known: &Contents) -> DiskError {
        let path = self.shelf.path(self.disk);
        let found = format!("held the file system {} and holds none now", known.uuid);
        let remedy = format!(
            "does the server serve the right disk? If it shall begin anew, remove {}",
            path.display()
        );
        self.refuse(found, &remedy)
    }

    /// Refuses what anybody might recognise.
    fn refuse_known(&self) -> Result<()> {
        let wanted = self.request.fs_type.as_str();
        let found = match filesystem::probe(&*self.system.runner, self.device, PROBE_DEADLINE)? {
            Probe::NothingKnown => return Ok(()),
            Probe::FileSystem { fs_type, .. } => format!("holds {fs_type} and not {wanted}"),
            Probe::Partitions(table) => format!("holds a partition table ({table})"),
            Probe::Ambiguous => "holds something that `blkid` finds ambiguous".to_owned(),
        };
        Err(self.strange(found))
    }

    fn make_first(&self, record: &mut Record<L>, file: &File) -> Result<()> {
        let found = format!("holds no {} file system", self.request.fs_type.as_str());
        if self.request.format == Format::Never {
            let remedy = "if nobody has used this disk yet, set the option \"format\" to \"new\"";
            return Err(self.refuse(found, remedy));
        }
        if self.request.access == Access::ReadOnly {
            return Err(self.refuse(found, "a read-only volume is never formatted: use it writable once"));
        }
        if !is_blank(file, self.size).map_err(at("read", self.device))? {
            return Err(self.strange("holds data that nobody recognises, so it is not new".to_owned()));
        }
        let uuid = random_uuid()?;
        self.note(record, State::Creating, uuid.clone())?;
        hit("disk.creating");
        self.make(record, uuid)
    }

    /// What this node has begun may be begun again, while nobody recognises anything else in its place.
    fn make_again(&self, record: &mut Record<L>, known: &Contents) -> Result<()> {
        if known.fs_type() != Some(self.request.fs_type) || self.request.format == Format::Never {
            return Err(self.strange("holds a file system that this node has begun to make".to_owned()));
        }
        self.refuse_known()?;
        self.make(record, known.uuid.clone())
    }

    fn make(&self, record: &mut Record<L>, uuid: String) -> Result<()> {
        let wanted = MakeFilesystem {
            fs_type: self.request.fs_type,
            device: self.device,
            uuid: Some(&uuid),
            discard: Discard::Allow,
            deadline: MAKE_DEADLINE,
        };
        filesystem::make(&*self.system.runner, &wanted)?;
        hit("disk.made");
        self.note(record, State::Made, uuid)?;
        hit("disk.made-recorded");
        Ok(())
    }

    /// Gives an ext4 that is not mounted its multi-mount protection, if it shall have it and has not.
    pub(crate) fn protect(&self) -> Result<()> {
        let (request, device) = (self.request, self.device);
        if request.protection == Protection::AsItIs || request.access == Access::ReadOnly {
            return Ok(());
        }
        let file = File::open(device).map_err(at("open", device))?;
        if superblock::has_multi_mount_protection(&file).map_err(at("read the superblock of", device))? {
            return Ok(());
        }
        filesystem::protect_from_other_hosts(&*self.system.runner, device, MAKE_DEADLINE)?;
        hit("disk.protected");
        Ok(())
    }
}

/// Whether every place is zero at which something that matters begins.
fn is_blank(file: &File, size: u64) -> io::Result<bool> {
    let ends = [(0, MIB), (size.saturating_sub(MIB), MIB)];
    let copies = COPIES.into_iter().map(|offset| (offset, COPY));
    for (offset, length) in ends.into_iter().chain(copies) {
        let length = length.min(size.saturating_sub(offset));
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, offset)?;
        if bytes.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_at_a_place_that_matters_makes_it_used() {
        let file = tempfile::tempfile().unwrap();
        let size = 200 * MIB + 512;
        file.set_len(size).unwrap();
        assert!(is_blank(&file, size).unwrap());
        for offset in [0, 1024, MIB - 1, size - 1, size - MIB, 8 * MIB + 1024, 64 * MIB, 128 * MIB] {
            file.write_all_at(&[1], offset).unwrap();
            assert!(!is_blank(&file, size).unwrap(), "{offset}");
            file.write_all_at(&[0], offset).unwrap();
        }
        let small = tempfile::tempfile().unwrap();
        small.set_len(512).unwrap();
        assert!(is_blank(&small, 512).unwrap());
        assert!(is_blank(&small, 1024).is_err());
    }
}
