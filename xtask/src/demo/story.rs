//! The story: a pod's volumes from nothing to mounted and back.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::narrator::Narrator;
use super::place::Place;
use crate::keeper::loop_devices;

/// Tells the story of a place with these drivers.
pub(super) fn tell(narrator: &mut Narrator, place: Place, drivers: &[PathBuf]) -> Result<()> {
    install(narrator, drivers)?;
    narrator.step("A pod and its volumes");
    let text = manifest(place, &narrator.folder);
    narrator.write("pod.yaml", &text)?;
    if place == Place::Scratch {
        without_mounts(narrator)?;
    } else {
        mount(narrator, place)?;
        share(narrator)?;
        restart(narrator, place)?;
        fill(narrator)?;
        unmount(narrator)?;
        again(narrator, place)?;
    }
    remove(narrator, drivers)?;
    println!("\nEverything above was checked.");
    Ok(())
}

fn install(narrator: &mut Narrator, drivers: &[PathBuf]) -> Result<()> {
    narrator.step("Install the drivers; each one is tried first");
    for driver in drivers {
        narrator.must(&format!("flexvol driver install {} --name {}", driver.display(), name(driver)))?;
    }
    let list = narrator.must("flexvol driver list")?;
    narrator.claim("the drivers are listed", drivers.iter().all(|driver| list.contains(&name(driver))))
}

fn remove(narrator: &mut Narrator, drivers: &[PathBuf]) -> Result<()> {
    narrator.step("Remove the drivers");
    for driver in drivers {
        narrator.must(&format!("flexvol driver remove {}", name(driver)))?;
    }
    let left = fs::read_dir(narrator.folder.join("plugins"))?.count();
    narrator.claim("the plugin directory is empty", left == 0)
}

fn name(driver: &Path) -> String {
    format!("flexvol/{}", driver.file_name().unwrap_or_default().to_string_lossy())
}

fn mount(narrator: &mut Narrator, place: Place) -> Result<()> {
    narrator.step("Mount them");
    narrator.must("flexvol mount -f pod.yaml")?;
    narrator.must("flexvol status")?;
    let mounts = narrator.mounts()?;
    mounts.iter().for_each(|line| println!("    mount table: {line}"));
    let expected: &[&str] = if place == Place::Loop { &["/cache ", "/notes "] } else { &["/cache "] };
    let mounted = |name: &&str| mounts.iter().any(|line| line.contains("/pods/") && line.contains(*name));
    narrator.claim("each volume of the pod is in the mount table", expected.iter().all(mounted))
}

fn share(narrator: &mut Narrator) -> Result<()> {
    narrator.step("Two containers of the pod share the data");
    narrator.must("flexvol run -f pod.yaml --container writer -- sh -c 'echo hello >/cache/greeting'")?;
    let text = narrator.must("flexvol run -f pod.yaml --container reader -- cat /cache/greeting")?;
    narrator.claim("the reader sees what the writer wrote", text.contains("hello"))?;
    let ran = narrator.run("flexvol run -f pod.yaml --container reader -- touch /cache/mine")?;
    let refused = !ran.succeeded && ran.text.contains("Read-only file system");
    narrator.claim("the reader, which mounts it read-only, cannot write", refused)
}

fn restart(narrator: &mut Narrator, place: Place) -> Result<()> {
    narrator.step("A container that is restarted finds its data");
    let text = narrator.must("flexvol run -f pod.yaml --container writer -- cat /cache/greeting")?;
    narrator.claim("the data survived the end of the writer", text.contains("hello"))?;
    if place == Place::Loop {
        narrator.must("flexvol run -f pod.yaml --container writer -- sh -c 'echo kept >/notes/note'")?;
    }
    Ok(())
}

fn fill(narrator: &mut Narrator) -> Result<()> {
    narrator.step("Nobody can write more than the size");
    let line = "dd if=/dev/zero of=/cache/big bs=1M count=64";
    let ran = narrator.run(&format!("flexvol run -f pod.yaml --container writer -- {line}"))?;
    let full = !ran.succeeded && ran.text.contains("No space left on device");
    narrator.claim("64 MiB do not fit into the 16 MiB that the volume has: No space left on device", full)
}

fn unmount(narrator: &mut Narrator) -> Result<()> {
    narrator.step("Unmount them");
    narrator.must("flexvol unmount -f pod.yaml")?;
    narrator.must("flexvol status")?;
    nothing_is_mounted(narrator)
}

fn nothing_is_mounted(narrator: &Narrator) -> Result<()> {
    narrator.claim("the mount table has nothing of it any more", narrator.mounts()?.is_empty())?;
    narrator.claim("no loop device is left", loop_devices(&narrator.folder).is_empty())
}

fn again(narrator: &mut Narrator, place: Place) -> Result<()> {
    narrator.step("The next run of the pod; `run` mounts by itself and unmounts after the last command");
    let text = narrator.must("flexvol run -f pod.yaml --container writer -- ls -A /cache")?;
    narrator.claim("the ephemeral volume is new", !text.contains("greeting") && !text.contains("big"))?;
    if place == Place::Loop {
        let text = narrator.must("flexvol run -f pod.yaml --container writer -- cat /notes/note")?;
        narrator.claim("the persistent volume still has its data", text.contains("kept"))?;
    }
    nothing_is_mounted(narrator)
}

/// The volume of the driver scratch, below the demo's folder.
const VOLUME: &str = "root/pods/demo-uid/volumes/flexvol~scratch/cache";

/// The story where nothing may be mounted.
fn without_mounts(narrator: &mut Narrator) -> Result<()> {
    let volume = narrator.folder.join(VOLUME);
    narrator.step("Set it up and use it");
    narrator.must("flexvol mount -f pod.yaml")?;
    narrator.must("flexvol status")?;
    narrator.must(&format!("echo hello >{VOLUME}/greeting"))?;
    narrator.must("flexvol mount -f pod.yaml")?;
    let text = narrator.must(&format!("cat {VOLUME}/greeting"))?;
    narrator.claim("mounting again changes nothing: the data is still there", text.contains("hello"))?;
    narrator.step("Take it down");
    narrator.must("flexvol unmount -f pod.yaml")?;
    narrator.must("flexvol status")?;
    narrator.claim("the volume is gone with its pod", !volume.exists())?;
    nothing_is_mounted(narrator)
}

fn manifest(place: Place, folder: &Path) -> String {
    let disk = folder.join("disk").display().to_string();
    let (cache, notes) = match place {
        Place::Loop => (
            format!("{{driver: flexvol/loop-ephemeral, options: {{size: 16Mi, directory: {disk}}}}}"),
            persistent(&disk),
        ),
        Place::Memory => ("{driver: flexvol/memory, options: {size: 16Mi}}".to_owned(), Notes::default()),
        Place::Scratch => ("{driver: flexvol/scratch}".to_owned(), Notes::default()),
    };
    let Notes { objects, mount, volume } = notes;
    format!(
        "{objects}apiVersion: v1
kind: Pod
metadata: {{name: demo, uid: demo-uid}}
spec:
  containers:
  - name: writer
    image: none
    volumeMounts:
    - {{name: cache, mountPath: /cache}}
{mount}  - name: reader
    image: none
    volumeMounts:
    - {{name: cache, mountPath: /cache, readOnly: true}}
  volumes:
  - name: cache
    flexVolume: {cache}
{volume}"
    )
}

/// The parts of the manifest that the persistent volume adds.
#[derive(Default)]
struct Notes {
    objects: String,
    mount: &'static str,
    volume: &'static str,
}

fn persistent(disk: &str) -> Notes {
    let objects = format!(
        "apiVersion: v1
kind: PersistentVolume
metadata: {{name: notes}}
spec:
  capacity: {{storage: 32Mi}}
  accessModes: [ReadWriteOnce]
  flexVolume:
    driver: flexvol/loop
    fsType: ext4
    options: {{size: 32Mi, directory: {disk}}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: notes}}
spec:
  accessModes: [ReadWriteOnce]
  resources: {{requests: {{storage: 32Mi}}}}
  volumeName: notes
---
"
    );
    Notes {
        objects,
        mount: "    - {name: notes, mountPath: /notes}\n",
        volume: "  - name: notes\n    persistentVolumeClaim: {claimName: notes}\n",
    }
}
