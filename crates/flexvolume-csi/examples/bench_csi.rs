//! What the bridge adds to a driver, for `cargo xtask bench`.
//!
//! `bench_csi FOLDER BRIDGE DRIVER RECORDS [NATIVE]` serves DRIVER (a program that mounts memory) by BRIDGE below FOLDER, with
//! records in RECORDS, in the mount namespace that this process is in, and prints four numbers: the median time of a publish and unpublish divided by that
//! of the same driver called bare for `mount` and `unmount`, taken in turn; the resident memory in KiB of a bridge with
//! three idle drivers; the median time of a publish and unpublish among 1,000 volumes divided by that among ten; and the
//! time of 64 publishes at once of a driver that sleeps for half a second, divided by that of one. With
//! NATIVE, a CSI driver that mounts memory by itself (flags -name, -node, -endpoint, -registry), a fifth: the first median
//! divided by that driver's, taken in turn.
#![expect(clippy::print_stdout, reason = "it prints what it measures")]
#![expect(clippy::disallowed_methods, reason = "it starts the bridge, and measures what a bare driver costs")]

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use flexvolume_csi::messages::{
    AccessMode, Mode, MountVolume, NodePublishVolumeRequest, NodeUnpublishVolumeRequest, VolumeCapability,
};

#[path = "../tests/support/client.rs"]
#[expect(clippy::expect_used, reason = "shared with the tests")]
mod client;

use client::Client;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const ROUNDS: usize = 300;
const MANY: usize = 1000;
const FEW: usize = 10;
const AT_ONCE: usize = 64;
const SLEEPER: &str = "#!/bin/sh\ncase \"$1\" in\n\
    init) echo '{\"status\":\"Success\",\"capabilities\":{\"attach\":false}}' ;;\n\
    mount) sleep 0.5; mount -t tmpfs -o size=1m none \"$2\"; echo '{\"status\":\"Success\"}' ;;\n\
    unmount) umount \"$2\"; echo '{\"status\":\"Success\"}' ;;\n\
    *) echo '{\"status\":\"Not supported\"}' ;;\nesac\n";

fn main() -> Result<()> {
    let words: Vec<PathBuf> = std::env::args().skip(1).map(PathBuf::from).collect();
    let [folder, bridge, driver, records, native @ ..] = &words[..] else {
        return Err("bench_csi FOLDER BRIDGE DRIVER RECORDS [NATIVE]".into());
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure([folder, bridge, driver, records], native.first().map(PathBuf::as_path)))
}

async fn measure([folder, bridge, driver, records]: [&Path; 4], native: Option<&Path>) -> Result<()> {
    let plugins = folder.join("plugins");
    for name in ["memory", "second", "third"] {
        install(&plugins, name, &fs::read(driver)?)?;
    }
    let mut served = Served::start(folder, bridge, records)?;
    served.wait_for("third")?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let resident = served.resident()?;
    let client = served.connect("memory").await?;
    let pair = against_bare(&client, folder, driver).await?;
    let native = match native {
        Some(native) => against_native(&client, folder, native).await?.to_string(),
        None => String::new(),
    };
    let among = among_others(&client, folder).await?;
    install(&plugins, "sleeper", SLEEPER.as_bytes())?;
    served.wait_for("sleeper")?;
    let sleeper = served.connect("sleeper").await?;
    let parallel = at_once(&sleeper, folder).await?;
    served.end()?;
    println!("{pair} {resident} {among} {parallel} {native}");
    Ok(())
}

fn install(plugins: &Path, name: &str, program: &[u8]) -> Result<()> {
    let hidden = plugins.join(format!(".{name}"));
    fs::create_dir_all(&hidden)?;
    let file = hidden.join(name);
    fs::write(&file, program)?;
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Ok(fs::rename(&hidden, plugins.join(format!("bench~{name}")))?)
}

struct Served {
    process: Child,
    kubelet: PathBuf,
}

impl Served {
    fn start(folder: &Path, bridge: &Path, records: &Path) -> Result<Self> {
        let kubelet = folder.join("kubelet");
        fs::create_dir_all(kubelet.join("pods"))?;
        let config = folder.join("config.toml");
        fs::write(&config, "")?;
        let mut command = Command::new(bridge);
        command.args(["serve", "--node-id", "bench", "--plugin-dir"]).arg(folder.join("plugins"));
        command.arg("--records").arg(records);
        command.arg("--root").arg(folder.join("root")).arg("--kubelet-root").arg(&kubelet);
        command.arg("--settings-dir").arg(folder.join("settings")).arg("--config").arg(config);
        let log = fs::File::create(folder.join("log"))?;
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?;
        Ok(Self { process, kubelet })
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.kubelet.join(format!("plugins/{name}.bench/csi.sock"))
    }

    fn wait_for(&self, name: &str) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(30);
        while !self.socket(name).exists() {
            if Instant::now() > end {
                return Err(format!("the bridge does not serve {name}").into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    async fn connect(&self, name: &str) -> Result<Client> {
        Ok(Client::connect(&self.socket(name)).await?)
    }

    fn resident(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
    }

    fn end(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }
}

fn volume(number: usize) -> String {
    format!("pv-{number}")
}

/// The target of a volume, as kubelet makes it.
fn target(folder: &Path, number: usize) -> Result<PathBuf> {
    let parent =
        folder.join(format!("kubelet/pods/uid-{number}/volumes/kubernetes.io~csi/{}", volume(number)));
    fs::create_dir_all(&parent)?;
    Ok(parent.join("mount"))
}

async fn publish(client: &Client, folder: &Path, number: usize) -> Result<()> {
    let request = NodePublishVolumeRequest {
        volume_id: volume(number),
        target_path: target(folder, number)?.display().to_string(),
        volume_capability: Some(VolumeCapability {
            block: None,
            mount: Some(MountVolume::default()),
            access_mode: Some(AccessMode { mode: Mode::SingleNodeWriter.into() }),
        }),
        volume_context: [("size".to_owned(), "1Mi".to_owned())].into(),
        ..NodePublishVolumeRequest::default()
    };
    let answer = client.tell("csi.v1.Node/NodePublishVolume", &request).await;
    answer.map_err(|refusal| refusal.message.into())
}

async fn unpublish(client: &Client, folder: &Path, number: usize) -> Result<()> {
    let target_path = target(folder, number)?.display().to_string();
    let request = NodeUnpublishVolumeRequest { volume_id: volume(number), target_path };
    let answer = client.tell("csi.v1.Node/NodeUnpublishVolume", &request).await;
    answer.map_err(|refusal| refusal.message.into())
}

async fn cycle(client: &Client, folder: &Path, number: usize) -> Result<Duration> {
    target(folder, number)?;
    let start = Instant::now();
    publish(client, folder, number).await?;
    unpublish(client, folder, number).await?;
    Ok(start.elapsed())
}

fn bare(driver: &Path, place: &Path) -> Result<Duration> {
    let options = r#"{"kubernetes.io/fsType":"","kubernetes.io/readwrite":"rw","kubernetes.io/pvOrVolumeName":"pv","size":"1Mi"}"#;
    fs::create_dir_all(place)?;
    let start = Instant::now();
    for (verb, options) in [("mount", Some(options)), ("unmount", None)] {
        let mut command = Command::new(driver);
        let output = command.arg(verb).arg(place).args(options).stdin(Stdio::null()).output()?;
        if !output.status.success() {
            return Err(format!("{verb}: {}", String::from_utf8_lossy(&output.stdout)).into());
        }
    }
    Ok(start.elapsed())
}

async fn against_bare(client: &Client, folder: &Path, driver: &Path) -> Result<f64> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(cycle(client, folder, 0).await?);
        theirs.push(bare(driver, &folder.join("bare"))?);
    }
    Ok(median(ours) / median(theirs))
}

async fn against_native(client: &Client, folder: &Path, native: &Path) -> Result<f64> {
    let (socket, registry) = (folder.join("native/csi.sock"), folder.join("native/registry"));
    fs::create_dir_all(&registry)?;
    let mut command = Command::new(native);
    command.args(["-name", "native.bench", "-node", "bench", "-endpoint"]).arg(&socket);
    command.arg("-registry").arg(registry).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = command.spawn()?;
    let measured = in_turn(client, folder, &socket).await;
    process.kill()?;
    process.wait()?;
    measured
}

async fn in_turn(client: &Client, folder: &Path, socket: &Path) -> Result<f64> {
    let end = Instant::now() + Duration::from_secs(30);
    let native = loop {
        match Client::connect(socket).await {
            Ok(native) => break native,
            Err(error) if Instant::now() > end => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(cycle(client, folder, 0).await?);
        theirs.push(cycle(&native, folder, 0).await?);
    }
    Ok(median(ours) / median(theirs))
}

async fn among_others(client: &Client, folder: &Path) -> Result<f64> {
    let mut times = Vec::new();
    for count in [FEW, MANY] {
        for number in 1..count {
            publish(client, folder, number).await?;
        }
        let mut cycles = Vec::new();
        for _ in 0..ROUNDS {
            cycles.push(cycle(client, folder, 0).await?);
        }
        times.push(median(cycles));
    }
    for number in 1..MANY {
        unpublish(client, folder, number).await?;
    }
    Ok(times[1] / times[0])
}

async fn at_once(client: &Client, folder: &Path) -> Result<f64> {
    let start = Instant::now();
    publish(client, folder, 0).await?;
    let one = start.elapsed();
    let start = Instant::now();
    let mut calls = tokio::task::JoinSet::new();
    for number in 1..=AT_ONCE {
        let (client, folder) = (client.clone(), folder.to_owned());
        calls
            .spawn(async move { publish(&client, &folder, number).await.map_err(|error| error.to_string()) });
    }
    while let Some(call) = calls.join_next().await {
        call??;
    }
    let all = start.elapsed();
    for number in 0..=AT_ONCE {
        unpublish(client, folder, number).await?;
    }
    Ok(all.as_secs_f64() / one.as_secs_f64())
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default().as_secs_f64()
}
