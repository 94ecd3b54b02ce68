//! One volume: an image, its server, and the calls of a host.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::server::{Mood, Server};
use crate::support::{Answer, Program, World, options};

pub(crate) const MIB: u64 = 1 << 20;

/// No call may take longer.
pub(crate) const LONGEST: Duration = Duration::from_secs(30);

pub(crate) struct Volume {
    pub(crate) server: Server,
    pub(crate) world: World,
    /// Added to the options.
    pub(crate) more: Vec<(&'static str, String)>,
    pub(crate) fs_type: &'static str,
    pub(crate) access: &'static str,
}

/// A test may end, or fail, with a device connected: it would wait for a server that is gone.
impl Drop for Volume {
    fn drop(&mut self) {
        self.server.set_mood(Mood::Well);
        self.server.revive();
        let _ = self.call(&["isattached", &self.options(), "node"]);
        self.world.unmount_all();
        let _ = self.call(&["detach", "data", "node"]);
    }
}

/// Says why the test `name` cannot run, if it cannot.
pub(crate) fn kernel_is_missing(name: &str) -> bool {
    if !crate::support::rustix_is_root() {
        eprintln!("skipped: {name}: needs root");
        return true;
    }
    let world = World::new();
    let _ = world.spawning("modprobe").arg("nbd").output();
    if !Path::new("/sys/module/nbd").exists() {
        eprintln!("skipped: {name}: needs network block devices in the kernel (`cargo xtask vm`)");
        return true;
    }
    false
}

impl Volume {
    /// An export `disk` of so many MiB that nobody has used, and a host that says so.
    pub(crate) fn new(mib: u64) -> Self {
        Self::with(Server::tcp(), World::new(), mib)
    }

    pub(crate) fn with(server: Server, world: World, mib: u64) -> Self {
        let image = world.path("image");
        File::create(&image).unwrap().set_len(mib * MIB).unwrap();
        server.export("disk", &image);
        let more = vec![("format", "new".to_owned())];
        Self { server, world, more, fs_type: "ext4", access: "rw" }
    }

    pub(crate) fn image(&self) -> PathBuf {
        self.world.path("image")
    }

    pub(crate) fn set(&mut self, key: &'static str, value: &str) {
        self.more.retain(|(known, _)| *known != key);
        self.more.push((key, value.to_owned()));
    }

    pub(crate) fn options(&self) -> String {
        let mut all = self.server.options("disk");
        all.extend(self.more.iter().cloned());
        let all: Vec<_> = all.iter().map(|(key, value)| (*key, value.as_str())).collect();
        options(self.fs_type, self.access, &all)
    }

    /// Calls the driver, in time.
    #[track_caller]
    pub(crate) fn call(&self, arguments: &[&str]) -> Answer {
        self.call_with(arguments, &[])
    }

    #[track_caller]
    pub(crate) fn call_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Answer {
        let begun = Instant::now();
        let answer = self.world.call_with(Program::Nbd, arguments, variables);
        assert!(begun.elapsed() < LONGEST, "{arguments:?} took {:?}", begun.elapsed());
        answer
    }

    pub(crate) fn attach(&self, node: &str) -> Answer {
        self.call(&["attach", &self.options(), node])
    }

    pub(crate) fn connect(&self) -> Answer {
        self.call(&["waitforattach", "", &self.options()])
    }

    pub(crate) fn target(&self) -> String {
        self.world.target().to_str().unwrap().to_owned()
    }

    pub(crate) fn mount(&self, device: &str) -> Answer {
        self.call(&["mountdevice", &self.target(), device, &self.options()])
    }

    /// Connected and mounted; answers the device.
    #[track_caller]
    pub(crate) fn up(&self) -> String {
        let device = self.connect().success().json["device"].as_str().unwrap().to_owned();
        self.mount(&device).success();
        device
    }

    pub(crate) fn unmount(&self) -> Answer {
        self.call(&["unmountdevice", &self.target()])
    }

    pub(crate) fn detach(&self, node: &str) -> Answer {
        self.call(&["detach", "data", node])
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.world.target().join("file")
    }

    pub(crate) fn is_mounted(&self) -> bool {
        !self.world.mounts_at(&self.world.target()).is_empty()
    }

    /// The devices that have a connection of ours.
    pub(crate) fn connected(&self) -> usize {
        let connected = flexvolume_os::nbd::connected().unwrap();
        let state = self.world.path("state/nbd/volumes");
        let entries = std::fs::read_dir(state).map(Iterator::flatten).into_iter().flatten();
        let text: String = entries.filter_map(|entry| std::fs::read_to_string(entry.path()).ok()).collect();
        connected.iter().filter(|(_, identifier)| text.contains(identifier.as_str())).count()
    }
}

/// Waits for something that takes a moment, also on a machine that has much to do.
#[track_caller]
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + LONGEST;
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
