//! The driver `nbd`: file systems on exports of NBD servers.
//!
//! No client program and no daemon: the handshake is done here, the socket goes to the kernel by netlink, and the process
//! ends. What must be remembered stands in two places. `remote_disk::claims` is the controller's: which node has which export.
//! `record` is the node's: which device an export is, by an identifier that the kernel compares, what is on it, and
//! where it is mounted; it is written before each step.
//!
//! Two things are never done: a device is never taken away from somebody who uses it (`link` claims it first), unless
//! its server is gone for longer than the volume's `reconnectTimeout`; and an export that holds anything is never
//! formatted (`remote_disk::contents`).

mod address;
mod diagnosis;
mod driver;
mod error;
mod grow;
mod link;
mod mount;
pub mod protocol;
mod record;
pub mod refusal;
mod request;
mod session;

pub use driver::NbdDriver;
pub use error::NbdError;
