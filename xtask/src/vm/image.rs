//! The machine's disk and kernel, made once by `vm/recipe` and kept in a cache.

use std::env;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process;
use crate::workspace::root;

/// How long another process may take to build the image that we want too.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// A folder with a disk, a kernel and an initrd.
#[derive(Debug)]
pub(super) struct Image {
    folder: PathBuf,
}

impl Image {
    /// The image of today's recipe; made if it is missing, which takes about a minute, root, and Debian's mirror.
    pub(super) fn get() -> Result<Self> {
        let recipe = root().join("vm/recipe");
        let text = fs::read(&recipe).with_context(|| format!("cannot read {}", recipe.display()))?;
        let cache = cache()?;
        let folder = cache.join(format!("{:016x}", hash(&text)));
        if !folder.exists() {
            let _lock = lock(&cache.join("lock"))?;
            if !folder.exists() {
                build(&recipe, &cache, &folder)?;
            }
        }
        Ok(Self { folder })
    }

    /// The kernel.
    pub(super) fn kernel(&self) -> PathBuf {
        self.folder.join("vmlinuz")
    }

    /// Its first file system, which finds the disk.
    pub(super) fn initrd(&self) -> PathBuf {
        self.folder.join("initrd")
    }

    /// The disk; never written to.
    pub(super) fn disk(&self) -> PathBuf {
        self.folder.join("root.ext4")
    }
}

fn cache() -> Result<PathBuf> {
    let base = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let base = base.or_else(|| Some(Path::new(&env::var_os("HOME")?).join(".cache")));
    let named = env::var_os("FLEXVOL_VM_CACHE").map(PathBuf::from);
    let cache = named
        .or_else(|| Some(base?.join("flexvol-vm")))
        .context("no place for the disk of the test machine: set FLEXVOL_VM_CACHE")?;
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    Ok(cache)
}

/// Waits until nobody else builds. The lock goes with the file.
fn lock(file: &Path) -> Result<File> {
    let lock = File::create(file).with_context(|| format!("cannot make {}", file.display()))?;
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = lock.try_lock() {
        if matches!(error, fs::TryLockError::Error(_)) || Instant::now() > deadline {
            bail!("cannot lock {}: {error}", file.display());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(lock)
}

/// Builds beside the final place and renames, so that what has the name is complete.
fn build(recipe: &Path, cache: &Path, folder: &Path) -> Result<()> {
    let me = fs::metadata("/proc/self").context("cannot read /proc/self")?;
    if me.uid() != 0 {
        bail!("the disk of the test machine is built by root, once: run `cargo xtask vm -- true` as root");
    }
    eprintln!("building the disk of the test machine, about a minute");
    let work = tempfile::Builder::new().prefix("build-").tempdir_in(cache).context("cannot make a folder")?;
    process::run(Command::new(recipe).arg(work.path()))?;
    fs::rename(work.keep(), folder).with_context(|| format!("cannot rename to {}", folder.display()))
}

/// FNV-1a: names a version of the recipe, nothing more.
fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(hash(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
