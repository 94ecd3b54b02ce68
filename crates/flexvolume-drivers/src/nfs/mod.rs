//! The driver `nfs`: directories of NFS servers.

mod diagnosis;
mod driver;
mod explanation;
mod locking;
mod mount_options;
mod request;
mod rpc;
mod version;

pub use driver::Nfs;
