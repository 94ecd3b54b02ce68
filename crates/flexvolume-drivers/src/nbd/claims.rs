//! Which node has which export: what the controller knows.
//!
//! `detach` names a volume and a node, and nothing in the protocol keeps two clients from one export. So each `attach`
//! leaves a file `nbd/attached/<short name>.json`, and one lock keeps all of them consistent.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use flexvolume::Access;
use flexvolume_os::atomic;
use flexvolume_os::lock::Lock;
use serde::{Deserialize, Serialize};

use super::address::Target;
use super::error::{NbdError, Result};
use super::request::NbdRequest;
use crate::error::{VolumeError, at};
use crate::pool::{PATIENCE, short_name};
use crate::record;

/// One export that is attached somewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Claim {
    version: u32,
    address: String,
    export: String,
    volume: String,
    /// Nobody writes: any number of nodes may have it.
    read_only: bool,
    nodes: Vec<String>,
}

impl Claim {
    fn new(request: &NbdRequest) -> Self {
        Self {
            version: record::VERSION,
            address: request.target.address.to_string(),
            export: request.target.export.clone(),
            volume: request.volume.clone(),
            read_only: request.access == Access::ReadOnly,
            nodes: Vec::new(),
        }
    }

    fn refuse_second(&self, request: &NbdRequest, node: &str) -> Result<()> {
        let taken = |holder: String, remedy| {
            Err(NbdError::Taken { subject: request.target.to_string(), holder, remedy })
        };
        if self.volume != request.volume {
            let holder = format!("{} as the volume {:?}", self.nodes.join(", "), self.volume);
            return taken(holder, "one export is one volume: give each its own");
        }
        let others: Vec<_> = self.nodes.iter().map(String::as_str).filter(|other| *other != node).collect();
        if others.is_empty() {
            return Ok(());
        }
        let remedy = "two writers would destroy the file system: it can be attached elsewhere once it is detached there";
        taken(format!("node {}", others.join(", ")), remedy)
    }

    /// Lets a node in, or says who is in the way.
    fn admit(&mut self, request: &NbdRequest, node: &str) -> Result<()> {
        let read_only = request.access == Access::ReadOnly;
        if !(read_only && self.read_only) {
            self.refuse_second(request, node)?;
        }
        self.read_only = read_only;
        if !self.nodes.iter().any(|known| known == node) {
            self.nodes.push(node.to_owned());
        }
        Ok(())
    }
}

/// All claims.
#[derive(Debug, Clone)]
pub(crate) struct Claims {
    directory: PathBuf,
}

impl Claims {
    /// In the directory `nbd/attached` of `state`.
    pub(crate) fn new(state: &Path) -> Self {
        Self { directory: state.join("nbd/attached") }
    }

    fn file(&self, target: &Target) -> PathBuf {
        let name = format!("{}\n{}", target.address, target.export);
        self.directory.join(format!("{}.json", short_name(Path::new(&name))))
    }

    fn lock(&self) -> Result<Lock> {
        atomic::create_directories(&self.directory, 0o700).map_err(at("make directory", &self.directory))?;
        Ok(Lock::acquire(&self.directory.join(".lock"), PATIENCE)?)
    }

    fn load(&self, target: &Target) -> Result<Option<Claim>> {
        let path = self.file(target);
        let Some(claim) = record::load::<Claim>(&path)? else { return Ok(None) };
        if claim.address == target.address.to_string() && claim.export == target.export {
            return Ok(Some(claim));
        }
        let why = format!("is of {:?} of {}, whose short name is the same", claim.export, claim.address);
        Err(VolumeError::CannotKnow { path, why }.into())
    }

    /// Whether the node has the volume.
    pub(crate) fn has(&self, request: &NbdRequest, node: &str) -> Result<bool> {
        let claim = self.load(&request.target)?;
        Ok(claim.is_some_and(|claim| {
            claim.volume == request.volume && claim.nodes.iter().any(|known| known == node)
        }))
    }

    /// Gives the export to the node, unless somebody has it who cannot share it.
    pub(crate) fn admit(&self, request: &NbdRequest, node: &str) -> Result<()> {
        let _lock = self.lock()?;
        let known = self.load(&request.target)?;
        let mut claim = known.clone().unwrap_or_else(|| Claim::new(request));
        claim.admit(request, node)?;
        if known.as_ref() != Some(&claim) {
            record::store(&self.file(&request.target), &claim)?;
        }
        Ok(())
    }

    /// Whether a node other than this one has the volume.
    pub(crate) fn is_held_by_others(&self, volume: &str, node: &str) -> Result<bool> {
        let others = |claim: &Claim| claim.nodes.iter().any(|known| known != node);
        Ok(self.of_volume(volume)?.iter().any(|(_, claim)| others(claim)))
    }

    /// Takes the volume from the node; one that it has not is fine.
    pub(crate) fn release(&self, volume: &str, node: &str) -> Result<()> {
        if !self.directory.exists() {
            return Ok(());
        }
        let _lock = self.lock()?;
        for (path, mut claim) in self.of_volume(volume)? {
            let before = claim.nodes.len();
            claim.nodes.retain(|known| known != node);
            match claim.nodes.len() {
                0 => record::remove(&path)?,
                after if after < before => record::store(&path, &claim)?,
                _ => {}
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
    use flexvolume::Options;

    use super::*;

    fn request(volume: &str, export: &str, access: Access) -> NbdRequest {
        let user = [("server", "s"), ("export", export)];
        let user = user.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let volume_name = volume.to_owned();
        NbdRequest::read(&Options { user, volume_name, access, ..Options::default() }).unwrap()
    }

    #[test]
    fn a_second_writer_is_refused_by_the_name_of_the_first() {
        let state = tempfile::tempdir().unwrap();
        let claims = Claims::new(state.path());
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
        let claims = Claims::new(state.path());
        let reader = request("pv", "disk", Access::ReadOnly);
        claims.admit(&reader, "one").unwrap();
        claims.admit(&reader, "two").unwrap();
        claims.admit(&request("pv", "disk", Access::ReadWrite), "two").unwrap_err();
        assert!(claims.is_held_by_others("pv", "one").unwrap());
        claims.release("pv", "one").unwrap();
        claims.admit(&request("pv", "disk", Access::ReadWrite), "two").unwrap();
    }

    #[test]
    fn a_damaged_claim_is_never_an_absent_one() {
        let state = tempfile::tempdir().unwrap();
        let claims = Claims::new(state.path());
        let volume = request("pv", "disk", Access::ReadWrite);
        claims.admit(&volume, "one").unwrap();
        std::fs::write(claims.file(&volume.target), "{").unwrap();
        claims.admit(&volume, "two").unwrap_err();
        claims.has(&volume, "one").unwrap_err();
        claims.release("pv", "one").unwrap_err();
    }
}
