//! Is all that the driver needs on this node there, and in order? And what does a server say?

use std::fs;
use std::time::Duration;

use flexvolume::{Finding, Options};
use flexvolume_os::nbd;
use flexvolume_os::socket::Link;

use super::address::Address;
use super::error::{NbdError, Result, of_address};
use super::link::{Node, device_of, link_of};
use super::protocol;
use super::session::Session;
use crate::diagnosis::file_system_tools;
use crate::error::RequestError;
use crate::remote_disk::State;
use crate::request::refuse_unknown;

const ADDRESS: &str = "address";
const PATIENCE: Duration = Duration::from_secs(5);
const MOST_EXPORTS: usize = 20;

/// Everything that can be looked at; the option `address` names a server.
pub(crate) fn diagnose(node: Node<'_>, options: &Options) -> Result<Vec<Finding>> {
    refuse_unknown(options, &[ADDRESS])?;
    let mut findings = vec![module(), socket_states()];
    findings.extend(file_system_tools(&*node.system.runner));
    findings.extend(volumes(node)?);
    if let Some(text) = options.get(ADDRESS) {
        let refuse = |why| RequestError::Value { key: ADDRESS, value: text.to_owned(), why };
        findings.extend(server(&Address::parse(text).map_err(refuse)?));
    }
    Ok(findings)
}

fn module() -> Finding {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    match nbd::Nbd::open() {
        Ok(_) => {
            Finding::good("network block devices", format!("are in the kernel (Linux {})", release.trim()))
        }
        Err(nbd::NbdError::NoModule) => Finding::warning(
            "network block devices",
            format!(
                "are not in the kernel (Linux {}); the driver tries to load the module `nbd`",
                release.trim()
            ),
            "run `modprobe nbd`, and see that it is loaded with the node (a line in /etc/modules-load.d)",
        ),
        Err(error) => Finding::problem("network block devices", error.to_string(), "run the driver as root"),
    }
}

fn socket_states() -> Finding {
    match flexvolume_os::socket::probe() {
        Ok(()) => Finding::good("socket states", "can be asked for, so that a dead connection is noticed"),
        Err(error) => Finding::warning(
            "socket states",
            format!("cannot be asked for ({error}): a dead connection is not repaired"),
            "run `modprobe -a tcp_diag unix_diag`",
        ),
    }
}

fn volumes(node: Node<'_>) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (target, record) in node.shelf.all() {
        let subject = format!("volume {}", record.volume);
        let Some(index) = device_of(&record)? else {
            if record.contents.as_ref().is_some_and(|contents| contents.state == State::Creating) {
                let what = format!("{target}: its file system was begun and not finished");
                findings.push(Finding::warning(subject, what, "mount it again on this node"));
            }
            continue;
        };
        let device = nbd::device(index);
        findings.push(match link_of(&record) {
            Some(Link::Broken) => Finding::problem(
                subject,
                format!("{target} has lost its server ({})", device.display()),
                "is the server up? The next call of the driver for this volume connects it again",
            ),
            _ => Finding::good(subject, format!("{target} is {}", device.display())),
        });
    }
    Ok(findings)
}

fn server(address: &Address) -> Vec<Finding> {
    let subject = format!("server {address}");
    let problem = |error: NbdError| {
        let text = flexvolume::Error::from(error).to_string();
        vec![Finding::problem(&*subject, text, "correct what the message names, and look again")]
    };
    let mut session = match Session::open(address, PATIENCE) {
        Ok(session) => session,
        Err(error) => return problem(error),
    };
    let mut findings = vec![Finding::good(&*subject, "answers in NBD's fixed newstyle")];
    match protocol::list(&mut session, MOST_EXPORTS).map_err(of_address(address)) {
        Ok(names) if names.is_empty() => {
            findings
                .push(Finding::good(&*subject, "lists no exports; a default one may be there all the same"));
        }
        Ok(names) => {
            let names: Vec<_> = names.iter().map(|name| format!("{name:?}")).collect();
            findings.push(Finding::good(&*subject, format!("exports {}", names.join(", "))));
        }
        Err(error) => {
            let what = format!("does not list its exports: {error}");
            findings.push(Finding::warning(&*subject, what, "its administrator knows them"));
            return findings;
        }
    }
    session.abort();
    findings
}
