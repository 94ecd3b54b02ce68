//! A conformance suite for FlexVolume drivers, ours and anybody's.
//!
//! The suite calls a driver as hosts do, in a mount namespace of its own and on a temporary file system, looks at what
//! came of it, and says what each check did, what it expected, what happened, and how to mend it. Every check has a
//! [`Level`]; a driver reaches a level when no check of that level or of a lower one failed or stayed undecided.
//!
//! # What it is not
//! A driver's data is its own: volumes named `flexvol-conformance-…` are really made with the options that are given.
//! What a driver keeps outside the mount namespace (a server's export, a daemon that it asks to mount) is neither seen
//! nor cleaned up. A program that lives shorter than the watch takes from one look to the next can be missed.

mod answer;
mod check;
mod contract;
mod faults;
mod fence;
mod junit;
mod leftovers;
mod life;
mod mounts;
mod place;
mod processes;
mod report;
mod secrets;
mod stage;
mod start;
mod suite;
mod volume;

pub use check::{CHECKS, Check, Level, document};
pub use fence::enter_fence;
pub use junit::to_junit;
pub use place::{PlaceError, PrivatePlace};
pub use report::{CheckReport, Finding, Report, Verdict};
pub use suite::{Interruption, Subject, run};
