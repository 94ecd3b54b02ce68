//! What the test machine needs from this one.

use std::env;

use crate::process::is_installed;

/// Programs, and the packages of Debian and its kin that have them.
const PROGRAMS: [(&str, &str); 3] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("mmdebstrap", "mmdebstrap debian-archive-keyring"),
    ("mke2fs", "e2fsprogs"),
];

/// Why there can be no test machine here, if so.
pub(super) fn missing() -> Option<String> {
    if env::consts::ARCH != "x86_64" {
        return Some(format!("the test machine is one for x86_64, and this is {}", env::consts::ARCH));
    }
    let packages: Vec<_> =
        PROGRAMS.iter().filter(|(program, _)| !is_installed(program)).map(|(_, package)| *package).collect();
    (!packages.is_empty()).then(|| format!("needs packages: apt-get install {}", packages.join(" ")))
}
