//! What must hold for both readers whatever a driver prints.

use std::time::{Duration, Instant};

use flexvolume_host::contract::Verb;
use flexvolume_host::os::runner::{Captured, Ended, Output, Pipes};
use flexvolume_host::reply::tolerant::{NONSENSE, Probe};
use flexvolume_host::reply::{Asked, Run, explain, strict, tolerant};
use proptest::prelude::*;

fn captured(bytes: &[u8]) -> Captured {
    Captured { bytes: bytes.to_vec(), omitted: 0 }
}

fn run(ended: Ended, stdout: &[u8], stderr: &[u8]) -> Run {
    Ok(Output {
        ended,
        core: Default::default(),
        stdout: captured(stdout),
        stderr: captured(stderr),
        combined: captured(&[stdout, stderr].concat()),
        duration: Duration::ZERO,
        pipes: Pipes::Closed,
    })
}

/// Something that a driver may print: pieces of replies, in any order, and any bytes.
fn printed() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(PIECES.to_vec()).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..8),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

const PIECES: [&str; 34] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "'",
    "\\",
    "\n",
    "\n{",
    " ",
    "\"status\"",
    "\"status\":\"Success\"",
    "\"Status\":\"Not supported\"",
    "'status': 'Failure'",
    "{\"status\":\"Success\"}",
    "{\"status\":\"Not supported\"}",
    "{\"status\":\"Failure\",\"message\":\"m\"}",
    "\"device\":\"/dev/a\"",
    "\"attached\":true",
    "\"attached\":\"False\"",
    "\"capabilities\":{\"attach\":false}",
    "\"capabilities\":null",
    "\"volumeNewSize\":1e3",
    "\"kubernetes.io/x\":\"\"",
    "\"kubernetes.io/secret/password\":\"hunter2\"",
    "True",
    "None",
    "null",
    "1.5",
    "\"\\ud83d\"",
    "\u{1b}[31m",
    "{\"level\":\"info\"}",
];

/// One well-formed object of fields that a reply may have, some more than once.
fn object() -> impl Strategy<Value = Vec<u8>> {
    let member = prop::sample::select(MEMBERS.to_vec());
    prop::collection::vec(member, 0..6).prop_map(|members| format!("{{{}}}", members.join(",")).into_bytes())
}

const MEMBERS: [&str; 19] = [
    "\"status\":\"Success\"",
    "\"status\":\"Success\"",
    "\"STATUS\":\"Success\"",
    "\"status\":\"Not supported\"",
    "\"status\":\"Failure\"",
    "\"status\":null",
    "\"message\":\"m\"",
    "\"message\":null",
    "\"device\":\"/dev/a\"",
    "\"device\":\"/dev/b\"",
    "\"volumeName\":\"v\"",
    "\"attached\":true",
    "\"attached\":false",
    "\"capabilities\":{}",
    "\"capabilities\":null",
    "\"capabilities\":{\"attach\":false,\"attach\":true}",
    "\"volumeNewSize\":7",
    "\"kubernetes.io/x\":\"\"",
    "\"other\":[{\"status\":\"Failure\"}]",
];

fn verb() -> impl Strategy<Value = Verb> {
    prop::sample::select(Verb::ALL.to_vec())
}

fn ended() -> impl Strategy<Value = Ended> {
    prop_oneof![
        4 => Just(Ended::Exited(0)),
        2 => (1..256).prop_map(Ended::Exited),
        1 => (1..65).prop_map(Ended::Signaled),
        1 => Just(Ended::TimedOut),
    ]
}

fn is_failure(outcome: &tolerant::Outcome) -> bool {
    matches!(outcome, tolerant::Outcome::Failed(_))
}

/// The exceptions to what Kubernetes accepts: two statuses in one object, and an echo of the options.
fn is_excepted(printed: &[u8]) -> bool {
    let text = String::from_utf8_lossy(printed).to_lowercase();
    let statuses = ["\"success\"", "\"not supported\"", "\"failure\""];
    text.contains("kubernetes.io/") || statuses.iter().filter(|status| text.contains(**status)).count() > 1
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_is_printed_makes_a_reader_panic(verb in verb(), ended in ended(), out in printed(), err in printed()) {
        let probe = run(Ended::Exited(1), &err, &out);
        let probe = Probe { verb: NONSENSE, run: &probe };
        let run = run(ended, &out, &err);
        let explanation = explain(Asked::Call(verb), &run, Some(probe));
        let commands_terminal = explanation.to_string().contains('\u{1b}');
        prop_assert!(!commands_terminal);
        let _ = explain(Asked::Nonsense(NONSENSE), &run, None);
    }

    #[test]
    fn what_kubernetes_accepts_is_accepted(verb in verb(), out in prop_oneof![object(), printed()]) {
        let run = run(Ended::Exited(0), &out, b"");
        let tolerant = tolerant::read(Asked::Call(verb), &run, None).outcome;
        match strict::read(Asked::Call(verb), &run) {
            _ if is_excepted(&out) => {}
            strict::Outcome::Success(_) => prop_assert!(matches!(tolerant, tolerant::Outcome::Success(_)), "{tolerant:?}"),
            strict::Outcome::NotSupported => prop_assert_eq!(tolerant, tolerant::Outcome::NotSupported),
            _ => {}
        }
    }

    #[test]
    fn a_failure_on_the_last_line_is_never_lost(verb in verb(), ended in ended(), out in printed(), err in printed()) {
        let failure = b"\n{\"status\":\"Failure\",\"message\":\"the last line\"}";
        let on_stdout = run(ended, &[&out, failure.as_slice()].concat(), &err);
        let on_stderr = run(ended, &out, &[&err, failure.as_slice()].concat());
        for run in [on_stdout, on_stderr] {
            let understanding = tolerant::read(Asked::Call(verb), &run, None);
            prop_assert!(is_failure(&understanding.outcome), "{understanding:?}");
        }
    }

    #[test]
    fn success_needs_the_word(verb in verb(), ended in ended(), out in printed(), err in printed()) {
        let understanding = tolerant::read(Asked::Call(verb), &run(ended, &out, &err), None);
        let says_success = [&out, &err].iter().any(|text| String::from_utf8_lossy(text).contains("Success"));
        let succeeds = matches!(understanding.outcome, tolerant::Outcome::Success(_) | tolerant::Outcome::Claimed(_));
        prop_assert!(says_success || !succeeds, "{understanding:?}");
    }

    #[test]
    fn text_beside_it_never_improves_an_outcome(verb in verb(), out in printed(), text in "[a-z ]{1,20}") {
        let quiet = tolerant::read(Asked::Call(verb), &run(Ended::Exited(0), &out, b""), None);
        let noisy = tolerant::read(Asked::Call(verb), &run(Ended::Exited(0), &out, text.as_bytes()), None);
        prop_assert!(!is_failure(&quiet.outcome) || is_failure(&noisy.outcome), "{quiet:?} {noisy:?}");
    }

    #[test]
    fn what_both_streams_share_is_never_looked_at_by_the_tolerant_reader(verb in verb(), out in printed(), other in printed()) {
        let known = run(Ended::Exited(0), &out, b"");
        let mut changed = known.clone();
        if let Ok(output) = &mut changed {
            output.combined.bytes = other;
        }
        let read = |run| tolerant::read(Asked::Call(verb), run, None);
        prop_assert_eq!(read(&known), read(&changed));
    }

    #[test]
    fn secrets_that_are_echoed_are_not_shown(verb in verb(), out in printed(), before in printed()) {
        let echo = b"\n{\"kubernetes.io/fsType\":\"\",\"kubernetes.io/secret/key\":\"aHVudGVyMg\"}\n";
        let out = [&before, echo.as_slice(), &out].concat();
        let understanding = tolerant::read(Asked::Call(verb), &run(Ended::Exited(1), &out, b""), None);
        prop_assert!(!understanding.noise.contains("aHVudGVyMg"), "{}", understanding.noise);
        if let tolerant::Outcome::Failed(failure) = &understanding.outcome {
            prop_assert!(!failure.to_string().contains("aHVudGVyMg"), "{failure}");
        }
    }
}

/// Inputs that make careless readers slow or overflow their stack. The bound is far above what linear time needs, and
/// far below what quadratic time needs.
#[test]
fn hostile_output_is_read_in_time() {
    let size = 1 << 20;
    let units = [
        "{",
        "[",
        "{\"a\":",
        "{\"a\":[",
        "{\"a\":\n",
        "{\"a\":[\n{\"b\":0},",
        "{'",
        "{ ",
        "\"",
        "\\",
        "\n{",
        "{\"status\":\"",
        "'status':\"",
        "{\"status\":\"Failure\"",
        "\"kubernetes.io/",
        "{\"status\":\"Success\"}",
        "{\"a\":True,",
        "\u{1b}",
        "\"\\\"s",
        "{\"\\u0073tatus\" \n:\n",
    ];
    for unit in units {
        let printed = unit.repeat(size / unit.len());
        let start = Instant::now();
        let _ = explain(
            Asked::Call(Verb::Mount),
            &run(Ended::Exited(0), printed.as_bytes(), printed.as_bytes()),
            None,
        );
        assert!(start.elapsed() < Duration::from_secs(20), "{unit:?} took {:?}", start.elapsed());
    }
}
