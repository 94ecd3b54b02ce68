//! Thin pools.

use flexvolume_os::failpoint::hit;

use super::error::{LvmError, Result};
use super::lookup;
use super::name::{Place, PoolName};
use super::report::LogicalVolume;
use super::tool::Lvm;
use crate::error::RequestError;

/// A pool that has so little left (in hundredths of a per cent) takes no new volume: making its file system would fail, or
/// wait for ever where the pool queues writes when it is full.
const FULL: u64 = 98_00;

/// Makes sure that there is a pool with room for another volume. One that is missing is made if its size is given.
pub(crate) fn ensure(lvm: Lvm<'_>, place: &Place, pool: &PoolName, size: Option<u64>) -> Result<()> {
    let report = lookup::read(lvm, place, &format!("lv_name=\"{}\"", pool.as_str()))?;
    let subject = format!("{}/{}", place.vg.as_str(), pool.as_str());
    match (report.volumes.first(), size) {
        // Made by an earlier call that got no further.
        (Some(found), Some(_)) if is_pool(found) && is_unused(found) && found.when_full == "queue" => {
            set(lvm, &subject)
        }
        (Some(found), _) => fit(found, subject),
        (None, Some(size)) => {
            let needed = report.group.in_extents(size);
            let free = report.group.free();
            if needed > free {
                return Err(LvmError::Full { vg: report.group.name, subject, needed, free });
            }
            make(lvm, place, pool, size)
        }
        (None, None) => {
            let why =
                "there is no such thin pool in the group; with the option \"poolSize\" it is made".to_owned();
            Err(RequestError::Value { key: "pool", value: pool.as_str().to_owned(), why }.into())
        }
    }
}

/// A full pool gives its writers errors and does not let them hang; new blocks are zeroed.
fn make(lvm: Lvm<'_>, place: &Place, pool: &PoolName, size: u64) -> Result<()> {
    let (vg, name, size) = (place.vg.as_str(), pool.as_str(), format!("{size}b"));
    let subject = format!("{vg}/{name}");
    let words = ["-y", "--type", "thin-pool", "-Zy", "-L", &size, "-n", name, vg];
    lvm.change(&subject, "lvcreate", &words)?;
    hit("lvm.pool-created");
    set(lvm, &subject)
}

/// (LVM 2.03.16 does not take these words when it makes the pool.)
fn set(lvm: Lvm<'_>, subject: &str) -> Result<()> {
    lvm.change(subject, "lvchange", &["--errorwhenfull", "y", subject])?;
    hit("lvm.pool-set");
    Ok(())
}

/// Nobody has written to it.
fn is_unused(pool: &LogicalVolume) -> bool {
    hundredths(&pool.data_percent) == Some(0)
}

fn fit(found: &LogicalVolume, subject: String) -> Result<()> {
    if !is_pool(found) {
        let why = "is no thin pool".to_owned();
        return Err(LvmError::NotOurs { subject, why });
    }
    match hundredths(&found.data_percent) {
        Some(filled) if filled >= FULL => {
            let why = format!(
                "is a thin pool that is {}% full: `lvextend` it, or free blocks in its volumes (`fstrim`)",
                found.data_percent
            );
            Err(LvmError::Device { subject, why })
        }
        _ => Ok(()),
    }
}

/// Whether this is a thin pool, and no volume in one.
pub(crate) fn is_pool(volume: &LogicalVolume) -> bool {
    let mut words = volume.layout.split(',');
    volume.layout.starts_with("thin") && words.any(|word| word == "pool")
}

/// LVM's `12.34`, in hundredths.
pub(crate) fn hundredths(percent: &str) -> Option<u64> {
    let (whole, fraction) = percent.split_once('.').unwrap_or((percent, "0"));
    let fraction: String = fraction.chars().chain("00".chars()).take(2).collect();
    whole.parse::<u64>().ok()?.checked_mul(100)?.checked_add(fraction.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_read() {
        for (text, hundredths_) in
            [("0.00", 0), ("12.34", 1234), ("7", 700), ("7.5", 750), ("100.00", 10_000)]
        {
            assert_eq!(hundredths(text), Some(hundredths_), "{text}");
        }
        for text in ["", "x", "1.x", "-1"] {
            assert_eq!(hundredths(text), None, "{text}");
        }
    }
}
