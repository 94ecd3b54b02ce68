//! The call-outs of `nfs`.

use std::path::Path;
use std::time::Duration;

use flexvolume::{Capabilities, Driver, Error, Finding, Options};
use flexvolume_os::System;
use flexvolume_os::mountinfo::Mount;
use flexvolume_os::network_mount::Server;

use super::diagnosis;
use super::request::{NfsRequest, PORT};
use super::rpc::{NFS_3, NFS_4, Peer, RpcError};
use crate::claim::Claims;
use crate::network::{Grants, Result, Shares, address_of};

/// How long a server may take to say that it is there.
const PINGING: Duration = Duration::from_millis(1500);

/// Directories of NFS servers, mounted for one pod each.
#[derive(Debug)]
pub struct Nfs {
    system: System,
    claims: Claims,
}

impl Nfs {
    /// The driver, with its records in the directory `nfs` of `state`.
    #[must_use]
    pub fn new(system: System, state: &Path) -> Self {
        Self { system, claims: Claims { directory: state.join("nfs") } }
    }

    fn shares(&self) -> Shares<'_> {
        Shares { system: &self.system, claims: &self.claims, fs_types: &["nfs", "nfs4"] }
    }

    fn request(options: &Options) -> Result<NfsRequest> {
        Ok(NfsRequest::read(options, &Grants::load("nfs")?)?)
    }

    fn set_up(&self, mount_dir: &Path, options: &Options) -> Result<()> {
        self.shares().set_up(mount_dir, &Self::request(options)?)
    }

    fn heal_one(&self, mount_dir: &Path, options: &Options) -> Result<()> {
        self.shares().heal(mount_dir, &Self::request(options)?)
    }
}

/// Whether the server of a mount answers, by a call that does nothing. A mount in whose options we find no address has a
/// server that we cannot ask: nothing of it may be given up.
fn server(mount: &Mount) -> Server {
    let Some(address) = address_of(mount) else { return Server::Answers };
    let port = mount.super_options.iter().find_map(|option| option.strip_prefix("port=")?.parse().ok());
    let peer = Peer { address, port: port.unwrap_or(PORT), patience: PINGING };
    let program = if mount.fs_type == "nfs4" { NFS_4 } else { NFS_3 };
    match peer.ping(program) {
        Err(RpcError::Unreachable(_) | RpcError::Broken(_)) => Server::Silent,
        // Whatever it says, it is there.
        Ok(()) | Err(_) => Server::Answers,
    }
}

impl Driver for Nfs {
    fn init(&self) -> std::result::Result<Capabilities, Error> {
        Ok(Capabilities {
            attach: false,
            // The owner of each file is the server's affair; a host would change a whole share.
            fs_group: false,
            // A host asks for the free space of a mount without a deadline, and a dead server would hold it.
            supports_metrics: false,
            selinux_relabel: false,
            requires_fs_resize: false,
        })
    }

    fn mount(&self, mount_dir: &Path, options: &Options) -> std::result::Result<(), Error> {
        Ok(self.set_up(mount_dir, options)?)
    }

    fn unmount(&self, mount_dir: &Path) -> std::result::Result<(), Error> {
        Ok(self.shares().take_down(mount_dir, &server)?)
    }

    fn diagnose(&self, options: &Options) -> std::result::Result<Vec<Finding>, Error> {
        Ok(diagnosis::diagnose(options)?)
    }

    fn heal(&self, mount_dir: &Path, options: &Options) -> std::result::Result<(), Error> {
        Ok(self.heal_one(mount_dir, options)?)
    }
}
