//! Drivers that do what no driver should, each as a real process through the real host: `behaviours.rs` says what they do
//! and what comes of it, `check.rs` what must hold for every one of them, and `docs/robustness.md` is written from both.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "../stage/mod.rs"]
mod stage;

mod behaviours;
mod check;
mod document;
