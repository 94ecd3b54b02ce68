//! The FlexVolume contract, and everything to write a driver for it.
//!
//! A FlexVolume driver is a program. A host (Kubernetes, or `flexvol`) runs it with the name of a *call-out* and its
//! arguments, and reads one JSON document from its standard output. This crate is that contract in types: [`Call`] is
//! an invocation, [`Options`] the map that goes with it, [`Reply`] the answer; hosts and drivers share them. For a
//! driver there is the trait [`Driver`] and the function [`run`], and this page is its guide.
//!
//! # A driver
//!
//! This is all of `memory`, a driver that gives each pod a piece of the node's memory. The size is enforced; it can be
//! called again at any point; it cannot be led astray by a symlink.
//!
//! ```no_run
#![doc = include_str!("../examples/memory.rs")]
//! ```
//!
//! It is also what a driver depends on: this crate, and `rustix` for the two system calls.
//!
//! # The life of a volume
//!
//! There are two kinds of drivers; [`Capabilities::attach`] says which one a driver is. **Say `attach: false` unless
//! the driver attaches something**: when the answer leaves it out, it is true, and a pod waits forever for a controller
//! that has nothing to do.
//!
//! | step | `attach: false` | `attach: true` | where |
//! |---|---|---|---|
//! | a pod comes to the node | | `attach` | controller |
//! | the device appears | | `waitforattach` | node |
//! | first pod on the node | | `mountdevice` | node |
//! | each pod | `mount` | `waitforattach`, `mount` | node |
//! | the claim has grown | `expandfs` | `expandfs` | node |
//! | each pod has ended | `unmount` | `unmount` | node |
//! | no pod is left on the node | | `unmountdevice` | node |
//! | | | `detach` | controller |
//!
//! Besides, `init` comes first and again after each change of the driver's files, and the controller asks
//! `isattached` every minute. [`Driver`] says for each call-out when it comes, what must hold afterwards, and what the
//! host does for a driver that does not support it. A driver that attaches network disks, for instance, can leave
//! mounting to the defaults and write four methods.
//!
//! Five more call-outs are not Kubernetes' but this project's: [`ExtensionVerb`]. With them an administrator makes, lists
//! and deletes volumes (`flexvol volume`); only a driver that keeps volumes of its own needs them.
//!
//! # Rules
//!
//! * **Look first.** Every call may have been made before, may have been killed halfway, and will be made again. What
//!   is done already is a success. An `unmount` of what is not mounted is a success. On failure, undo what was begun.
//! * **Remember by yourself.** `unmount`, `unmountdevice` and `detach` get no options. Write down what they need before
//!   doing what they must undo, outside of the volume's directory and outside of the driver's.
//! * **Exclude yourself.** Two processes may be called for one volume at the same time; take a lock on a file.
//! * **Delete nothing recursively**, and format nothing that your own record does not call new and blank.
//! * **Bound every wait.** The host may wait as long as the driver does, and the pod with it.
//! * **Not supported is for ever.** Kubernetes remembers [`Error::NotSupported`] until it restarts or the driver
//!   changes. "Not now" is a failure.
//! * **Say what to do.** The text of a failure becomes an event of the pod, to be read by somebody who did not write
//!   the driver: name the step, the object, and the remedy.
//!
//! # Options
//!
//! Every value is a string. [`Options::get`], [`require`](Options::require), [`flag`](Options::flag),
//! [`parsed`](Options::parsed) and [`size`](Options::size) read the options of the manifest and say in an error which
//! one is wrong; [`allow_only`](Options::allow_only) finds slips in their names. What Kubernetes adds is in the fields:
//! [`access`](Options::access) must be honoured, [`fs_type`](Options::fs_type) may be empty.
//!
//! The driver gets what the manifest's author wrote: treat it as hostile. It must not become part of a shell command,
//! of a mount option string, or of a path without a check ([`VolumeName`] and its siblings are safe path components).
//!
//! # Secrets
//!
//! **The contract puts secrets on the driver's command line**, where `/proc/<pid>/cmdline` shows them to everybody on
//! the node who can see its processes, and nothing in a driver can change that. What this crate does: only `mount`
//! gets them; they are decoded into [`Secret`], which is wiped when dropped and has no `Display`; [`run`] takes them
//! out of failures and panics; and the exit code is always 0, because for any other one Kubernetes logs the whole
//! command line. What the driver must do: hand them on through a pipe or a file of mode 0600, never as an argument, and
//! never write them to a log.
//!
//! # The reply
//!
//! [`run`] writes it. Prints of the driver and of the programs it starts go nowhere, so they cannot break it; a panic
//! becomes a failure. There is no log: what is worth knowing belongs into the failure's text. Do not end the process
//! by `std::process::exit`, which would end it without a reply. A daemon that must outlive the call may be left behind.
//!
//! # To build, install and test
//!
//! A driver runs on nodes of which nothing is known, and on a controller without libraries, so build it static; it
//! starts once per call-out, so build it small:
//!
//! ```text
//! cargo build --release --target x86_64-unknown-linux-musl
//! ```
//!
//! With `panic = "abort"`, `lto = "fat"` and `opt-level = "s"` in its profile, `memory` has less than half a megabyte.
//! Without that target, `cargo rustc --release -- -C target-feature=+crt-static` links the GNU C library, for two and a
//! half times the size. A panic answers the host in either case.
//!
//! The program of a driver `example.com/memory` is installed as
//! `/usr/libexec/kubernetes/kubelet-plugins/volume/exec/example.com~memory/memory`, on every node and, if it attaches,
//! where the controller runs. Copy it under a name that begins with a dot and rename it, so that no host ever runs half
//! a program.
//!
//! By hand:
//!
//! ```text
//! $ ./memory init
//! {"status":"Success","capabilities":{"attach":false, …}}
//! $ ./memory mount /mnt '{"size":"64Mi"}'
//! {"status":"Success"}
//! ```
//!
//! In a unit test, [`answer`] is a driver's reply without a process:
//!
//! ```
//! use flexvolume::{Capabilities, Driver, Error, answer};
//!
//! struct Nothing;
//!
//! impl Driver for Nothing {
//!     fn init(&self) -> Result<Capabilities, Error> {
//!         Ok(Capabilities { attach: false, ..Capabilities::default() })
//!     }
//! }
//!
//! let reply = answer(&Nothing, ["unmount".into(), "/mnt".into()]);
//! assert_eq!(reply.to_json(), r#"{"status":"Not supported"}"#);
//! ```

mod call;
mod dispatch;
mod driver;
mod error;
mod extension;
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
pub use extension::{
    Capacity, ExtensionCall, ExtensionError, ExtensionVerb, Fill, Finding, Orphan, Severity,
    VolumeDescription, VolumeState,
};
pub use names::{DriverName, NameError, NodeName, PodUid, VolumeName};
pub use options::{
    Access, Encoding, FsGroupKeys, Options, OptionsError, PodReference, Rendering, ReservedKeys,
};
pub use quantity::{Bytes, BytesError};
pub use reply::{Capabilities, Reply, Status};
pub use run::run;
pub use secret::Secret;
pub use verb::Verb;
