use std::fs::File;

use flexvolume::Access;
use tempfile::TempDir;

use super::*;
use crate::record::State;
use crate::request::{Erase, ImageRequest};

const MIB: u64 = 1 << 20;

/// A volume of this size whose image is all hole.
fn add(pool: &Path, name: &str, allocation: Allocation, size: u64) -> Volume {
    let id = VolumeId::parse(name).unwrap();
    let request = ImageRequest {
        directory: pool.to_owned(),
        id: id.clone(),
        size,
        fs_type: FsType::Ext4,
        allocation,
        access: Access::ReadWrite,
        root_mode: None,
        source: None,
        erase: Erase::None,
    };
    let record = Record { state: State::Ready, ..Record::creating("flexvol/loop", &request, None).unwrap() };
    let volume = Pool::at(pool.to_owned()).volume(id);
    record::store(&volume.record(), &record).unwrap();
    File::create(volume.image()).unwrap().set_len(size).unwrap();
    volume
}

fn node() -> (TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let pool = root.path().join("loop");
    fs::create_dir(&pool).unwrap();
    (root, pool)
}

#[test]
fn what_is_promised_is_counted_by_its_kind() {
    let (_root, pool) = node();
    add(&pool, "reserved", Allocation::Reserved, 8 * MIB);
    add(&pool, "thin", Allocation::Thin, 32 * MIB);
    fs::write(pool.join("damaged.json"), "{").unwrap();
    fs::write(pool.join(".flexvol-pool.json"), "{}").unwrap();
    let found = promises(std::slice::from_ref(&pool), device(&pool).unwrap(), None);
    let thin = Fill { total: 32 * MIB, used: 0 };
    assert_eq!(found, Promises { reserved: 8 * MIB, owed: 8 * MIB, thin });
    assert_eq!(promises(std::slice::from_ref(&pool), device(&pool).unwrap() + 1, None), Promises::default());
    let capacity = capacity(&Pool::at(pool)).unwrap();
    assert_eq!((capacity.reserved, capacity.thin), (8 * MIB, thin));
    assert!(capacity.free > 0 && capacity.free < capacity.total && capacity.free.is_multiple_of(BLOCK));
}

#[test]
fn what_is_owed_in_another_pool_of_the_same_disk_is_not_free_here() {
    let (root, pool) = node();
    let elsewhere = root.path().join("loop-ephemeral");
    fs::create_dir(&elsewhere).unwrap();
    let owed = 1 << 40;
    add(&elsewhere, "trimmed", Allocation::Reserved, owed);
    let here = Pool::at(pool.clone()).on_node(root.path()).volume(VolumeId::parse("new").unwrap());
    let alone = Pool::at(pool.clone()).volume(VolumeId::parse("new").unwrap());
    let (_, available) = figures(&pool).unwrap();
    assert_eq!(beside(&here).unwrap(), available.saturating_sub(owed));
    assert!(beside(&alone).unwrap() > 0);
    let capacity = capacity(&Pool::at(pool).on_node(root.path())).unwrap();
    assert!(
        capacity.warnings[0].starts_with("reserved volumes lack 1Ti of their blocks"),
        "{:?}",
        capacity.warnings
    );
}

#[test]
fn a_volume_s_own_debt_is_not_held_against_it() {
    let (root, pool) = node();
    let volume = add(&pool, "trimmed", Allocation::Reserved, 1 << 40);
    let volume = Volume { pool: volume.pool.on_node(root.path()), ..volume };
    assert!(beside(&volume).unwrap() > 0);
}

#[test]
fn promises_that_cannot_be_kept_are_warned_about() {
    let thin = Promises { thin: Fill { total: 10 * MIB, used: 4 * MIB }, ..Promises::default() };
    assert_eq!(warnings(&thin, 6 * MIB, 12 * MIB), [""; 0]);
    let warned = warnings(&thin, 5 * MIB, 12 * MIB);
    assert_eq!(
        warned,
        [
            "thin volumes may still take 6Mi, but only 5Mi are free: writes in them can fail although they have room"
        ]
    );
    let full = warnings(&Promises::default(), MIB, 100 * MIB);
    assert_eq!(full, ["less than 5% of the file system is free (1Mi of 100Mi)"]);
}
