//! `lvm.`: the driver of logical volumes, in the virtual machine. Measured by the drivers' test program `bench_lvm`.

use super::figure::Figure;
use super::in_machine::InMachine;

/// Beside a static program that does nothing, the script that the driver replaces, the same work by hand, and one caller.
pub(super) const DRIVER: InMachine = InMachine {
    driver: "lvm",
    program: "bench_lvm",
    variable: "FLEXVOL_BENCH_LVM",
    figures: &[
        Figure::at_most("lvm.init", 1.5, "ratio"),
        Figure::at_most("lvm.isattached", 1.5, "ratio"),
        Figure::at_most("lvm.mountdevice.mounted", 1.5, "ratio"),
        Figure::at_most("lvm.waitforattach.existing", 0.5, "ratio"),
        Figure::at_most("lvm.waitforattach.existing.commands", 1.0, "commands"),
        Figure::at_most("lvm.create-format-mount", 1.0, "ratio"),
        Figure::at_most("lvm.hundred-at-once", 1.2, "ratio"),
    ],
};
