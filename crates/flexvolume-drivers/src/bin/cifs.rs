//! The driver `cifs`.

use std::process::ExitCode;

use flexvolume_drivers::{Cifs, state_directory};
use flexvolume_os::System;
use flexvolume_os::network_mount::child_entry;

fn main() -> ExitCode {
    child_entry().unwrap_or_else(|| flexvolume::run(Cifs::new(System::host(), &state_directory())))
}
