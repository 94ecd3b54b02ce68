//! What is new about manifest files, and what follows from it.

use std::collections::BTreeMap;

use flexvolume_host::contract::PodUid;
use flexvolume_host::reconcile::PodWish;

use crate::secrets::ManifestSecrets;

/// What is wrong with a file that nobody can be blamed for.
pub(super) const UNFINISHED: &str = "is still being written";

/// What is new about a file.
#[derive(Debug)]
pub(super) enum News {
    /// It has this text.
    Text(String),
    /// It is there, but cannot be read.
    Unusable(String),
    /// Somebody is still writing it.
    Unfinished,
    /// It is not there any more.
    Removed,
}

/// Which file asked for which pod.
pub(super) type Owners = BTreeMap<PodUid, String>;

/// What is remembered of an earlier process.
#[derive(Debug)]
pub(super) enum Memory {
    /// These pods were asked for.
    Known(Owners),
    /// The file that tells was damaged: nothing may be concluded from a file that is wrong.
    Lost(String),
}

/// What follows from some news.
#[derive(Debug, Default)]
pub(super) struct Update {
    /// The pods for which something else is wished now.
    pub(super) wishes: Vec<(PodUid, PodWish)>,
    /// What is wrong, by file: all that is wrong, not only what is new.
    pub(super) troubles: BTreeMap<String, String>,
    /// Which file asks for which pod now, where that has changed; none asks for those without one.
    pub(super) owners: Vec<(PodUid, Option<String>)>,
    /// The Secrets, if they may have changed.
    pub(super) secrets: Option<ManifestSecrets>,
    /// Whether all pods are known that somebody may have asked for.
    pub(super) complete: bool,
}
