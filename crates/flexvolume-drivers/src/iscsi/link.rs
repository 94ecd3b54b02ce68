//! A disk on this node: a session with its target, the one device, its identity, its fence; and back.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flexvolume::Access;
use flexvolume_os::System;
use flexvolume_os::failpoint::hit;
use flexvolume_os::iscsi::{Disk, Session, State};
use flexvolume_os::network_mount::NetworkMounter;
use flexvolume_os::scsi;
use rustix::io::Errno;

use super::chap::Chap;
use super::error::{IscsiError, Result, at, of_sysfs};
use super::fence::{self, Fence, Fenced};
use super::key::Pass;
use super::record::{Identity, Record, Shelf, renewed};
use super::request::IscsiRequest;
use super::session::{Sessions, reach};
use super::target::Target;
use crate::device;
use crate::remote_disk::DiskError;

/// How long a disk may take to appear after the kernel was told to look.
const APPEARANCE: Duration = Duration::from_secs(5);
/// How long a disk may take to answer what the kernel asks when it looks, and when it lets go.
pub(crate) const LOOK: Duration = Duration::from_secs(10);
const LETTING_GO: Duration = Duration::from_secs(4);
/// How long a server is looked for that may have gone.
const BRIEF: Duration = Duration::from_secs(2);
const TICK: Duration = Duration::from_millis(20);
/// How often a disk is asked who it is.
const ASKING: usize = 5;
const BETWEEN: Duration = Duration::from_millis(500);

/// This node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node<'a> {
    pub(crate) system: &'a System,
    pub(crate) shelf: &'a Shelf,
    pub(crate) sessions: &'a Sessions,
}

/// A volume with a device. The lock of its target is held.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) record: Record,
    pub(crate) disk: Disk,
    pub(crate) device: PathBuf,
}

impl Node<'_> {
    /// The volume's device: the one that is there, or a new one.
    pub(crate) fn connect(
        &self,
        request: &IscsiRequest,
        chap: Option<&Chap>,
        pass: Option<Pass>,
    ) -> Result<Connected> {
        let target = &request.target;
        let known = self.shelf.load(target)?;
        if let Some(known) = &known {
            self.refuse_second(request, known)?;
        }
        let mut record = renewed(request, known);
        record.link.connected = true;
        record.link.pass = pass.or(record.link.pass);
        self.shelf.store(target, &record)?;
        hit("iscsi.connecting");
        match self.bring_up(request, &mut record, chap) {
            Ok((disk, device)) => Ok(Connected { record, disk, device }),
            Err(error) => {
                // Nothing is left behind, unless it is in use; then the next call finds it.
                let _ = self.disconnect(target, record);
                Err(error)
            }
        }
    }

    fn refuse_second(&self, request: &IscsiRequest, known: &Record) -> Result<()> {
        let subject = request.target.to_string();
        if known.volume == request.volume || self.disk_of(&request.target, known)?.is_none() {
            return Ok(());
        }
        let holder = format!("this node as the volume {:?}", known.volume);
        let remedy = "one disk is one volume: give each its own";
        Err(DiskError::Taken { subject, holder, remedy }.into())
    }

    fn bring_up(
        &self,
        request: &IscsiRequest,
        record: &mut Record,
        chap: Option<&Chap>,
    ) -> Result<(Disk, PathBuf)> {
        let target = &request.target;
        let _lock = self.sessions.lock(&target.name)?;
        let session = self.sessions.ensure(self.system, request, chap)?;
        hit("iscsi.logged-in");
        let (disk, device) = self.appear(request, &session)?;
        hit("iscsi.scanned");
        self.identify(request, record, &disk)?;
        hit("iscsi.identified");
        self.fence(request, record, &device)?;
        self.shelf.store(target, record)?;
        hit("iscsi.recorded");
        Ok((disk, device))
    }

    /// Has the kernel look for the one disk.
    fn appear(&self, request: &IscsiRequest, session: &Session) -> Result<(Disk, PathBuf)> {
        let target = &request.target;
        if session.disk(target.lun).map_err(of_sysfs)?.is_none() {
            let (file, text) = self.sessions.kernel.scan(session, target.lun);
            NetworkMounter::new(self.system).tell(&file, &text, LOOK)?;
        }
        let end = Instant::now() + APPEARANCE;
        loop {
            let disk = session.disk(target.lun).map_err(of_sysfs)?;
            if let Some(disk) = disk
                && let Some(device) = device_of(&disk)?
                && File::open(&device).is_ok()
            {
                return Ok((disk, device));
            }
            if Instant::now() > end {
                let (subject, initiator) = (target.to_string(), initiator(request));
                return Err(IscsiError::NoDisk { subject, initiator });
            }
            std::thread::sleep(TICK);
        }
    }

    /// Has the kernel ask the disk anew who it is and how large, and makes sure that it has understood: where a session
    /// comes back meanwhile, it goes on believing what it knew.
    pub(crate) fn ask_anew(&self, target: &Target, disk: &Disk, device: &Path) -> Result<()> {
        for _ in 0..ASKING {
            NetworkMounter::new(self.system).tell(&disk.rescan(), "1", LOOK)?;
            let file = File::open(device).map_err(at("open", device))?;
            if scsi::identity(&file).is_ok_and(|page| is_same(&page, &disk.page())) {
                return Ok(());
            }
            std::thread::sleep(BETWEEN);
        }
        Err(IscsiError::Session {
            subject: target.to_string(),
            what: "does not say which disk it is".to_owned(),
            remedy: "its session may be about to come back: try again",
        })
    }

    /// Notes which disk of the world it is, or compares it with what was noted.
    pub(crate) fn identify(&self, request: &IscsiRequest, record: &mut Record, disk: &Disk) -> Result<()> {
        let subject = request.target.to_string();
        let Some(found) = disk.identity() else { return Err(IscsiError::Anonymous { subject }) };
        let differs = |wanted: &str, remedy: String| {
            Err(IscsiError::OtherDisk {
                subject: subject.clone(),
                found: found.clone(),
                wanted: wanted.to_owned(),
                remedy,
            })
        };
        if let Some(wanted) = request.wwid.as_ref().filter(|wanted| **wanted != found) {
            return differs(
                wanted,
                "the option \"wwid\" says so; correct it, or have the target give the right disk".to_owned(),
            );
        }
        let other = record.link.identity.as_ref().filter(|known| known.wwid != found);
        if let Some(known) = other.filter(|known| known.volume == request.volume) {
            let wanted = &known.wwid;
            let file = self.shelf.path(&request.target);
            return differs(
                wanted,
                format!(
                    "have the target give the right one; if the disk was exchanged on purpose, remove {}",
                    file.display()
                ),
            );
        }
        if other.is_some() {
            // Another volume's disk was here: what was on that says nothing of this one.
            (record.contents, record.grow) = (None, false);
        }
        record.link.identity = Some(Identity { wwid: found, volume: request.volume.clone() });
        Ok(())
    }

    /// Makes this node the only one that writes, if the disk can do that.
    fn fence(&self, request: &IscsiRequest, record: &mut Record, device: &Path) -> Result<()> {
        let alone = || Pass::without_controller(&initiator(request));
        let pass = record.link.pass.get_or_insert_with(alone).clone();
        if request.file_system.access == Access::ReadOnly {
            return Ok(());
        }
        let disk = File::open(device).map_err(at("open", device))?;
        record.link.reserved = true;
        self.shelf.store(&request.target, record)?;
        let fence = Fence { disk: &disk, pass: &pass, subject: &request.target.to_string() };
        let fenced = fence.close(request.fencing);
        record.link.reserved = matches!(fenced, Ok(Fenced::Yes));
        fenced.map(|_| ())
    }

    /// The volume's device, which must be there.
    pub(crate) fn connected(&self, target: &Target) -> Result<Connected> {
        let not_connected = || DiskError::NotConnected { subject: target.to_string() };
        let record = self.shelf.load(target)?.ok_or_else(not_connected)?;
        let (_, disk) = self.disk_of(target, &record)?.ok_or_else(not_connected)?;
        let device = device_of(&disk)?.ok_or_else(not_connected)?;
        Ok(Connected { record, disk, device })
    }

    /// The disk, if it is there, and its session.
    pub(crate) fn disk_of(&self, target: &Target, record: &Record) -> Result<Option<(Session, Disk)>> {
        let Some(session) = self.sessions.find(target, record)? else { return Ok(None) };
        let disk = session.disk(target.lun).map_err(of_sysfs)?;
        Ok(disk.map(|disk| (session, disk)))
    }

    /// Takes the device of a disk that nobody uses away, ends the session if that was its last, and forgets both.
    pub(crate) fn disconnect(&self, target: &Target, mut record: Record) -> Result<()> {
        let _lock = self.sessions.lock(&target.name)?;
        // Held until the device is gone, so that nobody mounts it meanwhile.
        let _claim = match self.disk_of(target, &record)? {
            Some((session, disk)) => self.take_away(target, &record, (&session, &disk))?,
            None => None,
        };
        self.sessions.end(self.system, target, &record)?;
        hit("iscsi.logged-out");
        (record.link.connected, record.link.reserved) = (false, false);
        (record.link.pass, record.link.lost_since, record.mounted_at) = (None, None, None);
        // What disk it was is remembered, and so is what this node has made on it.
        if record.link.identity.is_some() || record.has_made_something() {
            Ok(self.shelf.store(target, &record)?)
        } else {
            Ok(self.shelf.remove(target)?)
        }
    }
}

impl Node<'_> {
    /// Takes the key off the disk and the device away. Of a server that is gone nothing is asked, which would wait for it:
    /// the device goes with the session then, if it is its only one.
    fn take_away(
        &self,
        target: &Target,
        record: &Record,
        (session, disk): (&Session, &Disk),
    ) -> Result<Option<File>> {
        let subject = target.to_string();
        let claim = match device_of(disk)? {
            Some(device) => claim(&device, &subject)?,
            None => None,
        };
        let is_alone = session.disks().map_err(of_sysfs)?.len() == 1;
        match (session.state, reach(&record.link.portals(), BRIEF)) {
            (State::LoggedIn, Ok(_)) => {
                if let (Some(pass), true, Some(claim)) = (&record.link.pass, record.link.reserved, &claim) {
                    fence::open(claim, pass);
                    hit("iscsi.unregistered");
                }
            }
            (State::GivenUp, _) => {}
            _ if is_alone => return Ok(claim),
            (_, reached) => {
                let why = "its server is gone, and other disks of the session wait for it";
                let why = reached.err().map_or_else(|| why.to_owned(), |error| error.to_string());
                return Err(DiskError::Waiting { subject, why, left: record.link.reconnect_timeout }.into());
            }
        }
        NetworkMounter::new(self.system).tell(&disk.deletion(), "1", LETTING_GO)?;
        hit("iscsi.deleted");
        Ok(claim)
    }
}

/// Whether two views of a page, each of which may be cut off, say the same.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let length = one.len().min(other.len());
    length > 4 && one.get(..length) == other.get(..length)
}

/// By what name the target knows this node.
fn initiator(request: &IscsiRequest) -> String {
    let of_node = || {
        let text = std::fs::read_to_string("/etc/iscsi/initiatorname.iscsi").unwrap_or_default();
        let name = text.lines().find_map(|line| line.strip_prefix("InitiatorName="));
        name.map_or_else(|| "of this node".to_owned(), |name| name.trim().to_owned())
    };
    request.initiator.as_ref().map_or_else(of_node, ToString::to_string)
}

/// Opens a device for us alone, so that nobody mounts it meanwhile; `None` when it cannot be opened for another reason
/// than that somebody has it, such as that its server is gone.
fn claim(device: &Path, subject: &str) -> Result<Option<File>> {
    device::wait_until_nobody_claims(device);
    match device::claim(device) {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::BUSY) => {
            Err(DiskError::Busy { device: device.to_owned(), subject: subject.to_owned() }.into())
        }
        other => Ok(other.ok()),
    }
}

/// The device of a disk, once it is there.
pub(crate) fn device_of(disk: &Disk) -> Result<Option<PathBuf>> {
    let name = disk.name().map_err(of_sysfs)?;
    Ok(name.map(|name| Path::new("/dev").join(name)).filter(|device| device.exists()))
}
