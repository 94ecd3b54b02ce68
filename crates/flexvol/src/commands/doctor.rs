//! `flexvol doctor`.

use flexvolume_host::contract::{DriverName, Finding, Options, Severity};
use serde::Serialize;

use super::call::printable;
use crate::administration::{failed, find};
use crate::args::{DoctorArguments, Global};
use crate::call_options::given;
use crate::failure::{BAD_INPUT, Failure, OK, STEP_FAILED};
use crate::output::{Tone, toned};
use crate::secrets::ManifestSecrets;
use crate::session::Session;

#[derive(Serialize)]
struct Report {
    driver: DriverName,
    findings: Vec<Finding>,
}

pub(super) fn run(global: &Global, arguments: &DoctorArguments) -> Result<u8, Failure> {
    let session = Session::new(global, ManifestSecrets::default())?;
    let options = options(arguments)?;
    let plugin = find(&session, &arguments.driver)?;
    let findings = plugin.diagnose(options).map_err(failed)?;
    let report = Report { driver: plugin.name().clone(), findings };
    session.output.print(&report, text)?;
    let sick = report.findings.iter().any(|finding| finding.severity == Severity::Problem);
    Ok(if sick { STEP_FAILED } else { OK })
}

/// What is no pair is the address of a server, which a driver is told as the option `address`.
fn options(arguments: &DoctorArguments) -> Result<Options, Failure> {
    let (pairs, addresses): (Vec<_>, Vec<_>) =
        arguments.subject.iter().cloned().partition(|word| word.contains('='));
    let mut options = given(arguments.options_file.as_deref(), &pairs)?;
    match &*addresses {
        [] => {}
        [address] if !options.user.contains_key("address") => {
            options.user.insert("address".to_owned(), address.clone());
        }
        _ => return Err(Failure::says(BAD_INPUT, "more than one address; an option is written KEY=VALUE")),
    }
    Ok(options)
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        let (word, tone) = match finding.severity {
            Severity::Good => ("good   ", Tone::Good),
            Severity::Warning => ("warning", Tone::Doubtful),
            Severity::Problem => ("problem", Tone::Bad),
        };
        let what = printable(&format!("{}: {}", finding.subject, finding.what));
        text.push_str(&format!("{}  {what}\n", toned(word, tone)));
        if !finding.remedy.is_empty() {
            text.push_str(&format!("         {}\n", printable(&finding.remedy)));
        }
    }
    text
}
