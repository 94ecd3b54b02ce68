//! Volume groups to test with.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::support::{self, Answer, Program, World, installed, options, pod_options, tool};

/// A world with a volume group of its own, on loop devices.
pub(crate) struct Group {
    pub(crate) world: World,
    pub(crate) vg: String,
    devices: Vec<String>,
}

impl Drop for Group {
    fn drop(&mut self) {
        self.world.unmount_all();
        let _ = self.try_lvm(&["vgremove", "-q", "-ff", "-y", &self.vg]);
        for device in &self.devices {
            let _ = self.world.spawning("losetup").args(["-d", device]).stderr(Stdio::null()).status();
        }
    }
}

/// Says why the test `name` cannot run, if it cannot: volumes are activated in it.
pub(crate) fn mapper_is_missing(name: &str) -> bool {
    if !Path::new("/dev/mapper/control").exists()
        || fs::read_to_string("/proc/devices").is_ok_and(|text| !text.contains("device-mapper"))
    {
        eprintln!("skipped: {name}: needs device-mapper (`cargo xtask vm`)");
        return true;
    }
    metadata_is_missing(name)
}

/// Says why the test `name` cannot run, if it cannot: it touches metadata only.
pub(crate) fn metadata_is_missing(name: &str) -> bool {
    let why = match support::obstacle() {
        Some(why) => why,
        None if !installed("lvm") => "needs lvm2".to_owned(),
        None => return false,
    };
    eprintln!("skipped: {name}: {why}");
    true
}

impl Group {
    /// A group on so many disks of so many MiB each, whose volumes can be activated.
    pub(crate) fn new(disks: usize, mib: u64) -> Self {
        Self::set_up(World::new(), disks, mib)
    }

    /// A group that LVM keeps to itself: no volume is activated, and no other disk is looked at. `LVM_SYSTEM_DIR` goes to
    /// the driver as well.
    pub(crate) fn metadata_only(disks: usize) -> Self {
        let mut world = World::new();
        let directory = world.path("lvm");
        fs::create_dir(&directory).unwrap();
        world.set("LVM_SYSTEM_DIR", directory.to_str().unwrap());
        Self::set_up(world, disks, 64)
    }

    fn set_up(world: World, disks: usize, mib: u64) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let vg = format!("fvt-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut group = Self { world, vg, devices: Vec::new() };
        for disk in 0..disks {
            let device = group.disk(&format!("disk{disk}"), mib);
            group.devices.push(device);
        }
        group.configure();
        let mut words = vec!["vgcreate", "-q", &group.vg];
        words.extend(group.devices.iter().map(String::as_str));
        group.lvm(&words);
        group
    }

    /// A disk of so many MiB.
    pub(crate) fn disk(&self, name: &str, mib: u64) -> String {
        let file = self.world.path(name);
        fs::File::create(&file).unwrap().set_len(mib << 20).unwrap();
        tool("losetup", &["-f", "--show", file.to_str().unwrap()]).trim().to_owned()
    }

    /// Takes a disk away. Its number may be given to somebody else from now on.
    pub(crate) fn take_away(&mut self, disk: usize) {
        let device = self.devices.remove(disk);
        tool("losetup", &["-d", &device]);
        // It is gone when the last program that looks at it (udev) is done.
        let backing = format!("/sys/block/{}/loop/backing_file", device.trim_start_matches("/dev/"));
        for _ in 0..2000 {
            if !Path::new(&backing).exists() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("{device} does not go");
    }

    /// Attaches a file of the world as another disk of the group.
    pub(crate) fn bring_back(&mut self, name: &str) {
        let file = self.world.path(name);
        let device = tool("losetup", &["-f", "--show", file.to_str().unwrap()]);
        self.devices.push(device.trim().to_owned());
        self.configure();
    }

    /// Has a group that LVM keeps to itself look at its own disks alone: others come and go with other tests.
    fn configure(&self) {
        let directory = self.world.path("lvm");
        if !directory.exists() {
            return;
        }
        let own: String = self.devices.iter().map(|device| format!("\"a|^{device}$|\", ")).collect();
        let locks = self.world.path("locks");
        let config = format!(
            "global {{ activation=0 locking_dir=\"{}\" }}\ndevices {{ use_devicesfile=0 hints=\"none\" filter=[ {own}\"r|.*|\" ] }}\n",
            locks.display()
        );
        fs::write(directory.join("lvm.conf"), config).unwrap();
    }

    /// The node of a disk.
    pub(crate) fn device(&self, disk: usize) -> &str {
        &self.devices[disk]
    }

    #[track_caller]
    pub(crate) fn lvm(&self, words: &[&str]) -> String {
        let (success, text) = self.try_lvm(words);
        assert!(success, "lvm {words:?}: {text}");
        text
    }

    /// Whether the command succeeded, and what it printed.
    pub(crate) fn try_lvm(&self, words: &[&str]) -> (bool, String) {
        let mut command = self.world.spawning("lvm");
        let output =
            command.args(words).env("LVM_SUPPRESS_FD_WARNINGS", "1").stdin(Stdio::null()).output().unwrap();
        let text = if output.status.success() { output.stdout } else { output.stderr };
        (output.status.success(), String::from_utf8(text).unwrap())
    }

    /// One column of a volume.
    #[track_caller]
    pub(crate) fn column(&self, lv: &str, column: &str) -> String {
        let name = format!("{}/{lv}", self.vg);
        self.lvm(&["lvs", "--noheadings", "--units", "b", "--nosuffix", "-o", column, &name])
            .trim()
            .to_owned()
    }

    /// The names of all volumes of the group.
    pub(crate) fn volumes(&self) -> Vec<String> {
        let text = self.lvm(&["lvs", "--noheadings", "-o", "lv_name", &self.vg]);
        text.lines().map(|line| line.trim().to_owned()).collect()
    }

    /// Options of the volume `data` in this group.
    pub(crate) fn options(&self, fs_type: &str, user: &[(&str, &str)]) -> String {
        let all: Vec<_> = [("volumegroup", &*self.vg)].into_iter().chain(user.iter().copied()).collect();
        options(fs_type, "rw", &all)
    }

    pub(crate) fn call(&self, arguments: &[&str]) -> Answer {
        self.world.call(Program::Lvm, arguments)
    }

    /// What the driver answers as the device of the volume `data`.
    pub(crate) fn mapped(&self) -> String {
        format!("/dev/mapper/{}-fv.data", self.vg.replace('-', "--"))
    }
}

/// The pod of ephemeral volumes.
const POD: &str = "0b5c8f1e-6d1a-4c55-9d3e-2f6a1c0e7b11";
/// What must not be left of a volume that was erased.
pub(crate) const MARKER: &[u8] = b"a secret of an earlier pod, which nobody else must ever see";

/// Options of the ephemeral volume `data` of the pod.
pub(crate) fn ephemeral_options(group: &Group, user: &[(&str, &str)]) -> String {
    let all: Vec<_> = [("volumegroup", &*group.vg)].into_iter().chain(user.iter().copied()).collect();
    pod_options(POD, &all)
}

/// Whether the bytes are anywhere on the free space of the group.
pub(crate) fn is_left(group: &Group, marker: &[u8]) -> bool {
    group.lvm(&["lvcreate", "-q", "-y", "-Zn", "-Wn", "-l", "100%FREE", "-n", "all", &group.vg]);
    let mut bytes = Vec::new();
    fs::File::open(format!("/dev/{}/all", group.vg)).unwrap().read_to_end(&mut bytes).unwrap();
    group.lvm(&["lvremove", "-q", "-y", &format!("{}/all", group.vg)]);
    bytes.windows(marker.len()).any(|window| window == marker)
}
