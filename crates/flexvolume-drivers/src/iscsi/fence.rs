//! The disk keeps other nodes from writing: persistent reservations.
//!
//! All nodes may read, and only those write whose key is registered (`Write Exclusive, Registrants Only`). A key is
//! thrown out only if the controller has said that its attachment is over; so a node that was thought dead and writes on
//! is refused by the disk, and a node that is alive is not disturbed.

use std::fs::File;

use flexvolume_os::failpoint::hit;
use flexvolume_os::reservation::{self, ReservationError};

use super::error::{IscsiError, Result};
use super::key::{Key, Pass};
use super::request::Fencing;

/// A disk and who wants to write to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fence<'a> {
    pub(crate) disk: &'a File,
    pub(crate) pass: &'a Pass,
    /// For messages.
    pub(crate) subject: &'a str,
}

/// What the disk has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fenced {
    Yes,
    /// It has no reservations, and none are required.
    No,
}

impl Fence<'_> {
    /// Makes this node the one that writes, or says who is in the way. Again is no change.
    pub(crate) fn close(self, fencing: Fencing) -> Result<Fenced> {
        if fencing == Fencing::Off {
            return Ok(Fenced::No);
        }
        let keys = match self.keys() {
            Err(ReservationError::Unsupported { .. }) if fencing == Fencing::Possible => {
                return Ok(Fenced::No);
            }
            other => other.map_err(|error| self.failed(error))?,
        };
        let own = self.pass.key();
        if let Some(foreign) = keys.iter().find(|key| **key != own && !self.pass.is_released(**key)) {
            return Err(self.reserved(*foreign));
        }
        self.act(reservation::register)?;
        hit("iscsi.registered");
        let taken = self.take(&keys);
        if taken.is_err() {
            // Registered, this node could write.
            let _ = self.act(reservation::unregister);
        }
        taken.map(|()| Fenced::Yes)
    }

    fn take(self, keys: &[Key]) -> Result<()> {
        let own = self.pass.key();
        match self.holder()? {
            Some(holder) if self.is_over(holder) => self.preempt(holder)?,
            Some(holder) if holder != own => return Err(self.reserved(holder)),
            _ => {}
        }
        // A session that this node had before it was restarted may hold the disk with this very key.
        if self.act(reservation::reserve).is_err() && self.holder()? == Some(own) {
            self.preempt(own)?;
        }
        hit("iscsi.reserved");
        for key in keys.iter().filter(|key| self.is_over(**key)) {
            if self.keys().map_err(|error| self.failed(error))?.contains(key) {
                self.preempt(*key)?;
            }
        }
        match self.holder()? {
            Some(holder) if holder == own => Ok(()),
            Some(holder) => Err(self.reserved(holder)),
            None => Err(self.failed(ReservationError::Conflict { step: "reserve the disk" })),
        }
    }

    fn is_over(self, key: Key) -> bool {
        key != self.pass.key() && self.pass.is_released(key)
    }

    fn preempt(self, other: Key) -> Result<()> {
        let Some(other) = other.on_disk() else { return Ok(()) };
        self.act(|disk, own| reservation::preempt(disk, own, other))?;
        hit("iscsi.preempted");
        Ok(())
    }

    fn keys(self) -> std::result::Result<Vec<Key>, ReservationError> {
        Ok(reservation::keys(self.disk)?.into_iter().map(Key::from).collect())
    }

    fn holder(self) -> Result<Option<Key>> {
        let holder = reservation::holder(self.disk).map_err(|error| self.failed(error))?;
        Ok(holder.map(Key::from))
    }

    fn act(
        self,
        step: impl FnOnce(&File, reservation::Key) -> std::result::Result<(), ReservationError>,
    ) -> Result<()> {
        let Some(own) = self.pass.key().on_disk() else { return Ok(()) };
        step(self.disk, own).map_err(|error| self.failed(error))
    }

    fn failed(self, source: ReservationError) -> IscsiError {
        IscsiError::Reservation { subject: self.subject.to_owned(), source }
    }

    fn reserved(self, key: Key) -> IscsiError {
        let node = self.pass.node_of(key);
        IscsiError::Reserved {
            subject: self.subject.to_owned(),
            key: key.to_string(),
            whose: node.map(|node| format!(" of the node {node}")).unwrap_or_default(),
            remedy: "two writers would destroy the file system. A node gives its key up when it unmounts, and the controller takes it away with `detach`; docs/iscsi.md says how to clear the key of one that is gone for ever",
        }
    }
}

/// Takes this node's key off the disk; that it is gone already is fine.
pub(crate) fn open(disk: &File, pass: &Pass) {
    if let Some(key) = pass.key().on_disk() {
        // Another node has taken the disk over, or the disk has forgotten everything: either way the key is gone.
        let _ = reservation::unregister(disk, key);
    }
}
