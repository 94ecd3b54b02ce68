//! Random calls against a model, with a bridge that is killed in between and on the way: nothing leaked, nothing lost.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use flexvolume_csi::messages::*;
use support::client::Client;
use support::*;

/// How many calls; `FLEXVOL_CSI_CALLS=5000` for the long run.
const CALLS: &str = "FLEXVOL_CSI_CALLS";
const VOLUMES: u64 = 3;
const PODS: u64 = 3;

/// What must be so.
#[derive(Default)]
struct Model {
    /// Targets that are published, with the volume and what a pod has written there.
    published: BTreeMap<PathBuf, (String, u64)>,
}

struct Random(u64);

impl Random {
    /// A number below `limit` (xorshift).
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// One step: a volume and a pod, published or unpublished.
struct Step {
    volume: String,
    target: PathBuf,
    staging: PathBuf,
    publishes: bool,
}

impl Step {
    fn choose(bridge: &Bridge, random: &mut Random) -> Self {
        let volume = format!("pv-{}", random.below(VOLUMES));
        let target = bridge.target(&format!("uid-{}", random.below(PODS)), &volume);
        let staging = bridge.path("kubelet/plugins/kubernetes.io/csi/shell.test").join(&volume);
        fs::create_dir_all(&staging).unwrap_or_default();
        Self { volume, target, staging, publishes: random.below(2) == 0 }
    }

    async fn call(&self, client: &Client) -> i32 {
        if !self.publishes {
            return code(&unpublish(client, &self.volume, &self.target).await);
        }
        let staging_target_path = self.staging.display().to_string();
        let stage = NodeStageVolumeRequest {
            volume_id: self.volume.clone(),
            staging_target_path: staging_target_path.clone(),
            volume_capability: capability(Mode::SingleNodeMultiWriter),
            ..NodeStageVolumeRequest::default()
        };
        let staged = client.tell("csi.v1.Node/NodeStageVolume", &stage).await;
        if staged.is_err() {
            return code(&staged);
        }
        let request =
            NodePublishVolumeRequest { staging_target_path, ..publish_request(&self.volume, &self.target) };
        code(&publish(client, &request).await)
    }
}

fn restart(bridge: &mut Bridge) {
    fs::remove_file(bridge.path("csi.sock")).unwrap_or_default();
    bridge.run();
    bridge.wait_for("csi.sock");
}

/// A call during which the bridge is killed: whatever came of it, the same call afterwards must do.
fn killed_on_the_way(bridge: &mut Bridge, step: &Step, random: &mut Random) {
    let patience = std::time::Duration::from_millis(random.below(60));
    block_on(async {
        let client = bridge.client().await;
        let _ = tokio::time::timeout(patience, step.call(&client)).await;
        bridge.kill();
    });
    restart(bridge);
}

impl Model {
    fn check(&self, bridge: &Bridge) {
        for (target, (volume, written)) in &self.published {
            let found = fs::read_to_string(bridge.seen(target).join("file")).unwrap_or_default();
            assert_eq!(found, written.to_string(), "{volume} at {}", target.display());
        }
    }

    /// Takes note of a step that succeeded, and writes what must still be there later.
    fn note(&mut self, bridge: &Bridge, step: &Step, number: u64) {
        if !step.publishes {
            self.published.remove(&step.target);
            assert!(!step.target.exists(), "{}", step.target.display());
        } else if !self.published.contains_key(&step.target) {
            let file = bridge.seen(&step.target).join("file");
            assert!(fs::write(&file, number.to_string()).is_ok(), "{} cannot be written", file.display());
            self.published.insert(step.target.clone(), (step.volume.clone(), number));
        }
    }
}

/// Takes everything away and looks for what is left.
fn clean_up(bridge: &Bridge) {
    block_on(async {
        let client = bridge.client().await;
        for volume in 0..VOLUMES {
            let volume = format!("pv-{volume}");
            for pod in 0..PODS {
                let target = bridge.target(&format!("uid-{pod}"), &volume);
                assert_eq!(unpublish(&client, &volume, &target).await, Ok(()));
            }
            let staging = bridge.path("kubelet/plugins/kubernetes.io/csi/shell.test").join(&volume);
            let request = NodeUnstageVolumeRequest {
                volume_id: volume.clone(),
                staging_target_path: staging.display().to_string(),
            };
            assert_eq!(client.tell("csi.v1.Node/NodeUnstageVolume", &request).await, Ok(()));
        }
    });
    assert!(bridge.mounts().is_empty(), "{:?}", bridge.mounts());
    for books in ["root/csi/shell.test/published", "root/csi/shell.test/staged", "root/pods"] {
        assert_eq!(entries(&bridge.path(books)), 0, "{books}");
    }
    let attached = bridge.verbs().iter().filter(|verb| *verb == "attach").count();
    let detached = bridge.verbs().iter().filter(|verb| *verb == "detach").count();
    assert!(attached > 0 && detached > 0, "{attached} {detached}");
}

fn entries(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}

#[test]
fn whatever_is_called_and_whenever_the_bridge_is_killed_nothing_leaks_and_nothing_is_lost() {
    if cannot_mount("whatever_is_called_and_whenever_the_bridge_is_killed_nothing_leaks_and_nothing_is_lost")
    {
        return;
    }
    let mut bridge = Bridge::prepare(
        true,
        &["--driver", "test/shell", "--endpoint", "@/csi.sock", "--config", "@/config.toml"],
    );
    fs::write(bridge.path("config.toml"), "[driver.\"test/shell\"]\nattach = \"node\"\n").unwrap();
    bridge.hold_mounts();
    restart(&mut bridge);
    let calls = std::env::var(CALLS).ok().and_then(|calls| calls.parse().ok()).unwrap_or(120);
    let mut random = Random(0x5eed_5eed);
    let mut model = Model::default();
    for number in 0..calls {
        let step = Step::choose(&bridge, &mut random);
        if random.below(8) == 0 {
            killed_on_the_way(&mut bridge, &step, &mut random);
        }
        let answer = block_on(async { step.call(&bridge.client().await).await });
        assert_eq!(answer, 0, "call {number}: {} at {}", step.volume, step.target.display());
        model.note(&bridge, &step, number);
        model.check(&bridge);
    }
    clean_up(&bridge);
}
