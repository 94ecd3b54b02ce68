//! The driver `cifs` against the server of the virtual machine's second host (`vm/guest/server`).

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod anywhere;
mod faults;
mod life;
mod secrets;
mod share;
#[path = "../support/mod.rs"]
mod support;
