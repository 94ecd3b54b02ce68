//! Logical volumes: the drivers `lvm` and `lvm-ephemeral`.
//!
//! What we know about a volume is kept in tags of the logical volume itself ([`tags`]), in the same states and words as
//! the records of the other drivers. LVM is asked and told by its own commands ([`tool`]): reads have a deadline,
//! changes are never ended half-way, and whether something is there is decided by what a read finds ([`lookup`]), never
//! by the text of a message.

mod administration;
mod create;
mod diagnosis;
mod driver;
mod ephemeral;
mod erase;
mod error;
mod grow;
mod inventory;
mod locks;
mod lookup;
mod mount;
mod name;
mod node;
mod note;
mod origin;
mod pool;
mod remove;
mod report;
mod request;
mod room;
mod tags;
mod tool;

pub use driver::LvmDriver;
pub use ephemeral::LvmEphemeral;
pub use error::LvmError;
