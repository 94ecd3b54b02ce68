//! `flexvol volume list`.

use std::sync::Arc;

use flexvolume_host::contract::{Capacity, DriverName, Options, VolumeDescription};
use flexvolume_host::plugin::{PluginError, VolumePlugin};
use serde::Serialize;

use super::call::printable;
use crate::administration::{age, find, options, state};
use crate::args::{Global, OutputFormat, VolumeListArguments};
use crate::failure::{BAD_INPUT, Failure, OK, STEP_FAILED};
use crate::output::{Cell, table};
use crate::secrets::ManifestSecrets;
use crate::session::Session;
use crate::usage::shown;

#[derive(Serialize)]
struct Listing {
    drivers: Vec<OfDriver>,
    /// Drivers that could not be asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<String>,
}

/// What one driver keeps.
#[derive(Serialize)]
struct OfDriver {
    driver: DriverName,
    volumes: Vec<VolumeDescription>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capacity: Option<Capacity>,
}

pub(super) fn run(global: &Global, arguments: &VolumeListArguments) -> Result<u8, Failure> {
    let session = Session::new(global, ManifestSecrets::default())?;
    let options = options(&arguments.pool)?;
    let mut listing = Listing { drivers: Vec::new(), errors: Vec::new() };
    if arguments.driver.is_none() && !options.user.is_empty() {
        return Err(Failure::says(
            BAD_INPUT,
            "options are those of one driver: say which one, with --driver",
        ));
    }
    let (plugins, named) = match &arguments.driver {
        Some(name) => (vec![find(&session, name)?], true),
        None => (session.registry.list().0, false),
    };
    for plugin in plugins {
        match of_driver(&plugin, &options) {
            Ok(found) => listing.drivers.push(found),
            // Of all drivers, those that keep volumes were meant.
            Err(PluginError::NoAdministration { .. }) if !named => {}
            Err(error) => listing.errors.push(format!("{}: {error}", plugin.name())),
        }
    }
    if arguments.orphans {
        listing.drivers.iter_mut().for_each(|driver| driver.volumes.retain(|volume| volume.orphan.is_some()));
    }
    if named && let Some(error) = listing.errors.pop() {
        return Err(Failure::says(STEP_FAILED, error));
    }
    session.output.print(&listing, text)?;
    if global.output == OutputFormat::Text {
        let capacities = listing.drivers.iter().filter_map(|driver| driver.capacity.as_ref());
        let warnings = capacities.flat_map(|capacity| &capacity.warnings);
        warnings.chain(&listing.errors).for_each(|words| session.output.note(printable(words)));
    }
    Ok(if listing.errors.is_empty() { OK } else { STEP_FAILED })
}

fn of_driver(plugin: &Arc<VolumePlugin>, options: &Options) -> Result<OfDriver, PluginError> {
    let volumes = plugin.list_volumes(options.clone())?;
    let capacity = match plugin.capacity(options.clone()) {
        Ok(capacity) => Some(capacity),
        Err(PluginError::NoAdministration { .. }) => None,
        Err(error) => return Err(error),
    };
    Ok(OfDriver { driver: plugin.name().clone(), volumes, capacity })
}

fn text(listing: &Listing) -> String {
    let volumes = listing
        .drivers
        .iter()
        .flat_map(|of| of.volumes.iter().map(move |volume| row(&of.driver, volume)))
        .collect::<Vec<_>>();
    let mut text = if volumes.is_empty() {
        "no volumes\n".to_owned()
    } else {
        table(["DRIVER", "VOLUME", "STATE", "SIZE", "USED", "KIND", "AGE", "NOTE"], volumes)
    };
    for (driver, capacity) in
        listing.drivers.iter().filter_map(|of| Some((&of.driver, of.capacity.as_ref()?)))
    {
        text.push_str(&room(driver, capacity));
    }
    text
}

fn row(driver: &DriverName, volume: &VolumeDescription) -> [Cell; 8] {
    let size = |size: Option<u64>| size.map(shown).unwrap_or_default();
    let note = match (volume.mounts.first(), volume.note.as_str()) {
        (Some(mount), "") => format!("mounted at {mount}"),
        (Some(mount), note) => format!("mounted at {mount}; {note}"),
        (None, note) => note.to_owned(),
    };
    [
        driver.into(),
        (&volume.id).into(),
        state(volume),
        size(volume.size).into(),
        size(volume.used).into(),
        format!("{} {}", volume.kind, volume.fs_type).trim().into(),
        volume.created.map(age).unwrap_or_default().into(),
        note.into(),
    ]
}

/// One line for the room of a pool.
fn room(driver: &DriverName, capacity: &Capacity) -> String {
    let mut words = format!(
        "{driver}: {}: a new volume can have {} of {}",
        printable(&capacity.pool),
        shown(capacity.free),
        shown(capacity.total)
    );
    if capacity.reserved > 0 {
        words.push_str(&format!("; {} reserved", shown(capacity.reserved)));
    }
    if capacity.thin.total > 0 {
        let (promised, taken) = (shown(capacity.thin.total), shown(capacity.thin.used));
        words.push_str(&format!("; {promised} promised to thin volumes, which take {taken}"));
    }
    if let Some(metadata) = capacity.metadata.filter(|metadata| metadata.total > 0) {
        let percent = u128::from(metadata.used) * 100 / u128::from(metadata.total);
        words.push_str(&format!("; {percent}% of its metadata area taken"));
    }
    words + "\n"
}
