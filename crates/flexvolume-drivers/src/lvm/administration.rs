//! What an administrator asks of the LVM drivers: which volumes there are, how much room, and to delete one.

use std::path::{Path, PathBuf};

use flexvolume::{Capacity, Options, Orphan, VolumeDescription};
use flexvolume_os::System;
use flexvolume_os::failpoint::hit;

use super::error::{LvmError, Result};
use super::inventory::{View, describe};
use super::locks::Locks;
use super::lookup::{self, Found, Known, Vacancy, look_up};
use super::name::Place;
use super::note;
use super::remove;
use super::report::GroupReport;
use super::request::Named;
use super::room;
use super::tags::{Owner, State};
use super::tool::{Lvm, Machine};
use crate::administration::{Deletion, Run};
use crate::claim::Claims;
use crate::inventory::Held;

/// A driver and what it keeps on this node.
#[derive(Debug)]
pub(crate) struct Administration<'a> {
    pub(crate) owner: Owner,
    pub(crate) locks: &'a Locks,
    /// Those of an ephemeral driver.
    pub(crate) claims: Option<&'a Claims>,
    pub(crate) system: &'a System,
}

impl Administration<'_> {
    pub(crate) fn lvm(&self) -> Lvm<'_> {
        Machine::new(self.system, self.owner).lvm
    }

    fn mount_dirs(&self) -> Vec<PathBuf> {
        self.claims.map(Claims::mount_dirs).unwrap_or_default()
    }

    pub(crate) fn view(&self, lock: Held) -> Result<View<'_>> {
        View::new((self.owner, lock), self.locks, self.mount_dirs(), self.system)
    }

    /// The volumes of a group, of all groups, or the one that the options name: those of this driver, and what has a name
    /// of ours.
    pub(crate) fn list(&self, options: &Options) -> Result<Vec<VolumeDescription>> {
        let named = Named::read(options, &[])?;
        let select = match &named.place {
            None => format!("lv_tags={{\"{}\"}} || lv_name=~\"^fvq?[.]\"", self.owner.tag()),
            Some(place) => lookup::selection(self.lvm(), place),
        };
        let reports = self.reports(&named, &select)?;
        let view = self.view(Held::PerhapsByOthers)?;
        let volumes = reports.iter().flat_map(|report| {
            let describe = |volume| describe(&report.group, volume, &view);
            report.volumes.iter().map(describe).collect::<Vec<_>>()
        });
        Ok(volumes.collect())
    }

    /// The group that is named, or all of them.
    fn reports(&self, named: &Named, select: &str) -> Result<Vec<GroupReport>> {
        match &named.vg {
            Some(vg) => Ok(vec![lookup::read_group(self.lvm(), vg, select)?]),
            None => lookup::read_all(self.lvm(), select),
        }
    }

    /// The room of a group, of a thin pool in it, or of all groups.
    pub(crate) fn capacity(&self, options: &Options) -> Result<Capacity> {
        let named = Named::read(options, &[])?;
        let reports = self.reports(&named, "lv_name=~\".\"")?;
        match reports.as_slice() {
            [report] => room::capacity(report, named.pool.as_ref()),
            several => room::of_all(several),
        }
    }

    /// The one description of a volume that has just been made.
    pub(crate) fn describe(&self, place: &Place) -> Result<VolumeDescription> {
        match look_up(self.lvm(), place).known()? {
            Known::Present(found) => self.describe_found(&found),
            Known::Absent(_) => Err(LvmError::Absent { subject: place.to_string() }),
        }
    }

    fn describe_found(&self, found: &Found) -> Result<VolumeDescription> {
        Ok(describe(&found.group, &found.volume, &self.view(Held::ByUs)?))
    }

    /// Deletes what the options name.
    pub(crate) fn delete(&self, options: &Options) -> Result<Option<VolumeDescription>> {
        let named = Named::read(options, &["orphan", "dryRun"])?;
        let deletion = Deletion::read(options)?;
        let place = named.required()?;
        let lock = self.locks.lock(&place.mapped())?;
        let outcome = look_up(self.lvm(), place).known().and_then(|known| match known {
            Known::Present(found) => self.delete_present(place, found, deletion).map(Some),
            Known::Absent(vacancy) => self.delete_rest(place, &vacancy, deletion),
        });
        // Whoever waits for it takes a new one.
        lock.discard()?;
        outcome
    }

    fn delete_present(
        &self,
        place: &Place,
        found: Box<Found>,
        deletion: Deletion,
    ) -> Result<VolumeDescription> {
        let description = self.describe_found(&found)?;
        if deletion.orphan.is_some() && deletion.orphan != description.orphan {
            return Err(not_an_orphan(place, deletion.orphan, &description));
        }
        let mount_dir = self.view(Held::ByUs)?.mount_dir(&found.record).map(Path::to_owned);
        let of_a_pod = matches!(found.record.state, State::Ready(_)) && found.record.mount_dir.is_some();
        if of_a_pod && mount_dir.is_some() && deletion.orphan != Some(Orphan::PodGone) {
            let remedy = format!(
                "it is {} and goes with the `unmount` of that; with `orphan=podGone` it can be deleted once the pod's directory is gone",
                description.note
            );
            return Err(LvmError::Busy { subject: place.to_string(), remedy });
        }
        note::forget(self.locks.directory(), place);
        if deletion.run == Run::Dry {
            remove::refuse(self.lvm(), place, &found)?;
            return Ok(description);
        }
        match found.record.state {
            State::Ready(_) => remove::destroy(self.lvm(), place, found, deletion.erase)?,
            State::Creating | State::Removing => remove::clear(self.lvm(), place, &found)?,
        }
        hit("lvm.deleted");
        if let (Some(claims), Some(mount_dir)) = (self.claims, mount_dir) {
            claims.remove(&mount_dir)?;
        }
        Ok(description)
    }

    /// What earlier deletions have left in quarantine.
    fn delete_rest(
        &self,
        place: &Place,
        vacancy: &Vacancy,
        deletion: Deletion,
    ) -> Result<Option<VolumeDescription>> {
        let view = self.view(Held::ByUs)?;
        let rest = vacancy.quarantined.first().map(|found| describe(&found.group, &found.volume, &view));
        if let Some(wanted) =
            deletion.orphan.filter(|wanted| *wanted != Orphan::HalfRemoved || rest.is_none())
        {
            let nothing =
                VolumeDescription { note: "there is nothing of it".to_owned(), ..Default::default() };
            return Err(not_an_orphan(place, Some(wanted), rest.as_ref().unwrap_or(&nothing)));
        }
        if deletion.run == Run::Real {
            remove::finish_all(self.lvm(), place, vacancy)?;
        }
        Ok(rest)
    }
}

fn not_an_orphan(place: &Place, wanted: Option<Orphan>, actual: &VolumeDescription) -> LvmError {
    let actual = match actual.orphan {
        Some(reason) => reason.as_str().to_owned(),
        None => format!("{} {}", actual.state.as_str(), actual.note).trim_end().to_owned(),
    };
    LvmError::NotAnOrphan { subject: place.to_string(), wanted: wanted.map_or("", Orphan::as_str), actual }
}
