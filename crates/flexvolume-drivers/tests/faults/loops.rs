//! Volumes in loop files.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::matrix::{Fault, LOOP, Matrix, Step};
use crate::power::is_foreign_whole;
use crate::stage::{Backend, Injection, Stage, UID, pattern};
use crate::support::{Program, World, installed, tool};

const MIB: u64 = 1 << 20;
/// Where the UUID of an ext4 is in its image.
const UUID_AT: u64 = 1024 + 0x68;

pub(crate) struct Loops;

impl Loops {
    fn pool(world: &World, step: Step) -> PathBuf {
        world.path(if step.ephemeral() { "state/loop-ephemeral" } else { "state/loop" })
    }

    fn image_name(step: Step) -> String {
        if step.ephemeral() { format!("{UID}~data.img") } else { "data.img".to_owned() }
    }

    /// The one volume in the step's pool that is not the neighbour: its image and its record.
    fn files(stage: &Stage<'_>) -> (PathBuf, PathBuf) {
        let pool = Self::pool(&stage.world, stage.step);
        let mut images = fs::read_dir(&pool).unwrap().map(|entry| entry.unwrap().path());
        let ours = |path: &PathBuf| {
            path.extension().is_some_and(|extension| extension == "img")
                && path.to_str().unwrap().contains("data")
        };
        let image = images.find(ours).unwrap_or_else(|| pool.join(Self::image_name(stage.step)));
        (image.clone(), image.with_extension("json"))
    }
}

impl Backend for Loops {
    fn name(&self) -> &'static str {
        "loop"
    }

    fn matrix(&self) -> &'static Matrix {
        &LOOP
    }

    fn persistent(&self) -> Program {
        Program::Loop
    }

    fn ephemeral(&self) -> Program {
        Program::Ephemeral
    }

    fn shape(&self, step: Step) -> Result<(&'static str, &'static str), String> {
        match step {
            // A mounted ext4 is grown by those who have CAP_SYS_RESOURCE, which not every container has.
            Step::Grow if !may_grow_ext4() && installed("mkfs.btrfs") => Ok(("btrfs", "128Mi")),
            Step::Grow if !may_grow_ext4() => Err("needs CAP_SYS_RESOURCE, or btrfs-progs".to_owned()),
            _ => Ok(("ext4", "4Mi")),
        }
    }

    fn place(&self, volume: &str) -> Vec<(&'static str, String)> {
        if volume.is_empty() { Vec::new() } else { vec![("volume", volume.to_owned())] }
    }

    fn layout(&self, step: Step) -> &'static [(&'static str, &'static str)] {
        match step {
            Step::Thin => &[("allocation", "thin")],
            Step::Copy => &[("source", "neighbour")],
            Step::DeleteVolume => &[("erase", "zero")],
            _ => &[],
        }
    }

    fn set_up(&self, world: &World, fault: Fault) {
        fs::create_dir(world.path("state")).unwrap();
        if fault == Fault::NoSpace {
            let state = world.path("state");
            tool("mount", &["-t", "tmpfs", "-o", "size=300m,mode=700", "pool", state.to_str().unwrap()]);
        }
        for pool in ["loop", "loop-ephemeral"] {
            let pool = world.path("state").join(pool);
            fs::create_dir(&pool).unwrap();
            tool("chmod", &["700", pool.to_str().unwrap()]);
            fs::write(pool.join("other.img"), pattern(5)).unwrap();
            fs::write(pool.join("other.json"), "{\"version\":1,\"owner\":\"somebody/else\"}").unwrap();
        }
    }

    fn inventory(&self, world: &World) -> Vec<String> {
        let mut found = Vec::new();
        for pool in ["state/loop", "state/loop-ephemeral", "state"] {
            for entry in fs::read_dir(world.path(pool)).unwrap() {
                let entry = entry.unwrap();
                let (name, metadata) = (entry.file_name().into_string().unwrap(), entry.metadata().unwrap());
                if metadata.is_file() {
                    let length = if name.ends_with(".img") { metadata.len() } else { 0 };
                    found.push(format!("{pool}/{name} {length}"));
                }
            }
        }
        found.sort();
        // Their names come from the path of the world.
        let claims = world.files("loop-ephemeral/claims");
        let kind = |claim: &String| claim.split_once('.').unwrap().1.to_owned();
        found.extend(claims.iter().map(|claim| format!("claims/{}", kind(claim))));
        found
    }

    fn check_foreign(&self, world: &World) {
        assert!(is_foreign_whole(&fs::read(world.path("state/loop/other.img")).unwrap()));
    }

    fn leftovers(&self, worlds: &Path) -> Vec<String> {
        let mut found = Vec::new();
        for world in fs::read_dir(worlds).unwrap().map(|entry| entry.unwrap().path()) {
            for pool in ["state/loop", "state/loop-ephemeral", "state/loop-ephemeral/claims"] {
                let Ok(entries) = fs::read_dir(world.join(pool)) else { continue };
                let files = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
                let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
                let persistent = pool == "state/loop";
                found.extend(files.map(|path| name(&path)).filter(|name| {
                    let whole = name.starts_with('v') && (name.ends_with(".img") || name.ends_with(".json"));
                    let lock = name.starts_with(".v") && name.ends_with(".lock");
                    let others = ["other.", "neighbour.", ".neighbour."];
                    !others.iter().any(|other| name.starts_with(other)) && !(persistent && (whole || lock))
                }));
            }
        }
        found
    }

    fn devices(&self, world: &World) -> usize {
        world.loops().len()
    }

    fn others(&self, world: &World) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        for pool in ["state/loop", "state/loop-ephemeral"] {
            for name in ["neighbour.img", "neighbour.json", "other.img", "other.json"] {
                if let Ok(bytes) = fs::read(world.path(pool).join(name)) {
                    found.insert(format!("{pool}/{name}"), bytes);
                }
            }
        }
        found
    }

    fn variants(&self, step: Step, fault: Fault) -> Result<Vec<&'static str>, String> {
        Ok(match fault {
            Fault::NoSpace => vec!["0", "4096", "65536", "1048576", "all but one block"],
            _ if step == Step::Delete && fault == Fault::DeviceAbsent => vec!["image", "disk"],
            _ => vec![""],
        })
    }

    fn inject(&self, stage: &Stage<'_>, fault: Fault, variant: &str) -> Injection {
        let (image, record) = Self::files(stage);
        match fault {
            Fault::NoSpace => fill(&stage.world, stage.step, variant),
            Fault::LockHeld => {
                let lock =
                    record.with_file_name(format!(".{}.lock", image.file_stem().unwrap().to_str().unwrap()));
                Injection::lock(lock)
            }
            Fault::DeviceAbsent if variant == "disk" => hide_pool(&image),
            Fault::DeviceAbsent => {
                let aside = stage.world.path("aside.img");
                fs::rename(&image, &aside).unwrap();
                Injection::healed_by(move || fs::rename(aside, image).unwrap())
            }
            Fault::OtherOwner => {
                let text = fs::read_to_string(&record).unwrap();
                let owner = text.split("\"owner\":\"").nth(1).unwrap().split('"').next().unwrap();
                fs::write(&record, text.replace(owner, "somebody/else")).unwrap();
                Injection::healed_by(move || fs::write(record, text).unwrap())
            }
            Fault::ForeignContents if stage.step.makes() || stage.step == Step::Publish => put_foreign(stage),
            Fault::ForeignContents => {
                let file = OpenOptions::new().read(true).write(true).open(&image).unwrap();
                let mut uuid = [0; 16];
                file.read_exact_at(&mut uuid, UUID_AT).unwrap();
                file.write_all_at(&[7; 16], UUID_AT).unwrap();
                Injection::healed_by(move || file.write_all_at(&uuid, UUID_AT).unwrap())
            }
            other => unreachable!("{other:?} needs no help of the backend"),
        }
    }
}

/// Leaves as much as the variant says on the disk of the state.
fn fill(world: &World, step: Step, variant: &str) -> Injection {
    let needed = if step == Step::Grow { 128 * MIB } else { 4 * MIB };
    let left: u64 = variant.parse().unwrap_or(needed - 4096);
    let filler = world.path("state").join("filler");
    let figures = rustix::fs::statvfs(world.path("state")).unwrap();
    let free = figures.f_bavail * figures.f_frsize;
    let file = File::create(&filler).unwrap();
    let flags = rustix::fs::FallocateFlags::empty();
    rustix::fs::fallocate(&file, flags, 0, free.saturating_sub(left)).unwrap();
    Injection::healed_by(move || fs::remove_file(filler).unwrap())
}

/// The disk of the pool is away: what is seen is the empty directory below.
fn hide_pool(image: &Path) -> Injection {
    let pool = image.parent().unwrap().to_str().unwrap().to_owned();
    tool("mount", &["-t", "tmpfs", "-o", "mode=700", "away", &pool]);
    fs::create_dir(Path::new(&pool).join("claims")).unwrap();
    Injection::healed_by(move || drop(tool("umount", &[&pool])))
}

/// An image that nobody recorded, where ours is to be; it is there afterwards, byte for byte, and somebody moves it away.
fn put_foreign(stage: &Stage<'_>) -> Injection {
    let pool = Loops::pool(&stage.world, stage.step);
    let foreign = pool.join(Loops::image_name(stage.step));
    fs::write(&foreign, pattern(3)).unwrap();
    let inode = fs::metadata(&foreign).unwrap().ino();
    Injection::healed_by(move || {
        assert_eq!(fs::metadata(&foreign).unwrap().ino(), inode, "another file is in its place");
        assert!(fs::read(&foreign).unwrap() == pattern(3), "the foreign image has changed");
        fs::remove_file(foreign).unwrap();
    })
}

/// CAP_SYS_RESOURCE is the 24th capability.
fn may_grow_ext4() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(effective.trim(), 16).unwrap() & (1 << 24) != 0
}
