//! What is decided by LVM's metadata alone: whose a volume is, and whether it can be known.

use std::fs;
use std::process::Stdio;

use crate::group::{Group, metadata_is_missing};
use crate::support::tool;

const OURS: [&str; 4] =
    ["flexvol.owner=lvm", "flexvol.id=data", "flexvol.made=7:16777216", "flexvol.state=ready"];
const FS: &str = "flexvol.fs=ext4:11111111-2222-4333-8444-555555555555";

/// A volume of the name that the driver would give `data`, with these tags.
fn volume(group: &Group, tags: &[&str]) -> String {
    let mut words = vec!["lvcreate", "-q", "-y", "-an", "-Zn", "-Wn", "-L", "16M", "-n", "fv.data"];
    for tag in tags {
        words.extend(["--addtag", tag]);
    }
    words.push(&group.vg);
    group.lvm(&words);
    group.column("fv.data", "lv_uuid,lv_size,lv_tags")
}

fn make(group: &Group) -> crate::support::Answer {
    group.call(&["waitforattach", "", &group.options("", &[("size", "16Mi")])])
}

#[test]
fn a_volume_of_somebody_else_is_never_touched() {
    if metadata_is_missing("a_volume_of_somebody_else_is_never_touched") {
        return;
    }
    let group = Group::metadata_only(1);
    let other_owner = ["flexvol.owner=lvm-ephemeral", OURS[1], OURS[2], OURS[3], FS];
    let other_id = [OURS[0], "flexvol.id=other", OURS[2], OURS[3], FS];
    for (tags, words) in [
        (&["backup"][..], ["not ours", "has no tag of ours"]),
        (&other_owner, ["not ours", "belongs to the driver \"lvm-ephemeral\""]),
        (&other_id, ["not ours", "is the volume \"other\""]),
        (&OURS[..3], ["cannot know the state", "\"state\" is missing"]),
        (&OURS, ["cannot know the state", "\"fs\" is missing"]),
    ] {
        let before = volume(&group, tags);
        make(&group).failure(&words);
        assert_eq!(group.column("fv.data", "lv_uuid,lv_size,lv_tags"), before);
        group.lvm(&["lvremove", "-q", "-y", &format!("{}/fv.data", group.vg)]);
    }
}

#[test]
fn a_group_that_is_away_is_not_a_volume_that_is_absent() {
    if metadata_is_missing("a_group_that_is_away_is_not_a_volume_that_is_absent") {
        return;
    }
    let group = Group::metadata_only(1);
    let options = group.options("", &[("size", "16Mi")]).replace(&group.vg, "fvt-none");
    let error = group.call(&["waitforattach", "", &options]);
    error.failure(&["cannot know", "no volume group fvt-none", &group.vg, "is its disk attached?"]);
}

#[test]
fn a_disk_that_is_missing_hides_the_truth() {
    if metadata_is_missing("a_disk_that_is_missing_hides_the_truth") {
        return;
    }
    let mut group = Group::metadata_only(2);
    group.take_away(1);
    make(&group).failure(&["cannot know", "1 of the disks", "bring them back"]);
    group.lvm(&["vgreduce", "-q", "--removemissing", "-y", &group.vg]);
}

#[test]
fn two_groups_of_one_name_are_both_named() {
    if metadata_is_missing("two_groups_of_one_name_are_both_named") {
        return;
    }
    let mut group = Group::metadata_only(1);
    let first = group.lvm(&["vgs", "--noheadings", "-o", "vg_uuid", &group.vg]).trim().to_owned();
    group.take_away(0);
    fs::File::create(group.world.path("other")).unwrap().set_len(64 << 20).unwrap();
    group.bring_back("other");
    group.lvm(&["vgcreate", "-q", &group.vg, group.device(0)]);
    group.bring_back("disk0");
    make(&group).failure(&["cannot know", "there are 2 volume groups", &first, "vgrename"]);
}

#[test]
fn a_lock_that_is_held_is_waited_for_and_then_named() {
    if metadata_is_missing("a_lock_that_is_held_is_waited_for_and_then_named") {
        return;
    }
    let group = Group::metadata_only(1);
    let lock = group.world.path("locks").join(format!("V_{}", group.vg));
    let mut holder = group.world.spawning("flock");
    let mut holder =
        holder.args(["-x", lock.to_str().unwrap(), "sleep", "300"]).stdout(Stdio::null()).spawn().unwrap();
    while !fs::read_to_string(format!("/proc/{0}/task/{0}/children", holder.id()))
        .is_ok_and(|text| !text.is_empty())
    {
        assert!(holder.try_wait().unwrap().is_none(), "flock ended");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let answer = make(&group);
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", holder.id())).unwrap();
    for child in children.split_whitespace() {
        tool("kill", &[child]);
    }
    holder.wait().unwrap();
    answer.failure(&["cannot know", "no answer within 30s", "holds the lock"]);
}

#[test]
fn options_that_make_no_sense_touch_nothing() {
    if metadata_is_missing("options_that_make_no_sense_touch_nothing") {
        return;
    }
    let group = Group::metadata_only(1);
    for (user, words) in [
        (&[("size", "0")][..], "is zero"),
        (&[("size", "-1")], "is negative"),
        (&[("size", "10m"), ("layout", "raid5")], "raid1"),
        (&[("size", "1Gi")], "has no room"),
        (&[("size", "16Mi"), ("sise", "1")], "did you mean \"size\"?"),
    ] {
        group.call(&["waitforattach", "", &group.options("", user)]).failure(&[words]);
    }
    let long = "x".repeat(200);
    for (id, words) in [("", "option"), (&*long, "too long")] {
        let options = group.options("", &[("size", "16Mi"), ("volumeID", id)]);
        let options = options
            .replace("\"kubernetes.io/pvOrVolumeName\":\"data\"", "\"kubernetes.io/pvOrVolumeName\":\"\"");
        group.call(&["waitforattach", "", &options]).failure(&[words]);
    }
    assert_eq!(group.volumes(), [""; 0]);
}
