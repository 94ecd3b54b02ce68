//! Several processes at once, a process that hangs, and a machine that was started again.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod stage;

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use flexvolume_host::lifecycle::LifecycleError;
use flexvolume_host::os::System;
use flexvolume_host::spec::MounterArguments;

use stage::worker::{Volumes, Work, Worker, work_if_asked};
use stage::{Stage, drivers, in_mount_namespace, inline, persistent, pod, program, uid};

#[test]
fn worker() {
    work_if_asked();
}

fn new_stage() -> Stage {
    let stage = Stage::new();
    stage.install("plain", drivers::PLAIN);
    stage.install("device", drivers::DEVICE);
    stage
}

#[test]
fn processes_that_mount_at_once_all_succeed_and_one_of_them_mounts() {
    if !in_mount_namespace("processes_that_mount_at_once_all_succeed_and_one_of_them_mounts") {
        return;
    }
    for (volumes, driver, name) in
        [(Volumes::Plain, "plain", "data"), (Volumes::Attachable, "device", "pv-1")]
    {
        let stage = new_stage();
        for work in [Work::Mount, Work::Unmount] {
            let workers: Vec<_> = (0..4).map(|_| Worker::new(&stage, volumes, work).start()).collect();
            for worker in workers {
                let output = worker.wait_with_output().unwrap();
                assert!(output.status.success(), "{output:?}");
            }
            assert_eq!(stage.mounted("uid-1", driver, name), usize::from(work == Work::Mount));
        }
        let calls = stage.calls(driver);
        for verb in ["attach", "mountdevice", "mount", "unmount", "unmountdevice", "detach"] {
            assert!(calls.iter().filter(|call| *call == verb).count() <= 1, "{calls:?}");
        }
    }
}

#[test]
fn mounts_and_unmounts_at_once_end_in_order() {
    if !in_mount_namespace("mounts_and_unmounts_at_once_end_in_order") {
        return;
    }
    let stage = new_stage();
    let pods: Vec<_> = (0..4)
        .map(|number| {
            let manager = stage.manager();
            thread::spawn(move || {
                let name = format!("uid-{number}");
                for _ in 0..5 {
                    let volumes = [persistent("device", "pv-1"), inline("plain", "data")];
                    manager.mount(&pod(&name), &volumes, MounterArguments::default()).unwrap();
                    manager.unmount(&uid(&name)).unwrap();
                }
            })
        })
        .collect();
    for pod in pods {
        pod.join().unwrap();
    }
    assert_eq!(stage.mounts(), []);
    assert_eq!(stage.manager().status().unwrap().volumes, []);
    assert!(stage.state("device").join("attached").read_dir().unwrap().next().is_none());
}

#[test]
fn who_waits_too_long_for_another_process_says_so_and_changes_nothing() {
    if !in_mount_namespace("who_waits_too_long_for_another_process_says_so_and_changes_nothing") {
        return;
    }
    let mut stage = new_stage();
    let hanging = Worker {
        failpoint: Some("lifecycle.mountdevice.called=hang".to_owned()),
        ..Worker::new(&stage, Volumes::Attachable, Work::Mount)
    };
    let mut hanging = hanging.start();
    wait_until(|| stage.calls("device").contains(&"mountdevice".to_owned()));
    stage.deadlines.lock = Duration::from_millis(200);
    let manager = stage.manager();
    let mount = |name: &str| {
        manager.mount(&pod(name), &[persistent("device", "pv-1")], MounterArguments::default()).unwrap_err()
    };
    let error = mount("uid-1");
    assert!(matches!(error, LifecycleError::Lock(_)), "{error}");
    let error = mount("uid-2");
    assert!(error.to_string().contains("held by another process for more than 200ms"), "{error}");
    let publishes = stage.root().join("flexvol/publishes/uid-2");
    assert!(!publishes.exists(), "nothing of the second pod is on record");
    hanging.kill().unwrap();
    hanging.wait().unwrap();
    manager.mount(&pod("uid-1"), &[persistent("device", "pv-1")], MounterArguments::default()).unwrap();
    manager.unmount(&uid("uid-1")).unwrap();
    assert_eq!(stage.mounts(), []);
}

fn wait_until(holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it never came");
        thread::sleep(Duration::from_millis(10));
    }
    // The call is noted before it ends.
    thread::sleep(Duration::from_millis(300));
}

/// A driver that waits in a call as long as the file `@STATE@/slow` is there, and a process that is killed meanwhile.
fn killed_while_the_driver_runs(driver: &str, verb: &str) -> Stage {
    let stage = new_stage();
    let good = if driver == "plain" { drivers::PLAIN } else { drivers::DEVICE };
    let wait = format!("{verb}) while test -e @STATE@/slow; do sleep 0.05; done ;;\nesac\ncase \"$1\" in\n");
    stage.install(driver, &good.replacen("case \"$1\" in\n", &format!("case \"$1\" in\n{wait}"), 1));
    fs::write(stage.state(driver).join("slow"), "").unwrap();
    let volumes = if driver == "plain" { Volumes::Plain } else { Volumes::Attachable };
    let mut worker = Worker::new(&stage, volumes, Work::Mount).start();
    wait_until(|| stage.calls(driver).contains(&verb.to_owned()));
    worker.kill().unwrap();
    worker.wait().unwrap();
    stage
}

#[test]
fn a_call_that_outlives_its_process_is_let_end_before_the_next() {
    if !in_mount_namespace("a_call_that_outlives_its_process_is_let_end_before_the_next") {
        return;
    }
    let cases =
        [("plain", "mount"), ("device", "attach"), ("device", "waitforattach"), ("device", "mountdevice")];
    for (driver, verb) in cases {
        let stage = killed_while_the_driver_runs(driver, verb);
        let slow = stage.state(driver).join("slow");
        let release = thread::spawn(move || {
            thread::sleep(Duration::from_millis(300));
            fs::remove_file(slow).unwrap();
        });
        let volume = if driver == "plain" { inline("plain", "data") } else { persistent("device", "pv-1") };
        let name = volume.pod_volume.clone();
        let manager = stage.manager();
        manager.mount(&pod("uid-1"), &[volume], MounterArguments::default()).unwrap();
        release.join().unwrap();
        assert_eq!(stage.mounted("uid-1", driver, &name), 1, "{driver} {verb}");
        assert!(stage::processes().is_empty(), "{driver} {verb}");
        assert_eq!(stage.mounts().len(), if driver == "plain" { 1 } else { 2 }, "{driver} {verb}");
        manager.unmount(&uid("uid-1")).unwrap();
        assert_eq!(stage.mounts(), [], "{driver} {verb}");
    }
}

#[test]
fn a_call_that_outlives_its_process_is_let_end_before_an_unmount_and_killed_at_its_deadline() {
    if !in_mount_namespace(
        "a_call_that_outlives_its_process_is_let_end_before_an_unmount_and_killed_at_its_deadline",
    ) {
        return;
    }
    for (driver, verb) in [("plain", "mount"), ("device", "attach"), ("device", "mountdevice")] {
        let mut stage = killed_while_the_driver_runs(driver, verb);
        stage.deadlines.call = Duration::from_millis(1500);
        stage.manager().unmount(&uid("uid-1")).unwrap();
        assert!(stage::processes().is_empty(), "{driver} {verb}");
        assert_eq!(stage.mounts(), [], "{driver} {verb}");
        assert_eq!(stage.manager().status().unwrap().volumes, [], "{driver} {verb}");
    }
}

#[test]
fn a_user_that_is_killed_does_not_count_any_more() {
    if !in_mount_namespace("a_user_that_is_killed_does_not_count_any_more") {
        return;
    }
    use flexvolume_host::lifecycle::Leaving;
    let stage = new_stage();
    let manager = stage.manager();
    let user = manager.enter(&uid("uid-1")).unwrap();
    // Another process that shares the lock and is killed: flock(1) stands for it.
    let file = stage.root().join("flexvol/locks/users/uid-1");
    let mut other =
        program("flock").args(["--shared", "--no-fork"]).arg(&file).args(["sleep", "1000"]).spawn().unwrap();
    wait_until(|| stage::processes().iter().any(|(_, command)| command.contains("sleep")));
    assert!(matches!(user.leave().unwrap(), Leaving::OthersRemain));
    other.kill().unwrap();
    other.wait().unwrap();
    let user = manager.enter(&uid("uid-1")).unwrap();
    assert!(matches!(user.leave().unwrap(), Leaving::Last(_)));
}

#[test]
fn on_a_full_disk_nothing_is_mounted_and_everything_can_be_unmounted() {
    if !in_mount_namespace("on_a_full_disk_nothing_is_mounted_and_everything_can_be_unmounted") {
        return;
    }
    let stage = new_stage();
    fs::create_dir(stage.root()).unwrap();
    let small = program("mount")
        .args(["-t", "tmpfs", "-o", "size=256k,mode=750", "small"])
        .arg(stage.root())
        .status();
    assert!(small.unwrap().success());
    let manager = stage.manager();
    let volumes = [persistent("device", "pv-1"), inline("plain", "data")];
    manager.mount(&pod("uid-1"), &volumes, MounterArguments::default()).unwrap();
    let fill = stage.root().join("fill");
    fs::write(&fill, vec![0; 1 << 20]).unwrap_err();
    let error = manager.mount(&pod("uid-2"), &volumes, MounterArguments::default()).unwrap_err();
    assert!(error.to_string().contains("No space left on device"), "{error}");
    assert_eq!(stage.mounted("uid-2", "device", "pv-1"), 0);
    manager.unmount(&uid("uid-2")).unwrap();
    manager.unmount(&uid("uid-1")).unwrap();
    assert_eq!(stage.mounts().len(), 1, "only the small disk itself");
    assert_eq!(stage.calls("device").last().unwrap(), "detach");
    let overview = manager.status().unwrap();
    assert_eq!((overview.volumes, overview.unreadable), (Vec::new(), Vec::new()));
}

/// Everything that a restart of the machine takes: mounts, attachments, the boot id.
fn reboot(stage: &Stage) {
    let mounter = System::host().mounter;
    for (place, _) in stage.mounts().into_iter().rev() {
        mounter.unmount_lazy(&place).unwrap();
    }
    for attached in stage.state("device").join("attached").read_dir().unwrap() {
        fs::remove_dir(attached.unwrap().path()).unwrap();
    }
    let id = stage.top().join("boot_id");
    fs::write(&id, "11111111-2222-3333-4444-555555555555\n").unwrap();
    let bound = program("mount").arg("--bind").arg(id).arg("/proc/sys/kernel/random/boot_id").status();
    assert!(bound.unwrap().success());
    stage.forget_calls("device");
    stage.forget_calls("plain");
}

#[test]
fn after_a_reboot_everything_is_attached_and_mounted_anew() {
    if !in_mount_namespace("after_a_reboot_everything_is_attached_and_mounted_anew") {
        return;
    }
    let stage = new_stage();
    let volumes = [persistent("device", "pv-1"), inline("plain", "data")];
    stage.manager().mount(&pod("uid-1"), &volumes, MounterArguments::default()).unwrap();
    reboot(&stage);
    let manager = stage.manager();
    assert!(manager.status().unwrap().volumes.iter().all(|line| !line.mounted));
    manager.mount(&pod("uid-1"), &volumes, MounterArguments::default()).unwrap();
    assert_eq!(stage.calls("device"), ["attach", "waitforattach", "mountdevice", "mount"]);
    assert_eq!(stage.calls("plain"), ["mount"]);
    manager.unmount(&uid("uid-1")).unwrap();
    assert_eq!(stage.mounts(), []);
    assert_eq!(manager.status().unwrap().volumes, []);
}

#[test]
fn a_pod_that_is_gone_after_a_reboot_is_cleaned_up_from_its_records() {
    if !in_mount_namespace("a_pod_that_is_gone_after_a_reboot_is_cleaned_up_from_its_records") {
        return;
    }
    let stage = new_stage();
    let volumes = [persistent("device", "pv-1"), inline("plain", "data")];
    stage.manager().mount(&pod("uid-1"), &volumes, MounterArguments::default()).unwrap();
    reboot(&stage);
    let manager = stage.manager();
    manager.unmount(&uid("uid-1")).unwrap();
    assert!(stage.calls("device").contains(&"detach".to_owned()), "an attachment may outlive a restart");
    assert_eq!(manager.status().unwrap().volumes, []);
    assert!(!stage.root().join("pods/uid-1").exists());
}
