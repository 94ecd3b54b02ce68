//! The FlexVolume contract and driver SDK.

mod call;
mod driver;
mod error;
mod names;
mod options;
mod reply;
mod run;
mod secret;

pub use call::{Call, CallError, Verb};
pub use driver::{Attachment, DeviceMount, Driver, Expansion};
pub use error::Error;
pub use names::{DriverName, NameError, NodeName, PodUid, VolumeName};
pub use options::{Access, Encoding, Options, OptionsError, PodReference};
pub use reply::{Capabilities, Reply, Status};
pub use run::run;
pub use secret::Secret;
