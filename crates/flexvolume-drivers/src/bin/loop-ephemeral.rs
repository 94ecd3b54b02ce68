//! The driver `loop-ephemeral`.

use std::process::ExitCode;

use flexvolume_drivers::{LoopEphemeral, state_directory};
use flexvolume_os::System;

fn main() -> ExitCode {
    flexvolume::run(LoopEphemeral::new(System::host(), &state_directory()))
}
