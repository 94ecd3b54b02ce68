use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use flexvolume::Access;
use flexvolume_os::filesystem::FsType;
use tempfile::TempDir;

use super::*;
use crate::pool::{Pool, VolumeId};
use crate::request::{Allocation, ImageRequest};

const SIZE: usize = 1 << 20;

/// A ready volume whose image is full of data, but for a hole.
struct World {
    root: TempDir,
    volume: Volume,
    record: Record,
}

impl World {
    fn with(erase: Erase) -> Self {
        let root = tempfile::tempdir().unwrap();
        let id = VolumeId::parse("data").unwrap();
        let request = ImageRequest {
            directory: root.path().to_owned(),
            id: id.clone(),
            size: SIZE as u64,
            fs_type: FsType::Ext4,
            allocation: Allocation::Thin,
            access: Access::ReadWrite,
            root_mode: None,
            source: None,
            erase,
        };
        let record =
            Record { state: State::Ready, ..Record::creating("flexvol/loop", &request, None).unwrap() };
        let volume = Pool::at(root.path().to_owned()).volume(id);
        record::store(&volume.record(), &record).unwrap();
        let image = File::create(volume.image()).unwrap();
        image.write_all_at(&[0x5a; SIZE / 4], 0).unwrap();
        image.write_all_at(&[0x5a; SIZE / 4], SIZE as u64 / 2).unwrap();
        image.set_len(SIZE as u64).unwrap();
        Self { root, volume, record }
    }

    fn files(&self) -> Vec<PathBuf> {
        fs::read_dir(self.root.path()).unwrap().map(|entry| entry.unwrap().path()).collect()
    }
}

#[test]
fn a_removed_volume_leaves_nothing_wherever_an_earlier_removal_stopped() {
    type Step = fn(&Volume, &Record);
    let steps: [Step; 4] = [
        |_, _| {},
        |volume, _| fs::rename(volume.image(), volume.trash()).unwrap(),
        |volume, _| fs::remove_file(volume.image()).unwrap(),
        |volume, record| fs::rename(volume.image(), volume.attempt(&record.uuid)).unwrap(),
    ];
    for erase in [Erase::None, Erase::Discard, Erase::Zero] {
        for step in steps {
            let World { root: _root, volume, record } = &World::with(erase);
            let removing = Record { state: State::Removing, ..record.clone() };
            record::store(&volume.record(), &removing).unwrap();
            step(volume, record);
            remove(volume, removing).unwrap();
            assert_eq!(fs::read_dir(volume.pool.directory()).unwrap().count(), 0);
        }
    }
}

#[test]
fn what_is_overwritten_is_zero_and_holes_stay_holes() {
    let world = World::with(Erase::Zero);
    let path = world.volume.image();
    let file = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let before = fs::metadata(&path).unwrap().blocks();
    zero_data(&file, SIZE as u64 / 8, SIZE as u64 * 5 / 8).unwrap();
    let left = fs::read(&path).unwrap();
    let (first, last) = (SIZE / 8, SIZE * 5 / 8);
    assert!(left[..first].iter().all(|byte| *byte == 0x5a));
    assert!(left[first..last].iter().all(|byte| *byte == 0));
    assert!(left[last..SIZE * 3 / 4].iter().all(|byte| *byte == 0x5a));
    assert!(fs::metadata(&path).unwrap().blocks() <= before);
}

#[test]
fn blocks_are_given_back_from_the_end_once_they_are_clean() {
    let world = World::with(Erase::Zero);
    let witness = world.root.path().join("witness");
    fs::hard_link(world.volume.image(), &witness).unwrap();
    remove(&world.volume, world.record.clone()).unwrap();
    assert_eq!(world.files(), std::slice::from_ref(&witness));
    assert_eq!(fs::metadata(&witness).unwrap().len(), 0);
}

#[test]
fn a_stray_file_goes_through_quarantine_and_what_is_there_already_is_not_forgotten() {
    for erase in [Erase::None, Erase::Discard, Erase::Zero] {
        let world = World::with(Erase::None);
        fs::write(world.volume.trash(), "an earlier one").unwrap();
        remove_stray(&world.volume, &world.volume.image(), erase).unwrap();
        assert_eq!(world.files(), [world.volume.record()]);
    }
}

#[test]
fn what_is_discarded_has_no_blocks_any_more() {
    let world = World::with(Erase::Discard);
    let witness = world.root.path().join("witness");
    fs::hard_link(world.volume.image(), &witness).unwrap();
    remove(&world.volume, world.record.clone()).unwrap();
    assert_eq!(fs::metadata(&witness).unwrap().blocks(), 0);
}

#[test]
fn while_the_data_is_in_quarantine_the_record_says_so() {
    let world = World::with(Erase::Zero);
    // Somebody has put a directory in the way of the quarantine.
    fs::create_dir(world.volume.trash()).unwrap();
    remove(&world.volume, world.record.clone()).unwrap_err();
    let stored: Record = record::load(&world.volume.record()).unwrap().unwrap();
    assert_eq!(stored.state, State::Removing);
    assert!(world.volume.image().exists());
    fs::remove_dir(world.volume.trash()).unwrap();
    remove(&world.volume, stored).unwrap();
    assert!(world.files().is_empty());
}
