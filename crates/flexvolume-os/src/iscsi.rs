//! Sessions of iSCSI and their disks, as the kernel shows them in `/sys`.
//!
//! Looking is all that is done here: open-iscsi makes and ends sessions. What is read is small and in memory; no server
//! is asked, and none can hold a look up.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where a session stands (Linux `drivers/scsi/scsi_transport_iscsi.c`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It carries requests.
    LoggedIn,
    /// The server is gone: requests wait for it.
    Recovering,
    /// The server has been gone for longer than requests wait: they fail.
    GivenUp,
}

/// A session with a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The kernel's number of it.
    pub number: u32,
    /// The name of its target.
    pub target: String,
    /// The name of open-iscsi's interface that it was made with.
    pub interface: String,
    /// Where it stands.
    pub state: State,
    directory: PathBuf,
    class: PathBuf,
    host: String,
}

/// A disk of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Its number at the target.
    pub lun: u64,
    /// The folder of the SCSI device.
    directory: PathBuf,
}

/// The kernel's view.
#[derive(Debug, Clone)]
pub struct Iscsi {
    root: PathBuf,
}

impl Iscsi {
    /// With `/sys` at `root`.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Whether the kernel has iSCSI at all.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.root.join("class/iscsi_session").exists()
    }

    /// All sessions of this machine.
    ///
    /// # Errors
    /// When `/sys` cannot be listed; a kernel without iSCSI has no sessions.
    pub fn sessions(&self) -> io::Result<Vec<Session>> {
        let names = names(&self.root.join("class/iscsi_session"))?;
        Ok(names.iter().filter_map(|name| self.session(name)).collect())
    }

    /// `None` for one that ends at this moment.
    fn session(&self, name: &str) -> Option<Session> {
        let class = self.root.join("class/iscsi_session").join(name);
        let directory = class.join("device").canonicalize().ok()?;
        let state = match &*attribute(&class.join("state"))? {
            "LOGGED_IN" => State::LoggedIn,
            "FREE" => State::GivenUp,
            _ => State::Recovering,
        };
        Some(Session {
            number: name.strip_prefix("session")?.parse().ok()?,
            target: attribute(&class.join("targetname"))?,
            interface: attribute(&class.join("ifacename")).unwrap_or_default(),
            state,
            host: directory.parent()?.file_name()?.to_str()?.to_owned(),
            directory,
            class,
        })
    }

    /// The file that has the kernel look for a disk of the session, and what to write into it: this disk and no other.
    #[must_use]
    pub fn scan(&self, session: &Session, lun: u16) -> (PathBuf, String) {
        let file = self.root.join("class/scsi_host").join(&session.host).join("scan");
        (file, format!("0 0 {lun}"))
    }
}

impl Session {
    /// The devices of the session, disks or not.
    ///
    /// # Errors
    /// When `/sys` cannot be listed.
    pub fn disks(&self) -> io::Result<Vec<Disk>> {
        let mut found = Vec::new();
        for target in names(&self.directory)?.iter().filter(|name| name.starts_with("target")) {
            let directory = self.directory.join(target);
            for name in names(&directory)? {
                let numbers: Vec<_> = name.split(':').map(str::parse::<u64>).collect();
                if let [Ok(_), Ok(_), Ok(_), Ok(lun)] = numbers[..] {
                    found.push(Disk { lun, directory: directory.join(name) });
                }
            }
        }
        Ok(found)
    }

    /// The disk of this number.
    ///
    /// # Errors
    /// As [`disks`](Self::disks).
    pub fn disk(&self, lun: u16) -> io::Result<Option<Disk>> {
        Ok(self.disks()?.into_iter().find(|disk| disk.lun == u64::from(lun)))
    }

    /// The file with the number of seconds for which requests wait for a server that is gone.
    #[must_use]
    pub fn patience(&self) -> PathBuf {
        self.class.join("recovery_tmo")
    }
}

impl Disk {
    /// Its name below `/dev`; `None` for what is no disk, or not yet.
    ///
    /// # Errors
    /// When `/sys` cannot be listed.
    pub fn name(&self) -> io::Result<Option<String>> {
        Ok(names(&self.directory.join("block"))?.pop())
    }

    /// Which disk of the world it is (VPD page 0x83, as the kernel read it); `None` when it does not say.
    #[must_use]
    pub fn identity(&self) -> Option<String> {
        attribute(&self.directory.join("wwid")).filter(|text| !text.is_empty())
    }

    /// The page that the identity was read from, as the kernel remembers it.
    #[must_use]
    pub fn page(&self) -> Vec<u8> {
        fs::read(self.directory.join("vpd_pg83")).unwrap_or_default()
    }

    /// Bytes.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        let name = self.name().ok()??;
        let sectors = attribute(&self.directory.join("block").join(name).join("size"))?;
        sectors.parse::<u64>().ok()?.checked_mul(512)
    }

    /// The file that takes the device away when something is written into it.
    #[must_use]
    pub fn deletion(&self) -> PathBuf {
        self.directory.join("delete")
    }

    /// The file that has the kernel ask the disk anew how large it is and who.
    #[must_use]
    pub fn rescan(&self) -> PathBuf {
        self.directory.join("rescan")
    }
}

fn attribute(file: &Path) -> Option<String> {
    let text = fs::read(file).ok()?;
    Some(String::from_utf8_lossy(&text).trim_matches(['\n', '\0', ' ']).to_owned())
}

/// The names in a directory, sorted; none in one that is not there.
fn names(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn world() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let session = root.path().join("devices/platform/host3/session7");
        let disk = session.join("target3:0:0/3:0:0:1");
        fs::create_dir_all(disk.join("block/sda")).unwrap();
        fs::create_dir_all(session.join("target3:0:0/power")).unwrap();
        fs::create_dir_all(session.join("target3:0:0/3:0:0:49409")).unwrap();
        fs::write(disk.join("wwid"), "naa.6001405\n").unwrap();
        fs::write(disk.join("block/sda/size"), "2048\n").unwrap();
        let class = session.join("iscsi_session/session7");
        fs::create_dir_all(&class).unwrap();
        symlink(&session, class.join("device")).unwrap();
        for (name, text) in [("targetname", "iqn.x:y\n"), ("ifacename", "i\n"), ("state", "LOGGED_IN\n")] {
            fs::write(class.join(name), text).unwrap();
        }
        fs::create_dir_all(root.path().join("class/iscsi_session")).unwrap();
        symlink(&class, root.path().join("class/iscsi_session/session7")).unwrap();
        root
    }

    #[test]
    fn a_session_and_its_disks_are_found() {
        let root = world();
        let iscsi = Iscsi::at(root.path());
        let [session] = &iscsi.sessions().unwrap()[..] else { panic!("one session") };
        assert_eq!((session.number, &*session.target, &*session.interface), (7, "iqn.x:y", "i"));
        assert_eq!(session.state, State::LoggedIn);
        assert_eq!(session.disks().unwrap().len(), 2);
        let disk = session.disk(1).unwrap().unwrap();
        assert_eq!(disk.name().unwrap().as_deref(), Some("sda"));
        assert_eq!(disk.identity().as_deref(), Some("naa.6001405"));
        assert_eq!(disk.size(), Some(1 << 20));
        assert_eq!(session.disk(2).unwrap(), None);
        let (file, text) = iscsi.scan(session, 5);
        assert!(file.ends_with("class/scsi_host/host3/scan") && text == "0 0 5", "{file:?} {text}");
    }

    #[test]
    fn the_state_of_a_session_says_whether_requests_fail() {
        let root = world();
        let iscsi = Iscsi::at(root.path());
        let file = root.path().join("class/iscsi_session/session7/state");
        for (text, state) in
            [("FREE\n", State::GivenUp), ("FAILED\n", State::Recovering), ("?", State::Recovering)]
        {
            fs::write(&file, text).unwrap();
            assert_eq!(iscsi.sessions().unwrap()[0].state, state);
        }
        fs::remove_file(&file).unwrap();
        assert_eq!(iscsi.sessions().unwrap(), []);
    }

    #[test]
    fn a_kernel_without_iscsi_has_no_sessions() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Iscsi::at(root.path()).sessions().unwrap(), []);
        assert!(!Iscsi::at(root.path()).is_there() && Iscsi::at(world().path()).is_there());
    }
}
