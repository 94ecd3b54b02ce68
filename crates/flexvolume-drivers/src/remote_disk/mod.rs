//! What the drivers of disks on the network have in common: which node has which disk, what this node knows of it, what
//! is on it, and its file system as a mount.
//!
//! A disk of a server is a [`RemoteDisk`]: it has a name by which people know it and an identity by which records do. How
//! it becomes a device of this node is each driver's own affair, and so is what it must remember for that (`L` in
//! [`Record`]).

mod claims;
mod contents;
mod error;
mod mount;
mod record;
pub(crate) mod request;

use std::fmt;

pub(crate) use claims::{Admission, Claims, Holder, Memory, Wanted};
pub(crate) use contents::Work;
pub use error::DiskError;
pub(crate) use error::at;
pub(crate) use mount::{
    Grow, already_mounted, any_mount, expect_device, fill_mounted, foreign, take_off, top,
};
pub(crate) use record::{Record, Shelf, State, now};
pub(crate) use request::{FORMAT, FileSystemRequest, MOUNT_OPTIONS, PROTECTION};

/// A disk of a server, by name; displayed as people know it.
pub(crate) trait RemoteDisk: fmt::Display + Sized {
    /// One text for this disk and for no other.
    fn identity(&self) -> String;

    /// The disk of an identity; `None` for a text that is none.
    fn of_identity(text: &str) -> Option<Self>;
}
