//! `flexvol statfs`: the process that may hang, so that no other one does.

use flexvolume_host::plugin::Metrics;

use crate::args::StatfsArguments;
use crate::failure::{Failure, OK, STEP_FAILED};
use crate::output::write_out;

/// A line of JSON for each directory.
pub(super) fn run(arguments: &StatfsArguments) -> Result<u8, Failure> {
    for directory in &arguments.paths {
        let metrics = Metrics::of(directory).map_err(|error| Failure::new(STEP_FAILED, error))?;
        let mut line = serde_json::to_string(&metrics).map_err(std::io::Error::from)?;
        line.push('\n');
        write_out(line.as_bytes())?;
    }
    Ok(OK)
}
