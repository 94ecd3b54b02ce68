//! Which node has which disk: what the controller knows.
//!
//! `detach` names a volume and a node, and few protocols keep two clients from one disk. So each `attach`
//! leaves a file `<driver>/attached/<short name>.json`, and one lock keeps all of them consistent.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use flexvolume::Access;
use flexvolume_os::atomic;
use flexvolume_os::lock::Lock;
use serde::{Deserialize, Serialize};

use super::RemoteDisk;
use super::error::{DiskError, Result};
use crate::error::{VolumeError, at};
use crate::pool::{PATIENCE, short_name};
use crate::record;

/// What somebody wants to use.
#[derive(Debug, Clone)]
pub(crate) struct Wanted<'a> {
    /// [`RemoteDisk::identity`](super::RemoteDisk::identity).
    pub(crate) identity: String,
    /// The disk as people know it.
    pub(crate) subject: String,
    /// What the host calls the volume.
    pub(crate) volume: &'a str,
    pub(crate) access: Access,
}

impl<'a> Wanted<'a> {
    pub(crate) fn new(disk: &impl RemoteDisk, volume: &'a str, access: Access) -> Self {
        Self { identity: disk.identity(), subject: disk.to_string(), volume, access }
    }
}

/// A node that has a disk, or had it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holder {
    pub(crate) node: String,
    /// Which attachment of the disk it is, or was; counted from one.
    pub(crate) number: u64,
}

/// That a node has a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Admission {
    /// Which attachment of the disk it is.
    pub(crate) number: u64,
    /// The last attachments of other nodes that the controller has ended.
    pub(crate) released: Vec<Holder>,
}

/// What becomes of the claim on a disk that nobody has any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    /// It is forgotten.
    None,
    /// It goes on counting, and knows who had the disk: a node may have been told to give it up and be too dead to.
    Releases,
}

/// Of so many nodes it is known that they had the disk.
const MOST_RELEASES: usize = 64;

/// One disk that is attached somewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Claim {
    version: u32,
    disk: String,
    volume: String,
    /// Nobody writes: any number of nodes may have it.
    read_only: bool,
    nodes: Vec<Holder>,
    /// How many attachments there have been.
    count: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    released: Vec<Holder>,
}

impl Claim {
    fn new(wanted: &Wanted<'_>) -> Self {
        Self {
            version: record::VERSION,
            disk: wanted.identity.clone(),
            volume: wanted.volume.to_owned(),
            read_only: wanted.access == Access::ReadOnly,
            nodes: Vec::new(),
            count: 0,
            released: Vec::new(),
        }
    }

    fn has(&self, node: &str) -> bool {
        self.nodes.iter().any(|holder| holder.node == node)
    }

    fn refuse_second(&self, wanted: &Wanted<'_>, node: &str) -> Result<()> {
        let taken = |holder: String, remedy| {
            Err(DiskError::Taken { subject: wanted.subject.clone(), holder, remedy })
        };
        let nodes = self.nodes.iter().map(|holder| &*holder.node);
        if self.volume != wanted.volume && !self.nodes.is_empty() {
            let holder = format!("{} as the volume {:?}", nodes.collect::<Vec<_>>().join(", "), self.volume);
            return taken(holder, "one disk is one volume: give each its own");
        }
        let others: Vec<_> = nodes.filter(|other| *other != node).collect();
        if others.is_empty() {
            return Ok(());
        }
        let remedy = "two writers would destroy the file system: it can be attached elsewhere once it is detached there";
        taken(format!("node {}", others.join(", ")), remedy)
    }

    /// Lets a node in, or says who is in the way.
    fn admit(&mut self, wanted: &Wanted<'_>, node: &str) -> Result<()> {
        let read_only = wanted.access == Access::ReadOnly;
        if !(read_only && self.read_only) {
            self.refuse_second(wanted, node)?;
        }
        self.read_only = read_only;
        wanted.volume.clone_into(&mut self.volume);
        if !self.has(node) {
            self.count += 1;
            self.nodes.push(Holder { node: node.to_owned(), number: self.count });
            self.released.retain(|holder| holder.node != node);
        }
        Ok(())
    }

    /// Takes the disk from the node.
    fn release(&mut self, node: &str) {
        let (gone, left) =
            std::mem::take(&mut self.nodes).into_iter().partition(|holder| holder.node == node);
        self.nodes = left;
        self.released.extend::<Vec<_>>(gone);
        let surplus = self.released.len().saturating_sub(MOST_RELEASES);
        self.released.drain(..surplus);
    }

    fn admission(&self, node: &str) -> Admission {
        let own = self.nodes.iter().find(|holder| holder.node == node);
        let number = own.map(|holder| holder.number).unwrap_or_default();
        Admission { number, released: self.released.clone() }
    }
}

/// All claims.
#[derive(Debug, Clone)]
pub(crate) struct Claims {
    directory: PathBuf,
    memory: Memory,
}

impl Claims {
    /// In the directory `<driver>/attached` of `state`.
    pub(crate) fn new(state: &Path, driver: &str, memory: Memory) -> Self {
        Self { directory: state.join(driver).join("attached"), memory }
    }

    fn file(&self, identity: &str) -> PathBuf {
        self.directory.join(format!("{}.json", short_name(Path::new(identity))))
    }

    fn lock(&self) -> Result<Lock> {
        atomic::create_directories(&self.directory, 0o700).map_err(at("make directory", &self.directory))?;
        Ok(Lock::acquire(&self.directory.join(".lock"), PATIENCE)?)
    }

    fn load(&self, identity: &str) -> Result<Option<Claim>> {
        let path = self.file(identity);
        let Some(claim) = record::load::<Claim>(&path)? else { return Ok(None) };
        if claim.disk == identity {
            return Ok(Some(claim));
        }
        let why = format!("is of {:?}, whose short name is the same", claim.disk);
        Err(VolumeError::CannotKnow { path, why }.into())
    }

    /// Whether the node has the volume.
    pub(crate) fn has(&self, wanted: &Wanted<'_>, node: &str) -> Result<bool> {
        let claim = self.load(&wanted.identity)?;
        Ok(claim.is_some_and(|claim| claim.volume == wanted.volume && claim.has(node)))
    }

    /// Gives the disk to the node, unless somebody has it who cannot share it.
    pub(crate) fn admit(&self, wanted: &Wanted<'_>, node: &str) -> Result<Admission> {
        let _lock = self.lock()?;
        let known = self.load(&wanted.identity)?;
        let mut claim = known.clone().unwrap_or_else(|| Claim::new(wanted));
        claim.admit(wanted, node)?;
        if known.as_ref() != Some(&claim) {
            record::store(&self.file(&wanted.identity), &claim)?;
        }
        Ok(claim.admission(node))
    }

    /// Whether a node other than this one has the volume.
    pub(crate) fn is_held_by_others(&self, volume: &str, node: &str) -> Result<bool> {
        let others = |claim: &Claim| claim.nodes.iter().any(|holder| holder.node != node);
        Ok(self.of_volume(volume)?.iter().any(|(_, claim)| others(claim)))
    }

    /// Takes the volume from the node; one that it has not is fine.
    pub(crate) fn release(&self, volume: &str, node: &str) -> Result<()> {
        if !self.directory.exists() {
            return Ok(());
        }
        let _lock = self.lock()?;
        for (path, mut claim) in self.of_volume(volume)? {
            if !claim.has(node) {
                continue;
            }
            claim.release(node);
            match (claim.nodes.len(), self.memory) {
                (0, Memory::None) => record::remove(&path)?,
                _ => record::store(&path, &claim)?,
            }
        }
        Ok(())
    }

    fn of_volume(&self, volume: &str) -> Result<Vec<(PathBuf, Claim)>> {
        let mut found = Vec::new();
        for path in self.files()? {
            let claim = record::load::<Claim>(&path)?.filter(|claim| claim.volume == volume);
            found.extend(claim.map(|claim| (path, claim)));
        }
        Ok(found)
    }

    fn files(&self) -> Result<Vec<PathBuf>> {
        let failed = || at("list", &self.directory);
        let mut files = Vec::new();
        if !self.directory.exists() {
            return Ok(files);
        }
        for entry in std::fs::read_dir(&self.directory).map_err(failed())? {
            let path = entry.map_err(failed())?.path();
            if path.file_name().is_some_and(|name| name.as_bytes().ends_with(b".json")) {
                files.push(path);
            }
        }
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request<'a>(volume: &'a str, disk: &str, access: Access) -> Wanted<'a> {
        Wanted { identity: disk.to_owned(), subject: format!("disk {disk}"), volume, access }
    }

    #[test]
    fn a_second_writer_is_refused_by_the_name_of_the_first() {
        let state = tempfile::tempdir().unwrap();
        let claims = Claims::new(state.path(), "nbd", Memory::None);
        let volume = request("pv", "disk", Access::ReadWrite);
        assert!(!claims.has(&volume, "one").unwrap());
        claims.admit(&volume, "one").unwrap();
        claims.admit(&volume, "one").unwrap();
        assert!(claims.has(&volume, "one").unwrap() && !claims.has(&volume, "two").unwrap());
        let error = claims.admit(&volume, "two").unwrap_err().to_string();
        assert!(error.contains("attached to node one"), "{error}");
        let reader = request("pv", "disk", Access::ReadOnly);
        claims.admit(&reader, "two").unwrap_err();
        let other = request("other", "disk", Access::ReadWrite);
        let error = claims.admit(&other, "one").unwrap_err().to_string();
        assert!(error.contains("as the volume \"pv\""), "{error}");
        claims.admit(&request("other", "disk2", Access::ReadWrite), "two").unwrap();
        assert!(
            !claims.is_held_by_others("pv", "one").unwrap() && claims.is_held_by_others("pv", "x").unwrap()
        );
        claims.release("pv", "one").unwrap();
        claims.release("pv", "one").unwrap();
        claims.admit(&volume, "two").unwrap();
    }

    #[test]
    fn any_number_of_nodes_may_read() {
        let state = tempfile::tempdir().unwrap();
        let claims = Claims::new(state.path(), "nbd", Memory::None);
        let reader = request("pv", "disk", Access::ReadOnly);
        claims.admit(&reader, "one").unwrap();
        claims.admit(&reader, "two").unwrap();
        claims.admit(&request("pv", "disk", Access::ReadWrite), "two").unwrap_err();
        assert!(claims.is_held_by_others("pv", "one").unwrap());
        claims.release("pv", "one").unwrap();
        claims.admit(&request("pv", "disk", Access::ReadWrite), "two").unwrap();
    }

    #[test]
    fn who_had_the_disk_is_remembered_where_it_matters() {
        let state = tempfile::tempdir().unwrap();
        let claims = Claims::new(state.path(), "iscsi", Memory::Releases);
        let volume = request("pv", "disk", Access::ReadWrite);
        let admit = |node: &str| claims.admit(&volume, node).unwrap();
        assert_eq!(admit("one"), Admission { number: 1, released: Vec::new() });
        assert_eq!(admit("one").number, 1);
        claims.release("pv", "one").unwrap();
        assert!(!claims.has(&volume, "one").unwrap());
        let one = Holder { node: "one".to_owned(), number: 1 };
        assert_eq!(admit("two"), Admission { number: 2, released: vec![one.clone()] });
        claims.release("pv", "two").unwrap();
        let two = Holder { node: "two".to_owned(), number: 2 };
        assert_eq!(admit("one"), Admission { number: 3, released: vec![two] });
        claims.release("pv", "one").unwrap();
        // A volume that comes after may have the disk, and has its history too.
        let next = request("next", "disk", Access::ReadWrite);
        let admission = claims.admit(&next, "two").unwrap();
        assert_eq!((admission.number, admission.released.len()), (4, 1));
        for number in 0..100 {
            claims.release("next", &format!("node{number}")).unwrap();
            claims.release("next", "two").unwrap();
            claims.admit(&next, &format!("node{number}")).unwrap();
            claims.release("next", &format!("node{number}")).unwrap();
        }
        assert_eq!(claims.admit(&next, "one").unwrap().released.len(), MOST_RELEASES);
    }

    #[test]
    fn a_damaged_claim_is_never_an_absent_one() {
        let state = tempfile::tempdir().unwrap();
        let claims = Claims::new(state.path(), "nbd", Memory::None);
        let volume = request("pv", "disk", Access::ReadWrite);
        claims.admit(&volume, "one").unwrap();
        std::fs::write(claims.file(&volume.identity), "{").unwrap();
        claims.admit(&volume, "two").unwrap_err();
        claims.has(&volume, "one").unwrap_err();
        claims.release("pv", "one").unwrap_err();
    }
}
