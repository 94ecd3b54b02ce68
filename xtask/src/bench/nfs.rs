//! `nfs.`: the driver of NFS exports, in the virtual machine, against the server of its second host. Measured by the
//! drivers' test program `bench_nfs`.

use super::figure::Figure;
use super::in_machine::InMachine;

/// Beside a static program that does nothing, and mount(8) with mount.nfs4.
pub(super) const DRIVER: InMachine = InMachine {
    driver: "nfs",
    program: "bench_nfs",
    variable: "FLEXVOL_BENCH_NFS",
    figures: &[
        Figure::at_most("nfs.size", 1.2, "MiB"),
        Figure::at_most("nfs.init", 1.5, "ratio"),
        Figure::at_most("nfs.mount-unmount", 0.8, "ratio"),
        Figure::at_most("nfs.mount.mounted", 1.5, "ratio"),
        Figure::at_most("nfs.mount.mounted.packets", 0.0, "packets"),
        Figure::at_most("nfs.unmount.unmounted", 1.5, "ratio"),
    ],
};
