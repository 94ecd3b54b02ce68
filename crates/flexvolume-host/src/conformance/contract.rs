//! What a driver answers, apart from what it does.

use std::fs;

use flexvolume::{Call, Encoding, Verb};
use serde_json::Value;

use super::answer::{Answer, Meaning};
use super::stage::{Outcome, Stop, TEMPORARY, Trial, WORKING_DIRECTORY};
use super::volume::Volume;
use crate::Reading;
use crate::reply::tolerant::NONSENSE;
use crate::reply::{Asked, strict};

const CAPABILITIES: [&str; 5] =
    ["attach", "selinuxRelabel", "supportsMetrics", "fsGroup", "requiresFSResize"];

/// An option that no driver has, in a form that drivers which refuse unknown options mostly let pass.
const FOREIGN_OPTION: &str = "flexvol/conformance";

pub(super) fn init(trial: &mut Trial<'_>) -> Outcome {
    let answer = trial.call(&Call::Init);
    if let Meaning::Success(_) = answer.meaning(Reading::Tolerant, None) {
        return Ok(());
    }
    let happened = format!("{}, {}", answer.printed(), answer.ended());
    let fix = "answer {\"status\":\"Success\",\"capabilities\":{\"attach\":false}} or true";
    trial.found(["init", "Success", &happened, fix]);
    Err(Stop::Failed)
}

pub(super) fn init_strict(trial: &mut Trial<'_>) -> Outcome {
    trial.reading = Reading::Strict;
    let answer = trial.call(&Call::Init);
    let happened = match strict::read(answer.asked, &answer.run) {
        strict::Outcome::Success(fields) if fields.capabilities.is_some() => return Ok(()),
        strict::Outcome::Success(_) => "capabilities: null, which ends the process of Kubernetes".to_owned(),
        _ => match answer.meaning(Reading::Strict, None) {
            Meaning::Failed { why, .. } => why,
            _ => answer.printed(),
        },
    };
    let fix = "print one JSON object and nothing else on either stream, and exit 0; `flexvol driver explain init` shows how an answer is read";
    trial.found(["init, read as Kubernetes does", "Success", &happened, fix]);
    Err(Stop::Failed)
}

pub(super) fn init_capabilities(trial: &mut Trial<'_>) -> Outcome {
    let answer = trial.call(&Call::Init);
    let bytes = answer.bytes();
    // Text beside it is for another check.
    let mut lines = bytes.split(|byte| *byte == b'\n').rev();
    let last = lines.find_map(|line| serde_json::from_slice(line).ok());
    let Some(reply) = object(&answer).or(last) else {
        return Err(Stop::Undecided("the answer to init holds no JSON object".to_owned()));
    };
    let Some(Value::Object(given)) = reply.get("capabilities") else {
        let fix = "say `\"capabilities\":{\"attach\":false}` for a driver that only mounts, true for one that attaches";
        trial.found(["init", "an object `capabilities`", &answer.printed(), fix]);
        return Err(Stop::Failed);
    };
    trial.expect(
        given.contains_key("attach"),
        [
            "init",
            "a capability `attach`",
            "there is none, so hosts take the driver for one that attaches",
            "say `\"attach\":false` or `\"attach\":true`",
        ],
    );
    for (key, value) in given {
        let known = CAPABILITIES.contains(&key.as_str());
        let happened = format!("{key:?}: {value}");
        let expected = format!("one of {}, true or false", CAPABILITIES.join(", "));
        let fix = "spell the keys exactly, and write true and false without quotes";
        trial.expect(known && value.is_boolean(), ["init", &expected, &happened, fix]);
    }
    Ok(())
}

pub(super) fn init_repeated(trial: &mut Trial<'_>) -> Outcome {
    let table = trial.system.mounter.table()?;
    let answers = [(); 3].map(|()| trial.call(&Call::Init));
    let [first, second, third] = answers.each_ref().map(|answer| answer.meaning(Reading::Tolerant, None));
    let happened = answers.iter().map(Answer::printed).collect::<Vec<_>>().join(" | ");
    let fix = "make init a question that changes nothing";
    trial
        .expect(first == second && second == third, ["init, three times", "the same answer", &happened, fix]);
    let mounts = trial.system.mounter.table()?;
    trial.expect(mounts == table, ["init", "no mount made or removed", "the mount table has changed", fix]);
    for directory in [WORKING_DIRECTORY, TEMPORARY] {
        for entry in fs::read_dir(trial.root.join(directory))? {
            let happened = format!("a new file {:?}", entry?.file_name());
            trial.found(["init", "no file left in the working directory and $TMPDIR", &happened, fix]);
        }
    }
    Ok(())
}

pub(super) fn unknown_verb(trial: &mut Trial<'_>) -> Outcome {
    trial.reading = Reading::Strict;
    for arguments in [&[NONSENSE][..], &[NONSENSE, "/", "{}"]] {
        let answer = trial.raw(Asked::Nonsense(NONSENSE), arguments);
        if answer.meaning(Reading::Strict, None) != Meaning::NotSupported {
            let happened = format!("{}, {}", answer.printed(), answer.ended());
            let fix =
                "end the list of verbs with a case for all others that prints {\"status\":\"Not supported\"}";
            trial.found([&answer.call, "{\"status\":\"Not supported\"}", &happened, fix]);
        }
    }
    Ok(())
}

pub(super) fn missing_arguments(trial: &mut Trial<'_>) -> Outcome {
    let fix = "count the arguments first, and answer Failure when they are too few";
    let nothing = trial.fenced(Asked::Nonsense(""), &[])?;
    ends_by_itself(trial, &nothing, fix);
    for verb in Verb::ALL.into_iter().filter(|verb| *verb != Verb::Init) {
        let answer = trial.fenced(Asked::Call(verb), &[verb.as_str()])?;
        ends_by_itself(trial, &answer, fix);
        // With nothing to do, a call that only says yes to everything does no harm.
        let harmless = matches!(verb, Verb::Attach | Verb::IsAttached | Verb::Detach | Verb::GetVolumeName);
        if !harmless && trial.meaning(&answer).is_success() {
            trial.found([&answer.call, "Failure, or Not supported", &answer.printed(), fix]);
        }
    }
    Ok(())
}

fn ends_by_itself(trial: &mut Trial<'_>, answer: &Answer, fix: &str) -> bool {
    let by_itself =
        matches!(&answer.run, Ok(output) if matches!(output.ended, flexvolume_os::runner::Ended::Exited(_)));
    trial.expect(by_itself, [&answer.call, "it exits by itself", &answer.ended(), fix]);
    by_itself
}

pub(super) fn broken_options(trial: &mut Trial<'_>) -> Outcome {
    let volume = trial.volume("broken-options")?;
    super::volume::make_dir(&volume.mount_dir)?;
    let mount_dir = volume.mount_dir.to_string_lossy().into_owned();
    for options in ["", "{", "{\"kubernetes.io/fsType\":", "no json", "[]"] {
        let answer = trial.fenced(Asked::Call(Verb::Mount), &["mount", &mount_dir, options])?;
        if trial.meaning(&answer).is_success() {
            let fix = "look at the exit status of what reads the JSON (`jq -e`), and stop";
            trial.found([&answer.call, "Failure", &answer.printed(), fix]);
        }
        if !ends_by_itself(trial, &answer, "never wait for input") {
            return Err(Stop::Failed);
        }
    }
    Ok(())
}

pub(super) fn volume_name(trial: &mut Trial<'_>) -> Outcome {
    if !trial.capabilities().attach {
        return Err(Stop::NotApplicable("the driver does not attach, and is not asked for names".to_owned()));
    }
    trial.reading = Reading::Strict;
    let options = trial.volume("name")?.options;
    let call = Call::GetVolumeName { options };
    let [first, second] = [(); 2].map(|()| trial.call(&call));
    match [&first, &second].map(|answer| trial.meaning(answer)) {
        [Meaning::NotSupported, Meaning::NotSupported] => {
            Err(Stop::NotApplicable("the driver leaves the name to the host".to_owned()))
        }
        [Meaning::Success(one), Meaning::Success(other)]
            if one.volume_name == other.volume_name && !one.volume_name.is_empty() =>
        {
            Ok(())
        }
        _ => {
            let happened = format!("{} | {}", first.printed(), second.printed());
            let fix = "derive the name from the options alone, or answer Not supported";
            trial.found(["getvolumename, twice", "the same `volumeName`, not empty", &happened, fix]);
            Err(Stop::Failed)
        }
    }
}

pub(super) fn odd_options(trial: &mut Trial<'_>) -> Outcome {
    let plain = trial.volume("odd-plain")?;
    trial.up(&plain)?;
    let usual = trial.look(&plain)?;
    trial.down(&plain)?;
    let takes_foreign = takes_foreign_options(trial)?;
    let trap = trial.root.join("trap");
    let odd = format!(
        "two  words\ttab\nline \"double\" 'single' \\back\\\\slash\\n $(touch {0}) `touch {0}` ; touch {0} & é ☃ \u{2028} * {{}}",
        trap.display()
    );
    for encoding in [Encoding::Escaped, Encoding::Kubernetes] {
        trial.encoding = Some(encoding);
        let when = format!("with an odd value, options in the encoding {encoding:?}");
        let mut volume = trial.volume(&format!("odd-{encoding:?}").to_lowercase())?;
        if takes_foreign {
            volume.set(FOREIGN_OPTION, &odd);
        }
        if let Some(pod) = &mut volume.pod_options.pod {
            pod.service_account.clone_from(&odd);
        }
        bring_up_and_compare(trial, &when, &volume, usual)?;
        trial.expect(
            !trap.exists(),
            [
                &when,
                "the value is never run as a command",
                "a command in it was run",
                "quote every variable, and never use eval",
            ],
        );
    }
    Ok(())
}

fn takes_foreign_options(trial: &mut Trial<'_>) -> Result<bool, Stop> {
    let mut volume = trial.volume("odd-foreign")?;
    volume.set(FOREIGN_OPTION, "plain");
    let taken = trial.up(&volume).is_ok();
    trial.down(&volume)?;
    Ok(taken)
}

fn bring_up_and_compare(
    trial: &mut Trial<'_>,
    when: &str,
    volume: &Volume,
    usual: super::volume::Look,
) -> Outcome {
    let fix = "quote \"$1\" \"$2\", pass options on with printf '%s', and read them with a JSON parser";
    let came_up = trial.up(volume);
    trial.must(when, came_up)?;
    let looks = trial.look(volume)?;
    let happened = format!("{looks:?} instead of {usual:?}");
    trial.expect(looks == usual, [when, "a volume as with plain options", &happened, fix]);
    let went_down = trial.down(volume);
    trial.must(when, went_down)
}

/// The one object on standard output.
pub(super) fn object(answer: &Answer) -> Option<serde_json::Map<String, Value>> {
    let output = answer.run.as_ref().ok()?;
    match serde_json::from_slice(&output.stdout.bytes) {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    }
}
