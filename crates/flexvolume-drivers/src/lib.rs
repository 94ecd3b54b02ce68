//! Drivers for local disk and for network file systems, one binary each.
//!
//! | driver | kind | what a volume is |
//! |---|---|---|
//! | `cifs` | mount-only | a share of an SMB server, or a sub-directory of one |
//! | `iscsi` | attachable, persistent | a file system on a disk of an iSCSI target, reserved for the node that has it |
//! | `iscsi-pod` | mount-only | the same for one pod, with CHAP from its Secret |
//! | `loop` | attachable, persistent | a file system in an image file, mounted through a loop device; its size is enforced |
//! | `loop-ephemeral` | mount-only | the same, made for one pod at `mount` and removed at `unmount` |
//! | `lvm` | attachable, persistent | a file system in a logical volume of a volume group |
//! | `lvm-ephemeral` | mount-only | the same, made for one pod at `mount` and removed at `unmount` |
//! | `nbd` | attachable, persistent | a file system on an export of an NBD server, connected by the kernel |
//! | `nfs` | mount-only | a directory of an NFS server, or a sub-directory of one |
//! | `scratch` | mount-only | the mount dir itself: no mount, no size, for places where nothing may be mounted |
//!
//! # How an image comes to be
//! A volume's record says which state it is in, in the same words for every driver: `creating`, `ready`, `removing`.
//! A file system is made only while the record says `creating`, that is, on a file that nobody has ever used; what a
//! probe finds is never a reason to make one. The image is built under a temporary name and renamed when it is
//! complete; the rename is what makes it ready. Whatever the process was doing when it died, the next call finishes
//! it or begins again.
//!
//! Looking a volume up has four outcomes: it is present, it is absent, something of its name is not ours, or we cannot
//! know. Only "absent" lets a volume be made, and only "absent" lets a removal succeed.

mod acquaintance;
mod administration;
pub mod cifs;
mod claim;
mod copying;
mod delete_policy;
mod device;
mod diagnosis;
mod error;
mod image;
mod inventory;
mod iscsi;
mod loop_ephemeral;
mod loop_file;
mod lvm;
pub mod nbd;
mod network;
mod nfs;
mod pool;
mod record;
mod remote_disk;
mod removal;
mod request;
mod room;
mod scratch;
mod superblock;
mod sweep;

use std::path::PathBuf;

pub use cifs::Cifs;
pub use error::{RequestError, VolumeError};
pub use iscsi::{IscsiDriver, IscsiError, IscsiPod};
pub use loop_ephemeral::LoopEphemeral;
pub use loop_file::LoopFile;
pub use lvm::{LvmDriver, LvmEphemeral, LvmError};
pub use nbd::{NbdDriver, NbdError};
pub use network::NetworkError;
pub use nfs::Nfs;
pub use remote_disk::DiskError;
pub use scratch::Scratch;

/// The directory in which drivers keep what must survive a reboot: `FLEXVOL_STATE_DIR`, or `/var/lib/flexvol`.
#[must_use]
pub fn state_directory() -> PathBuf {
    std::env::var_os("FLEXVOL_STATE_DIR")
        .filter(|directory| !directory.is_empty())
        .map_or_else(|| PathBuf::from("/var/lib/flexvol"), PathBuf::from)
}
