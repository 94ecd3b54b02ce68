//! `flexvol container-init`: the process that `run` starts, before it becomes the command.

use std::ffi::OsString;

use flexvolume_host::os::runner::{Attached, StartFailure};

use crate::args::ContainerInitArguments;
use crate::container::Plan;
use crate::failure::{BAD_INPUT, CANNOT_EXECUTE, COMMAND_NOT_FOUND, Failure, RUN_FAILED};

pub(super) fn run(arguments: &ContainerInitArguments) -> Result<u8, Failure> {
    let plan: Plan = serde_json::from_str(&arguments.plan).map_err(|error| Failure::new(BAD_INPUT, error))?;
    plan.enter().map_err(|error| Failure::new(RUN_FAILED, error))?;
    Err(become_command(&arguments.command))
}

/// Becomes the command; comes back only when that fails, with the exit code that shells use.
pub(super) fn become_command(command: &[OsString]) -> Failure {
    let Some((program, arguments)) = command.split_first() else {
        return Failure::says(BAD_INPUT, "no command given");
    };
    let attached =
        Attached { program: program.into(), arguments: arguments.to_vec(), environment: Vec::new() };
    let error = attached.replace_process();
    let code = match error.reason {
        StartFailure::Missing => COMMAND_NOT_FOUND,
        _ => CANNOT_EXECUTE,
    };
    Failure::new(code, error)
}
