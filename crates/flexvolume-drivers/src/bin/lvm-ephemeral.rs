//! The driver `lvm-ephemeral`.

use std::process::ExitCode;

use flexvolume_drivers::{LvmEphemeral, state_directory};
use flexvolume_os::System;

fn main() -> ExitCode {
    flexvolume::run(LvmEphemeral::new(System::host(), &state_directory()))
}
