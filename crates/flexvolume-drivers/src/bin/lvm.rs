//! The driver `lvm`.

use std::process::ExitCode;

use flexvolume_drivers::{LvmDriver, state_directory};
use flexvolume_os::System;

fn main() -> ExitCode {
    flexvolume::run(LvmDriver::new(System::host(), &state_directory()))
}
