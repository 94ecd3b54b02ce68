//! The bytes on the wire, pinned in both directions.

use std::ffi::OsString;

use flexvolume::{Call, Capabilities, Encoding, Options, Reply, Status, Verb};

fn read(text: &str) -> Result<Reply, serde_json::Error> {
    serde_json::from_str(text)
}

#[test]
fn replies_are_written_and_read_as_these_bytes() {
    for (reply, text) in [
        (Reply::success(), r#"{"status":"Success"}"#),
        (Reply::failure("disk \"a\"\nis gone"), r#"{"status":"Failure","message":"disk \"a\"\nis gone"}"#),
        (Reply::failure(""), r#"{"status":"Failure"}"#),
        (Reply::not_supported(), r#"{"status":"Not supported"}"#),
        (
            Reply { device: Some("/dev/sdb".to_owned()), ..Reply::success() },
            r#"{"status":"Success","device":"/dev/sdb"}"#,
        ),
        (
            Reply { volume_name: Some("vol-1".to_owned()), ..Reply::success() },
            r#"{"status":"Success","volumeName":"vol-1"}"#,
        ),
        (Reply { attached: Some(false), ..Reply::success() }, r#"{"status":"Success","attached":false}"#),
        (
            Reply { new_size: Some(u64::MAX), ..Reply::success() },
            r#"{"status":"Success","volumeNewSize":18446744073709551615}"#,
        ),
        (
            Reply { capabilities: Some(Capabilities::default()), ..Reply::success() },
            r#"{"status":"Success","capabilities":{"attach":true,"selinuxRelabel":true,"supportsMetrics":false,"fsGroup":true,"requiresFSResize":true}}"#,
        ),
    ] {
        assert_eq!(reply.to_json(), text);
        assert_eq!(read(text).unwrap(), reply, "{text}");
    }
}

#[test]
fn unknown_fields_are_ignored_and_missing_ones_have_defaults() {
    let text = r#" {"status":"Success","later":[1],"capabilities":{"attach":false,"later":{}}} "#;
    let expected = Capabilities { attach: false, ..Capabilities::default() };
    assert_eq!(read(text).unwrap().capabilities, Some(expected));
    let text = r#"{"status":"Failure","device":null,"attached":null,"capabilities":null,"volumeName":null}"#;
    assert_eq!(read(text).unwrap(), Reply::failure(""));
}

#[test]
fn only_the_three_status_words_are_read() {
    for word in ["success", "SUCCESS", "OK", "Not Supported", "not supported", "Failed", ""] {
        assert!(read(&format!(r#"{{"status":"{word}"}}"#)).is_err(), "{word}");
    }
    assert!(read("{}").is_err());
    assert_eq!(read(r#"{"status":"Not supported"}"#).unwrap().status, Status::NotSupported);
}

#[test]
fn verbs_are_spelled_as_in_the_contract() {
    let words = "init getvolumename attach waitforattach isattached mountdevice mount unmount unmountdevice detach \
                 expandvolume expandfs";
    let spelled: Vec<_> = Verb::ALL.into_iter().map(Verb::as_str).collect();
    assert_eq!(spelled.join(" "), words);
    assert!(Verb::ALL.into_iter().all(|verb| Verb::parse(verb.as_str()) == Some(verb)));
    assert_eq!(Verb::parse("Mount"), None);
}

/// One call of each kind as Kubernetes v1.37 makes it, read and written again.
#[test]
fn arguments_are_read_and_written_as_these_bytes() {
    let json = r#"{"kubernetes.io/fsType":"ext4","kubernetes.io/pvOrVolumeName":"pv-1","kubernetes.io/readwrite":"rw","size":"1Gi"}"#;
    let dir = "/var/lib/kubelet/pods/11111111-2222-3333-4444-555555555555/volumes/acme~disk/pv-1";
    let device_dir = "/var/lib/kubelet/plugins/kubernetes.io/flexvolume/acme/disk/mounts/pv-1";
    for arguments in [
        vec!["init"],
        vec!["getvolumename", json],
        vec!["attach", json, "node-1"],
        vec!["waitforattach", "/dev/sdb", json],
        vec!["isattached", json, "node-1"],
        vec!["mountdevice", device_dir, "/dev/sdb", json],
        vec!["mount", dir, json],
        vec!["unmount", dir],
        vec!["unmountdevice", device_dir],
        vec!["detach", "pv-1", "node-1"],
        vec!["expandvolume", json, device_dir, "2147483648", "1073741824"],
        vec!["expandfs", json, "/dev/sdb", dir, "2147483648", "1073741824"],
    ] {
        let arguments: Vec<OsString> = arguments.into_iter().map(OsString::from).collect();
        let call = Call::parse(arguments.clone()).unwrap();
        assert_eq!(call.to_arguments(Encoding::Kubernetes), arguments);
        assert_eq!(call.verb().as_str(), arguments[0]);
    }
}

#[test]
fn escaped_options_are_the_same_options() {
    let options = Options::parse("{\"path\":\"/a b/c\\td\",\"motd\":\"x\\ny\\\\z\"}").unwrap();
    let escaped = options.to_json(Encoding::Escaped);
    assert_eq!(
        escaped,
        r#"{"kubernetes.io/fsType":"","kubernetes.io/pvOrVolumeName":"","kubernetes.io/readwrite":"rw","motd":"x\u000ay\u005cz","path":"/a\u0020b/c\u0009d"}"#
    );
    assert_eq!(Options::parse(&escaped).unwrap(), options);
}
