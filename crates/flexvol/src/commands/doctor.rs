//! `flexvol doctor`.

use flexvolume_host::contract::{DriverName, Finding, Severity};
use serde::Serialize;

use super::call::printable;
use crate::administration::{failed, find, options};
use crate::args::{DoctorArguments, Global};
use crate::failure::{Failure, OK, STEP_FAILED};
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
    let options = options(&arguments.pool)?;
    let plugin = find(&session, &arguments.driver)?;
    let findings = plugin.diagnose(options).map_err(failed)?;
    let report = Report { driver: plugin.name().clone(), findings };
    session.output.print(&report, text)?;
    let sick = report.findings.iter().any(|finding| finding.severity == Severity::Problem);
    Ok(if sick { STEP_FAILED } else { OK })
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
