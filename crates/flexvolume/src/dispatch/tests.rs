use std::path::Path;

use super::*;
use crate::{Capabilities, Capacity, Finding, Options, Status, VolumeDescription, VolumeState};

/// Answers each call-out with what it was given.
struct Echo;

impl Driver for Echo {
    fn init(&self) -> Result<Capabilities, Error> {
        Ok(Capabilities { attach: false, ..Capabilities::default() })
    }
    fn get_volume_name(&self, options: &Options) -> Result<String, Error> {
        Ok(format!("name of {}", options.volume_name))
    }
    fn attach(&self, _: &Options, node: &str) -> Result<Option<String>, Error> {
        Ok(Some(format!("/dev/{node}")))
    }
    fn wait_for_attach(&self, device: Option<&str>, _: &Options) -> Result<String, Error> {
        Ok(format!("{device:?}"))
    }
    fn is_attached(&self, _: &Options, node: &str) -> Result<Attachment, Error> {
        Ok(if node == "here" { Attachment::Attached } else { Attachment::Detached })
    }
    fn mount_device(&self, mount: DeviceMount<'_>, _: &Options) -> Result<(), Error> {
        Err(Error::failure(format!("{mount:?}")))
    }
    fn mount(&self, mount_dir: &Path, options: &Options) -> Result<(), Error> {
        let password = options.require_secret("password")?.expose();
        Err(Error::failure(format!("{}: {}", mount_dir.display(), String::from_utf8_lossy(password))))
    }
    fn unmount(&self, mount_dir: &Path) -> Result<(), Error> {
        Err(Error::failure(mount_dir.display()))
    }
    fn detach(&self, volume: &str, node: &str) -> Result<(), Error> {
        Err(Error::failure(format!("{volume} from {node}")))
    }
    fn create_volume(&self, options: &Options) -> Result<VolumeDescription, Error> {
        let id = options.volume_name.clone();
        Ok(VolumeDescription { id, state: VolumeState::Ready, ..VolumeDescription::default() })
    }
    fn delete_volume(&self, _: &Options) -> Result<Option<VolumeDescription>, Error> {
        Ok(None)
    }
    fn list_volumes(&self, _: &Options) -> Result<Vec<VolumeDescription>, Error> {
        Ok(Vec::new())
    }
    fn capacity(&self, _: &Options) -> Result<Capacity, Error> {
        Ok(Capacity::default())
    }
    fn diagnose(&self, options: &Options) -> Result<Vec<Finding>, Error> {
        let key = options.require_secret("key")?.expose();
        Err(Error::failure(format!("no {}", String::from_utf8_lossy(key))))
    }
    fn heal(&self, mount_dir: &Path, options: &Options) -> Result<(), Error> {
        Err(Error::failure(format!("{} of {} {:?}", mount_dir.display(), options.volume_name, options.user)))
    }
    fn expand_volume(&self, _: &Options, expansion: Expansion<'_>) -> Result<u64, Error> {
        Ok(expansion.new_size + expansion.old_size)
    }
    fn expand_fs(&self, _: &Options, expansion: Expansion<'_>) -> Result<(), Error> {
        Err(Error::failure(format!("{expansion:?}")))
    }
}

/// A driver that has nothing but `init`.
struct Bare;

impl Driver for Bare {
    fn init(&self) -> Result<Capabilities, Error> {
        Ok(Capabilities::default())
    }
}

fn ask<D: Driver>(driver: &D, arguments: &[&str]) -> String {
    answer(driver, arguments.iter().map(OsString::from)).to_json()
}

#[test]
fn each_call_out_reaches_its_method() {
    let json = r#"{"kubernetes.io/pvOrVolumeName":"v"}"#;
    for (arguments, expected) in [
        (vec!["getvolumename", json], r#"{"status":"Success","volumeName":"name of v"}"#),
        (vec!["attach", json, "n"], r#"{"status":"Success","device":"/dev/n"}"#),
        (vec!["waitforattach", "", json], r#"{"status":"Success","device":"None"}"#),
        (vec!["waitforattach", "x", json], r#"{"status":"Success","device":"Some(\"x\")"}"#),
        (vec!["isattached", json, "here"], r#"{"status":"Success","attached":true}"#),
        (vec!["isattached", "there", json], r#"{"status":"Success","attached":false}"#),
        (
            vec!["mountdevice", "/d", "", json],
            r#"{"status":"Failure","message":"DeviceMount { path: \"/d\", device: None }"}"#,
        ),
        (vec!["unmount", "/m"], r#"{"status":"Failure","message":"/m"}"#),
        (vec!["unmountdevice", "/m"], r#"{"status":"Not supported"}"#),
        (vec!["detach", "v", "n"], r#"{"status":"Failure","message":"v from n"}"#),
        (vec!["expandvolume", json, "/d", "5", "3"], r#"{"status":"Success","volumeNewSize":8}"#),
        (
            vec!["expandfs", json, "/dev/x", "/m", "5", "3"],
            r#"{"status":"Failure","message":"Expansion { path: \"/m\", device: Some(\"/dev/x\"), new_size: 5, old_size: 3 }"}"#,
        ),
    ] {
        assert_eq!(ask(&Echo, &arguments), expected, "{arguments:?}");
    }
}

#[test]
fn the_extension_call_outs_reach_their_methods_or_are_not_supported() {
    let json =
        r#"{"kubernetes.io/pvOrVolumeName":"v","kubernetes.io/secret/key":"aHVudGVyMg==","mountDir":"/m"}"#;
    for (verb, expected) in [
        ("createvolume", r#"{"status":"Success","volume":{"id":"v","pool":"","state":"ready"}}"#),
        ("deletevolume", r#"{"status":"Success"}"#),
        ("listvolumes", r#"{"status":"Success","volumes":[]}"#),
        (
            "getcapacity",
            r#"{"status":"Success","capacity":{"pool":"","total":0,"free":0,"reserved":0,"thin":{"total":0,"used":0}}}"#,
        ),
        ("diagnose", r#"{"status":"Failure","message":"no <redacted>"}"#),
        ("heal", r#"{"status":"Failure","message":"/m of v {}"}"#),
    ] {
        assert_eq!(ask(&Echo, &[verb, json]), expected);
        assert_eq!(ask(&Bare, &[verb, json]), r#"{"status":"Not supported"}"#);
        assert!(ask(&Echo, &[verb]).contains("takes 1 (<options>) and got 0"));
    }
    for without in ["{}", r#"{"mountDir":"m"}"#] {
        assert!(ask(&Echo, &["heal", without]).contains("mountDir must hold the absolute path"), "{without}");
    }
}

#[test]
fn init_declares_every_capability() {
    assert_eq!(
        ask(&Echo, &["init"]),
        r#"{"status":"Success","capabilities":{"attach":false,"selinuxRelabel":true,"supportsMetrics":false,"fsGroup":true,"requiresFSResize":true}}"#
    );
}

#[test]
fn what_a_driver_leaves_out_is_not_supported() {
    for verb in Verb::ALL.into_iter().filter(|verb| *verb != Verb::Init) {
        let arguments: Vec<&str> = match verb {
            Verb::GetVolumeName => vec!["{}"],
            Verb::Attach | Verb::IsAttached => vec!["{}", "n"],
            Verb::WaitForAttach | Verb::Mount => vec!["/d", "{}"],
            Verb::MountDevice => vec!["/d", "", "{}"],
            Verb::ExpandVolume => vec!["{}", "/d", "1", "1"],
            Verb::ExpandFs => vec!["{}", "", "/d", "1", "1"],
            _ => vec!["/d", "n"],
        };
        let arguments: Vec<&str> = [verb.as_str()].into_iter().chain(arguments).collect();
        assert_eq!(ask(&Bare, &arguments), r#"{"status":"Not supported"}"#, "{arguments:?}");
    }
}

#[test]
fn a_secret_does_not_leave_in_a_failure() {
    let reply = ask(&Echo, &["mount", "/m", r#"{"kubernetes.io/secret/password":"aHVudGVyMg=="}"#]);
    assert_eq!(reply, r#"{"status":"Failure","message":"/m: <redacted>"}"#);
    let reply = ask(&Echo, &["mount", "/m", "{}"]);
    assert!(reply.contains(r#"secret key \"password\" is missing"#), "{reply}");
}

#[test]
fn a_person_is_told_how_a_driver_is_called() {
    let none = answer(&Bare, []);
    assert_eq!(none.status, Status::Failure);
    assert!(none.message.contains("mount <mount dir> <options>"), "{}", none.message);
    let help = answer(&Bare, [OsString::from("--help")]);
    assert_eq!(help.status, Status::NotSupported);
    assert!(
        help.message.starts_with("unknown call-out \"--help\"; this is a FlexVolume driver"),
        "{}",
        help.message
    );
}
