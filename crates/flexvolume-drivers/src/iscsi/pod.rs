//! The driver `iscsi-pod`.

use std::path::Path;

use flexvolume::{Capabilities, Driver, Error, Finding, Options};
use flexvolume_os::System;

use super::chap::Chap;
use super::diagnosis;
use super::error::Result;
use super::link::Node;
use super::mount;
use super::record::Shelf;
use super::request::{Authentication, IscsiRequest, Sharing};
use super::session::Sessions;
use crate::remote_disk::DiskError;

/// Disks of iSCSI targets for one pod each: everything happens in `mount`, which is the one call that gets secrets.
///
/// No controller says whose attachment is over, so no node's reservation is ever broken: a disk that a dead node has
/// reserved waits for it, or for an administrator.
#[derive(Debug)]
pub struct IscsiPod {
    system: System,
    shelf: Shelf,
    sessions: Sessions,
}

impl IscsiPod {
    /// The driver, with its records in the directory `iscsi-pod` of `state`.
    #[must_use]
    pub fn new(system: System, state: &Path) -> Self {
        Self { system, shelf: Shelf::new(state, "iscsi-pod"), sessions: Sessions::new(state) }
    }

    fn node(&self) -> Node<'_> {
        Node { system: &self.system, shelf: &self.shelf, sessions: &self.sessions }
    }

    fn set_up(&self, mount_dir: &Path, options: &Options) -> Result<()> {
        let request = IscsiRequest::read(options, Sharing::Nobody)?;
        let chap = Chap::of_secrets(options)?.filter(|_| request.authentication != Authentication::Off);
        let _lock = self.shelf.lock(&request.target)?;
        self.refuse_second_pod(&request, mount_dir)?;
        let connected = self.node().connect(&request, chap.as_ref(), None)?;
        make_directory(mount_dir)?;
        mount::mount_connected(self.node(), &request, connected, mount_dir)
    }

    fn refuse_second_pod(&self, request: &IscsiRequest, mount_dir: &Path) -> Result<()> {
        let Some(record) = self.shelf.load(&request.target)? else { return Ok(()) };
        if record.mounted_at.is_none() || record.is_mounted_at(mount_dir) {
            return Ok(());
        }
        if self.node().disk_of(&request.target, &record)?.is_none() {
            // The machine has been restarted meanwhile.
            return Ok(());
        }
        Err(DiskError::Taken {
            subject: request.target.to_string(),
            holder: "another pod of this node".to_owned(),
            remedy: "this driver gives a disk to one pod; pods of one node share it with the driver `iscsi`",
        }
        .into())
    }
}

fn make_directory(mount_dir: &Path) -> Result<()> {
    match std::fs::create_dir(mount_dir) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map_err(super::error::at("make mount dir", mount_dir)),
    }
}

impl Driver for IscsiPod {
    fn init(&self) -> std::result::Result<Capabilities, Error> {
        Ok(Capabilities { attach: false, supports_metrics: true, ..Capabilities::default() })
    }

    fn mount(&self, mount_dir: &Path, options: &Options) -> std::result::Result<(), Error> {
        Ok(self.set_up(mount_dir, options)?)
    }

    fn unmount(&self, mount_dir: &Path) -> std::result::Result<(), Error> {
        Ok(mount::unmount(self.node(), mount_dir)?)
    }

    fn diagnose(&self, options: &Options) -> std::result::Result<Vec<Finding>, Error> {
        Ok(diagnosis::diagnose(self.node(), options)?)
    }
}
