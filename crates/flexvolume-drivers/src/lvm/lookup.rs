//! Is the volume there? Present, absent, not ours, or we cannot know.

use super::error::{LvmError, Result};
use super::name::{self, Place, VgName};
use super::report::{self, Group, GroupReport, LV_COLUMNS, LogicalVolume, VG_COLUMNS};
use super::tags::{Owner, Reading, Record, State, id_tag};
use super::tool::{Lvm, NoReport};

/// A volume that is there.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) group: Group,
    pub(crate) volume: LogicalVolume,
    pub(crate) record: Record,
}

impl Found {
    /// Selects this very volume, as long as it is ours, for a command of LVM.
    pub(crate) fn select(&self, owner: Owner) -> String {
        format!("lv_uuid=\"{}\" && lv_tags={{\"{}\"}}", self.volume.uuid, owner.tag())
    }
}

/// A group that does not have the volume.
#[derive(Debug, Clone)]
pub(crate) struct Vacancy {
    pub(crate) group: Group,
    /// What earlier volumes of the id have left in quarantine.
    pub(crate) quarantined: Vec<Found>,
}

/// What a look at the volume group found.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// It is there, in the state that its tags say.
    Present(Box<Found>),
    /// There is no such volume in this group.
    Absent(Box<Vacancy>),
    /// There is something of its name that belongs to somebody else.
    NotOurs(LvmError),
    /// There is no telling.
    CannotKnow(LvmError),
}

impl Lookup {
    /// Present or absent; the other two outcomes are errors.
    pub(crate) fn known(self) -> Result<Known> {
        match self {
            Lookup::Present(found) => Ok(Known::Present(found)),
            Lookup::Absent(vacancy) => Ok(Known::Absent(vacancy)),
            Lookup::NotOurs(error) | Lookup::CannotKnow(error) => Err(error),
        }
    }
}

/// The two outcomes that allow to go on.
#[derive(Debug)]
pub(crate) enum Known {
    Present(Box<Found>),
    Absent(Box<Vacancy>),
}

/// Looks the volume up: one read of LVM, and more only to say why there is no telling.
pub(crate) fn look_up(lvm: Lvm<'_>, place: &Place) -> Lookup {
    match read(lvm, place, &selection(lvm, place)) {
        Ok(report) => classify(report, place, lvm.owner),
        Err(error) => Lookup::CannotKnow(error),
    }
}

/// Selects the volume of this place, and what is left of earlier ones in quarantine.
pub(crate) fn selection(lvm: Lvm<'_>, place: &Place) -> String {
    let [owner, id, removing] = [lvm.owner.tag(), id_tag(&place.id), State::Removing.tags().concat()];
    format!("lv_name=\"{}\" || lv_tags={{\"{owner}\" && \"{id}\" && \"{removing}\"}}", place.lv())
}

/// The group of the place, and the volumes in it that `select` names.
pub(crate) fn read(lvm: Lvm<'_>, place: &Place, select: &str) -> Result<GroupReport> {
    read_about(lvm, (&place.vg, place.to_string()), select)
}

/// A group, and the volumes in it that `select` names.
pub(crate) fn read_group(lvm: Lvm<'_>, vg: &VgName, select: &str) -> Result<GroupReport> {
    read_about(lvm, (vg, vg.as_str().to_owned()), select)
}

fn read_about(lvm: Lvm<'_>, (vg, subject): (&VgName, String), select: &str) -> Result<GroupReport> {
    let vg = vg.as_str();
    let cannot_know = |why: String| LvmError::CannotKnow { subject: subject.clone(), why };
    let bytes = match lvm.read(&full_report(vg, select)) {
        Ok(bytes) => bytes,
        Err(NoReport::Failed(error)) => return Err(error),
        Err(no_report) => return Err(cannot_know(why(lvm, vg, no_report))),
    };
    let unreadable = |what: String| cannot_know(format!("LVM's report cannot be read: {what}"));
    let mut groups = report::groups(&bytes).map_err(|error| unreadable(error.to_string()))?;
    match (groups.pop(), groups.is_empty()) {
        (Some(report), true) if report.group.name == vg => Ok(report),
        _ => Err(unreadable(format!("it is not about the one group {vg}"))),
    }
}

/// All groups of this node, and the volumes in them that `select` names.
pub(crate) fn read_all(lvm: Lvm<'_>, select: &str) -> Result<Vec<GroupReport>> {
    let cannot_know = |why: String| LvmError::CannotKnow { subject: "the volume groups".to_owned(), why };
    let mut words = full_report("", select);
    // Without a name, LVM means every group.
    words.pop();
    let bytes = lvm.read(&words).map_err(|no_report| match no_report {
        NoReport::Failed(error) => error,
        no_report => cannot_know(why(lvm, "", no_report)),
    })?;
    report::groups(&bytes).map_err(|error| cannot_know(format!("LVM's report cannot be read: {error}")))
}

/// Group and volumes in one run; the other three parts of the report stay empty.
fn full_report<'a>(vg: &'a str, select: &'a str) -> Vec<&'a str> {
    let mut words = vec!["fullreport", "--reportformat", "json", "--units", "b", "--nosuffix"];
    for part in ["pv", "pvseg", "seg"] {
        words.extend(["--configreport", part, "-o,"]);
    }
    words.extend(["--configreport", "vg", "-o", VG_COLUMNS]);
    words.extend(["--configreport", "lv", "-o", LV_COLUMNS, "-S", select, vg]);
    words
}

/// Why there is no report: by a second read, which takes no lock and changes nothing.
fn why(lvm: Lvm<'_>, vg: &str, no_report: NoReport) -> String {
    let listed = lvm.read(&["vgs", "--readonly", "--reportformat", "json", "-o", "vg_name,vg_uuid"]);
    let names = listed.ok().and_then(|bytes| report::names(&bytes).ok());
    let text = match no_report {
        NoReport::TimedOut => {
            let waited = lvm.patience.read.as_secs();
            let Some(_) = names else {
                return format!("LVM does not answer within {waited}s: a disk may be hanging");
            };
            return format!(
                "no answer within {waited}s: another command of LVM holds the lock of {vg} (`ps`, `lsof /run/lock/lvm`)"
            );
        }
        NoReport::Refused(text) => text,
        NoReport::Failed(error) => return error.to_string(),
    };
    let Some(names) = names else { return text };
    let same: Vec<_> = names.iter().filter(|name| name.name == vg).map(|name| name.uuid.as_str()).collect();
    match same.as_slice() {
        [] => {
            let others: Vec<_> = names.iter().map(|name| name.name.as_str()).collect();
            let others = if others.is_empty() { "none".to_owned() } else { others.join(", ") };
            format!(
                "there is no volume group {vg} on this node now (there is: {others}); is its disk attached?"
            )
        }
        [_] => text,
        uuids => format!(
            "there are {} volume groups {vg}: rename one (`vgrename UUID NEW_NAME`), they are {}",
            uuids.len(),
            uuids.join(" and ")
        ),
    }
}

/// What the report says about the volume.
fn classify(report: GroupReport, place: &Place, owner: Owner) -> Lookup {
    let GroupReport { group, volumes } = report;
    let (named, others): (Vec<_>, Vec<_>) = volumes.into_iter().partition(|volume| volume.name == place.lv());
    let Some(volume) = named.into_iter().next() else {
        if group.missing > 0 {
            // Its metadata may be newer on the disk that is away.
            let why = format!(
                "{} of the disks of {} are missing (`pvs`): bring them back",
                group.missing, group.name
            );
            return Lookup::CannotKnow(LvmError::CannotKnow { subject: place.to_string(), why });
        }
        let quarantined = quarantined(&group, others, place, owner);
        return Lookup::Absent(Box::new(Vacancy { group, quarantined }));
    };
    match owned(&volume, place, owner) {
        Ok(record) => Lookup::Present(Box::new(Found { group, volume, record })),
        Err(error @ LvmError::NotOurs { .. }) => Lookup::NotOurs(error),
        Err(error) => Lookup::CannotKnow(error),
    }
}

/// The record of a volume of this name, if it is this driver's volume of this id, and whole.
fn owned(volume: &LogicalVolume, place: &Place, owner: Owner) -> Result<Record> {
    let subject = place.to_string();
    let record = match Record::read(&volume.tags) {
        Reading::Record(record) => *record,
        Reading::Foreign => {
            return Err(LvmError::NotOurs { subject, why: "has no tag of ours".to_owned() });
        }
        Reading::Damaged(why) => {
            let why =
                format!("its tags make no sense ({why}): correct them with `lvchange --addtag … --deltag …`");
            return Err(LvmError::CannotKnow { subject, why });
        }
    };
    let why = if record.owner != owner.as_str() {
        format!("belongs to the driver {:?}", record.owner)
    } else if record.id != place.id {
        format!("is the volume {:?}", record.id)
    } else if volume.health.contains("partial") && !volume.layout.contains("raid") {
        // (A mirror that lacks a disk still has all the data.)
        let why = "a disk that holds part of it is missing (`lvs -o+devices`): bring it back".to_owned();
        return Err(LvmError::CannotKnow { subject, why });
    } else {
        return Ok(record);
    };
    Err(LvmError::NotOurs { subject, why })
}

/// Those of the volumes that are in quarantine and were the volume of this place.
fn quarantined(group: &Group, volumes: Vec<LogicalVolume>, place: &Place, owner: Owner) -> Vec<Found> {
    let ours = |volume: LogicalVolume| match Record::read(&volume.tags) {
        Reading::Record(record)
            if record.owner == owner.as_str()
                && record.id == place.id
                && record.state == State::Removing
                && volume.name == name::quarantine(&volume.uuid) =>
        {
            Some(Found { group: group.clone(), volume, record: *record })
        }
        _ => None,
    };
    volumes.into_iter().filter_map(ours).collect()
}
