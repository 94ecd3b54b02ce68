//! What the host adds to a driver, for `cargo xtask bench`.
//!
//! `bench_call call PLUGIN_DIR VENDOR/DRIVER ROUNDS` prints the median nanoseconds of a whole `isattached` of an attachable
//! driver and of a bare start of the same program with the same arguments, taken in turn.
//!
//! `bench_call volumes PLUGIN_DIR VENDOR/DRIVER ROOT COUNT` mounts all but the last of COUNT volumes below ROOT and
//! prints `ready`; then, for each line on standard input, it sets the last one up, tears it down, and prints how many
//! nanoseconds that took. At the end of the input it unmounts the others.
//!
//! `bench_call references ROOT COUNT ROUNDS` makes COUNT mounts below ROOT, in a mount namespace that is its own already,
//! and prints how many nanoseconds the question who else uses one of them took the first time, and the median of ROUNDS
//! times after that.
#![expect(clippy::print_stdout, reason = "it prints what it measures")]
#![expect(clippy::disallowed_methods, reason = "it measures what a bare start of a program costs")]

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flexvolume_host::contract::{Access, DriverName, PodUid, VolumeName};
use flexvolume_host::lifecycle::{PodVolume, VolumeManager};
use flexvolume_host::os::System;
use flexvolume_host::os::mount::{Access as MountAccess, FileSystemMount};
use flexvolume_host::plugin::Attachments;
use flexvolume_host::registry::Registry;
use flexvolume_host::spec::{MounterArguments, Pod, Source, VolumeSpec};
use flexvolume_host::{Deadlines, Reading, SecretError, SecretObject, SecretSource, VolumeHost};

const NODE: &str = "bench";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["call", plugin_dir, driver, rounds] => measure_call(Path::new(plugin_dir), driver, rounds.parse()?),
        ["volumes", plugin_dir, driver, root, count] => {
            serve_volumes(Path::new(plugin_dir), driver, Path::new(root), count.parse()?)
        }
        ["references", root, count, rounds] => {
            measure_references(Path::new(root), count.parse()?, rounds.parse()?)
        }
        _ => Err("see the head of bench_call.rs for the arguments".into()),
    }
}

fn measure_call(plugin_dir: &Path, driver: &str, rounds: usize) -> Result<()> {
    let (_, registry) = host(plugin_dir, Path::new("/nonexistent"));
    let plugin = registry.find_by_name(&DriverName::parse(driver)?)?;
    let spec = spec(driver, 0)?;
    let program = plugin.executable().to_owned();
    let attachable = plugin.attachable().ok_or("the driver does not attach")?;
    let whole = || -> Result<Duration> {
        let start = Instant::now();
        match attachable.volumes_are_attached(&[&spec], NODE)? {
            Attachments::Known(_) => Ok(start.elapsed()),
            Attachments::Unknown => Err("the driver was not asked".into()),
        }
    };
    let (mut calls, mut starts) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        if round % 2 == 0 {
            calls.push(whole()?);
            starts.push(bare(&program)?);
        } else {
            starts.push(bare(&program)?);
            calls.push(whole()?);
        }
    }
    println!("{} {}", median(calls).as_nanos(), median(starts).as_nanos());
    Ok(())
}

/// Starts the program as the host would and waits for it: `posix_spawn`, no pipes, nothing read.
fn bare(program: &Path) -> Result<Duration> {
    let options = r#"{"kubernetes.io/fsType":"","kubernetes.io/pvOrVolumeName":"v0","kubernetes.io/readwrite":"rw","size":"1Mi"}"#;
    let mut command = Command::new(program);
    command
        .args(["isattached", options, NODE])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let start = Instant::now();
    command.status()?;
    Ok(start.elapsed())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn measure_references(root: &Path, count: usize, rounds: usize) -> Result<()> {
    let mounter = System::host().mounter;
    let memory = FileSystemMount {
        source: "bench".into(),
        fs_type: "tmpfs".to_owned(),
        access: MountAccess::ReadWrite,
        data: vec!["size=64k".to_owned()],
    };
    let place = |number: usize| -> Result<PathBuf> {
        let place = root.join(format!("plugins/kubernetes.io/flexvolume/v/d/mounts/pv-{number}"));
        std::fs::create_dir_all(&place)?;
        Ok(place)
    };
    for number in 1..count {
        mounter.mount(&memory, &place(number)?)?;
    }
    let (device, user) = (place(count / 2)?, place(count)?);
    mounter.bind(&device, &user)?;
    let ask = || -> Result<Duration> {
        let start = Instant::now();
        let users = mounter.references(&device)?.len();
        let took = start.elapsed();
        if users == 1 { Ok(took) } else { Err(format!("{users} users were found instead of one").into()) }
    };
    let first = ask()?;
    let later = median((0..rounds).map(|_| ask()).collect::<Result<_>>()?);
    println!("{} {}", first.as_nanos(), later.as_nanos());
    Ok(())
}

fn serve_volumes(plugin_dir: &Path, driver: &str, root: &Path, count: usize) -> Result<()> {
    let (host, registry) = host(plugin_dir, root);
    let manager = VolumeManager::new(host, registry);
    let pods =
        (1..count).map(|number| Ok((pod(number)?, [volume(driver, number)?]))).collect::<Result<Vec<_>>>()?;
    for (pod, volumes) in &pods {
        manager.mount(pod, volumes, MounterArguments::default())?;
    }
    say("ready")?;
    let (last, volumes) = (pod(count)?, [volume(driver, count)?]);
    for line in io::stdin().lock().lines() {
        line?;
        let start = Instant::now();
        manager.mount(&last, &volumes, MounterArguments::default())?;
        unmount(&manager, &last.uid)?;
        say(&start.elapsed().as_nanos().to_string())?;
    }
    pods.iter().try_for_each(|(pod, _)| unmount(&manager, &pod.uid))
}

fn unmount(manager: &VolumeManager, pod: &PodUid) -> Result<()> {
    match manager.unmount(pod) {
        Ok(_) => Ok(()),
        Err(mut errors) => Err(errors.pop().map_or_else(|| "unmount failed".into(), Into::into)),
    }
}

fn say(line: &str) -> io::Result<()> {
    println!("{line}");
    io::stdout().flush()
}

fn host(plugin_dir: &Path, root: &Path) -> (Arc<VolumeHost>, Arc<Registry>) {
    let host = Arc::new(VolumeHost {
        root: root.to_owned(),
        node: NODE.to_owned(),
        system: System::host(),
        secrets: Arc::new(NoSecrets),
        reading: Reading::default(),
        deadlines: Deadlines::default(),
        settings: Arc::default(),
    });
    let registry = Arc::new(Registry::new(Arc::clone(&host), vec![PathBuf::from(plugin_dir)]));
    (host, registry)
}

fn volume(driver: &str, number: usize) -> Result<PodVolume> {
    Ok(PodVolume { pod_volume: format!("v{number}"), spec: spec(driver, number)? })
}

fn spec(driver: &str, number: usize) -> Result<VolumeSpec> {
    Ok(VolumeSpec {
        name: VolumeName::parse(format!("v{number}"))?,
        driver: driver.to_owned(),
        fs_type: String::new(),
        access: Access::ReadWrite,
        options: BTreeMap::from([("size".to_owned(), "1Mi".to_owned())]),
        secret: None,
        source: Source::Inline,
    })
}

fn pod(number: usize) -> Result<Pod> {
    Ok(Pod {
        uid: PodUid::parse(format!("00000000-0000-0000-0000-{number:012}"))?,
        name: format!("pod-{number}"),
        namespace: "default".to_owned(),
        service_account: String::new(),
    })
}

struct NoSecrets;

impl SecretSource for NoSecrets {
    fn secret(&self, _: &str, name: &str) -> std::result::Result<SecretObject, SecretError> {
        Err(SecretError::NotFound { name: name.to_owned() })
    }
}
