//! Kubernetes manifests: from bytes to the pods that flexvol works on.
//!
//! Three steps, each a function without side effects on anything but the files that it reads: [`read::documents`] turns bytes into
//! values that know their line, the documents pick the few fields that matter, [`resolve::workload`] joins pods, claims,
//! persistent volumes and Secrets. Unknown fields are fine everywhere; what matters and is wrong is an error that names
//! file, line and field.

mod containers;
mod documents;
mod error;
mod flex;
mod node;
mod objects;
mod pod;
pub mod read;
pub mod resolve;
mod specs;

pub use containers::{Container, ContainerMount};
pub use error::{ManifestError, Place, Problem};
