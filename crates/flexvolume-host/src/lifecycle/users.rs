//! Who uses a pod's volumes right now, so that the last one to leave can unmount them.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use flexvolume::PodUid;
use flexvolume_os::lock::{Alone, Lock};

use super::shelf::{RecordError, make_directory};
use super::{LifecycleError, file_name, locks};
use crate::{VolumeHost, paths};

/// One use of a pod's volumes. It ends with [`PodUse::leave`], or with the process in whatever way.
#[derive(Debug)]
pub struct PodUse {
    shared: Lock,
    kept: PathBuf,
}

/// How a use ended.
#[derive(Debug)]
pub enum Leaving {
    /// It was the last one and nobody asked to keep the volumes: unmount them, then drop the guard.
    Last(LastUse),
    /// Others use the pod's volumes.
    OthersRemain,
    /// Somebody asked to keep the volumes ([`VolumeManager::keep`](super::VolumeManager::keep)).
    Kept,
}

/// While this lives, [`VolumeManager::enter`](super::VolumeManager::enter) of the pod waits: nobody comes to use
/// volumes that are being unmounted.
#[derive(Debug)]
pub struct LastUse {
    alone: Option<Lock>,
}

impl PodUse {
    pub(super) fn begin(host: &VolumeHost, pod: &PodUid) -> Result<Self, LifecycleError> {
        Ok(Self { shared: locks::users(host, pod)?, kept: mark(&host.root, pod) })
    }

    /// Ends the use.
    ///
    /// # Errors
    /// [`LifecycleError`] when the lock file cannot be used; the use has ended all the same.
    pub fn leave(self) -> Result<Leaving, LifecycleError> {
        match self.shared.into_alone()? {
            Alone::No => Ok(Leaving::OthersRemain),
            Alone::Yes(_) if self.kept.symlink_metadata().is_ok() => Ok(Leaving::Kept),
            Alone::Yes(alone) => Ok(Leaving::Last(LastUse { alone: Some(alone) })),
        }
    }
}

impl Drop for LastUse {
    fn drop(&mut self) {
        if let Some(alone) = self.alone.take() {
            locks::discard(alone);
        }
    }
}

/// Who has asked for a pod's volumes to stay when their last user leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeper {
    /// A person, with `flexvol mount`.
    Person,
    /// The agent, for as long as the pod is wanted.
    Agent,
}

impl Keeper {
    /// As the mark holds it.
    fn word(self) -> &'static [u8] {
        match self {
            Keeper::Person => b"",
            Keeper::Agent => b"agent",
        }
    }
}

/// Who keeps the pod's volumes, if anybody does.
pub(super) fn keeper(root: &Path, pod: &PodUid) -> Option<Keeper> {
    let mark = mark(root, pod);
    let link = fs::read_link(&mark).map(|target| target.into_os_string().into_vec());
    let word = link.or_else(|_| fs::read(&mark)).ok()?;
    // What the agent did not write is a person's, whatever it is: it stays.
    Some(if word == Keeper::Agent.word() { Keeper::Agent } else { Keeper::Person })
}

/// Puts down that the pod's volumes stay when their last user leaves.
pub(super) fn keep(host: &VolumeHost, pod: &PodUid, keeper: Keeper) -> Result<(), LifecycleError> {
    if self::keeper(&host.root, pod) == Some(keeper) {
        return Ok(());
    }
    // A last user who is unmounting has this lock alone: the mark is made before the look at it, or after the unmount.
    let _user = locks::users(host, pod)?;
    let mark = mark(&host.root, pod);
    let failed = |source| RecordError::File { step: "write mark", file: mark.clone(), source };
    if let Some(directory) = mark.parent() {
        make_directory(&host.root, directory).map_err(failed)?;
    }
    match keeper {
        Keeper::Person => flexvolume_os::atomic::write(&mark, keeper.word()),
        Keeper::Agent => link(&mark, keeper.word()),
    }
    .map_err(failed)?;
    Ok(())
}

/// A link that leads nowhere is there at once, with its word, and needs no time of the disk. After a power cut, which may
/// take it away, nothing is mounted that it could keep.
fn link(mark: &Path, word: &[u8]) -> io::Result<()> {
    let word = OsStr::from_bytes(word);
    match symlink(word, mark) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // No mark begins with a dot.
            let beside =
                mark.with_file_name(format!(".{}.tmp", mark.file_name().unwrap_or_default().display()));
            let _ = fs::remove_file(&beside);
            symlink(word, &beside)?;
            fs::rename(&beside, mark)
        }
        made => made,
    }
}

/// Takes the wish back.
pub(super) fn forget_keep(host: &VolumeHost, pod: &PodUid) -> Result<(), LifecycleError> {
    let mark = mark(&host.root, pod);
    match fs::remove_file(&mark) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(RecordError::File { step: "remove mark", file: mark, source }.into())
        }
        _ => Ok(()),
    }
}

/// Removes the lock file of a pod that nobody uses any more.
pub(super) fn discard(host: &VolumeHost, pod: &PodUid) {
    if let Some(alone) = locks::users_left(host, pod) {
        locks::discard(alone);
    }
}

fn mark(root: &Path, pod: &PodUid) -> PathBuf {
    paths::state_dir(root).join("kept").join(file_name::of_pod(pod))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_says_whose_it_is_and_the_last_word_counts() {
        let directory = tempfile::tempdir().unwrap();
        let (root, pod) = (directory.path(), PodUid::parse("uid-1").unwrap());
        let mark = mark(root, &pod);
        fs::create_dir_all(mark.parent().unwrap()).unwrap();
        assert_eq!(keeper(root, &pod), None);
        link(&mark, Keeper::Agent.word()).unwrap();
        assert_eq!(keeper(root, &pod), Some(Keeper::Agent));
        flexvolume_os::atomic::write(&mark, Keeper::Person.word()).unwrap();
        assert_eq!(keeper(root, &pod), Some(Keeper::Person));
        link(&mark, Keeper::Agent.word()).unwrap();
        assert_eq!(keeper(root, &pod), Some(Keeper::Agent));
        assert_eq!(fs::read_dir(mark.parent().unwrap()).unwrap().count(), 1);
    }
}
