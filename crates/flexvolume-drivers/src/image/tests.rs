use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::sync::Mutex;

use flexvolume::Access;
use flexvolume_os::command::Command;
use flexvolume_os::filesystem::FsType;
use flexvolume_os::runner::{Captured, Ended, Output, Pipes, StartError};
use tempfile::TempDir;

use super::*;
use crate::pool::{Pool, VolumeId};
use crate::request::ImageRequest;

const OWNER: &str = "flexvol/loop";
const SIZE: u64 = 1 << 20;

/// A `mkfs.ext4` that writes the two fields by which an ext4 is known, and counts its runs.
#[derive(Default)]
struct Mkfs {
    runs: Mutex<Vec<String>>,
    /// What the tool leaves before it ends.
    fate: Fate,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum Fate {
    #[default]
    Succeeds,
    Fails,
    /// Says that all is well without having made anything.
    Lies,
}

impl Runner for Mkfs {
    fn run(&self, command: &Command) -> std::result::Result<Output, StartError> {
        let arguments: Vec<_> =
            command.raw_arguments().map(|text| text.to_string_lossy().into_owned()).collect();
        self.runs.lock().unwrap().push(format!("{} {}", command.program().display(), arguments.join(" ")));
        let device = arguments.iter().find(|text| text.starts_with('/')).unwrap();
        if self.fate == Fate::Succeeds {
            let uuid = arguments.iter().find(|text| text.len() == 36 && text.contains('-')).unwrap();
            let bytes = u128::from_str_radix(&uuid.replace('-', ""), 16).unwrap().to_be_bytes();
            let file = fs::OpenOptions::new().write(true).open(device).unwrap();
            file.write_all_at(b"\x53\xef", 1024 + 0x38).unwrap();
            file.write_all_at(&bytes, 1024 + 0x68).unwrap();
        }
        let ended = if self.fate == Fate::Fails { Ended::Exited(1) } else { Ended::Exited(0) };
        Ok(Output {
            ended,
            core: Default::default(),
            stdout: Captured::default(),
            stderr: Captured::default(),
            combined: Captured::default(),
            duration: Duration::ZERO,
            pipes: Pipes::Closed,
        })
    }
}

impl Mkfs {
    fn that(fate: Fate) -> Self {
        Self { fate, ..Self::default() }
    }

    fn count(&self) -> usize {
        self.runs.lock().unwrap().len()
    }
}

struct World {
    root: TempDir,
    volume: Volume,
}

impl World {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let volume = Pool::at(root.path().to_owned()).volume(VolumeId::parse("data").unwrap());
        Self { root, volume }
    }

    fn request(&self) -> ImageRequest {
        ImageRequest {
            directory: self.root.path().to_owned(),
            id: self.volume.id.clone(),
            size: SIZE,
            fs_type: FsType::Ext4,
            allocation: Allocation::Thin,
            access: Access::ReadWrite,
            root_mode: None,
            source: None,
            erase: crate::request::Erase::None,
        }
    }

    fn fresh(&self) -> Record {
        Record::creating(OWNER, &self.request(), None).unwrap()
    }

    fn ensure(&self, mkfs: &Mkfs) -> Result<Record> {
        ensure(&self.volume, self.fresh(), mkfs)
    }

    fn made() -> (Self, Record) {
        let world = Self::new();
        let record = world.ensure(&Mkfs::default()).unwrap();
        (world, record)
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.root.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    fn stored(&self) -> Record {
        record::load(&self.volume.record()).unwrap().unwrap()
    }
}

#[test]
fn a_volume_is_made_once_and_found_afterwards() {
    let (world, record) = World::made();
    assert_eq!(record.state, State::Ready);
    assert_eq!(world.stored(), record);
    assert_eq!(world.files(), ["data.img", "data.json"]);
    assert_eq!(fs::metadata(world.volume.image()).unwrap().len(), SIZE);
    assert_eq!(fs::metadata(world.volume.image()).unwrap().mode() & 0o777, 0o600);
    let mkfs = Mkfs::default();
    assert_eq!(world.ensure(&mkfs).unwrap(), record);
    assert_eq!(mkfs.count(), 0);
}

#[test]
fn a_reserved_volume_has_its_blocks() {
    let world = World::new();
    let request = ImageRequest { allocation: Allocation::Reserved, ..world.request() };
    let fresh = Record::creating(OWNER, &request, None).unwrap();
    ensure(&world.volume, fresh, &Mkfs::default()).unwrap();
    assert!(fs::metadata(world.volume.image()).unwrap().blocks() * 512 >= SIZE);
}

#[test]
fn a_failed_attempt_leaves_nothing() {
    for fate in [Fate::Fails, Fate::Lies] {
        let world = World::new();
        world.ensure(&Mkfs::that(fate)).unwrap_err();
        assert_eq!(world.files(), [""; 0]);
    }
}

#[test]
fn an_abandoned_attempt_is_wiped_and_made_again_under_another_name() {
    let world = World::new();
    let abandoned = world.fresh();
    record::store(&world.volume.record(), &abandoned).unwrap();
    fs::write(world.volume.attempt(&abandoned.uuid), "half of a file system").unwrap();
    let record = world.ensure(&Mkfs::default()).unwrap();
    assert_ne!(record.uuid, abandoned.uuid);
    assert_eq!(world.files(), ["data.img", "data.json"]);
}

#[test]
fn a_complete_image_is_never_made_again_although_its_record_says_creating() {
    let (world, record) = World::made();
    let before = fs::metadata(world.volume.image()).unwrap().ino();
    let unfinished = Record { state: State::Creating, ..record.clone() };
    record::store(&world.volume.record(), &unfinished).unwrap();
    assert!(matches!(ready(&world.volume, OWNER), Err(VolumeError::Absent { .. })));
    let mkfs = Mkfs::default();
    assert_eq!(world.ensure(&mkfs).unwrap(), record);
    assert_eq!(mkfs.count(), 0);
    assert_eq!(fs::metadata(world.volume.image()).unwrap().ino(), before);
    assert_eq!(world.stored().state, State::Ready);
}

#[test]
fn a_ready_volume_is_not_made_again_whatever_is_on_it() {
    let (world, record) = World::made();
    fs::OpenOptions::new()
        .write(true)
        .open(world.volume.image())
        .unwrap()
        .write_all_at(&[0; 4096], 0)
        .unwrap();
    let mkfs = Mkfs::default();
    assert_eq!(world.ensure(&mkfs).unwrap(), record);
    assert_eq!(mkfs.count(), 0);
    let error = open(&world.volume, &record).unwrap_err().to_string();
    assert!(error.contains("holds no ext4 superblock") && error.contains(&record.uuid), "{error}");
}

#[test]
fn another_uuid_is_an_error_with_both() {
    let (world, record) = World::made();
    let image = fs::OpenOptions::new().write(true).open(world.volume.image()).unwrap();
    image.write_all_at(&[7; 16], 1024 + 0x68).unwrap();
    let error = open(&world.volume, &record).unwrap_err().to_string();
    assert!(error.contains("07070707-0707") && error.contains(&record.uuid), "{error}");
}

#[test]
fn a_look_up_has_four_outcomes() {
    let world = World::new();
    let look = || look_up(&world.volume, OWNER);
    assert!(matches!(look(), Lookup::Absent));
    fs::write(world.volume.image(), "whose?").unwrap();
    assert!(matches!(look(), Lookup::NotOurs(_)), "an image without a record");
    fs::remove_file(world.volume.image()).unwrap();
    let record = world.ensure(&Mkfs::default()).unwrap();
    assert!(matches!(look(), Lookup::Present(_)));
    assert!(matches!(look_up(&world.volume, "flexvol/loop-ephemeral"), Lookup::NotOurs(_)));
    record::store(&world.volume.record(), &Record { id: "other".to_owned(), ..record.clone() }).unwrap();
    assert!(matches!(look(), Lookup::NotOurs(_)), "a record of another volume");
    fs::write(world.volume.record(), "{").unwrap();
    assert!(matches!(look(), Lookup::CannotKnow(_)), "a damaged record");
    record::store(&world.volume.record(), &record).unwrap();
    let elsewhere = world.root.path().join("elsewhere");
    fs::rename(world.volume.image(), &elsewhere).unwrap();
    assert!(matches!(look(), Lookup::CannotKnow(_)), "ready without an image");
    symlink(&elsewhere, world.volume.image()).unwrap();
    assert!(matches!(look(), Lookup::NotOurs(_)), "a symlink in place of the image");
}

#[test]
fn whatever_is_not_absent_is_neither_made_nor_changed() {
    let (world, _) = World::made();
    fs::write(world.volume.record(), "{").unwrap();
    let mkfs = Mkfs::default();
    let error = world.ensure(&mkfs).unwrap_err().to_string();
    assert!(error.starts_with("cannot know the state of the volume: "), "{error}");
    assert_eq!(mkfs.count(), 0);
    assert_eq!(fs::read_to_string(world.volume.record()).unwrap(), "{");
    assert_eq!(world.files(), ["data.img", "data.json"]);
}

#[test]
fn a_volume_that_differs_is_an_error_with_both_values_and_nothing_changes() {
    let (world, record) = World::made();
    let requests = [
        (ImageRequest { size: 2 * SIZE, ..world.request() }, "of 1048576 bytes, but of 2097152 bytes"),
        (ImageRequest { size: SIZE / 2, ..world.request() }, "of 1048576 bytes, but of 524288 bytes"),
        (ImageRequest { fs_type: FsType::Btrfs, ..world.request() }, "ext4, but btrfs"),
        (ImageRequest { allocation: Allocation::Reserved, ..world.request() }, "thin, but reserved"),
    ];
    for (request, text) in requests {
        let fresh = Record::creating(OWNER, &request, None).unwrap();
        let error = ensure(&world.volume, fresh, &Mkfs::default()).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }
    let fresh = Record::creating(OWNER, &world.request(), Some("elsewhere".to_owned())).unwrap();
    let error = ensure(&world.volume, fresh, &Mkfs::default()).unwrap_err().to_string();
    assert!(error.contains("none") && error.contains("elsewhere"), "{error}");
    assert_eq!(world.stored(), record);
}

#[test]
fn a_grown_volume_agrees_with_its_old_and_its_new_size() {
    let (world, record) = World::made();
    let grown = grow(&world.volume, record, 4 * SIZE).unwrap();
    assert_eq!((grown.created_size, grown.size), (SIZE, 4 * SIZE));
    assert_eq!(fs::metadata(world.volume.image()).unwrap().len(), 4 * SIZE);
    assert_eq!(world.ensure(&Mkfs::default()).unwrap(), grown);
    let request = ImageRequest { size: 4 * SIZE, ..world.request() };
    let fresh = Record::creating(OWNER, &request, None).unwrap();
    assert_eq!(ensure(&world.volume, fresh, &Mkfs::default()).unwrap(), grown);
}

#[test]
fn a_volume_never_shrinks() {
    let (world, record) = World::made();
    let grown = grow(&world.volume, record, 4 * SIZE).unwrap();
    let same = grow(&world.volume, grown.clone(), SIZE).unwrap();
    assert_eq!(same, grown);
    assert_eq!(fs::metadata(world.volume.image()).unwrap().len(), 4 * SIZE);
}

#[test]
fn growth_that_was_interrupted_is_finished() {
    let (world, record) = World::made();
    // The file has grown, and then the process died before the record said so.
    fs::OpenOptions::new().write(true).open(world.volume.image()).unwrap().set_len(3 * SIZE).unwrap();
    open(&world.volume, &record).unwrap();
    let grown = grow(&world.volume, record, 2 * SIZE).unwrap();
    assert_eq!(grown.size, 3 * SIZE);
    assert_eq!(world.stored(), grown);
}

#[test]
fn an_image_that_was_cut_off_is_not_used() {
    let (world, record) = World::made();
    fs::OpenOptions::new().write(true).open(world.volume.image()).unwrap().set_len(SIZE / 2).unwrap();
    let error = open(&world.volume, &record).unwrap_err();
    assert!(matches!(error, VolumeError::CannotKnow { .. }), "{error}");
}

#[test]
fn no_room_is_an_error_with_both_numbers_and_leaves_nothing() {
    let world = World::new();
    let request = ImageRequest { allocation: Allocation::Reserved, size: 1 << 60, ..world.request() };
    let fresh = Record::creating(OWNER, &request, None).unwrap();
    let error = ensure(&world.volume, fresh, &Mkfs::default()).unwrap_err();
    assert!(
        matches!(error, VolumeError::Full { needed: 0x1000_0000_0000_0000, free, .. } if free > 0),
        "{error}"
    );
    assert_eq!(world.files(), [""; 0]);
}

#[test]
fn a_volume_whose_removal_stopped_is_removed_before_it_is_made_again() {
    let (world, record) = World::made();
    let removing = Record { state: State::Removing, ..record.clone() };
    record::store(&world.volume.record(), &removing).unwrap();
    let made = world.ensure(&Mkfs::default()).unwrap();
    assert_ne!(made.uuid, record.uuid);
    assert_eq!(world.files(), ["data.img", "data.json"]);
}
