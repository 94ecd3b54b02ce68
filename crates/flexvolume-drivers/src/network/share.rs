//! The life of a mount of a network file system: one for each mount dir, with a record of what it should be.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use flexvolume_os::System;
use flexvolume_os::failpoint::hit;
use flexvolume_os::mountinfo::Mount;
use flexvolume_os::network_mount::{
    Health, NetworkMount, NetworkMountError, NetworkMounter, Server, Unmounting,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::{NetworkError, Result};
use crate::claim::Claims;
use crate::error::at;

/// How long a mount may take once the server has been reached.
const MOUNTING: Duration = Duration::from_secs(20);
/// How long a mount may take that shares what may be stuck, when there is one that does not.
const SHARING: Duration = Duration::from_secs(6);
/// How long that one may take then, so that all of it is within the time of a call.
const APART: Duration = Duration::from_secs(16);
/// How long a mount may take to show that it is well.
const LOOKING: Duration = Duration::from_secs(5);

/// The mounts of one driver.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shares<'a> {
    pub(crate) system: &'a System,
    pub(crate) claims: &'a Claims,
    /// As the mount table names this driver's file systems.
    pub(crate) fs_types: &'a [&'a str],
}

/// What a manifest asks for.
pub(crate) trait Request {
    /// What stands in the mount table as the source.
    fn source(&self) -> String;

    /// All that makes this mount differ from another one, without secrets.
    fn identity(&self) -> String;

    /// The server's port, if it is not the usual one and the mount table does not show it.
    fn port(&self) -> Option<u16> {
        None
    }

    /// Finds the server, and what to mount from it. Nothing has been changed when this fails.
    fn reach(&self) -> Result<Reached>;

    /// A refusal in a sentence that names the cause and the next step.
    fn explain(&self, error: NetworkMountError, reached: &Reached) -> NetworkError;
}

/// A server that was found.
#[derive(Debug, Clone)]
pub(crate) struct Reached {
    pub(crate) address: IpAddr,
    pub(crate) mount: NetworkMount,
    /// The same without a part in what other mounts have, if that can be: what they wait for may hold this one up.
    pub(crate) apart: Option<NetworkMount>,
}

/// What is recorded of a mount dir, before anything is mounted there.
#[derive(Debug, Serialize, Deserialize)]
struct Holds {
    identity: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
}

impl Holds {
    fn of(request: &impl Request) -> Self {
        Self { identity: request.identity(), port: request.port() }
    }
}

/// What is at a mount dir.
enum Standing {
    Nothing,
    /// A mount of this driver, and what was recorded of it.
    Ours(Option<Holds>),
    Other(Mount),
}

impl Shares<'_> {
    fn mounter(&self) -> NetworkMounter<'_> {
        NetworkMounter::new(self.system)
    }

    /// Mounts. What is mounted already is a success that asks no server.
    pub(crate) fn set_up(&self, mount_dir: &Path, request: &impl Request) -> Result<()> {
        if self.is_set_up(mount_dir, request)? {
            return Ok(());
        }
        let lock = self.claims.lock(mount_dir)?;
        let outcome = self.set_up_alone(mount_dir, request);
        lock.discard().map_err(crate::error::VolumeError::from)?;
        outcome
    }

    fn set_up_alone(&self, mount_dir: &Path, request: &impl Request) -> Result<()> {
        if self.is_set_up(mount_dir, request)? {
            return Ok(());
        }
        let reached = request.reach()?;
        make_directory(mount_dir)?;
        self.claims.store(mount_dir, Holds::of(request))?;
        hit("network.claimed");
        if let Err(error) = self.mount(&reached, mount_dir) {
            // The host does not call `unmount` after a failed `mount`. The table says that nothing is there.
            let _ = self.claims.remove(mount_dir);
            return Err(request.explain(error, &reached));
        }
        hit("network.mounted");
        Ok(())
    }

    fn mount(&self, reached: &Reached, mount_dir: &Path) -> std::result::Result<(), NetworkMountError> {
        let alone = reached.apart.is_none();
        let mounted = self.mounter().mount(&reached.mount, mount_dir, if alone { MOUNTING } else { SHARING });
        match (mounted, &reached.apart) {
            (Err(NetworkMountError::Deadline { .. }), Some(apart)) => {
                self.mounter().mount(apart, mount_dir, APART).map(|_| ())
            }
            (mounted, _) => mounted.map(|_| ()),
        }
    }

    fn is_set_up(&self, mount_dir: &Path, request: &impl Request) -> Result<bool> {
        let wanted = request.identity();
        let actual = match self.standing(mount_dir)? {
            Standing::Nothing => return Ok(false),
            Standing::Ours(Some(holds)) if holds.identity == wanted => return Ok(true),
            Standing::Ours(Some(holds)) => holds.identity,
            Standing::Ours(None) => "something of which there is no record".to_owned(),
            Standing::Other(mount) => format!("{} ({})", mount.source.display(), mount.fs_type),
        };
        Err(NetworkError::Differs { mount_dir: mount_dir.display().to_string(), actual, wanted })
    }

    fn standing(&self, mount_dir: &Path) -> Result<Standing> {
        match self.mounter().stack(mount_dir)?.pop() {
            None => Ok(Standing::Nothing),
            Some(mount) if self.is_ours(&mount) => Ok(Standing::Ours(self.claims.load(mount_dir)?)),
            Some(mount) => Ok(Standing::Other(mount)),
        }
    }

    fn is_ours(&self, mount: &Mount) -> bool {
        self.fs_types.contains(&&*mount.fs_type)
    }

    /// The port of [`Request::port`] that a mount was made with, as far as is known.
    pub(crate) fn recorded_port(&self, mount_dir: &Path) -> Option<u16> {
        self.claims.load::<Holds>(mount_dir).ok()??.port
    }

    /// Unmounts, whether the server is there or not; `server` finds out.
    pub(crate) fn take_down(&self, mount_dir: &Path, server: &dyn Fn(&Mount) -> Server) -> Result<()> {
        let nothing = matches!(self.standing(mount_dir), Ok(Standing::Nothing));
        if nothing && !self.claims.file(mount_dir).exists() {
            return Ok(());
        }
        let lock = self.claims.lock(mount_dir)?;
        let outcome = self.take_down_alone(mount_dir, server);
        lock.discard().map_err(crate::error::VolumeError::from)?;
        outcome
    }

    fn take_down_alone(&self, mount_dir: &Path, server: &dyn Fn(&Mount) -> Server) -> Result<()> {
        let is_ours = |mount: &Mount| self.is_ours(mount);
        self.mounter().unmount(mount_dir, &Unmounting { is_ours: &is_ours, server })?;
        hit("network.unmounted");
        Ok(self.claims.remove(mount_dir)?)
    }

    /// Makes a mount that has gone bad good again, by a new one.
    pub(crate) fn heal(&self, mount_dir: &Path, request: &impl Request) -> Result<()> {
        let lock = self.claims.lock(mount_dir)?;
        let outcome = self.heal_alone(mount_dir, request);
        lock.discard().map_err(crate::error::VolumeError::from)?;
        outcome
    }

    fn heal_alone(&self, mount_dir: &Path, request: &impl Request) -> Result<()> {
        let stack = self.mounter().stack(mount_dir)?;
        if stack.is_empty() || !stack.iter().all(|mount| self.is_ours(mount)) {
            return self.set_up_alone(mount_dir, request);
        }
        let not_healed = |sickness: &dyn ToString, why: String| NetworkError::NotHealed {
            mount_dir: mount_dir.display().to_string(),
            sickness: sickness.to_string(),
            why,
        };
        let errno = match self.mounter().look(mount_dir, LOOKING)? {
            Health::Well => return Ok(()),
            Health::Sick(errno) => io::Error::from_raw_os_error(errno),
            Health::Silent => {
                let sickness = format!("no answer within {}s", LOOKING.as_secs());
                let why = match request.reach() {
                    Ok(_) => "the server is there, and the kernel repeats what waits for it: look again in a minute".to_owned(),
                    Err(error) => error.to_string(),
                };
                return Err(not_healed(&sickness, why));
            }
        };
        let mut reached = request.reach().map_err(|error| not_healed(&errno, error.to_string()))?;
        // On top of the first mount, containers that receive mounts see the new one. But the kernel takes away what is
        // mounted on a directory that its server has removed.
        let gone = errno.raw_os_error() == Some(Errno::STALE.raw_os_error());
        let replaces = if gone { stack.len() } else { stack.len() - 1 };
        for mount in [Some(&mut reached.mount), reached.apart.as_mut()].into_iter().flatten() {
            mount.replaces = replaces;
        }
        self.claims.store(mount_dir, Holds::of(request))?;
        hit("network.healing");
        self.mount(&reached, mount_dir)
            .map_err(|error| not_healed(&errno, request.explain(error, &reached).to_string()))
    }
}

fn make_directory(mount_dir: &Path) -> Result<()> {
    match fs::create_dir(mount_dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => Ok(other.map_err(at("make mount dir", mount_dir))?),
    }
}

/// The server of a mount, as the mount table has it.
pub(crate) fn address_of(mount: &Mount) -> Option<IpAddr> {
    let option = mount.super_options.iter().find_map(|option| option.strip_prefix("addr="))?;
    option.parse().ok()
}
