use flexvolume_os::network_mount::{AccessTimes, Permission};

use super::*;

fn read(pairs: &[(&str, &str)]) -> std::result::Result<NfsRequest, String> {
    let user = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let options = Options { user, ..Options::default() };
    NfsRequest::read(&options, &Grants::default()).map_err(|error| error.to_string())
}

fn with(pairs: &[(&str, &str)]) -> std::result::Result<NfsRequest, String> {
    read(&[&[("server", "10.0.0.1"), ("share", "/data")], pairs].concat())
}

#[test]
fn the_words_of_other_drivers_are_understood() {
    // kubernetes/examples: a share without a slash, switches as numbers.
    let request = read(&[
        ("server", "172.16.0.25"),
        ("share", "dws_nas_scratch"),
        ("protocol", "tcp"),
        ("atime", "0"),
        ("readonly", "1"),
    ]);
    let request = request.unwrap();
    assert_eq!(request.source(), "172.16.0.25:/dws_nas_scratch");
    assert_eq!(request.given.attributes.access, mount::Access::ReadOnly);
    assert_eq!(request.given.attributes.access_times, AccessTimes::Never);
    assert_eq!(request.given.attributes.set_user_id, Permission::Refused);
    // The in-tree driver's `path`, and mount options as one text.
    let request = read(&[
        ("server", "fd00::1"),
        ("path", "/export/a b,c\\d"),
        ("mountOptions", "nfsvers=4.1,hard,timeo=600,noresvport"),
    ]);
    let request = request.unwrap();
    assert_eq!(request.source(), "[fd00::1]:/export/a b,c\\d");
    assert_eq!(request.versions, [Version::V4_1]);
    assert_eq!(request.given.settings["timeo"].as_deref(), Some("600"));
}

#[test]
fn without_a_version_all_are_tried_the_best_one_first() {
    let request = with(&[]).unwrap();
    assert_eq!(request.versions, Version::ALL);
    let request = with(&[("mountOptions", "nolock"), ("vers", "4")]).unwrap();
    let address = "10.0.0.1".parse().unwrap();
    let attempts = request.attempts(&request.versions, address).unwrap();
    let settings: Vec<_> = attempts.iter().map(|attempt| format!("{:?}", attempt.settings)).collect();
    assert_eq!(settings.len(), 3);
    assert!(
        settings[0].contains("vers=\"4.2\"") && settings[0].contains("addr=\"10.0.0.1\""),
        "{settings:?}"
    );
}

#[test]
fn what_makes_no_sense_is_refused_and_named() {
    for (pairs, part) in [
        (&[("servr", "x")][..], "\"server\""),
        (&[("mountOption", "x")], "\"mountOptions\""),
        (&[("server", "a,b")], "letters"),
        (&[("server", "a\nb")], "letters"),
        (&[("server", "fe80::1%eth0")], "zone"),
        (&[("share", "/a/../b")], "without `.`"),
        (&[("share", "/a\nb")], "control"),
        (&[("share", "/a\0b")], "control"),
        (&[("path", "/other")], "another directory"),
        (&[("vers", "2")], "3, 4"),
        (&[("vers", "4.2,suid,dev")], "without commas"),
        (&[("port", "0")], "from 1"),
        (&[("port", "65536")], "from 1"),
        (&[("port", "+1")], "from 1"),
        (&[("sec", "none,suid")], "without commas"),
        (&[("recovery", "soft"), ("mountOptions", "hard")], "something else"),
        (&[("vers", "3"), ("mountOptions", "vers=4")], "something else"),
        (&[("mountOptions", "suid")], "administrator"),
        (&[("mountOptions", "dev")], "administrator"),
        (&[("mountOptions", "exec")], "administrator"),
        (&[("mountOptions", "context=system_u:object_r:x_t:s0")], "administrator"),
        (&[("mountOptions", "addr=10.0.0.2")], "no such"),
        (&[("mountOptions", "clientaddr=10.0.0.2")], "no such"),
        (&[("protocol", "udp")], "tcp only"),
        (&[("readonly", "yes")], "\"true\""),
        (&[("subdirectory", "../x")], "relative"),
        (&[("subdirectory", "/x")], "relative"),
        (&[("subdirectory", "a\nb")], "relative"),
        (&[("subdirectoryMode", "0770")], "no \"subdirectory\""),
        (&[("subdirectory", "a"), ("subdirectoryMode", "0888")], "octal"),
        (&[("subdirectory", "a"), ("subdirectoryOwner", "0")], "subdirectoryMode"),
        (&[("subdirectory", "a"), ("subdirectoryMode", "0700"), ("subdirectoryOwner", "root")], "UID:GID"),
    ] {
        let plain: Vec<_> = [("server", "10.0.0.1"), ("share", "/data")]
            .into_iter()
            .filter(|(key, _)| !pairs.iter().any(|(other, _)| other == key))
            .chain(pairs.iter().copied())
            .collect();
        let error = read(&plain).unwrap_err();
        assert!(error.contains(part), "{pairs:?}: {error}");
    }
    assert!(read(&[("server", "x")]).unwrap_err().contains("\"share\" is required"));
    assert!(read(&[("share", "x")]).unwrap_err().contains("\"server\" is required"));
}

#[test]
fn two_requests_are_one_only_if_all_is_equal() {
    let one = with(&[("mountOptions", "hard,nconnect=2")]).unwrap().identity();
    assert_eq!(with(&[("nconnect", "2"), ("recovery", "hard")]).unwrap().identity(), one);
    for other in [&[("recovery", "hard")][..], &[("recovery", "soft"), ("nconnect", "2")]] {
        assert_ne!(with(other).unwrap().identity(), one);
    }
    assert_ne!(with(&[("readonly", "1")]).unwrap().identity(), with(&[]).unwrap().identity());
    assert_ne!(with(&[("subdirectory", "a")]).unwrap().identity(), with(&[]).unwrap().identity());
}

#[test]
fn a_source_that_the_kernel_would_cut_is_refused() {
    let long = format!("/{}", "x".repeat(250));
    let request = read(&[("server", "10.0.0.1"), ("share", &long), ("vers", "4.2")]).unwrap();
    let error = request.attempts(&request.versions, "10.0.0.1".parse().unwrap()).unwrap_err();
    assert!(error.to_string().contains("at most 255"), "{error}");
}
