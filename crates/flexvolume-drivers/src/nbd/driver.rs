//! The driver `nbd`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use flexvolume::{Attachment, Capabilities, DeviceMount, Driver, Error, Expansion, Finding, Options};
use flexvolume_os::{System, nbd};

use super::diagnosis;
use super::error::{NbdError, Result};
use super::grow;
use super::link::{Node, device_of};
use super::mount;
use super::protocol::{Intent, ProtocolError};
use super::record::Shelf;
use super::refusal::Kind;
use super::request::NbdRequest;
use super::session::Session;
use crate::remote_disk::{Claims, Grow, Memory};

/// How long the controller waits for a server that it may have no way to.
const GLANCE: Duration = Duration::from_secs(5);
const RECONNECT: Duration = Duration::from_secs(8);

/// Exports of NBD servers, with a file system.
///
/// `attach` looks at the export and records which node has it; the connection is made on the node, in `waitforattach`,
/// and handed to the kernel: no process stays behind. `unmountdevice` ends it.
#[derive(Debug)]
pub struct NbdDriver {
    system: System,
    shelf: Shelf,
    claims: Claims,
}

impl NbdDriver {
    /// The driver, with its records in the directory `nbd` of `state`.
    #[must_use]
    pub fn new(system: System, state: &Path) -> Self {
        Self { system, shelf: Shelf::new(state, "nbd"), claims: Claims::new(state, "nbd", Memory::None) }
    }

    fn node(&self) -> Node<'_> {
        Node { system: &self.system, shelf: &self.shelf }
    }

    fn attach_volume(&self, request: &NbdRequest, node: &str) -> Result<()> {
        let wanted = request.wanted();
        if !self.claims.has(&wanted, node)? {
            look(request)?;
        }
        self.claims.admit(&wanted, node)?;
        Ok(())
    }

    fn connect(&self, request: &NbdRequest) -> Result<PathBuf> {
        let _lock = self.shelf.lock(&request.target)?;
        let connected = self.node().connect(request)?;
        Ok(nbd::device(connected.index))
    }

    /// On a machine that is controller and node at once, a connection that no `unmountdevice` has ended is ended here. While
    /// it is in use, the node keeps the volume.
    fn detach_volume(&self, volume: &str, node: &str) -> Result<()> {
        if !self.claims.is_held_by_others(volume, node)? {
            let here = self.shelf.all().into_iter().filter(|(_, record)| record.volume == volume);
            for (target, _) in here {
                let _lock = self.shelf.lock(&target)?;
                match self.shelf.load(&target)? {
                    Some(record) if record.link.connection.is_some() => {
                        self.node().disconnect(&target, record)?;
                    }
                    _ => {}
                }
            }
        }
        Ok(self.claims.release(volume, node)?)
    }

    /// Connects a volume again whose server was away; it may be of another node.
    fn repair(&self, request: &NbdRequest) -> Result<()> {
        let target = &request.target;
        let _lock = self.shelf.lock(target)?;
        let Some(mut record) = self.shelf.load(target)? else { return Ok(()) };
        match device_of(&record)? {
            Some(_) => self.node().keep(target, &mut record, RECONNECT),
            None => Ok(()),
        }
    }
}

/// Asks the server for the export, as far as the controller can reach it. What only the node can judge is left to it.
fn look(request: &NbdRequest) -> Result<()> {
    let Ok(mut session) = Session::open(&request.target.address, GLANCE) else { return Ok(()) };
    let outcome = session.choose(&request.target, Intent::Look);
    match outcome {
        Err(error @ NbdError::Server { source: ProtocolError::Refused(_), .. }) if is_final(&error) => {
            Err(error)
        }
        Ok(_) => {
            session.abort();
            Ok(())
        }
        Err(_) => Ok(()),
    }
}

/// Whether no client would get another answer.
fn is_final(error: &NbdError) -> bool {
    let NbdError::Server { source: ProtocolError::Refused(refusal), .. } = error else { return false };
    matches!(refusal.kind, Kind::UnknownExport | Kind::TlsRequired)
}

impl Driver for NbdDriver {
    fn init(&self) -> std::result::Result<Capabilities, Error> {
        // What `statfs` of these file systems answers is in memory: no server can hold it up.
        Ok(Capabilities { supports_metrics: true, ..Capabilities::default() })
    }

    fn attach(&self, options: &Options, node: &str) -> std::result::Result<Option<String>, Error> {
        self.attach_volume(&NbdRequest::read(options)?, node)?;
        Ok(None)
    }

    /// Besides, a broken connection of this machine is repaired: this is the one call that comes by itself.
    fn is_attached(&self, options: &Options, node: &str) -> std::result::Result<Attachment, Error> {
        let request = NbdRequest::read(options)?;
        // Whoever wants to know more asks `diagnose`: an error here would hide the node's other volumes.
        let _ = self.repair(&request);
        Ok(if self.claims.has(&request.wanted(), node).map_err(NbdError::from)? {
            Attachment::Attached
        } else {
            Attachment::Detached
        })
    }

    fn wait_for_attach(
        &self,
        _device: Option<&str>,
        options: &Options,
    ) -> std::result::Result<String, Error> {
        Ok(self.connect(&NbdRequest::read(options)?)?.display().to_string())
    }

    fn mount_device(&self, mount: DeviceMount<'_>, options: &Options) -> std::result::Result<(), Error> {
        Ok(mount::mount(self.node(), &NbdRequest::read(options)?, mount)?)
    }

    fn unmount_device(&self, device_mount_path: &Path) -> std::result::Result<(), Error> {
        Ok(mount::unmount(self.node(), device_mount_path)?)
    }

    fn detach(&self, volume: &str, node: &str) -> std::result::Result<(), Error> {
        Ok(self.detach_volume(volume, node)?)
    }

    fn expand_volume(&self, options: &Options, expansion: Expansion<'_>) -> std::result::Result<u64, Error> {
        let request = NbdRequest::read(options)?;
        Ok(grow::grow(self.node(), &request, expansion.new_size, Grow::Device)?)
    }

    /// Grows the device first: stock Kubernetes never calls `expandvolume`
    /// (v1.37 `pkg/controller/volume/expand/expand_controller.go` knows no FlexVolume plugin).
    fn expand_fs(&self, options: &Options, expansion: Expansion<'_>) -> std::result::Result<(), Error> {
        let request = NbdRequest::read(options)?;
        grow::grow(self.node(), &request, expansion.new_size, Grow::Both)?;
        Ok(())
    }

    fn heal(&self, _mount_dir: &Path, options: &Options) -> std::result::Result<(), Error> {
        Ok(self.repair(&NbdRequest::read(options)?)?)
    }

    fn diagnose(&self, options: &Options) -> std::result::Result<Vec<Finding>, Error> {
        Ok(diagnosis::diagnose(self.node(), options)?)
    }
}
