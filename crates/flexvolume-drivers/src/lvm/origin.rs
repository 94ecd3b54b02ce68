//! How a new volume begins: blank, or with the content of another one.
//!
//! Between volumes of one thin pool a copy is a snapshot: at once, and as of one moment. Everything else is read and
//! written, and the source must rest meanwhile. A copy gets a file system UUID of its own, so that both can be mounted.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use flexvolume_os::failpoint::hit;
use flexvolume_os::filesystem::{self, FsType};

use super::create::find_ready;
use super::error::{LvmError, Result};
use super::lookup::Found;
use super::name::Place;
use super::node::{self, Node};
use super::request::{Layout, LvmRequest};
use super::tags::Contents;
use super::tool::Lvm;
use crate::record::random_uuid;

/// How long the tools that check a copy and change its UUID may take.
const IDENTITY_DEADLINE: Duration = Duration::from_secs(240);

/// Bytes that are copied in one go.
const PIECE: usize = 4 << 20;

/// How a new volume begins.
#[derive(Debug)]
pub(crate) enum Origin {
    /// With nothing.
    Blank,
    /// As a snapshot in the same thin pool.
    Snapshot(Box<Source>),
    /// With a copy of every block.
    Copy(Box<Source>),
}

/// The volume that is copied. The caller holds its lock too.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) place: Place,
    pub(crate) found: Found,
    contents: Contents,
}

impl Origin {
    /// How the volume that is asked for, of `size` bytes, begins.
    pub(crate) fn of(lvm: Lvm<'_>, request: &LvmRequest, size: u64) -> Result<Self> {
        let Some(place) = &request.source else { return Ok(Origin::Blank) };
        let (found, contents) = find_ready(lvm, place)?;
        let source = Source { place: place.clone(), found: *found, contents };
        source.fits(request, size)?;
        let same_pool =
            matches!(&request.layout, Layout::Thin { pool, .. } if source.found.volume.pool == pool.as_str());
        if !same_pool || source.contents.fs_type != FsType::Ext4 {
            // (The UUID of an xfs or btrfs can be changed only after a clean unmount.)
            node::refuse_used(place, &source.found)?;
        }
        Ok(if same_pool { Origin::Snapshot(Box::new(source)) } else { Origin::Copy(Box::new(source)) })
    }

    /// What the file system of the copy will have, if that is less than its device.
    pub(crate) fn owed(&self, size: u64) -> Option<u64> {
        match self {
            Origin::Blank => None,
            Origin::Snapshot(source) | Origin::Copy(source) => {
                let behind = source.found.volume.size < size || source.found.record.grow.is_some();
                behind.then_some(size)
            }
        }
    }
}

impl Source {
    fn fits(&self, request: &LvmRequest, size: u64) -> Result<()> {
        let differs = |property, actual: String, wanted: String, remedy| {
            Err(LvmError::Differs { subject: self.place.to_string(), property, actual, wanted, remedy })
        };
        if self.found.volume.size > size {
            let (actual, wanted) =
                (format!("of {} bytes", self.found.volume.size), format!("of {size} bytes"));
            return differs("a size", actual, wanted, "a copy is at least as large as its source");
        }
        if self.contents.fs_type != request.fs_type {
            let (actual, wanted) = (self.contents.fs_type.as_str(), request.fs_type.as_str());
            let remedy = "a copy has the file system of its source";
            return differs("the file system", actual.to_owned(), wanted.to_owned(), remedy);
        }
        Ok(())
    }

    /// Fills the new device.
    pub(crate) fn copy_to(&self, lvm: Lvm<'_>, node: &Node) -> Result<()> {
        let from = node::ensure_active(lvm, &self.place, &self.found)?;
        let source = from.open()?;
        let target =
            OpenOptions::new().write(true).open(&node.path).map_err(node::step("open", &node.path))?;
        let mut buffer = vec![0; PIECE];
        let (mut done, total) = (0, self.found.volume.size);
        while done < total {
            let length = usize::try_from(total - done).unwrap_or(PIECE).min(PIECE);
            let piece = buffer.get_mut(..length).unwrap_or_default();
            source.read_exact_at(piece, done).map_err(node::step("copy from", &from.path))?;
            target.write_all_at(piece, done).map_err(node::step("copy to", &node.path))?;
            done += length as u64;
        }
        target.sync_all().map_err(node::step("sync", &node.path))?;
        hit("lvm.copied");
        Ok(())
    }

    /// Gives the file system of the copy a UUID of its own.
    pub(crate) fn rename_copy(&self, lvm: Lvm<'_>, node: &Node) -> Result<Contents> {
        let contents = Contents { fs_type: self.contents.fs_type, uuid: random_uuid()? };
        filesystem::set_uuid(lvm.runner, (contents.fs_type, &node.path), &contents.uuid, IDENTITY_DEADLINE)?;
        hit("lvm.identified");
        Ok(contents)
    }
}
