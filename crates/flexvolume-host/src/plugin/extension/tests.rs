//! The administration of volumes over a driver that only answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use flexvolume::{DriverName, Secret, VolumeState};
use flexvolume_os::command::Command;
use flexvolume_os::fake::{self, FakeMounter, FakeRunner, output};
use proptest::prelude::*;

use super::*;
use crate::plugin::Initialised;
use crate::{Deadlines, Reading, SecretError, SecretObject, SecretSource, VolumeHost};

struct NoSecrets;

impl SecretSource for NoSecrets {
    fn secret(&self, _: &str, name: &str) -> Result<SecretObject, SecretError> {
        Err(SecretError::NotFound { name: name.to_owned() })
    }
}

/// A plugin whose driver answers everything but `init` like this.
fn plugin(runner: &FakeRunner, reading: Reading, code: i32, said: &str) -> VolumePlugin {
    runner.always("disk", output(code, said));
    runner.on("disk", |command: &Command| {
        (command.raw_arguments().next()? == "init").then(|| Ok(output(0, r#"{"status":"Success"}"#)))
    });
    let host = VolumeHost {
        // No directory to keep locks in.
        root: "".into(),
        node: "node-1".to_owned(),
        system: fake::system(runner, &FakeMounter::new()),
        secrets: Arc::new(NoSecrets),
        reading,
        deadlines: Deadlines::default(),
        settings: Arc::default(),
    };
    Initialised::new(Arc::new(host), "/exec/acme~disk/disk".into(), Arc::default())
        .unwrap()
        .into_plugin(DriverName::parse("acme/disk").unwrap())
}

fn answering(said: &str) -> VolumePlugin {
    plugin(&FakeRunner::new(), Reading::Tolerant, 0, said)
}

fn named(volume: &str) -> Options {
    Options { volume_name: volume.to_owned(), ..Options::default() }
}

#[test]
fn answers_are_read_in_both_readings() {
    for reading in [Reading::Tolerant, Reading::Strict] {
        let said = r#"{"status":"Success","volume":{"id":"a","state":"ready","size":5},"volumes":[{"id":"a"}],
            "capacity":{"pool":"p","total":9,"free":4},"findings":[{"severity":"problem","subject":"s","what":"w"}]}"#;
        let plugin = plugin(&FakeRunner::new(), reading, 0, said);
        let made = plugin.create_volume(named("a")).unwrap();
        assert_eq!((made.state, made.size), (VolumeState::Ready, Some(5)));
        assert_eq!(plugin.delete_volume(named("a")).unwrap(), Some(made));
        assert_eq!(plugin.list_volumes(Options::default()).unwrap()[0].id, "a");
        assert_eq!(plugin.capacity(Options::default()).unwrap().free, 4);
        assert_eq!(plugin.diagnose(Options::default()).unwrap()[0].what, "w");
        plugin.heal(Path::new("/m"), named("a")).unwrap();
    }
}

#[test]
fn a_driver_that_heals_is_told_where() {
    let runner = FakeRunner::new();
    let plugin = plugin(&runner, Reading::Tolerant, 0, r#"{"status":"Success"}"#);
    plugin.heal(Path::new("/pods/p/m"), named("a")).unwrap();
    let call = runner.calls().pop().unwrap();
    assert_eq!(call[1], "heal");
    assert!(call[2].contains(r#""mountDir":"/pods/p/m""#), "{call:?}");
}

#[test]
fn a_driver_without_them_is_told_apart_from_one_that_fails_and_is_asked_again() {
    let runner = FakeRunner::new();
    let plugin = plugin(&runner, Reading::Tolerant, 1, r#"{"status":"Not supported"}"#);
    for _ in 0..2 {
        let error = plugin.list_volumes(Options::default()).unwrap_err();
        assert!(matches!(error, PluginError::NoAdministration { verb: "listvolumes", .. }), "{error}");
    }
    let asked = runner.calls().iter().filter(|call| call[1] == "listvolumes").count();
    assert_eq!(asked, 2);
    let failing = answering(r#"{"status":"Failure","message":"the disk is on fire"}"#);
    let error = failing.delete_volume(named("a")).unwrap_err().to_string();
    assert!(error.contains("the disk is on fire"), "{error}");
}

#[test]
fn an_old_driver_that_only_prints_its_usage_does_not_have_them() {
    let plugin = plugin(&FakeRunner::new(), Reading::Tolerant, 1, "usage: disk init | mount | unmount");
    let error = plugin.diagnose(Options::default()).unwrap_err();
    assert!(matches!(error, PluginError::NoAdministration { .. }), "{error}");
}

#[test]
fn a_success_that_does_not_hold_the_answer_is_an_error() {
    for (said, expected) in [
        (r#"{"status":"Success"}"#, "it holds no `volumes`"),
        (r#"{"status":"Success","volumes":null}"#, "it holds no `volumes`"),
        (r#"{"status":"Success","volumes":{}}"#, "it cannot be read"),
        (r#"{"status":"Success","volumes":[{"id":"a","size":-1}]}"#, "it cannot be read"),
        (r#"{"status":"Success","volumes":[{"id":"a","size":1e30}]}"#, "it cannot be read"),
        (r#"{"status":"Success","volumes":[{}]}"#, "missing field `id`"),
        ("hello\n{\"status\":\"Success\",\"volumes\":[]}", "it cannot be read"),
        (
            "{\"status\":\"Success\",\"volumes\":[{\"id\":\"a\",\"state\":\"\\u001b[2J\"}],\"capacity\":\"\\u001b[2J\"}",
            "it cannot be read",
        ),
    ] {
        let error = answering(said).list_volumes(Options::default()).unwrap_err().to_string();
        assert!(error.starts_with("the driver answered Success to listvolumes, but "), "{said}: {error}");
        assert!(error.contains(expected), "{said}: {error}");
        assert!(!error.contains('\u{1b}'), "{error:?}");
    }
    let none = answering(r#"{"status":"Success"}"#);
    assert_eq!(none.delete_volume(named("a")).unwrap(), None);
    assert!(none.create_volume(named("a")).is_err());
}

#[test]
fn a_list_without_end_and_a_tower_of_brackets_are_refused() {
    let said = format!(
        r#"{{"status":"Success","volumes":[{}{{"id":"a"}}]}}"#,
        r#"{"id":"a"},"#.repeat(MOST_ENTRIES)
    );
    let error = answering(&said).list_volumes(Options::default()).unwrap_err().to_string();
    assert!(error.contains("more than 20000 entries"), "{error}");
    let said = format!(r#"{{"status":"Success","volumes":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert!(answering(&said).list_volumes(Options::default()).is_err());
}

#[test]
fn a_secret_is_neither_shown_on_the_way_there_nor_on_the_way_back() {
    let secrets = BTreeMap::from([("key".to_owned(), Secret::new("hunter2"))]);
    let options = Options { secrets, ..named("a") };
    let runner = FakeRunner::new();
    let plugin = plugin(&runner, Reading::Tolerant, 0, r#"{"status":"Success","volume":{"id":"hunter2"}}"#);
    let error = plugin.create_volume(options).unwrap_err().to_string();
    assert_eq!(error, "the answer to createvolume holds a secret");
    assert_eq!(runner.calls().last().unwrap()[1..], ["createvolume", "<redacted>"]);
}

#[test]
fn a_volume_grows_where_it_is_mounted_and_where_it_is_not() {
    let runner = FakeRunner::new();
    let plugin = plugin(&runner, Reading::Tolerant, 0, r#"{"status":"Success"}"#);
    let options = BTreeMap::from([("size".to_owned(), "1Gi".to_owned())]);
    let idle = VolumeDescription {
        id: "a".to_owned(),
        device: "/pool/a.img".to_owned(),
        options,
        ..Default::default()
    };
    let mounted = VolumeDescription { mounts: vec!["/mnt".to_owned()], ..idle.clone() };
    let sizes = Sizes { new: 20, old: 10 };
    let json = r#"{"kubernetes.io/fsType":"","kubernetes.io/pvOrVolumeName":"a","kubernetes.io/readwrite":"rw","size":"1Gi"}"#;
    plugin.grow(&idle, sizes).unwrap();
    plugin.grow(&mounted, sizes).unwrap();
    let calls: Vec<_> = runner.calls().into_iter().skip(1).map(|call| call[1..].join(" ")).collect();
    assert_eq!(
        calls,
        [
            format!("expandvolume {json} /pool/a.img 20 10"),
            format!("expandvolume {json} /mnt 20 10"),
            format!("expandfs {json} /pool/a.img /mnt 20 10"),
        ]
    );
}

proptest! {
    /// Whatever is printed: an answer within bounds or an error fit to be shown, never a panic.
    #[test]
    fn any_bytes_are_an_answer_or_an_error(cut in 0_usize..300, bytes: Vec<u8>, at in 0_usize..300) {
        let whole = br#"{"status":"Success","volume":{"id":"a","state":"ready","size":5,"mounts":["/m"],"options":{"k":"v"}},
            "volumes":[{"id":"a","orphan":"noData","created":7}],"capacity":{"pool":"p","total":9,"free":4,
            "thin":{"total":1,"used":1}},"findings":[{"severity":"good","subject":"s","what":"w"}]}"#;
        let mut text = whole[..cut.min(whole.len())].to_vec();
        let at = at.min(text.len());
        text.splice(at..at, bytes);
        for bytes in [text, whole.to_vec()] {
            if let Err(error) = read(ExtensionVerb::ListVolumes, &Captured { bytes, omitted: 0 }) {
                let error = error.to_string();
                prop_assert!(error.len() < 4096 && !error.chars().any(char::is_control), "{error:?}");
            }
        }
    }
}
