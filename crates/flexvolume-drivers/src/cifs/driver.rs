//! The call-outs of `cifs`.

use std::path::Path;
use std::time::Duration;

use flexvolume::{Capabilities, Driver, Error, Finding, Options};
use flexvolume_os::System;
use flexvolume_os::mountinfo::Mount;
use flexvolume_os::network_mount::Server;
use flexvolume_os::reach;

use super::diagnosis;
use super::request::{CifsRequest, PORT};
use crate::claim::Claims;
use crate::network::{Grants, Result, Shares, address_of};

/// How long a server may take to say that it is there.
const PINGING: Duration = Duration::from_millis(1500);

/// Shares of SMB servers, mounted for one pod each.
#[derive(Debug)]
pub struct Cifs {
    system: System,
    claims: Claims,
}

impl Cifs {
    /// The driver, with its records in the directory `cifs` of `state`.
    #[must_use]
    pub fn new(system: System, state: &Path) -> Self {
        Self { system, claims: Claims { directory: state.join("cifs") } }
    }

    fn shares(&self) -> Shares<'_> {
        Shares { system: &self.system, claims: &self.claims, fs_types: &["cifs", "smb3"] }
    }

    fn request(options: &Options) -> Result<CifsRequest> {
        Ok(CifsRequest::read(options, &Grants::load("cifs")?)?)
    }

    fn set_up(&self, mount_dir: &Path, options: &Options) -> Result<()> {
        self.shares().set_up(mount_dir, &Self::request(options)?)
    }

    fn heal_one(&self, mount_dir: &Path, options: &Options) -> Result<()> {
        self.shares().heal(mount_dir, &Self::request(options)?)
    }
}

/// Whether anything listens where the server of a mount was. The kernel does not show the port. A mount in whose options
/// we find no address has a server that we cannot ask: nothing of it may be given up.
fn server(mount: &Mount, port: Option<u16>) -> Server {
    let Some(address) = address_of(mount) else { return Server::Answers };
    match reach::connect(&[address], port.unwrap_or(PORT), PINGING) {
        Ok(_) => Server::Answers,
        Err(_) => Server::Silent,
    }
}

impl Driver for Cifs {
    fn init(&self) -> std::result::Result<Capabilities, Error> {
        Ok(Capabilities {
            attach: false,
            // The pod's group becomes the group of all files here, by a setting of the mount; a host would change each.
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
        let shares = self.shares();
        Ok(shares.take_down(mount_dir, &|mount| server(mount, shares.recorded_port(mount_dir)))?)
    }

    fn diagnose(&self, options: &Options) -> std::result::Result<Vec<Finding>, Error> {
        Ok(diagnosis::diagnose(options)?)
    }

    fn heal(&self, mount_dir: &Path, options: &Options) -> std::result::Result<(), Error> {
        Ok(self.heal_one(mount_dir, options)?)
    }
}
