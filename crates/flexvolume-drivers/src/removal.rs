//! The end of an image: given up, put into quarantine, erased, deleted.
//!
//! The record says `removing` first; from then on nobody mounts the volume, and every call that meets it goes on here.
//! Quarantine is another name: the blocks stay allocated until they are clean, so nothing else can get them.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use flexvolume_os::failpoint::hit;
use flexvolume_os::{atomic, loop_device};
use rustix::fs::{FallocateFlags, Mode, OFlags, SeekFrom};
use rustix::io::Errno;

use crate::error::{Result, VolumeError, at};
use crate::pool::Volume;
use crate::record::{self, Record, State};
use crate::request::Erase;

/// How long one call overwrites; then it fails, and the next one goes on. Hosts give a call some minutes.
const ERASE_PATIENCE: Duration = Duration::from_secs(60);

/// So much is overwritten before it is put down that it was.
const ERASE_STEP: u64 = 64 << 20;

/// Removes the volume, which must not be attached. The caller holds the lock. Repeatable after a crash anywhere.
pub(crate) fn remove(volume: &Volume, mut record: Record) -> Result<()> {
    let image = volume.image();
    refuse_attached(&image)?;
    if record.state != State::Removing {
        record.state = State::Removing;
        give_up(volume, &record)?;
        hit("image.removing");
    }
    if image.exists() {
        // What an earlier removal has left in quarantine would be forgotten there.
        erase(&volume.trash(), record.erase)?;
    }
    match fs::rename(&image, volume.trash()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => {
            other.map_err(at("rename image", &image))?;
            atomic::sync_directory(volume.pool.directory()).map_err(at("sync", volume.pool.directory()))?;
        }
    }
    hit("image.trashed");
    erase(&volume.trash(), record.erase)?;
    delete(&volume.trash())?;
    delete(&volume.attempt(&record.uuid))?;
    hit("image.deleted");
    record::remove(&volume.record())
}

/// Puts down that the data is given up. On a full disk the data itself makes room for that, as nothing else may; not
/// where it must be overwritten, which needs its blocks. Killed in between, the volume is of no use any more, and the
/// next call removes it.
fn give_up(volume: &Volume, record: &Record) -> Result<()> {
    let stored = record::store(&volume.record(), record);
    let Err(VolumeError::File { source, .. }) = &stored else { return stored };
    let full = matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    if !full || record.erase == Erase::Zero {
        return stored;
    }
    let image = volume.image();
    let flags = OFlags::WRONLY | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(&image, flags, Mode::empty()).map_err(at("empty image", &image))?;
    hit("image.emptied");
    record::store(&volume.record(), record)
}

/// Removes a file of the volume that no record tells of. The caller holds the lock and has made sure that it is that.
pub(crate) fn remove_stray(volume: &Volume, file: &Path, how: Erase) -> Result<()> {
    refuse_attached(file)?;
    let trash = volume.trash();
    if file != trash {
        // Another one may be there already, and must not be forgotten.
        erase(&trash, how)?;
        fs::rename(file, &trash).map_err(at("rename", file))?;
        atomic::sync_directory(volume.pool.directory()).map_err(at("sync", volume.pool.directory()))?;
        hit("image.trashed");
    }
    erase(&trash, how)?;
    delete(&trash)
}

/// Erases a file that is in quarantine; absent is fine.
fn erase(trash: &Path, how: Erase) -> Result<()> {
    if how == Erase::None {
        return Ok(());
    }
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match rustix::fs::open(trash, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        other => File::from(other.map_err(at("open", trash))?),
    };
    match how {
        Erase::None => Ok(()),
        Erase::Discard => discard(&file, trash),
        Erase::Zero => overwrite(&file, trash),
    }
}

fn discard(file: &File, path: &Path) -> Result<()> {
    let length = file.metadata().map_err(at("look at", path))?.len();
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match rustix::fs::fallocate(file, flags, 0, length) {
        // The deletion that follows gives the blocks back in any case.
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::INVAL) => file.sync_all().map_err(at("sync", path)),
        Err(error) => Err(at("discard", path)(error)),
    }
}

/// Overwrites a file with zeros from its end to its beginning, and cuts off what is done: so its length says how far an
/// earlier call has come, and only clean blocks are given back.
fn overwrite(file: &File, path: &Path) -> Result<()> {
    let begun = Instant::now();
    loop {
        let length = file.metadata().map_err(at("look at", path))?.len();
        if length == 0 {
            return Ok(());
        }
        if begun.elapsed() > ERASE_PATIENCE {
            return Err(VolumeError::Erasing { path: path.to_owned(), left: length });
        }
        let from = length.saturating_sub(ERASE_STEP);
        zero_data(file, from, length).map_err(at("overwrite", path))?;
        hit("image.overwritten");
        file.set_len(from).map_err(at("shorten", path))?;
    }
}

/// Overwrites the data between two offsets; what was never written stays a hole.
fn zero_data(file: &File, from: u64, to: u64) -> io::Result<()> {
    let mut position = from;
    while position < to {
        let data = match rustix::fs::seek(file, SeekFrom::Data(position)) {
            Err(Errno::NXIO) => break,
            other => other?,
        };
        position = rustix::fs::seek(file, SeekFrom::Hole(data))?.min(to);
        write_zeros(file, data, position)?;
    }
    file.sync_data()
}

fn write_zeros(file: &File, from: u64, to: u64) -> io::Result<()> {
    static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
    let mut position = from;
    while position < to {
        let count = usize::try_from(to - position).unwrap_or(usize::MAX).min(ZEROS.len());
        let written = file.write_at(ZEROS.get(..count).unwrap_or_default(), position)?;
        position += u64::try_from(written).unwrap_or_default();
    }
    Ok(())
}

/// Errs while a loop device, and so perhaps a mount in some namespace, uses the image. A device that goes with its
/// mount may need a moment, when somebody else (udev) has it open.
pub(crate) fn refuse_attached(image: &Path) -> Result<()> {
    for _ in 0..100 {
        if !image.exists() || loop_device::find(image)?.is_empty() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let devices = loop_device::find(image)?;
    let devices: Vec<_> = devices.iter().map(|found| found.path.display().to_string()).collect();
    let devices = devices.join(", ");
    let remedy = format!(
        "it is attached as {devices}; unmount that everywhere (`findmnt -S DEVICE`), or `losetup -d` it, and call again"
    );
    Err(VolumeError::Busy { path: image.to_owned(), remedy })
}

/// Removes a file; absent is fine.
pub(crate) fn delete(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(at("remove", path)),
    }
}

#[cfg(test)]
mod tests;
