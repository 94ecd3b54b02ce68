//! `golden.txt` was written by the Go code that is generated from the specification's own `csi.proto` (v1.13.0): each
//! message with every field that the bridge knows, each text field holding its own name, each number 100 and its tag.

use prost::Message;

use super::*;

const GOLDEN: &str = include_str!("golden.txt");

fn golden(name: &str) -> Vec<u8> {
    let line = GOLDEN.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let hex = line.unwrap_or_else(|| panic!("{name} is not in golden.txt"));
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// Reads what Go wrote and writes it again. Fields may stand in another order, so it is the same message, not the same
/// bytes, that must come out: a field that was not understood would be missing.
fn read<M: Message + Default + PartialEq>(name: &str) -> M {
    let bytes = golden(name);
    let message = M::decode(bytes.as_slice()).unwrap_or_else(|error| panic!("{name}: {error}"));
    let again = message.encode_to_vec();
    assert_eq!(again.len(), bytes.len(), "{name}: a field is not known");
    assert!(M::decode(again.as_slice()).unwrap() == message, "{name}");
    message
}

macro_rules! texts {
    ($($message:ident: $($field:ident)*;)*) => {$({
        let message: $message = read(stringify!($message));
        $(assert_eq!(message.$field, stringify!($field), "{}.{}", stringify!($message), stringify!($field));)*
    })*};
}

macro_rules! maps {
    ($($message:ident: $($field:ident)*;)*) => {$({
        let message: $message = read(stringify!($message));
        $(assert_eq!(message.$field["key"], stringify!($field), "{}", stringify!($message));)*
    })*};
}

#[test]
fn text_fields_are_where_the_specification_has_them() {
    texts! {
        GetPluginInfoResponse: name vendor_version;
        Volume: volume_id;
        CreateVolumeRequest: name;
        DeleteVolumeRequest: volume_id;
        ControllerPublishVolumeRequest: volume_id node_id;
        ControllerUnpublishVolumeRequest: volume_id node_id;
        ValidateVolumeCapabilitiesRequest: volume_id;
        ValidateVolumeCapabilitiesResponse: message;
        ControllerExpandVolumeRequest: volume_id;
        NodeStageVolumeRequest: volume_id staging_target_path;
        NodeUnstageVolumeRequest: volume_id staging_target_path;
        NodePublishVolumeRequest: volume_id staging_target_path target_path;
        NodeUnpublishVolumeRequest: volume_id target_path;
        NodeGetVolumeStatsRequest: volume_id volume_path staging_target_path;
        NodeExpandVolumeRequest: volume_id volume_path staging_target_path;
        NodeGetInfoResponse: node_id;
    }
}

#[test]
fn maps_are_where_the_specification_has_them() {
    maps! {
        GetPluginInfoResponse: manifest;
        Volume: volume_context;
        CreateVolumeRequest: parameters secrets mutable_parameters;
        DeleteVolumeRequest: secrets;
        ControllerPublishVolumeRequest: secrets volume_context;
        ControllerPublishVolumeResponse: publish_context;
        ControllerUnpublishVolumeRequest: secrets;
        ValidateVolumeCapabilitiesRequest: volume_context parameters secrets mutable_parameters;
        GetCapacityRequest: parameters;
        ControllerExpandVolumeRequest: secrets;
        NodeStageVolumeRequest: publish_context secrets volume_context;
        NodePublishVolumeRequest: publish_context secrets volume_context;
        NodeExpandVolumeRequest: secrets;
    }
    let confirmed =
        read::<ValidateVolumeCapabilitiesResponse>("ValidateVolumeCapabilitiesResponse").confirmed.unwrap();
    assert_eq!(confirmed.volume_context["key"], "volume_context");
    assert_eq!(confirmed.parameters["key"], "parameters");
    assert_eq!(confirmed.mutable_parameters["key"], "mutable_parameters");
    assert_eq!(confirmed.volume_capabilities.len(), 1);
    let topology = read::<NodeGetInfoResponse>("NodeGetInfoResponse").accessible_topology.unwrap();
    assert_eq!(topology.segments["key"], "segments");
}

#[test]
fn numbers_and_flags_are_where_the_specification_has_them() {
    let range: CapacityRange = read("CapacityRange");
    assert_eq!((range.required_bytes, range.limit_bytes), (101, 102));
    assert_eq!(read::<Volume>("Volume").capacity_bytes, 101);
    assert!(read::<ControllerPublishVolumeRequest>("ControllerPublishVolumeRequest").readonly);
    assert!(read::<NodePublishVolumeRequest>("NodePublishVolumeRequest").readonly);
    assert!(read::<ProbeResponse>("ProbeResponse").ready.unwrap().value);
    let expanded: ControllerExpandVolumeResponse = read("ControllerExpandVolumeResponse");
    assert_eq!((expanded.capacity_bytes, expanded.node_expansion_required), (101, true));
    assert_eq!(read::<NodeExpandVolumeResponse>("NodeExpandVolumeResponse").capacity_bytes, 101);
    assert_eq!(read::<NodeGetInfoResponse>("NodeGetInfoResponse").max_volumes_per_node, 102);
    let usage = read::<NodeGetVolumeStatsResponse>("NodeGetVolumeStatsResponse").usage.remove(0);
    assert_eq!((usage.available, usage.total, usage.used, usage.unit), (101, 102, 103, 1));
    let room: GetCapacityResponse = read("GetCapacityResponse");
    assert_eq!(room.available_capacity, 101);
    assert!(room.maximum_volume_size.is_some() && room.minimum_volume_size.is_some());
}

#[test]
fn capabilities_are_where_the_specification_has_them() {
    let capability: VolumeCapability = read("VolumeCapability");
    let mount = capability.mount.unwrap();
    assert_eq!(
        (mount.fs_type.as_str(), mount.volume_mount_group.as_str()),
        ("fs_type", "volume_mount_group")
    );
    assert_eq!(
        (mount.mount_flags, capability.access_mode.unwrap().mode),
        (vec!["mount_flags".to_owned()], 1)
    );
    let block = VolumeCapability::decode(&[0x0a, 0x00][..]).unwrap();
    assert!(block.block.is_some() && block.mount.is_none());
    let plugin =
        read::<GetPluginCapabilitiesResponse>("GetPluginCapabilitiesResponse").capabilities.remove(0);
    assert_eq!(plugin.service.unwrap().r#type, 1);
    let expansion = PluginCapability::decode(&[0x12, 0x02, 0x08, 0x01][..]).unwrap();
    assert_eq!(expansion.volume_expansion.unwrap().r#type, 1);
    let node = read::<NodeGetCapabilitiesResponse>("NodeGetCapabilitiesResponse").capabilities.remove(0);
    assert_eq!(node.rpc.unwrap().r#type, 1);
    let controller =
        read::<ControllerGetCapabilitiesResponse>("ControllerGetCapabilitiesResponse").capabilities.remove(0);
    assert_eq!(controller.rpc.unwrap().r#type, 1);
    assert!(read::<CreateVolumeResponse>("CreateVolumeResponse").volume.is_some());
}

#[test]
fn enumerations_have_the_numbers_of_the_specification() {
    fn numbers(name: &str) -> Vec<(String, i32)> {
        let of = |line: &str| {
            let (value, number) = line.strip_prefix(name)?.strip_prefix('.')?.split_once(' ')?;
            Some((value.replace('_', "").to_lowercase(), number.parse().ok()?))
        };
        GOLDEN.lines().filter_map(of).collect()
    }
    fn check<E: std::fmt::Debug + Copy + Into<i32>>(name: &str, values: &[E]) {
        let golden = numbers(name);
        for value in values {
            let known = (format!("{value:?}").to_lowercase(), (*value).into());
            assert!(golden.contains(&known), "{name}: {known:?} is not among {golden:?}");
        }
    }
    check(
        "Mode",
        &[Mode::Unknown, Mode::SingleNodeWriter, Mode::SingleNodeReaderOnly, Mode::MultiNodeReaderOnly],
    );
    check("Mode", &[Mode::MultiNodeSingleWriter, Mode::MultiNodeMultiWriter, Mode::SingleNodeSingleWriter]);
    check("Mode", &[Mode::SingleNodeMultiWriter]);
    check(
        "NodeRpcType",
        &[NodeRpcType::StageUnstageVolume, NodeRpcType::GetVolumeStats, NodeRpcType::ExpandVolume],
    );
    check("NodeRpcType", &[NodeRpcType::SingleNodeMultiWriter, NodeRpcType::VolumeMountGroup]);
    check(
        "ControllerRpcType",
        &[ControllerRpcType::CreateDeleteVolume, ControllerRpcType::PublishUnpublishVolume],
    );
    check("ControllerRpcType", &[ControllerRpcType::GetCapacity, ControllerRpcType::PublishReadonly]);
    check("ControllerRpcType", &[ControllerRpcType::ExpandVolume, ControllerRpcType::SingleNodeMultiWriter]);
    check("PluginServiceType", &[PluginServiceType::ControllerService]);
    check("PluginServiceType", &[PluginServiceType::VolumeAccessibilityConstraints]);
    check("VolumeExpansionType", &[VolumeExpansionType::Online, VolumeExpansionType::Offline]);
    check("UsageUnit", &[UsageUnit::Bytes, UsageUnit::Inodes]);
}

#[test]
fn registration_is_what_kubelet_reads() {
    let info = PluginInfo {
        r#type: "CSIPlugin".to_owned(),
        name: "a".to_owned(),
        endpoint: "/b".to_owned(),
        supported_versions: vec!["1.0.0".to_owned()],
    };
    assert_eq!(info.encode_to_vec(), b"\x0a\x09CSIPlugin\x12\x01a\x1a\x02/b\x22\x051.0.0");
    let status = RegistrationStatus::decode(&b"\x08\x01\x12\x02no"[..]).unwrap();
    assert!(status.plugin_registered && status.error == "no");
}

#[test]
fn no_debug_print_shows_a_secret() {
    let capability = VolumeCapability {
        mount: Some(MountVolume {
            mount_flags: vec!["password=swordfish".to_owned()],
            ..MountVolume::default()
        }),
        ..VolumeCapability::default()
    };
    assert!(!format!("{capability:?}").contains("swordfish"));
    let mut secrets = SecretStrings::from([("password".to_owned(), "swordfish".to_owned())]);
    let taken = take_secrets(&mut secrets);
    assert!(secrets.is_empty() && !format!("{taken:?}").contains("swordfish"));
}
