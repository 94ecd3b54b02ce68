//! Real programs: scripts in a temporary directory.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use rustix::process::Pid;

use super::*;
use crate::command::EndOfRun;

const PATIENCE: Duration = Duration::from_secs(20);
/// A deadline that passes, but not before a script has done its part on a busy machine.
const SHORT: Duration = Duration::from_millis(1500);
/// Far more than a run may take over its deadline, for a busy machine.
const SLACK: Duration = Duration::from_secs(8);

struct Scripts(tempfile::TempDir);

impl Scripts {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// An executable file.
    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// Runs a shell script with a deadline.
    fn shell(&self, script: &str, deadline: Duration) -> Output {
        SystemRunner.run(&self.command(script, deadline)).unwrap()
    }

    fn command(&self, script: &str, deadline: Duration) -> Command {
        let path = self.file("script", format!("#!/bin/sh\n{script}\n"));
        Command::new(path, deadline).directory(self.0.path())
    }

    /// A process number that a script wrote.
    fn number(&self, name: &str) -> Pid {
        let start = Instant::now();
        loop {
            if let Ok(text) = fs::read_to_string(self.path(name))
                && let Ok(number) = text.trim().parse()
            {
                return Pid::from_raw(number).unwrap();
            }
            assert!(start.elapsed() < PATIENCE, "{name} was not written");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Whether the process runs (a zombie that nobody reaps here does not).
fn lives(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

fn dies(pid: Pid) -> bool {
    let start = Instant::now();
    while start.elapsed() < SLACK {
        if !lives(pid) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

fn end(pid: Pid) {
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

#[test]
fn both_streams_are_captured_apart_and_together() {
    let output =
        Scripts::new().shell("echo out; sleep 0.2; echo err >&2; sleep 0.2; echo out2; exit 3", PATIENCE);
    assert_eq!(output.ended, Ended::Exited(3));
    assert!(!output.ended.is_success());
    assert_eq!(output.stdout.bytes, b"out\nout2\n");
    assert_eq!(output.stderr.bytes, b"err\n");
    assert_eq!(output.combined.bytes, b"out\nerr\nout2\n");
    assert_eq!(output.pipes, Pipes::Closed);
    assert!(output.duration >= Duration::from_millis(400));
}

#[test]
fn a_shared_pipe_keeps_the_order_of_writing() {
    let scripts = Scripts::new();
    let command = scripts
        .command("for n in 1 2 3 4 5 6; do echo o$n; echo e$n >&2; done", PATIENCE)
        .streams(Streams::Shared);
    let output = SystemRunner.run(&command).unwrap();
    assert_eq!(output.combined.bytes, b"o1\ne1\no2\ne2\no3\ne3\no4\ne4\no5\ne5\no6\ne6\n");
    assert_eq!((output.stdout, output.stderr), (Captured::default(), Captured::default()));
}

#[test]
fn a_program_ended_by_a_signal_is_told_apart() {
    assert_eq!(Scripts::new().shell("kill -SEGV $$", PATIENCE).ended, Ended::Signaled(11));
}

#[test]
fn a_core_dump_is_told_where_there_is_one() {
    let scripts = Scripts::new();
    assert_eq!(scripts.shell("kill -KILL $$", PATIENCE).core, Core::None);
    let command = scripts.command("ulimit -c unlimited 2>/dev/null; kill -ABRT $$", PATIENCE);
    let output = SystemRunner.run(&command).unwrap();
    assert_eq!(output.ended, Ended::Signaled(6));
    // Whether it may dump is the machine's matter.
    #[expect(clippy::disallowed_methods, reason = "a run of std's own to compare with")]
    let status =
        std::process::Command::new(scripts.path("script")).current_dir(scripts.0.path()).status().unwrap();
    let expected = if status.core_dumped() { Core::Dumped } else { Core::None };
    assert_eq!(output.core, expected);
}

#[test]
fn arguments_variables_and_directory_arrive_as_they_are() {
    let scripts = Scripts::new();
    let command = scripts
        .command("printf '%s|' \"$@\" \"$WORD\"; pwd -P", PATIENCE)
        .arguments(["a b", "", "*"])
        .secret_argument("s3cret\n")
        .variable("WORD", "x=y");
    let output = SystemRunner.run(&command).unwrap();
    let directory = scripts.0.path().canonicalize().unwrap();
    assert_eq!(output.stdout.bytes, format!("a b||*|s3cret\n|x=y|{}\n", directory.display()).as_bytes());
}

#[test]
fn standard_input_is_empty() {
    let output = Scripts::new().shell("cat; readlink /proc/self/fd/0", PATIENCE);
    assert_eq!(output.stdout.bytes, b"/dev/null\n");
}

#[test]
fn the_program_leads_its_own_process_group_with_default_signals() {
    let output = Scripts::new().shell("echo $$; exec cat /proc/self/stat /proc/self/status", PATIENCE);
    let text = String::from_utf8(output.stdout.bytes).unwrap();
    let mut lines = text.lines();
    let pid = lines.next().unwrap();
    let group = lines.next().unwrap().rsplit(')').next().unwrap().split_whitespace().nth(2).unwrap();
    assert_eq!(group, pid);
    let mask = |field| {
        let digits = text.lines().find_map(|line| line.strip_prefix(field)).unwrap().trim();
        u64::from_str_radix(digits, 16).unwrap()
    };
    assert_eq!(mask("SigBlk:"), 0);
    // Rust programs ignore SIGPIPE themselves; bit 12 is signal 13.
    assert_eq!(mask("SigIgn:") & (1 << 12), 0);
}

/// Runs the test once more in a process that a shell has prepared; true in that process.
fn prepared_by(preparation: &str, test: &str) -> bool {
    const INNER: &str = "FLEXVOL_TEST_INNER";
    if std::env::var_os(INNER).is_some() {
        return true;
    }
    let mut again = std::process::Command::new("/bin/sh");
    again.args(["-c", &format!("{preparation} \"$@\""), "sh"]).arg(std::env::current_exe().unwrap());
    let test = format!("runner::tests::{test}");
    let output = again.args(["--exact", &test, "--nocapture"]).env(INNER, "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    false
}

#[test]
fn no_descriptor_that_we_inherited_reaches_the_program() {
    if !prepared_by("exec 9</dev/null; exec", "no_descriptor_that_we_inherited_reaches_the_program") {
        return;
    }
    assert!(fs::exists("/proc/self/fd/9").unwrap());
    let output = Scripts::new().shell("ls /proc/$$/fd", PATIENCE);
    let text = String::from_utf8(output.stdout.bytes).unwrap();
    // 10 and above is the shell's own handle on its script.
    let inherited: Vec<i32> = text.lines().map(|line| line.parse().unwrap()).filter(|fd| *fd < 10).collect();
    assert_eq!(inherited, [0, 1, 2], "{text}");
}

#[test]
fn a_lost_exit_status_is_an_error_and_not_a_success() {
    if !prepared_by("exec env --ignore-signal=CHLD", "a_lost_exit_status_is_an_error_and_not_a_success") {
        return;
    }
    let error = SystemRunner.run(&Scripts::new().command("exit 1", PATIENCE)).unwrap_err();
    assert_eq!(error.reason, StartFailure::StatusLost);
}

#[test]
fn a_program_that_moves_to_another_group_is_ended_too() {
    let scripts = Scripts::new();
    let group = rustix::process::getpgrp().as_raw_pid();
    let script = format!("exec perl -e 'setpgrp(0, {group}) or die; $| = 1; print \"moved\"; sleep 100'");
    let output = scripts.shell(&script, SHORT);
    if output.ended == Ended::Exited(127) {
        eprintln!("skipped: a_program_that_moves_to_another_group_is_ended_too: needs perl");
        return;
    }
    assert_eq!((output.ended, output.stdout.bytes.as_slice()), (Ended::TimedOut, b"moved".as_slice()));
    assert_eq!(output.pipes, Pipes::Closed);
}

#[test]
fn a_stopped_program_is_ended_too() {
    assert_eq!(Scripts::new().shell("kill -STOP $$", Duration::from_millis(300)).ended, Ended::TimedOut);
}

#[test]
fn a_program_that_hangs_is_ended_at_the_deadline() {
    let scripts = Scripts::new();
    let output = scripts.shell("echo $$ >pid; echo partial; sleep 100", SHORT);
    assert_eq!(output.ended, Ended::TimedOut);
    assert_eq!(output.stdout.bytes, b"partial\n");
    assert!(output.duration < SLACK, "{:?}", output.duration);
    let entry = format!("/proc/{}", scripts.number("pid").as_raw_pid());
    assert!(!fs::exists(entry).unwrap(), "neither alive nor a zombie");
}

#[test]
fn term_comes_first_and_the_program_may_clean_up() {
    let scripts = Scripts::new();
    let script = "trap 'echo cleaned; exit 0' TERM; sleep 100 & wait";
    let output = scripts.shell(script, SHORT);
    assert_eq!((output.ended, output.stdout.bytes.as_slice()), (Ended::TimedOut, b"cleaned\n".as_slice()));
}

#[test]
fn a_program_that_ignores_term_is_killed_with_its_children() {
    let scripts = Scripts::new();
    let script = "trap '' TERM; (trap '' TERM; while :; do sleep 1; done) & echo $! >child; echo $$ >pid; while :; do sleep 1; done";
    let output = scripts.shell(script, SHORT);
    assert_eq!((output.ended, output.pipes), (Ended::TimedOut, Pipes::Closed));
    assert!(output.duration < SLACK, "{:?}", output.duration);
    assert!(dies(scripts.number("pid")) && dies(scripts.number("child")));
}

#[test]
fn a_grandchild_without_the_pipes_goes_at_the_deadline_too() {
    let scripts = Scripts::new();
    let script = "sleep 100 </dev/null >/dev/null 2>&1 & echo $! >child; sleep 100";
    assert_eq!(scripts.shell(script, SHORT).ended, Ended::TimedOut);
    assert!(dies(scripts.number("child")));
}

#[test]
fn a_daemon_left_behind_lives_and_does_not_delay_the_answer() {
    let scripts = Scripts::new();
    let output = scripts.shell("sleep 100 & echo $! >child; echo done", PATIENCE);
    let child = scripts.number("child");
    assert_eq!((output.ended, output.pipes), (Ended::Exited(0), Pipes::Held));
    assert_eq!(output.stdout.bytes, b"done\n");
    assert!(output.duration < SLACK, "{:?}", output.duration);
    assert!(lives(child));
    end(child);
}

#[test]
fn a_daemon_that_closed_the_pipes_costs_nothing() {
    let scripts = Scripts::new();
    let script = "sleep 100 </dev/null >/dev/null 2>&1 & echo $! >child";
    let output = scripts.shell(script, PATIENCE);
    let child = scripts.number("child");
    assert_eq!((output.ended, output.pipes), (Ended::Exited(0), Pipes::Closed));
    assert!(lives(child));
    end(child);
}

#[test]
fn what_a_child_writes_just_after_the_exit_is_kept() {
    let scripts = Scripts::new();
    // A busy machine may make it later than we wait, but not every time.
    let kept = (0..20).any(|_| {
        let output = scripts.shell("(sleep 0.01; echo late) & echo early", PATIENCE);
        output.stdout.bytes == b"early\nlate\n" && output.pipes == Pipes::Closed
    });
    assert!(kept);
}

#[test]
fn a_child_that_writes_for_ever_after_the_exit_does_not_hold_us() {
    let scripts = Scripts::new();
    let output = scripts.shell("yes & echo $! >child", PATIENCE);
    assert_eq!((output.ended, output.pipes), (Ended::Exited(0), Pipes::Held));
    assert!(output.duration < SLACK);
    // Nobody reads any more: its next write ends it.
    assert!(dies(scripts.number("child")));
}

#[test]
fn an_end_at_end_of_file_waits_for_every_holder() {
    let scripts = Scripts::new();
    let command = scripts.command("(sleep 0.3; echo late) & echo early", PATIENCE).end(EndOfRun::EndOfFile);
    let output = SystemRunner.run(&command).unwrap();
    assert_eq!(
        (output.ended, output.stdout.bytes.as_slice()),
        (Ended::Exited(0), b"early\nlate\n".as_slice())
    );
}

#[test]
fn an_end_at_end_of_file_is_bounded_by_the_deadline() {
    let scripts = Scripts::new();
    let command = scripts.command("sleep 100 & echo $! >child", SHORT).end(EndOfRun::EndOfFile);
    let output = SystemRunner.run(&command).unwrap();
    assert_eq!(output.ended, Ended::Exited(0), "Kubernetes believes a program that had ended well");
    assert!(output.duration < PATIENCE);
    assert!(dies(scripts.number("child")));
}

#[test]
fn a_program_that_ends_well_after_term_is_believed_only_at_end_of_file() {
    let scripts = Scripts::new();
    let run = |code: u8, end| {
        let script = format!("trap 'echo late; exit {code}' TERM; while :; do sleep 0.01; done");
        SystemRunner.run(&scripts.command(&script, SHORT).end(end)).unwrap().ended
    };
    assert_eq!(run(0, EndOfRun::EndOfFile), Ended::Exited(0));
    assert_eq!(run(1, EndOfRun::EndOfFile), Ended::TimedOut);
    assert_eq!(run(0, EndOfRun::Exit), Ended::TimedOut);
}

#[test]
fn a_child_that_left_the_group_is_reported_and_not_hunted() {
    let scripts = Scripts::new();
    let script =
        "setsid sh -c 'echo $$ >child; sleep 100' & while [ ! -s child ]; do sleep 0.01; done; sleep 100";
    let output = scripts.shell(script, SHORT);
    let child = scripts.number("child");
    assert_eq!((output.ended, output.pipes), (Ended::TimedOut, Pipes::Held));
    assert!(lives(child));
    end(child);
}

#[test]
fn a_program_may_close_its_streams_and_go_on() {
    let output = Scripts::new().shell("echo said; exec >&- 2>&-; sleep 0.2; exit 7", PATIENCE);
    assert_eq!((output.ended, output.pipes), (Ended::Exited(7), Pipes::Closed));
    assert_eq!(output.stdout.bytes, b"said\n");
}

#[test]
fn a_flood_is_counted_and_not_kept() {
    let scripts = Scripts::new();
    let command = scripts.command("head -c 1073741824 /dev/zero; echo e >&2", PATIENCE * 6).limit(1000);
    let output = SystemRunner.run(&command).unwrap();
    assert_eq!(output.ended, Ended::Exited(0));
    assert_eq!(output.stdout.bytes, [0; 1000]);
    assert_eq!(output.stdout.omitted, (1 << 30) - 1000);
    assert_eq!(output.stderr.bytes, b"e\n");
    assert_eq!(output.combined.bytes.len(), 1000);
    assert!(output.stdout.bytes.capacity() < 64 << 10, "only what is kept takes memory");
}

#[test]
fn a_flood_without_end_stops_at_the_deadline() {
    let output = Scripts::new().shell("yes", Duration::from_millis(300));
    assert_eq!((output.ended, output.pipes), (Ended::TimedOut, Pipes::Closed));
    assert!(output.stdout.omitted > 0 && output.stdout.bytes.len() == 1 << 20);
}

#[test]
fn bytes_are_kept_as_they_are() {
    let output = Scripts::new().shell(r"printf '\000\377\r\n'", PATIENCE);
    assert_eq!(output.stdout.bytes, b"\0\xff\r\n");
}

#[test]
fn nothing_stays_open_after_many_runs() {
    let scripts = Scripts::new();
    let command = scripts.command("echo x", PATIENCE);
    SystemRunner.run(&command).unwrap();
    // Other tests run beside this one, so look for pipes and pidfds that grow with the runs and not for an exact number.
    let open = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    for _ in 0..200 {
        SystemRunner.run(&command).unwrap();
    }
    assert!(open() < before + 100, "{before} and now {}", open());
}

#[test]
fn a_deadline_of_for_ever_is_accepted() {
    assert_eq!(Scripts::new().shell("exit 0", Duration::MAX).ended, Ended::Exited(0));
}

#[test]
fn programs_are_found_in_the_path() {
    let output = SystemRunner.run(&Command::new("true", PATIENCE)).unwrap();
    assert_eq!(output.ended, Ended::Exited(0));
}

#[test]
fn attached_runs_give_their_status() {
    let scripts = Scripts::new();
    let script = scripts.file("script", "#!/bin/sh\nexit $1\n");
    let attached = |program: &Path, argument: &str| Attached {
        program: program.to_owned(),
        arguments: vec![argument.into()],
        environment: vec![("GIVEN".into(), "x".into())],
    };
    let signals = Signals::catch().unwrap();
    assert_eq!(attached(&script, "5").run(&signals).unwrap(), Ended::Exited(5));
    let shell = |text: &str| Attached {
        program: "sh".into(),
        arguments: vec!["-c".into(), text.into()],
        environment: vec![("GIVEN".into(), "x".into())],
    };
    assert_eq!(shell("test \"$GIVEN\" = x").run(&signals).unwrap(), Ended::Exited(0));
    assert_eq!(shell("kill -9 $$").run(&signals).unwrap(), Ended::Signaled(9));
    // A signal for us is passed on, and does not end us.
    let passed = shell("trap 'exit 7' TERM; kill -TERM $PPID; while :; do sleep 0.05; done");
    assert_eq!(passed.run(&signals).unwrap(), Ended::Exited(7));
    let error = attached(&scripts.path("none"), "").run(&signals).unwrap_err();
    assert_eq!(error.reason, StartFailure::Missing);
}

mod that_does_not_start {
    use super::*;

    fn reason(program: impl Into<PathBuf>) -> StartFailure {
        SystemRunner.run(&Command::new(program, PATIENCE)).unwrap_err().reason
    }

    #[test]
    fn because_it_is_missing() {
        let scripts = Scripts::new();
        assert_eq!(reason(scripts.path("none")), StartFailure::Missing);
        assert_eq!(reason("flexvol-no-such-program"), StartFailure::Missing);
        let error = SystemRunner.run(&Command::new("/no/such/driver", PATIENCE)).unwrap_err();
        assert_eq!(error.to_string(), "cannot start /no/such/driver: it does not exist");
    }

    #[test]
    fn because_its_link_leads_nowhere() {
        let scripts = Scripts::new();
        std::os::unix::fs::symlink("gone", scripts.path("link")).unwrap();
        assert_eq!(reason(scripts.path("link")), StartFailure::DanglingLink("gone".into()));
    }

    #[test]
    fn because_it_is_a_directory() {
        assert_eq!(reason(Scripts::new().0.path()), StartFailure::Directory);
    }

    #[test]
    fn because_it_is_not_executable() {
        let scripts = Scripts::new();
        fs::write(scripts.path("plain"), "#!/bin/sh\n").unwrap();
        assert_eq!(reason(scripts.path("plain")), StartFailure::NotExecutable);
    }

    #[test]
    fn because_its_interpreter_is_missing() {
        let scripts = Scripts::new();
        let script = scripts.file("script", "#! /no/such/python3 -u\n");
        assert_eq!(reason(script), StartFailure::MissingInterpreter("/no/such/python3".into()));
    }

    #[test]
    fn because_its_loader_is_missing() {
        let scripts = Scripts::new();
        let mut program = fs::read("/bin/true").unwrap();
        let name = b"/lib64/ld-linux-x86-64.so.2";
        let Some(at) = program.windows(name.len()).position(|window| window == name) else {
            eprintln!("skipped: because_its_loader_is_missing: /bin/true here has another loader");
            return;
        };
        program[at..at + 6].copy_from_slice(b"/gone0");
        let reason = reason(scripts.file("program", program));
        assert_eq!(reason, StartFailure::MissingInterpreter("/gone0/ld-linux-x86-64.so.2".into()));
    }

    #[test]
    fn because_it_is_no_program() {
        let scripts = Scripts::new();
        assert_eq!(reason(scripts.file("text", "echo no hash-bang\n")), StartFailure::NotAProgram);
        assert_eq!(reason(scripts.file("empty", "")), StartFailure::NotAProgram);
        let mut other = fs::read("/bin/true").unwrap();
        // The machine field of the ELF header: IBM S/390.
        other[18] = 22;
        assert_eq!(reason(scripts.file("other", other)), StartFailure::NotAProgram);
    }

    #[test]
    fn because_it_is_being_written_unless_that_ends_soon() {
        let scripts = Scripts::new();
        let program = scripts.file("program", fs::read("/bin/true").unwrap());
        let writer = fs::OpenOptions::new().append(true).open(&program).unwrap();
        assert_eq!(reason(&program), StartFailure::BeingWritten);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(20));
                drop(writer);
            });
            SystemRunner.run(&Command::new(&program, PATIENCE)).unwrap();
        });
    }

    #[test]
    fn because_an_argument_is_too_long() {
        let run = |length| SystemRunner.run(&Command::new("true", PATIENCE).argument("x".repeat(length)));
        assert!(run(131_071).is_ok());
        assert_eq!(run(131_072).unwrap_err().reason, StartFailure::ArgumentsTooLong);
    }

    #[test]
    fn because_of_a_nul_byte() {
        let error = SystemRunner.run(&Command::new("true", PATIENCE).secret_argument("a\0b")).unwrap_err();
        assert_eq!(error.reason, StartFailure::NulByte);
    }

    #[test]
    fn because_its_directory_is_missing() {
        let error = SystemRunner.run(&Command::new("true", PATIENCE).directory("/no/such")).unwrap_err();
        assert_eq!(error.reason, StartFailure::WorkingDirectory("/no/such".into()));
    }

    #[test]
    fn for_any_other_reason_by_its_number() {
        let name = "x".repeat(300);
        assert_eq!(reason(Path::new("/tmp").join(name)), StartFailure::Errno(36));
    }
}

#[test]
fn a_program_that_is_left_alone_at_its_deadline_finishes_its_work() {
    let directory = tempfile::tempdir().unwrap();
    let done = directory.path().join("done");
    let script = format!(
        "trap '' HUP; echo begun; sleep 3; echo more; echo more >&2; echo done >{0}.new && mv {0}.new {0}",
        done.display()
    );
    let command = Command::new("sh", SHORT).arguments(["-c", &script]).at_deadline(AtDeadline::Leave);
    let output = SystemRunner.run(&command).unwrap();
    assert_eq!(output.ended, Ended::TimedOut);
    assert_eq!(output.combined.bytes, b"begun\n");
    let begun = Instant::now();
    while !done.exists() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it did not finish");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_program_that_may_be_left_alone_is_read_to_its_end_when_it_is_in_time() {
    let command = Command::new("sh", Duration::from_secs(20))
        .arguments(["-c", "echo out; echo err >&2; exit 5"])
        .limit(6)
        .at_deadline(AtDeadline::Leave);
    let output = SystemRunner.run(&command).unwrap();
    assert_eq!(output.ended, Ended::Exited(5));
    assert_eq!((output.combined.bytes.as_slice(), output.combined.omitted), (&b"out\ner"[..], 2));
    assert_eq!(output.stdout.bytes, b"");
}
