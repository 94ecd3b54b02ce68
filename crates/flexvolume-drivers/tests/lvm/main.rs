//! The drivers `lvm` and `lvm-ephemeral` with real volume groups on loop devices, on a machine with device-mapper
//! (`cargo xtask vm`).

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod copies;
mod ephemeral;
mod group;
mod life;
#[path = "../support/mod.rs"]
mod support;
