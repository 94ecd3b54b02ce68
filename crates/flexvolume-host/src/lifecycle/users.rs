//! Who uses a pod's volumes right now, so that the last one to leave can unmount them.

use flexvolume_os::lock::{Alone, Lock};

use super::LifecycleError;

/// One use of a pod's volumes. It ends with [`PodUse::leave`], or with the process in whatever way.
#[derive(Debug)]
pub struct PodUse {
    pub(super) shared: Lock,
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
    _alone: Lock,
}

impl PodUse {
    /// Ends the use.
    ///
    /// # Errors
    /// [`LifecycleError`] when the lock file cannot be used; the use has ended all the same.
    pub fn leave(self) -> Result<Leaving, LifecycleError> {
        match self.shared.into_alone() {
            Ok(Alone::Yes(alone)) => Ok(Leaving::Last(LastUse { _alone: alone })),
            Ok(Alone::No) => Ok(Leaving::OthersRemain),
            Err(error) => todo!("{error}"),
        }
    }
}
