//! Sessions with targets: one for each target and initiator, shared by its disks.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flexvolume_os::failpoint::hit;
use flexvolume_os::iscsi::{Iscsi, Session, State};
use flexvolume_os::lock::Lock;
use flexvolume_os::reach::{self, Unreachable};
use flexvolume_os::{System, atomic};

use super::chap::Chap;
use super::database::{Database, Entry};
use super::error::{IscsiError, Result, at, of_network, of_sysfs};
use super::record::Record;
use super::request::{Authentication, IscsiRequest};
use super::target::{Name, Portal, Target};
use super::tool;
use crate::pool::{PATIENCE, short_name};

/// How long all portals together may take to be reached.
const REACH: Duration = Duration::from_secs(6);
/// How long a session may take to come back, once its server can be reached.
const RECOVERY: Duration = Duration::from_secs(10);
/// How long the kernel may take to show a session that the daemon has made.
const APPEARANCE: Duration = Duration::from_secs(3);
const TICK: Duration = Duration::from_millis(50);
/// While a volume is set up, requests wait no longer, so that a call ends; once it is mounted they wait as long as the
/// volume says.
const SETTING_UP: u64 = 5;

/// The sessions of this node.
#[derive(Debug, Clone)]
pub(crate) struct Sessions {
    /// Where the locks are.
    directory: PathBuf,
    pub(crate) kernel: Iscsi,
}

impl Sessions {
    /// With locks in the directory `iscsi/targets` of `state`, for both drivers: open-iscsi's records are the same.
    pub(crate) fn new(state: &Path) -> Self {
        Self { directory: state.join("iscsi/targets"), kernel: Iscsi::at(Path::new("/sys")) }
    }

    /// Keeps other calls away from the target on this node: its disks share a session.
    pub(crate) fn lock(&self, target: &Name) -> Result<Lock> {
        atomic::create_directories(&self.directory, 0o700).map_err(at("make directory", &self.directory))?;
        let file = format!("{}.lock", short_name(Path::new(target.as_str())));
        Ok(Lock::acquire(&self.directory.join(file), PATIENCE)?)
    }

    /// The session of a volume, in whatever state.
    pub(crate) fn find(&self, target: &Target, record: &Record) -> Result<Option<Session>> {
        self.find_by(&target.name, &record.link.interface)
    }

    fn find_by(&self, target: &Name, interface: &str) -> Result<Option<Session>> {
        let mut sessions = self.kernel.sessions().map_err(of_sysfs)?.into_iter();
        Ok(sessions.find(|session| session.target == target.as_str() && session.interface == interface))
    }

    /// A session that carries requests: the one that is there, or a new one. The target's lock is held.
    pub(crate) fn ensure(
        &self,
        system: &System,
        request: &IscsiRequest,
        chap: Option<&Chap>,
    ) -> Result<Session> {
        let (target, interface) = (&request.target.name, &*request.interface);
        match self.find_by(target, interface)? {
            Some(session) if session.state == State::LoggedIn => return Ok(session),
            Some(_) => {
                reach(&request.portals, REACH).map_err(of_network(&request.target))?;
                let what = "can be reached, and the session with it has not come back";
                let remedy = "the log of iscsid says why; the next call looks again";
                return self
                    .wait(target, interface, RECOVERY)?
                    .ok_or_else(|| no_session(request, what, remedy));
            }
            None => {}
        }
        if chap.is_none() && request.authentication == Authentication::Required {
            let what = "is to be logged in to with CHAP, and there are no credentials";
            let remedy = "`iscsi` has them from /etc/flexvol/iscsi-chap.json on this node, `iscsi-pod` from the Secret";
            return Err(no_session(request, what, remedy));
        }
        log_in(system, request, chap)?;
        let what = "let this node in, and its session is gone already";
        self.wait(target, interface, APPEARANCE)?.ok_or_else(|| no_session(request, what, "try again"))
    }

    /// The session, once it carries requests.
    pub(crate) fn wait(&self, target: &Name, interface: &str, patience: Duration) -> Result<Option<Session>> {
        let end = Instant::now() + patience;
        loop {
            let session = self.find_by(target, interface)?;
            if session.as_ref().is_some_and(|session| session.state == State::LoggedIn) {
                return Ok(session);
            }
            if Instant::now() > end {
                return Ok(None);
            }
            std::thread::sleep(TICK);
        }
    }

    /// Ends the session if no device of it is left but this disk's, whoever uses it. The target's lock is held.
    pub(crate) fn end(&self, system: &System, target: &Target, record: &Record) -> Result<()> {
        let interface = &record.link.interface;
        if let Some(session) = self.find_by(&target.name, interface)? {
            let disks = session.disks().map_err(of_sysfs)?;
            if disks.iter().any(|disk| disk.lun != u64::from(target.lun)) {
                return Ok(());
            }
            tool::logout(system, session.number, &target.to_string())?;
        }
        // Where open-iscsi is not, there is no record of it either.
        Database::find().map_or(Ok(()), |database| database.remove(&target.name, interface))
    }

    /// From now on requests wait for a server that is gone as long as the volume says, or longer if a disk of the same
    /// session wants that.
    pub(crate) fn be_patient(session: &Session, seconds: u64) -> Result<()> {
        let file = session.patience();
        let text = std::fs::read_to_string(&file).map_err(at("read", &file))?;
        let now: u64 = text.trim().parse().unwrap_or_default();
        if now < seconds {
            std::fs::write(&file, seconds.to_string()).map_err(at("write", &file))?;
        }
        Ok(())
    }
}

fn no_session(request: &IscsiRequest, what: &str, remedy: &'static str) -> IscsiError {
    IscsiError::Session { subject: request.target.to_string(), what: what.to_owned(), remedy }
}

/// Makes the session, by a record of its own.
fn log_in(system: &System, request: &IscsiRequest, chap: Option<&Chap>) -> Result<()> {
    let (target, interface) = (&request.target.name, &*request.interface);
    let portal = reach(&request.portals, REACH).map_err(of_network(&request.target))?;
    let entry = Entry {
        target: target.clone(),
        portal,
        interface: interface.to_owned(),
        initiator: request.initiator.clone(),
        patience: SETTING_UP,
    };
    let database = Database::find()?;
    // A record of an earlier attempt may be of another portal, or have other credentials.
    database.remove(target, interface)?;
    database.store(&entry, chap)?;
    hit("iscsi.record-written");
    let outcome = tool::login(system, &entry, &request.target.to_string());
    if outcome.is_err() {
        database.remove(target, interface)?;
    }
    outcome
}

/// The first portal that takes a connection.
pub(crate) fn reach(portals: &[Portal], patience: Duration) -> std::result::Result<SocketAddr, Unreachable> {
    let mut last = None;
    let share = patience / u32::try_from(portals.len()).unwrap_or(u32::MAX).max(1);
    for portal in portals {
        match connect(portal, share) {
            Ok(address) => return Ok(address),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or(Unreachable::NoName { name: String::new(), why: "no portal is known".to_owned() }))
}

fn connect(portal: &Portal, patience: Duration) -> std::result::Result<SocketAddr, Unreachable> {
    let addresses = portal.host.resolve(patience)?;
    let stream = reach::connect(&addresses, portal.port, patience)?;
    let unknown =
        |_| SocketAddr::new(addresses.first().copied().unwrap_or(IpAddr::from([0, 0, 0, 0])), portal.port);
    Ok(stream.peer_addr().unwrap_or_else(unknown))
}
