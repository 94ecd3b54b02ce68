//! A new image with the content of another volume's, and a UUID of its own.
//!
//! Between thin volumes it is one call of the file system that shares the blocks (`FICLONE`), where there is one (xfs,
//! btrfs): at once, and as of one moment. A reserved volume must own its blocks, so everything else is read and written,
//! holes left out, and the source must rest meanwhile.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use flexvolume_os::failpoint::hit;
use flexvolume_os::filesystem::{self, FsType};
use flexvolume_os::lock::Lock;
use flexvolume_os::loop_device;
use flexvolume_os::runner::Runner;
use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::error::{RequestError, Result, VolumeError, at};
use crate::image;
use crate::pool::{Volume, VolumeId};
use crate::record::Record;
use crate::request::Allocation;

/// How long the tools that check a copy and change its UUID may take.
const IDENTITY_DEADLINE: Duration = Duration::from_secs(240);

/// A volume that is copied, kept from changing its state meanwhile.
pub(crate) struct Source {
    volume: Volume,
    record: Record,
    file: File,
    _lock: Lock,
}

impl Source {
    /// The source of the volume that `record` describes, if it has one and the two fit.
    pub(crate) fn of(target: &Volume, record: &Record) -> Result<Option<Self>> {
        let Some(id) = &record.source else { return Ok(None) };
        let volume = target.pool.volume(VolumeId::parse(id)?);
        let lock = volume.lock()?;
        let found = match image::ready(&volume, &record.owner) {
            Ok(found) => found,
            Err(error) => {
                if matches!(error, VolumeError::Absent { .. }) {
                    // There was no lock before we asked for it.
                    let _ = lock.discard();
                }
                return Err(error);
            }
        };
        fits(&found, record)?;
        let file = image::open(&volume, &found)?;
        Ok(Some(Self { volume, record: found, file, _lock: lock }))
    }

    /// What the file system of the copy will fill, if that is less than the copy's size.
    pub(crate) fn filled(&self, size: u64) -> Option<u64> {
        Some(self.record.filled.unwrap_or(self.record.size)).filter(|filled| *filled < size)
    }

    /// Fills the new image, which has its size and, if it is reserved, its blocks.
    pub(crate) fn copy_into(
        &self,
        (file, path): (&File, &Path),
        record: &Record,
        runner: &dyn Runner,
    ) -> Result<()> {
        let may_share = [self.record.allocation, record.allocation] == [Allocation::Thin; 2];
        if !(may_share && share(&self.file, file).map_err(at("share the blocks of", &self.volume.image()))?) {
            self.refuse_use(
                "its blocks cannot be shared with the copy, so it must rest while they are read",
            )?;
            copy_data(&self.file, file).map_err(at("copy", &self.volume.image()))?;
        } else if record.fs_type != FsType::Ext4 {
            // Their tools change the UUID only after a clean unmount.
            self.refuse_use("a copy of it could not get another UUID")?;
        }
        hit("image.copied");
        filesystem::set_uuid(runner, (record.fs_type, path), &record.uuid, IDENTITY_DEADLINE)?;
        Ok(())
    }

    fn refuse_use(&self, why: &str) -> Result<()> {
        let path = self.volume.image();
        if loop_device::find(&path)?.is_empty() {
            return Ok(());
        }
        Err(VolumeError::Busy { path, remedy: format!("{why}; unmount it, then call again") })
    }
}

fn fits(source: &Record, copy: &Record) -> Result<()> {
    if copy.size < source.size {
        let why = format!("it must be at least that of the source, {} bytes", source.size);
        return Err(RequestError::Value { key: "size", value: copy.size.to_string(), why }.into());
    }
    if copy.fs_type != source.fs_type {
        return Err(VolumeError::Differs {
            id: source.id.clone(),
            property: "the file system",
            actual: source.fs_type.as_str().to_owned(),
            wanted: copy.fs_type.as_str().to_owned(),
            remedy: "a copy has the file system of its source",
        });
    }
    Ok(())
}

/// Lets the copy have the blocks of the source until either is written to; false where the file system cannot.
fn share(source: &File, copy: &File) -> rustix::io::Result<bool> {
    match rustix::fs::ioctl_ficlone(copy, source) {
        Ok(()) => Ok(true),
        Err(Errno::OPNOTSUPP | Errno::NOTTY | Errno::INVAL | Errno::XDEV | Errno::NOSYS) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Copies what is no hole. Not by `copy_file_range`, which shares blocks where it can.
fn copy_data(source: &File, copy: &File) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 20];
    let mut position = 0;
    loop {
        let data = match rustix::fs::seek(source, SeekFrom::Data(position)) {
            Err(Errno::NXIO) => return Ok(()),
            other => other?,
        };
        position = rustix::fs::seek(source, SeekFrom::Hole(data))?;
        copy_range(source, copy, data..position, &mut buffer)?;
    }
}

fn copy_range(source: &File, copy: &File, range: std::ops::Range<u64>, buffer: &mut [u8]) -> io::Result<()> {
    let mut at = range.start;
    while at < range.end {
        let wanted = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(buffer.len());
        let piece = buffer.get_mut(..wanted).unwrap_or_default();
        source.read_exact_at(piece, at)?;
        copy.write_all_at(piece, at)?;
        at += u64::try_from(wanted).unwrap_or_default();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn data_is_copied_and_holes_are_not() {
        let (source, copy) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let size = 8 << 20;
        for file in [&source, &copy] {
            file.set_len(size).unwrap();
        }
        let odd: Vec<u8> = (0_u32..300_000).map(|number| number.to_le_bytes()[0]).collect();
        source.write_all_at(&odd, 3 << 20).unwrap();
        source.write_all_at(b"end", size - 3).unwrap();
        copy_data(&source, &copy).unwrap();
        let mut piece = vec![0; odd.len()];
        copy.read_exact_at(&mut piece, 3 << 20).unwrap();
        assert!(piece == odd);
        copy.read_exact_at(&mut piece[..3], size - 3).unwrap();
        assert_eq!(&piece[..3], b"end");
        assert!(copy.metadata().unwrap().blocks() * 512 < 1 << 20);
    }
}
