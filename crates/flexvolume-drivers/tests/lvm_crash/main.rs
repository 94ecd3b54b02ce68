//! The LVM drivers, killed at every step: the long part of their tests.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

#[path = "../lvm/group.rs"]
mod group;
mod steps;
#[path = "../support/mod.rs"]
mod support;
