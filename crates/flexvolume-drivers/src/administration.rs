//! What an administrator asks of the loop drivers: which volumes there are, how much room, and to delete one.

use std::path::{Path, PathBuf};

use flexvolume::{Capacity, Options, Orphan, VolumeDescription};
use flexvolume_os::System;
use flexvolume_os::failpoint::hit;

use crate::acquaintance::Acquaintances;
use crate::error::{RequestError, Result, VolumeError};
use crate::image;
use crate::inventory::{self, Held, View};
use crate::pool::{Pool, Volume, VolumeId, WhenMissing};
use crate::record::{self, Record, State};
use crate::removal;
use crate::request::{self, Erase, PERSISTENT, VOLUME, refuse_unknown};
use crate::room;

const ORPHAN: &str = "orphan";
const DRY_RUN: &str = "dryRun";

/// A driver and its pools.
#[derive(Debug)]
pub(crate) struct Administration<'a> {
    /// The driver, as it stands in records.
    pub(crate) owner: &'static str,
    /// Its own pool.
    pub(crate) own_pool: &'a Path,
    /// The state directory of the node.
    pub(crate) state: &'a Path,
    pub(crate) system: &'a System,
}

/// How a volume is to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deletion {
    /// What the options say; else the volume's record does.
    pub(crate) erase: Option<Erase>,
    /// Why it is an orphan, when a plain deletion must refuse it.
    pub(crate) orphan: Option<Orphan>,
    pub(crate) run: Run,
}

/// Whether anything is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Run {
    Dry,
    Real,
}

impl Deletion {
    pub(crate) fn read(options: &Options) -> std::result::Result<Self, RequestError> {
        let wrong = |key: &'static str, value: &str, why: String| {
            Err(RequestError::Value { key, value: value.to_owned(), why })
        };
        let orphan = match options.get(ORPHAN) {
            None => None,
            Some(word) => match Orphan::parse(word) {
                Some(reason) => Some(reason),
                None => {
                    let words = Orphan::ALL.map(Orphan::as_str).join(", ");
                    return wrong(ORPHAN, word, format!("it is one of {words}"));
                }
            },
        };
        let run = match options.get(DRY_RUN) {
            None | Some("false") => Run::Real,
            Some("true") => Run::Dry,
            Some(other) => return wrong(DRY_RUN, other, "it is \"true\" or \"false\"".to_owned()),
        };
        Ok(Self { erase: request::erase(options)?, orphan, run })
    }
}

impl Administration<'_> {
    /// The volumes of a pool, or the one that the options name.
    pub(crate) fn list(&self, options: &Options) -> Result<Vec<VolumeDescription>> {
        refuse_unknown(options, &PERSISTENT)?;
        let Some(pool) = self.pool(options)? else { return Ok(Vec::new()) };
        let view = self.view(Held::PerhapsByOthers)?;
        match id(options) {
            "" => inventory::of_pool(&pool, &view),
            name => inventory::of_volume(&pool.volume(VolumeId::parse(name)?), &view),
        }
    }

    /// The room of a pool; that of the driver's own is told before it exists.
    pub(crate) fn capacity(&self, options: &Options) -> Result<Capacity> {
        refuse_unknown(options, &PERSISTENT)?;
        let directory = request::directory(options, self.own_pool)?;
        match self.pool(options)? {
            Some(pool) => room::capacity(&pool),
            None => {
                let above =
                    directory.ancestors().find(|ancestor| ancestor.is_dir()).unwrap_or(Path::new("/"));
                let pool = Pool::at(above.to_owned()).on_node(self.state);
                Ok(Capacity { pool: directory.display().to_string(), ..room::capacity(&pool)? })
            }
        }
    }

    /// The pool that the options name, `None` for the driver's own when nothing was ever made in it.
    pub(crate) fn pool(&self, options: &Options) -> Result<Option<Pool>> {
        let directory = request::directory(options, self.own_pool)?;
        let own = directory == self.own_pool;
        let pool = Pool::at(directory.clone()).on_node(self.state);
        if own
            && std::fs::symlink_metadata(&directory)
                .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
        {
            return Ok(None);
        }
        pool.prepare(WhenMissing::Refuse)?;
        if !own {
            // Below a disk that is away everything looks absent.
            Acquaintances::new(self.state).check(&directory)?;
        }
        Ok(Some(pool))
    }

    fn view(&self, lock: Held) -> Result<View<'_>> {
        View::new((self.owner, self.own_pool), lock, self.system)
    }

    /// The one description of a volume that is not a leftover.
    pub(crate) fn describe(&self, volume: &Volume) -> Result<VolumeDescription> {
        let found = inventory::of_volume(volume, &self.view(Held::ByUs)?)?;
        let directory = volume.pool.directory().to_owned();
        let absent = || VolumeError::Absent { id: volume.id.as_str().to_owned(), directory };
        found.into_iter().find(|found| !found.owner.is_empty()).ok_or_else(absent)
    }

    /// Deletes what the options name. `delete_ready` is for a volume that is in order.
    pub(crate) fn delete(
        &self,
        options: &Options,
        delete_ready: &dyn Fn(&Volume, Record, Deletion) -> Result<()>,
    ) -> Result<Option<VolumeDescription>> {
        refuse_unknown(options, &[&PERSISTENT[..], &[ORPHAN, DRY_RUN]].concat())?;
        let deletion = Deletion::read(options)?;
        let id = VolumeId::parse(id(options))?;
        let Some(pool) = self.pool(options)? else { return Ok(None) };
        let volume = pool.volume(id);
        let lock = volume.lock()?;
        let outcome = self.delete_alone(&volume, deletion, delete_ready);
        let left = inventory::of_volume(&volume, &self.view(Held::ByUs)?)?;
        if left.is_empty() {
            lock.discard()?;
        }
        outcome
    }

    fn delete_alone(
        &self,
        volume: &Volume,
        deletion: Deletion,
        delete_ready: &dyn Fn(&Volume, Record, Deletion) -> Result<()>,
    ) -> Result<Option<VolumeDescription>> {
        let Some(reason) = deletion.orphan else {
            let Some(record) = image::look_up(volume, self.owner).known()? else { return Ok(None) };
            let description = self.describe(volume)?;
            refuse_used(&description)?;
            match record.state {
                State::Ready => delete_ready(volume, record, deletion)?,
                State::Creating | State::Removing => finish(volume, record, deletion)?,
            }
            return Ok(Some(description));
        };
        let mut found = inventory::of_volume(volume, &self.view(Held::ByUs)?)?;
        let Some(position) = found.iter().position(|found| found.orphan == Some(reason)) else {
            return Err(not_an_orphan(volume, reason, &found));
        };
        let description = found.swap_remove(position);
        let file = PathBuf::from(&description.device);
        refuse_used(&description)?;
        let record: Option<Record> = record::load(&volume.record())?;
        match (reason, record) {
            (Orphan::PodGone, Some(record)) => delete_ready(volume, record, deletion)?,
            (Orphan::HalfMade | Orphan::HalfRemoved, Some(record)) if record.state != State::Ready => {
                finish(volume, record, deletion)?;
            }
            _ if deletion.run == Run::Dry => {}
            (Orphan::NoData, Some(_)) => record::remove(&volume.record())?,
            _ => removal::remove_stray(volume, &file, deletion.erase.unwrap_or_default())?,
        }
        hit("administration.deleted");
        Ok(Some(description))
    }
}

/// The volume that the options name: the same words as in a manifest.
fn id(options: &Options) -> &str {
    options.get(VOLUME).unwrap_or(&options.volume_name)
}

/// Removes a volume that is in order, or what a creation or removal has left of one.
pub(crate) fn finish(volume: &Volume, record: Record, deletion: Deletion) -> Result<()> {
    match deletion.run {
        Run::Dry => Ok(()),
        Run::Real => {
            let erase = deletion.erase.unwrap_or(record.erase);
            removal::remove(volume, Record { erase, ..record })
        }
    }
}

/// Errs for what is mounted here, at once, and for what is attached otherwise, which may be about to vanish.
fn refuse_used(description: &VolumeDescription) -> Result<()> {
    let file = PathBuf::from(&description.device);
    if description.mounts.is_empty() {
        return removal::refuse_attached(&file);
    }
    let remedy =
        format!("it is {}; unmount it everywhere, then call again", description.in_use_by.join(", "));
    Err(VolumeError::Busy { path: file, remedy })
}

fn not_an_orphan(volume: &Volume, wanted: Orphan, found: &[VolumeDescription]) -> VolumeError {
    let actual = found.iter().map(|found| match found.orphan {
        Some(reason) => reason.as_str().to_owned(),
        None => format!("{} {}", found.state.as_str(), found.note).trim_end().to_owned(),
    });
    let actual: Vec<_> = actual.collect();
    let actual = if actual.is_empty() {
        "there is nothing of it".to_owned()
    } else {
        format!("it is {}", actual.join(", "))
    };
    VolumeError::NotAnOrphan { id: volume.id.as_str().to_owned(), wanted: wanted.as_str(), actual }
}
