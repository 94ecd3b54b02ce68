//! Crashes, reboots, missing programs, and several calls at once.

use std::time::Duration;

use flexvolume::Verb;
use flexvolume_os::loop_device;

use super::answer::Meaning;
use super::leftovers;
use super::life::single_mounts;
use super::processes;
use super::stage::{Kill, Outcome, Stop, Times, Trial, Trouble};
use super::volume::{Look, Volume};

/// How far into a call it is killed, in hundredths of the time that it took undisturbed.
const MOMENTS: [u32; 4] = [5, 30, 60, 90];

/// Pauses in milliseconds before a failed call is made again, as kubelet makes them.
const RETRIES: [u64; 3] = [500, 1000, 2000];

pub(super) fn reboot(trial: &mut Trial<'_>) -> Outcome {
    let volume = trial.volume("reboot")?;
    let fix = "decide by the mount table and not by a file of your own whether something is mounted";
    trial.up(&volume)?;
    trial.use_volume(&volume)?;
    lose_mounts(trial, &volume)?;
    let again = trial.up(&volume);
    trial.must("the mounts lost, brought up again", again)?;
    let look = trial.look(&volume)?;
    let used = trial.use_volume(&volume);
    trial.must("the mounts lost, brought up again", used)?;
    lose_mounts(trial, &volume)?;
    let down = trial.down(&volume);
    trial.must("the mounts lost, taken down", down)?;
    let again = trial.up(&volume);
    trial.must("the mounts lost, taken down, brought up again", again)?;
    let kept = trial.look(&volume)? == look && (!trial.capabilities().attach || trial.has_file(&volume));
    trial.expect(
        kept,
        ["lose the mounts, take down, bring up", "the same volume", "another volume, or another size", fix],
    );
    let down = trial.down(&volume);
    trial.must("after it all", down)
}

/// What a reboot does: neither mounts nor loop devices survive it.
fn lose_mounts(trial: &Trial<'_>, volume: &Volume) -> Result<(), Stop> {
    processes::end_strays();
    for path in [&volume.mount_dir, &volume.device_mount_path] {
        while trial.is_mounted(path)? {
            trial.system.mounter.unmount_lazy(path)?;
        }
    }
    for (device, backing) in leftovers::loop_devices_now() {
        if backing.starts_with(&trial.root) {
            // It may go by itself with its mount.
            let _ = loop_device::detach(&device);
        }
    }
    Ok(())
}

pub(super) fn killed(trial: &mut Trial<'_>) -> Outcome {
    let usual = trial.volume("killed")?;
    trial.up(&usual)?;
    let look = trial.look(&usual)?;
    trial.down(&usual)?;
    let changing = |answer: &super::answer::Answer| {
        let output = answer.run.as_ref().ok()?;
        let verb = Verb::parse(answer.asked.name())?;
        Some((verb, output.duration))
    };
    let calls: Vec<(Verb, Duration)> = trial.answers.iter().filter_map(changing).collect();
    for (number, (verb, duration)) in calls.into_iter().enumerate() {
        for moment in MOMENTS {
            let after = duration * moment / 100;
            let volume = trial.volume(&format!("killed-{number}-{moment}"))?;
            kill_and_repeat(trial, Kill { verb, after }, &volume, look)?;
        }
    }
    Ok(())
}

fn kill_and_repeat(trial: &mut Trial<'_>, kill: Kill, volume: &Volume, usual: Look) -> Outcome {
    let when =
        format!("{} killed after {} ms, then everything again", kill.verb.as_str(), kill.after.as_millis());
    trial.kill = Some(kill);
    // It may be too late, or fail for being killed: only what comes after it counts.
    let _ = trial.up(volume);
    let again = persist(trial, |trial| trial.up(volume));
    trial.must(&when, again)?;
    let used = trial.use_volume(volume);
    trial.must(&when, used)?;
    let look = trial.look(volume)?;
    let fix = "write down what is being made before making it, and finish or undo it at the next call";
    let happened = format!("{look:?} instead of {usual:?}");
    trial.expect(look == usual, [&when, "a volume like any other", &happened, fix]);
    single_mounts(trial, &when, volume)?;
    let _ = trial.down(volume);
    let again = persist(trial, |trial| trial.down(volume));
    trial.must(&when, again)?;
    trial.kill = None;
    Ok(())
}

/// Does it again after a failure, as kubelet does: what a killed driver had started may still run for a moment.
fn persist(
    trial: &mut Trial<'_>,
    step: impl Fn(&mut Trial<'_>) -> Result<(), Trouble>,
) -> Result<(), Trouble> {
    for pause in RETRIES {
        match step(trial) {
            Err(Trouble::Driver(_)) => std::thread::sleep(Duration::from_millis(pause)),
            other => return other,
        }
    }
    step(trial)
}

pub(super) fn missing_tools(trial: &mut Trial<'_>) -> Outcome {
    let usual = trial.volume("tools-usual")?;
    trial.up(&usual)?;
    let look = trial.look(&usual)?;
    trial.down(&usual)?;
    let volume = trial.volume("tools")?;
    trial.search_path = Some(trial.root.join("empty"));
    let fix = "stop at the first command that fails (`set -e`, or look at every exit status), and answer Failure with its name";
    let done = "bring a volume up with an empty PATH";
    match trial.up(&volume) {
        Ok(()) => {
            let now = trial.look(&volume)?;
            let happened = format!("Success, and {now:?} instead of {look:?}");
            trial.expect(now == look, [done, "a whole volume, or Failure", &happened, fix]);
        }
        Err(Trouble::Suite(why)) => return Err(Stop::Undecided(why)),
        Err(Trouble::Driver(finding)) => {
            let said = trial
                .answers
                .last()
                .is_some_and(|answer| matches!(trial.meaning(answer), Meaning::Failed { replied: true, .. }));
            trial.expect(said, [done, "a reply that says what is missing", &finding.happened, fix]);
        }
    }
    trial.search_path = None;
    let again = trial.up(&volume).and_then(|()| trial.down(&volume));
    trial.must("the same again with the usual PATH", again)
}

pub(super) fn concurrent_volumes(trial: &mut Trial<'_>) -> Outcome {
    let volumes = [trial.volume("one")?, trial.volume("other")?];
    at_once(trial, &volumes, "two volumes brought up at once", |trial, volume| trial.up(volume))?;
    for volume in &volumes {
        let used = trial.use_volume(volume);
        trial.must("two volumes at once", used)?;
        single_mounts(trial, "two volumes at once", volume)?;
    }
    at_once(trial, &volumes, "two volumes taken down at once", |trial, volume| trial.down(volume))
}

fn at_once(
    trial: &mut Trial<'_>,
    volumes: &[Volume; 2],
    when: &str,
    step: impl Fn(&mut Trial<'_>, &Volume) -> Result<(), Trouble> + Sync,
) -> Outcome {
    let [one, other] = volumes;
    let mut second = trial.clone();
    let (first, second) = std::thread::scope(|scope| {
        let thread = scope.spawn(|| step(&mut second, other));
        (step(trial, one), thread.join())
    });
    trial.must(when, first)?;
    trial.must(
        when,
        second.unwrap_or_else(|_| Err(Trouble::Suite("a thread of the suite stopped".to_owned()))),
    )
}

pub(super) fn concurrent_calls(trial: &mut Trial<'_>) -> Outcome {
    let usual = trial.volume("calls-usual")?;
    trial.up(&usual)?;
    trial.down(&usual)?;
    let volume = trial.volume("calls")?;
    trial.times = Times::AtOnce;
    let when = "each call twice at the same time";
    let came_up = trial.up(&volume);
    trial.must(when, came_up)?;
    let used = trial.use_volume(&volume);
    trial.must(when, used)?;
    single_mounts(trial, when, &volume)?;
    let went_down = trial.down(&volume);
    trial.must(when, went_down)
}
