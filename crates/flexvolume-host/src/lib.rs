//! The host side of FlexVolume.

pub mod conformance;
pub mod hand_over;
pub mod lifecycle;
pub mod nearest;
pub mod paths;
pub mod plugin;
pub mod reconcile;
pub mod registry;
pub mod reply;
pub mod settings;
pub mod spec;
mod volume_host;

pub use flexvolume as contract;
pub use flexvolume_os as os;
pub use volume_host::{Deadlines, Reading, SecretError, SecretObject, SecretSource, VolumeHost};
