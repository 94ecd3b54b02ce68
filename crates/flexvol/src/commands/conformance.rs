//! `flexvol conformance`.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use flexvolume_host::conformance::{
    CheckReport, Interruption, Level, PlaceError, PrivatePlace, Report, Subject, enter_fence,
    run as run_suite, to_junit,
};
use flexvolume_host::contract::{DriverName, Options};
use flexvolume_host::os::System;
use flexvolume_host::os::signals::Signals;
use flexvolume_host::settings::DriverSettings;

use super::call::program;
use super::container_init::become_command;
use crate::args::{ConformanceArguments, ConformanceFenceArguments, Global, OutputFormat, ReportFormat};
use crate::call_options::{self, split};
use crate::failure::{BAD_INPUT, Failure, NOT_FOUND, OK, RUN_FAILED, STEP_FAILED};
use crate::output::write_out;
use crate::secrets::ManifestSecrets;
use crate::session::Session;

pub(super) fn run(global: &Global, arguments: &ConformanceArguments) -> Result<u8, Failure> {
    let session = Session::new(global, ManifestSecrets::default())?;
    let subject = subject(&session, arguments)?;
    if !subject.program.exists() {
        return Err(Failure::says(
            NOT_FOUND,
            format_args!("there is no driver at {}", subject.program.display()),
        ));
    }
    let signals = Signals::catch()?;
    let place = PrivatePlace::enter(&std::env::temp_dir())?;
    session.output.note(format_args!(
        "examining {}; with these options it makes volumes named flexvol-conformance-…",
        subject.program.display()
    ));
    let mut interrupted = None;
    let watch = |made: &CheckReport| {
        tracing::info!("{}: {}", made.check.id, made.verdict.name());
        interrupted = interrupted.or_else(|| signals.take());
        if interrupted.is_some() { Interruption::Stop } else { Interruption::None }
    };
    let report = run_suite(&subject, &session.host.system, &place, watch);
    let left = place.leave();
    let report = report?;
    print(global, arguments, &report)?;
    left?;
    if let Some(signal) = interrupted {
        return Err(Failure::says(
            STEP_FAILED,
            format_args!("interrupted by signal {signal}; the report has no further checks"),
        ));
    }
    let wanted = Level::from(arguments.level);
    let reached = report.level.map_or("no level", Level::name);
    session.output.note(format_args!("the driver reaches {reached}; {} is asked for", wanted.name()));
    Ok(if report.level >= Some(wanted) { OK } else { STEP_FAILED })
}

/// `flexvol conformance-fence`.
pub(super) fn fence(arguments: &ConformanceFenceArguments) -> Result<u8, Failure> {
    enter_fence(&System::host(), &arguments.directory).map_err(|error| Failure::new(RUN_FAILED, error))?;
    Err(become_command(&arguments.command))
}

impl From<PlaceError> for Failure {
    fn from(error: PlaceError) -> Self {
        Failure::new(STEP_FAILED, error)
    }
}

fn subject(session: &Session, arguments: &ConformanceArguments) -> Result<Subject, Failure> {
    let program = match DriverName::parse(&arguments.driver) {
        Ok(_) => program(session, &arguments.driver)?,
        Err(_) => std::path::absolute(&arguments.driver)?,
    };
    let name = name_of(&program, &arguments.driver)?;
    let mut environment: Vec<(OsString, OsString)> = Vec::new();
    for pair in &arguments.env {
        let (variable, value) = split(pair, "NAME=VALUE")?;
        environment.push((variable.into(), value.into()));
    }
    let options = options(arguments)?;
    // Ourselves, even if the file has been replaced meanwhile.
    let fence = vec!["/proc/self/exe".into(), "conformance-fence".into()];
    let mut settings = settings(session, arguments, &program)?;
    if arguments.call_timeout.is_some() {
        settings.deadlines.clear();
    }
    let deadline = arguments.call_timeout.unwrap_or(LONGEST_CALL);
    Ok(Subject { program, name, fence, options, settings, environment, deadline })
}

/// A call that takes longer fails, unless the command line or the settings say otherwise.
const LONGEST_CALL: Duration = Duration::from_secs(60);

fn settings(
    session: &Session,
    arguments: &ConformanceArguments,
    program: &Path,
) -> Result<DriverSettings, Failure> {
    let all = &session.host.settings;
    let settings = match (&arguments.settings, installed_name(program, &arguments.driver)) {
        (Some(file), _) => all.of_file(&std::path::absolute(file)?),
        (None, Some(name)) => all.of(&name),
        (None, None) => Ok(all.of_nameless()),
    };
    settings.map_err(|error| Failure::new(BAD_INPUT, error))
}

/// The name of a driver that is given by its name, or by a path of which its directory says it.
fn installed_name(program: &Path, driver: &str) -> Option<DriverName> {
    if let Ok(name) = DriverName::parse(driver) {
        return Some(name);
    }
    let directory = program.parent()?.file_name()?.to_str()?;
    // Without a tilde it is any directory, not a driver's.
    if directory.contains('~') { DriverName::from_directory(directory).ok() } else { None }
}

/// The name under which it is installed, or what would be one for a program that is not.
fn name_of(program: &Path, driver: &str) -> Result<DriverName, Failure> {
    if let Some(name) = installed_name(program, driver) {
        return Ok(name);
    }
    let file = program.file_name().unwrap_or_default().to_string_lossy();
    DriverName::parse(format!("flexvol/{file}"))
        .or_else(|_| DriverName::parse("flexvol/driver"))
        .map_err(|error| Failure::new(BAD_INPUT, error))
}

fn options(arguments: &ConformanceArguments) -> Result<Options, Failure> {
    let mut options = call_options::given(arguments.options_file.as_deref(), &arguments.options)?;
    call_options::add_secrets(&mut options, &arguments.secret)?;
    if options.fs_type.is_empty() {
        options.fs_type.clone_from(&arguments.fs_type);
    }
    Ok(options)
}

fn print(global: &Global, arguments: &ConformanceArguments, report: &Report) -> Result<(), Failure> {
    let form = arguments.report.unwrap_or(match global.output {
        OutputFormat::Text => ReportFormat::Text,
        OutputFormat::Json => ReportFormat::Json,
    });
    let text = match form {
        ReportFormat::Text => report.to_string(),
        ReportFormat::Json => serde_json::to_string_pretty(report).map_err(std::io::Error::from)? + "\n",
        ReportFormat::Junit => to_junit(report),
    };
    match &arguments.out {
        None => write_out(text.as_bytes()),
        Some(file) => std::fs::write(file, text)
            .map_err(|error| Failure::says(STEP_FAILED, format_args!("{}: {error}", file.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(program: &str, driver: &str) -> String {
        name_of(Path::new(program), driver).unwrap().to_string()
    }

    #[test]
    fn a_program_has_the_name_of_its_place_or_one_that_is_made_up() {
        assert_eq!(name("/plugins/a.b~c/c", "a.b/c"), "a.b/c");
        assert_eq!(name("/plugins/a.b~c/c", "/plugins/a.b~c/c"), "a.b/c");
        assert_eq!(name("/src/debug/memory", "./memory"), "flexvol/memory");
        assert_eq!(name("/src/-odd name-", "./-odd name-"), "flexvol/driver");
    }
}
