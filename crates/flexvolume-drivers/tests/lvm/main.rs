//! The drivers `lvm` and `lvm-ephemeral` with real volume groups on loop devices.
//!
//! Everything that activates a volume needs device-mapper (`cargo xtask vm`); what is about metadata only runs anywhere.

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
mod metadata;
#[path = "../support/mod.rs"]
mod support;
