//! `flexvol driver describe`.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use flexvolume_host::contract::{Capabilities, DriverName, Verb};
use flexvolume_host::lifecycle::Overview;
use flexvolume_host::plugin::VolumePlugin;
use flexvolume_host::registry::RegistryError;
use flexvolume_host::reply::tolerant::{NONSENSE, Probe};
use flexvolume_host::reply::{Asked, explain};
use flexvolume_host::settings::Effective;
use serde::Serialize;

use super::call::{Report, printable, report};
use super::driver_list::capability_words;
use crate::args::{DescribeArguments, Global};
use crate::failure::{BAD_INPUT, Failure, NOT_FOUND, OK, STEP_FAILED};
use crate::identity::Identity;
use crate::secrets::ManifestSecrets;
use crate::session::Session;
use crate::workload::remedy;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Description {
    name: DriverName,
    executable: PathBuf,
    /// Where the executable leads, when it is a symlink.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<PathBuf>,
    size: u64,
    mode: String,
    #[serde(flatten)]
    identity: Identity,
    /// As the host takes them: as declared, where the settings do not say otherwise.
    capabilities: Capabilities,
    /// As `init` declares them, defaults where it is silent.
    declared: Capabilities,
    attachable: bool,
    volumes_on_record: usize,
    /// `init`, and a verb that no driver knows: asked just now.
    answers: [Report; 2],
    settings_files: Vec<SettingsFile>,
    settings: Vec<Effective>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SettingsFile {
    file: PathBuf,
    present: bool,
}

pub(super) fn run(global: &Global, arguments: &DescribeArguments) -> Result<u8, Failure> {
    let session = Session::new(global, ManifestSecrets::default())?;
    let name = DriverName::parse(arguments.name.clone()).map_err(|error| Failure::new(BAD_INPUT, error))?;
    let plugin = session.registry.find_by_name(&name).map_err(|error| not_there(&error))?;
    let executable = plugin.executable().to_owned();
    let metadata = std::fs::metadata(&executable)?;
    let description = Description {
        target: std::fs::read_link(&executable).ok(),
        size: metadata.len(),
        identity: Identity::of(&plugin),
        mode: format!("{:04o}", metadata.mode() & 0o7777),
        capabilities: plugin.capabilities(),
        attachable: plugin.capabilities().attach,
        declared: plugin.declared_capabilities(),
        volumes_on_record: volumes_of(&session, &name)?,
        answers: answers(&plugin),
        settings_files: settings_files(&session, &name),
        settings: plugin.settings().table(),
        executable,
        name,
    };
    session.output.print(&description, text)?;
    Ok(OK)
}

fn answers(plugin: &VolumePlugin) -> [Report; 2] {
    let (init, nonsense) = (plugin.ask_init(), plugin.ask_nonsense());
    let program = plugin.executable();
    let of_init = explain(Asked::Call(Verb::Init), &init, None);
    let probe = Probe { verb: NONSENSE, run: &nonsense };
    let of_nonsense = explain(Asked::Nonsense(NONSENSE), &nonsense, Some(probe));
    [report(program.to_owned(), &init, of_init), report(program.to_owned(), &nonsense, of_nonsense)]
}

fn settings_files(session: &Session, name: &DriverName) -> Vec<SettingsFile> {
    let files = session.host.settings.files(name).into_iter();
    files.map(|file| SettingsFile { present: file.exists(), file }).collect()
}

/// The failure for a driver that is not there, or not usable.
pub(super) fn not_there(error: &RegistryError) -> Failure {
    let code = if matches!(error, RegistryError::NotFound { .. }) { NOT_FOUND } else { STEP_FAILED };
    Failure::says(code, remedy(error))
}

/// How many volumes of a driver are on record.
pub(super) fn volumes_of(session: &Session, name: &DriverName) -> Result<usize, Failure> {
    let Overview { volumes, .. } = session.manager().status()?;
    Ok(volumes.iter().filter(|volume| volume.driver == *name).count())
}

fn text(description: &Description) -> String {
    let mut lines = vec![
        ("name", description.name.to_string()),
        ("executable", description.executable.display().to_string()),
    ];
    lines.extend(description.target.as_ref().map(|target| ("symlink to", target.display().to_string())));
    lines.extend([("size", format!("{} bytes", description.size)), ("mode", description.mode.clone())]);
    lines.extend(description.identity.lines());
    lines.extend([
        ("shape", shape(description.attachable).to_owned()),
        ("capabilities", capability_words(description.capabilities)),
    ]);
    if description.declared != description.capabilities {
        lines.push(("init declares", capability_words(description.declared)));
    }
    lines.push(("volumes on record", description.volumes_on_record.to_string()));
    let mut text: String = lines.into_iter().map(|(what, value)| format!("{what:18}{value}\n")).collect();
    description.answers.iter().for_each(|answer| text.push_str(&answer_text(answer)));
    text.push_str("settings\n");
    for Effective { key, value, origin } in &description.settings {
        text.push_str(&format!("  {key:26}{value:16}{origin}\n"));
    }
    for SettingsFile { file, present } in &description.settings_files {
        let presence = if *present { "is there" } else { "is not there" };
        text.push_str(&format!("  {} {presence}\n", file.display()));
    }
    text
}

/// An answer as it was printed, and how it is understood.
fn answer_text(answer: &Report) -> String {
    let explanation = &answer.explanation;
    // Nobody asks how long it took.
    let ended = answer.ended.split(", after").next().unwrap_or_default();
    let what = if explanation.call == NONSENSE { "an unknown verb" } else { "init" };
    let mut text = format!("{what:18}{}, {ended}\n", explanation.tolerant.outcome.replace('_', " "));
    for line in answer.stdout.lines().chain(answer.stderr.lines()).take(MOST_LINES) {
        text.push_str(&format!("  | {}\n", printable(line)));
    }
    text
}

/// So many lines of an answer are shown; JSON output has all.
const MOST_LINES: usize = 10;

fn shape(attachable: bool) -> &'static str {
    if attachable {
        "attachable: attach, waitforattach, mountdevice, mount and back"
    } else {
        "plain: mount, unmount"
    }
}
