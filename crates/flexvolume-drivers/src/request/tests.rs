use flexvolume::PodReference;

use super::*;

const POOL: &str = "/var/lib/flexvol/loop";

fn options(pairs: &[(&str, &str)]) -> Options {
    let user = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Options { volume_name: "data".to_owned(), user, ..Options::default() }
}

fn persistent(pairs: &[(&str, &str)]) -> Result<ImageRequest, RequestError> {
    ImageRequest::persistent(&options(pairs), Path::new(POOL))
}

#[test]
fn a_size_is_enough() {
    let request = persistent(&[("size", "64Mi")]).unwrap();
    assert_eq!(request.directory, Path::new(POOL));
    assert_eq!(request.id.as_str(), "data");
    assert_eq!(request.size, 64 << 20);
    assert_eq!(request.fs_type, FsType::Ext4);
    assert_eq!(request.allocation, Allocation::Reserved);
    assert_eq!(request.access, Access::ReadWrite);
}

#[test]
fn every_option_is_read() {
    let mut given = options(&[
        ("size", "1Gi"),
        ("directory", "/srv/pool/"),
        ("volume", "other"),
        ("allocation", "thin"),
        ("mode", "0750"),
        ("example.com/theirs", "ignored"),
    ]);
    given.fs_type = "xfs".to_owned();
    given.access = Access::ReadOnly;
    let request = ImageRequest::persistent(&given, Path::new(POOL)).unwrap();
    assert_eq!(request.directory, Path::new("/srv/pool"));
    assert_eq!(request.id.as_str(), "other");
    assert_eq!(request.fs_type, FsType::Xfs);
    assert_eq!(request.allocation, Allocation::Thin);
    assert_eq!(request.access, Access::ReadOnly);
    assert_eq!(request.root_mode, Some(0o750));
}

#[test]
fn each_driver_has_one_policy_of_deletion() {
    persistent(&[("size", "64Mi"), ("deletePolicy", "retain")]).unwrap();
    let error = persistent(&[("size", "64Mi"), ("deletePolicy", "delete")]).unwrap_err().to_string();
    assert!(error.contains("`-ephemeral`"), "{error}");
    let mut given = options(&[("size", "64Mi"), ("deletePolicy", "delete")]);
    given.pod = Some(PodReference { uid: "0b5c-11".to_owned(), ..PodReference::default() });
    ImageRequest::ephemeral(&given, Path::new(POOL)).unwrap();
    given.user.insert("deletePolicy".to_owned(), "retain".to_owned());
    ImageRequest::ephemeral(&given, Path::new(POOL)).unwrap_err();
}

#[test]
fn a_size_is_rounded_up_to_whole_blocks() {
    assert_eq!(persistent(&[("size", "1000001")]).unwrap().size, 1_003_520);
    assert_eq!(persistent(&[("size", "1.5Mi")]).unwrap().size, 3 << 19);
    assert_eq!(round_up(0), Some(0));
    assert_eq!(round_up(4096), Some(4096));
    assert_eq!(round_up(4097), Some(8192));
    assert_eq!(round_up(u64::MAX), None);
    assert_eq!(round_up(i64::MAX.unsigned_abs()), None);
}

#[test]
fn bad_sizes_are_refused_with_key_and_value() {
    for size in
        ["0", "-1", "10m", "1,5Gi", "lots", "64MB", "99999999999999999999Ei", "64 Mi", "9223372036854775807"]
    {
        let error = persistent(&[("size", size)]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("option \"size\" is {size:?}: it ")), "{error}");
    }
    for missing in [&[][..], &[("size", "")][..]] {
        let error = persistent(missing).unwrap_err().to_string();
        assert!(error.starts_with("option \"size\" is required: "), "{error}");
    }
}

#[test]
fn a_size_below_the_minimum_of_the_file_system_is_refused_with_both_numbers() {
    for (fs_type, size) in [("ext4", "252Ki"), ("xfs", "299Mi"), ("btrfs", "108Mi")] {
        let mut given = options(&[("size", size)]);
        given.fs_type = fs_type.to_owned();
        let error = ImageRequest::persistent(&given, Path::new(POOL)).unwrap_err();
        assert!(matches!(error, RequestError::TooSmall { size, minimum, .. } if size < minimum), "{error}");
    }
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_one() {
    let unknown = |key| persistent(&[("size", "64Mi"), (key, "x")]).unwrap_err().to_string();
    assert_eq!(unknown("Size"), r#"unknown option "Size": did you mean "size"?"#);
    assert_eq!(unknown("sizee"), r#"unknown option "sizee": did you mean "size"?"#);
    assert_eq!(unknown("volumeID"), r#"unknown option "volumeID": did you mean "volume"?"#);
    assert_eq!(unknown("directry"), r#"unknown option "directry": did you mean "directory"?"#);
    let all = "the options of this driver are size, directory, volume, allocation, mode, source, erase, deletePolicy";
    assert_eq!(unknown("colour"), format!("unknown option \"colour\": {all}"));
    assert_eq!(unknown(""), format!("unknown option \"\": {all}"));
    let none = refuse_unknown(&options(&[("size", "1")]), &[]).unwrap_err().to_string();
    assert_eq!(none, r#"unknown option "size": this driver has no options"#);
}

#[test]
fn other_bad_values_are_refused() {
    let value = |pairs: &[(&str, &str)]| {
        let pairs = [&[("size", "64Mi")], pairs].concat();
        persistent(&pairs).unwrap_err().to_string()
    };
    for directory in ["pool", "./pool", "/pool/../etc", "/pool/\0"] {
        let error = value(&[("directory", directory)]);
        assert!(error.contains("absolute path without `..`"), "{error}");
    }
    for mode in ["rwx", "0999", "-7", "+7", "17777"] {
        let error = value(&[("mode", mode)]);
        assert!(error.contains("octal"), "{error}");
    }
    assert!(value(&[("allocation", "fat")]).contains(r#"either "reserved" or "thin""#));
    let mut given = options(&[("size", "64Mi")]);
    given.fs_type = "ext3".to_owned();
    let error = ImageRequest::persistent(&given, Path::new(POOL)).unwrap_err().to_string();
    assert_eq!(error, r#"option "kubernetes.io/fsType" is "ext3": the file systems are ext4, xfs and btrfs"#);
}

#[test]
fn an_ephemeral_volume_is_named_by_its_pod_and_has_no_other_name() {
    let mut given = options(&[("size", "64Mi")]);
    let pool = Path::new(POOL);
    assert!(matches!(ImageRequest::ephemeral(&given, pool), Err(RequestError::NoPod { .. })));
    given.pod = Some(PodReference {
        name: "web".to_owned(),
        namespace: "default".to_owned(),
        uid: "0b5c".to_owned(),
        service_account: String::new(),
    });
    assert_eq!(ImageRequest::ephemeral(&given, pool).unwrap().id.as_str(), "0b5c/data");
    assert_eq!(ImageRequest::ephemeral(&given, pool).unwrap().root_mode, Some(0o777));
    given.user.insert("volume".to_owned(), "mine".to_owned());
    assert!(matches!(ImageRequest::ephemeral(&given, pool), Err(RequestError::Unknown { .. })));
}
