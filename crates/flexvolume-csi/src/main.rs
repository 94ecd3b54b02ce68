//! The program `flexvol-csi`; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    flexvolume_csi::main()
}
