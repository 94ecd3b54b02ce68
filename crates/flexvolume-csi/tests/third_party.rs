//! What real drivers have answered, through the bridge: kubelet gets a code that it acts on rightly, and whoever reads the
//! pod's events gets what the driver said, and of which call.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use flexvolume_csi::messages::NodeUnstageVolumeRequest;
use serde_json::Value;
use support::client::{Answer, Client};
use support::*;

const UNSTAGE: &str = "csi.v1.Node/NodeUnstageVolume";
const UNAVAILABLE: i32 = 14;
/// The calls that a volume's way up and down consists of.
const UP: [&str; 4] = ["attach", "waitforattach", "mountdevice", "mount"];
const DOWN: [&str; 3] = ["unmount", "unmountdevice", "detach"];

/// A driver that does what it should, but for one call, to which it answers what is in the files beside it.
const DRIVER: &str = r#"#!/bin/sh
here=${0%/*}
if [ "$1" = "$(cat "$here/verb")" ]; then
    cat "$here/stdout"; cat "$here/stderr" >&2
    exit "$(cat "$here/exit")"
fi
case "$1" in
init) echo '{"status":"Success","capabilities":{"attach":true,"fsGroup":false}}'; exit ;;
attach|waitforattach) echo '{"status":"Success","device":"/dev/null"}'; exit ;;
mount|mountdevice) mount -t tmpfs -o size=64k corpus "$2" >&2 || exit 1 ;;
unmount|unmountdevice) umount "$2" >&2 || exit 1 ;;
detach) ;;
*) echo '{"status":"Not supported"}'; exit 1 ;;
esac
echo '{"status":"Success"}'
"#;

/// An answer of a real driver.
struct Case {
    id: String,
    verb: String,
    stdout: String,
    stderr: String,
    exit: i64,
    outcome: String,
    message: String,
}

fn case(value: &Value) -> Option<Case> {
    let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
    let verb = text(&value["call"])?;
    let is_ours = UP.contains(&verb.as_str()) || DOWN.contains(&verb.as_str());
    // Those that were made up are of the readers' own tests.
    let is_real = value["origin"] != "made";
    (is_ours && is_real).then_some(())?;
    Some(Case {
        id: text(&value["id"])?,
        verb,
        stdout: text(&value["stdout"])?,
        stderr: text(&value["stderr"])?,
        exit: value["exit"].as_i64()?,
        outcome: text(&value["tolerant"]["outcome"])?,
        message: text(&value["tolerant"]["message"]).unwrap_or_default(),
    })
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../flexvolume-host/tests/corpus/replies");
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let file: Value = serde_json::from_slice(&fs::read(entry.unwrap().path()).unwrap()).unwrap();
        found.extend(file["cases"].as_array().unwrap().iter().filter_map(case));
    }
    found.sort_by(|one, other| one.id.cmp(&other.id));
    found
}

fn install(bridge: &Bridge, number: usize, case: &Case) {
    let folder = bridge.path("plugins").join(format!("corpus~c{number}x"));
    fs::create_dir_all(&folder).unwrap();
    let exit = case.exit.to_string();
    let program = format!("c{number}x");
    for (name, text) in [
        ("verb", case.verb.as_str()),
        ("stdout", &case.stdout),
        ("stderr", &case.stderr),
        ("exit", &exit),
        (&program, DRIVER),
    ] {
        let mut file = fs::File::create(folder.join(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }
    fs::set_permissions(folder.join(&program), fs::Permissions::from_mode(0o755)).unwrap();
}

/// The whole way up and down; the first refusal counts.
async fn go(client: &Client, bridge: &Bridge, number: usize, goes_down: bool) -> Answer<()> {
    let volume = format!("pv-{number}");
    let target = bridge.target(&format!("uid-{number}"), &volume);
    let staging = bridge.path("kubelet/plugins/staging").join(&volume);
    fs::create_dir_all(&staging).unwrap();
    let mut request = publish_request(&volume, &target);
    request.staging_target_path = staging.display().to_string();
    let up = publish(client, &request).await;
    if goes_down {
        assert_eq!(up, Ok(()), "{number}");
    }
    let unpublished = unpublish(client, &volume, &target).await;
    let staging_target_path = staging.display().to_string();
    let unstage = NodeUnstageVolumeRequest { volume_id: volume, staging_target_path };
    let unstaged = client.tell(UNSTAGE, &unstage).await;
    up.and(unpublished).and(unstaged)
}

/// White space aside, and no more than an event shows for sure.
fn gist(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(60).collect()
}

fn judge(case: &Case, answer: &Answer<()>) -> Option<String> {
    let found = |why: &str| Some(format!("{} ({}): {why}: {answer:?}", case.id, case.verb));
    let Err(refusal) = answer else {
        return (case.outcome == "failed").then(|| found("its failure is lost")).flatten();
    };
    if ![INTERNAL, UNAVAILABLE, FAILED_PRECONDITION].contains(&refusal.code) {
        return found("a code that means something else");
    }
    if !refusal.message.contains(case.verb.as_str()) && !refusal.message.contains("corpus") {
        return found("neither the call nor the driver is named");
    }
    let said = gist(&case.message);
    if case.outcome == "failed" && !gist_contains(&refusal.message, &said) {
        return found(&format!("what the driver said is lost ({said:?})"));
    }
    (refusal.message.len() > 8 << 10).then(|| found("an event of kilobytes")).flatten()
}

fn gist_contains(text: &str, said: &str) -> bool {
    text.split_whitespace().collect::<Vec<_>>().join(" ").contains(said)
}

#[test]
fn what_real_drivers_answer_reaches_whoever_can_act_on_it() {
    if cannot_mount("what_real_drivers_answer_reaches_whoever_can_act_on_it") {
        return;
    }
    let cases = cases();
    assert!(cases.len() >= 100, "only {} cases were read", cases.len());
    let mut bridge = Bridge::prepare(true, &["--config", "@/config.toml"]);
    let mut config = String::new();
    for (number, case) in cases.iter().enumerate() {
        install(&bridge, number, case);
        config.push_str(&format!("[driver.\"corpus/c{number}x\"]\nattach = \"node\"\n"));
    }
    fs::write(bridge.path("config.toml"), config).unwrap();
    bridge.run();
    let (mut wrong, mut refused) = (Vec::new(), 0);
    for (number, case) in cases.iter().enumerate() {
        let socket = format!("kubelet/plugins/c{number}x.corpus/csi.sock");
        bridge.wait_for(&socket);
        block_on(async {
            let client = bridge.client_at(&socket).await;
            let goes_down = DOWN.contains(&case.verb.as_str());
            let answer = go(&client, &bridge, number, goes_down).await;
            refused += usize::from(answer.is_err());
            wrong.extend(judge(case, &answer));
        });
    }
    assert!(refused >= 50 && refused < cases.len(), "{refused} of {} were refused", cases.len());
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
