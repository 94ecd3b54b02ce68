use proptest::prelude::*;

use super::*;

fn sample() -> Options {
    Options {
        fs_type: "ext4".to_owned(),
        access: Access::ReadOnly,
        volume_name: "data".to_owned(),
        pod: Some(PodReference {
            name: "web-0".to_owned(),
            namespace: "shop".to_owned(),
            uid: "11111111-2222-3333-4444-555555555555".to_owned(),
            service_account: String::new(),
        }),
        fs_group: Some(2000),
        secrets: BTreeMap::from([("password".to_owned(), Secret::new("swordfish"))]),
        user: BTreeMap::from([("size".to_owned(), "64Mi".to_owned())]),
    }
}

#[test]
fn the_bytes_of_a_mount_are_those_of_kubernetes() {
    let expected = concat!(
        r#"{"kubernetes.io/fsType":"ext4","kubernetes.io/mounterArgs.FsGroup":"2000","#,
        r#""kubernetes.io/pod.name":"web-0","kubernetes.io/pod.namespace":"shop","#,
        r#""kubernetes.io/pod.uid":"11111111-2222-3333-4444-555555555555","#,
        r#""kubernetes.io/pvOrVolumeName":"data","kubernetes.io/readwrite":"ro","#,
        r#""kubernetes.io/secret/password":"c3dvcmRmaXNo","kubernetes.io/serviceAccount.name":"","size":"64Mi"}"#
    );
    assert_eq!(sample().to_json(Encoding::Kubernetes), expected);
    assert_eq!(Options::parse(expected).unwrap(), sample());
}

#[test]
fn the_three_base_keys_are_always_there() {
    assert_eq!(
        Options { volume_name: "data".to_owned(), ..Options::default() }.to_json(Encoding::Kubernetes),
        r#"{"kubernetes.io/fsType":"","kubernetes.io/pvOrVolumeName":"data","kubernetes.io/readwrite":"rw"}"#
    );
}

/// The option maps of the recorded runs of Kubernetes v1.37.2.
#[test]
fn recorded_maps_of_kubernetes_are_reproduced() {
    let html = r#"{"html":"\u003ca href=\"x\"\u003e\u0026amp;\u003c/a\u003e","k\u003c\u003e\u0026\u2028":"key too","kubernetes.io/fsType":"","kubernetes.io/pvOrVolumeName":"data","kubernetes.io/readwrite":"rw","ls":"a\u2028b\u2029c","quote":"\"\\/"}"#;
    let order = r#"{"":"empty key","-":"6","1":"7","10":"8","2":"9","A":"4","B":"2","_":"5","a":"3","a.b":"13","a/b":"14","b":"1","kubernetes.io/fsType":"","kubernetes.io/pvOrVolumeName":"data","kubernetes.io/readwrite":"rw","z":"12","zz":"11","é":"10"}"#;
    let unicode = "{\"bidi\":\"\u{202e}\u{200b}\u{feff}\",\"end\":\"\u{ffff}\u{10ffff}\u{fffd}\",\"kubernetes.io/fsType\":\"\",\"kubernetes.io/pvOrVolumeName\":\"data\",\"kubernetes.io/readwrite\":\"rw\",\"ümläut\":\"中文 🚀\"}";
    for text in [html, order, unicode] {
        assert_eq!(Options::parse(text).unwrap().to_json(Encoding::Kubernetes), text);
    }
}

#[test]
fn options_of_the_manifest_win_over_reserved_keys() {
    let mut options = sample();
    options.user.insert("kubernetes.io/fsType".to_owned(), "hijack".to_owned());
    options.user.insert("kubernetes.io/secret/password".to_owned(), "mine".to_owned());
    let json = options.to_json(Encoding::Kubernetes);
    assert!(json.contains(r#""kubernetes.io/fsType":"hijack""#) && !json.contains("ext4"), "{json}");
    assert!(json.contains(r#""kubernetes.io/secret/password":"mine""#), "{json}");
}

#[test]
fn both_spellings_of_the_fs_group_are_read_and_the_current_one_wins() {
    let read = |text| Options::parse(text).unwrap().fs_group;
    assert_eq!(read(r#"{"kubernetes.io/fsGroup":"7"}"#), Some(7));
    assert_eq!(read(r#"{"kubernetes.io/mounterArgs.FsGroup":"8"}"#), Some(8));
    assert_eq!(read(r#"{"kubernetes.io/mounterArgs.FsGroup":"8","kubernetes.io/fsGroup":"7"}"#), Some(8));
    assert_eq!(read("{}"), None);
}

#[test]
fn both_spellings_of_the_fs_group_are_written_on_request() {
    let rendering = Rendering { fs_group: FsGroupKeys::Both, ..Rendering::default() };
    let json = sample().to_json(rendering);
    assert!(json.contains(r#""kubernetes.io/fsGroup":"2000""#), "{json}");
    assert!(json.contains(r#""kubernetes.io/mounterArgs.FsGroup":"2000""#), "{json}");
    assert!(!sample().to_json(Encoding::Kubernetes).contains("kubernetes.io/fsGroup"));
}

#[test]
fn the_old_spelling_alone_and_the_oldest_keys_alone_are_written_on_request() {
    let old = Rendering { fs_group: FsGroupKeys::Legacy, ..Rendering::default() };
    let json = sample().to_json(old);
    assert!(json.contains(r#""kubernetes.io/fsGroup":"2000""#), "{json}");
    assert!(!json.contains("mounterArgs"), "{json}");
    let minimal = Rendering { reserved: ReservedKeys::Minimal, ..Rendering::default() };
    let json = sample().to_json(minimal);
    assert!(json.contains("kubernetes.io/fsType") && json.contains("kubernetes.io/secret/"), "{json}");
    assert!(!json.contains("pod.") && !json.contains("pvOrVolumeName"), "{json}");
    assert!(!json.contains("FsGroup") && !json.contains("serviceAccount"), "{json}");
}

#[test]
fn of_a_key_that_stands_twice_the_last_one_counts() {
    let options = Options::parse(r#"{"size":"1Gi","size":"2Gi"}"#).unwrap();
    assert_eq!(options.get("size"), Some("2Gi"));
}

#[test]
fn unknown_reserved_keys_are_kept() {
    let options = Options::parse(r#"{"kubernetes.io/custom":"kept"}"#).unwrap();
    assert_eq!(options.get("kubernetes.io/custom"), Some("kept"));
    assert_eq!(options.allow_only(&[]), Ok(()));
}

#[test]
fn errors_name_the_key_and_never_a_value() {
    for text in [
        r#"{"kubernetes.io/secret/password":"hunter2!"}"#,
        r#"{"kubernetes.io/readwrite":"hunter2"}"#,
        r#"{"kubernetes.io/mounterArgs.FsGroup":"hunter2"}"#,
        r#"{"size":["hunter2"]}"#,
        r#"{"size":{"a":"hunter2"}}"#,
        r#"{"size":"hunter2"#,
        r#"{"size":"hunter2",}"#,
        "{\"size\":\"hunter2\n\"}",
        r#"{"size":"hunter2\q"}"#,
        r#"{"size":"hunter2"} hunter2"#,
        r#""hunter2""#,
        "hunter2",
        r#"["hunter2"]"#,
        "",
    ] {
        let error = Options::parse(text).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        if text.contains("password") {
            assert_eq!(error.to_string(), r#"option "kubernetes.io/secret/password": is not base64"#);
        }
    }
}

#[test]
fn a_number_is_refused_with_its_key_but_without_its_value() {
    let error = Options::parse(r#"{"pin":4711}"#).unwrap_err().to_string();
    assert!(error.contains(r#"option "pin": is not a string"#) && !error.contains("4711"), "{error}");
}

#[test]
fn nesting_is_bounded() {
    let bomb = format!("{}{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
    assert!(matches!(Options::parse(&bomb), Err(OptionsError::Json(_))));
}

#[test]
fn typed_access_says_what_is_wrong() {
    let options =
        Options::parse(r#"{"n":"5","bad":"x","yes":"true","size":"10m","empty":"","big":"1.5Gi"}"#).unwrap();
    assert_eq!(options.parsed::<u16>("n", "is not a port number"), Ok(Some(5)));
    assert_eq!(options.parsed::<u16>("absent", "is not a port number"), Ok(None));
    assert!(options.parsed::<u16>("bad", "is not a port number").is_err());
    assert_eq!(options.flag("yes"), Ok(Some(true)));
    assert!(options.flag("bad").is_err());
    assert_eq!(options.size("big").unwrap().map(Bytes::get), Some(1_610_612_736));
    assert!(options.size("size").unwrap_err().to_string().contains("10Mi"));
    assert!(options.require("empty").unwrap_err().to_string().contains("\"empty\" is missing"));
    assert!(options.require_secret("password").is_err());
    let known = ["n", "bad", "yes", "size", "empty"];
    let error = options.allow_only(&known).unwrap_err().to_string();
    assert_eq!(error, r#"option "big" is not known to this driver; it knows n, bad, yes, size, empty"#);
}

fn any_options() -> impl Strategy<Value = Options> {
    let text = ".{0,12}";
    let pod = (text, text, text, text).prop_map(|(name, namespace, uid, service_account)| PodReference {
        name,
        namespace,
        uid,
        service_account,
    });
    let secrets = prop::collection::btree_map(text, prop::collection::vec(any::<u8>(), 0..20), 0..3);
    let user = prop::collection::btree_map(text, text, 0..5);
    (text, any::<bool>(), text, prop::option::of(pod), any::<Option<i64>>(), secrets, user).prop_map(
        |(fs_type, read_only, volume_name, pod, fs_group, secrets, user)| Options {
            fs_type,
            access: if read_only { Access::ReadOnly } else { Access::ReadWrite },
            volume_name,
            pod,
            fs_group,
            secrets: secrets.into_iter().map(|(name, bytes)| (name, Secret::new(bytes))).collect(),
            user,
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_reads_back(options in any_options(), escaped in any::<bool>(), both in any::<bool>()) {
        let rendering = Rendering {
            encoding: if escaped { Encoding::Escaped } else { Encoding::Kubernetes },
            fs_group: if both { FsGroupKeys::Both } else { FsGroupKeys::Current },
            reserved: ReservedKeys::All,
        };
        let json = options.to_json(rendering);
        prop_assert_eq!(Options::parse(&json).unwrap(), options);
        if escaped {
            prop_assert!(!json.contains(|c: char| c == ' ' || c.is_control()), "{}", json);
        }
    }

    #[test]
    fn foreign_text_never_panics(text in ".{0,60}") {
        let _ = Options::parse(&text);
    }
}
