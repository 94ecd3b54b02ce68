//! The LVM drivers with real volume groups on loop devices, as far as metadata alone decides: no volume is activated, so
//! this needs no device-mapper.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod administration;
#[path = "../lvm/group.rs"]
mod group;
mod metadata;
#[path = "../support/mod.rs"]
mod support;
