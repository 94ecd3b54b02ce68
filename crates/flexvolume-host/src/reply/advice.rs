//! What a driver's author should change.

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
    advice.extend(understanding.rules.iter().filter_map(|rule| for_rule(*rule)));
    let null = matches!(strict, strict::Outcome::Success(fields) if fields.capabilities.is_none());
    if null && asked == Asked::Call(flexvolume::Verb::Init) {
        advice.push(new(
            "capabilities is null, and the Kubernetes process that reads it crashes",
            "Print an object, or leave the key out",
        ));
    }
    if let Ok(output) = run
        && matches!(output.ended, Ended::Signaled(_))
    {
        advice.push(new("the driver was ended by a signal", "Look for a crash, or for a lack of memory"));
    }
    advice.dedup();
    advice
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
        Asked::Call(verb) => format!(
            r#"Print one JSON object with a string status to standard output on every path; for a call-out that the driver does not have ({} here?) {{"status":"Not supported"}}"#,
            verb.as_str()
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
    let (problem, remedy) = match rule {
        Rule::TextAroundReply => (
            "there is text beside the reply; Kubernetes reads both streams as one and rejects it",
            "Send everything but the reply to a log file, the output of every command too: cmd >>\"$LOG\" 2>&1",
        ),
        Rule::ReplyOnStderr => {
            ("the reply is on standard error", "Print it to standard output; any warning beside it breaks it")
        }
        Rule::SeveralReplies => (
            "there is more than one status; Kubernetes rejects a second reply",
            "Print one reply and exit at once",
        ),
        Rule::UnknownVerb => (
            "a call-out that the driver does not have is not answered as documented",
            r#"Print {"status":"Not supported"}, in this spelling, for every unknown verb"#,
        ),
        Rule::ExitDisagrees => (
            "exit status and status disagree",
            "Exit 0 after Success and Not supported; after Failure any other status is clearer",
        ),
        Rule::StatusWord => (
            "the status is not one of the three words, or the message is not in message",
            "Print exactly Success, Failure or Not supported, and the reason in message",
        ),
        Rule::CapabilitiesMissing => (
            "init does not say whether the driver attaches; Kubernetes takes it for granted and waits for an attach",
            r#"Print "capabilities":{"attach":false} if the driver only mounts, true if it attaches"#,
        ),
        Rule::SuccessDoubted => return None,
        Rule::Deadline => (
            "the call had to be stopped at its deadline",
            "Give every command that can hang a limit of its own",
        ),
        Rule::KeysAndTypes => (
            "keys or types are not as documented",
            "Print keys in the documented case, booleans without quotes, and leave out what is null",
        ),
        Rule::BrokenJson => (
            "the reply is not JSON",
            "Build it with a JSON library or jq -n --arg message \"$text\", which escapes quotes and line ends; write true, false, null",
        ),
        _ => return None,
    };
    Some(new(problem, remedy))
}
