//! What becomes of a mount whose server has changed its mind, or is gone.

use std::fs;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::share::{SERVER, Share, eventually, put, put_directory, server, server_is_missing};
use crate::support::Program;

/// Puts the server back, whatever a test has come to.
struct Restored;

impl Drop for Restored {
    fn drop(&mut self) {
        let _ = std::panic::catch_unwind(|| server(&["heal"]));
    }
}

#[test]
fn a_changed_password_is_told_and_healed() {
    if server_is_missing("faults::a_changed_password_is_told_and_healed") {
        return;
    }
    put("file", "precious");
    let mut share = Share::of(json!({"server": SERVER, "share": "data", "mountOptions": "echo_interval=2"}));
    share.mount().success();
    assert_eq!(fs::read_to_string(share.file()).unwrap(), "precious");
    server(&["password", "new, \"one\""]);
    server(&["kill", "smb"]);
    server(&["start", "smb"]);
    eventually("the old session ends", || fs::metadata(share.file()).is_err());
    let old = share.heal().failure(&["stays as it is", "assword"]);
    assert!(share.is_mounted(), "{old:?}");
    let again = Share { world: crate::support::World::new(), ..Share::of(share.options.clone()) };
    again.mount().failure(&["cannot mount //10.99.0.2/data", "correct"]);
    again.assert_gone();
    share.password = b"new, \"one\"".into();
    share.heal().success();
    assert_eq!(fs::read_to_string(share.file()).unwrap(), "precious");
    share.heal().success();
    share.unmount().success();
    share.assert_gone();
}

#[test]
fn a_silent_server_holds_up_nobody() {
    if server_is_missing("faults::a_silent_server_holds_up_nobody") {
        return;
    }
    put("file", "precious");
    let (share, neighbour) = (Share::new(), Share::new());
    share.mount().success();
    neighbour.mount().success();
    let restored = Restored;
    // A file that was closed a moment ago is closed on the server a moment later (Linux 6.1).
    put_directory("inner");
    let last = Share::of(json!({"server": SERVER, "share": "public", "subdirectory": "inner"}));
    last.mount().success();
    fs::write(last.world.target().join("last"), "last").unwrap();
    server(&["drop"]);
    last.unmount().success();
    last.assert_gone();
    assert_eq!(drivers(), [""; 0], "a process of the driver waits for the server");
    share.mount().success();
    let other = Share::new();
    other.mount().failure(&["cannot reach the server of //10.99.0.2/data", "does not answer"]);
    other.assert_gone();
    let begun = Instant::now();
    share.unmount().success();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    share.assert_gone();
    assert!(neighbour.is_mounted());
    drop(restored);
    eventually("the neighbour serves again", || {
        fs::read_to_string(neighbour.file()).is_ok_and(|text| text == "precious")
    });
    neighbour.unmount().success();
    neighbour.assert_gone();
}

/// What runs of the driver, a moment after it has ended.
fn drivers() -> Vec<String> {
    let program = fs::canonicalize(Program::Cifs.path()).unwrap();
    for _ in 0..50 {
        let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
        let ours = processes.filter(|path| fs::read_link(path.join("exe")).is_ok_and(|exe| exe == program));
        let ours: Vec<_> = ours.map(|path| path.display().to_string()).collect();
        if ours.is_empty() {
            return ours;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    vec![program.display().to_string()]
}

#[test]
fn a_mount_in_use_stays() {
    if server_is_missing("faults::a_mount_in_use_stays") {
        return;
    }
    let share = Share::new();
    share.mount().success();
    let open = fs::File::create(share.file()).unwrap();
    share.unmount().failure(&["in use"]);
    assert!(share.is_mounted());
    drop(open);
    share.unmount().success();
    share.assert_gone();
}

/// What mount option `mfsymlinks` takes for a symlink: any file of a share that looks so.
fn planted_link(target: &str, digest: &str) -> String {
    format!("{:<1067}", format!("XSym\n{:04}\n{digest}\n{target}\n", target.len()))
}

#[test]
fn a_symlink_that_was_planted_in_a_share_leads_nowhere() {
    if server_is_missing("faults::a_symlink_that_was_planted_in_a_share_leads_nowhere") {
        return;
    }
    for tenant in ["t1", "t2"] {
        put_directory(&format!("{tenant}/inner"));
    }
    let link = planted_link("../t2", "7703b115dbdcbdc38cd6a27741da2e71");
    put("t1/evil", &link);
    for (directory, words) in [("t1/evil", "mfsymlinks"), ("t1/evil/inner", "mfsymlinks"), ("t1/evil", "")] {
        let options = json!({
            "server": SERVER, "share": "data", "subdirectory": directory, "mountOptions": words,
        });
        let share = Share::of(options);
        share.mount().failure(&["\"evil\"", "symlink"]);
        share.assert_gone();
    }
    for climbing in ["t1/../t2", "..", "t1/./inner"] {
        let share = Share::of(json!({"server": SERVER, "share": "data", "subdirectory": climbing}));
        share.mount().failure(&["`..`"]);
        let share = Share::of(json!({"networkPath": format!("//{SERVER}/data/{climbing}")}));
        share.mount().failure(&["`..`"]);
        share.assert_gone();
    }
    let share = Share::new();
    fs::create_dir(share.world.path("elsewhere")).unwrap();
    fs::remove_dir(share.world.target()).unwrap();
    std::os::unix::fs::symlink(share.world.path("elsewhere"), share.world.target()).unwrap();
    let map = share.map().to_string();
    share.call(&["mount", share.world.target().to_str().unwrap(), &map]).failure(&["symlink"]);
    assert!(share.world.mounts_at(&share.world.path("elsewhere")).is_empty());
    assert_eq!(fs::metadata(share.world.target().join("file")).unwrap_err().kind(), ErrorKind::NotFound);
}
