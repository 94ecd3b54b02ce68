//! The life of a volume, and what is asked during it.

use std::fs;

use flexvolume::{Call, Verb};
use flexvolume_os::runner::Pipes;

use super::answer::{Answer, Meaning};
use super::contract::object;
use super::stage::{Outcome, Stop, Times, Trial};
use super::volume::{NODE, Volume, make_dir};
use crate::Reading;
use crate::reply::Asked;
use crate::reply::tolerant::NONSENSE;

pub(super) fn under_flexvol(trial: &mut Trial<'_>) -> Outcome {
    live(trial, "life")
}

pub(super) fn under_kubernetes(trial: &mut Trial<'_>) -> Outcome {
    trial.reading = Reading::Strict;
    live(trial, "life-strict")
}

fn live(trial: &mut Trial<'_>, suffix: &str) -> Outcome {
    let volume = trial.volume(suffix)?;
    for when in ["the first time", "the second time"] {
        let came_up = trial.up(&volume);
        trial.must(when, came_up)?;
        let used = trial.use_volume(&volume);
        trial.must(when, used)?;
        let went_down = trial.down(&volume);
        trial.must(when, went_down)?;
    }
    Ok(())
}

pub(super) fn clean_replies(trial: &mut Trial<'_>) -> Outcome {
    trial.call(&Call::Init);
    trial.raw(Asked::Nonsense(NONSENSE), &[NONSENSE]);
    let volume = trial.volume("replies")?;
    onto_a_file(trial, &volume)?;
    let lived = trial.up(&volume).and_then(|()| trial.down(&volume));
    for answer in std::mem::take(&mut trial.answers) {
        if let Some(happened) = uncleanness(&answer) {
            let expected = "one JSON object on standard output with a status of Success, Failure or Not supported, silence on standard error, and exit status 0 for Success";
            let fix = "send what tools print to a log file, and print the reply once, at the end";
            trial.found([&answer.call, expected, &happened, fix]);
        }
    }
    Ok(lived?)
}

/// Mounts that fail, for how a failure is told.
fn onto_a_file(trial: &mut Trial<'_>, volume: &Volume) -> Outcome {
    if let Some(parent) = volume.mount_dir.parent() {
        make_dir(parent)?;
    }
    fs::write(&volume.mount_dir, "in the way")?;
    trial.call(&volume.mount());
    // A driver may have replaced it.
    let _ = fs::remove_file(&volume.mount_dir);
    Ok(())
}

/// What is not clean about a reply.
fn uncleanness(answer: &Answer) -> Option<String> {
    let output = match &answer.run {
        Ok(output) => output,
        Err(error) => return Some(error.to_string()),
    };
    if !output.stderr.bytes.is_empty() {
        return Some(format!("on standard error: {}", String::from_utf8_lossy(&output.stderr.bytes)));
    }
    let Some(object) = object(answer) else { return Some(format!("printed: {}", answer.printed())) };
    match object.get("status").and_then(|status| status.as_str()) {
        Some("Success") if output.ended.is_success() => None,
        Some("Success") => Some(format!("Success, but {}", answer.ended())),
        Some("Failure" | "Not supported") => None,
        _ => Some(format!("printed: {}", answer.printed())),
    }
}

pub(super) fn is_attached(trial: &mut Trial<'_>) -> Outcome {
    let volume = attached(trial, "is-attached")?;
    trial.reading = Reading::Strict;
    let answer = ask_is_attached(trial, &volume)?;
    match trial.meaning(&answer) {
        Meaning::Success(fields) if fields.attached => Ok(()),
        _ => {
            let fix = "answer {\"status\":\"Success\",\"attached\":true}, a boolean without quotes";
            trial.found(["attach, then isattached", "`attached: true`", &answer.printed(), fix]);
            Err(Stop::Failed)
        }
    }
}

pub(super) fn is_attached_orders(trial: &mut Trial<'_>) -> Outcome {
    let volume = attached(trial, "orders")?;
    let usual = ask_is_attached(trial, &volume)?;
    let json = volume.options.to_json(trial.encoding());
    let mut swapped = trial.raw(Asked::Call(Verb::IsAttached), &["isattached", NODE, &json]);
    "isattached <node> <options>".clone_into(&mut swapped.call);
    if trial.meaning(&swapped) == trial.meaning(&usual) {
        return Ok(());
    }
    let expected = format!("the same as for isattached <options> <node>: {}", usual.printed());
    let fix = "take the argument that begins with a brace for the options";
    trial.found([&swapped.call, &expected, &swapped.printed(), fix]);
    Err(Stop::Failed)
}

fn attached(trial: &mut Trial<'_>, suffix: &str) -> Result<Volume, Stop> {
    if !trial.capabilities().attach {
        return Err(Stop::NotApplicable("the driver does not attach".to_owned()));
    }
    let volume = trial.volume(suffix)?;
    trial.ask(&Call::Attach { options: volume.options.clone(), node: NODE.to_owned() })?;
    Ok(volume)
}

fn ask_is_attached(trial: &mut Trial<'_>, volume: &Volume) -> Result<Answer, Stop> {
    let call = Call::IsAttached { options: volume.options.clone(), node: NODE.to_owned() };
    let answer = trial.call(&call);
    if trial.meaning(&answer) == Meaning::NotSupported {
        return Err(Stop::NotApplicable("the driver does not support isattached".to_owned()));
    }
    Ok(answer)
}

pub(super) fn repeated(trial: &mut Trial<'_>) -> Outcome {
    let volume = trial.volume("repeated")?;
    trial.times = Times::Twice;
    trial.up(&volume)?;
    single_mounts(trial, "each call twice", &volume)?;
    trial.down(&volume)?;
    Ok(())
}

/// Checks that nothing is stacked.
pub(super) fn single_mounts(trial: &mut Trial<'_>, when: &str, volume: &Volume) -> Outcome {
    for path in [&volume.mount_dir, &volume.device_mount_path] {
        let depth = trial.depth(path)?;
        let done = format!("{when}: look at {}", path.display());
        let happened = format!("{depth} mounts, one upon the other");
        let fix = "look into the mount table before mounting, under a lock for the volume";
        trial.expect(depth <= 1, [&done, "at most one mount", &happened, fix]);
    }
    Ok(())
}

pub(super) fn expansion(trial: &mut Trial<'_>) -> Outcome {
    let volume = trial.volume("expansion")?;
    trial.up(&volume)?;
    trial.use_volume(&volume)?;
    let look = trial.look(&volume)?;
    let figures = rustix::fs::statvfs(&volume.mount_dir).map_err(std::io::Error::from)?;
    let size = figures.f_blocks.saturating_mul(figures.f_frsize);
    let options = || volume.options.clone();
    let (new_size, old_size) = (size, size);
    let path = volume.device_mount_path.clone();
    let grown = trial.call(&Call::ExpandVolume { options: options(), path, new_size, old_size });
    let (device, path) = (String::new(), volume.mount_dir.clone());
    let file_system = trial.call(&Call::ExpandFs { options: options(), device, path, new_size, old_size });
    let answers = [&grown, &file_system];
    if answers.iter().all(|answer| trial.meaning(answer) == Meaning::NotSupported) {
        trial.down(&volume)?;
        return Err(Stop::NotApplicable("the driver does not expand volumes".to_owned()));
    }
    for answer in answers {
        let failed = matches!(trial.meaning(answer), Meaning::Failed { .. });
        let fix = "succeed when the volume has the size already; never shrink";
        trial.expect(!failed, [&answer.call, "Success or Not supported", &answer.printed(), fix]);
    }
    let same = trial.look(&volume)? == look && trial.has_file(&volume);
    trial.expect(
        same,
        [
            "expandvolume and expandfs to the size that the volume has",
            "size and files as they were",
            "the volume's size or its files have changed",
            "do nothing when there is nothing to grow",
        ],
    );
    trial.down(&volume)?;
    Ok(())
}

/// Whether an answer's pipes were still held when it counted as ended.
pub(super) fn is_held(answer: &Answer) -> bool {
    matches!(&answer.run, Ok(output) if output.pipes == Pipes::Held)
}
