//! A secret reaches the driver's own arguments and nothing else.

mod support;

use std::fs;
use std::path::Path;

use support::*;

const MARKER: &str = "marker-of-a-secret-5c1f";
/// The marker in base64, as the driver gets it.
const ENCODED: &str = "bWFya2VyLW9mLWEtc2VjcmV0LTVjMWY=";

fn files(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            files(&path, found);
        } else if path.is_file() {
            found.push((path.display().to_string(), fs::read(&path).unwrap_or_default()));
        }
    }
}

fn show_no_secret(what: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for word in [MARKER, ENCODED, &ENCODED[..20], &MARKER[..15]] {
        assert!(!text.contains(word), "{what} shows the secret: {text}");
    }
}

#[test]
fn a_secret_reaches_the_driver_and_nothing_else() {
    if cannot_mount("a_secret_reaches_the_driver_and_nothing_else") {
        return;
    }
    let mut bridge = Bridge::prepare(
        false,
        &["--driver", "test/shell", "--endpoint", "@/csi.sock", "--metrics", "127.0.0.1:0"],
    );
    bridge.log_level = "trace";
    bridge.run();
    bridge.wait_for("csi.sock");
    let fail = bridge.path("plugins/test~shell/fail");
    fs::write(&fail, "").unwrap();
    let target = bridge.target("uid-1", "pv-1");
    let mut request = publish_request("pv-1", &target);
    request.secrets.insert("password".to_owned(), MARKER.to_owned());
    block_on(async {
        let client = bridge.client().await;
        // The driver fails and tells its whole argument: options, and the secret among them.
        let refusal = publish(&client, &request).await.unwrap_err();
        assert_eq!(refusal.code, INTERNAL);
        assert!(refusal.message.contains("no:"), "{}", refusal.message);
        show_no_secret("the error", refusal.message.as_bytes());
        fs::remove_file(&fail).unwrap();
        assert_eq!(publish(&client, &request).await, Ok(()));
        let records = {
            let mut found = Vec::new();
            files(&bridge.path("root"), &mut found);
            found
        };
        assert!(records.len() >= 2, "{records:?}");
        records.iter().for_each(|(name, bytes)| show_no_secret(name, bytes));
        // A flag of a mount can hold a password too: it is refused, and not shown.
        let mut flagged = publish_request("pv-2", &bridge.target("uid-2", "pv-2"));
        let capability = flagged.volume_capability.as_mut().unwrap();
        capability.mount.as_mut().unwrap().mount_flags.push(format!("password={MARKER}"));
        let refusal = publish(&client, &flagged).await.unwrap_err();
        assert_eq!(refusal.code, INVALID_ARGUMENT);
        show_no_secret("the refusal", refusal.message.as_bytes());
        assert_eq!(unpublish(&client, "pv-1", &target).await, Ok(()));
    });
    let calls = bridge.calls();
    assert!(
        calls.iter().any(|call| call.contains(&format!("\"kubernetes.io/secret/password\":\"{ENCODED}\""))),
        "{calls:?}"
    );
    show_no_secret("the log", bridge.log().as_bytes());
}
