//! In-memory systems for tests of drivers and host: small worlds, not recorders.
//!
//! [`FakeRunner`] answers by program and arguments and panics on a program that the test did not expect;
//! [`FakeMounter`] has a mount table that obeys. Both are cheap to clone, and the clones are one world, so that a test
//! keeps a handle on what it gave away.
#![expect(clippy::panic, reason = "a test that runs what it did not expect must fail loudly")]

mod mounter;
mod runner;

pub use mounter::{FakeMounter, Operation};
pub use runner::{FakeRunner, output};

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::System;

/// A system of the two fakes.
#[must_use]
pub fn system(runner: &FakeRunner, mounter: &FakeMounter) -> System {
    System { runner: Arc::new(runner.clone()), mounter: Arc::new(mounter.clone()) }
}

/// A panic of one test thread must not hide the reason behind a second panic.
fn lock<T>(world: &Mutex<T>) -> MutexGuard<'_, T> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}
