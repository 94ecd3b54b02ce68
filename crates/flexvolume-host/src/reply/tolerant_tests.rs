//! One test for each rule about reading; the corpus has the many cases.

use std::path::PathBuf;
use std::time::Duration;

use flexvolume::Capabilities;
use flexvolume_os::runner::{Captured, Pipes, StartError, StartFailure};

use super::*;

const SUCCESS: &str = r#"{"status":"Success"}"#;
const FAILURE: &str = r#"{"status":"Failure","message":"m"}"#;
const NOT_SUPPORTED: &str = r#"{"status":"Not supported"}"#;

fn captured(text: &str) -> Captured {
    Captured { bytes: text.into(), omitted: 0 }
}

fn output(ended: Ended, stdout: &str, stderr: &str) -> Output {
    Output {
        ended,
        core: Default::default(),
        stdout: captured(stdout),
        stderr: captured(stderr),
        combined: captured("never looked at"),
        duration: Duration::ZERO,
        pipes: Pipes::Closed,
    }
}

fn run(ended: Ended, stdout: &str, stderr: &str) -> Run {
    Ok(output(ended, stdout, stderr))
}

fn understand(verb: Verb, exit: i32, stdout: &str, stderr: &str) -> Understanding {
    read(Asked::Call(verb), &run(Ended::Exited(exit), stdout, stderr), None)
}

/// The outcome as a word, and the rules by number.
fn short(understanding: &Understanding) -> (&'static str, Vec<u8>) {
    let word = match understanding.outcome {
        Outcome::Success(_) => "success",
        Outcome::Claimed(_) => "claimed",
        Outcome::NotSupported => "not supported",
        Outcome::Failed(_) => "failed",
    };
    (word, understanding.rules.iter().map(|rule| rule.number()).collect())
}

fn message(understanding: &Understanding) -> &str {
    match &understanding.outcome {
        Outcome::Failed(failure) => &failure.message,
        other => panic!("{other:?}"),
    }
}

fn fields(understanding: Understanding) -> Fields {
    match understanding.outcome {
        Outcome::Success(fields) | Outcome::Claimed(fields) => fields,
        other => panic!("{other:?}"),
    }
}

#[test]
fn rule_1_and_9_success_beside_text_is_a_claim_where_a_directory_can_be_looked_at() {
    let noisy = format!("mounting\n{SUCCESS}\n");
    assert_eq!(short(&understand(Verb::Mount, 0, &noisy, "")), ("claimed", vec![1, 9]));
    assert_eq!(short(&understand(Verb::Attach, 0, SUCCESS, "warning")), ("success", vec![1]));
    assert_eq!(short(&understand(Verb::Unmount, 0, SUCCESS, " \n")), ("success", vec![]));
    assert_eq!(understand(Verb::Mount, 0, &noisy, "").noise, "mounting\n");
}

#[test]
fn rule_1_an_echo_of_the_options_is_no_reply() {
    let echo = r#"{"kubernetes.io/fsType":"","status":"Success"}"#;
    let understanding = understand(Verb::Mount, 0, echo, "");
    assert_eq!(short(&understanding), ("failed", vec![]));
    assert!(!understanding.replied);
}

#[test]
fn rule_2_a_failure_on_standard_error_counts_beside_a_clean_success() {
    let understanding = understand(Verb::Unmount, 0, SUCCESS, FAILURE);
    assert_eq!(short(&understanding), ("failed", vec![2, 3, 5]));
    assert_eq!(message(&understanding), "m");
}

#[test]
fn rule_3_the_worst_of_several_counts_and_contradictions_fail() {
    let both = format!("{SUCCESS}{NOT_SUPPORTED}");
    assert_eq!(short(&understand(Verb::GetVolumeName, 0, &both, "")), ("failed", vec![3]));
    let devices = r#"{"status":"Success","device":"/dev/a"}{"status":"Success","device":"/dev/b"}"#;
    assert_eq!(short(&understand(Verb::Attach, 0, devices, "")), ("failed", vec![3]));
    assert_eq!(short(&understand(Verb::Mount, 0, devices, "")), ("success", vec![3]));
    let twice = r#"{"status":"Failure","status":"Success"}"#;
    assert_eq!(short(&understand(Verb::Mount, 0, twice, "")), ("failed", vec![3, 5]));
}

#[test]
fn rule_4_the_answer_to_nonsense_is_not_supported_but_never_for_mount() {
    let probe = run(Ended::Exited(2), "", "what is bogus?");
    let probe = Some(Probe { verb: "bogus", run: &probe });
    let ask = |verb: Verb, text: &str| {
        let run = run(Ended::Exited(2), "", text);
        short(&read(Asked::Call(verb), &run, probe)).0
    };
    assert_eq!(ask(Verb::MountDevice, "what is mountdevice?"), "not supported");
    assert_eq!(ask(Verb::MountDevice, "what is that?"), "failed");
    assert_eq!(ask(Verb::Mount, "what is mount?"), "failed");
    assert_eq!(ask(Verb::IsAttached, "crash"), "not supported");
    assert_eq!(short(&understand(Verb::Attach, 0, "", "")).0, "failed");
}

#[test]
fn rule_5_success_with_a_bad_exit_is_a_claim_or_a_failure() {
    assert_eq!(short(&understand(Verb::MountDevice, 1, SUCCESS, "")), ("claimed", vec![5, 9]));
    assert_eq!(short(&understand(Verb::Detach, 1, SUCCESS, "")), ("failed", vec![5]));
    assert_eq!(short(&understand(Verb::Detach, 1, NOT_SUPPORTED, "")), ("not supported", vec![5]));
}

#[test]
fn rule_6_every_other_word_is_a_failure_and_reason_stands_in_for_the_message() {
    let word = |word: &str| format!(r#"{{"status":"{word}","reason":"r"}}"#);
    for other in ["success", "OK", "", "Not supported.", "Failed"] {
        let understanding = understand(Verb::Mount, 1, &word(other), "");
        assert_eq!(short(&understanding), ("failed", vec![6]), "{other}");
        assert_eq!(message(&understanding), "r");
    }
    assert_eq!(short(&understand(Verb::Mount, 0, &word("NOT supported"), "")), ("not supported", vec![4, 6]));
}

#[test]
fn rule_7_capabilities_have_defaults() {
    let bare = understand(Verb::Init, 0, SUCCESS, "");
    assert_eq!(short(&bare), ("success", vec![7]));
    assert_eq!(fields(bare).capabilities, Some(Capabilities::default()));
    let some = r#"{"status":"Success","capabilities":{"attach":"FALSE","fsGroup":null}}"#;
    let attach = Some(Capabilities { attach: false, ..Capabilities::default() });
    assert_eq!(fields(understand(Verb::Init, 0, some, "")).capabilities, attach);
}

#[test]
fn rule_11_a_stopped_call_is_never_unsupported() {
    let stopped = |verb, stdout| short(&read(Asked::Call(verb), &run(Ended::TimedOut, stdout, ""), None));
    assert_eq!(stopped(Verb::Mount, SUCCESS), ("claimed", vec![5, 9, 11]));
    assert_eq!(stopped(Verb::Attach, SUCCESS), ("failed", vec![5, 11]));
    assert_eq!(stopped(Verb::MountDevice, NOT_SUPPORTED), ("failed", vec![11]));
    assert_eq!(stopped(Verb::IsAttached, ""), ("failed", vec![11]));
}

#[test]
fn rule_12_a_wrong_type_matters_only_where_the_field_is_used() {
    let odd = r#"{"STATUS":"Success","device":7,"attached":"True"}"#;
    assert_eq!(short(&understand(Verb::Attach, 0, odd, "")), ("failed", vec![12]));
    assert_eq!(short(&understand(Verb::Mount, 0, odd, "")), ("success", vec![12]));
    assert!(fields(understand(Verb::IsAttached, 0, odd, "")).attached);
}

#[test]
fn rule_13_success_is_never_taken_from_a_broken_reply() {
    let cut = r#"{"status":"Success","device":"/dev/s"#;
    assert_eq!(short(&understand(Verb::Attach, 0, cut, "")), ("failed", vec![13]));
    let beside = format!("{cut}\n{SUCCESS}");
    assert_eq!(short(&understand(Verb::Mount, 0, &beside, "")), ("claimed", vec![1, 3, 9, 13]));
    let python = r#"{"status":"Success","attached":True}"#;
    assert_eq!(short(&understand(Verb::IsAttached, 0, python, "")), ("success", vec![13]));
    assert_eq!(short(&understand(Verb::Unmount, 0, python, "")), ("claimed", vec![9, 13]));
    let device = r#"{"status":"Success","device":"/dev/a","attached":True}"#;
    assert_eq!(short(&understand(Verb::Attach, 0, device, "")), ("failed", vec![13]));
}

#[test]
fn what_was_not_kept_may_hold_a_failure() {
    let cut_off = |verb, stdout: &str| {
        let mut output = output(Ended::Exited(0), stdout, "");
        output.stderr.omitted = 1;
        short(&read(Asked::Call(verb), &Ok(output), None)).0
    };
    assert_eq!(cut_off(Verb::Mount, SUCCESS), "claimed");
    assert_eq!(cut_off(Verb::Detach, SUCCESS), "failed");
    assert_eq!(cut_off(Verb::Attach, NOT_SUPPORTED), "failed");
    assert_eq!(cut_off(Verb::Attach, FAILURE), "failed");
}

#[test]
fn a_program_that_did_not_start_says_nothing_about_what_it_supports() {
    let error = StartError { program: PathBuf::from("/x"), reason: StartFailure::NotExecutable };
    let understanding = read(Asked::Call(Verb::IsAttached), &Err(error), None);
    assert_eq!(short(&understanding), ("failed", vec![]));
    assert!(message(&understanding).starts_with("cannot start /x: it is not executable"));
}

#[test]
fn a_failure_is_shown_in_one_harmless_line() {
    let printed = "{\"status\":\"Failure\",\"message\":\"a\\n\\u001b[31mb\\u0007\"}";
    let understanding = understand(Verb::Mount, 1, printed, "");
    let Outcome::Failed(failure) = &understanding.outcome else { panic!("{understanding:?}") };
    assert_eq!(failure.to_string(), "a b\\u{7}");
    assert_eq!(failure.message, "a\n\u{1b}[31mb\u{7}");
    let silent = understand(Verb::Mount, 1, r#"{"status":"Error"}"#, "");
    let Outcome::Failed(failure) = &silent.outcome else { panic!("{silent:?}") };
    assert_eq!(failure.to_string(), "the driver answered \"Error\" and gave no reason");
}
