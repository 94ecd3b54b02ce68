//! The driver `iscsi`.

use std::path::{Path, PathBuf};

use flexvolume::{Attachment, Capabilities, DeviceMount, Driver, Error, Expansion, Finding, Options};
use flexvolume_os::System;

use super::chap::Chap;
use super::diagnosis;
use super::error::{IscsiError, Result};
use super::grow;
use super::key::Pass;
use super::link::Node;
use super::mount;
use super::record::Shelf;
use super::request::{Authentication, IscsiRequest, Sharing};
use super::session::Sessions;
use crate::remote_disk::{Claims, Grow, Memory};

/// Disks of iSCSI targets, with a file system.
///
/// `attach` records which node has the disk and answers a pass: the number of the attachment, and which ones are over.
/// The session is made on the node, in `waitforattach`, where the pass decides whose reservation may be broken.
/// `unmountdevice` ends it.
#[derive(Debug)]
pub struct IscsiDriver {
    system: System,
    shelf: Shelf,
    sessions: Sessions,
    claims: Claims,
}

impl IscsiDriver {
    /// The driver, with its records in the directory `iscsi` of `state`.
    #[must_use]
    pub fn new(system: System, state: &Path) -> Self {
        Self {
            system,
            shelf: Shelf::new(state, "iscsi"),
            sessions: Sessions::new(state),
            claims: Claims::new(state, "iscsi", Memory::Releases),
        }
    }

    fn node(&self) -> Node<'_> {
        Node { system: &self.system, shelf: &self.shelf, sessions: &self.sessions }
    }

    fn attach_volume(&self, request: &IscsiRequest, node: &str) -> Result<String> {
        Ok(Pass::new(node, self.claims.admit(&request.wanted(), node)?).encode())
    }

    fn connect(&self, pass: Option<&str>, request: &IscsiRequest) -> Result<PathBuf> {
        let _lock = self.shelf.lock(&request.target)?;
        let chap = match request.authentication {
            Authentication::Off => None,
            Authentication::Possible | Authentication::Required => Chap::of_node(&request.target.name)?,
        };
        Ok(self.node().connect(request, chap.as_ref(), pass.and_then(Pass::decode))?.device)
    }

    /// On a machine that is controller and node at once, what no `unmountdevice` has ended is ended here. While it is in
    /// use, the node keeps the volume.
    fn detach_volume(&self, volume: &str, node: &str) -> Result<()> {
        if !self.claims.is_held_by_others(volume, node)? {
            let here = self.shelf.all().into_iter().filter(|(_, record)| record.volume == volume);
            for (target, _) in here {
                let _lock = self.shelf.lock(&target)?;
                match self.shelf.load(&target)? {
                    Some(record) if record.link.connected => self.node().disconnect(&target, record)?,
                    _ => {}
                }
            }
        }
        Ok(self.claims.release(volume, node)?)
    }

    fn is_volume_attached(&self, request: &IscsiRequest, node: &str) -> Result<Attachment> {
        let has = self.claims.has(&request.wanted(), node)?;
        Ok(if has { Attachment::Attached } else { Attachment::Detached })
    }
}

impl Driver for IscsiDriver {
    fn init(&self) -> std::result::Result<Capabilities, Error> {
        // What `statfs` of these file systems answers is in memory: no server can hold it up.
        Ok(Capabilities { supports_metrics: true, ..Capabilities::default() })
    }

    fn attach(&self, options: &Options, node: &str) -> std::result::Result<Option<String>, Error> {
        Ok(Some(self.attach_volume(&read(options)?, node)?))
    }

    fn is_attached(&self, options: &Options, node: &str) -> std::result::Result<Attachment, Error> {
        Ok(self.is_volume_attached(&read(options)?, node)?)
    }

    fn wait_for_attach(&self, device: Option<&str>, options: &Options) -> std::result::Result<String, Error> {
        Ok(self.connect(device, &read(options)?)?.display().to_string())
    }

    fn mount_device(&self, mount: DeviceMount<'_>, options: &Options) -> std::result::Result<(), Error> {
        Ok(mount::mount(self.node(), &read(options)?, mount)?)
    }

    fn unmount_device(&self, device_mount_path: &Path) -> std::result::Result<(), Error> {
        Ok(mount::unmount(self.node(), device_mount_path)?)
    }

    fn detach(&self, volume: &str, node: &str) -> std::result::Result<(), Error> {
        Ok(self.detach_volume(volume, node)?)
    }

    fn expand_volume(&self, options: &Options, expansion: Expansion<'_>) -> std::result::Result<u64, Error> {
        Ok(grow::grow(self.node(), &read(options)?, expansion.new_size, Grow::Device)?)
    }

    /// Grows the device first: stock Kubernetes never calls `expandvolume`
    /// (v1.37 `pkg/controller/volume/expand/expand_controller.go` knows no FlexVolume plugin).
    fn expand_fs(&self, options: &Options, expansion: Expansion<'_>) -> std::result::Result<(), Error> {
        grow::grow(self.node(), &read(options)?, expansion.new_size, Grow::Both)?;
        Ok(())
    }

    fn diagnose(&self, options: &Options) -> std::result::Result<Vec<Finding>, Error> {
        Ok(diagnosis::diagnose(self.node(), options)?)
    }
}

fn read(options: &Options) -> Result<IscsiRequest> {
    IscsiRequest::read(options, Sharing::Initiator).map_err(IscsiError::from)
}
