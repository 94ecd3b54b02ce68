//! The table: one driver a line.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::check::{Behaviour, GOOD, Outcome, Program, check};

use Outcome::Fails;
use Program::{Attachable, Made, Plain};

/// Makes the table and one test for each line.
macro_rules! behaviours {
    ($($name:ident { $($field:ident: $value:expr),+ $(,)? })*) => {
        pub(crate) const BEHAVIOURS: &[Behaviour] = &[$(Behaviour { $($field: $value,)+ ..GOOD }),*];
        $(
            #[test]
            fn $name() {
                check(
                    concat!("behaviours::", stringify!($name)),
                    &Behaviour { $($field: $value,)+ ..GOOD },
                );
            }
        )*
    };
}

behaviours! {
    hangs_at_once {
        the_driver: "hangs at once",
        program: Plain("mount) sleep 1000 ;;"),
        mount: Fails("had to be stopped at its deadline"),
    }
    hangs_after_half_an_answer {
        the_driver: "hangs after half an answer",
        program: Plain(r#"mount) printf '{"status":"Succ'; sleep 1000 ;;"#),
        mount: Fails("had to be stopped at its deadline"),
    }
    hangs_after_a_failure {
        the_driver: "answers Failure and hangs",
        program: Plain(r#"mount) echo '{"status":"Failure","message":"no such export"}'; sleep 1000 ;;"#),
        mount: Fails("no such export"),
    }
    hangs_after_the_mount_and_its_answer {
        the_driver: "mounts, answers Success and hangs",
        program: Plain(r#"mount) mount -t tmpfs x "$2"; echo '{"status":"Success"}'; sleep 1000 ;;"#),
        remark: "the mount is there, so the answer is believed",
    }
    hangs_after_an_empty_promise {
        the_driver: "answers Success without mounting and hangs",
        program: Plain(r#"mount) echo '{"status":"Success"}'; sleep 1000 ;;"#),
        mount: Fails("nothing is mounted there"),
    }
    ignores_sigterm {
        the_driver: "ignores SIGTERM",
        program: Plain("mount) trap '' TERM INT HUP; while :; do sleep 1; done ;;"),
        mount: Fails("had to be stopped at its deadline"),
    }
    spins {
        the_driver: "spins in a loop of shells that ignore signals",
        program: Plain("mount) trap '' TERM; sh -c 'while :; do :; done' & while :; do :; done ;;"),
        mount: Fails("had to be stopped at its deadline"),
    }
    leaves_a_child_that_holds_the_pipe {
        the_driver: "answers, and leaves a child that holds its output open",
        program: Plain(r#"mount) mount -t tmpfs x "$2"; sleep 1000 & ok ;;"#),
        left_running: 1,
        remark: "the call ends with the driver, not with its output: FUSE programs stay",
    }
    hangs_with_a_child_that_holds_the_pipe {
        the_driver: "hangs together with a child that holds its output open",
        program: Plain("mount) sleep 1000 & sleep 1000 ;;"),
        mount: Fails("had to be stopped at its deadline"),
        remark: "the whole process group is ended",
    }
    hangs_with_a_child_in_its_own_session {
        the_driver: "hangs, with a child in a session of its own",
        program: Plain("mount) setsid sleep 1000 & sleep 1000 ;;"),
        mount: Fails("had to be stopped at its deadline"),
        left_running: 1,
        remark: "who leaves the process group is not ended",
    }
    forks_a_daemon_and_answers {
        the_driver: "starts a daemon and answers",
        program: Plain(r#"mount) mount -t tmpfs x "$2"; setsid sleep 1000 >/dev/null 2>&1 </dev/null & ok ;;"#),
        left_running: 1,
    }
    fails_and_leaves_children {
        the_driver: "answers Failure and leaves 20 children",
        program: Plain("mount) for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 1000 & done; fail 'no luck' ;;"),
        mount: Fails("no luck"),
        left_running: 20,
        remark: "it ended in time, so its children may be meant",
    }
    waits_for_input {
        the_driver: "waits for input",
        program: Plain(r#"mount) read -r line; mount -t tmpfs x "$2" && ok ;;"#),
        remark: "standard input is empty",
    }
    prints_a_gibibyte {
        the_driver: "prints 1 GiB",
        program: Plain("mount) head -c 1073741824 /dev/zero; exit 0 ;;"),
        mount: Fails("gave no reply"),
        remark: "16 MiB of each stream are kept; whichever comes first, end or deadline, ends the call",
    }
    answers_after_much_text {
        the_driver: "mounts, and answers Success after 2 MiB of text",
        program: Plain(r#"mount) head -c 2097152 /dev/zero | tr '\0' x; mount -t tmpfs x "$2"; ok ;;"#),
    }
    answers_after_too_much_text {
        the_driver: "mounts, and answers Success after 20 MiB of text",
        program: Plain(r#"mount) head -c 20971520 /dev/zero | tr '\0' x; mount -t tmpfs x "$2"; ok ;;"#),
        mount: Fails("gave no reply"),
        remark: "what was mounted is unmounted again",
    }
    prints_nothing {
        the_driver: "prints nothing",
        program: Plain("mount) exit 0 ;;"),
        mount: Fails("gave no reply"),
    }
    prints_text {
        the_driver: "prints text",
        program: Plain("mount) echo 'mount: unknown command'; exit 1 ;;"),
        mount: Fails("mount: unknown command"),
    }
    prints_binary {
        the_driver: "prints binary",
        program: Plain(r"mount) printf '\001\002\376\377\000\033\177' ;;"),
        mount: Fails("gave no reply"),
    }
    says_invalid_utf8 {
        the_driver: "says why in invalid UTF-8",
        program: Plain(r#"mount) printf '{"status":"Failure","message":"bad \377 disk"}' ;;"#),
        mount: Fails("disk"),
    }
    puts_nul_around_the_answer {
        the_driver: "puts NUL around its answer",
        program: Plain(r#"mount) mount -t tmpfs x "$2"; printf '\000{"status":"Success"}\000' ;;"#),
        remark: "an answer beside text counts if the mount is there",
    }
    begins_with_a_byte_order_mark {
        the_driver: "begins with a byte order mark",
        program: Plain(r#"mount) mount -t tmpfs x "$2"; printf '\357\273\277{"status":"Success"}' ;;"#),
    }
    ends_lines_with_cr_lf {
        the_driver: "ends lines with CR LF",
        program: Plain(r#"mount) mount -t tmpfs x "$2"; printf '{\r\n"status":"Success"\r\n}\r\n' ;;"#),
    }
    colours_its_answer {
        the_driver: "colours its answer",
        program: Plain(r#"mount) mount -t tmpfs x "$2"; printf '\033[32m{"status":"Success"}\033[0m\n' ;;"#),
    }
    says_control_characters {
        the_driver: "hides control characters in its message",
        program: Plain(r#"mount) printf '{"status":"Failure","message":"red\\u001b[31m \\u0007alarm"}' ;;"#),
        mount: Fails("alarm"),
        remark: "they are not shown",
    }
    answers_on_standard_error {
        the_driver: "answers on standard error",
        program: Plain(r#"mount) mount -t tmpfs x "$2"; echo '{"status":"Success"}' >&2 ;;"#),
    }
    answers_success_then_failure {
        the_driver: "answers twice, Success and Failure",
        program: Plain(r#"mount) mount -t tmpfs x "$2"; echo '{"status":"Success"}{"status":"Failure","message":"no"}' ;;"#),
        mount: Fails("no"),
        remark: "the worst answer counts; what was mounted is unmounted again",
    }
    answers_success_twice {
        the_driver: "answers Success twice",
        program: Plain(r#"mount) mount -t tmpfs x "$2"; echo '{"status":"Success"} {"status":"Success"}' ;;"#),
    }
    is_cut_off {
        the_driver: "answers with JSON that is cut off",
        program: Plain(r#"mount) printf '{"status":"Success","message":"moun' ;;"#),
        mount: Fails("is not JSON"),
    }
    nests_deep {
        the_driver: "nests 100,000 deep",
        program: Plain(r#"mount) printf '{"status":"Success","x":'; head -c 100000 /dev/zero | tr '\0' '[' ;;"#),
        mount: Fails("is not JSON"),
    }
    nests_deep_and_closes {
        the_driver: "nests 100,000 deep, and closes all of it, without mounting",
        program: Plain(
            r#"mount) printf '{"status":"Success","x":'; head -c 100000 /dev/zero | tr '\0' '['; head -c 100000 /dev/zero | tr '\0' ']'; printf '}' ;;"#
        ),
        mount: Fails("is not JSON"),
    }
    has_a_status_of_another_type {
        the_driver: "has a status that is a number",
        program: Plain(r#"mount) echo '{"status":0}' ;;"#),
        mount: Fails("gave no reply"),
    }
    has_an_unknown_status {
        the_driver: "answers OK",
        program: Plain(r#"mount) mount -t tmpfs x "$2"; echo '{"status":"OK"}' ;;"#),
        mount: Fails(r#"answered "OK""#),
        remark: "only Success is success; what was mounted is unmounted again",
    }
    answers_with_an_array {
        the_driver: "answers with an array of answers",
        program: Plain(r#"mount) echo '[{"status":"Success"}]' ;;"#),
        mount: Fails("nothing is mounted there"),
    }
    echoes_its_options {
        the_driver: "prints its options instead of an answer",
        program: Plain(r#"mount) echo "$3" ;;"#),
        mount: Fails("gave no reply"),
    }
    declares_null_capabilities {
        the_driver: "declares null capabilities and leaves mount to the host",
        program: Plain(r#"init) echo '{"status":"Success","capabilities":null}' ;; mount) echo '{"status":"Not supported"}' ;;"#),
        mount: Fails("nothing is mounted here that could be bound"),
        remark: "null stands for the defaults: the driver counts as attachable",
    }
    declares_capabilities_of_another_type {
        the_driver: "declares capabilities of the wrong type",
        program: Plain(r#"init) echo '{"status":"Success","capabilities":[1,2]}' ;;"#),
        mount: Fails("capabilities has the wrong type"),
    }
    has_huge_numbers {
        the_driver: "answers with huge numbers",
        program: Plain(
            r#"mount) mount -t tmpfs x "$2"; echo '{"status":"Success","volumeNewSize":1e999999,"x":123456789012345678901234567890}' ;;"#
        ),
    }
    succeeds_with_exit_1 {
        the_driver: "mounts, answers Success and exits with 1",
        program: Plain(r#"mount) mount -t tmpfs x "$2"; echo '{"status":"Success"}'; exit 1 ;;"#),
        remark: "the mount is there, so the answer is believed",
    }
    claims_success_with_exit_1 {
        the_driver: "answers Success without mounting and exits with 1",
        program: Plain(r#"mount) echo '{"status":"Success"}'; exit 1 ;;"#),
        mount: Fails("nothing is mounted there"),
    }
    fails_with_exit_0 {
        the_driver: "answers Failure and exits with 0",
        program: Plain(r#"mount) echo '{"status":"Failure","message":"quota exceeded"}'; exit 0 ;;"#),
        mount: Fails("quota exceeded"),
    }
    is_killed_after_its_answer {
        the_driver: "answers Success without mounting and is killed",
        program: Plain(r#"mount) echo '{"status":"Success"}'; kill -KILL $$ ;;"#),
        mount: Fails("nothing is mounted there"),
    }
    crashes {
        the_driver: "crashes without an answer",
        program: Plain("mount) kill -SEGV $$ ;;"),
        mount: Fails("was ended by signal 11"),
    }
    kills_its_group {
        the_driver: "kills its whole process group",
        program: Plain("mount) kill -KILL 0 ;;"),
        mount: Fails("was ended by signal 9"),
        remark: "the group is the driver's own",
    }
    closes_its_streams {
        the_driver: "closes its streams and goes on for a second",
        program: Plain("mount) exec <&- >&- 2>&-; sleep 1 ;;"),
        mount: Fails("gave no reply"),
    }
    closes_its_streams_and_hangs {
        the_driver: "closes its streams and hangs",
        program: Plain("mount) exec <&- >&- 2>&-; sleep 1000 ;;"),
        mount: Fails("had to be stopped at its deadline"),
    }
    deletes_itself {
        the_driver: "deletes itself after the mount",
        program: Plain(r#"mount) mount -t tmpfs x "$2"; rm -- "$0"; ok ;;"#),
        unmount: Fails("example.com/hostile"),
        remark: "the volume stays on record until the driver is back",
    }
    deletes_its_directory {
        the_driver: "deletes its own directory after the mount",
        program: Plain(r#"mount) mount -t tmpfs x "$2"; rm -r -- "$(dirname "$0")"; ok ;;"#),
        unmount: Fails("example.com/hostile"),
        remark: "the volume stays on record until the driver is back",
    }
    replaces_itself {
        the_driver: "replaces itself by another version during the mount",
        program: Plain(
            r#"mount) mount -t tmpfs x "$2"; sed 's/"unmount failed"/"second version"/' "$0" > "$0.new"; chmod 755 "$0.new"; mv "$0.new" "$0"; ok ;;"#
        ),
    }
    replaces_itself_by_nonsense {
        the_driver: "replaces itself by nonsense during the mount",
        program: Plain(r#"mount) mount -t tmpfs x "$2"; echo nonsense > "$0.new"; chmod 755 "$0.new"; mv "$0.new" "$0"; ok ;;"#),
        unmount: Fails("not usable"),
    }
    deletes_the_mount_dir {
        the_driver: "deletes the mount dir and answers Success",
        program: Plain(r#"mount) rmdir "$2"; ok ;;"#),
        mount: Fails("does not exist any more"),
    }
    replaces_the_mount_dir_by_a_file {
        the_driver: "puts a file in place of the mount dir",
        program: Plain(r#"mount) rmdir "$2"; echo mine > "$2"; ok ;; unmount) fail "never mounted" ;;"#),
        mount: Fails("is a file now"),
        unmount: Fails("never mounted"),
        remark: "the file is not ours to delete",
    }
    links_the_mount_dir_elsewhere {
        the_driver: "puts a symlink in place of the mount dir, and removes it at unmount",
        program: Plain(r#"mount) rmdir "$2"; ln -s @ELSEWHERE@ "$2"; ok ;; unmount) rm "$2"; ok ;;"#),
        remark: "some real drivers do so",
    }
    links_the_mount_dir_elsewhere_for_good {
        the_driver: "puts a symlink in place of the mount dir, and leaves it at unmount",
        program: Plain(r#"mount) rmdir "$2"; ln -s @ELSEWHERE@ "$2"; ok ;; unmount) ok ;;"#),
        unmount: Fails("symlink"),
        remark: "nothing is removed through it",
    }
    binds_something_else {
        the_driver: "binds a foreign directory to the mount dir",
        program: Plain(r#"mount) mount --bind @ELSEWHERE@ "$2" && ok ;;"#),
        remark: "files in it are never deleted",
    }
    mounts_over_the_parent {
        the_driver: "mounts over the directory that holds the mount dir",
        program: Plain(r#"mount) mount -t tmpfs x "$(dirname "$2")"; ok ;; unmount) ok ;;"#),
        mount: Fails("does not exist any more"),
        unmount: Fails("no record knows"),
        remark: "what is mounted there is named",
    }
    mounts_twice {
        the_driver: "mounts two file systems on top of each other",
        program: Plain(r#"mount) mount -t tmpfs x "$2"; mount -t tmpfs x "$2"; ok ;;"#),
        remark: "unmount is called until nothing is mounted",
    }
    mounts_and_fails {
        the_driver: "mounts and answers Failure",
        program: Plain(r#"mount) mount -t tmpfs x "$2"; fail "but no" ;;"#),
        mount: Fails("but no"),
        remark: "it is unmounted, so that the next mount does not find it and succeed",
    }
    succeeds_without_mounting {
        the_driver: "answers Success without mounting",
        program: Plain("mount) ok ;;"),
        remark: "some real drivers only fill the directory; a warning is logged",
    }
    fills_the_directory {
        the_driver: "fills the directory instead of mounting, and leaves a file at unmount",
        program: Plain(r#"mount) echo x > "$2/file"; ok ;; unmount) ok ;;"#),
        unmount: Fails("not empty"),
        remark: "files are never deleted",
    }
    leaves_files_at_unmount {
        the_driver: "leaves a file in the mount dir at unmount",
        program: Plain(r#"unmount) umount "$2"; echo x > "$2/left"; ok ;;"#),
        unmount: Fails("not empty"),
        remark: "files are never deleted",
    }
    removes_the_directory_at_unmount {
        the_driver: "removes the mount dir itself at unmount",
        program: Plain(r#"unmount) umount "$2"; rmdir "$2"; ok ;;"#),
    }
    unmounts_not_but_says_so {
        the_driver: "answers Success to unmount without unmounting",
        program: Plain("unmount) ok ;;"),
        unmount: Fails("still mounted"),
    }
    fails_to_unmount {
        the_driver: "answers Failure to unmount",
        program: Plain(r#"unmount) fail "server away" ;;"#),
        unmount: Fails("server away"),
    }
    hangs_at_unmount {
        the_driver: "hangs at unmount",
        program: Plain("unmount) sleep 1000 ;;"),
        unmount: Fails("had to be stopped at its deadline"),
    }
    changes_its_surroundings {
        the_driver: "changes its directory, umask, limits and signals",
        program: Plain(r#"mount) cd /proc; umask 777; ulimit -n 12; trap '' TERM CHLD PIPE; mount -t tmpfs x "$2"; ok ;;"#),
    }
    is_a_directory {
        the_driver: "is a directory",
        program: Made(|stage| fs::create_dir_all(stage.driver_dir("hostile").join("hostile")).unwrap()),
        mount: Fails("it is a directory"),
    }
    is_a_dangling_link {
        the_driver: "is a dangling link",
        program: Made(|stage| {
            fs::create_dir_all(stage.driver_dir("hostile")).unwrap();
            symlink("/nonexistent/driver", stage.driver_dir("hostile").join("hostile")).unwrap();
        }),
        mount: Fails("it holds no program"),
    }
    has_no_interpreter {
        the_driver: "is a script whose interpreter does not exist",
        program: Made(|stage| stage.install_file("hostile", b"#!/nonexistent/python\n")),
        mount: Fails("its interpreter /nonexistent/python does not exist"),
    }
    has_an_interpreter_with_cr {
        the_driver: "is a script with CR LF line ends",
        program: Made(|stage| stage.install_file("hostile", b"#!/bin/sh\r\necho '{\"status\":\"Success\"}'\r\n")),
        mount: Fails("its interpreter /bin/sh"),
    }
    is_of_another_architecture {
        the_driver: "is of another architecture",
        program: Made(|stage| stage.install_file("hostile", &foreign_program())),
        mount: Fails("neither a program for this machine"),
    }
    is_empty {
        the_driver: "is an empty file",
        program: Made(|stage| stage.install_file("hostile", b"")),
        mount: Fails("neither a program for this machine"),
    }
    is_not_executable {
        the_driver: "is not executable",
        program: Made(|stage| {
            stage.install("hostile", crate::stage::drivers::PLAIN);
            let file = stage.driver_dir("hostile").join("hostile");
            fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
        }),
        mount: Fails("it is not executable"),
    }
    is_being_written {
        the_driver: "is being written",
        program: Made(|stage| {
            stage.install("hostile", crate::stage::drivers::PLAIN);
            let file = stage.driver_dir("hostile").join("hostile");
            // Open for writing until this process ends.
            std::mem::forget(fs::OpenOptions::new().append(true).open(file).unwrap());
        }),
        mount: Fails("it is being written"),
    }
    has_no_program {
        the_driver: "is missing in its directory",
        program: Made(|stage| fs::create_dir_all(stage.driver_dir("hostile")).unwrap()),
        mount: Fails("it holds no program"),
    }
    hangs_at_init {
        the_driver: "hangs at init",
        program: Plain("init) sleep 1000 ;;"),
        mount: Fails("had to be stopped at its deadline"),
    }
    fails_at_init {
        the_driver: "fails at init",
        program: Plain(r#"init) fail "jq is not installed" ;;"#),
        mount: Fails("jq is not installed"),
    }
    does_not_support_mount {
        the_driver: "has no device and leaves mount to the host",
        program: Plain(r#"mount) echo '{"status":"Not supported"}' ;;"#),
        mount: Fails("nothing is mounted here that could be bound"),
    }
    hangs_at_attach {
        the_driver: "hangs at attach",
        program: Attachable("attach) sleep 1000 ;;"),
        mount: Fails("attach: the driver gave no reply"),
    }
    fails_at_waitforattach {
        the_driver: "fails at waitforattach",
        program: Attachable(r#"waitforattach) fail "no such disk" ;;"#),
        mount: Fails("no such disk"),
        remark: "it is detached again",
    }
    mounts_no_device {
        the_driver: "answers Success to mountdevice without mounting, and leaves mount to the host",
        program: Attachable("mountdevice) ok ;; unmountdevice) ok ;;"),
        mount: Fails("nothing is mounted here that could be bound"),
        remark: "an empty directory is not passed off as a volume",
    }
    deletes_the_device_mount_path {
        the_driver: "deletes the device mount path",
        program: Attachable(r#"mountdevice) rmdir "$2"; ok ;;"#),
        mount: Fails("does not exist any more"),
    }
    mounts_a_device_and_fails {
        the_driver: "mounts the device and answers Failure",
        program: Attachable(r#"mountdevice) mount -t tmpfs x "$2"; fail "bad superblock" ;;"#),
        mount: Fails("bad superblock"),
        remark: "it is unmounted and detached again",
    }
    unmounts_no_device_but_says_so {
        the_driver: "answers Success to unmountdevice without unmounting",
        program: Attachable("unmountdevice) ok ;;"),
        unmount: Fails("still mounted"),
        remark: "it is not detached",
    }
    fails_to_detach {
        the_driver: "fails at detach",
        program: Attachable(r#"detach) fail "controller away" ;;"#),
        unmount: Fails("controller away"),
    }
}

/// The header of a program for a machine that this one is not.
fn foreign_program() -> Vec<u8> {
    let machine: u8 = if cfg!(target_arch = "s390x") { 0x3e } else { 0x16 };
    let mut header = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0];
    header.resize(16, 0);
    header.extend([2, 0, machine, 0, 1, 0, 0, 0]);
    header.resize(64, 0);
    header
}
