//! The drivers `iscsi` and `iscsi-pod`: file systems on disks of iSCSI targets.
//!
//! Sessions are open-iscsi's, since logging in and recovering are done outside of the kernel by design: its records are
//! written here (`database`), and `iscsiadm` is told to log in by them (`tool`). All else goes to the kernel directly: one
//! disk is scanned and deleted, its identity read, its reservations made.
//!
//! What must be remembered stands in three places. `remote_disk::claims` is the controller's: which node has which disk,
//! and which attachments are over. `record` is the node's: which disk of the world it is, what is on it, where it is
//! mounted, with which key it is reserved; it is written before each step. And the disk itself keeps the keys (`fence`).
//!
//! Three things are never done: a device is never taken away from somebody who uses it (`link` claims it first); a
//! session is never ended while any disk of it is left, ours or not (`session` looks at the kernel); and a key is never
//! thrown out whose attachment the controller has not ended (`fence`).

mod chap;
mod database;
mod diagnosis;
mod driver;
mod error;
mod fence;
mod grow;
mod key;
mod link;
mod mount;
mod pod;
mod record;
mod request;
mod session;
mod target;
mod tool;

pub use driver::IscsiDriver;
pub use error::IscsiError;
pub use pod::IscsiPod;
