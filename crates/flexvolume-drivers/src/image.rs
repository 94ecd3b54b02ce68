//! The life of an image: absent, creating, ready.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flexvolume_os::failpoint::hit;
use flexvolume_os::filesystem::{self, Discard, MakeFilesystem};
use flexvolume_os::runner::Runner;
use flexvolume_os::{atomic, loop_device};
use rustix::fs::{FallocateFlags, Mode, OFlags};

use crate::acquaintance;
use crate::copying::Source;
use crate::error::{Result, VolumeError, at};
use crate::pool::Volume;
use crate::record::{self, Record, State};
use crate::removal;
use crate::request::Allocation;
use crate::room;
use crate::superblock;

/// How long `mkfs` may take. When it is ended, the image is made again from nothing.
const MAKE_DEADLINE: Duration = Duration::from_secs(120);

/// What a look at a volume's files found.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// It is there, in the state that its record says.
    Present(Record),
    /// There is nothing of its name.
    Absent,
    /// There is something of its name that belongs to somebody else.
    NotOurs(VolumeError),
    /// There is no telling.
    CannotKnow(VolumeError),
}

impl Lookup {
    /// The record, `None` for absent; the other two outcomes are errors.
    pub(crate) fn known(self) -> Result<Option<Record>> {
        match self {
            Lookup::Present(record) => Ok(Some(record)),
            Lookup::Absent => Ok(None),
            Lookup::NotOurs(error) | Lookup::CannotKnow(error) => Err(error),
        }
    }
}

/// Looks the volume up by its record and its image.
pub(crate) fn look_up(volume: &Volume, owner: &str) -> Lookup {
    let image = image_file(&volume.image());
    let record: Option<Record> = match record::load(&volume.record()) {
        Ok(record) => record,
        Err(error) => return Lookup::CannotKnow(error),
    };
    let not_ours = |path: PathBuf, why: String| Lookup::NotOurs(VolumeError::NotOurs { path, why });
    let cannot_know = |why| Lookup::CannotKnow(VolumeError::CannotKnow { path: volume.image(), why });
    match (record, image) {
        (_, ImageFile::NotAFile) => not_ours(volume.image(), "is not a regular file".to_owned()),
        (_, ImageFile::Unknown(error)) => cannot_know(format!("cannot be looked at: {error}")),
        (None, ImageFile::Missing) => Lookup::Absent,
        (None, ImageFile::There) => not_ours(volume.image(), "has no record beside it".to_owned()),
        (Some(record), _) if record.owner != owner => {
            not_ours(volume.record(), format!("belongs to the driver {:?}", record.owner))
        }
        (Some(record), _) if record.id != volume.id.as_str() => {
            not_ours(volume.record(), format!("describes the volume {:?}", record.id))
        }
        (Some(record), ImageFile::Missing) if record.state == State::Ready => cannot_know(format!(
            "is missing, but its record says ready: bring the image back, or give its data up by removing {}",
            volume.record().display()
        )),
        (Some(record), _) => Lookup::Present(record),
    }
}

/// The volume of this driver whose image the kernel says is behind a loop device, if it is one: its record says so, or,
/// should that be lost or damaged, it lies in a pool.
pub(crate) fn behind(backing: &Path, owner: &str, own_pool: &Path) -> Option<Volume> {
    // What the kernel appends when the file was removed meanwhile.
    let path = backing.as_os_str().as_bytes();
    let image = Path::new(OsStr::from_bytes(path.strip_suffix(b" (deleted)").unwrap_or(path)));
    let volume = Volume::of_image(image)?;
    let directory = volume.pool.directory();
    let ours = match record::load::<Record>(&volume.record()) {
        Ok(Some(record)) => record.owner == owner && record.id == volume.id.as_str(),
        Ok(None) | Err(_) => directory == own_pool || acquaintance::is_marked(directory),
    };
    ours.then_some(volume)
}

enum ImageFile {
    There,
    Missing,
    NotAFile,
    Unknown(io::Error),
}

fn image_file(path: &Path) -> ImageFile {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => ImageFile::There,
        Ok(_) => ImageFile::NotAFile,
        Err(error) if error.kind() == io::ErrorKind::NotFound => ImageFile::Missing,
        Err(error) => ImageFile::Unknown(error),
    }
}

/// Makes sure that the volume is ready and is the one that is asked for. The caller holds its lock.
///
/// `fresh` is the record of the attempt to make it, if it must be made.
pub(crate) fn ensure(volume: &Volume, fresh: Record, runner: &dyn Runner) -> Result<Record> {
    let Some(record) = look_up(volume, &fresh.owner).known()? else {
        return create(volume, fresh, runner);
    };
    match record.state {
        State::Ready => {
            agrees(&record, &fresh)?;
            Ok(record)
        }
        // The rename was the last act before a crash: the image is complete.
        State::Creating if volume.image().exists() => {
            let record = complete(volume, record)?;
            agrees(&record, &fresh)?;
            Ok(record)
        }
        State::Creating => {
            removal::delete(&volume.attempt(&record.uuid))?;
            create(volume, fresh, runner)
        }
        State::Removing => {
            removal::remove(volume, record)?;
            create(volume, fresh, runner)
        }
    }
}

/// The record of a volume that can be mounted.
pub(crate) fn ready(volume: &Volume, owner: &str) -> Result<Record> {
    match look_up(volume, owner).known()? {
        Some(record) if record.state == State::Ready => Ok(record),
        _ => Err(VolumeError::Absent {
            id: volume.id.as_str().to_owned(),
            directory: volume.pool.directory().to_owned(),
        }),
    }
}

/// Compares what is there with what is asked for.
fn agrees(record: &Record, wanted: &Record) -> Result<()> {
    let differs = |property, actual: String, wanted: String, remedy| {
        Err(VolumeError::Differs { id: record.id.clone(), property, actual, wanted, remedy })
    };
    let bytes = |size: u64| format!("of {size} bytes");
    if ![record.size, record.created_size].contains(&wanted.created_size) {
        let remedy = "a volume grows by `expandvolume` or `expandfs` and never shrinks";
        return differs("a size", bytes(record.size), bytes(wanted.created_size), remedy);
    }
    if record.fs_type != wanted.fs_type {
        let (actual, wanted) = (record.fs_type.as_str(), wanted.fs_type.as_str());
        let remedy = "a volume keeps the file system that it was made with";
        return differs("the file system", actual.to_owned(), wanted.to_owned(), remedy);
    }
    if record.allocation != wanted.allocation {
        let (actual, wanted) = (record.allocation.as_str(), wanted.allocation.as_str());
        let remedy = "a volume keeps the allocation that it was made with";
        return differs("the allocation", actual.to_owned(), wanted.to_owned(), remedy);
    }
    if wanted.source.is_some() && record.source != wanted.source {
        let shown = |source: &Option<String>| source.clone().unwrap_or_else(|| "none".to_owned());
        let remedy = "a volume is a copy from the beginning or not at all; choose another name";
        return differs("the source", shown(&record.source), shown(&wanted.source), remedy);
    }
    if record.mount_dir != wanted.mount_dir {
        let shown = |dir: &Option<String>| dir.clone().unwrap_or_else(|| "none".to_owned());
        let remedy = "an ephemeral volume belongs to the mount dir that it was made for; unmount that first";
        return differs("the mount dir", shown(&record.mount_dir), shown(&wanted.mount_dir), remedy);
    }
    Ok(())
}

/// Makes the volume, or leaves nothing of it.
fn create(volume: &Volume, mut record: Record, runner: &dyn Runner) -> Result<Record> {
    let source = Source::of(volume, &record)?;
    record.filled = source.as_ref().and_then(|source| source.filled(record.size));
    let needed = record.size;
    if record.allocation == Allocation::Reserved {
        room_for(volume, needed)?;
    }
    record::store(&volume.record(), &record)?;
    hit("image.recorded");
    let attempt = volume.attempt(&record.uuid);
    if let Err(error) = build(&attempt, &record, (source.as_ref(), runner)) {
        // Should this fail too, the record still says `creating`, and the next call clears it away.
        let _ = removal::delete(&attempt).and_then(|()| record::remove(&volume.record()));
        return Err(error);
    }
    fs::rename(&attempt, volume.image()).map_err(at("rename image", &attempt))?;
    hit("image.renamed");
    complete(volume, record)
}

/// Makes the rename durable, and says so.
fn complete(volume: &Volume, mut record: Record) -> Result<Record> {
    atomic::sync_directory(volume.pool.directory()).map_err(at("sync", volume.pool.directory()))?;
    record.state = State::Ready;
    record::store(&volume.record(), &record)?;
    hit("image.ready");
    Ok(record)
}

/// Makes the image under the name of the attempt: size, file system, sync.
fn build(attempt: &Path, record: &Record, (source, runner): (Option<&Source>, &dyn Runner)) -> Result<()> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::open(attempt, flags, Mode::RUSR | Mode::WUSR)
        .map(File::from)
        .map_err(at("create image", attempt))?;
    hit("image.created");
    allocate(&file, attempt, 0, record)?;
    hit("image.allocated");
    match source {
        Some(source) => source.copy_into((&file, attempt), record, runner)?,
        None => format(attempt, record, runner)?,
    }
    hit("image.formatted");
    verify(&file, attempt, record)?;
    file.sync_all().map_err(at("sync image", attempt))?;
    hit("image.synced");
    Ok(())
}

fn format(attempt: &Path, record: &Record, runner: &dyn Runner) -> Result<()> {
    let discard = match record.allocation {
        Allocation::Reserved => Discard::Forbid,
        Allocation::Thin => Discard::Allow,
    };
    filesystem::make(
        runner,
        &MakeFilesystem {
            fs_type: record.fs_type,
            device: attempt,
            uuid: Some(&record.uuid),
            discard,
            deadline: MAKE_DEADLINE,
        },
    )?;
    Ok(())
}

/// Gives the file the record's size, and for a reserved volume its blocks. `old` is its size so far.
fn allocate(file: &File, path: &Path, old: u64, record: &Record) -> Result<()> {
    if record.allocation == Allocation::Reserved {
        reserve(file, path, old, record.size - old)?;
    }
    file.set_len(record.size).map_err(at("size image", path))
}

/// Allocates blocks where there are none. The file's size is kept: a failure leaves blocks beyond the end only, which
/// the next truncation frees.
fn reserve(file: &File, path: &Path, from: u64, bytes: u64) -> Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, from, bytes) {
        Err(rustix::io::Errno::OPNOTSUPP) => {
            let why =
                "is on a file system that cannot reserve space: set the option \"allocation\" to \"thin\"";
            Err(VolumeError::Pool { path: path.parent().unwrap_or(path).to_owned(), why })
        }
        other => other.map_err(at("reserve the blocks of", path)),
    }
}

fn room_for(volume: &Volume, needed: u64) -> Result<()> {
    let free = room::beside(volume)?;
    if needed <= free {
        return Ok(());
    }
    Err(VolumeError::Full { directory: volume.pool.directory().to_owned(), needed, free })
}

/// Opens the image of a ready volume and proves that it is the recorded one.
pub(crate) fn open(volume: &Volume, record: &Record) -> Result<File> {
    let path = volume.image();
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file =
        rustix::fs::open(&path, flags, Mode::empty()).map(File::from).map_err(at("open image", &path))?;
    let size = file.metadata().map_err(at("look at image", &path))?.len();
    if size < record.size {
        let why =
            format!("has {size} bytes, but its record says {}: it was cut off, restore it", record.size);
        return Err(VolumeError::CannotKnow { path, why });
    }
    verify(&file, &path, record)?;
    Ok(file)
}

/// Gives a reserved image back the blocks that somebody's `fstrim` has taken out of it.
pub(crate) fn reserve_again(file: &File, volume: &Volume, record: &Record) -> Result<()> {
    let path = volume.image();
    let metadata = file.metadata().map_err(at("look at image", &path))?;
    let missing = metadata.len().saturating_sub(metadata.blocks().saturating_mul(512));
    if record.allocation == Allocation::Thin || missing == 0 {
        return Ok(());
    }
    room_for(volume, missing)?;
    reserve(file, &path, 0, metadata.len())
}

fn verify(file: &File, path: &Path, record: &Record) -> Result<()> {
    let fs_type = record.fs_type.as_str();
    let found = superblock::uuid(file, record.fs_type).map_err(at("read the superblock of", path))?;
    let why = match found {
        Some(uuid) if uuid == record.uuid => return Ok(()),
        Some(uuid) => format!("holds the {fs_type} {uuid}, but its record says {}", record.uuid),
        None => format!("holds no {fs_type} superblock, but its record says {}", record.uuid),
    };
    Err(VolumeError::NotOurs { path: path.to_owned(), why })
}

/// Makes the image at least `wanted` bytes long, and the loop devices on it; never shorter. The caller holds the lock.
pub(crate) fn grow(volume: &Volume, mut record: Record, wanted: u64) -> Result<Record> {
    let path = volume.image();
    let file = open(volume, &record)?;
    let length = file.metadata().map_err(at("look at image", &path))?.len();
    let filled = record.filled.unwrap_or(record.size);
    record.size = wanted.max(length);
    if record.size > filled {
        record.filled = Some(filled);
    }
    if record.size > length {
        if record.allocation == Allocation::Reserved {
            room_for(volume, record.size - length)?;
        }
        if let Err(error) = allocate(&file, &path, length, &record) {
            // Frees the blocks beyond the end; on failure they stay allocated until the next growth uses them.
            let _ = file.set_len(length);
            return Err(error);
        }
        hit("image.grown");
        file.sync_all().map_err(at("sync image", &path))?;
    }
    for attached in loop_device::find(&path)? {
        loop_device::refresh_size(&attached.path)?;
    }
    hit("image.refreshed");
    record::store(&volume.record(), &record)?;
    Ok(record)
}

#[cfg(test)]
mod tests;
