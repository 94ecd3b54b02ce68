//! Logical volumes. Only in the virtual machine: volume groups of a person's machine are not to be played with.
//!
//! The group `vg0` lies on a device-mapper device over `$DISK1`, so that its disk can be made to answer with errors, or be
//! away. Below every new volume there lies what a previous owner has left.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::OnceLock;

use crate::matrix::{Fault, LVM, Matrix, Step};
use crate::power::is_foreign_whole;
use crate::stage::{Backend, Injection, Stage, UID, pattern, write};
use crate::support::{Program, World, tool};

const MIB: u64 = 1 << 20;
const SECTORS: u64 = MIB / 512;
/// Where the UUID of an ext4 is on its device.
const UUID_AT: u64 = 1024 + 0x68;
/// What LVM allocates at once.
const EXTENT: u64 = 4 * MIB;
/// The disk of the group.
const DISK: &str = "/dev/mapper/disk";
/// Megabytes of the disk that the group has.
const SIZE: u64 = 1900;
/// Its other disk, for volumes that want two.
const SECOND: &str = "/dev/mapper/second";
const SECOND_SIZE: u64 = 128;
/// Megabytes at its beginning, where the first volumes lie, that a previous owner has left his data in.
const USED: u64 = 128;

pub(crate) struct Lvms;

/// Why logical volumes cannot be tried here, if so.
pub(crate) fn obstacle() -> Option<&'static str> {
    let inside = env::var_os("FLEXVOL_VM").is_some() && env::var_os("DISK2").is_some();
    (!inside).then_some("needs the virtual machine with two disks: cargo xtask vm")
}

impl Backend for Lvms {
    fn name(&self) -> &'static str {
        "lvm"
    }

    fn matrix(&self) -> &'static Matrix {
        &LVM
    }

    fn persistent(&self) -> Program {
        Program::Lvm
    }

    fn ephemeral(&self) -> Program {
        Program::LvmEphemeral
    }

    fn shape(&self, _step: Step) -> Result<(&'static str, &'static str), String> {
        Ok(("ext4", "8Mi"))
    }

    fn place(&self, volume: &str) -> Vec<(&'static str, String)> {
        let mut place = vec![("volumegroup", "vg0".to_owned())];
        if !volume.is_empty() {
            place.push(("volumeID", volume.to_owned()));
        }
        place
    }

    fn layout(&self, step: Step) -> &'static [(&'static str, &'static str)] {
        match step {
            Step::Striped => &[("layout", "striped")],
            Step::Raid1 => &[("layout", "raid1")],
            Step::Thin => &[("pool", "tp"), ("poolSize", "16Mi")],
            Step::Copy => &[("source", "neighbour")],
            Step::Snapshot => &[("pool", "tp"), ("poolSize", "16Mi"), ("source", "source")],
            Step::DeleteVolume => &[("erase", "zero")],
            _ => &[],
        }
    }

    /// Where the first volumes lie.
    fn shows(&self, block: &[u8]) -> bool {
        // What was written to a volume did not pass the cache of the disk below.
        tool("blockdev", &["--flushbufs", DISK]);
        let mut bytes = Vec::new();
        File::open(DISK).unwrap().take(64 * MIB).read_to_end(&mut bytes).unwrap();
        bytes.chunks(block.len()).any(|found| found == block)
    }

    fn set_up(&self, world: &World, _fault: Fault) {
        static MADE: OnceLock<()> = OnceLock::new();
        fs::create_dir(world.path("state")).unwrap();
        MADE.get_or_init(make_group);
    }

    fn has_neighbour(&self) -> bool {
        Path::new("/dev/mapper/vg0-fv.neighbour").exists()
    }

    fn clean_up(&self, volume: &str, uid: &str) {
        let names = [&format!("fv.{volume}"), &ephemeral(uid), "filler", "marked", "aside"];
        let select = names.map(|name| format!("lv_name={name}")).join(" || ");
        // The pool goes with its last volume: LVM would remove the others with it.
        let script = format!(
            "gone() {{ lvremove -q -y -S '{select}' vg0 || return; \
             [ -n \"$(lvs --noheadings -S 'pool_lv=tp && lv_name!=fv.source' vg0)\" ] || \
             lvremove -q -y -S 'lv_name=fv.source || lv_name=tp' vg0; }}; \
             for n in 1 2 3 4 5; do gone && exit; sleep 1; done 2>&1; exit 1"
        );
        if std::panic::catch_unwind(|| tool("sh", &["-c", &script])).is_err() {
            eprintln!("the volumes of a case cannot be removed");
        }
    }

    fn inventory(&self, world: &World) -> Vec<String> {
        let columns = "lv_name,lv_size,lv_tags";
        // The group may be away, or there twice.
        let report = tool(
            "sh",
            &[
                "-c",
                &format!(
                    "lvs --noheadings --separator ' ' --units m -o {columns} vg0 2>/dev/null || echo none 0m"
                ),
            ],
        );
        let mut found: Vec<_> = report.lines().map(|line| volume(line.trim())).collect();
        found.sort();
        let kind = |claim: &String| claim.split_once('.').unwrap().1.to_owned();
        found.extend(
            world.files("lvm-ephemeral/claims").iter().map(|claim| format!("claims/{}", kind(claim))),
        );
        // A note goes with its volume, which has one only once a look has found it ready.
        let noted = |file: &&String| {
            let volume = file.strip_prefix("vg0-").and_then(|name| name.strip_suffix(".note"));
            volume.is_some_and(|volume| report.lines().any(|line| line.trim().starts_with(volume)))
        };
        let files = world.files("lvm");
        found.extend(files.iter().filter(|file| !noted(file)).map(|file| format!("lvm/{file}")));
        found
    }

    fn wake(&self) {
        plug_in();
        tool("lvchange", &["-q", "-ay", "vg0/other"]);
    }

    fn check_foreign(&self, _world: &World) {
        assert!(is_foreign_whole(&fs::read("/dev/mapper/vg0-other").unwrap()));
    }

    fn leftovers(&self, worlds: &Path) -> Vec<String> {
        let report =
            tool("lvs", &["--noheadings", "--separator", " ", "-o", "lv_name,lv_size,lv_tags", "vg0"]);
        let lines = report.lines().map(|line| line.trim().to_owned());
        let mut found: Vec<_> = lines
            .filter(|line| {
                let whole = line.starts_with("fv.v") && line.contains("state=ready");
                let others = ["other ", "fv.neighbour ", "fv.source ", "tp "];
                !(whole || others.iter().any(|other| line.starts_with(other)))
            })
            .collect();
        for world in fs::read_dir(worlds).unwrap().map(|entry| entry.unwrap().path()) {
            let Ok(claims) = fs::read_dir(world.join("state/lvm-ephemeral/claims")) else { continue };
            found.extend(claims.map(|entry| entry.unwrap().path().display().to_string()));
        }
        found
    }

    fn devices(&self, _world: &World) -> usize {
        let names = fs::read_dir("/dev/mapper").unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_str().unwrap().starts_with("vg0-")).count()
    }

    fn others(&self, _world: &World) -> BTreeMap<String, Vec<u8>> {
        let device = |name: &str| {
            let mut bytes = Vec::new();
            File::open(format!("/dev/mapper/vg0-{name}")).unwrap().read_to_end(&mut bytes).unwrap();
            (name.to_owned(), bytes)
        };
        [device("other"), device("fv.neighbour")].into()
    }

    fn variants(&self, step: Step, fault: Fault) -> Result<Vec<&'static str>, String> {
        Ok(match fault {
            Fault::NoSpace if step == Step::Snapshot => vec!["pool"],
            Fault::NoSpace => vec!["0", "1"],
            Fault::IoError => vec!["everywhere", "but for the metadata", "at the end"],
            Fault::LockHeld if step == Step::Unmount => vec!["volume"],
            Fault::LockHeld => vec!["volume", "group"],
            Fault::OtherOwner if step == Step::Create => vec!["driver", "nobody"],
            Fault::ForeignContents if step.makes() || step == Step::Publish => {
                SIGNATURES.iter().map(|signature| signature.name).collect()
            }
            _ => vec![""],
        })
    }

    fn inject(&self, stage: &Stage<'_>, fault: Fault, variant: &str) -> Injection {
        match fault {
            Fault::NoSpace if variant == "pool" => fill_pool(),
            Fault::NoSpace => fill(variant),
            Fault::IoError => break_disk(stage, variant),
            Fault::LockHeld => Injection::lock(lock(stage, variant)),
            Fault::DeviceAbsent => take_disk_away(),
            Fault::DuplicateGroup => duplicate_group(),
            Fault::OtherOwner if variant == "nobody" => take_name(),
            Fault::OtherOwner => change_owner(stage.step),
            Fault::ForeignContents if stage.step.makes() || stage.step == Step::Publish => {
                put_signature(variant, stage.step)
            }
            Fault::ForeignContents => {
                let device =
                    OpenOptions::new().read(true).write(true).open("/dev/mapper/vg0-fv.data").unwrap();
                let mut uuid = [0; 16];
                device.read_exact_at(&mut uuid, UUID_AT).unwrap();
                device.write_all_at(&[7; 16], UUID_AT).unwrap();
                device.sync_all().unwrap();
                Injection::healed_by(move || {
                    device.write_all_at(&uuid, UUID_AT).unwrap();
                    device.sync_all().unwrap();
                })
            }
            other => unreachable!("{other:?} needs no help of the backend"),
        }
    }

    fn after_restart(&self, stage: &Stage<'_>) {
        let name = lv(stage.step);
        tool("lvchange", &["-q", "-an", "-S", &format!("lv_name={name}"), "vg0"]);
    }
}

/// The volume of a step.
fn lv(step: Step) -> String {
    if step.ephemeral() { ephemeral(UID) } else { "fv.data".to_owned() }
}

/// The volume of a pod.
fn ephemeral(uid: &str) -> String {
    format!("fv.{}++data", uid.replace('-', "."))
}

/// A line of the report, without what is different each time.
fn volume(line: &str) -> String {
    let mut words = line.split(' ');
    let (name, size) = (words.next().unwrap(), words.next().unwrap());
    let tags = words.next().unwrap_or_default();
    let kept = |tag: &&str| ["owner", "id", "state", "grow", "erased"].iter().any(|kind| tag.contains(kind));
    let tags: Vec<_> = tags.split(',').filter(kept).collect();
    let name = if name.contains("quarantine") { "in quarantine" } else { name };
    format!("{name} {size} {}", tags.join(","))
}

/// The group, a volume of somebody else's, and below where the next volume goes, the file system of a previous owner.
fn make_group() {
    TWIN.get_or_init(make_twin);
    plug_in();
    tool("pvcreate", &["-q", "-y", DISK, SECOND]);
    tool("vgcreate", &["-q", "vg0", DISK, SECOND]);
    tool("lvcreate", &["-q", "-y", "-L", "4M", "-n", "other", "vg0"]);
    let other = OpenOptions::new().write(true).open("/dev/vg0/other").unwrap();
    other.write_all_at(&pattern(5), 0).unwrap();
    other.sync_all().unwrap();
    tool("lvcreate", &["-q", "-y", "-l", "100%FREE", "-n", "previous", "vg0"]);
    leave_file_systems(Path::new("/dev/vg0/previous"));
    tool("lvremove", &["-q", "-y", "vg0/previous"]);
}

/// The disks of the group.
fn plug_in() {
    tool("modprobe", &["-a", "dm_mod", "dm_flakey"]);
    tool("dmsetup", &["create", "disk", "--table", &table("linear")]);
    let (disk, from) = (env::var("DISK1").unwrap(), (SIZE + 10) * SECTORS);
    let second = format!("0 {} linear {disk} {from}", SECOND_SIZE * SECTORS);
    tool("dmsetup", &["create", "second", "--table", &second]);
    tool("udevadm", &["settle"]);
}

/// An ext4 with a file at the beginning of each of the first extents: wherever a new volume lies, it lies on one.
fn leave_file_systems(device: &Path) {
    let place = tempfile::tempdir().unwrap();
    let (image, mount) = (place.path().join("image"), place.path().join("mount"));
    File::create(&image).unwrap().set_len(EXTENT).unwrap();
    fs::create_dir(&mount).unwrap();
    let (image, mount) = (image.to_str().unwrap(), mount.to_str().unwrap());
    tool("mkfs.ext4", &["-q", "-U", "11111111-1111-1111-1111-111111111111", image]);
    tool("mount", &["-o", "loop", image, mount]);
    write(&Path::new(mount).join("secret"), &pattern(200));
    tool("umount", &[mount]);
    let bytes = fs::read(image).unwrap();
    let device = OpenOptions::new().read(true).write(true).open(device).unwrap();
    let size = rustix::fs::seek(&device, rustix::fs::SeekFrom::End(0)).unwrap();
    let extents = size.min(USED * MIB) / EXTENT;
    (0..extents).for_each(|extent| device.write_all_at(&bytes, extent * EXTENT).unwrap());
    device.sync_all().unwrap();
}

/// The table of the disk: all of it, but for what the variant says.
fn table(variant: &str) -> String {
    let disk = env::var("DISK1").unwrap();
    // Its own first mebibyte stays free: the disk itself is not to look like one of the group's.
    let linear = |from: u64, to: u64| format!("{from} {} linear {disk} {}", to - from, from + 2 * SECTORS);
    let error = |from: u64, to: u64| format!("{from} {} error", to - from);
    let end = SIZE * SECTORS;
    match variant {
        "everywhere" => error(0, end),
        "but for the metadata" => [linear(0, SECTORS), error(SECTORS, end)].join("\n"),
        // Behind the mebibyte of LVM lie somebody's volume, the neighbour, and then ours: this is its last mebibyte.
        "at the end" => {
            let from = SECTORS + 2 * EXTENT / 512 + 7 * SECTORS;
            [linear(0, from), error(from, from + SECTORS), linear(from + SECTORS, end)].join("\n")
        }
        _ => linear(0, end),
    }
}

fn load(table: &str) {
    tool("dmsetup", &["suspend", "--noflush", "disk"]);
    tool("dmsetup", &["load", "disk", "--table", table]);
    tool("dmsetup", &["resume", "disk"]);
}

fn break_disk(stage: &Stage<'_>, variant: &str) -> Injection {
    load(&table(variant));
    // A file system that met an error is read-only or has lost what it held in memory: it is unmounted before the next call.
    let (target, remount) = (stage.target().to_owned(), stage.command(Step::Mount));
    let grows = stage.step == Step::Grow;
    Injection::healed_by(move || {
        load(&table("linear"));
        if grows {
            tool("umount", &[&target]);
            let mut remount = remount;
            crate::support::answer(remount.spawn().unwrap()).success();
        }
    })
}

fn lock(stage: &Stage<'_>, variant: &str) -> std::path::PathBuf {
    if variant == "group" {
        return "/run/lock/lvm/V_vg0".into();
    }
    let directory = stage.world.path("state/lvm");
    fs::create_dir_all(&directory).unwrap();
    directory.join(format!("vg0-{}.lock", lv(stage.step)))
}

/// Leaves so many extents free.
fn fill(left: &str) -> Injection {
    let free = tool("vgs", &["--noheadings", "-o", "vg_free_count", "vg0"]);
    let taken = free.trim().parse::<u64>().unwrap() - left.parse::<u64>().unwrap();
    tool("lvcreate", &["-q", "-y", "-an", "-Zn", "-Wn", "-l", &taken.to_string(), "-n", "filler", "vg0"]);
    Injection::healed_by(|| drop(tool("lvremove", &["-q", "-y", "vg0/filler"])))
}

/// Leaves less than two hundredths of the thin pool free.
fn fill_pool() -> Injection {
    tool("lvcreate", &["-q", "-y", "-V", "16M", "--thinpool", "tp", "-n", "filler", "vg0"]);
    let filled = tool("lvs", &["--noheadings", "-o", "data_percent", "vg0/tp"]);
    let left = 16.0 * (99.0 - filled.trim().parse::<f64>().unwrap()) / 100.0;
    let mut device = OpenOptions::new().write(true).open("/dev/vg0/filler").unwrap();
    let chunk = vec![0xa5; 64 << 10];
    let mut written = 0.0;
    while written < left {
        device.write_all(&chunk).unwrap();
        written += 1.0 / 16.0;
    }
    device.sync_all().unwrap();
    drop(device);
    Injection::healed_by(|| drop(tool("lvremove", &["-q", "-y", "vg0/filler"])))
}

/// The whole group is away; nothing of it may be in use.
fn take_disk_away() -> Injection {
    tool("vgchange", &["-q", "-an", "vg0"]);
    tool("dmsetup", &["remove", "--retry", "disk"]);
    tool("dmsetup", &["remove", "--retry", "second"]);
    Injection::healed_by(|| {
        plug_in();
        for name in ["other", "fv.neighbour"] {
            tool("lvchange", &["-q", "-ay", &format!("vg0/{name}")]);
        }
    })
}

/// A group of the same name with a volume of ours, as it stands at the beginning of its disk. It is made before the other,
/// since LVM makes no second group of a name; disks that are moved between machines do.
static TWIN: OnceLock<Vec<u8>> = OnceLock::new();

fn make_twin() -> Vec<u8> {
    let disk = env::var("DISK2").unwrap();
    tool("pvcreate", &["-q", "-y", &disk]);
    tool("vgcreate", &["-q", "vg0", &disk]);
    tool("lvcreate", &["-q", "-y", "-an", "-Zn", "-Wn", "-L", "8M", "-n", "fv.data", "vg0"]);
    let bytes = first_megabyte(&disk);
    write_first_megabyte(&disk, &vec![0; bytes.len()]);
    bytes
}

fn duplicate_group() -> Injection {
    let disk = env::var("DISK2").unwrap();
    let twin = TWIN.get().unwrap();
    write_first_megabyte(&disk, twin);
    Injection::healed_by(move || {
        let unchanged = first_megabyte(&disk) == *twin;
        write_first_megabyte(&disk, &vec![0; twin.len()]);
        assert!(unchanged, "the other group has changed");
    })
}

fn write_first_megabyte(disk: &str, bytes: &[u8]) {
    let device = OpenOptions::new().write(true).open(disk).unwrap();
    device.write_all_at(bytes, 0).unwrap();
    device.sync_all().unwrap();
    drop(device);
    tool("udevadm", &["settle"]);
    // LVM remembers where it found what; a disk that is plugged in makes it forget.
    let _ = fs::remove_file("/run/lvm/hints");
}

fn first_megabyte(disk: &str) -> Vec<u8> {
    let mut bytes = vec![0; 1 << 20];
    File::open(disk).unwrap().read_exact(&mut bytes).unwrap();
    bytes
}

/// A volume of our name that has no tag.
fn take_name() -> Injection {
    tool("lvrename", &["-q", "vg0", "fv.data", "aside"]);
    tool("lvcreate", &["-q", "-y", "-L", "8M", "-n", "fv.data", "vg0"]);
    let device = "/dev/mapper/vg0-fv.data";
    fs::write(device, pattern(6)).unwrap();
    Injection::healed_by(move || {
        let unchanged = fs::read(device).unwrap().starts_with(&pattern(6));
        tool("lvremove", &["-q", "-y", "vg0/fv.data"]);
        tool("lvrename", &["-q", "vg0", "aside", "fv.data"]);
        assert!(unchanged, "somebody's volume has changed");
    })
}

fn change_owner(step: Step) -> Injection {
    let name = format!("vg0/{}", lv(step));
    let tags = tool("lvs", &["--noheadings", "-o", "lv_tags", &name]);
    let owner = tags.trim().split(',').find(|tag| tag.contains("owner")).unwrap().to_owned();
    let other = "flexvol.owner=somebody";
    tool("lvchange", &["-q", "--deltag", &owner, "--addtag", other, &name]);
    Injection::healed_by(move || {
        tool("lvchange", &["-q", "--deltag", other, "--addtag", &owner, &name]);
    })
}

/// A mark by which probes know what is on a device.
struct Signature {
    name: &'static str,
    /// Bytes, and where they are; a place below zero counts from the end.
    marks: &'static [(i64, &'static [u8])],
}

const SIGNATURES: [Signature; 7] = [
    Signature { name: "a previous owner's ext4", marks: &[] },
    Signature { name: "xfs", marks: &[(0, b"XFSB\0\0\x10\0")] },
    Signature { name: "btrfs", marks: &[(0x1_0040, b"_BHRfS_M")] },
    Signature { name: "LUKS", marks: &[(0, b"LUKS\xba\xbe\0\x01")] },
    Signature {
        name: "RAID",
        marks: &[(4096, b"\xfc\x4e\x2b\xa9\x01\0\0\0"), (-8192, b"\xfc\x4e\x2b\xa9\x01\0\0\0")],
    },
    Signature {
        name: "partition table",
        marks: &[(446, b"\x80\0\x02\0\x83\0\0\0\0\x08\0\0\0\x10\0\0"), (510, b"\x55\xaa")],
    },
    Signature { name: "ISO 9660", marks: &[(0x8001, b"CD001\x01")] },
];

/// Writes the mark where the next volume will be.
fn put_signature(name: &str, step: Step) -> Injection {
    let signature = SIGNATURES.iter().find(|signature| signature.name == name).unwrap();
    let layout: &[&str] = match step {
        Step::Striped => &["--type", "striped", "-i", "2"],
        Step::Raid1 => &["--type", "raid1", "-m", "1"],
        _ => &[],
    };
    let words = ["-q", "-y", "-Zn", "-Wn", "-L", "8M", "-n", "marked", "vg0"];
    tool("lvcreate", &[&words, layout].concat());
    let device = OpenOptions::new().write(true).open("/dev/vg0/marked").unwrap();
    if signature.marks.is_empty() {
        tool("mkfs.ext4", &["-q", "-F", "-U", "22222222-2222-2222-2222-222222222222", "/dev/vg0/marked"]);
    } else {
        device.write_all_at(&vec![0xa5; 1 << 18], 0).unwrap();
    }
    for (at, bytes) in signature.marks {
        device.write_all_at(bytes, (8 * MIB).wrapping_add_signed(*at) % (8 * MIB)).unwrap();
    }
    device.sync_all().unwrap();
    drop(device);
    tool("udevadm", &["settle"]);
    tool("lvremove", &["-q", "-y", "vg0/marked"]);
    Injection::default()
}
