//! `flexvol driver list`.

use std::path::PathBuf;
use std::sync::Arc;

use flexvolume_host::contract::{Capabilities, DriverName};
use flexvolume_host::plugin::VolumePlugin;
use flexvolume_host::registry::{Broken, Shadowed};
use serde::Serialize;

use crate::args::Global;
use crate::failure::{Failure, OK};
use crate::identity::Identity;
use crate::output::{Cell, Tone, table};
use crate::secrets::ManifestSecrets;
use crate::session::Session;

#[derive(Serialize)]
struct Listing {
    drivers: Vec<Driver>,
    broken: Vec<BrokenDriver>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    shadowed: Vec<ShadowedDriver>,
}

/// A driver that another one hides.
#[derive(Serialize)]
struct ShadowedDriver {
    name: DriverName,
    directory: PathBuf,
    by: PathBuf,
}

/// A usable driver, as JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Driver {
    name: DriverName,
    executable: PathBuf,
    capabilities: Capabilities,
    #[serde(flatten)]
    identity: Identity,
}

#[derive(Serialize)]
struct BrokenDriver {
    directory: PathBuf,
    why: String,
}

impl Driver {
    pub(super) fn of(plugin: &Arc<VolumePlugin>) -> Self {
        Self {
            name: plugin.name().clone(),
            executable: plugin.executable().to_owned(),
            capabilities: plugin.capabilities(),
            identity: Identity::of(plugin),
        }
    }
}

pub(super) fn run(global: &Global) -> Result<u8, Failure> {
    let session = Session::new(global, ManifestSecrets::default())?;
    let (plugins, broken) = session.registry.list();
    let shadowed = session.registry.shadowed()?.into_iter();
    let shadowed = shadowed.map(|Shadowed { name, directory, by }| ShadowedDriver { name, directory, by });
    let broken = broken.into_iter().map(|Broken { directory, why, .. }| BrokenDriver { directory, why });
    let listing = Listing {
        drivers: plugins.iter().map(Driver::of).collect(),
        broken: broken.collect(),
        shadowed: shadowed.collect(),
    };
    session.output.print(&listing, |listing| text(listing, &session.plugin_dirs))?;
    Ok(OK)
}

fn text(listing: &Listing, plugin_dirs: &[PathBuf]) -> String {
    if listing.drivers.is_empty() && listing.broken.is_empty() {
        let searched: Vec<_> = plugin_dirs.iter().map(|directory| directory.display().to_string()).collect();
        return format!("no drivers in {}", searched.join(", "));
    }
    let drivers = listing.drivers.iter().map(|driver| {
        [
            (&driver.name).into(),
            driver.identity.state(),
            driver.identity.version().into(),
            capability_words(driver.capabilities).into(),
            driver.executable.display().into(),
        ]
    });
    let broken = listing.broken.iter().map(|broken| {
        let name = broken.directory.file_name().unwrap_or_default().to_string_lossy().replace('~', "/");
        let why = broken.why.as_str().into();
        [name.into(), Cell::toned("broken", Tone::Bad), "".into(), why, broken.directory.display().into()]
    });
    let shadowed = listing.shadowed.iter().map(|shadowed| {
        let why = format!("hidden by {}", shadowed.by.display());
        let state = Cell::toned("unused", Tone::Doubtful);
        [(&shadowed.name).into(), state, "".into(), why.into(), shadowed.directory.display().into()]
    });
    table(["DRIVER", "STATE", "VERSION", "CAPABILITIES", "WHERE"], drivers.chain(broken).chain(shadowed))
}

/// The capabilities that are on, in the protocol's words.
pub(super) fn capability_words(capabilities: Capabilities) -> String {
    let words = [
        (capabilities.attach, "attach"),
        (capabilities.selinux_relabel, "selinuxRelabel"),
        (capabilities.supports_metrics, "supportsMetrics"),
        (capabilities.fs_group, "fsGroup"),
        (capabilities.requires_fs_resize, "requiresFSResize"),
    ];
    let on: Vec<_> = words.iter().filter(|(on, _)| *on).map(|(_, word)| *word).collect();
    if on.is_empty() { "none".to_owned() } else { on.join(", ") }
}
