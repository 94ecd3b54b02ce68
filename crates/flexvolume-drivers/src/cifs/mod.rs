//! The driver `cifs`: shares of SMB servers.
//!
//! No `mount.cifs`: each setting goes to the kernel as a string of its own, so that no character of a user name or a
//! password means anything, and neither is in an argument, a variable or a file. What the kernel follows on a server it
//! follows in a sub-directory only as far as `network` lets it.

mod credentials;
mod diagnosis;
mod driver;
mod explanation;
mod mount_options;
pub mod negotiate;
mod request;
pub mod unc;

pub use driver::Cifs;
