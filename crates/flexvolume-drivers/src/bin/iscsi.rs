//! The driver `iscsi`.

use std::process::ExitCode;

use flexvolume_drivers::{IscsiDriver, state_directory};
use flexvolume_os::System;
use flexvolume_os::network_mount::child_entry;

fn main() -> ExitCode {
    child_entry().unwrap_or_else(|| flexvolume::run(IscsiDriver::new(System::host(), &state_directory())))
}
