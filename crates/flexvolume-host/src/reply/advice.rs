//! What a driver's author should change.

use flexvolume::Verb;
use flexvolume_os::runner::{Ended, StartFailure};

use super::tolerant::Understanding;
use super::{Advice, Asked, Cause, Rule, Run, strict, tolerant};

/// One piece of advice for each problem, the worst first.
pub(super) fn all(
    asked: Asked<'_>,
    run: &Run,
    strict: &strict::Outcome,
    understanding: &Understanding,
) -> Vec<Advice> {
    let mut advice: Vec<Advice> = Vec::new();
    if let tolerant::Outcome::Failed(failure) = &understanding.outcome {
        advice.extend(for_cause(asked, &failure.cause));
    }
    let null = matches!(strict, strict::Outcome::Success(fields) if fields.capabilities.is_none());
    if null && asked == Asked::Call(Verb::Init) {
        advice.push(new(
            "capabilities is null, and the Kubernetes process that reads it crashes",
            "Print an object, or leave the key out",
        ));
    }
    advice.extend(understanding.rules.iter().filter_map(|rule| for_rule(*rule)));
    advice.extend(run.as_ref().ok().and_then(|output| for_end(output.ended, understanding)));
    advice
}

fn for_end(ended: Ended, understanding: &Understanding) -> Option<Advice> {
    match ended {
        Ended::Signaled(_) => {
            Some(new("the driver was ended by a signal", "Look for a crash, or for a lack of memory"))
        }
        Ended::Exited(code) if code != 0 && understanding.replied => Some(new(
            "there is a reply and an exit status that is not 0; Kubernetes then takes a Success for an error, and logs \
             all arguments of the call, secrets too",
            "Exit 0 whenever a reply is printed, Failure too",
        )),
        Ended::Exited(_) | Ended::TimedOut => None,
    }
}

fn new(problem: &str, remedy: &str) -> Advice {
    Advice { problem: problem.to_owned(), remedy: remedy.to_owned() }
}

fn for_cause(asked: Asked<'_>, cause: &Cause) -> Option<Advice> {
    let problem = cause.to_string();
    let remedy = match cause {
        Cause::Said(_) | Cause::Broken | Cause::Unconfirmed(_) | Cause::Stopped => return None,
        Cause::Contradiction => "Print one reply, with one status".to_owned(),
        Cause::TwoValues(field) => format!("Print one reply, with one {field}"),
        Cause::WrongType(field, _) => format!("Print {}", right_type(*field)),
        Cause::RepairedDevice => "Print JSON: true, false and null are written small".to_owned(),
        Cause::CutOff | Cause::Tangled => {
            "Write logs to a file, and nothing but the reply to the streams".to_owned()
        }
        Cause::NoReply(_) => no_reply(asked),
        Cause::NotStarted(error) => not_started(&error.reason).to_owned(),
    };
    Some(Advice { problem, remedy })
}

fn right_type(field: super::Field) -> &'static str {
    use super::Field;
    match field {
        Field::Device => "device as a string",
        Field::VolumeName => "volumeName as a string",
        Field::Attached => "attached as true or false, without quotes",
        Field::Capabilities => "capabilities as an object of true and false, without quotes",
    }
}

fn no_reply(asked: Asked<'_>) -> String {
    match asked {
        Asked::Nonsense(_) => {
            r#"Answer {"status":"Not supported"} to every verb that the driver does not know"#.into()
        }
        Asked::Call(_) | Asked::Extension(_) => format!(
            r#"Print one JSON object with a string status to standard output on every path; if the driver has no {}, {{"status":"Not supported"}}"#,
            asked.name()
        ),
    }
}

fn not_started(reason: &StartFailure) -> &'static str {
    match reason {
        StartFailure::Missing => "Install the driver under the name of its directory, without the vendor",
        StartFailure::NotExecutable => {
            "Set the execute permission, and check that the file system is not mounted noexec"
        }
        StartFailure::MissingInterpreter(_) => {
            "Install the interpreter, or correct the #! line (line ends must not be CR LF)"
        }
        StartFailure::NotAProgram => "Begin a script with a #! line, or build the driver for this machine",
        _ => "Correct this; the driver itself was never asked",
    }
}

fn for_rule(rule: Rule) -> Option<Advice> {
    REMEDIES.iter().find(|(needed, ..)| *needed == rule).map(|(_, problem, remedy)| new(problem, remedy))
}

/// Problem and remedy where a rule was needed. There is none for a doubted Success, which has other rules' reasons, nor
/// for an exit that disagrees, because it depends on the exit which of the two is wrong.
const REMEDIES: [(Rule, &str, &str); 9] = [
    (
        Rule::TextAroundReply,
        "there is text beside the reply; Kubernetes reads both streams as one and rejects it",
        "Send everything but the reply to a log file, the output of every command too: cmd >>\"$LOG\" 2>&1",
    ),
    (
        Rule::ReplyOnStderr,
        "the reply is on standard error",
        "Print it to standard output; any warning beside it breaks it",
    ),
    (
        Rule::SeveralReplies,
        "there is more than one status; Kubernetes rejects a second reply",
        "Print one reply and exit at once",
    ),
    (
        Rule::UnknownVerb,
        "a call-out that the driver does not have is not answered as documented",
        r#"Print {"status":"Not supported"}, in this spelling, for every unknown verb"#,
    ),
    (
        Rule::StatusWord,
        "the status is not one of the three words, or the message is not in message",
        "Print exactly Success, Failure or Not supported, and the reason in message",
    ),
    (
        Rule::CapabilitiesMissing,
        "init does not say whether the driver attaches; Kubernetes takes it for granted and waits for an attach",
        r#"Print "capabilities":{"attach":false} if the driver only mounts, true if it attaches"#,
    ),
    (
        Rule::Deadline,
        "the call had to be stopped at its deadline",
        "Give every command that can hang a limit of its own",
    ),
    (
        Rule::KeysAndTypes,
        "keys or types are not as documented",
        "Print keys in the documented case, booleans without quotes, and leave out what is null",
    ),
    (
        Rule::BrokenJson,
        "the reply is not JSON",
        "Build it with a JSON library or jq -n --arg message \"$text\", which escapes quotes and line ends; write true, false, null",
    ),
];

#[cfg(test)]
mod tests {
    use super::super::explain;
    use super::*;

    fn problems(asked: Verb, ended: Ended, stdout: &str) -> Vec<String> {
        let run = Ok(flexvolume_os::runner::Output {
            ended,
            core: Default::default(),
            stdout: flexvolume_os::runner::Captured { bytes: stdout.into(), omitted: 0 },
            stderr: Default::default(),
            combined: Default::default(),
            duration: Default::default(),
            pipes: Default::default(),
        });
        explain(Asked::Call(asked), &run, None).advice.into_iter().map(|advice| advice.problem).collect()
    }

    #[test]
    fn an_answer_as_documented_gets_no_advice() {
        let failure = r#"{"status":"Failure","message":"m"}"#;
        assert_eq!(problems(Verb::Mount, Ended::Exited(0), r#"{"status":"Success"}"#), [""; 0]);
        assert_eq!(problems(Verb::Mount, Ended::Exited(0), failure), [""; 0]);
    }

    #[test]
    fn the_crash_of_kubernetes_comes_first() {
        let found = problems(Verb::Init, Ended::Exited(0), r#"{"status":"Success","capabilities":null}"#);
        assert!(found[0].contains("crashes"), "{found:?}");
    }

    #[test]
    fn a_bad_exit_is_named_once() {
        let found = problems(Verb::Mount, Ended::Exited(1), r#"{"status":"Failure","message":"m"}"#);
        assert!(found.len() == 1 && found[0].contains("secrets"), "{found:?}");
    }
}
