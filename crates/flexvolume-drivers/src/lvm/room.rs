//! What a volume group, or a thin pool, has room for.

use flexvolume::{Capacity, Fill};

use super::error::{LvmError, Result};
use super::name::PoolName;
use super::pool::{hundredths, is_pool};
use super::report::{Group, GroupReport, LogicalVolume};

/// Bytes of metadata that a volume with our tags takes, and a reserve: measured with names of 45 characters.
const METADATA_OF_A_VOLUME: u64 = 640;

/// Fewer volumes to come than this are worth a warning.
const FEW_VOLUMES: u64 = 50;

/// A pool that is filled to so many hundredths of a per cent is worth a warning.
const NEARLY_FULL: u64 = 80_00;

/// The room of the group, or of one of its thin pools. The report has all volumes of the group.
pub(crate) fn capacity(report: &GroupReport, pool: Option<&PoolName>) -> Result<Capacity> {
    let group = &report.group;
    let metadata = Fill { total: group.metadata_limit(), used: group.metadata_used() };
    let base = Capacity {
        minimum_volume: Some(group.extent),
        granularity: Some(group.extent),
        metadata: Some(metadata),
        warnings: warnings(report, pool),
        ..Capacity::default()
    };
    let Some(pool) = pool else {
        let reserved = report.volumes.iter().filter(|volume| volume.pool.is_empty());
        return Ok(Capacity {
            pool: group.name.clone(),
            total: group.size,
            free: group.free(),
            reserved: reserved.map(|volume| volume.size).fold(0, u64::saturating_add),
            thin: promised(report, |_| true),
            ..base
        });
    };
    let subject = format!("{}/{}", group.name, pool.as_str());
    let Some(found) = report.volumes.iter().find(|volume| volume.name == pool.as_str() && is_pool(volume))
    else {
        return Err(LvmError::Device { subject, why: "is no thin pool (`lvs`)".to_owned() });
    };
    let thin = promised(report, |volume| volume.pool == pool.as_str());
    let taken = filled(found, &found.data_percent);
    let of_metadata = hundredths(&found.metadata_percent).unwrap_or_default();
    Ok(Capacity {
        pool: subject,
        total: found.size,
        // More could be promised; so much can also be kept.
        free: found.size.saturating_sub(thin.total.max(taken)),
        thin: Fill { used: taken, ..thin },
        // Of the pool's own metadata LVM tells the share only.
        metadata: Some(Fill { total: 10_000, used: of_metadata }),
        ..base
    })
}

/// The room of several groups, of which a volume can have one only.
pub(crate) fn of_all(reports: &[GroupReport]) -> Result<Capacity> {
    let mut all = Capacity::default();
    for report in reports {
        let one = capacity(report, None)?;
        all.total = all.total.saturating_add(one.total);
        all.free = all.free.max(one.free);
        all.reserved = all.reserved.saturating_add(one.reserved);
        all.thin.total = all.thin.total.saturating_add(one.thin.total);
        all.thin.used = all.thin.used.saturating_add(one.thin.used);
        all.warnings.extend(one.warnings);
    }
    let names: Vec<_> = reports.iter().map(|report| report.group.name.as_str()).collect();
    all.pool = if names.is_empty() { "no volume group".to_owned() } else { names.join(", ") };
    Ok(all)
}

/// The sizes of thin volumes, and what they take.
fn promised(report: &GroupReport, which: impl Fn(&LogicalVolume) -> bool) -> Fill {
    let thin = report.volumes.iter().filter(|volume| !volume.pool.is_empty() && which(volume));
    thin.fold(Fill::default(), |sum, volume| Fill {
        total: sum.total.saturating_add(volume.size),
        used: sum.used.saturating_add(filled(volume, &volume.data_percent)),
    })
}

fn filled(volume: &LogicalVolume, percent: &str) -> u64 {
    let share = u128::from(hundredths(percent).unwrap_or_default());
    u64::try_from(u128::from(volume.size) * share / 10_000).unwrap_or(u64::MAX)
}

/// What somebody should do something about in this group, or in one of its pools.
pub(crate) fn warnings(report: &GroupReport, only: Option<&PoolName>) -> Vec<String> {
    let mut warnings = of_group(&report.group);
    let pools = report.volumes.iter().filter(|volume| is_pool(volume));
    for pool in pools.filter(|pool| only.is_none_or(|only| only.as_str() == pool.name)) {
        warnings.extend(of_pool(report, pool));
    }
    warnings
}

fn of_group(group: &Group) -> Vec<String> {
    let mut warnings = Vec::new();
    if group.missing > 0 {
        let text = "of its disks are missing, so nothing can be changed";
        warnings.push(format!("{}: {} {text}", group.name, group.missing));
    }
    let to_come = group.metadata_free / METADATA_OF_A_VOLUME;
    if to_come < FEW_VOLUMES {
        warnings.push(format!(
            "{}: its metadata area has room for about {to_come} more volumes (`vgcreate --metadatasize` makes it larger, in a new group only)",
            group.name
        ));
    }
    warnings
}

fn of_pool(report: &GroupReport, pool: &LogicalVolume) -> Vec<String> {
    let name = format!("{}/{}", report.group.name, pool.name);
    let mut warnings = Vec::new();
    for (what, percent) in [("data", &pool.data_percent), ("metadata", &pool.metadata_percent)] {
        if hundredths(percent).is_some_and(|filled| filled >= NEARLY_FULL) {
            warnings.push(format!("{name}: its {what} is {percent}% full: `lvextend` it"));
        }
    }
    let promised = promised(report, |volume| volume.pool == pool.name).total;
    if promised > pool.size {
        warnings
            .push(format!("{name}: {promised} bytes are promised to its volumes, and it has {}", pool.size));
    }
    if pool.when_full == "queue" {
        warnings.push(format!(
            "{name}: when it is full its writers hang for a minute before they get an error (`lvchange --errorwhenfull y {name}`)"
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(name: &str, layout: &str, pool: &str, size: u64) -> LogicalVolume {
        let json = format!(
            r#"{{"lv_name":"{name}","lv_uuid":"u","lv_size":"{size}","lv_layout":"{layout}","pool_lv":"{pool}"}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    fn report() -> GroupReport {
        let group = r#"{"vg_name":"vg0","vg_uuid":"v","vg_size":"1000","vg_extent_size":"4","vg_free_count":"100",
            "vg_missing_pv_count":"0","vg_mda_free":"520000","vg_mda_size":"1044480"}"#;
        let mut pool = volume("tp", "thin,pool", "", 100);
        pool.data_percent = "85.00".to_owned();
        pool.metadata_percent = "10.00".to_owned();
        let mut thin = volume("fv.b", "thin,sparse", "tp", 200);
        thin.data_percent = "25.50".to_owned();
        let volumes = vec![volume("fv.a", "linear", "", 300), pool, thin];
        GroupReport { group: serde_json::from_str(group).unwrap(), volumes }
    }

    #[test]
    fn a_group_counts_what_is_its_own_and_what_is_promised() {
        let capacity = capacity(&report(), None).unwrap();
        assert_eq!((capacity.total, capacity.free, capacity.reserved), (1000, 400, 400));
        assert_eq!(capacity.thin, Fill { total: 200, used: 51 });
        assert_eq!(capacity.metadata, Some(Fill { total: 522_240, used: 2240 }));
        assert!(capacity.warnings.iter().any(|text| text.contains("85.00% full")), "{:?}", capacity.warnings);
    }

    #[test]
    fn a_pool_that_promises_too_much_says_so_and_has_nothing_free() {
        let name = PoolName::parse("pool", "tp").unwrap();
        let capacity = capacity(&report(), Some(&name)).unwrap();
        assert_eq!((capacity.pool.as_str(), capacity.total, capacity.free), ("vg0/tp", 100, 0));
        assert!(capacity.warnings.iter().any(|text| text.contains("200 bytes are promised")));
        let other = PoolName::parse("pool", "fv.a").unwrap();
        super::capacity(&report(), Some(&other)).unwrap_err();
    }

    #[test]
    fn of_several_groups_a_volume_can_have_one() {
        let (one, mut other) = (report(), report());
        (other.group.name, other.group.free_extents) = ("vg1".to_owned(), 7);
        let all = of_all(&[one, other]).unwrap();
        assert_eq!((all.pool.as_str(), all.total, all.free, all.reserved), ("vg0, vg1", 2000, 400, 800));
        assert_eq!(of_all(&[]).unwrap().pool, "no volume group");
    }

    #[test]
    fn a_group_that_cannot_take_many_more_volumes_or_lacks_a_disk_says_so() {
        let mut report = report();
        (report.group.metadata_free, report.group.missing) = (6400, 1);
        let warnings = warnings(&report, None);
        assert!(warnings.iter().any(|text| text.contains("about 10 more volumes")), "{warnings:?}");
        assert!(warnings.iter().any(|text| text.contains("disks are missing")), "{warnings:?}");
    }
}
