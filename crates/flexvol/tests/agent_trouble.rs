//! The agent among people, drivers and files that misbehave.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod node;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, Instant};

use node::{Agent, MEMORY, Node, in_namespaces, pod_text, program};

const DRIVER: &str = "example.com~memory/memory";

fn node() -> Node {
    let node = Node::new();
    node.install(DRIVER, MEMORY);
    node
}

#[test]
fn a_manifest_that_is_wrong_or_half_written_takes_nothing_away() {
    if !in_namespaces("a_manifest_that_is_wrong_or_half_written_takes_nothing_away") {
        return;
    }
    let node = node();
    let agent = node.start();
    node.pod("web", &["data"]);
    node.wait_for_mounts(&["web/data"]);
    node.put("web.yaml", "kind: [");
    node.wait_until("it is told", || node.report().contains("ManifestInvalid"));
    assert_eq!(node.mounts(), ["web/data"]);
    agent.kill();
    // Another agent has never seen the manifest in order, and knows all the same.
    let agent = node.start();
    node.pod("other", &["data"]);
    node.wait_for_mounts(&["other/data", "web/data"]);
    // Somebody writes slowly: what is there in between is a manifest, but not the one that is meant.
    let mut file = fs::File::create(node.manifest("web")).unwrap();
    file.write_all(pod_text("web", "example.com/memory", &[]).as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(node.mounts(), ["other/data", "web/data"]);
    file.write_all(b"  - {name: more, flexVolume: {driver: example.com/memory}}\n").unwrap();
    drop(file);
    node.wait_for_mounts(&["other/data", "web/more"]);
    fs::remove_file(node.manifest("web")).unwrap();
    node.wait_for_mounts(&["other/data"]);
    agent.stop();
}

#[test]
fn a_directory_of_manifests_that_vanishes_takes_nothing_away() {
    if !in_namespaces("a_directory_of_manifests_that_vanishes_takes_nothing_away") {
        return;
    }
    let node = node();
    let agent = node.start();
    node.pod("web", &["data"]);
    node.wait_for_mounts(&["web/data"]);
    let (here, away) = (node.top().join("manifests"), node.top().join("away"));
    fs::rename(&here, &away).unwrap();
    node.wait_until("it is told", || node.report().contains("ManifestsMissing"));
    agent.kill();
    let agent = node.start();
    node.wait_until("it is told again", || node.report().matches("ManifestsMissing").count() >= 2);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(node.mounts(), ["web/data"]);
    fs::rename(&away, &here).unwrap();
    node.pod("more", &["data"]);
    node.wait_for_mounts(&["more/data", "web/data"]);
    agent.stop();
}

#[test]
fn a_secret_that_changes_under_a_mounted_pod_is_told_and_nothing_is_lost() {
    if !in_namespaces("a_secret_that_changes_under_a_mounted_pod_is_told_and_nothing_is_lost") {
        return;
    }
    let node = node();
    let secret = |value: &str| {
        let text = format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: key}}\ntype: example.com/memory\nstringData: {{password: {value}}}\n"
        );
        node.put("key.yaml", &text);
    };
    secret("hunter2");
    let agent = node.start();
    let volume = "  - {name: data, flexVolume: {driver: example.com/memory, secretRef: {name: key}}}\n";
    node.put("web.yaml", &format!("{}{volume}", pod_text("web", "example.com/memory", &[])));
    node.wait_for_mounts(&["web/data"]);
    assert!(!node.report().contains("SecretChanged"), "it was new, not changed");
    secret("hunter3");
    node.wait_until("it is told", || node.report().contains("SecretChanged"));
    assert_eq!(node.mounts(), ["web/data"]);
    fs::remove_file(node.manifest("key")).unwrap();
    node.wait_until("it is told again", || node.report().matches("SecretChanged").count() >= 2);
    assert_eq!(node.mounts(), ["web/data"]);
    assert!(!node.report().contains("hunter"), "{}", node.report());
    agent.stop();
}

#[test]
fn what_somebody_unmounts_or_keeps_is_seen() {
    if !in_namespaces("what_somebody_unmounts_or_keeps_is_seen") {
        return;
    }
    let node = node();
    // By hand, before there is an agent: it is none of its business.
    let by_hand = node.top().join("by-hand.yaml");
    fs::write(&by_hand, pod_text("hand", "example.com/memory", &["data"])).unwrap();
    assert!(node.flexvol().args(["mount", "-f"]).arg(&by_hand).status().unwrap().success());
    let agent = node.start();
    node.pod("web", &["data"]);
    // Not before the agent has seen it mounted: until then it is the driver that has not mounted it.
    node.wait_until("it is mounted", || node.report().contains("Mounted: default/web"));
    let unmounted = program("umount").arg(node.mount_dir("web", "data")).status().unwrap();
    assert!(unmounted.success());
    node.wait_until("it is seen", || node.report().contains("UnmountedByOthers"));
    node.wait_for_mounts(&["hand/data", "web/data"]);
    assert!(node.flexvol().args(["unmount", "--pod", "hand"]).status().unwrap().success());
    node.wait_for_mounts(&["web/data"]);
    agent.stop();
}

#[test]
fn drivers_come_go_break_and_hang_and_hold_up_no_other() {
    if !in_namespaces("drivers_come_go_break_and_hang_and_hold_up_no_other") {
        return;
    }
    let node = node();
    node.install("example.com~stuck/stuck", "init) sleep 1000 ;;");
    node.put("stuck.yaml", &pod_text("stuck", "example.com/stuck", &["data"]));
    node.put("late.yaml", &pod_text("late", "example.com/late", &["data"]));
    let agent = node.start();
    node.pod("web", &["data"]);
    node.wait_for_mounts(&["web/data"]);
    node.wait_until("the wait is explained", || {
        let output = node.flexvol().arg("status").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.contains("driver example.com/late is not installed")
            && text.contains("example.com/stuck is being asked")
    });
    // It comes, and its volume is mounted at once.
    node.install("example.com~late/late", MEMORY);
    node.wait_for_mounts(&["late/data", "web/data"]);
    // It is gone when its pod goes: the volume waits for it.
    node.remove_driver("example.com~late/late");
    node.wait_until("it is gone", || node.report().contains("DriverRemoved"));
    fs::remove_file(node.manifest("late")).unwrap();
    node.pod("more", &["data"]);
    node.wait_for_mounts(&["late/data", "more/data", "web/data"]);
    node.install("example.com~late/late", "init) exit 3 ;;");
    node.wait_until("it is broken", || node.report().contains("DriverBroken"));
    assert!(node.mounts().contains(&"late/data".to_owned()));
    node.install("example.com~late/late", MEMORY);
    node.wait_for_mounts(&["more/data", "web/data"]);
    // The one that hung is repaired.
    node.install("example.com~stuck/stuck", MEMORY);
    fs::remove_file(node.manifest("more")).unwrap();
    node.wait_until("it goes on", || node.mounts() == ["stuck/data", "web/data"]);
    agent.stop();
}

#[test]
fn a_graceful_stop_is_quick_and_a_call_that_runs_is_awaited_by_the_next_agent() {
    if !in_namespaces("a_graceful_stop_is_quick_and_a_call_that_runs_is_awaited_by_the_next_agent") {
        return;
    }
    let node = Node::new();
    node.install(DRIVER, &MEMORY.replace("mount) mount", "mount) sleep 4; mount"));
    let agent = node.start();
    node.pod("web", &["data"]);
    node.wait_until("the call runs", || node.calls(DRIVER).iter().any(|call| call.starts_with("mount ")));
    let took = agent.stop();
    assert!(took < Duration::from_secs(10), "{took:?}: it must not wait for the driver's end");
    let agent = node.start();
    node.wait_for_mounts(&["web/data"]);
    agent.stop();
}

#[test]
fn floods_of_files_and_files_that_are_none_are_borne() {
    if !in_namespaces("floods_of_files_and_files_that_are_none_are_borne") {
        return;
    }
    let node = node();
    let manifests = node.top().join("manifests");
    for number in 0..10_000 {
        fs::write(
            manifests.join(format!("f{number}.yaml")),
            format!("kind: ConfigMap\nmetadata: {{name: c{number}}}\n"),
        )
        .unwrap();
    }
    let huge = fs::File::create(manifests.join("huge.yaml")).unwrap();
    huge.set_len(100 << 20).unwrap();
    assert!(program("mkfifo").arg(manifests.join("pipe.yaml")).status().unwrap().success());
    fs::create_dir(manifests.join("directory.yaml")).unwrap();
    symlink("/nonexistent", manifests.join("dangling.yaml")).unwrap();
    symlink("/dev/zero", manifests.join("zero.yaml")).unwrap();
    fs::write(manifests.join("bytes.yaml"), [0xff; 100]).unwrap();
    fs::write(manifests.join(".hidden.yaml"), pod_text("hidden", "example.com/memory", &["data"])).unwrap();
    fs::write(manifests.join("notes.txt"), "kind: [").unwrap();
    let agent = node.start();
    node.pod("web", &["data"]);
    node.wait_for_mounts(&["web/data"]);
    let begun = Instant::now();
    node.pod("more", &["data"]);
    node.wait_for_mounts(&["more/data", "web/data"]);
    assert!(begun.elapsed() < Duration::from_secs(20));
    node.wait_until("all are told", || {
        let report = node.report();
        ["huge", "pipe", "directory", "dangling", "zero", "bytes"]
            .iter()
            .all(|name| report.contains(&format!("file=\"{name}.yaml\"")))
    });
    let status = fs::read_to_string(format!("/proc/{}/status", agent.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 128 << 10, "{kib} KiB");
    agent.stop();
}

#[test]
fn links_that_an_attacker_flips_lead_nothing_elsewhere() {
    if !in_namespaces("links_that_an_attacker_flips_lead_nothing_elsewhere") {
        return;
    }
    let node = node();
    let treasure = node.top().join("treasure");
    fs::create_dir_all(treasure.join("volumes")).unwrap();
    fs::write(treasure.join("file"), "precious").unwrap();
    let before = snapshot(&treasure);
    let agent = node.start();
    node.pod("first", &["data"]);
    node.wait_for_mounts(&["first/data"]);
    // Somebody has opened pods/ to everybody, and a user replaces a pod's directory by a link, again and again.
    let pods = node.root().join("pods");
    let open =
        |place: &std::path::Path, mode| fs::set_permissions(place, fs::Permissions::from_mode(mode)).unwrap();
    open(&node.root(), 0o755);
    open(&pods, 0o777);
    let script = "$> = 65534; while (1) { symlink($ARGV[0], $ARGV[1]); unlink($ARGV[1]); mkdir($ARGV[1]); rmdir($ARGV[1]); }";
    let mut attacker =
        program("perl").args(["-e", script]).arg(&treasure).arg(pods.join("web")).spawn().unwrap();
    for round in 0..20 {
        if round % 2 == 0 {
            node.pod("web", &["data"]);
        } else {
            fs::remove_file(node.manifest("web")).unwrap();
        }
        std::thread::sleep(Duration::from_millis(60));
        assert_eq!(snapshot(&treasure), before, "round {round}");
    }
    node.wait_until("it is told", || node.report().contains("pods can be written by others than root"));
    assert!(attacker.try_wait().unwrap().is_none(), "the attacker gave up");
    attacker.kill().unwrap();
    attacker.wait().unwrap();
    assert_eq!(node.mounts(), ["first/data"]);
    open(&pods, 0o750);
    let _ = fs::remove_file(pods.join("web"));
    let _ = fs::remove_dir(pods.join("web"));
    node.pod("web", &["data"]);
    node.wait_for_mounts(&["first/data", "web/data"]);
    assert_eq!(snapshot(&treasure), before);
    agent.stop();
}

fn snapshot(directory: &std::path::Path) -> Vec<String> {
    let output = program("find").arg(directory).output().unwrap();
    let mut lines: Vec<_> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn a_drain_unmounts_everything_but_what_a_person_keeps() {
    if !in_namespaces("a_drain_unmounts_everything_but_what_a_person_keeps") {
        return;
    }
    let node = node();
    let by_hand = node.top().join("by-hand.yaml");
    fs::write(&by_hand, pod_text("hand", "example.com/memory", &["data"])).unwrap();
    assert!(node.flexvol().args(["mount", "-f"]).arg(&by_hand).status().unwrap().success());
    let agent = node.start();
    node.pod("web", &["data", "logs"]);
    node.wait_for_mounts(&["hand/data", "web/data", "web/logs"]);
    let second = node.flexvol().args(["agent", "--drain"]).output().unwrap();
    assert!(!second.status.success(), "there is an agent already");
    agent.stop();
    let drained = node.flexvol().args(["agent", "--drain"]).output().unwrap();
    assert!(drained.status.success(), "{}", String::from_utf8_lossy(&drained.stderr));
    assert_eq!(node.mounts(), ["hand/data"]);
    let agent = node.start();
    node.wait_for_mounts(&["hand/data", "web/data", "web/logs"]);
    agent.stop();
}

#[test]
fn a_mount_that_died_is_told_and_mounted_again_where_that_is_wanted() {
    const NAME: &str = "a_mount_that_died_is_told_and_mounted_again_where_that_is_wanted";
    if !in_namespaces(NAME) {
        return;
    }
    // A FUSE file system whose daemon has died: the last one who has its end open ends.
    let fuse = "init) echo '{\"status\": \"Success\", \"capabilities\": {\"attach\": false}}' ;;\n\
        mount) [ -e \"TOP/repaired\" ] && { mount -t tmpfs memory \"$2\" && echo '{\"status\": \"Success\"}'; exit; }\n\
          exec 7<>/dev/fuse; mount -i -t fuse -o fd=7,rootmode=40000,user_id=0,group_id=0 hung \"$2\" || exit 1\n\
          sleep 1000 >/dev/null 2>&1 & echo $! >>TOP/daemons; echo '{\"status\": \"Success\"}' ;;\n\
        unmount) umount -l \"$2\" && echo '{\"status\": \"Success\"}' ;;";
    let node = Node::new();
    if fs::metadata("/dev/fuse").is_err() || fs::File::open("/dev/fuse").is_err() {
        eprintln!("skipped: {NAME}: needs /dev/fuse");
        return;
    }
    node.install(DRIVER, &fuse.replace("TOP", &node.top().to_string_lossy()));
    let agent = node.start_with(&["--health-interval", "300ms", "--remount-sick", "all"]);
    node.pod("web", &["data"]);
    node.wait_for_mounts(&["web/data"]);
    node.wait_until("it is told that it hangs", || node.report().contains("SickMount: no answer within 2s"));
    let status = node.flexvol().arg("status").output().unwrap();
    assert!(String::from_utf8_lossy(&status.stdout).contains("does not answer: data of default/web"));
    fs::write(node.top().join("repaired"), "").unwrap();
    let daemons = fs::read_to_string(node.top().join("daemons")).unwrap();
    for pid in daemons.lines() {
        assert!(program("kill").args(["-9", pid]).status().unwrap().success());
    }
    node.wait_until("it is mounted again", || {
        fs::read_to_string("/proc/self/mountinfo")
            .unwrap()
            .lines()
            .any(|line| line.contains("pods/web") && line.contains("tmpfs"))
    });
    node.wait_until("it has recovered", || node.report().contains("Recovered"));
    agent.stop();
}

#[test]
fn a_driver_heals_a_mount_that_died_where_its_settings_say_so() {
    const NAME: &str = "a_driver_heals_a_mount_that_died_where_its_settings_say_so";
    if !in_namespaces(NAME) {
        return;
    }
    if fs::File::open("/dev/fuse").is_err() {
        eprintln!("skipped: {NAME}: needs /dev/fuse");
        return;
    }
    // Its first healing fails. The second one finds the mount dead and puts another in its place.
    let fuse = "init) echo '{\"status\": \"Success\", \"capabilities\": {\"attach\": false}}' ;;\n\
        mount) exec 7<>/dev/fuse; mount -i -t fuse -o fd=7,rootmode=40000,user_id=0,group_id=0 dead \"$2\" || exit 1\n\
          exec 7>&-; echo '{\"status\": \"Success\"}' ;;\n\
        heal) [ -e TOP/tried ] || { : >TOP/tried; echo '{\"status\": \"Failure\", \"message\": \"too soon\"}'; exit 1; }\n\
          place=$(printf '%s' \"$2\" | sed 's/.*mountDir\":\"\\([^\"]*\\)\".*/\\1/'); umount -l \"$place\" && mount -t tmpfs healed \"$place\" && echo '{\"status\": \"Success\"}' ;;\n\
        unmount) umount -l \"$2\" && echo '{\"status\": \"Success\"}' ;;";
    let node = Node::new();
    fs::write(node.top().join("settings/example.com~memory.toml"), "sick-mount = \"heal\"\n").unwrap();
    node.install(DRIVER, &fuse.replace("TOP", &node.top().to_string_lossy()));
    let agent = node.start_with(&["--health-interval", "300ms"]);
    node.pod("web", &["data"]);
    node.wait_until("the driver could not heal it", || node.report().contains("too soon"));
    let healed = || fs::read_to_string("/proc/self/mountinfo").unwrap().contains("tmpfs healed");
    node.wait_until("the driver has healed it", healed);
    node.wait_until("it has recovered", || node.report().contains("Recovered"));
    let calls = node.calls(DRIVER);
    let count = |verb: &str| calls.iter().filter(|call| call.starts_with(verb)).count();
    assert_eq!((count("mount "), count("heal "), count("unmount ")), (1, 2, 0), "{calls:?}");
    fs::remove_file(node.manifest("web")).unwrap();
    node.wait_for_mounts(&[]);
    agent.stop();
}

#[test]
fn an_agent_that_dies_behind_its_last_unmount_leaves_nothing_for_ever() {
    if !in_namespaces("an_agent_that_dies_behind_its_last_unmount_leaves_nothing_for_ever") {
        return;
    }
    let node = node();
    let mut command = node.agent(&[]);
    command.env("FLEXVOL_FAILPOINT", "lifecycle.unmount.forgotten=abort");
    let mut agent = Agent::of(command.spawn().unwrap());
    node.pod("web", &["data"]);
    node.wait_for_mounts(&["web/data"]);
    fs::remove_file(node.manifest("web")).unwrap();
    let died = std::cell::RefCell::new(&mut agent);
    node.wait_until("it dies", || died.borrow_mut().has_ended());
    assert_eq!(node.mounts(), Vec::<String>::new());
    assert!(!node.leftovers().is_empty(), "it died too late");
    let agent = node.start();
    node.wait_until("nothing is left", || node.leftovers().is_empty());
    agent.stop();
}
