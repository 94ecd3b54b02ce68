//! The driver `nbd` against a server with moods: what needs no device anywhere, the rest on a kernel that has network
//! block devices (`cargo xtask vm`).

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test may stop at the first surprise"
)]

mod attach;
mod contents;
mod faults;
mod life;
mod server;
#[path = "../support/mod.rs"]
mod support;
mod volume;
