//! Growth: the server's administrator enlarges the export, and this follows.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use flexvolume_os::failpoint::hit;
use flexvolume_os::nbd::{self, Change};

use super::address::Target;
use super::error::{NbdError, Result};
use super::link::{Connected, Node};
use super::protocol::Intent;
use super::record::Record;
use super::request::NbdRequest;
use super::session::Session;
use crate::remote_disk::{DiskError, Grow, fill_mounted};

const PATIENCE: Duration = Duration::from_secs(10);
const SECTOR: usize = 512;

/// Makes the device as large as the export, which must have at least `wanted` bytes; answers its size.
pub(crate) fn grow(node: Node<'_>, request: &NbdRequest, wanted: u64, which: Grow) -> Result<u64> {
    let target = &request.target;
    let _lock = node.shelf.lock(target)?;
    let mut connected = node.connected(target)?;
    node.keep(target, &mut connected.record, PATIENCE)?;
    let mut size = connected.record.link.size();
    if size < wanted {
        size = follow(node, request, &mut connected, wanted)?;
    }
    if which == Grow::Both {
        let device = nbd::device(connected.index);
        fill_mounted(node.system, request.file_system.fs_type, &device, target)?;
        note_growth(node, target, &mut connected.record, false)?;
    }
    Ok(size)
}

fn not_grown(request: &NbdRequest, why: String) -> NbdError {
    DiskError::NotGrown { subject: request.target.to_string(), why }.into()
}

/// Tells the kernel the export's new size, and takes it back if the server does not stand by it: some serve a connection
/// with the size that the export had when it was made.
fn follow(node: Node<'_>, request: &NbdRequest, connected: &mut Connected, wanted: u64) -> Result<u64> {
    let target = &request.target;
    let mut session = Session::open(&target.address, PATIENCE)?;
    let export = session.choose(target, Intent::Look)?;
    session.abort();
    if export.size < wanted {
        let why = format!("has {} bytes: enlarge it to {wanted} at the server first", export.size);
        return Err(not_grown(request, why));
    }
    let (index, old) = (connected.index, connected.record.link.size());
    let Some(connection) = &mut connected.record.link.connection else {
        return Err(DiskError::NotConnected { subject: target.to_string() }.into());
    };
    let identifier = connection.identifier.clone();
    let mut kernel = node.kernel()?;
    kernel.change(index, &identifier, Change::Size(export.size))?;
    hit("nbd.resized");
    if let Err(error) = read_end(index, export.size) {
        kernel.change(index, &identifier, Change::Size(old))?;
        // At the next mount the connection is a new one, and the file system can fill it.
        note_growth(node, target, &mut connected.record, true)?;
        let why = format!(
            "has grown to {} bytes, but the server serves this connection with {old} ({error}): it grows at the next mount, so restart the pod",
            export.size
        );
        return Err(not_grown(request, why));
    }
    connection.size = export.size;
    node.shelf.store(target, &connected.record)?;
    hit("nbd.resized-recorded");
    Ok(export.size)
}

/// Remembers whether the file system has to grow at the next mount.
fn note_growth(node: Node<'_>, target: &Target, record: &mut Record, owed: bool) -> Result<()> {
    if record.grow != owed {
        record.grow = owed;
        node.shelf.store(target, record)?;
    }
    Ok(())
}

/// Reads the last sector.
fn read_end(index: u32, size: u64) -> std::io::Result<()> {
    let last = size / SECTOR as u64 * SECTOR as u64 - SECTOR as u64;
    File::open(nbd::device(index))?.read_exact_at(&mut [0; SECTOR], last)
}
