//! The node service over its socket: what drivers are told, what pods get, what is left.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use flexvolume_csi::messages::*;
use support::*;

const STAGE: &str = "csi.v1.Node/NodeStageVolume";
const UNSTAGE: &str = "csi.v1.Node/NodeUnstageVolume";
const STATS: &str = "csi.v1.Node/NodeGetVolumeStats";

fn told(call: &str) -> serde_json::Value {
    let options = call.find('{').map_or("", |start| &call[start..]);
    serde_json::from_str(options).unwrap_or_default()
}

#[test]
fn two_pods_share_a_device_that_is_staged_once() {
    if cannot_mount("two_pods_share_a_device_that_is_staged_once") {
        return;
    }
    let bridge = Bridge::start(true, "");
    let staging = bridge.path("kubelet/plugins/kubernetes.io/csi/shell.test/abc/globalmount");
    fs::create_dir_all(&staging).unwrap();
    let stage = NodeStageVolumeRequest {
        volume_id: "pv-1".to_owned(),
        staging_target_path: staging.display().to_string(),
        volume_capability: capability(Mode::SingleNodeMultiWriter),
        publish_context: [("flexvolume.device".to_owned(), "/dev/null".to_owned())].into(),
        volume_context: [("colour".to_owned(), "red".to_owned())].into(),
        ..NodeStageVolumeRequest::default()
    };
    let unstage = NodeUnstageVolumeRequest {
        volume_id: "pv-1".to_owned(),
        staging_target_path: staging.display().to_string(),
    };
    let targets = [bridge.target("uid-1", "pv-1"), bridge.target("uid-2", "pv-1")];
    block_on(async {
        let client = bridge.client().await;
        for _ in 0..2 {
            assert_eq!(client.tell(STAGE, &stage).await, Ok(()));
        }
        let mut other = stage.clone();
        other.volume_context.insert("colour".to_owned(), "blue".to_owned());
        assert_eq!(code(&client.tell(STAGE, &other).await), ALREADY_EXISTS);
        for target in &targets {
            let mut request = publish_request("pv-1", target);
            request.staging_target_path = staging.display().to_string();
            request.volume_context = stage.volume_context.clone();
            assert_eq!(publish(&client, &request).await, Ok(()));
        }
        for target in &targets {
            assert_eq!(unpublish(&client, "pv-1", target).await, Ok(()));
            assert!(!target.exists());
        }
        assert_eq!(bridge.mounts().len(), 1, "the device stays: {:?}", bridge.mounts());
        for _ in 0..2 {
            assert_eq!(client.tell(UNSTAGE, &unstage).await, Ok(()));
        }
    });
    assert!(bridge.mounts().is_empty());
    let verbs = bridge.verbs();
    assert_eq!(
        verbs,
        ["waitforattach", "mountdevice", "mount", "mount", "unmount", "unmount", "unmountdevice"],
        "a controller attaches, so the node neither attaches nor detaches"
    );
    assert_eq!(told(&bridge.calls()[1])["colour"], "red");
}

#[test]
fn a_node_that_attaches_by_itself_goes_the_whole_way_and_back() {
    if cannot_mount("a_node_that_attaches_by_itself_goes_the_whole_way_and_back") {
        return;
    }
    let bridge = Bridge::start(true, "[driver.\"test/shell\"]\nattach = \"node\"\n");
    let target = bridge.target("uid-1", "inline");
    let mut request = publish_request("csi-0123", &target);
    for (key, value) in
        [("ephemeral", "true"), ("pod.name", "p"), ("pod.uid", "uid-1"), ("pod.namespace", "n")]
    {
        request.volume_context.insert(format!("csi.storage.k8s.io/{key}"), value.to_owned());
    }
    request.volume_context.insert("csi.storage.k8s.io/serviceAccount.name".to_owned(), "s".to_owned());
    request.volume_context.insert("colour".to_owned(), "red".to_owned());
    block_on(async {
        let client = bridge.client().await;
        assert_eq!(publish(&client, &request).await, Ok(()));
        assert_eq!(publish(&client, &request).await, Ok(()));
        assert_eq!(unpublish(&client, "csi-0123", &target).await, Ok(()));
        assert_eq!(unpublish(&client, "csi-0123", &target).await, Ok(()));
    });
    assert_eq!(
        bridge.verbs(),
        ["attach", "waitforattach", "mountdevice", "mount", "unmount", "unmountdevice", "detach"]
    );
    let mount = told(&bridge.calls()[3]);
    for (key, value) in [
        ("kubernetes.io/pod.name", "p"),
        ("kubernetes.io/pod.namespace", "n"),
        ("kubernetes.io/pod.uid", "uid-1"),
        ("kubernetes.io/serviceAccount.name", "s"),
        ("colour", "red"),
    ] {
        assert_eq!(mount[key], value, "{mount}");
    }
    let keys: Vec<_> = mount.as_object().unwrap().keys().collect();
    assert!(!keys.iter().any(|key| key.starts_with("csi.")), "{keys:?}");
    assert!(bridge.mounts().is_empty() && !target.exists());
}

#[test]
fn a_read_only_volume_cannot_be_written_whatever_the_driver_did() {
    if cannot_mount("a_read_only_volume_cannot_be_written_whatever_the_driver_did") {
        return;
    }
    let bridge = Bridge::start(false, "");
    let target = bridge.target("uid-1", "pv-1");
    let mut request = publish_request("pv-1", &target);
    request.readonly = true;
    block_on(async {
        let client = bridge.client().await;
        assert_eq!(publish(&client, &request).await, Ok(()));
        assert!(fs::write(bridge.seen(&target).join("file"), "x").is_err());
        request.readonly = false;
        assert_eq!(code(&publish(&client, &request).await), ALREADY_EXISTS);
        assert_eq!(unpublish(&client, "pv-1", &target).await, Ok(()));
        assert_eq!(publish(&client, &request).await, Ok(()));
        fs::write(bridge.seen(&target).join("file"), "x").unwrap();
        assert_eq!(unpublish(&client, "pv-1", &target).await, Ok(()));
    });
    assert_eq!(told(&bridge.calls()[0])["kubernetes.io/readwrite"], "ro");
}

#[test]
fn figures_are_those_of_the_volume_and_of_nothing_else() {
    if cannot_mount("figures_are_those_of_the_volume_and_of_nothing_else") {
        return;
    }
    let bridge = Bridge::start(false, "");
    let target = bridge.target("uid-1", "pv-1");
    block_on(async {
        let client = bridge.client().await;
        let mut request = NodeGetVolumeStatsRequest {
            volume_id: "pv-1".to_owned(),
            volume_path: target.display().to_string(),
            ..NodeGetVolumeStatsRequest::default()
        };
        let answer = client.call::<NodeGetVolumeStatsResponse>(STATS, &request).await;
        assert_eq!(code(&answer), NOT_FOUND);
        assert_eq!(publish(&client, &publish_request("pv-1", &target)).await, Ok(()));
        let figures: NodeGetVolumeStatsResponse = client.call(STATS, &request).await.unwrap();
        assert_eq!(figures.usage[0].total, 1 << 20);
        request.volume_path = "/".to_owned();
        let answer = client.call::<NodeGetVolumeStatsResponse>(STATS, &request).await;
        assert_eq!(code(&answer), NOT_FOUND);
        assert_eq!(unpublish(&client, "pv-1", &target).await, Ok(()));
    });
}

#[test]
fn a_driver_that_fails_leaves_nothing_and_is_asked_again() {
    if cannot_mount("a_driver_that_fails_leaves_nothing_and_is_asked_again") {
        return;
    }
    let bridge = Bridge::start(false, "");
    let fail = bridge.path("plugins/test~shell/fail");
    fs::write(&fail, "").unwrap();
    let target = bridge.target("uid-1", "pv-1");
    block_on(async {
        let client = bridge.client().await;
        let refusal = publish(&client, &publish_request("pv-1", &target)).await.unwrap_err();
        assert_eq!(refusal.code, INTERNAL, "{refusal:?}");
        assert!(refusal.message.contains("pv-1: mount: no:"), "{refusal:?}");
        assert!(!target.exists() && bridge.mounts().is_empty());
        assert_eq!(fs::read_dir(bridge.path("root/csi/shell.test/published")).unwrap().count(), 0);
        fs::remove_file(&fail).unwrap();
        assert_eq!(publish(&client, &publish_request("pv-1", &target)).await, Ok(()));
        assert_eq!(unpublish(&client, "pv-1", &target).await, Ok(()));
    });
}

#[test]
fn a_bridge_that_was_killed_goes_on_where_it_was() {
    if cannot_mount("a_bridge_that_was_killed_goes_on_where_it_was") {
        return;
    }
    // Killed with its mount namespace, so that to the next one it is as after a reboot: records, but no mounts.
    let mut bridge = Bridge::start(false, "");
    let gate = bridge.path("plugins/test~shell/gate");
    let targets = [bridge.target("uid-1", "pv-1"), bridge.target("uid-2", "pv-2")];
    block_on(async {
        let client = bridge.client().await;
        assert_eq!(publish(&client, &publish_request("pv-1", &targets[0])).await, Ok(()));
        fs::write(&gate, "").unwrap();
        let request = publish_request("pv-2", &targets[1]);
        let hanging = tokio::spawn(async move { publish(&client, &request).await });
        until("the driver to be called", || bridge.verbs().len() == 2).await;
        bridge.kill();
        assert!(hanging.await.unwrap().is_err());
    });
    fs::remove_file(&gate).unwrap();
    fs::remove_file(bridge.path("csi.sock")).unwrap();
    bridge.run();
    bridge.wait_for("csi.sock");
    block_on(async {
        let client = bridge.client().await;
        for (volume, target) in ["pv-1", "pv-2"].into_iter().zip(&targets) {
            assert_eq!(publish(&client, &publish_request(volume, target)).await, Ok(()));
            fs::write(bridge.seen(target).join("file"), "x").unwrap();
        }
        for (volume, target) in ["pv-1", "pv-2"].into_iter().zip(&targets) {
            assert_eq!(unpublish(&client, volume, target).await, Ok(()));
            assert!(!target.exists());
        }
    });
    assert!(bridge.mounts().is_empty(), "{:?}", bridge.mounts());
}

#[test]
fn only_one_bridge_serves_a_driver() {
    if cannot_mount("only_one_bridge_serves_a_driver") {
        return;
    }
    let mut bridge = Bridge::start(false, "");
    let mode = fs::metadata(bridge.path("root/csi")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o700);
    let mut first = bridge.take_process();
    bridge.run();
    wait("the second one to say why it ends", || bridge.log().contains("another bridge serves this driver"));
    first.kill().unwrap();
    first.wait().unwrap();
}

#[test]
fn in_a_container_drivers_mount_for_the_host_if_they_are_told_to() {
    if cannot_mount("in_a_container_drivers_mount_for_the_host_if_they_are_told_to") {
        return;
    }
    for (exec, mounts) in [("host", 2), ("here", 0)] {
        let mut bridge =
            Bridge::prepare(false, &["--driver", "test/shell", "--endpoint", "@/csi.sock", "--exec", exec]);
        bridge.in_container = true;
        bridge.run();
        bridge.wait_for("csi.sock");
        let target = bridge.target("uid-1", "pv-1");
        block_on(async {
            let client = bridge.client().await;
            assert_eq!(publish(&client, &publish_request("pv-1", &target)).await, Ok(()));
            assert_eq!(bridge.mounts_of_init().len(), mounts, "{exec}: {:?}", bridge.mounts_of_init());
            assert_eq!(unpublish(&client, "pv-1", &target).await, Ok(()));
        });
        assert!(bridge.mounts_of_init().is_empty());
    }
}

#[test]
fn a_driver_is_told_the_group_and_used_in_its_access_modes_alone() {
    if cannot_mount("a_driver_is_told_the_group_and_used_in_its_access_modes_alone") {
        return;
    }
    let config = "[driver.\"test/shell\"]\nfs-group = \"driver\"\naccess-modes = [\"ReadWriteMany\"]\n";
    let bridge = Bridge::start(false, config);
    let target = bridge.target("uid-1", "pv-1");
    block_on(async {
        let client = bridge.client().await;
        let refusal = publish(&client, &publish_request("pv-1", &target)).await.unwrap_err();
        assert_eq!(refusal.code, INVALID_ARGUMENT);
        assert!(refusal.message.contains("access-modes"), "{}", refusal.message);
        let mut request = publish_request("pv-1", &target);
        let capability = request.volume_capability.as_mut().unwrap();
        capability.access_mode = Some(AccessMode { mode: Mode::MultiNodeMultiWriter.into() });
        capability.mount.as_mut().unwrap().volume_mount_group = "2000".to_owned();
        assert_eq!(publish(&client, &request).await, Ok(()));
        assert_eq!(unpublish(&client, "pv-1", &target).await, Ok(()));
    });
    assert_eq!(bridge.verbs(), ["mount", "unmount"]);
    assert_eq!(told(&bridge.calls()[0])["kubernetes.io/mounterArgs.FsGroup"], "2000");
}

#[test]
fn a_resizer_can_work_with_a_driver_that_nodes_attach_and_nobody_provisions() {
    if cannot_mount("a_resizer_can_work_with_a_driver_that_nodes_attach_and_nobody_provisions") {
        return;
    }
    let mut bridge = Bridge::prepare(
        true,
        &["--driver", "test/shell", "--endpoint", "@/csi.sock", "--mode", "controller"],
    );
    fs::write(bridge.path("config.toml"), "[driver.\"test/shell\"]\nattach = \"node\"\n").unwrap();
    bridge.add_arguments(&["--config", "@/config.toml"]);
    bridge.run();
    bridge.wait_for("csi.sock");
    block_on(async {
        let client = bridge.client().await;
        let plugin: GetPluginCapabilitiesResponse =
            client.call("csi.v1.Identity/GetPluginCapabilities", &Empty {}).await.unwrap();
        let services = plugin.capabilities.iter().filter_map(|capability| capability.service.as_ref());
        assert_eq!(services.map(|service| service.r#type).collect::<Vec<_>>(), [1], "{plugin:?}");
        let can: ControllerGetCapabilitiesResponse =
            client.call("csi.v1.Controller/ControllerGetCapabilities", &Empty {}).await.unwrap();
        let types = can.capabilities.iter().filter_map(|capability| capability.rpc.as_ref());
        assert!(types.map(|rpc| rpc.r#type).any(|number| number == 9), "{can:?}");
        let grow = ControllerExpandVolumeRequest {
            volume_id: "pv-1".to_owned(),
            capacity_range: Some(CapacityRange { required_bytes: 2 << 20, limit_bytes: 0 }),
            ..ControllerExpandVolumeRequest::default()
        };
        let grown: ControllerExpandVolumeResponse =
            client.call("csi.v1.Controller/ControllerExpandVolume", &grow).await.unwrap();
        assert_eq!((grown.capacity_bytes, grown.node_expansion_required), (2 << 20, true));
    });
}
