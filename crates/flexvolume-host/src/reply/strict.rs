//! The reading of Kubernetes v1.37 (`pkg/volume/flexvolume/driver-call.go`).

use std::borrow::Cow;

use flexvolume::Verb;
use flexvolume_os::runner::{Core, Ended, Output};

use super::go_json::{self, DriverStatus};
use super::{Asked, Fields, Run};

/// What Kubernetes makes of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// One document, `Success`, exit 0.
    Success(Fields),
    /// `Not supported`, whatever the exit code.
    NotSupported,
    /// Another status: `<call> command failed, status: …, reason: …`.
    Failed(String),
    /// Not one JSON document of the right types: the text of Go's JSON package.
    Unreadable(String),
    /// `Success` with a bad exit: `exit status 1`, `signal: killed` …
    ExecError(String),
    /// Stopped at the deadline, whatever was printed.
    TimedOut,
}

/// Reads a run.
///
/// A program that could not be started has printed nothing, and this is what Kubernetes complains about.
#[must_use]
pub fn read(asked: Asked<'_>, run: &Run) -> Outcome {
    let Ok(output) = run else { return reply(asked, b"") };
    if output.ended == Ended::TimedOut {
        return Outcome::TimedOut;
    }
    match (reply(asked, &shared_pipe(output)), exit_text(output)) {
        (Outcome::Success(_), Some(error)) => Outcome::ExecError(error),
        (outcome, _) => outcome,
    }
}

/// Reads what a driver printed, the exit apart (Kubernetes' `handleCmdResponse`).
#[must_use]
pub fn reply(asked: Asked<'_>, printed: &[u8]) -> Outcome {
    match go_json::decode(printed) {
        Err(error) => Outcome::Unreadable(error.to_string()),
        Ok(status) if status.status == "Success" => Outcome::Success(fields(asked, status)),
        Ok(status) if status.status == "Not supported" => Outcome::NotSupported,
        Ok(status) => Outcome::Failed(format!(
            "{} command failed, status: {}, reason: {}",
            asked.name(),
            status.status,
            status.message
        )),
    }
}

fn fields(asked: Asked<'_>, status: DriverStatus) -> Fields {
    Fields {
        message: status.message,
        device: status.device,
        volume_name: status.volume_name,
        attached: status.attached,
        new_size: status.new_size,
        capabilities: status.capabilities.filter(|_| asked == Asked::Call(Verb::Init)),
    }
}

/// The one pipe that Kubernetes gives a driver for both streams. Where the runner kept them apart and only one carries
/// anything, the order does not matter.
fn shared_pipe(output: &Output) -> Cow<'_, [u8]> {
    let (combined, out, err) = (&output.combined.bytes, &output.stdout.bytes, &output.stderr.bytes);
    match (combined.is_empty(), out.is_empty(), err.is_empty()) {
        (false, _, _) => Cow::Borrowed(combined),
        (true, _, true) => Cow::Borrowed(out),
        (true, true, false) => Cow::Borrowed(err),
        (true, false, false) => Cow::Owned([out.as_slice(), err].concat()),
    }
}

/// Go's text for a bad exit (`os.ProcessState`).
pub(crate) fn exit_text(output: &Output) -> Option<String> {
    match (output.ended, output.core) {
        (Ended::Exited(0), _) => None,
        (Ended::Exited(code), _) => Some(format!("exit status {code}")),
        (Ended::Signaled(signal), Core::None) => Some(format!("signal: {}", signal_name(signal))),
        (Ended::Signaled(signal), Core::Dumped) => {
            Some(format!("signal: {} (core dumped)", signal_name(signal)))
        }
        (Ended::TimedOut, _) => Some("timeout".to_owned()),
    }
}

/// Go's names of signals on Linux (`syscall.Signal`).
fn signal_name(signal: i32) -> Cow<'static, str> {
    let name = match signal {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        4 => "illegal instruction",
        5 => "trace/breakpoint trap",
        6 => "aborted",
        7 => "bus error",
        8 => "floating point exception",
        9 => "killed",
        10 => "user defined signal 1",
        11 => "segmentation fault",
        12 => "user defined signal 2",
        13 => "broken pipe",
        14 => "alarm clock",
        15 => "terminated",
        other => return Cow::Owned(format!("signal {other}")),
    };
    Cow::Borrowed(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unreadable(printed: &[u8]) -> String {
        match reply(Asked::Call(Verb::Mount), printed) {
            Outcome::Unreadable(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn syntax_errors_have_the_text_of_go() {
        let cases: [(&[u8], &str); 16] = [
            (b"", "unexpected end of JSON input"),
            (b"-", "invalid character ' ' in numeric literal"),
            (b"tru", "invalid character ' ' in literal true (expecting 'e')"),
            (b"nil", "invalid character 'i' in literal null (expecting 'u')"),
            (b"1.", "invalid character ' ' after decimal point in numeric literal"),
            (b"1e+x", "invalid character 'x' in exponent of numeric literal"),
            (b"01", "invalid character '1' after top-level value"),
            (b"\"\\", "invalid character ' ' in string escape code"),
            (b"\"\\u00g", "invalid character 'g' in \\u hexadecimal character escape"),
            (b"\"a", "unexpected end of JSON input"),
            (b"{\"a\"}", "invalid character '}' after object key"),
            (b"{,}", "invalid character ',' looking for beginning of object key string"),
            (b"[1 2]", "invalid character '2' after array element"),
            (b"\x0b", "invalid character '\\v' looking for beginning of value"),
            (b"\xa0", "invalid character '\\u00a0' looking for beginning of value"),
            (b"\\", "invalid character '\\\\' looking for beginning of value"),
        ];
        for (printed, text) in cases {
            assert_eq!(unreadable(printed), text, "{printed:?}");
        }
    }

    #[test]
    fn the_exit_matters_for_success_only() {
        let run_with = |ended, core, printed: &str| {
            let mut output = Output {
                ended,
                core,
                stdout: Default::default(),
                stderr: Default::default(),
                combined: Default::default(),
                duration: std::time::Duration::ZERO,
                pipes: Default::default(),
            };
            output.stderr.bytes = printed.into();
            read(Asked::Call(Verb::Mount), &Ok(output))
        };
        let run = |ended, printed| run_with(ended, Core::None, printed);
        let success = r#"{"status":"Success"}"#;
        assert_eq!(run(Ended::Exited(0), success), Outcome::Success(Fields::default()));
        assert_eq!(run(Ended::Exited(1), success), Outcome::ExecError("exit status 1".into()));
        assert_eq!(run(Ended::Signaled(9), success), Outcome::ExecError("signal: killed".into()));
        assert_eq!(run(Ended::Signaled(34), success), Outcome::ExecError("signal: signal 34".into()));
        let dumped = run_with(Ended::Signaled(6), Core::Dumped, success);
        assert_eq!(dumped, Outcome::ExecError("signal: aborted (core dumped)".into()));
        assert_eq!(run(Ended::TimedOut, success), Outcome::TimedOut);
        assert_eq!(run(Ended::Exited(3), r#"{"status":"Not supported"}"#), Outcome::NotSupported);
        assert_eq!(
            run(Ended::Exited(3), r#"{"status":"x","message":"y"}"#),
            Outcome::Failed("mount command failed, status: x, reason: y".into())
        );
    }
}
