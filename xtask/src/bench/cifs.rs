//! `cifs.`: the driver of SMB shares, in the virtual machine, against the server of its second host. Measured by the
//! drivers' test program `bench_cifs`.

use super::figure::Figure;
use super::in_machine::InMachine;

/// Beside a static program that does nothing, and mount(8) with mount.cifs.
pub(super) const DRIVER: InMachine = InMachine {
    driver: "cifs",
    program: "bench_cifs",
    variable: "FLEXVOL_BENCH_CIFS",
    figures: &[
        Figure::at_most("cifs.size", 1.2, "MiB"),
        Figure::at_most("cifs.init", 1.5, "ratio"),
        Figure::at_most("cifs.mount-unmount", 0.8, "ratio"),
        Figure::at_most("cifs.mount.mounted", 1.5, "ratio"),
        Figure::at_most("cifs.mount.mounted.packets", 0.0, "packets"),
        Figure::at_most("cifs.unmount.unmounted", 1.5, "ratio"),
    ],
};
