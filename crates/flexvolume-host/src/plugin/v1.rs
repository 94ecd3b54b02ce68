//! The contract of Kubernetes 1.2 to 1.5: five call-outs, all made on the node, and the device goes from one to the
//! next: `attach` answers it, `mount` and `detach` get it.

use std::ffi::OsString;

use flexvolume::{Call, Rendering, Verb};

/// Whether that contract has the call-out. The host does the others, or does without.
pub(super) fn has(verb: Verb) -> bool {
    matches!(verb, Verb::Init | Verb::Attach | Verb::Detach | Verb::Mount | Verb::Unmount)
}

/// The arguments of a call-out where they differ from today's.
pub(super) fn arguments(call: &Call, device: &str, rendering: Rendering) -> Option<Vec<OsString>> {
    let verb = OsString::from(call.verb().as_str());
    Some(match call {
        Call::Attach { options, .. } => vec![verb, options.to_json(rendering).into()],
        Call::Detach { .. } => vec![verb, device.into()],
        Call::Mount { path, options } => {
            vec![verb, path.into(), device.into(), options.to_json(rendering).into()]
        }
        _ => return None,
    })
}
