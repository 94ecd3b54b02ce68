//! `iscsiadm`: sessions are made and ended by the daemon of open-iscsi, and this is how one speaks to it.
//!
//! No secret is among its arguments: those stand in the record that we wrote before (`database`).

use std::net::SocketAddr;
use std::time::Duration;

use flexvolume_os::System;
use flexvolume_os::command::Command;
use flexvolume_os::runner::Ended;
use flexvolume_os::tools::ISCSIADM;
use thiserror::Error;

use super::database::Entry;
use super::error::{IscsiError, Result};
use super::target::{Name, Portal};

/// The daemon gives a login up earlier (`database` says when).
const LOGIN: Duration = Duration::from_secs(15);
/// A target that is gone is not waited for: its session has failed already.
const LOGOUT: Duration = Duration::from_secs(6);
const DISCOVERY: Duration = Duration::from_secs(8);
const VERSION: Duration = Duration::from_secs(5);

/// What `iscsiadm` exits with (its manual; open-iscsi `include/iscsi_err.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ToolError {
    /// 24.
    #[error(
        "the target refuses the login: the user or the password of CHAP is wrong, or the target asks for one and none was given"
    )]
    NotAuthorised,
    /// 19.
    #[error(
        "the target refuses the login: is the name of the target right, is it served at this portal, and is this node's initiator on its list?"
    )]
    Refused,
    /// 4, 8, 11.
    #[error(
        "the server took the connection and gave no session in time: is the name of the target right, is it served at this portal, and is the server well?"
    )]
    Silent,
    /// 18, 20.
    #[error(
        "the daemon iscsid of open-iscsi does not run on this node: start it (`systemctl enable --now iscsid`; package open-iscsi)"
    )]
    NoDaemon,
    /// 12.
    #[error(
        "the kernel of this node has no iSCSI over TCP: run `modprobe iscsi_tcp`, and see that it is loaded with the node (a line in /etc/modules-load.d)"
    )]
    NoTransport,
    /// 6, 21.
    #[error(
        "open-iscsi does not find the record that was written for it: where does it keep its records (/etc/iscsi or /var/lib/iscsi)?"
    )]
    NoRecord,
    /// Our deadline.
    #[error("open-iscsi did not answer within {0}s: is the daemon iscsid well?")]
    Late(u64),
    /// Any other.
    #[error("open-iscsi failed (iscsiadm exited with {0}): the log of iscsid says why")]
    Other(i32),
    /// It was ended.
    #[error("iscsiadm was ended by signal {0}")]
    Signal(i32),
}

/// The database, or the daemon, knows no such session.
const NOT_FOUND: i32 = 2;
const PRESENT: i32 = 15;
const NOTHING: i32 = 21;

/// Makes a session by an entry of open-iscsi's database; one that is there is fine.
pub(crate) fn login(system: &System, entry: &Entry, subject: &str) -> Result<()> {
    let (target, portal) = (entry.target.as_str(), entry.portal.to_string());
    let arguments = ["-m", "node", "-T", target, "-p", &portal, "-I", &entry.interface, "--login"];
    match run(system, &arguments, LOGIN)? {
        Ended::Exited(0 | PRESENT) => Ok(()),
        ended => Err(failed(ended, LOGIN, subject)),
    }
}

/// Ends a session; one that is gone is fine.
pub(crate) fn logout(system: &System, session: u32, subject: &str) -> Result<()> {
    let session = session.to_string();
    match run(system, &["-m", "session", "-r", &session, "--logout"], LOGOUT)? {
        Ended::Exited(0 | NOT_FOUND | NOTHING) => Ok(()),
        ended => Err(failed(ended, LOGOUT, subject)),
    }
}

/// The version of open-iscsi, as it says it.
pub(crate) fn version(system: &System) -> Result<String> {
    let output = system.runner.run(&command(&["--version"], VERSION))?;
    let text = String::from_utf8_lossy(&output.stdout.bytes);
    Ok(text.split_whitespace().last().unwrap_or_default().chars().take(40).collect())
}

/// The targets that a portal offers, as `address:port,group name`; nothing is kept of it.
pub(crate) fn discover(system: &System, portal: SocketAddr) -> Result<Vec<Offer>> {
    let portal = portal.to_string();
    let arguments = ["-m", "discovery", "-t", "sendtargets", "-p", &portal, "-o", "nonpersistent"];
    let output = system.runner.run(&command(&arguments, DISCOVERY))?;
    match output.ended {
        Ended::Exited(0) => Ok(offers(&String::from_utf8_lossy(&output.stdout.bytes))),
        Ended::Exited(NOTHING) => Ok(Vec::new()),
        ended => Err(failed(ended, DISCOVERY, &format!("discovery at {portal}"))),
    }
}

/// A target, and a portal that leads to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) portal: String,
    pub(crate) target: Name,
}

/// Lines that are none are left out.
fn offers(text: &str) -> Vec<Offer> {
    let mut found = Vec::new();
    for line in text.lines() {
        let Some((portal, name)) = line.trim().split_once(' ') else { continue };
        let portal = portal.split_once(',').map_or(portal, |(portal, _)| portal);
        if let (Ok(portal), Ok(target)) = (Portal::parse(portal), Name::parse(name)) {
            let offer = Offer { portal: portal.to_string(), target };
            if !found.contains(&offer) {
                found.push(offer);
            }
        }
    }
    found
}

fn run(system: &System, arguments: &[&str], deadline: Duration) -> Result<Ended> {
    Ok(system.runner.run(&command(arguments, deadline))?.ended)
}

fn command(arguments: &[&str], deadline: Duration) -> Command {
    Command::new(ISCSIADM.program(), deadline).arguments(arguments.iter().copied())
}

fn failed(ended: Ended, deadline: Duration, subject: &str) -> IscsiError {
    let source = match ended {
        Ended::TimedOut => ToolError::Late(deadline.as_secs()),
        Ended::Signaled(signal) => ToolError::Signal(signal),
        Ended::Exited(24) => ToolError::NotAuthorised,
        Ended::Exited(5 | 19) => ToolError::Refused,
        Ended::Exited(4 | 8 | 11) => ToolError::Silent,
        Ended::Exited(18 | 20) => ToolError::NoDaemon,
        Ended::Exited(12) => ToolError::NoTransport,
        Ended::Exited(6 | NOTHING) => ToolError::NoRecord,
        Ended::Exited(other) => ToolError::Other(other),
    };
    IscsiError::Tool { subject: subject.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn offers_are_read_line_by_line() {
        let text = "10.99.0.2:3260,1 iqn.2026-01.test:a\n[fd00:99::2]:3260,1 iqn.2026-01.test:a\nnonsense\n10.99.0.2:3260,1 iqn.2026-01.test:a\n10.0.0.1:3260,1 \u{1b}[31m\n";
        let found: Vec<_> = offers(text).into_iter().map(|offer| offer.portal).collect();
        assert_eq!(found, ["10.99.0.2:3260", "[fd00:99::2]:3260"]);
    }

    #[test]
    fn every_end_of_iscsiadm_is_a_sentence() {
        for code in 1..32 {
            let text = failed(Ended::Exited(code), LOGIN, "LUN 0 of x").to_string();
            assert!(text.starts_with("LUN 0 of x: ") && text.len() > 40 && !text.ends_with('.'), "{text}");
        }
        assert!(failed(Ended::TimedOut, LOGIN, "x").to_string().contains("15s"));
    }

    proptest! {
        #[test]
        fn nothing_that_a_server_says_breaks_the_list(text in any::<String>()) {
            for offer in offers(&text) {
                prop_assert!(!offer.portal.contains(char::is_control));
            }
        }
    }
}
