//! The tolerant reader: whatever is printed, no panic, no failure that becomes a success, no secret in what is shown.
//!
//! An input is the call-out (a letter from `a`), the end (`0` to `9`, `s`, `t`), standard output, 0xff, standard error.
#![no_main]

use flexvol_fuzz::{ended, halves, model, run, verb};
use flexvolume_host::contract::Verb;
use flexvolume_host::os::runner::Ended;
use flexvolume_host::reply::tolerant::{NONSENSE, Outcome, Probe};
use flexvolume_host::reply::{Asked, explain, strict, tolerant};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let [call, end, printed @ ..] = input else { return };
    let (verb, ended, (out, err)) = (verb(*call), ended(*end), halves(printed));
    explanation(verb, ended, out, err);
    what_kubernetes_accepts_is_accepted(verb, out);
    failure_is_never_lost(verb, ended, out, err);
    success_needs_the_word(verb, ended, out, err);
    noise_never_improves(verb, out, err);
    echoed_secrets_are_not_shown(verb, out, err);
});

fn explanation(verb: Verb, ended: Ended, out: &[u8], err: &[u8]) {
    let probe = run(Ended::Exited(1), err, out);
    let probe = Probe { verb: NONSENSE, run: &probe };
    let run = run(ended, out, err);
    let shown = explain(Asked::Call(verb), &run, Some(probe)).to_string();
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
    let _ = explain(Asked::Nonsense(NONSENSE), &run, None);
}

fn is_failure(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed(_))
}

fn what_kubernetes_accepts_is_accepted(verb: Verb, out: &[u8]) {
    let run = run(Ended::Exited(0), out, b"");
    let tolerant = tolerant::read(Asked::Call(verb), &run, None).outcome;
    match strict::read(Asked::Call(verb), &run) {
        strict::Outcome::Success(_) if !is_excepted(out) => {
            assert!(matches!(tolerant, Outcome::Success(_)), "{tolerant:?}");
        }
        strict::Outcome::NotSupported if !is_excepted(out) => assert_eq!(tolerant, Outcome::NotSupported),
        _ => {}
    }
}

/// The exceptions to what Kubernetes accepts: several statuses in one object, and an echo of the options.
fn is_excepted(printed: &[u8]) -> bool {
    let text = String::from_utf8_lossy(printed);
    // What only serde_json minds is not judged here.
    let Ok(members) = serde_json::from_str::<model::Members>(&text) else { return true };
    let statuses = members.0.iter().filter(|(key, value)| model::folds(key, "status") && !value.is_null());
    statuses.count() > 1 || members.0.iter().any(|(key, _)| key.starts_with("kubernetes.io/"))
}

fn failure_is_never_lost(verb: Verb, ended: Ended, out: &[u8], err: &[u8]) {
    let failure = b"\n{\"status\":\"Failure\",\"message\":\"the last line\"}";
    let on_stdout = run(ended, &[out, failure].concat(), err);
    let on_stderr = run(ended, out, &[err, failure].concat());
    for run in [on_stdout, on_stderr] {
        let understanding = tolerant::read(Asked::Call(verb), &run, None);
        assert!(is_failure(&understanding.outcome), "{understanding:?}");
    }
}

fn success_needs_the_word(verb: Verb, ended: Ended, out: &[u8], err: &[u8]) {
    let outcome = tolerant::read(Asked::Call(verb), &run(ended, out, err), None).outcome;
    // Any letter of the word may be written as an escape.
    let may_say = |text: &[u8]| text.contains(&b'\\') || String::from_utf8_lossy(text).contains("Success");
    let succeeds = matches!(outcome, Outcome::Success(_) | Outcome::Claimed(_));
    assert!(!succeeds || may_say(out) || may_say(err), "{outcome:?}");
}

fn noise_never_improves(verb: Verb, out: &[u8], err: &[u8]) {
    let word = err.iter().filter(|byte| byte.is_ascii_lowercase()).copied().collect::<Vec<_>>();
    let quiet = tolerant::read(Asked::Call(verb), &run(Ended::Exited(0), out, b""), None);
    let noisy = tolerant::read(Asked::Call(verb), &run(Ended::Exited(0), out, &word), None);
    assert!(!is_failure(&quiet.outcome) || is_failure(&noisy.outcome), "{quiet:?} {noisy:?}");
}

fn echoed_secrets_are_not_shown(verb: Verb, out: &[u8], err: &[u8]) {
    const SECRET: &str = "aHVudGVyMg";
    let echo = format!("\n{{\"kubernetes.io/fsType\":\"\",\"kubernetes.io/secret/key\":\"{SECRET}\"}}\n");
    let before =
        String::from_utf8_lossy(out).contains(SECRET) || String::from_utf8_lossy(err).contains(SECRET);
    let printed = [out, echo.as_bytes(), err].concat();
    let understanding = tolerant::read(Asked::Call(verb), &run(Ended::Exited(1), &printed, b""), None);
    let failure = match &understanding.outcome {
        Outcome::Failed(failure) => failure.to_string(),
        _ => String::new(),
    };
    assert!(before || !understanding.noise.contains(SECRET), "{}", understanding.noise);
    assert!(before || !failure.contains(SECRET), "{failure}");
}
