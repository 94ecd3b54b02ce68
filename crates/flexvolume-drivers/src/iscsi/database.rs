//! Records of open-iscsi, written by us.
//!
//! `iscsiadm` could write them, with each password among its arguments. So the files are written here, for root alone, and
//! `iscsiadm` is only told to log in by them. What a record does not say has open-iscsi's default.
//!
//! Each volume's initiator has an interface of its own (a file with the initiator's name), so that a session of ours is
//! told from one that the administrator has made with the same target.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use flexvolume_os::atomic;
use zeroize::Zeroizing;

use super::chap::{Account, Chap};
use super::error::{IscsiError, Result, at};
use super::target::Name;
use crate::pool::short_hash;

/// Where distributions have it: the first one that is there is in use.
const PLACES: [&str; 2] = ["/var/lib/iscsi", "/etc/iscsi"];

/// Seconds in which a login has to be done.
const LOGIN: u32 = 6;
/// Seconds between two questions whether the target is there, and until an answer is missed.
const PING: u32 = 5;

/// One session to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) target: Name,
    /// Where the target was reached.
    pub(crate) portal: SocketAddr,
    pub(crate) interface: String,
    /// By what name the target shall know us; `None` is this node's own.
    pub(crate) initiator: Option<Name>,
    /// Seconds for which requests wait for a target that is gone.
    pub(crate) patience: u64,
}

/// The name of an interface of ours: one for each of whatever `of` says.
pub(crate) fn interface(of: &str) -> String {
    format!("flexvol-{:016x}", short_hash(of.as_bytes()))
}

/// The folder of open-iscsi.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    directory: PathBuf,
}

impl Database {
    /// The one of this machine.
    pub(crate) fn find() -> Result<Self> {
        let found = PLACES.iter().map(Path::new).find(|place| place.is_dir());
        found.map(|place| Self { directory: place.to_owned() }).ok_or(IscsiError::NoDatabase)
    }

    /// Writes what a login needs.
    pub(crate) fn store(&self, entry: &Entry, chap: Option<&Chap>) -> Result<()> {
        let interface = self.directory.join("ifaces").join(&entry.interface);
        write(&interface, interface_text(entry).as_bytes())?;
        write(&self.record(entry), record_text(entry, chap).as_bytes())
    }

    /// The part of the path after the port is the number of a portal group; inside stands that any will do.
    fn record(&self, entry: &Entry) -> PathBuf {
        let portal = format!("{},{},1", entry.portal.ip(), entry.portal.port());
        self.targets(&entry.target).join(portal).join(&entry.interface)
    }

    fn targets(&self, target: &Name) -> PathBuf {
        self.directory.join("nodes").join(target.as_str())
    }

    /// Removes our records of a target, whatever portal they are of, and the folders that are empty then.
    pub(crate) fn remove(&self, target: &Name, interface: &str) -> Result<()> {
        let directory = self.targets(target);
        let portals = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(at("list", &directory))?,
        };
        for portal in portals {
            let portal = portal.map_err(at("list", &directory))?.path();
            let record = portal.join(interface);
            if portal.is_dir() && record.exists() {
                atomic::remove(&record).map_err(at("remove", &record))?;
                // One that is not empty holds somebody else's.
                let _ = fs::remove_dir(&portal);
            }
        }
        let _ = fs::remove_dir(&directory);
        Ok(())
    }
}

fn write(file: &Path, text: &[u8]) -> Result<()> {
    let directory = file.parent().unwrap_or(file);
    atomic::create_directories(directory, 0o700).map_err(at("make directory", directory))?;
    atomic::write(file, text).map_err(at("write", file))
}

fn interface_text(entry: &Entry) -> String {
    let mut lines = vec![
        "# BEGIN RECORD".to_owned(),
        format!("iface.iscsi_ifacename = {}", entry.interface),
        "iface.transport_name = tcp".to_owned(),
    ];
    lines.extend(entry.initiator.as_ref().map(|name| format!("iface.initiatorname = {name}")));
    lines.push("# END RECORD\n".to_owned());
    lines.join("\n")
}

fn record_text(entry: &Entry, chap: Option<&Chap>) -> Zeroizing<String> {
    // Room for everything, so that no copy of a password is left behind by growth.
    let mut text = Zeroizing::new(String::with_capacity(8192));
    text.push_str("# BEGIN RECORD\n");
    let mut line = |name: &str, value: &str| {
        for part in [name, " = ", value, "\n"] {
            text.push_str(part);
        }
    };
    line("node.name", entry.target.as_str());
    // Any portal group: at login the target says which one it is.
    line("node.tpgt", "-1");
    line("node.startup", "manual");
    line("node.conn[0].startup", "manual");
    line("node.leading_login", "No");
    line("iface.iscsi_ifacename", &entry.interface);
    line("iface.transport_name", "tcp");
    if let Some(initiator) = &entry.initiator {
        line("iface.initiatorname", initiator.as_str());
    }
    line("node.conn[0].address", &entry.portal.ip().to_string());
    line("node.conn[0].port", &entry.portal.port().to_string());
    // No disk appears but the one that is asked for.
    line("node.session.scan", "manual");
    line("node.session.nr_sessions", "1");
    line("node.session.initial_login_retry_max", "1");
    line("node.session.timeo.replacement_timeout", &entry.patience.to_string());
    line("node.conn[0].timeo.login_timeout", &LOGIN.to_string());
    line("node.conn[0].timeo.logout_timeout", "3");
    line("node.conn[0].timeo.noop_out_interval", &PING.to_string());
    line("node.conn[0].timeo.noop_out_timeout", &PING.to_string());
    authentication(&mut line, chap);
    text.push_str("# END RECORD\n");
    text
}

fn authentication(line: &mut impl FnMut(&str, &str), chap: Option<&Chap>) {
    let Some(chap) = chap else { return line("node.session.auth.authmethod", "None") };
    line("node.session.auth.authmethod", "CHAP");
    account(line, &chap.node, ["node.session.auth.username", "node.session.auth.password"]);
    if let Some(target) = &chap.target {
        account(line, target, ["node.session.auth.username_in", "node.session.auth.password_in"]);
    }
}

fn account(line: &mut impl FnMut(&str, &str), account: &Account, [user, password]: [&str; 2]) {
    let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
    line(user, text(account.user.expose()));
    line(password, text(account.password.expose()));
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use flexvolume::Secret;

    use super::*;

    fn entry(portal: &str) -> Entry {
        let initiator = Some(Name::parse("iqn.2026-01.test:node").unwrap());
        Entry {
            target: Name::parse("iqn.2026-01.test:disk").unwrap(),
            portal: portal.parse().unwrap(),
            interface: interface("x"),
            initiator,
            patience: 120,
        }
    }

    fn chap() -> Chap {
        let account = |word: &str| Account {
            user: Secret::new(format!("user{word}")),
            password: Secret::new(format!("pass{word}")),
        };
        Chap { node: account(""), target: Some(account("-in")) }
    }

    #[test]
    fn a_record_is_for_root_alone_and_goes_with_its_folders() {
        let root = tempfile::tempdir().unwrap();
        let database = Database { directory: root.path().to_owned() };
        let entry = entry("[fd00::2]:3260");
        database.store(&entry, Some(&chap())).unwrap();
        let file = root.path().join("nodes/iqn.2026-01.test:disk/fd00::2,3260,1").join(&entry.interface);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let folder = fs::metadata(file.parent().unwrap()).unwrap().permissions().mode();
        assert_eq!(folder & 0o777, 0o700);
        // Somebody else's record of the same target stays, and its folder with it.
        let other = file.with_file_name("default");
        fs::write(&other, "").unwrap();
        database.remove(&entry.target, &entry.interface).unwrap();
        assert!(!file.exists() && other.exists());
        fs::remove_file(&other).unwrap();
        database.store(&entry, None).unwrap();
        database.remove(&entry.target, &entry.interface).unwrap();
        database.remove(&entry.target, &entry.interface).unwrap();
        assert_eq!(fs::read_dir(root.path().join("nodes")).unwrap().count(), 0);
    }

    #[test]
    fn a_record_says_what_it_must() {
        let text = record_text(&entry("10.0.0.7:3261"), Some(&chap()));
        for line in [
            "node.name = iqn.2026-01.test:disk\n",
            "node.session.scan = manual\n",
            "node.startup = manual\n",
            "node.conn[0].address = 10.0.0.7\n",
            "node.conn[0].port = 3261\n",
            "node.session.timeo.replacement_timeout = 120\n",
            "iface.initiatorname = iqn.2026-01.test:node\n",
            "node.session.auth.password = pass\n",
            "node.session.auth.username_in = user-in\n",
        ] {
            assert!(text.contains(line), "{line}");
        }
        let text = record_text(&entry("10.0.0.7:3260"), None);
        assert!(text.contains("authmethod = None\n") && !text.contains("password"));
    }

    #[test]
    fn each_initiator_has_an_interface_of_its_own() {
        assert_ne!(interface(""), interface("iqn.2026-01.test:node"));
        assert_eq!(interface("").len(), 24);
    }
}
