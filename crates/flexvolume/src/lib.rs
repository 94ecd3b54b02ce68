//! The FlexVolume contract and driver SDK.

mod call;
mod dispatch;
mod driver;
mod error;
mod json;
mod names;
mod options;
mod quantity;
mod redact;
mod reply;
mod run;
mod secret;
mod verb;

pub use call::{Call, CallError};
pub use dispatch::answer;
pub use driver::{Attachment, DeviceMount, Driver, Expansion};
pub use error::Error;
pub use names::{DriverName, NameError, NodeName, PodUid, VolumeName};
pub use options::{Access, Encoding, FsGroupKeys, Options, OptionsError, PodReference, Rendering};
pub use quantity::{Bytes, BytesError};
pub use reply::{Capabilities, Reply, Status};
pub use run::run;
pub use secret::Secret;
pub use verb::Verb;
