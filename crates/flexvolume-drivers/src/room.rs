//! What a pool has room for, counted honestly.
//!
//! A reserved volume has its blocks from the beginning, so the file system counts them already; what it does not count
//! are blocks that somebody's `fstrim` has taken out of a reserved image and that its next mount needs back. They are
//! owed, by whatever pool of ours on the same file system.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use flexvolume::{Bytes, Capacity, Fill};
use flexvolume_os::filesystem::FsType;

use crate::error::{Result, at};
use crate::pool::{Pool, Volume, VolumeId};
use crate::record::{self, Record};
use crate::request::{Allocation, BLOCK};

/// What the volumes of some pools take and are promised, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Promises {
    /// Sizes of reserved volumes.
    reserved: u64,
    /// Blocks that reserved volumes lack.
    owed: u64,
    /// Sizes of thin volumes, and their blocks.
    thin: Fill,
}

impl Promises {
    fn add(&mut self, record: &Record, allocated: u64) {
        match record.allocation {
            Allocation::Reserved => {
                self.reserved = self.reserved.saturating_add(record.size);
                self.owed = self.owed.saturating_add(record.size.saturating_sub(allocated));
            }
            Allocation::Thin => {
                self.thin.total = self.thin.total.saturating_add(record.size);
                self.thin.used = self.thin.used.saturating_add(allocated);
            }
        }
    }

    /// What thin volumes may still take.
    fn thin_to_come(&self) -> u64 {
        self.thin.total.saturating_sub(self.thin.used)
    }
}

/// The promises of these pools, as far as they lie on the file system `device`, but for one volume's. Records that
/// cannot be read count nothing: what they describe has its blocks, or shows in the list of volumes.
fn promises(pools: &[PathBuf], device: u64, except: Option<&Path>) -> Promises {
    let mut promises = Promises::default();
    for pool in pools.iter().filter(|pool| fs::metadata(pool).is_ok_and(|pool| pool.dev() == device)) {
        let Ok(entries) = fs::read_dir(pool) else { continue };
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            let Some(volume) = of_record(pool, &path).filter(|_| except != Some(&*path)) else { continue };
            let Ok(Some(record)) = record::load::<Record>(&path) else { continue };
            let images = [volume.image(), volume.attempt(&record.uuid), volume.trash()];
            let allocated = images.iter().find_map(|image| fs::symlink_metadata(image).ok());
            promises.add(&record, allocated.map_or(0, |image| image.blocks().saturating_mul(512)));
        }
    }
    promises
}

fn of_record(pool: &Path, path: &Path) -> Option<Volume> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".json")?;
    Some(Pool::at(pool.to_owned()).volume(VolumeId::of_file_name(stem)?))
}

/// Total and available bytes of the file system, as an unprivileged writer has them.
fn figures(directory: &Path) -> Result<(u64, u64)> {
    let figures = rustix::fs::statvfs(directory).map_err(at("read the free space of", directory))?;
    let bytes = |blocks: u64| blocks.saturating_mul(figures.f_frsize);
    Ok((bytes(figures.f_blocks), bytes(figures.f_bavail)))
}

fn device(directory: &Path) -> Result<u64> {
    Ok(fs::metadata(directory).map_err(at("look at", directory))?.dev())
}

/// Bytes that the volume could have beside all that is promised to others.
pub(crate) fn beside(volume: &Volume) -> Result<u64> {
    let directory = volume.pool.directory();
    let (_, available) = figures(directory)?;
    let others = promises(&volume.pool.all_of_node(), device(directory)?, Some(&volume.record()));
    Ok(available.saturating_sub(others.owed))
}

/// The capacity of a pool.
pub(crate) fn capacity(pool: &Pool) -> Result<Capacity> {
    let directory = pool.directory();
    let (total, available) = figures(directory)?;
    let device = device(directory)?;
    let here = promises(&[directory.to_owned()], device, None);
    let all = promises(&pool.all_of_node(), device, None);
    let free = available.saturating_sub(all.owed);
    Ok(Capacity {
        pool: directory.display().to_string(),
        total,
        free: largest_volume(free),
        reserved: here.reserved,
        thin: here.thin,
        metadata: None,
        minimum_volume: Some(FsType::Ext4.minimum_size()),
        granularity: Some(BLOCK),
        warnings: warnings(&all, available, total),
    })
}

/// The file system needs some blocks to remember where a large file's blocks are.
fn largest_volume(free: u64) -> u64 {
    let rest = free.saturating_sub((1 << 20) + free / 1024);
    rest - rest % BLOCK
}

fn warnings(all: &Promises, available: u64, total: u64) -> Vec<String> {
    let mut warnings = Vec::new();
    let free = available.saturating_sub(all.owed);
    let quantity = |bytes| Bytes::new(bytes).unwrap_or_default();
    if all.owed > available {
        warnings.push(format!(
            "reserved volumes lack {} of their blocks (somebody has trimmed them), and only {} are free: they cannot be mounted read-write until there is room",
            quantity(all.owed),
            quantity(available)
        ));
    }
    if all.thin_to_come() > free {
        warnings.push(format!(
            "thin volumes may still take {}, but only {} are free: writes in them can fail although they have room",
            quantity(all.thin_to_come()),
            quantity(free)
        ));
    }
    if free < total / 20 {
        warnings.push(format!(
            "less than 5% of the file system is free ({} of {})",
            quantity(free),
            quantity(total)
        ));
    }
    warnings
}

#[cfg(test)]
mod tests;
