use flexvolume::Secret;
use flexvolume_os::network_mount::Permission;

use super::*;

fn read_as(secrets: &[(&str, &str)], pairs: &[(&str, &str)]) -> std::result::Result<CifsRequest, String> {
    let user = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let secrets = secrets.iter().map(|(key, value)| ((*key).to_owned(), Secret::new(*value))).collect();
    let options = Options { user, secrets, ..Options::default() };
    CifsRequest::read(&options, &Grants::default()).map_err(|error| error.to_string())
}

fn read(pairs: &[(&str, &str)]) -> std::result::Result<CifsRequest, String> {
    read_as(&[("username", "u"), ("password", "hunter2")], pairs)
}

#[test]
fn the_manifests_of_other_drivers_are_understood() {
    // fstab/cifs, whose example the seed's driver `cifs` follows.
    let request = read(&[
        ("networkPath", "//example-server/backup"),
        ("mountOptions", "dir_mode=0755,file_mode=0644,noperm"),
    ]);
    let request = request.unwrap();
    assert_eq!(request.source(), "//example-server/backup");
    assert_eq!(request.given.settings["file_mode"].as_deref(), Some("0644"));
    assert_eq!(request.given.attributes.set_user_id, Permission::Refused);
    // juliohm1978/kubernetes-cifs-volumedriver.
    let request = read(&[
        ("opts", "sec=ntlmssp,uid=1000"),
        ("server", "my-cifs-host"),
        ("share", "/MySharedDirectory"),
        ("passwdMethod", "env"),
    ]);
    assert_eq!(request.unwrap().source(), "//my-cifs-host/MySharedDirectory");
    // Azure/kubernetes-volume-drivers.
    let request = read(&[
        ("source", "//account.file.core.windows.net/share"),
        ("mountoptions", "vers=3.0,dir_mode=0777,file_mode=0777"),
    ]);
    assert_eq!(request.unwrap().source(), "//account.file.core.windows.net/share");
}

#[test]
fn what_stands_behind_the_share_is_the_front_of_the_sub_directory() {
    let directory =
        |pairs: &[(&str, &str)]| read(pairs).unwrap().unc.directory.map(|directory| directory.path());
    assert_eq!(directory(&[("source", "//files/data")]), None);
    assert_eq!(directory(&[("source", r"\\files\data\a\b")]).as_deref(), Some("a/b"));
    let both = [("source", "//files/data/a"), ("subdirectory", "b c")];
    assert_eq!(directory(&both).as_deref(), Some("a/b c"));
    let server = [("server", "[fd00::1]"), ("share", "data/a")];
    assert_eq!(directory(&server).as_deref(), Some("a"));
}

#[test]
fn what_makes_no_sense_is_refused_and_named() {
    for (pairs, part) in [
        (&[("networkpath", "//a/b")][..], "\"networkPath\""),
        (&[], "\"networkPath\" is required"),
        (&[("server", "a")], "\"share\" is required"),
        (&[("share", "a")], "\"server\" is missing"),
        (&[("networkPath", "a/b")], "two slashes"),
        (&[("networkPath", "//a/b"), ("source", "//a/c")], "another share"),
        (&[("networkPath", "//a/b"), ("server", "a"), ("share", "c")], "another share"),
        (&[("networkPath", "//a/b/../c")], "without `.`"),
        (&[("networkPath", "//a/b\nc")], "control"),
        (&[("networkPath", "//a/b"), ("subdirectory", "../c")], "relative"),
        (&[("networkPath", "//a/b"), ("subdirectory", r"x\..\c")], "relative"),
        (&[("networkPath", "//a/b"), ("subdirectory", "/c")], "relative"),
        (&[("server", "fe80::1%eth0"), ("share", "a")], "zone"),
        (&[("networkPath", "//a/b"), ("password", "hunter2")], "Secret"),
        (&[("networkPath", "//a/b"), ("username", "u")], "Secret"),
    ] {
        let error = read(pairs).unwrap_err();
        assert!(error.contains(part) && !error.contains("hunter2"), "{pairs:?}: {error}");
    }
    let twice = [("networkPath", "//a/b"), ("source", r"\\a\b"), ("server", "a"), ("share", "b")];
    assert_eq!(read(&twice).unwrap().source(), "//a/b");
}

#[test]
fn the_kernel_gets_each_value_as_a_string_of_its_own() {
    let request = read_as(
        &[("username", "u,suid"), ("password", "p,a\"s s=\\x"), ("domain", "D,dev")],
        &[("server", "fd00::1"), ("share", "data"), ("seal", "true"), ("port", "4450")],
    );
    let file_system = request.unwrap().file_system("fd00::1".parse().unwrap()).unwrap();
    let text = |key: &str, value: &str| Setting::text(key, value).unwrap();
    let secret = |key: &str, value: &str| Setting::secret(key, value.as_bytes()).unwrap();
    let wanted = [
        secret("username", "u,suid"),
        secret("password", "p,a\"s s=\\x"),
        secret("domain", "D,dev"),
        text("ip", "fd00::1"),
        text("port", "4450"),
        Setting::flag("seal").unwrap(),
    ];
    assert_eq!(file_system.settings, wanted);
    assert_eq!(file_system.source.to_str().unwrap(), "//fd00::1/data");
}

#[test]
fn two_requests_are_one_only_if_all_but_the_user_is_equal() {
    let at = [("server", "a"), ("share", "b")];
    let with = |pairs: &[(&str, &str)]| read(&[&at[..], pairs].concat()).unwrap().identity();
    let one = with(&[("mountOptions", "seal,vers=3.1.1")]);
    assert_eq!(with(&[("seal", "true"), ("vers", "3.1.1")]), one);
    for other in
        [&[("seal", "true")][..], &[], &[("readonly", "1")], &[("port", "1")], &[("subdirectory", "x")]]
    {
        assert_ne!(with(other), one);
    }
    let as_user =
        |name, password| read_as(&[("username", name), ("password", password)], &at).unwrap().identity();
    assert_eq!(as_user("u", "one"), as_user("u", "two"));
    let told = as_user("marker", "hunter2");
    assert!(!told.contains("marker") && !told.contains("hunter2"), "{told}");
}

#[test]
fn a_source_that_the_kernel_would_cut_is_refused() {
    let share = "x".repeat(250);
    let request = read(&[("server", "10.0.0.1"), ("share", &share)]).unwrap();
    let error = request.file_system("10.0.0.1".parse().unwrap()).unwrap_err();
    assert!(error.to_string().contains("at most 255"), "{error}");
}
