//! Volumes that begin as copies of others.

use std::fs;
use std::path::PathBuf;

use crate::group::{Group, mapper_is_missing};

struct Pair {
    group: Group,
    source: String,
    copy: String,
    copy_target: PathBuf,
}

impl Pair {
    /// A source of 32 MiB with a file, mounted; and the options of a copy of it.
    fn new(shared: &[(&str, &str)], copy_only: &[(&str, &str)]) -> Self {
        let group = Group::new(1, 300);
        let source = group.options("", &[&[("size", "32Mi")], shared].concat());
        let copy =
            group.options("", &[&[("volumeID", "copy"), ("source", "data")], shared, copy_only].concat());
        let copy_target = group.world.path("copy");
        fs::create_dir(&copy_target).unwrap();
        group.call(&["waitforattach", "", &source]).success();
        let pair = Self { group, source, copy, copy_target };
        pair.mount_source();
        fs::write(pair.source_file(), "precious").unwrap();
        pair
    }

    fn source_file(&self) -> PathBuf {
        self.group.world.target().join("file")
    }

    fn mount_source(&self) {
        let target = self.group.world.target();
        self.group.call(&["mountdevice", target.to_str().unwrap(), "", &self.source]).success();
    }

    fn unmount_source(&self) {
        let target = self.group.world.target();
        self.group.call(&["unmountdevice", target.to_str().unwrap()]).success();
    }

    fn assert_both_live(&self) {
        self.group.call(&["mountdevice", self.copy_target.to_str().unwrap(), "", &self.copy]).success();
        let copied = self.copy_target.join("file");
        assert_eq!(fs::read_to_string(&copied).unwrap(), "precious");
        fs::write(&copied, "changed").unwrap();
        assert_eq!(fs::read_to_string(self.source_file()).unwrap(), "precious");
        let tags = |lv: &str| self.group.column(lv, "lv_tags");
        assert!(tags("fv.copy").contains("flexvol.source=data"));
        let uuid = |lv: &str| tags(lv).split("ext4:").nth(1).unwrap()[..36].to_owned();
        assert_ne!(uuid("fv.copy"), uuid("fv.data"));
    }
}

#[test]
fn a_thin_volume_is_copied_at_once_while_it_is_used() {
    if mapper_is_missing("a_thin_volume_is_copied_at_once_while_it_is_used") {
        return;
    }
    let pair = Pair::new(&[("pool", "tp"), ("poolSize", "128Mi")], &[("size", "32Mi")]);
    for _ in 0..2 {
        pair.group.call(&["waitforattach", "", &pair.copy]).success();
    }
    assert_eq!(pair.group.column("fv.copy", "origin"), "fv.data");
    pair.assert_both_live();
}

#[test]
fn a_volume_that_owns_its_blocks_is_copied_while_it_rests_and_the_copy_may_be_larger() {
    if mapper_is_missing("a_volume_that_owns_its_blocks_is_copied_while_it_rests_and_the_copy_may_be_larger")
    {
        return;
    }
    let pair = Pair::new(&[], &[("size", "64Mi")]);
    pair.group.call(&["waitforattach", "", &pair.copy]).failure(&["fv.data is still in use", "unmount"]);
    let small = pair.copy.replace("64Mi", "16Mi");
    pair.group.call(&["waitforattach", "", &small]).failure(&[
        "33554432",
        "16777216",
        "as large as its source",
    ]);
    assert_eq!(pair.group.volumes(), ["fv.data"]);
    pair.unmount_source();
    pair.group.call(&["waitforattach", "", &pair.copy]).success();
    pair.mount_source();
    pair.assert_both_live();
    let figures = free(&pair.copy_target);
    assert!(figures > 40 << 20, "{figures}");
}

fn free(path: &std::path::Path) -> u64 {
    let text = crate::support::tool("df", &["-B1", "--output=avail", path.to_str().unwrap()]);
    text.lines().last().unwrap().trim().parse().unwrap()
}
