//! The mount table: no line hides another, and what was read is what was written.
#![no_main]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use flexvolume_host::os::mountinfo::{Mount, MountTable, escape, unescape};

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    assert_eq!(unescape(&escape(text)), text);
    let table = MountTable::parse(text);
    let lines: Vec<Vec<u8>> = table.mounts().iter().map(line).collect();
    let again = MountTable::parse(&lines.join(&b'\n'));
    assert_eq!(again.mounts().len(), table.mounts().len());
    for (mount, same) in table.mounts().iter().zip(again.mounts()) {
        assert_eq!(identity(mount), identity(same));
    }
    for mount in table.mounts().iter().take(16) {
        let point = &mount.mount_point;
        assert!(point.is_absolute());
        assert!(table.at(point).any(|other| other == mount));
        assert!(table.below(point).any(|other| other == mount));
        assert_eq!(table.top(point), table.at(point).last());
        assert!(table.references(point).iter().all(|other| &other.mount_point != point));
        let _ = (mount.is_read_only(), mount.is_root_deleted());
    }
    let by_line: usize =
        text.split(|byte| *byte == b'\n').map(|line| MountTable::parse(line).mounts().len()).sum();
    assert_eq!(by_line, table.mounts().len());
});

fn identity(mount: &Mount) -> (u32, u32, (u32, u32), &Path, &Path, &Path) {
    (mount.id, mount.parent, mount.device, &mount.root, &mount.mount_point, &mount.source)
}

/// The mount as the kernel writes it; options and type, which are read as text, are left out.
fn line(mount: &Mount) -> Vec<u8> {
    let escaped = |path: &Path| OsStr::from_bytes(&escape(path.as_os_str().as_bytes())).to_owned();
    let mut line =
        format!("{} {} {}:{} ", mount.id, mount.parent, mount.device.0, mount.device.1).into_bytes();
    line.extend_from_slice(escaped(&mount.root).as_bytes());
    line.push(b' ');
    line.extend_from_slice(escaped(&mount.mount_point).as_bytes());
    line.extend_from_slice(b" rw shared:1 - ext4 ");
    line.extend_from_slice(escaped(&mount.source).as_bytes());
    line.extend_from_slice(b" rw");
    line
}
