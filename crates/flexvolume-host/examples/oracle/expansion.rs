//! Steps that grow volumes. Kubernetes' expand controller finds no FlexVolume plugin, and takes one that does nothing.

use std::sync::Arc;

use flexvolume_host::plugin::{FileSystemPlace, Sizes, VolumePlugin};
use serde_json::json;

use crate::operations::{Call, Done, Outcome, Stop, both};
use crate::quantity::Quantity;

/// What the look-up for an expandable plugin brings.
enum Expandable {
    Plugin(Arc<VolumePlugin>),
    /// Success without any call.
    DoesNothing,
    None,
}

fn look_up(call: &mut Call<'_, '_>) -> Done<Expandable> {
    match call.plugin_by_spec() {
        Ok(plugin) => Ok(Expandable::Plugin(plugin)),
        Err(Stop::Host(_)) if call.volume()?.not_flex => Ok(Expandable::None),
        Err(Stop::Host(_)) => Ok(Expandable::DoesNothing),
        Err(stop) => Err(stop),
    }
}

pub(crate) fn find(call: &mut Call<'_, '_>) -> Done<Outcome> {
    let result = match look_up(call)? {
        Expandable::Plugin(plugin) if plugin.capabilities().attach => {
            json!({"found": true, "type": "*flexvolume.flexVolumeAttachablePlugin"})
        }
        Expandable::Plugin(_) => json!({"found": true, "type": "*flexvolume.flexVolumePlugin"}),
        Expandable::DoesNothing => {
            json!({"found": true, "type": "*volume.noopExpandableVolumePluginInstance"})
        }
        Expandable::None => json!({"found": false}),
    };
    Ok(Outcome { result, error: None })
}

fn sizes(call: &Call<'_, '_>) -> Done<(Quantity, Sizes)> {
    let parse = |text: &str| Quantity::parse(text).map_err(Stop::Scenario);
    let (new, old) = (parse(&call.step.new)?, parse(&call.step.old)?);
    let sizes = Sizes { new: new.bytes(), old: old.bytes() };
    Ok((new, sizes))
}

pub(crate) fn expand_device(call: &mut Call<'_, '_>) -> Done<Outcome> {
    let (new, sizes) = sizes(call)?;
    let size = json!({"size": new.to_string()});
    match look_up(call)? {
        Expandable::Plugin(plugin) => {
            let expanded = plugin.expander().expand_volume(&call.spec()?, sizes);
            Ok(both(expanded, |_| size))
        }
        Expandable::DoesNothing => Ok(Outcome { result: size, error: None }),
        Expandable::None => Err(Stop::Host("oracle: the plugin is not expandable".to_owned())),
    }
}

pub(crate) fn expand_file_system(call: &mut Call<'_, '_>) -> Done<Outcome> {
    let (_, sizes) = sizes(call)?;
    let plugin = call.plugin_by_spec()?;
    let mount_dir = call.world.path(&call.step.path);
    let place = FileSystemPlace { device: &call.step.device, mount_dir: &mount_dir };
    let expanded = plugin.expander().expand_file_system(&call.spec()?, place, sizes);
    Ok(both(expanded, |done| json!({"expanded": done.is_some()})))
}
