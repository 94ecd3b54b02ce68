//! The drivers of the chaos test.

use std::path::{Path, PathBuf};

use crate::node::MEMORY;

/// A kind of driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// A tmpfs.
    Memory,
    /// A tmpfs that often fails, before or after it has mounted or unmounted.
    Flaky,
    /// A tmpfs that takes its time.
    Slow,
    /// Attached, and shared by pods: a tmpfs that is the device.
    Disk,
    /// The real one: image files that keep their data.
    Loop,
}

/// What became of a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Healthy,
    /// Its `init` fails.
    Broken,
    /// Its `init` hangs.
    Hung,
    Removed,
}

const FLAKY: &str = r#"
init) echo '{"status": "Success", "capabilities": {"attach": false}}' ;;
mount) [ $(($$ % 4)) = 0 ] && { echo '{"status": "Failure", "message": "not today"}'; exit 1; }
  mount -t tmpfs -o size=1m memory "$2" || exit 1
  [ $(($$ % 5)) = 0 ] && { echo '{"status": "Failure", "message": "not quite"}'; exit 1; }
  [ $(($$ % 7)) = 0 ] && kill -9 $$
  echo '{"status": "Success"}' ;;
unmount) [ $(($$ % 4)) = 1 ] && { echo 'oh no'; exit 1; }
  umount "$2" || exit 1
  [ $(($$ % 5)) = 1 ] && { echo '{"status": "Failure", "message": "done, but no"}'; exit 1; }
  echo '{"status": "Success"}' ;;
"#;

const DISK: &str = r#"
init) echo '{"status": "Success", "capabilities": {"attach": true, "supportsMetrics": false}}' ;;
attach) name=$(printf '%s' "$2" | sed 's/.*pvOrVolumeName":"\([^"]*\)".*/\1/'); mkdir -p 'TOP/attached' && : >"TOP/attached/$name" && echo '{"status": "Success", "device": "/dev/disk"}' ;;
waitforattach) echo '{"status": "Success", "device": "/dev/disk"}' ;;
isattached) name=$(printf '%s' "$2" | sed 's/.*pvOrVolumeName":"\([^"]*\)".*/\1/'); if [ -e "TOP/attached/$name" ]; then echo '{"status": "Success", "attached": true}'; else echo '{"status": "Success", "attached": false}'; fi ;;
mountdevice) mkdir -p "$2" && mount -t tmpfs -o size=1m disk "$2" && echo '{"status": "Success"}' ;;
unmountdevice) umount "$2" && echo '{"status": "Success"}' ;;
detach) rm -f "TOP/attached/$2" && echo '{"status": "Success"}' ;;
expandvolume|expandfs) echo '{"status": "Success"}' ;;
"#;

const LOOP: &str = "*) exec env -u FLEXVOL_FAILPOINT -u FLEXVOL_FAILPOINT_LOG FLEXVOL_STATE_DIR='TOP/state' 'PROGRAM' \"$@\" ;;";

/// The real driver, if it has been built: this package does not depend on it.
pub(super) fn loop_driver() -> Option<PathBuf> {
    let this = std::env::current_exe().ok()?;
    Some(this.parent()?.parent()?.join("loop")).filter(|program| program.exists())
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Memory => "example.com/memory",
            Kind::Flaky => "example.com/flaky",
            Kind::Slow => "example.com/slow",
            Kind::Disk => "example.com/disk",
            Kind::Loop => "flexvol/loop",
        }
    }

    pub(super) fn directory(self) -> String {
        self.name().replace('/', "~")
    }

    /// Where it is installed, below the plugin directory.
    pub(super) fn place(self) -> String {
        let name = self.name();
        format!("{}/{}", self.directory(), name.split('/').next_back().unwrap_or(name))
    }

    pub(super) fn cases(self, top: &Path) -> String {
        let top = top.to_string_lossy();
        match self {
            Kind::Memory => MEMORY.to_owned(),
            Kind::Flaky => FLAKY.to_owned(),
            Kind::Slow => MEMORY.replace("mount) mount", "mount) sleep 0.$(($$ % 9)); mount"),
            Kind::Disk => DISK.replace("TOP", &top),
            Kind::Loop => {
                let program = loop_driver().unwrap_or_default();
                LOOP.replace("TOP", &top).replace("PROGRAM", &program.to_string_lossy())
            }
        }
    }

    /// Its persistent volumes; none if its volumes are inline.
    pub(super) fn disks(self) -> &'static [&'static str] {
        match self {
            Kind::Disk => &["disk-1", "disk-2", "disk-3"],
            Kind::Loop => &["image-1", "image-2"],
            Kind::Memory | Kind::Flaky | Kind::Slow => &[],
        }
    }

    /// A persistent volume and the claim of the same name.
    pub(super) fn disk_text(self, disk: &str, capacity: u64) -> String {
        let (driver, options) =
            (self.name(), if self == Kind::Loop { ", options: {size: 2Mi}, fsType: ext4" } else { "" });
        format!(
            "apiVersion: v1\nkind: PersistentVolume\nmetadata: {{name: {disk}}}\nspec: {{capacity: {{storage: {capacity}Mi}}, claimRef: {{name: {disk}}}, flexVolume: {{driver: {driver}{options}}}}}\n---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{name: {disk}}}\nspec: {{volumeName: {disk}}}\n"
        )
    }
}
