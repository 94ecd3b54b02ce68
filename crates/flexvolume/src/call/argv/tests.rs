use std::os::unix::ffi::OsStringExt as _;

use proptest::prelude::*;

use super::*;
use crate::{Encoding, FsGroupKeys};

fn parse(arguments: &[&str]) -> Result<Call, CallError> {
    Call::parse(arguments.iter().map(OsString::from))
}

fn options(name: &str) -> Options {
    Options { volume_name: name.to_owned(), ..Options::default() }
}

const JSON: &str = r#"{"kubernetes.io/pvOrVolumeName":"data"}"#;

#[test]
fn arguments_are_those_of_kubernetes() {
    let json =
        r#"{"kubernetes.io/fsType":"","kubernetes.io/pvOrVolumeName":"pv-1","kubernetes.io/readwrite":"rw"}"#;
    let grow = Call::ExpandFs {
        options: options("pv-1"),
        device: String::new(),
        path: "/p".into(),
        new_size: 2_147_483_648,
        old_size: 1_073_741_824,
    };
    assert_eq!(
        grow.to_arguments(Encoding::Kubernetes),
        ["expandfs", json, "", "/p", "2147483648", "1073741824"].map(OsString::from)
    );
    let wait = Call::WaitForAttach { device: String::new(), options: options("pv-1") };
    assert_eq!(wait.to_arguments(Encoding::Kubernetes), ["waitforattach", "", json].map(OsString::from));
}

#[test]
fn is_attached_is_read_in_both_orders() {
    let expected = Call::IsAttached { options: options("data"), node: "node-1".to_owned() };
    assert_eq!(parse(&["isattached", JSON, "node-1"]).unwrap(), expected);
    assert_eq!(parse(&["isattached", "node-1", JSON]).unwrap(), expected);
    assert_eq!(parse(&["isattached", " {}", "{}"]).unwrap().verb(), Verb::IsAttached);
}

#[test]
fn an_empty_device_is_an_argument() {
    let call = parse(&["mountdevice", "/d", "", JSON]).unwrap();
    assert_eq!(
        call,
        Call::MountDevice { path: "/d".into(), device: String::new(), options: options("data") }
    );
    assert!(parse(&["mountdevice", "/d", JSON]).is_err());
}

#[test]
fn a_path_that_is_not_text_survives() {
    let path = OsString::from_vec(b"/mnt/\xff\xfe \n".to_vec());
    let call = Call::parse([OsString::from("unmount"), path.clone()]).unwrap();
    assert_eq!(call, Call::Unmount { path: path.clone().into() });
    assert_eq!(call.to_arguments(Encoding::Escaped)[1], path);
}

#[test]
fn further_arguments_are_ignored_where_there_are_no_options() {
    assert_eq!(
        parse(&["unmountdevice", "/d", "/dev/sdb"]).unwrap(),
        Call::UnmountDevice { path: "/d".into() }
    );
    assert_eq!(parse(&["init", "x"]).unwrap(), Call::Init);
    assert!(parse(&["mount", "/d", "/dev/sdb", JSON]).is_err());
}

#[test]
fn wrong_arguments_are_told_without_their_values() {
    let secret = r#"{"kubernetes.io/secret/password":"aHVudGVyMg=="}"#;
    for arguments in [
        vec!["mount", secret],
        vec!["mount", "/d", secret, secret],
        vec!["mount", secret, "/d"],
        vec![secret],
        vec![secret, "mount"],
        vec!["detach", secret],
        vec!["attach", "node", secret],
        vec!["unmount", ""],
        vec!["expandvolume", JSON, "/d", secret, "5"],
        vec!["expandfs", secret],
        vec!["MOUNT", "/d", secret],
        vec![],
    ] {
        let error = parse(&arguments).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("aHVudGVyMg"), "{shown}");
    }
    assert_eq!(
        parse(&["mount", "/d"]).unwrap_err().to_string(),
        "arguments of mount: takes 2 (<mount dir> <options>) and got 1"
    );
    assert_eq!(parse(&["umount", "/d"]).unwrap_err(), CallError::UnknownVerb("umount".to_owned()));
}

fn any_call() -> impl Strategy<Value = Call> {
    let text = || ".{0,12}";
    let path = || {
        prop::collection::vec(1_u8..=255, 1..20).prop_map(|bytes| PathBuf::from(OsString::from_vec(bytes)))
    };
    let options = || {
        let user = prop::collection::btree_map("[a-z ]{0,6}", text(), 0..3);
        (text(), user).prop_map(|(volume_name, user)| Options { volume_name, user, ..Options::default() })
    };
    prop_oneof![
        Just(Call::Init),
        options().prop_map(|options| Call::GetVolumeName { options }),
        (options(), text()).prop_map(|(options, node)| Call::Attach { options, node }),
        (options(), text()).prop_map(|(options, device)| Call::WaitForAttach { device, options }),
        (options(), text()).prop_map(|(options, node)| Call::IsAttached { options, node }),
        (options(), text(), path()).prop_map(|(options, device, path)| Call::MountDevice {
            path,
            device,
            options
        }),
        (options(), path()).prop_map(|(options, path)| Call::Mount { path, options }),
        path().prop_map(|path| Call::Unmount { path }),
        path().prop_map(|path| Call::UnmountDevice { path }),
        (text(), text()).prop_map(|(volume, node)| Call::Detach { volume, node }),
        (options(), path(), any::<u64>(), any::<u64>()).prop_map(|(options, path, new_size, old_size)| {
            Call::ExpandVolume { options, path, new_size, old_size }
        }),
        (options(), text(), path(), any::<u64>(), any::<u64>()).prop_map(
            |(options, device, path, new_size, old_size)| Call::ExpandFs {
                options,
                device,
                path,
                new_size,
                old_size
            }
        ),
    ]
}

proptest! {
    #[test]
    fn what_is_rendered_is_parsed(call in any_call(), escaped: bool) {
        let encoding = if escaped { Encoding::Escaped } else { Encoding::Kubernetes };
        let rendering = Rendering { encoding, fs_group: FsGroupKeys::Both, ..Rendering::default() };
        prop_assert_eq!(Call::parse(call.to_arguments(rendering)).unwrap(), call);
    }

    #[test]
    fn foreign_arguments_never_panic(verb in prop::sample::select(&Verb::ALL), arguments: Vec<Vec<u8>>) {
        let arguments = arguments.into_iter().map(OsString::from_vec);
        let _ = Call::parse([OsString::from(verb.as_str())].into_iter().chain(arguments));
    }
}
