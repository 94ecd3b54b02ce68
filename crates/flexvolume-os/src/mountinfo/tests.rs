use std::ffi::OsStr;
use std::time::Instant;

use proptest::prelude::*;

use super::*;

const PLAIN: &[u8] = b"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n";

fn line(mount_point: &str) -> String {
    format!("36 35 7:3 / {mount_point} rw - ext4 /dev/loop3 rw\n")
}

#[test]
fn every_field_of_a_line_is_read() {
    let table = MountTable::parse(PLAIN);
    let mount = &table.mounts()[0];
    assert_eq!((mount.id, mount.parent, mount.device), (36, 35, (98, 0)));
    assert_eq!((mount.root.as_path(), mount.mount_point.as_path()), (Path::new("/mnt1"), Path::new("/mnt2")));
    assert_eq!(mount.options, ["rw", "noatime"]);
    assert_eq!((mount.fs_type.as_str(), mount.source.as_path()), ("ext3", Path::new("/dev/root")));
    assert_eq!(mount.super_options, ["rw", "errors=continue"]);
    assert!(!mount.is_read_only() && !mount.is_root_deleted());
}

#[test]
fn optional_fields_may_be_missing_or_many() {
    let text = b"1 2 0:5 / /a rw - tmpfs tmpfs rw\n1 2 0:5 / /b rw shared:1 master:2 propagate_from:3 unbindable - tmpfs tmpfs rw\n";
    let points: Vec<_> = MountTable::parse(text).mounts.into_iter().map(|mount| mount.mount_point).collect();
    assert_eq!(points, [Path::new("/a"), Path::new("/b")]);
}

#[test]
fn an_empty_source_and_missing_super_options_are_fine() {
    let table = MountTable::parse(b"1 2 0:5 / /a ro - tmpfs  rw\n1 2 0:5 / /b rw - 9p none\n");
    assert_eq!(table.mounts().len(), 2);
    assert_eq!(table.mounts()[0].source, Path::new(""));
    assert!(table.mounts()[0].is_read_only());
    assert!(table.mounts()[1].super_options.is_empty());
}

#[test]
fn escapes_and_bytes_that_are_not_utf8_are_paths() {
    let mut text = line(r"/a\040b\011c\012d\134e\043f").into_bytes();
    text.extend(b"37 35 7:4 / /\xff\xfe rw - ext4 /dev/loop4 rw\n");
    let table = MountTable::parse(&text);
    assert!(table.top(Path::new("/a b\tc\nd\\e#f")).is_some());
    assert!(table.top(Path::new(OsStr::from_bytes(b"/\xff\xfe"))).is_some());
}

#[test]
fn a_backslash_without_three_octal_digits_stays() {
    for odd in [r"\", r"\0", r"\04", r"\400", r"\08x", r"\\040"] {
        let expected: &[u8] = if odd == r"\\040" { b"\\ " } else { odd.as_bytes() };
        assert_eq!(unescape(odd.as_bytes()).as_ref(), expected, "{odd}");
    }
}

#[test]
fn lines_that_make_no_sense_do_not_hide_the_others() {
    let text = [
        "garbage\n".to_owned(),
        line("/first"),
        "x 35 7:3 / /p rw - ext4 /dev/loop3 rw\n".to_owned(),
        "36 35 7 / /p rw - ext4 /dev/loop3 rw\n".to_owned(),
        "36 35 7:3 / relative rw - ext4 /dev/loop3 rw\n".to_owned(),
        "36 35 7:3 / /no-hyphen rw shared:1 ext4 /dev/loop3 rw\n".to_owned(),
        "36 35 7:3 / /cut".to_owned(),
        "\n\n\0\0\n".to_owned(),
        line("/last"),
    ]
    .concat();
    let table = MountTable::parse(text.as_bytes());
    assert_eq!(table.mounts().len(), 2);
    assert!(table.top(Path::new("/first")).is_some() && table.top(Path::new("/last")).is_some());
}

#[test]
fn of_stacked_mounts_the_last_is_on_top() {
    let text = [line("/m"), line("/m").replace("36 35 7:3", "40 36 7:9"), line("/m/below")].concat();
    let table = MountTable::parse(text.as_bytes());
    assert_eq!(table.at(Path::new("/m")).map(|mount| mount.id).collect::<Vec<_>>(), [36, 40]);
    assert_eq!(table.top(Path::new("/m")).unwrap().device, (7, 9));
    assert_eq!(table.below(Path::new("/m")).count(), 3);
}

#[test]
fn below_goes_by_names_and_not_by_letters() {
    let text = [line("/pods"), line("/pods-of-others"), line("/pods/1")].concat();
    assert_eq!(MountTable::parse(text.as_bytes()).below(Path::new("/pods")).count(), 2);
}

#[test]
fn references_are_the_other_mounts_of_the_same_directory() {
    let text = [
        line("/device"),
        line("/pod"),
        line("/other-directory").replace("7:3 / ", "7:3 /sub "),
        line("/other-device").replace("7:3", "7:4"),
    ]
    .concat();
    let table = MountTable::parse(text.as_bytes());
    let points: Vec<_> =
        table.references(Path::new("/device")).iter().map(|mount| &mount.mount_point).collect();
    assert_eq!(points, [Path::new("/pod")]);
    assert!(table.references(Path::new("/not-mounted")).is_empty());
}

#[test]
fn a_removed_directory_is_known_by_its_mark() {
    let table = MountTable::parse(b"1 2 0:5 /gone//deleted /a rw - ext4 /dev/vda rw\n");
    assert_eq!(table.mounts()[0].root, Path::new("/gone//deleted"));
    assert!(table.mounts()[0].is_root_deleted());
    let honest = MountTable::parse(b"1 2 0:5 /deleted /a rw - ext4 /dev/vda rw\n");
    assert!(!honest.mounts()[0].is_root_deleted());
}

#[test]
fn five_thousand_mounts_are_a_moment() {
    let text: String =
        (0..5000).map(|n| line(&format!("/var/lib/kubelet/pods/{n}/volumes/a~b/data"))).collect();
    let start = Instant::now();
    let table = MountTable::parse(text.as_bytes());
    assert_eq!(table.mounts().len(), 5000);
    // Some milliseconds in a debug build; a quadratic parser would take minutes.
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
}

proptest! {
    #[test]
    fn any_path_survives_the_kernels_escaping(raw in prop::collection::vec(1..=255_u8, 0..64)) {
        let escaped = escape(&raw);
        prop_assert_eq!(unescape(&escaped).into_owned(), raw);
        prop_assert!(!escaped.iter().any(|byte| b" \t\n#".contains(byte)));
    }

    #[test]
    fn a_line_with_any_mount_point_is_found_again(raw in prop::collection::vec(1..=255_u8, 0..64)) {
        let mut text = b"36 35 7:3 / /".to_vec();
        text.extend(escape(&raw));
        text.extend(b" rw - ext4 /dev/loop3 rw\n");
        let expected = [b"/", raw.as_slice()].concat();
        let table = MountTable::parse(&text);
        prop_assert_eq!(table.mounts()[0].mount_point.as_os_str().as_bytes(), expected);
    }

    #[test]
    fn no_bytes_make_it_panic(text in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = MountTable::parse(&text);
    }

    #[test]
    fn no_damaged_line_makes_it_panic(cut in 0..PLAIN.len(), at in 0..PLAIN.len(), byte in any::<u8>()) {
        let mut text = PLAIN.to_vec();
        text[at] = byte;
        text.remove(cut);
        let _ = MountTable::parse(&text);
    }
}
