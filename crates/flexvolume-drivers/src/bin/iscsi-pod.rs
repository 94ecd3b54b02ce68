//! The driver `iscsi-pod`.

use std::process::ExitCode;

use flexvolume_drivers::{IscsiPod, state_directory};
use flexvolume_os::System;
use flexvolume_os::network_mount::child_entry;

fn main() -> ExitCode {
    child_entry().unwrap_or_else(|| flexvolume::run(IscsiPod::new(System::host(), &state_directory())))
}
