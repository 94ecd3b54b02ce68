//! The end of a volume.

use flexvolume_os::failpoint::hit;

use super::create::retag;
use super::erase;
use super::error::{LvmError, Result};
use super::lookup::{self, Found, Vacancy};
use super::name::{self, Place};
use super::node;
use super::tags::{Record, State};
use super::tool::Lvm;
use crate::request::Erase;

/// Gives the data of a volume up and removes it. `erase` overrules what its tags say. The caller holds its lock. Repeatable
/// after a crash anywhere.
pub(crate) fn destroy(
    lvm: Lvm<'_>,
    place: &Place,
    mut found: Box<Found>,
    erase: Option<Erase>,
) -> Result<()> {
    refuse(lvm, place, &found)?;
    let removing =
        Record { state: State::Removing, erase: erase.unwrap_or(found.record.erase), ..found.record.clone() };
    retag(lvm, place, &found.record, &removing)?;
    hit("lvm.removing");
    found.record = removing;
    quarantine(lvm, place, &found)?;
    finish(lvm, place, &found)
}

/// Goes on with what earlier calls have left of a volume in quarantine.
pub(crate) fn finish_all(lvm: Lvm<'_>, place: &Place, vacancy: &Vacancy) -> Result<()> {
    vacancy.quarantined.iter().try_for_each(|found| finish(lvm, place, found))
}

/// Removes a volume that holds nobody's data: one that never became ready, or one that is being removed already.
pub(crate) fn clear(lvm: Lvm<'_>, place: &Place, found: &Found) -> Result<()> {
    refuse(lvm, place, found)?;
    if found.record.state == State::Removing {
        quarantine(lvm, place, found)?;
    }
    finish(lvm, place, found)
}

/// Errs if the volume cannot be removed now.
pub(crate) fn refuse(lvm: Lvm<'_>, place: &Place, found: &Found) -> Result<()> {
    refuse_needed(lvm, place)?;
    node::refuse_used(place, found)
}

/// LVM removes the snapshots of a volume with it, without a question. (Those in a thin pool live on.)
fn refuse_needed(lvm: Lvm<'_>, place: &Place) -> Result<()> {
    let select = format!("(origin=\"{}\" && pool_lv=\"\") || pool_lv=\"{}\"", place.lv(), place.lv());
    let dependents: Vec<_> =
        lookup::read(lvm, place, &select)?.volumes.into_iter().map(|volume| volume.name).collect();
    if dependents.is_empty() {
        return Ok(());
    }
    Err(LvmError::Needed { subject: place.to_string(), dependents: dependents.join(", ") })
}

/// Frees the name of a volume that must be erased first. Its blocks stay allocated, so LVM gives them to nobody.
fn quarantine(lvm: Lvm<'_>, place: &Place, found: &Found) -> Result<()> {
    if !erase::is_needed(found) {
        return Ok(());
    }
    let vg = place.vg.as_str();
    lvm.change(&place.to_string(), "lvrename", &[vg, place.lv(), &name::quarantine(&found.volume.uuid)])?;
    hit("lvm.quarantined");
    Ok(())
}

/// Erases what must be erased, and removes. Only when a look finds the volume gone is that a success.
fn finish(lvm: Lvm<'_>, place: &Place, found: &Found) -> Result<()> {
    if found.record.state != State::Creating && erase::is_needed(found) {
        erase::erase(lvm, place, found)?;
        hit("lvm.erased");
    }
    let subject = place.to_string();
    lvm.change(&subject, "lvremove", &["-y", "-S", &found.select(lvm.owner), place.vg.as_str()])?;
    hit("lvm.removed");
    let select = format!("lv_uuid=\"{}\"", found.volume.uuid);
    if lookup::read(lvm, place, &select)?.volumes.is_empty() {
        return Ok(());
    }
    let remedy = "LVM did not remove it; is it still ours? (`lvs -o+lv_tags`)".to_owned();
    Err(LvmError::Busy { subject, remedy })
}
