//! Clients that are broken or mean: the right code, no crash, nothing touched outside, bounded memory.

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::Duration;

use support::*;

const PUBLISH: &str = "csi.v1.Node/NodePublishVolume";

#[test]
fn the_socket_is_for_its_owner_alone() {
    if cannot_mount("the_socket_is_for_its_owner_alone") {
        return;
    }
    let bridge = Bridge::start(false, "");
    let mode = fs::metadata(bridge.path("csi.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn bytes_that_are_no_request_are_refused_and_the_next_call_works() {
    if cannot_mount("bytes_that_are_no_request_are_refused_and_the_next_call_works") {
        return;
    }
    let bridge = Bridge::start(false, "");
    block_on(async {
        let client = bridge.client().await;
        for bytes in [
            &b"\xff\xff\xff\xff\xff"[..],
            b"\x0a\x7f",
            b"\x0a\xff\xff\xff\xff\x0f",
            b"\x0b",
            b"\x0a\x02\xff\xfe",
        ] {
            let answer = client.raw(PUBLISH, bytes.to_vec().into()).await;
            assert!(matches!(code(&answer), INTERNAL | INVALID_ARGUMENT), "{bytes:?}: {answer:?}");
        }
        let mut seed = 7_u64;
        for length in 0..300 {
            let noise = std::iter::repeat_with(|| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                seed.to_be_bytes()[0]
            });
            let answer = client.raw(PUBLISH, noise.take(length).collect::<Vec<u8>>().into()).await;
            assert_ne!(code(&answer), 0, "{length}");
        }
        let answer = client.raw("csi.v1.Node/NodeDance", Vec::new().into()).await;
        assert_eq!(code(&answer), UNIMPLEMENTED);
        let answer = client.raw("nonsense", Vec::new().into()).await;
        assert_eq!(code(&answer), UNIMPLEMENTED);
        let target = bridge.target("uid-1", "pv-1");
        assert_eq!(publish(&client, &publish_request("pv-1", &target)).await, Ok(()));
        assert_eq!(unpublish(&client, "pv-1", &target).await, Ok(()));
    });
    assert_eq!(bridge.verbs(), ["mount", "unmount"]);
}

#[test]
fn a_request_of_ten_megabytes_is_refused_and_not_kept() {
    if cannot_mount("a_request_of_ten_megabytes_is_refused_and_not_kept") {
        return;
    }
    let bridge = Bridge::start(false, "");
    block_on(async {
        for _ in 0..5 {
            let client = bridge.client().await;
            let mut request = publish_request("pv-1", &bridge.target("uid-1", "pv-1"));
            request.volume_context.insert("a".to_owned(), "x".repeat(10 << 20));
            assert_ne!(code(&publish(&client, &request).await), 0);
        }
    });
    assert!(bridge.resident_kibibytes() < 40_000, "{} KiB", bridge.resident_kibibytes());
    assert!(bridge.calls().is_empty());
}

#[test]
fn ids_and_paths_that_no_one_should_send_are_refused() {
    if cannot_mount("ids_and_paths_that_no_one_should_send_are_refused") {
        return;
    }
    let bridge = Bridge::start(false, "");
    let outside = bridge.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("sentinel"), "here").unwrap();
    let target = bridge.target("uid-1", "pv-1");
    let kubelet = bridge.path("kubelet").display().to_string();
    block_on(async {
        let client = bridge.client().await;
        let long = "v".repeat(10 << 10);
        assert_eq!(code(&publish(&client, &publish_request(&long, &target)).await), INVALID_ARGUMENT);
        assert_eq!(code(&unpublish(&client, &long, &target).await), INVALID_ARGUMENT);
        for path in [
            outside.display().to_string(),
            format!("{kubelet}/pods/../../outside"),
            format!("{kubelet}/.."),
            kubelet.clone(),
            "relative/path".to_owned(),
            "/".to_owned(),
            format!("{kubelet}/{}", "a/".repeat(3000)),
            format!("{kubelet}/a\0b"),
        ] {
            let answer = publish(&client, &publish_request("pv-1", Path::new(&path))).await;
            assert_eq!(code(&answer), INVALID_ARGUMENT, "{path}");
            assert_eq!(code(&unpublish(&client, "pv-1", Path::new(&path)).await), INVALID_ARGUMENT, "{path}");
        }
    });
    assert_eq!(fs::read_to_string(outside.join("sentinel")).unwrap(), "here");
    assert!(bridge.calls().is_empty() && bridge.mounts().is_empty());
}

#[test]
fn nothing_is_mounted_or_removed_through_a_symlink() {
    if cannot_mount("nothing_is_mounted_or_removed_through_a_symlink") {
        return;
    }
    let bridge = Bridge::start(false, "");
    let outside = bridge.path("outside");
    fs::create_dir(&outside).unwrap();
    let target = bridge.target("uid-1", "pv-1");
    symlink(&outside, &target).unwrap();
    let pod = bridge.path("kubelet/pods/uid-2");
    symlink(&outside, &pod).unwrap();
    block_on(async {
        let client = bridge.client().await;
        for target in [target.clone(), pod.join("mount")] {
            let answer = publish(&client, &publish_request("pv-1", &target)).await;
            assert_eq!(code(&answer), FAILED_PRECONDITION, "{answer:?}");
            let answer = unpublish(&client, "pv-1", &target).await;
            assert_eq!(code(&answer), FAILED_PRECONDITION, "{answer:?}");
        }
    });
    assert!(outside.is_dir() && target.is_symlink() && pod.is_symlink());
    assert!(bridge.mounts().is_empty(), "{:?}", bridge.mounts());
}

#[test]
fn thousands_of_equal_calls_make_one_mount() {
    if cannot_mount("thousands_of_equal_calls_make_one_mount") {
        return;
    }
    let bridge = Bridge::start(false, "");
    fs::write(bridge.path("plugins/test~shell/slow"), "1").unwrap();
    let request = publish_request("pv-1", &bridge.target("uid-1", "pv-1"));
    block_on(async {
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..48 {
            let client = bridge.client().await;
            for _ in 0..50 {
                let (client, request) = (client.clone(), request.clone());
                calls.spawn(async move { publish(&client, &request).await });
            }
        }
        while let Some(answer) = calls.join_next().await {
            assert_eq!(answer.unwrap(), Ok(()));
        }
    });
    assert_eq!(bridge.verbs(), ["mount"]);
    assert_eq!(bridge.mounts().len(), 2, "{:?}", bridge.mounts());
    assert!(bridge.resident_kibibytes() < 80_000, "{} KiB", bridge.resident_kibibytes());
}

#[test]
fn a_client_that_vanishes_ends_no_driver_and_the_next_one_joins() {
    if cannot_mount("a_client_that_vanishes_ends_no_driver_and_the_next_one_joins") {
        return;
    }
    let bridge = Bridge::start(false, "");
    let gate = bridge.path("plugins/test~shell/gate");
    fs::write(&gate, "").unwrap();
    let request = publish_request("pv-1", &bridge.target("uid-1", "pv-1"));
    block_on(async {
        let impatient = bridge.client().await;
        let gone = tokio::time::timeout(Duration::from_millis(500), publish(&impatient, &request)).await;
        gone.unwrap_err();
        drop(impatient);
    });
    wait("the driver to be called", || bridge.verbs() == ["mount"]);
    block_on(async {
        let client = bridge.client().await;
        let mut other = request.clone();
        other.readonly = true;
        let answer = publish(&client, &other).await;
        assert_eq!(code(&answer), ABORTED, "{answer:?}");
        let joined = tokio::spawn(async move { publish(&client, &request).await });
        tokio::time::sleep(Duration::from_millis(300)).await;
        fs::remove_file(&gate).unwrap();
        assert_eq!(joined.await.unwrap(), Ok(()));
    });
    assert_eq!(bridge.verbs(), ["mount"]);
}
