//! The driver `scratch`.

use std::process::ExitCode;

use flexvolume_drivers::{Scratch, state_directory};
use flexvolume_os::System;

fn main() -> ExitCode {
    flexvolume::run(Scratch::new(System::host(), &state_directory()))
}
