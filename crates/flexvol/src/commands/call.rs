//! `flexvol call`.

use std::path::{Path, PathBuf};

use flexvolume_host::Reading;
use flexvolume_host::contract::{Call, DriverName, ExtensionCall, Options, Verb};
use flexvolume_host::os::command::Streams;
use flexvolume_host::os::runner::{Captured, Ended, Output};
use flexvolume_host::plugin::Invocation;
use flexvolume_host::reply::tolerant::{NONSENSE, Probe};
use flexvolume_host::reply::{Asked, Explanation, Run, explain};
use flexvolume_host::settings::DriverSettings;
use serde::Serialize;

use super::driver_describe::not_there;
use crate::args::{CallArguments, Global, ReadingWord};
use crate::call_options::{options, secret_bytes};
use crate::failure::{BAD_INPUT, Failure, OK, STEP_FAILED};
use crate::secrets::ManifestSecrets;
use crate::session::Session;

/// What came back, and how it is understood. Secrets are struck out of it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub(super) program: PathBuf,
    pub(super) ended: String,
    pub(super) stdout: String,
    pub(super) stderr: String,
    pub(super) explanation: Explanation,
}

pub(super) fn run(global: &Global, arguments: &CallArguments) -> Result<u8, Failure> {
    let session = Session::new(global, ManifestSecrets::default())?;
    let program = program(&session, &arguments.driver)?;
    let settings = settings(&session, &arguments.driver)?;
    let options = options(arguments)?;
    let secrets = secret_bytes(&options);
    let asked = Asked::parse(&arguments.verb);
    let invocation = Invocation {
        program: &program,
        settings: &settings,
        // Whatever the reading, both streams are shown.
        reading: Reading::Tolerant,
        encoding: session.host.reading.encoding(),
    };
    let deadline = |verb| settings.deadline(verb).unwrap_or(session.host.deadlines.of(verb));
    let nonsense = |word| invocation.bare(deadline(Verb::Init)).argument(word);
    let prepared = match asked {
        Asked::Call(verb) => {
            let call = call(verb, arguments, options)?;
            invocation.command((&call, &arguments.device), deadline(verb))
        }
        Asked::Extension(verb) => {
            invocation.extension(&ExtensionCall { verb, options }, deadline(Verb::MountDevice))
        }
        Asked::Nonsense(word) => nonsense(word),
    };
    let runner = &session.host.system.runner;
    // What Kubernetes would have read depends on the order.
    let answer = runner.run(&prepared.streams(Streams::Apart)).map(|output| struck_out(output, &secrets));
    let mut explanation = explain(asked, &answer, None);
    if explanation.tolerant.outcome == "failed" && !explanation.tolerant.reply {
        // It may simply not know the verb: then it answers one that nobody knows in the same way.
        let nonsense = runner.run(&nonsense(NONSENSE));
        explanation = explain(asked, &answer, Some(Probe { verb: NONSENSE, run: &nonsense }));
    }
    let code = exit_code(&explanation, global.reading);
    let report = report(program.clone(), &answer, explanation);
    session.output.print(&report, text)?;
    Ok(code)
}

fn exit_code(explanation: &Explanation, reading: ReadingWord) -> u8 {
    let outcome = match reading {
        ReadingWord::Strict => explanation.strict.outcome,
        ReadingWord::Tolerant => explanation.tolerant.outcome,
    };
    if matches!(outcome, "success" | "claimed" | "not_supported") { OK } else { STEP_FAILED }
}

/// The driver's program: a path if it begins like one, else a name in the plugin directories. No `init` is run.
pub(super) fn program(session: &Session, driver: &str) -> Result<PathBuf, Failure> {
    let Some(name) = name(driver)? else { return Ok(std::path::absolute(driver)?) };
    let place = |plugin_dir: &PathBuf| plugin_dir.join(name.directory()).join(name.executable());
    match session.plugin_dirs.iter().map(place).find(|program| program.exists()) {
        Some(program) => Ok(program),
        None => Err(session.registry.find_by_name(&name).err().map_or_else(
            || Failure::says(STEP_FAILED, "the driver has just appeared; try again"),
            |error| not_there(&error),
        )),
    }
}

/// The name of a driver that is not given by its path.
fn name(driver: &str) -> Result<Option<DriverName>, Failure> {
    if driver.starts_with(['/', '.']) {
        return Ok(None);
    }
    DriverName::parse(driver).map(Some).map_err(|error| Failure::new(BAD_INPUT, error))
}

/// The driver's settings; one that is given by its path has none.
fn settings(session: &Session, driver: &str) -> Result<DriverSettings, Failure> {
    let settings = match name(driver)? {
        None => session.host.settings.of_nameless(),
        Some(name) => session.host.settings.of(&name).map_err(|error| Failure::new(BAD_INPUT, error))?,
    };
    Ok(match session.host.reading {
        Reading::Strict => settings.for_strict_reading(),
        Reading::Tolerant => settings,
    })
}

fn call(verb: Verb, arguments: &CallArguments, options: Options) -> Result<Call, Failure> {
    let mount_dir = || needed(arguments.mount_dir.as_deref(), "--mount-dir", verb);
    let device_mount_path = || needed(arguments.device_mount_path.as_deref(), "--device-mount-path", verb);
    let node = || "node".to_owned();
    let device = arguments.device.clone();
    let volume = options.volume_name.clone();
    let (new_size, old_size) = (arguments.new_size, arguments.old_size);
    Ok(match verb {
        Verb::Init => Call::Init,
        Verb::GetVolumeName => Call::GetVolumeName { options },
        Verb::Attach => Call::Attach { options, node: node() },
        Verb::WaitForAttach => Call::WaitForAttach { device, options },
        Verb::IsAttached => Call::IsAttached { options, node: node() },
        Verb::MountDevice => Call::MountDevice { path: device_mount_path()?, device, options },
        Verb::Mount => Call::Mount { path: mount_dir()?, options },
        Verb::Unmount => Call::Unmount { path: mount_dir()? },
        Verb::UnmountDevice => Call::UnmountDevice { path: device_mount_path()? },
        Verb::Detach => Call::Detach { volume, node: node() },
        Verb::ExpandVolume => Call::ExpandVolume { options, path: device_mount_path()?, new_size, old_size },
        Verb::ExpandFs => Call::ExpandFs { options, device, path: mount_dir()?, new_size, old_size },
        other => {
            return Err(Failure::says(
                BAD_INPUT,
                format_args!("{} cannot be called by hand", other.as_str()),
            ));
        }
    })
}

fn needed(path: Option<&Path>, flag: &str, verb: Verb) -> Result<PathBuf, Failure> {
    let Some(path) = path else {
        return Err(Failure::says(BAD_INPUT, format_args!("{} needs {flag} DIR", verb.as_str())));
    };
    Ok(std::path::absolute(path)?)
}

pub(super) fn report(program: PathBuf, answer: &Run, explanation: Explanation) -> Report {
    let shown = |captured: &Captured| {
        let mut text = String::from_utf8_lossy(&captured.bytes).into_owned();
        if captured.omitted > 0 {
            text.push_str(&format!("\n({} bytes more)", captured.omitted));
        }
        text
    };
    match answer {
        Ok(output) => Report {
            program,
            ended: match output.ended {
                Ended::Exited(code) => format!("exit code {code}, after {} ms", output.duration.as_millis()),
                Ended::Signaled(signal) => {
                    format!("signal {signal}, after {} ms", output.duration.as_millis())
                }
                Ended::TimedOut => "stopped at the deadline".to_owned(),
            },
            stdout: shown(&output.stdout),
            stderr: shown(&output.stderr),
            explanation,
        },
        Err(error) => Report {
            program,
            ended: format!("not started: {}", error.reason),
            stdout: String::new(),
            stderr: String::new(),
            explanation,
        },
    }
}

fn text(report: &Report) -> String {
    let mut text = format!("program:   {}\n", report.program.display());
    text.push_str(&format!("ended:     {}\n", report.ended));
    for (name, stream) in [("stdout", &report.stdout), ("stderr", &report.stderr)] {
        if !stream.is_empty() {
            text.push_str(&format!("{name}:\n"));
            stream.lines().for_each(|line| text.push_str(&format!("  | {}\n", printable(line))));
        }
    }
    text + &report.explanation.to_string()
}

/// Without what would move the cursor.
pub(super) fn printable(line: &str) -> String {
    line.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// A driver may well repeat what it was told.
fn struck_out(mut output: Output, secrets: &[Vec<u8>]) -> Output {
    for captured in [&mut output.stdout, &mut output.stderr, &mut output.combined] {
        for secret in secrets {
            captured.bytes = replaced(&captured.bytes, secret);
        }
    }
    output
}

fn replaced(bytes: &[u8], secret: &[u8]) -> Vec<u8> {
    const BLOT: &[u8] = b"<secret>";
    let mut clean = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(secret) {
            clean.extend_from_slice(BLOT);
            rest = after;
        } else {
            clean.push(*first);
            rest = after;
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::{printable, replaced};

    #[test]
    fn secrets_are_struck_out_wherever_they_stand() {
        assert_eq!(replaced(b"pw=hunter2, hunter2", b"hunter2"), b"pw=<secret>, <secret>");
        assert_eq!(replaced(b"hunter", b"hunter2"), b"hunter");
    }

    #[test]
    fn control_characters_are_not_passed_to_the_terminal() {
        assert_eq!(printable("a\u{1b}[31mb\tc"), "a\u{fffd}[31mb\tc");
    }
}
