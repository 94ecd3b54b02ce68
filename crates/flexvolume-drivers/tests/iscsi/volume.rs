//! One disk of a target on the second host, the nodes that use it, and a controller.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::support::{Answer, Program, World, options, tool};

/// No call may take longer.
pub(crate) const LONGEST: Duration = Duration::from_secs(30);
/// An unmount whose server is gone.
pub(crate) const SILENT_UNMOUNT: Duration = Duration::from_secs(10);

pub(crate) const OPEN: &str = "iqn.2026-01.test.flexvol:open";
pub(crate) const CHAP: &str = "iqn.2026-01.test.flexvol:chap";
pub(crate) const DATABASE: &str = "/etc/iscsi/nodes";

/// Both hosts, and what is on the disks: nothing, at first.
pub(crate) struct Hosts;

impl Hosts {
    /// With blank disks that nobody has reserved.
    pub(crate) fn fresh() -> Self {
        tool("server", &["initiator"]);
        Self::end_sessions();
        tool("server", &["stop", "iscsi"]);
        for disk in ["first", "second", "third"] {
            // The same file, which the target keeps open.
            shell(&format!("truncate -s 0 /srv/iscsi-{disk} && truncate -s 64M /srv/iscsi-{disk}"));
        }
        tool("server", &["start", "iscsi"]);
        Self
    }

    fn end_sessions() {
        shell(
            "iscsiadm -m session --logout >/dev/null 2>&1 || true; rm -rf /etc/iscsi/nodes /etc/iscsi/ifaces",
        );
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        shell("server heal 2>/dev/null || true; server start iscsi 2>/dev/null || true");
        Self::end_sessions();
    }
}

/// A command line that must succeed.
#[track_caller]
pub(crate) fn shell(text: &str) -> String {
    tool("sh", &["-ec", text])
}

/// Says why the test `name` cannot run, if it cannot.
pub(crate) fn machine_is_missing(name: &str) -> bool {
    let is_there = std::env::var_os("FLEXVOL_VM").is_some();
    if !is_there {
        eprintln!("skipped: {name}: needs the second host of the test machine (`cargo xtask vm`)");
    }
    !is_there
}

/// A volume, seen from one node; `controller` is where its `attach` happens.
pub(crate) struct Volume {
    pub(crate) world: World,
    pub(crate) program: Program,
    pub(crate) user: Vec<(&'static str, String)>,
    pub(crate) access: &'static str,
    pub(crate) fs_type: &'static str,
    pub(crate) name: &'static str,
    /// What `attach` has answered.
    pub(crate) pass: String,
}

impl Drop for Volume {
    fn drop(&mut self) {
        self.world.unmount_all();
    }
}

impl Volume {
    /// LUN 0 of the open target, for the node of this name.
    pub(crate) fn new(node: &str) -> Self {
        let user = [
            ("targetPortal", "10.99.0.2".to_owned()),
            ("iqn", OPEN.to_owned()),
            ("lun", "0".to_owned()),
            ("initiatorName", format!("iqn.2026-01.test.flexvol:{node}")),
            ("format", "new".to_owned()),
        ];
        let (world, name, pass) = (World::new(), "data", String::new());
        Self { world, program: Program::Iscsi, user: user.into(), access: "rw", fs_type: "ext4", name, pass }
    }

    pub(crate) fn with(mut self, key: &'static str, value: &str) -> Self {
        self.set(key, value);
        self
    }

    pub(crate) fn set(&mut self, key: &'static str, value: &str) {
        self.user.retain(|(known, _)| *known != key);
        self.user.push((key, value.to_owned()));
    }

    pub(crate) fn options(&self) -> String {
        let user: Vec<_> = self.user.iter().map(|(key, value)| (*key, value.as_str())).collect();
        options(self.fs_type, self.access, &user).replace("\"data\"", &format!("{:?}", self.name))
    }

    /// Calls the driver, in time.
    #[track_caller]
    pub(crate) fn call(&self, arguments: &[&str]) -> Answer {
        self.call_with(arguments, &[])
    }

    #[track_caller]
    pub(crate) fn call_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Answer {
        let begun = Instant::now();
        let configuration = self.world.path("etc");
        let mut all = vec![("FLEXVOL_CONFIG_DIR", configuration.to_str().unwrap())];
        all.extend(variables);
        let answer = self.world.call_with(self.program, arguments, &all);
        assert!(begun.elapsed() < LONGEST, "{arguments:?} took {:?}", begun.elapsed());
        answer
    }

    pub(crate) fn connect(&self) -> Answer {
        self.call(&["waitforattach", &self.pass, &self.options()])
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
        let device = self.device();
        self.mount(&device).success();
        device
    }

    /// Connected; answers the device.
    #[track_caller]
    pub(crate) fn device(&self) -> String {
        self.connect().success().json["device"].as_str().unwrap().to_owned()
    }

    pub(crate) fn unmount(&self) -> Answer {
        self.call(&["unmountdevice", &self.target()])
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.world.target().join("file")
    }

    pub(crate) fn is_mounted(&self) -> bool {
        !self.world.mounts_at(&self.world.target()).is_empty()
    }
}

/// The controller of a cluster, whose state is not that of a node.
pub(crate) struct Controller(World);

impl Controller {
    pub(crate) fn new() -> Self {
        Self(World::new())
    }

    pub(crate) fn attach(&self, volume: &Volume, node: &str) -> Answer {
        self.0.call(volume.program, &["attach", &volume.options(), node])
    }

    /// Attaches, and lets the node know.
    #[track_caller]
    pub(crate) fn admit(&self, volume: &mut Volume, node: &str) {
        let answer = self.attach(volume, node).success();
        answer.json["device"].as_str().unwrap().clone_into(&mut volume.pass);
    }

    pub(crate) fn is_attached(&self, volume: &Volume, node: &str) -> bool {
        let answer = self.0.call(volume.program, &["isattached", &volume.options(), node]).success();
        answer.json["attached"].as_bool().unwrap()
    }

    #[track_caller]
    pub(crate) fn detach(&self, volume: &Volume, node: &str) {
        self.0.call(volume.program, &["detach", volume.name, node]).success();
    }
}

/// The sessions of this machine.
pub(crate) fn sessions() -> usize {
    std::fs::read_dir("/sys/class/iscsi_session").map_or(0, Iterator::count)
}

/// The records of open-iscsi that are left.
pub(crate) fn records() -> usize {
    std::fs::read_dir(DATABASE).map_or(0, Iterator::count)
}

/// What the disk says of its keys, by a program that is not ours.
pub(crate) fn reservations(device: &str) -> String {
    tool("sg_persist", &["--in", "--read-full-status", device])
}

/// Waits for something that takes a moment, also on a machine that has much to do.
#[track_caller]
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + 3 * LONGEST;
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Whether the text is in a file below the folder.
pub(crate) fn is_in_a_file(text: &str, folder: &Path) -> bool {
    let found = shell(&format!("grep -rlF -e '{text}' '{}' || true", folder.display()));
    !found.is_empty()
}
