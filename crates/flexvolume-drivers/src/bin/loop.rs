//! The driver `loop`.

use std::process::ExitCode;

use flexvolume_drivers::{LoopFile, state_directory};
use flexvolume_os::System;

fn main() -> ExitCode {
    flexvolume::run(LoopFile::new(System::host(), &state_directory()))
}
