//! `nbd.`: the driver of network block devices, in the virtual machine, against the server of its second host. Measured
//! by the drivers' test program `bench_nbd`.

use super::figure::Figure;
use super::in_machine::InMachine;

/// Beside a static program that does nothing, and nbd-client with the same read.
pub(super) const DRIVER: InMachine = InMachine {
    driver: "nbd",
    program: "bench_nbd",
    variable: "FLEXVOL_BENCH_NBD",
    figures: &[
        Figure::at_most("nbd.size", 1.2, "MiB"),
        Figure::at_most("nbd.init", 1.5, "ratio"),
        Figure::at_most("nbd.attach-read", 0.8, "ratio"),
        Figure::at_most("nbd.mountdevice.mounted", 1.5, "ratio"),
        Figure::at_most("nbd.mountdevice.mounted.packets", 0.0, "packets"),
        Figure::at_most("nbd.unmountdevice.unmounted", 1.5, "ratio"),
    ],
};
