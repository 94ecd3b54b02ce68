//! Volumes as an administrator sees them: metadata only.

use serde_json::Value;

use crate::group::{Group, metadata_is_missing};
use crate::support::{Answer, Program};

const FS: &str = "flexvol.fs=ext4:11111111-2222-4333-8444-555555555555";

/// A volume as the driver makes it, with these tags besides owner and id.
fn volume(group: &Group, id: &str, tags: &[&str]) {
    let name = format!("fv.{id}");
    let id = format!("flexvol.id={id}");
    let mut words = vec!["lvcreate", "-q", "-y", "-an", "-Zn", "-Wn", "-L", "8M", "-n", &name];
    for tag in ["flexvol.owner=lvm", &id, "flexvol.made=1700000000:8000000"].iter().chain(tags) {
        words.extend(["--addtag", tag]);
    }
    words.push(&group.vg);
    group.lvm(&words);
}

/// One that is ready, one that was never finished, one that is half removed, and somebody else's.
fn stocked() -> Group {
    let group = Group::metadata_only(1);
    volume(&group, "ready", &["flexvol.state=ready", FS, "flexvol.erase=none"]);
    volume(&group, "creating", &["flexvol.state=creating"]);
    volume(&group, "removing", &["flexvol.state=removing"]);
    group.lvm(&["lvcreate", "-q", "-y", "-an", "-Zn", "-Wn", "-L", "8M", "-n", "fv.foreign", &group.vg]);
    group.lvm(&["lvcreate", "-q", "-y", "-an", "-Zn", "-Wn", "-L", "8M", "-n", "root", &group.vg]);
    group
}

fn options(group: &Group, id: &str, more: &[(&str, &str)]) -> String {
    group.options("", more).replace("\"data\"", &format!("\"{id}\""))
}

fn list(group: &Group, id: &str) -> Vec<Value> {
    let answer = group.call(&["listvolumes", &options(group, id, &[])]).success();
    let mut volumes = answer.json["volumes"].as_array().unwrap().clone();
    volumes.sort_by_key(|volume| volume["id"].as_str().unwrap().to_owned());
    volumes
}

fn delete(group: &Group, id: &str, more: &[(&str, &str)]) -> Answer {
    group.call(&["deletevolume", &options(group, id, more)])
}

#[test]
fn what_is_ours_is_listed_with_where_it_stands() {
    if metadata_is_missing("what_is_ours_is_listed_with_where_it_stands") {
        return;
    }
    let group = stocked();
    let volumes = list(&group, "");
    let ids: Vec<_> = volumes.iter().map(|volume| volume["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["creating", "fv.foreign", "ready", "removing"]);
    let [creating, foreign, ready, removing] = volumes.as_slice() else { panic!("{volumes:?}") };
    assert_eq!((&creating["state"], &creating["orphan"]), (&"creating".into(), &"halfMade".into()));
    assert_eq!((&removing["state"], &removing["orphan"]), (&"removing".into(), &"halfRemoved".into()));
    assert_eq!((&foreign["state"], &foreign["orphan"]), (&"unknown".into(), &Value::Null));
    assert_eq!((&ready["state"], &ready["orphan"]), (&"ready".into(), &Value::Null));
    assert_eq!((&ready["size"], &ready["kind"]), (&8_388_608.into(), &"linear".into()));
    assert_eq!((&ready["fsType"], &ready["created"]), (&"ext4".into(), &1_700_000_000.into()));
    assert_eq!(ready["pool"].as_str(), Some(&*group.vg));
    assert_eq!(ready["options"]["volumegroup"].as_str(), Some(&*group.vg));
    assert_eq!(list(&group, "ready").len(), 1);
    let everywhere = r#"{"kubernetes.io/pvOrVolumeName":"","kubernetes.io/readwrite":"rw"}"#;
    let all = group.call(&["listvolumes", everywhere]).success();
    let ours = all.json["volumes"].as_array().unwrap().iter().filter(|found| found["pool"] == *group.vg);
    assert_eq!(ours.count(), 4);
    let room = group.call(&["getcapacity", everywhere]).success();
    assert!(room.json["capacity"]["pool"].as_str().unwrap().contains(&group.vg));
    assert_eq!(list(&group, "nobody").len(), 0);
    let json = options(&group, "", &[]).replace(&group.vg, "fvt-none");
    group.call(&["listvolumes", &json]).failure(&["cannot know", "no volume group fvt-none"]);
}

#[test]
fn only_what_is_absent_or_was_removed_is_a_success() {
    if metadata_is_missing("only_what_is_absent_or_was_removed_is_a_success") {
        return;
    }
    let group = stocked();
    let before = group.volumes();
    assert_eq!(delete(&group, "nobody", &[]).success().json["volume"], Value::Null);
    delete(&group, "foreign", &[]).failure(&["not ours", "no tag of ours"]);
    delete(&group, "ready", &[("orphan", "podGone")]).failure(&["no orphan of the kind \"podGone\""]);
    delete(&group, "", &[]).failure(&["volumeID", "required"]);
    let dry = delete(&group, "ready", &[("dryRun", "true")]).success();
    assert_eq!(dry.json["volume"]["id"], "ready");
    let json = options(&group, "ready", &[]).replace(&group.vg, "fvt-none");
    group.call(&["deletevolume", &json]).failure(&["cannot know"]);
    assert_eq!(group.volumes(), before);
    for id in ["ready", "creating", "removing"] {
        let gone = delete(&group, id, &[]).success();
        assert_eq!(gone.json["volume"]["id"], id);
        assert_eq!(delete(&group, id, &[]).success().json["volume"], Value::Null);
    }
    assert_eq!(group.volumes(), ["fv.foreign", "root"]);
    assert_eq!(group.world.files("lvm"), [""; 0]);
}

#[test]
fn the_room_of_a_group_is_told_in_bytes() {
    if metadata_is_missing("the_room_of_a_group_is_told_in_bytes") {
        return;
    }
    let group = stocked();
    let answer = group.call(&["getcapacity", &options(&group, "", &[])]).success();
    let capacity = &answer.json["capacity"];
    // One extent of the 64 MiB is LVM's own.
    let total = 60_u64 << 20;
    assert_eq!(capacity["total"].as_u64(), Some(total));
    assert_eq!(capacity["free"].as_u64(), Some(total - (40 << 20)));
    assert_eq!(capacity["reserved"].as_u64(), Some(40 << 20));
    assert_eq!(capacity["granularity"].as_u64(), Some(4 << 20));
    assert!(capacity["metadata"]["total"].as_u64().unwrap() > capacity["metadata"]["used"].as_u64().unwrap());
    let none = options(&group, "", &[("pool", "tp")]);
    group.call(&["getcapacity", &none]).failure(&["is no thin pool"]);
}

#[test]
fn a_diagnosis_tells_what_is_there_and_what_is_not() {
    if metadata_is_missing("a_diagnosis_tells_what_is_there_and_what_is_not") {
        return;
    }
    let group = stocked();
    let answer = group.world.call(Program::Lvm, &["diagnose", &options(&group, "", &[])]).success();
    let findings = answer.json["findings"].as_array().unwrap();
    let find = |subject: &str, what: &str| {
        let mut hits = findings.iter().filter(|finding| {
            finding["subject"].as_str().unwrap().contains(subject)
                && finding["what"].as_str().unwrap().contains(what)
        });
        let hit = hits.next().unwrap_or_else(|| panic!("no {subject} {what} in {findings:#?}"));
        hit["severity"].as_str().unwrap().to_owned()
    };
    assert_eq!(find("lvm", "version 2"), "good");
    assert_eq!(find(&group.vg, "are free"), "good");
    assert_eq!(find(&group.vg, "3 volumes of this driver"), "good");
    assert_eq!(find(&group.vg, "orphans of the kind halfMade"), "warning");
    let missing = options(&group, "", &[]).replace(&group.vg, "fvt-none");
    let answer = group.call(&["diagnose", &missing]).success();
    assert!(answer.json["findings"].to_string().contains("no volume group fvt-none"));
}
