//! A volume's device on this node: connected, kept connected, disconnected.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::{Duration, Instant};

use flexvolume::Access;
use flexvolume_os::System;
use flexvolume_os::command::Command;
use flexvolume_os::failpoint::hit;
use flexvolume_os::nbd::{self, Change, Nbd};
use flexvolume_os::reach::Unreachable;
use flexvolume_os::socket::Link;
use flexvolume_os::tools::MODPROBE;
use rustix::io::Errno;

use super::address::Target;
use super::error::{NbdError, Result, at, of_server};
use super::protocol::{Export, Intent};
use super::record::{Connection, Record, Shelf, new_record};
use super::request::NbdRequest;
use super::session::{Reader, Session};
use crate::device;
use crate::remote_disk::{DiskError, State, now};
use crate::superblock;

/// From the first packet to the end of the handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The same, where somebody waits for an unmount.
const BRIEF: Duration = Duration::from_secs(3);
/// How long `/dev` may take to show a device.
const APPEARANCE: Duration = Duration::from_secs(5);
const TICK: Duration = Duration::from_millis(20);
const MODPROBE_DEADLINE: Duration = Duration::from_secs(20);
/// Of the kernel: a page.
const LARGEST_BLOCK: u32 = 4096;
const SMALLEST_BLOCK: u32 = 512;

/// This node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node<'a> {
    pub(crate) system: &'a System,
    pub(crate) shelf: &'a Shelf,
}

/// A volume with a device. The lock of its target is held.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) record: Record,
    pub(crate) index: u32,
}

impl Node<'_> {
    /// The volume's device: the one that is there, with a new connection if the old one is broken, or a new one.
    pub(crate) fn connect(&self, request: &NbdRequest) -> Result<Connected> {
        let target = &request.target;
        let mut record = self.shelf.load(target)?.unwrap_or_else(|| new_record(request));
        if let Some(index) = device_of(&record)? {
            if record.volume != request.volume {
                let holder = format!("this node as the volume {:?}", record.volume);
                let remedy = "one disk is one volume: give each its own";
                return Err(DiskError::Taken { subject: target.to_string(), holder, remedy }.into());
            }
            self.keep(target, &mut record, HANDSHAKE)?;
            return Ok(Connected { record, index });
        }
        let mut anew = new_record(request);
        anew.contents = record.contents;
        // A connection with the export's new size is what growth waited for.
        anew.grow = record.grow;
        self.connect_anew(request, anew)
    }

    /// The volume's device, which must be there.
    pub(crate) fn connected(&self, target: &Target) -> Result<Connected> {
        let not_connected = || DiskError::NotConnected { subject: target.to_string() };
        let record = self.shelf.load(target)?.ok_or_else(not_connected)?;
        let index = device_of(&record)?.ok_or_else(not_connected)?;
        Ok(Connected { record, index })
    }

    fn connect_anew(&self, request: &NbdRequest, mut record: Record) -> Result<Connected> {
        let target = &request.target;
        let mut kernel = self.kernel()?;
        let mut session = Session::open(&target.address, HANDSHAKE)?;
        let export = session.choose(target, Intent::Use)?;
        let block_size = match fit(&export, request) {
            Ok(block_size) => block_size,
            Err(error) => {
                session.leave();
                return Err(error);
            }
        };
        let name = session.name().map_err(|error| of_server(target)(error.into()))?;
        let connection = Connection::new(export.size, name)?;
        let identifier = connection.identifier.clone();
        record.link.connection = Some(connection);
        self.shelf.store(target, &record)?;
        hit("nbd.connecting");
        let index = match hand_over(&mut kernel, (&session, &export), block_size, (request, &identifier)) {
            Ok(index) => index,
            Err(error) => {
                session.leave();
                self.forget(target, record)?;
                return Err(error);
            }
        };
        hit("nbd.connected");
        if let Some(connection) = &mut record.link.connection {
            connection.index = Some(index);
        }
        self.shelf.store(target, &record)?;
        hit("nbd.recorded");
        if let Err(error) = appear(index, &identifier) {
            // Should this fail too, the next call finds the device by its identifier.
            let _ = kernel.disconnect(index);
            self.forget(target, record)?;
            return Err(error);
        }
        Ok(Connected { record, index })
    }

    /// Gives the kernel another socket if it has noticed that the one it has is dead. Nobody who waits for the device
    /// sees an error.
    pub(crate) fn keep(&self, target: &Target, record: &mut Record, patience: Duration) -> Result<()> {
        match link_of(record) {
            // A kernel that cannot tell is believed to be well.
            None | Some(Link::Connected) => Ok(()),
            Some(Link::Broken) => self.reconnect(target, record, patience),
        }
    }

    fn reconnect(&self, target: &Target, record: &mut Record, patience: Duration) -> Result<()> {
        let Some(index) = device_of(record)? else { return Ok(()) };
        let mut session = Session::open(&target.address, patience)?;
        let export = session.choose(target, Intent::Use)?;
        if let Err(error) = is_same(target, record, &export, &mut session) {
            session.leave();
            return Err(error);
        }
        let name = session.name().map_err(|error| of_server(target)(error.into()))?;
        let Some(connection) = &mut record.link.connection else { return Ok(()) };
        connection.continues_with(name);
        let identifier = connection.identifier.clone();
        record.link.lost_since = None;
        self.shelf.store(target, record)?;
        hit("nbd.reconnecting");
        session.prepare().map_err(|error| of_server(target)(error.into()))?;
        self.kernel()?.change(index, &identifier, Change::Socket(session.as_fd()))?;
        hit("nbd.reconnected");
        Ok(())
    }

    /// Whether the server can take what is written last. Reconnects if that is all it needs.
    pub(crate) fn is_served(&self, target: &Target, record: &mut Record) -> Result<()> {
        if link_of(record) == Some(Link::Broken) {
            return self.reconnect(target, record, BRIEF);
        }
        match Session::open(&target.address, BRIEF) {
            Ok(session) => {
                session.abort();
                Ok(())
            }
            Err(error) if is_silence(&error) => Err(error),
            // It lets nobody else in, and has not hung up: it lives.
            Err(_) => Ok(()),
        }
    }

    /// Remembers since when the server is gone; answers for how many seconds.
    pub(crate) fn lost(&self, target: &Target, record: &mut Record) -> Result<u64> {
        let since = match record.link.lost_since {
            Some(since) => since,
            None => {
                record.link.lost_since = Some(now());
                self.shelf.store(target, record)?;
                now()
            }
        };
        Ok(now().saturating_sub(since))
    }

    /// Ends the connection of a device that nobody uses, and forgets it.
    pub(crate) fn disconnect(&self, target: &Target, record: Record) -> Result<()> {
        if let Some(index) = device_of(&record)? {
            let device = nbd::device(index);
            device::wait_until_nobody_claims(&device);
            // Held until the connection is gone, so that nobody mounts it meanwhile.
            let _claim = match device::claim(&device) {
                Err(error) if Errno::from_io_error(&error) == Some(Errno::BUSY) => {
                    return Err(DiskError::Busy { device, subject: target.to_string() }.into());
                }
                other => other.ok(),
            };
            self.kernel()?.disconnect(index)?;
            hit("nbd.disconnected");
        }
        self.forget(target, record)
    }

    /// Ends the connection of a device in use: whatever waits for the server fails now.
    pub(crate) fn give_up(&self, record: &Record) -> Result<()> {
        if let Some(index) = device_of(record)? {
            self.kernel()?.disconnect(index)?;
            hit("nbd.given-up");
        }
        Ok(())
    }

    /// Nothing of the connection is left. What this node has made is remembered: it must never be made again.
    pub(crate) fn forget(&self, target: &Target, mut record: Record) -> Result<()> {
        if record.has_made_something() {
            (record.link.connection, record.mounted_at, record.link.lost_since) = (None, None, None);
            Ok(self.shelf.store(target, &record)?)
        } else {
            Ok(self.shelf.remove(target)?)
        }
    }

    /// The kernel's devices; the module is loaded if it is not.
    pub(crate) fn kernel(&self) -> Result<Nbd> {
        match Nbd::open() {
            Err(nbd::NbdError::NoModule) => {}
            other => return Ok(other?),
        }
        let command = Command::new(MODPROBE.program(), MODPROBE_DEADLINE).argument("nbd");
        // Whether it helped, the next look says.
        let _ = self.system.runner.run(&command);
        Ok(Nbd::open()?)
    }
}

/// Gives the socket to the kernel.
fn hand_over(
    kernel: &mut Nbd,
    (session, export): (&Session, &Export),
    block_size: u32,
    (request, identifier): (&NbdRequest, &str),
) -> Result<u32> {
    session.prepare().map_err(|error| of_server(&request.target)(error.into()))?;
    let server_flags =
        if request.file_system.access == Access::ReadOnly { export.read_only_flags() } else { export.flags };
    let index = kernel.connect(&nbd::Connection {
        size: export.size,
        block_size: block_size.into(),
        server_flags,
        request_timeout: request.request_timeout,
        reconnect_timeout: request.reconnect_timeout,
        identifier,
        socket: session.as_fd(),
    })?;
    Ok(index)
}

/// The device that the volume has now.
pub(crate) fn device_of(record: &Record) -> Result<Option<u32>> {
    record.link.connection.as_ref().map_or(Ok(None), Connection::device)
}

/// What the kernel has noticed of the connection; `None` when it cannot tell.
pub(crate) fn link_of(record: &Record) -> Option<Link> {
    record.link.connection.as_ref()?.socket()?.link().ok()
}

fn is_silence(error: &NbdError) -> bool {
    match error {
        NbdError::Unreachable(error) => !matches!(error, Unreachable::Refused { .. }),
        NbdError::Mute { .. } => true,
        _ => false,
    }
}

/// The block size with which the kernel can use the export.
fn fit(export: &Export, request: &NbdRequest) -> Result<u32> {
    let unfit = |why: String| Err(NbdError::Unfit { subject: request.target.to_string(), why });
    if request.file_system.access == Access::ReadWrite && export.is_read_only() {
        return unfit(
            "is served read-only: say `readOnly: true`, or have the server allow writing".to_owned(),
        );
    }
    let block = export.minimum_block.unwrap_or(SMALLEST_BLOCK).max(SMALLEST_BLOCK);
    if !block.is_power_of_two() || block > LARGEST_BLOCK {
        return unfit(format!(
            "has blocks of at least {block} bytes, and the kernel's client can do 512 to {LARGEST_BLOCK}: set another minimum at the server"
        ));
    }
    if export.size < u64::from(block) || export.size > i64::MAX.unsigned_abs() {
        return unfit(format!("has {} bytes, which is no size for a disk", export.size));
    }
    Ok(block)
}

/// Is what the server serves now still what is mounted here?
fn is_same(target: &Target, record: &Record, export: &Export, session: &mut Session) -> Result<()> {
    let other = |found: String| {
        let remedy = "the device stays without a server rather than with another volume's; have the server give the right one".to_owned();
        Err(DiskError::Contents { subject: target.to_string(), found, remedy }.into())
    };
    let had = record.link.size();
    if export.size < had {
        return other(format!("has {} bytes now and had {had}", export.size));
    }
    let Some(contents) = record.contents.as_ref().filter(|contents| contents.state != State::Creating) else {
        return Ok(());
    };
    let Some(fs_type) = contents.fs_type() else { return Ok(()) };
    let found = superblock::uuid(&Reader(session.into()), fs_type)
        .map_err(|error| of_server(target)(error.into()))?;
    match found {
        Some(uuid) if uuid == contents.uuid => Ok(()),
        Some(uuid) => other(format!("holds the file system {uuid} now and held {}", contents.uuid)),
        None => {
            other(format!("holds no {} now and held the file system {}", fs_type.as_str(), contents.uuid))
        }
    }
}

/// Waits until the device can be opened, and checks that it is the one. Its first opening reads from the server: now,
/// while that is there, and not when somebody is in a hurry.
fn appear(index: u32, identifier: &str) -> Result<()> {
    let device = nbd::device(index);
    let sysfs = format!("/sys/block/nbd{index}/backend");
    match nbd::identifier(index).map_err(at("read the identifier in", Path::new(&sysfs)))? {
        Some(found) if found == identifier => {}
        _ => {
            let missing =
                std::io::Error::other("Linux 5.14 or later is needed, which shows whose device it is");
            return Err(at("look for the identifier in", Path::new(&sysfs))(missing));
        }
    }
    let end = Instant::now() + APPEARANCE;
    loop {
        match File::open(&device) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > end => return Err(at("open", &device)(error)),
            Err(_) => std::thread::sleep(TICK),
        }
    }
}
