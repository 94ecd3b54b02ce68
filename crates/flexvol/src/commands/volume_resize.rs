//! `flexvol volume resize`.

use flexvolume_host::contract::VolumeDescription;
use flexvolume_host::plugin::Sizes;

use super::volume_show::text;
use crate::administration::{Subject, both, failed};
use crate::args::{Global, VolumeResizeArguments};
use crate::failure::{Failure, OK, REFUSED};
use crate::secrets::ManifestSecrets;
use crate::session::Session;

pub(super) fn run(global: &Global, arguments: &VolumeResizeArguments) -> Result<u8, Failure> {
    let session = Session::new(global, ManifestSecrets::default())?;
    let subject = Subject::new(&session, &arguments.pool)?;
    let volume = subject.one(&arguments.volume)?;
    let old = volume.size.unwrap_or_default();
    let new = arguments.size.get();
    if new < old {
        let words = format!("{} has {} and never shrinks: {new} bytes are less", volume.id, both(old));
        return Err(Failure::says(REFUSED, words));
    }
    let named = VolumeDescription { options: with_place(&subject, &volume), ..volume };
    subject.plugin.grow(&named, Sizes { new, old }).map_err(failed)?;
    let grown = subject.one(&arguments.volume)?;
    session.output.print(&grown, text)?;
    Ok(OK)
}

/// What the driver says names the volume, and what the command line does.
fn with_place(subject: &Subject, volume: &VolumeDescription) -> std::collections::BTreeMap<String, String> {
    let mut options = subject.options.user.clone();
    options.extend(volume.options.clone());
    options
}
