//! The plugin of the tolerant reading over a driver that only answers and mounts that are only remembered.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Mutex;

use flexvolume::{Access, Secret, Verb};
use flexvolume_os::command::Command;
use flexvolume_os::fake::{self, FakeMounter, FakeRunner, Operation, output};
use flexvolume_os::mount::{self, FileSystemMount, Mounter as _};
use tempfile::TempDir;

use super::*;
use crate::settings::{Attach, MountCheck, Origin, Serialisation, Setting};
use crate::spec::{MounterArguments, SecretReference, Source};
use crate::{Deadlines, Reading, SecretError, SecretObject, SecretSource};

const SUCCESS: &str = r#"{"status":"Success"}"#;
const NOT_SUPPORTED: &str = r#"{"status":"Not supported"}"#;
const FAILURE: &str = r#"{"status":"Failure","message":"no route"}"#;
/// Text beside the reply makes a Success a claim.
const CLAIM: &str = "mounting...\n{\"status\":\"Success\"}";

struct OneSecret;

impl SecretSource for OneSecret {
    fn secret(&self, _namespace: &str, name: &str) -> Result<SecretObject, SecretError> {
        let kind = if name == "ours" { "acme/disk" } else { "Opaque" };
        let data = BTreeMap::from([("password".to_owned(), Secret::new("hunter2"))]);
        Ok(SecretObject { kind: kind.to_owned(), data })
    }
}

struct Stage {
    _directory: TempDir,
    root: PathBuf,
    runner: FakeRunner,
    mounter: FakeMounter,
    settings: DriverSettings,
}

impl Stage {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let (runner, mounter) = (FakeRunner::new(), FakeMounter::new());
        let stage =
            Self { _directory: directory, root, runner, mounter, settings: DriverSettings::default() };
        stage.runner.always("disk", output(1, NOT_SUPPORTED));
        stage.answer("init", SUCCESS);
        stage
    }

    /// The driver's answer to a call-out from now on.
    fn answer(&self, verb: &'static str, said: &'static str) {
        self.act(verb, said, || ());
    }

    /// The same, and what the driver does besides.
    fn act(&self, verb: &'static str, said: &'static str, act: impl Fn() + Send + Sync + 'static) {
        self.runner.on("disk", move |command: &Command| {
            (command.raw_arguments().next()? == verb).then(|| {
                act();
                Ok(output(0, said))
            })
        });
    }

    fn plugin(&self) -> Arc<VolumePlugin> {
        let host = VolumeHost {
            root: self.root.clone(),
            node: "node-1".to_owned(),
            system: fake::system(&self.runner, &self.mounter),
            secrets: Arc::new(OneSecret),
            reading: Reading::Tolerant,
            deadlines: Deadlines { lock: Duration::from_millis(100), ..Deadlines::default() },
            settings: Arc::default(),
        };
        let name = DriverName::parse("acme/disk").unwrap();
        let settings = Arc::new(self.settings.clone());
        let executable = "/exec/acme~disk/disk".into();
        Arc::new(VolumePlugin::load(Arc::new(host), name, executable, settings).unwrap())
    }

    fn mount_dir(&self) -> PathBuf {
        self.root.join("pods/uid-1/volumes/acme~disk/data")
    }

    fn set_up(&self, spec: &VolumeSpec) -> Result<Effect, PluginError> {
        self.plugin().mounter(spec, &pod()).set_up(MounterArguments::default())
    }

    fn tear_down(&self) -> Result<Effect, PluginError> {
        let volume = VolumeName::parse("data").unwrap();
        self.plugin().unmounter(&volume, &pod().uid).tear_down()
    }

    /// Makes a directory and mounts something there, as a driver would.
    fn mount_at(&self, path: &Path) {
        fs::create_dir_all(path).unwrap();
        mount_at(&self.mounter, path);
    }

    fn verbs(&self) -> Vec<String> {
        self.runner.calls().into_iter().filter(|call| call[0] == "disk").map(|call| call[1].clone()).collect()
    }
}

fn mount_at(mounter: &FakeMounter, path: &Path) {
    let mount = FileSystemMount {
        source: "x".into(),
        fs_type: "tmpfs".to_owned(),
        access: mount::Access::ReadWrite,
        data: Vec::new(),
    };
    mounter.mount(&mount, path).unwrap();
}

fn pod() -> Pod {
    Pod {
        uid: PodUid::parse("uid-1").unwrap(),
        name: "web-0".to_owned(),
        namespace: "shop".to_owned(),
        service_account: String::new(),
    }
}

fn volume() -> VolumeSpec {
    VolumeSpec {
        name: VolumeName::parse("data").unwrap(),
        driver: "acme/disk".to_owned(),
        fs_type: String::new(),
        access: Access::ReadWrite,
        options: BTreeMap::new(),
        secret: None,
        source: Source::PersistentVolume { mode: None, capacity: None },
    }
}

#[test]
fn a_volume_is_mounted_once() {
    let stage = Stage::new();
    let (mounter, mount_dir) = (stage.mounter.clone(), stage.mount_dir());
    stage.act("mount", SUCCESS, move || mount_at(&mounter, &mount_dir));
    assert_eq!(stage.set_up(&volume()).unwrap(), Effect::Changed);
    assert_eq!(stage.set_up(&volume()).unwrap(), Effect::Unchanged);
    assert_eq!(stage.verbs(), ["init", "mount", "init"]);
}

#[test]
fn a_claimed_success_must_be_seen() {
    let stage = Stage::new();
    stage.answer("mount", CLAIM);
    assert!(matches!(stage.set_up(&volume()), Err(PluginError::NotDone { verb: "mount", .. })));
    assert!(!stage.mount_dir().exists());
    let (mounter, mount_dir) = (stage.mounter.clone(), stage.mount_dir());
    stage.act("mount", CLAIM, move || mount_at(&mounter, &mount_dir));
    assert_eq!(stage.set_up(&volume()).unwrap(), Effect::Changed);
}

#[test]
fn a_claimed_success_that_fills_the_directory_counts() {
    let stage = Stage::new();
    let file = stage.mount_dir().join("file");
    stage.act("mount", CLAIM, move || fs::write(&file, "x").unwrap());
    assert_eq!(stage.set_up(&volume()).unwrap(), Effect::Changed);
}

#[test]
fn what_a_failing_mount_has_mounted_is_unmounted() {
    let stage = Stage::new();
    let (mounter, mount_dir) = (stage.mounter.clone(), stage.mount_dir());
    stage.act("mount", FAILURE, move || mount_at(&mounter, &mount_dir));
    let error = stage.set_up(&volume()).unwrap_err();
    assert!(error.to_string().contains("no route"), "{error}");
    assert_eq!(stage.mounter.table().unwrap().mounts().len(), 0);
    assert!(!stage.mount_dir().exists());
}

#[test]
fn not_even_when_its_unmount_fails_too() {
    let stage = Stage::new();
    let (mounter, mount_dir) = (stage.mounter.clone(), stage.mount_dir());
    stage.act("mount", FAILURE, move || mount_at(&mounter, &mount_dir));
    stage.answer("unmount", FAILURE);
    stage.set_up(&volume()).unwrap_err();
    assert_eq!(stage.mounter.table().unwrap().mounts().len(), 0);
}

#[test]
fn a_dead_mount_can_always_be_taken_away() {
    let stage = Stage::new();
    stage.answer("unmount", FAILURE);
    stage.mount_at(&stage.mount_dir());
    stage.mounter.kill(stage.mount_dir(), 107);
    assert!(matches!(stage.set_up(&volume()), Err(PluginError::Dead { errno: 107, .. })));
    assert_eq!(stage.tear_down().unwrap(), Effect::Changed);
    assert!(!stage.mount_dir().exists());
}

#[test]
fn what_a_failing_mount_has_written_stays() {
    let stage = Stage::new();
    let file = stage.mount_dir().join("file");
    stage.act("mount", FAILURE, move || fs::write(&file, "precious").unwrap());
    stage.set_up(&volume()).unwrap_err();
    assert_eq!(fs::read_to_string(stage.mount_dir().join("file")).unwrap(), "precious");
}

#[test]
fn only_a_mounted_device_is_bound() {
    let stage = Stage::new();
    let device_mount = stage.root.join("plugins/kubernetes.io/flexvolume/acme/disk/mounts/data");
    fs::create_dir_all(&device_mount).unwrap();
    assert!(matches!(stage.set_up(&volume()), Err(PluginError::Refused { .. })));
    stage.mount_at(&device_mount);
    assert_eq!(stage.set_up(&volume()).unwrap(), Effect::Changed);
    assert_eq!(stage.mounter.table().unwrap().references(&device_mount).len(), 1);
    let references = stage.plugin().attachable().unwrap().device_mount_references(&device_mount).unwrap();
    assert_eq!(references, [stage.mount_dir()]);
}

#[test]
fn a_symlink_in_place_of_the_mount_dir_is_refused() {
    let stage = Stage::new();
    stage.answer("mount", SUCCESS);
    let elsewhere = stage.root.join("elsewhere");
    fs::create_dir_all(stage.mount_dir().parent().unwrap()).unwrap();
    fs::create_dir(&elsewhere).unwrap();
    symlink(&elsewhere, stage.mount_dir()).unwrap();
    assert!(matches!(stage.set_up(&volume()), Err(PluginError::Refused { .. })));
    assert_eq!(stage.verbs(), ["init"]);
    assert!(stage.mount_dir().is_symlink());
}

#[test]
fn a_read_only_volume_is_read_only_whatever_the_driver_did() {
    let stage = Stage::new();
    let (mounter, mount_dir) = (stage.mounter.clone(), stage.mount_dir());
    stage.act("mount", SUCCESS, move || mount_at(&mounter, &mount_dir));
    stage.set_up(&VolumeSpec { access: Access::ReadOnly, ..volume() }).unwrap();
    assert!(stage.mounter.table().unwrap().top(&stage.mount_dir()).unwrap().is_read_only());
}

#[test]
fn a_read_only_volume_that_cannot_be_made_so_is_not_handed_out() {
    let stage = Stage::new();
    let (mounter, mount_dir) = (stage.mounter.clone(), stage.mount_dir());
    stage.act("mount", SUCCESS, move || mount_at(&mounter, &mount_dir));
    stage.mounter.fail(Operation::MakeReadOnly, stage.mount_dir(), 1);
    stage.set_up(&VolumeSpec { access: Access::ReadOnly, ..volume() }).unwrap_err();
    assert_eq!(stage.mounter.table().unwrap().mounts().len(), 0);
}

#[test]
fn a_failure_to_unmount_what_is_not_mounted_does_not_matter() {
    let stage = Stage::new();
    stage.answer("unmount", FAILURE);
    fs::create_dir_all(stage.mount_dir()).unwrap();
    assert_eq!(stage.tear_down().unwrap(), Effect::Changed);
    assert!(!stage.mount_dir().exists());
    assert_eq!(stage.tear_down().unwrap(), Effect::Unchanged);
    stage.mount_at(&stage.mount_dir());
    stage.tear_down().unwrap_err();
    assert!(stage.mount_dir().exists());
}

#[test]
fn an_unmount_that_leaves_the_mount_has_not_happened() {
    let stage = Stage::new();
    stage.answer("unmount", SUCCESS);
    stage.mount_at(&stage.mount_dir());
    assert!(matches!(stage.tear_down(), Err(PluginError::NotDone { verb: "unmount", .. })));
}

#[test]
fn files_left_in_the_directory_are_not_deleted() {
    let stage = Stage::new();
    stage.answer("unmount", SUCCESS);
    fs::create_dir_all(stage.mount_dir()).unwrap();
    fs::write(stage.mount_dir().join("left"), "x").unwrap();
    assert!(matches!(stage.tear_down(), Err(PluginError::Directory { step: "remove", .. })));
    assert!(stage.mount_dir().join("left").exists());
}

#[test]
fn the_host_unmounts_what_the_driver_leaves_to_it() {
    let stage = Stage::new();
    stage.mount_at(&stage.mount_dir());
    assert_eq!(stage.tear_down().unwrap(), Effect::Changed);
    assert!(!stage.mount_dir().exists());
}

#[test]
fn not_supported_is_asked_once() {
    let stage = Stage::new();
    let attachable = stage.plugin().attachable().unwrap();
    for _ in 0..2 {
        assert_eq!(attachable.attach(&volume(), "node-1").unwrap(), "");
        assert_eq!(attachable.wait_for_attach(&volume(), "/dev/x").unwrap(), "/dev/x");
        attachable.detach("data", "node-1").unwrap();
        assert_eq!(attachable.volumes_are_attached(&[&volume()], "n").unwrap(), Attachments::Unknown);
    }
    assert_eq!(stage.verbs(), ["init", "attach", "waitforattach", "detach", "isattached"]);
}

#[test]
fn a_verb_is_unknown_when_nonsense_is_answered_the_same() {
    let stage = Stage::new();
    stage.answer("attach", "usage: disk init|mount|unmount");
    stage.answer("flexvol-unknown-verb", "usage: disk init|mount|unmount");
    let attachable = stage.plugin().attachable().unwrap();
    assert_eq!(attachable.attach(&volume(), "node-1").unwrap(), "");
    assert_eq!(stage.verbs(), ["init", "attach", "flexvol-unknown-verb"]);
}

#[test]
fn secrets_are_for_mount_and_for_nobody_to_see() {
    let stage = Stage::new();
    stage.answer("mount", r#"{"status":"Failure","message":"hunter2 or aHVudGVyMg=="}"#);
    let secret = |name: &str| Some(SecretReference { namespace: None, name: name.to_owned() });
    let error = stage.set_up(&VolumeSpec { secret: secret("ours"), ..volume() }).unwrap_err();
    assert!(error.to_string().contains("<redacted> or <redacted>"), "{error}");
    assert_eq!(stage.runner.calls()[1].last().unwrap(), "<redacted>");
    let error = stage.set_up(&VolumeSpec { secret: secret("other"), ..volume() }).unwrap_err();
    assert!(matches!(error, PluginError::SecretKind { .. }), "{error}");
    assert!(!stage.mount_dir().exists());
}

fn mount_device(stage: &Stage, device: &Path) -> Result<Effect, PluginError> {
    let attachable = stage.plugin().attachable().unwrap();
    let path = attachable.device_mount_path(&volume()).unwrap();
    attachable.mount_device(&volume(), &device.to_string_lossy(), &path)
}

#[test]
fn a_device_is_formatted_only_when_it_is_blank() {
    let stage = Stage::new();
    stage.runner.always("blkid", output(2, ""));
    stage.runner.always("mkfs.ext4", output(0, ""));
    stage.runner.always("mke2fs", output(0, ""));
    let device = stage.root.join("device");
    fs::write(&device, [0; 4096]).unwrap();
    assert_eq!(mount_device(&stage, &device).unwrap(), Effect::Changed);
    let made = stage.runner.calls().iter().filter(|call| call[0].starts_with("mk")).count();
    assert_eq!(made, 1);

    let stage = Stage::new();
    stage.runner.always("blkid", output(2, ""));
    let device = stage.root.join("device");
    fs::write(&device, [[0; 4095].as_slice(), b"x"].concat()).unwrap();
    assert!(matches!(mount_device(&stage, &device), Err(PluginError::Refused { .. })));
    mount_device(&stage, &stage.root.join("nothing")).unwrap_err();
}

#[test]
fn without_a_device_nothing_is_mounted() {
    let stage = Stage::new();
    assert_eq!(mount_device(&stage, Path::new("")).unwrap(), Effect::Changed);
    assert_eq!(stage.mounter.table().unwrap().mounts().len(), 0);
    let attachable = stage.plugin().attachable().unwrap();
    let path = attachable.device_mount_path(&volume()).unwrap();
    assert_eq!(attachable.unmount_device(&path).unwrap(), Effect::Changed);
    assert!(!path.exists());
}

#[test]
fn null_capabilities_take_the_defaults() {
    let stage = Stage::new();
    stage.answer("init", r#"{"status":"Success","capabilities":null}"#);
    assert_eq!(stage.plugin().capabilities(), Capabilities::default());
}

fn set<T>(value: T) -> Setting<T> {
    Setting { value, origin: Origin::BuiltIn }
}

/// The calls of the driver with their arguments, without `init`.
fn calls(stage: &Stage) -> Vec<Vec<String>> {
    let calls = stage.runner.calls().into_iter().map(|call| call[1..].to_vec());
    calls.filter(|call| call[0] != "init").collect()
}

#[test]
fn a_driver_of_protocol_v1_gets_its_five_calls_and_its_device() {
    let mut stage = Stage::new();
    stage.settings.protocol = set(Protocol::V1);
    stage.answer("attach", r#"{"status":"Success","device":"/dev/sdb"}"#);
    let (mounter, mount_dir) = (stage.mounter.clone(), stage.mount_dir());
    stage.act("mount", SUCCESS, move || mount_at(&mounter, &mount_dir));
    stage.answer("detach", SUCCESS);
    let plugin = stage.plugin();
    let attachable = plugin.attachable().unwrap();
    let spec =
        VolumeSpec { secret: Some(SecretReference { namespace: None, name: "ours".to_owned() }), ..volume() };
    let device = attachable.attach_for(&spec, &pod(), "node-1").unwrap();
    assert_eq!(attachable.wait_for_attach(&spec, &device).unwrap(), "/dev/sdb");
    assert_eq!(attachable.volumes_are_attached(&[&spec], "node-1").unwrap(), Attachments::Unknown);
    let path = attachable.device_mount_path(&spec).unwrap();
    assert_eq!(attachable.mount_device(&spec, &device, &path).unwrap(), Effect::Changed);
    plugin.mounter(&spec, &pod()).on_device(&device).set_up(MounterArguments::default()).unwrap();
    attachable.unmount_device_of(&path, &device).unwrap();
    assert!(!path.exists());
    attachable.detach_device("data", &device, "node-1").unwrap();
    let mount_dir = stage.mount_dir().display().to_string();
    // The options have secrets in both calls.
    assert_eq!(
        calls(&stage),
        [
            vec!["attach", "<redacted>"],
            vec!["mount", &mount_dir, "/dev/sdb", "<redacted>"],
            vec!["detach", "/dev/sdb"]
        ]
    );
    attachable.detach_device("data", "", "node-1").unwrap();
    assert_eq!(calls(&stage).len(), 3, "there is nothing to detach by");
}

#[test]
fn the_settings_decide_what_a_mount_may_leave() {
    let failed = |settings: DriverSettings, leave: fn(&Path)| {
        let mut stage = Stage::new();
        stage.settings = settings;
        let mount_dir = stage.mount_dir();
        stage.act("mount", SUCCESS, move || leave(&mount_dir));
        stage.set_up(&volume()).is_err()
    };
    let strict = || DriverSettings { mount_check: set(MountCheck::Strict), ..DriverSettings::default() };
    let nothing = |_: &Path| ();
    let filled = |mount_dir: &Path| fs::write(mount_dir.join("file"), "").unwrap();
    let linked = |mount_dir: &Path| {
        fs::remove_dir(mount_dir).unwrap();
        symlink("/tmp", mount_dir).unwrap();
    };
    assert!(failed(strict(), nothing) && failed(strict(), filled) && failed(strict(), linked));
    let may_mount_nothing = || DriverSettings { may_mount_nothing: set(true), ..strict() };
    assert!(!failed(may_mount_nothing(), nothing) && !failed(may_mount_nothing(), filled));
    assert!(failed(may_mount_nothing(), linked));
    let may_leave_symlink = || DriverSettings { may_leave_symlink: set(true), ..strict() };
    assert!(!failed(may_leave_symlink(), linked) && failed(may_leave_symlink(), nothing));
    for leave in [nothing, filled, linked] {
        assert!(!failed(DriverSettings::default(), leave));
    }
}

#[test]
fn a_mount_that_is_not_looked_for_is_not_waited_for_but_a_claim_is() {
    for settings in [
        DriverSettings { mount_check: set(MountCheck::Off), ..DriverSettings::default() },
        DriverSettings { may_mount_nothing: set(true), ..DriverSettings::default() },
    ] {
        let mut stage = Stage::new();
        stage.settings = settings;
        stage.answer("mount", SUCCESS);
        let begun = std::time::Instant::now();
        stage.set_up(&volume()).unwrap();
        assert!(begun.elapsed() < Duration::from_millis(400), "{:?}", begun.elapsed());
        stage.answer("mount", CLAIM);
        stage.set_up(&volume()).unwrap_err();
    }
}

#[test]
fn attach_is_what_the_settings_say() {
    for (declared, attach, attachable) in [
        (r#"{"status":"Success"}"#, Attach::Auto, true),
        (r#"{"status":"Success"}"#, Attach::Off, false),
        (r#"{"status":"Success","capabilities":{"attach":false}}"#, Attach::Auto, false),
        (r#"{"status":"Success","capabilities":{"attach":false}}"#, Attach::On, true),
    ] {
        let mut stage = Stage::new();
        stage.answer("init", declared);
        stage.settings.attach = set(attach);
        let plugin = stage.plugin();
        assert_eq!(plugin.attachable().is_some(), attachable, "{declared} {attach:?}");
        assert_eq!(plugin.capabilities().attach, attachable);
    }
}

#[test]
fn calls_take_turns_as_the_settings_say() {
    let unmount = |path: &str| Call::Unmount { path: path.into() };
    let (here, there) = (unmount("/pods/uid-1/data"), unmount("/pods/uid-1/other"));
    let elsewhere = unmount("/pods/uid-2/data");
    let detach = Call::Detach { volume: "data".to_owned(), node: "node-1".to_owned() };
    for (serialisation, waiting) in [
        (Serialisation::None, [false, false, false]),
        (Serialisation::Volume, [true, false, false]),
        (Serialisation::Driver, [true, true, true]),
    ] {
        let mut stage = Stage::new();
        stage.settings.serialisation = set(serialisation);
        let (one, other) = (stage.plugin(), stage.plugin());
        let turn = one.wait_for_turn(&here).unwrap();
        for (call, waits) in [&elsewhere, &there, &detach].into_iter().zip(waiting) {
            match other.wait_for_turn(call) {
                Ok(turn) => {
                    assert!(!waits, "{serialisation:?} {call:?}");
                    turn.end();
                }
                Err(error) => {
                    assert!(
                        waits && matches!(error, PluginError::Turn(_)),
                        "{serialisation:?} {call:?} {error}"
                    );
                }
            }
        }
        turn.end();
        other.wait_for_turn(&elsewhere).unwrap().end();
        for kind in ["driver", "volume/acme~disk"] {
            let directory = stage.root.join("flexvol/locks/calls").join(kind);
            assert!(!fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some()));
        }
    }
}

#[test]
fn the_deadline_of_the_settings_is_used() {
    let mut stage = Stage::new();
    stage.settings.deadlines = BTreeMap::from([(Verb::Mount, set(Duration::from_secs(7)))]);
    stage.settings.mount_check = set(MountCheck::Off);
    let seen = Arc::new(Mutex::new(None));
    let deadline = Arc::clone(&seen);
    stage.runner.on("disk", move |command: &Command| {
        (command.raw_arguments().next()? == "mount").then(|| {
            *deadline.lock().unwrap() = Some(command.deadline());
            Ok(output(0, SUCCESS))
        })
    });
    stage.set_up(&volume()).unwrap();
    assert_eq!(*seen.lock().unwrap(), Some(Duration::from_secs(7)));
}

#[test]
fn inline_volumes_of_one_name_do_not_wait_for_each_other() {
    let mut stage = Stage::new();
    stage.settings.mount_check = set(MountCheck::Off);
    let (mounter, mount_dir) = (stage.mounter.clone(), stage.mount_dir());
    stage.act("mount", SUCCESS, move || mount_at(&mounter, &mount_dir));
    stage.answer("unmount", NOT_SUPPORTED);
    let inline = VolumeSpec { source: Source::Inline, ..volume() };
    let own = |uid: &str| inline.device_name(&PodUid::parse(uid).unwrap(), Reading::Tolerant).unwrap();
    let plugin = stage.plugin();
    let others = plugin.wait_for_turn_on(Some(OsStr::new(own("uid-2").as_str()))).unwrap();
    let named_alike = plugin.wait_for_turn_on(Some(OsStr::new("data"))).unwrap();
    stage.set_up(&inline).unwrap();
    let unmounter = || stage.plugin().unmounter(&inline.name, &pod().uid);
    assert!(
        matches!(unmounter().tear_down(), Err(PluginError::Turn(_))),
        "it is not known that it is inline"
    );
    unmounter().known_as(own("uid-1")).tear_down().unwrap();
    others.end();
    named_alike.end();
}
