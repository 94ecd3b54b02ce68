//! The arguments of a call-out in the shape that a driver wants.

use std::ffi::OsString;

use flexvolume::{Call, Encoding, Rendering};

use super::v1;
use crate::settings::{DriverSettings, Protocol, UnmountDeviceArgument};

/// The arguments that follow the program. `device` is the device of the volume; empty where it is not known or the
/// call-out has it already.
pub(crate) fn arguments(
    call: &Call,
    device: &str,
    settings: &DriverSettings,
    encoding: Encoding,
) -> Vec<OsString> {
    let (fs_group, reserved) = (settings.fs_group_keys.value, settings.options.value);
    let rendering = Rendering { encoding, fs_group, reserved };
    if settings.protocol.value == Protocol::V1
        && let Some(arguments) = v1::arguments(call, device, rendering)
    {
        return arguments;
    }
    match (call, settings.unmount_device_argument.value) {
        (Call::UnmountDevice { path }, UnmountDeviceArgument::PathAndDevice) => {
            vec![verb(call), path.into(), device.into()]
        }
        (Call::UnmountDevice { .. }, UnmountDeviceArgument::Device) => vec![verb(call), device.into()],
        _ => call.to_arguments(rendering),
    }
}

fn verb(call: &Call) -> OsString {
    call.verb().as_str().into()
}

#[cfg(test)]
mod tests {
    use flexvolume::{Access, FsGroupKeys, Options, PodReference, ReservedKeys, Secret};

    use super::*;
    use crate::settings::{Origin, Setting};

    fn set<T>(value: T) -> Setting<T> {
        Setting { value, origin: Origin::BuiltIn }
    }

    fn options() -> Options {
        Options {
            fs_type: "ext4".to_owned(),
            access: Access::ReadOnly,
            volume_name: "data".to_owned(),
            pod: Some(PodReference { name: "web-0".to_owned(), ..PodReference::default() }),
            fs_group: Some(7),
            secrets: [("key".to_owned(), Secret::new("k"))].into(),
            user: [("size".to_owned(), "1Gi".to_owned())].into(),
        }
    }

    fn shown(call: &Call, settings: &DriverSettings) -> Vec<String> {
        let arguments = arguments(call, "/dev/sdb", settings, Encoding::Kubernetes);
        arguments.into_iter().map(|argument| argument.into_string().unwrap()).collect()
    }

    fn attach() -> Call {
        Call::Attach { options: options(), node: "node-1".to_owned() }
    }

    fn mount() -> Call {
        Call::Mount { path: "/pods/data".into(), options: options() }
    }

    const MINIMAL: &str = concat!(
        r#"{"kubernetes.io/fsType":"ext4","kubernetes.io/readwrite":"ro","kubernetes.io/secret/key":"aw==","#,
        r#""size":"1Gi"}"#
    );

    #[test]
    fn protocol_v1_passes_the_device_and_no_node() {
        let settings = DriverSettings {
            protocol: set(Protocol::V1),
            options: set(ReservedKeys::Minimal),
            ..DriverSettings::default()
        };
        assert_eq!(shown(&Call::Init, &settings), ["init"]);
        assert_eq!(shown(&attach(), &settings), ["attach", MINIMAL]);
        assert_eq!(shown(&mount(), &settings), ["mount", "/pods/data", "/dev/sdb", MINIMAL]);
        assert_eq!(shown(&Call::Unmount { path: "/pods/data".into() }, &settings), ["unmount", "/pods/data"]);
        let detach = Call::Detach { volume: "data".to_owned(), node: "node-1".to_owned() };
        assert_eq!(shown(&detach, &settings), ["detach", "/dev/sdb"]);
    }

    #[test]
    fn unmountdevice_is_called_with_what_the_driver_wants() {
        let call = Call::UnmountDevice { path: "/plugins/data".into() };
        for (argument, expected) in [
            (UnmountDeviceArgument::Path, &["unmountdevice", "/plugins/data"][..]),
            (UnmountDeviceArgument::PathAndDevice, &["unmountdevice", "/plugins/data", "/dev/sdb"]),
            (UnmountDeviceArgument::Device, &["unmountdevice", "/dev/sdb"]),
        ] {
            let unmount_device_argument = set(argument);
            let settings = DriverSettings { unmount_device_argument, ..DriverSettings::default() };
            assert_eq!(shown(&call, &settings), expected);
        }
    }

    #[test]
    fn only_the_keys_that_are_wanted_are_sent() {
        let minimal = DriverSettings { options: set(ReservedKeys::Minimal), ..DriverSettings::default() };
        assert_eq!(shown(&mount(), &minimal), ["mount", "/pods/data", MINIMAL]);
        for (keys, current, legacy) in
            [(FsGroupKeys::Current, 1, 0), (FsGroupKeys::Legacy, 0, 1), (FsGroupKeys::Both, 1, 1)]
        {
            let settings = DriverSettings { fs_group_keys: set(keys), ..DriverSettings::default() };
            let json = shown(&mount(), &settings).pop().unwrap();
            assert_eq!(json.matches(r#""kubernetes.io/mounterArgs.FsGroup":"7""#).count(), current);
            assert_eq!(json.matches(r#""kubernetes.io/fsGroup":"7""#).count(), legacy);
        }
    }
}
