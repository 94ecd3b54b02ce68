//! Drivers that come and go while the bridge runs, and kubelet's registration.

mod support;

use std::fs;

use flexvolume_csi::messages::*;
use support::*;

#[test]
fn drivers_are_registered_when_they_come_and_not_when_they_are_gone() {
    if cannot_mount("drivers_are_registered_when_they_come_and_not_when_they_are_gone") {
        return;
    }
    let mut bridge = Bridge::prepare(false, &[]);
    bridge.run();
    let first = "kubelet/plugins_registry/shell.test-reg.sock";
    let second = "kubelet/plugins_registry/other.test-reg.sock";
    bridge.wait_for(first);
    bridge.install("test~other", false);
    bridge.wait_for(second);
    block_on(async {
        let client = bridge.client_at(second).await;
        let info: PluginInfo =
            client.call("pluginregistration.Registration/GetInfo", &Empty {}).await.unwrap();
        assert_eq!((info.r#type.as_str(), info.name.as_str()), ("CSIPlugin", "other.test"));
        assert_eq!(info.supported_versions, ["1.0.0"]);
        let socket = bridge.path("kubelet/plugins/other.test/csi.sock");
        assert_eq!(info.endpoint, socket.display().to_string());
        let client = bridge.client_at("kubelet/plugins/other.test/csi.sock").await;
        let plugin: GetPluginInfoResponse =
            client.call("csi.v1.Identity/GetPluginInfo", &Empty {}).await.unwrap();
        assert_eq!(plugin.name, "other.test");
        // A node serves no controller.
        let answer = client.call::<Empty>("csi.v1.Controller/ControllerGetCapabilities", &Empty {}).await;
        assert_eq!(code(&answer), UNIMPLEMENTED);
    });
    // Kubelet's directory is wiped.
    fs::remove_file(bridge.path(first)).unwrap();
    bridge.wait_for(first);
    fs::rename(bridge.path("plugins/test~other"), bridge.path("gone")).unwrap();
    wait("the driver to be deregistered", || !bridge.path(second).exists());
    assert!(bridge.path(first).exists());
}

/// Kubelet v1.37 names the socket's path, percent-encoded, where an authority belongs.
#[test]
fn a_client_that_calls_the_socket_by_its_path_is_answered() {
    use std::io::{Read as _, Write as _};

    if cannot_mount("a_client_that_calls_the_socket_by_its_path_is_answered") {
        return;
    }
    let mut bridge = Bridge::prepare(false, &[]);
    bridge.run();
    let socket = "kubelet/plugins_registry/shell.test-reg.sock";
    bridge.wait_for(socket);
    let mut fields = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/pluginregistration.Registration/GetInfo"),
        (":authority", "%2Fvar%2Flib%2Fkubelet%2Fplugins_registry%2Fshell.test-reg.sock"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        fields.push(0);
        for text in [name, value] {
            fields.push(u8::try_from(text.len()).unwrap());
            fields.extend(text.as_bytes());
        }
    }
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    bytes.extend([0, 0, u8::try_from(fields.len()).unwrap(), 1, 4, 0, 0, 0, 1]);
    bytes.extend(fields);
    bytes.extend([0, 0, 5, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
    let mut stream = std::os::unix::net::UnixStream::connect(bridge.path(socket)).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    stream.write_all(&bytes).unwrap();
    let (mut answer, mut piece) = (Vec::<u8>::new(), [0; 1024]);
    while !answer.windows(9).any(|window| window == b"CSIPlugin") {
        let count = stream.read(&mut piece).unwrap();
        assert!(count > 0, "the bridge hung up: {answer:?}");
        answer.extend(&piece[..count]);
    }
}

#[test]
fn a_driver_that_fails_is_served_and_says_so_when_it_was_asked_for() {
    if cannot_mount("a_driver_that_fails_is_served_and_says_so_when_it_was_asked_for") {
        return;
    }
    let mut bridge = Bridge::prepare(false, &["--driver", "test/absent", "--endpoint", "@/csi.sock"]);
    bridge.run();
    bridge.wait_for("csi.sock");
    block_on(async {
        let client = bridge.client().await;
        let probe: ProbeResponse = client.call("csi.v1.Identity/Probe", &Empty {}).await.unwrap();
        assert_eq!(probe.ready, Some(BoolValue { value: false }));
        bridge.install("test~absent", false);
        let probe: ProbeResponse = client.call("csi.v1.Identity/Probe", &Empty {}).await.unwrap();
        assert_eq!(probe.ready, Some(BoolValue { value: true }));
    });
}
