//! The drivers `iscsi` and `iscsi-pod`: what needs no target anywhere, the rest against a target on the second host of
//! the test machine (`cargo xtask vm`).

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod attach;
mod chap;
mod faults;
mod fence;
mod life;
#[path = "../support/mod.rs"]
mod support;
mod volume;
